//! The cache key keeps owners apart, and the checker that says so notices a key that does not.

#![allow(clippy::unwrap_used)] // tests alone

use time::OffsetDateTime;

use super::{
    cache::{Hint, Look, TokenCache},
    cache_key::{CacheKey, Subject},
    isolation_check::{Act, Acts, Owner},
};
use crate::{AccessToken, TenantId, UserKey};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const ACTS: usize = 100_000;

fn guid(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn tenant(owner: Owner) -> TenantId {
    guid(owner.tenant).parse().unwrap()
}

fn user(owner: Owner) -> UserKey {
    UserKey::assume_verified(tenant(owner), guid(owner.user).parse().unwrap())
}

fn key_of(tenant: TenantId, user: UserKey, owner: Owner) -> CacheKey {
    let scopes = format!("scope{}", owner.scope).parse().unwrap();
    CacheKey::new(Some(tenant), Subject::Account { user, session: None }, scopes, None)
}

fn key(owner: Owner) -> CacheKey {
    key_of(tenant(owner), user(owner), owner)
}

/// Answers that were somebody else's, and evictions, over the cache with keys made like this.
fn wrong_answers(key: impl Fn(Owner) -> CacheKey) -> (usize, usize) {
    // Room for a part of the thousand tokens.
    let cache = TokenCache::new(1 << 20);
    let (mut wrong, mut missed) = (0, 0);
    for (number, act) in Acts(4711).take(ACTS).enumerate() {
        match act {
            Act::Ask(owner) | Act::Refuse(owner) => {
                let key = key(owner);
                let hit = cache.hit(key.place(), &key.scopes, &Hint::new(), NOW.unix_timestamp());
                let token = match (act, hit, cache.look(&key, NOW, None)) {
                    (Act::Ask(_), Some(token), _) | (Act::Ask(_), None, Look::Fresh(token)) => token,
                    _ => {
                        missed += 1;
                        let text = format!("{}{number}{}", owner.mark(), "x".repeat(1800));
                        let token = AccessToken::new(text, NOW + time::Duration::hours(1)).unwrap();
                        cache.store(&key, &token, NOW, &|| true);
                        token
                    }
                };
                wrong += usize::from(!owner.owns(token.expose()));
            }
            Act::Leave(owner) => cache.forget(&user(owner)),
        }
    }
    (wrong, missed)
}

#[test]
fn nobody_reads_anothers_token() {
    let (wrong, missed) = wrong_answers(key);
    assert_eq!(wrong, 0);
    assert!(missed > 10_000, "eviction was on: {missed}");
}

#[test]
fn a_key_without_the_tenant_is_noticed() {
    let first = |owner: Owner| Owner { tenant: 0, ..owner };
    let (wrong, _) = wrong_answers(|owner| key_of(tenant(first(owner)), user(first(owner)), owner));
    assert!(wrong > 1000, "{wrong}");
}

#[test]
fn a_key_without_the_user_or_the_scopes_is_noticed() {
    for lose in [|owner| Owner { user: 0, ..owner }, |owner| Owner { scope: 0, ..owner }] {
        let lose: fn(Owner) -> Owner = lose;
        assert!(wrong_answers(|owner| key(lose(owner))).0 > 1000);
    }
}
