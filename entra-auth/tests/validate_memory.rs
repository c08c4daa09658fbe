//! A token that was validated a short time ago: what it costs, and when it is forgotten.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use entra_auth::{
    AccessTokenValidator, Algorithm, AllowedCallers, Authority, KeyError, KeyLookup, KeySource, Lifetime, Recall,
    SigningKey, StaticKeys, TenantPolicy, TokenErrorKind, TokenMemory, VerifiedJwt,
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::advance;
use validate_support::*;

/// Keys that can be withdrawn, and count how often they are asked for.
#[derive(Debug)]
struct Published {
    keys: Mutex<StaticKeys>,
    revision: AtomicU64,
    asked: AtomicU64,
}

impl Published {
    fn new(jwks: &Value) -> Arc<Self> {
        let keys = Mutex::new(StaticKeys::from_jwks(jwks.to_string().as_bytes()).unwrap());
        Arc::new(Self { keys, revision: AtomicU64::new(0), asked: AtomicU64::new(0) })
    }

    fn replace(&self, jwks: &Value) {
        *self.keys.lock().unwrap() = StaticKeys::from_jwks(jwks.to_string().as_bytes()).unwrap();
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeySource for Published {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap().clone();
        keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }
}

async fn judge(validator: &AccessTokenValidator, token: &str) -> Result<(), TokenErrorKind> {
    validator.validate(token).await.map(drop).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_token_seen_before_costs_no_allocation_and_no_key() {
    let keys = Published::new(&ENTRA.jwks());
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let first = validator.authenticate(&headers).await.unwrap().into_user().unwrap();
    let mut again = None;
    let counted = allocation_counter::measure(|| {
        again = Some(validator.authenticate(&headers).now_or_never().expect("ready at once"));
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(keys.asked(), 1);
    let again = again.unwrap().unwrap().into_user().unwrap();
    assert_eq!((again.user_key(), again.raw()), (first.user_key(), first.raw()));

    let forgets = builder(single()).remember(0).build().unwrap();
    forgets.authenticate(&headers).await.unwrap();
    let counted = allocation_counter::measure(|| {
        forgets.authenticate(&headers).now_or_never().unwrap().unwrap();
    });
    assert!(counted.count_total > 0, "the counter counts");
}

// Ending 1
#[tokio::test(start_paused = true)]
async fn never_beyond_the_end_of_the_token() {
    let keys = Published::new(&ENTRA.jwks());
    let clock = clock();
    let validator = builder(single()).keys(keys.clone()).clock(Arc::new(clock.clone())).build().unwrap();
    let token = ENTRA.sign(&with(user_claims(), &[("exp", json!(NOW + 30))]));
    assert_eq!(judge(&validator, &token).await, Ok(()));
    clock.step(time::Duration::seconds(30 + 59));
    assert_eq!(judge(&validator, &token).await, Ok(()));
    assert_eq!(keys.asked(), 1, "remembered");
    clock.step(time::Duration::seconds(1));
    assert_eq!(judge(&validator, &token).await, Err(TokenErrorKind::Expired), "exactly at exp and the leeway");
    assert_eq!(keys.asked(), 1);
}

// Ending 2
#[tokio::test(start_paused = true)]
async fn never_beyond_the_removal_of_a_key() {
    let keys = Published::new(&json!({ "keys": [ENTRA.jwk(), with(EVIL.jwk(), &[("kid", json!("other"))])] }));
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    for _ in 0..3 {
        assert_eq!(judge(&validator, &token).await, Ok(()));
    }
    assert_eq!(keys.asked(), 1);
    keys.replace(&json!({ "keys": [with(EVIL.jwk(), &[("kid", json!("other"))])] }));
    assert_eq!(judge(&validator, &token).await, Err(TokenErrorKind::UnknownKey));
    // The id is given to another key.
    keys.replace(&EVIL.jwks());
    assert_eq!(judge(&validator, &token).await, Err(TokenErrorKind::BadSignature));
    keys.replace(&ENTRA.jwks());
    assert_eq!(judge(&validator, &token).await, Ok(()));
}

/// A key that disappears while a token is validated with it.
#[tokio::test(start_paused = true)]
async fn the_state_of_the_keys_is_that_of_before_the_work() {
    let keys = Published::new(&ENTRA.jwks());
    let memory = TokenMemory::<u8>::new(8, Lifetime::default());
    let (token, now) = (ENTRA.sign(&user_claims()), OffsetDateTime::from_unix_timestamp(NOW).unwrap());
    let verified = verify(&memory, &*keys, &token, now).await;
    keys.replace(&EVIL.jwks());
    let times = verified.claims().times().unwrap();
    memory.keep(verified, times, &7);
    assert!(matches!(memory.recall(&token, keys.revision(), now), Ok(Recall::Unknown(_))));
}

async fn verify(memory: &TokenMemory<u8>, keys: &dyn KeySource, token: &str, now: OffsetDateTime) -> VerifiedJwt {
    let Recall::Unknown(unverified) = memory.recall(token, keys.revision(), now).unwrap() else { panic!("known") };
    unverified.verify(keys, "issuer", &[Algorithm::RS256]).await.unwrap()
}

// Ending 3
#[tokio::test(start_paused = true)]
async fn never_under_another_policy() {
    let keys = Published::new(&ENTRA.jwks());
    let build = |policy, audience: &str| {
        AccessTokenValidator::builder(Authority::default(), [audience], policy)
            .clock(Arc::new(clock()))
            .keys(keys.clone())
    };
    let accepts = build(single(), API).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    for _ in 0..2 {
        assert_eq!(judge(&accepts, &token).await, Ok(()));
        assert_eq!(judge(&accepts.clone(), &token).await, Ok(()));
    }
    assert_eq!(keys.asked(), 1, "clones share what is remembered");
    let other = || TenantPolicy::Single(OTHER_TENANT.parse().unwrap());
    let nobody = || AllowedCallers::only([]);
    for (validator, expected) in [
        (build(other(), API), Err(TokenErrorKind::TenantNotAllowed)),
        (build(single(), CALLER), Err(TokenErrorKind::AudienceMismatch)),
        (build(single(), API).user_callers(nobody()), Err(TokenErrorKind::CallerNotAllowed)),
        (build(single(), API).max_token_age(Duration::ZERO).leeway(Duration::ZERO), Err(TokenErrorKind::TooOld)),
        (build(single(), API), Ok(())),
    ] {
        let validator = validator.build().unwrap();
        let before = keys.asked();
        for _ in 0..2 {
            assert_eq!(judge(&validator, &token).await, expected, "{validator:?}");
            assert_eq!(judge(&accepts, &token).await, Ok(()));
        }
        let asked = keys.asked() - before;
        assert!(expected.is_ok() == (asked == 1) || asked == 2, "a new validator begins with nothing: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_minutes_at_most() {
    let keys = Published::new(&ENTRA.jwks());
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    for (seconds, asked) in [(0, 1), (299, 1), (1, 2), (299, 2), (1, 3)] {
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(judge(&validator, &token).await, Ok(()));
        assert_eq!(keys.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_very_same_bytes_are_the_same_token() {
    let keys = Published::new(&ENTRA.jwks());
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    assert_eq!(judge(&validator, &token).await, Ok(()));
    for at in (0..token.len()).step_by(3).chain([token.len() - 1]) {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(judge(&validator, &forged).await.is_err(), "{at}");
    }
    for forged in [format!("{token}A"), token[..token.len() - 1].to_owned(), format!("{token}="), format!("{token} ")] {
        assert!(judge(&validator, &forged).await.is_err());
    }
    // The signature of another good token.
    let other = ENTRA.sign(&with(user_claims(), &[("uti", json!("other"))]));
    assert_eq!(judge(&validator, &other).await, Ok(()));
    let mixed = format!("{}.{}", token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(judge(&validator, &mixed).await, Err(TokenErrorKind::BadSignature));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_never_remembered() {
    let keys = Published::new(&ENTRA.jwks());
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    let forged = EVIL.sign(&user_claims());
    for asked in 1..4 {
        assert_eq!(judge(&validator, &forged).await, Err(TokenErrorKind::BadSignature));
        assert_eq!(keys.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn bounded_and_the_latest_are_kept() {
    let keys = Published::new(&ENTRA.jwks());
    let memory = TokenMemory::<u8>::new(8, Lifetime::default());
    let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    let token = |n: usize| ENTRA.sign(&with(user_claims(), &[("uti", json!(n.to_string()))]));
    let tokens: Vec<_> = (0..40).map(token).collect();
    for (n, token) in tokens.iter().enumerate() {
        let verified = verify(&memory, &*keys, token, now).await;
        let times = verified.claims().times().unwrap();
        memory.keep(verified, times, &0);
        let known = |token: &String| matches!(memory.recall(token, 0, now), Ok(Recall::Known(0)));
        let count = tokens.iter().filter(|token| known(token)).count();
        assert!(count <= 8, "{count}");
        assert!(tokens[(n + 1).saturating_sub(4)..=n].iter().all(known), "half of the capacity is always there");
    }
}

/// Cheap before dear: what has ended or is for somebody else costs neither a key nor a signature.
#[tokio::test]
async fn what_can_never_be_accepted_costs_no_signature() {
    let keys = Published::new(&ENTRA.jwks());
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    for (change, expected) in [
        (("exp", json!(NOW - 60)), TokenErrorKind::Expired),
        (("nbf", json!(NOW + 61)), TokenErrorKind::NotYetValid),
        (("aud", json!(CALLER)), TokenErrorKind::AudienceMismatch),
        (("tid", json!(OTHER_TENANT)), TokenErrorKind::TenantNotAllowed),
        (("iss", json!("https://evil.example/")), TokenErrorKind::IssuerMismatch),
    ] {
        let token = ENTRA.sign(&with(user_claims(), &[change]));
        assert_eq!(judge(&validator, &token).await, Err(expected));
    }
    assert_eq!(keys.asked(), 0);
}
