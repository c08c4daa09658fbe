//! The token cache in this process: typed keys, bounded by bytes, a hit is a map lookup and an `Arc` clone.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{AccessToken, ClientId, Error, ObjectId, Scopes, TenantId, UserKey};

/// Everything on which a token depends, as a type. Authority, client and credential are those of the one client that
/// owns the cache.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    pub(super) tenant: TenantId,
    pub(super) subject: Subject,
    pub(super) scopes: Scopes,
}

/// On whose behalf.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The application itself.
    App,
    /// A user, by the very assertion that was exchanged.
    #[cfg_attr(not(feature = "validate"), allow(dead_code))]
    OnBehalfOf { user: UserKey, assertion: [u8; 32] },
    /// A user who signed in, by refresh token; `session` tells long-running processes apart.
    #[cfg_attr(not(feature = "validate"), allow(dead_code))]
    Account { user: UserKey, session: Option<[u8; 32]> },
    /// An agent identity of this blueprint.
    Agent { agent: ClientId, leg: AgentLeg },
}

/// The tokens of an agent identity.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum AgentLeg {
    /// What the blueprint gets, with `fmi_path`, to vouch for the agent.
    Blueprint,
    /// The agent's own, for a resource.
    App,
    /// For the agent's own user account, by object id or name.
    User(AgentUserId),
    /// For a person on whose behalf the agent acts.
    #[cfg_attr(not(feature = "validate"), allow(dead_code))]
    OnBehalfOf { user: UserKey, assertion: [u8; 32] },
}

/// The user account of an agent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum AgentUserId {
    ObjectId(ObjectId),
    /// In lower case: names are compared without case.
    Name(Box<str>),
}

impl Subject {
    /// The person whose tokens these are.
    pub(super) const fn user(&self) -> Option<&UserKey> {
        match self {
            Self::OnBehalfOf { user, .. }
            | Self::Account { user, .. }
            | Self::Agent { leg: AgentLeg::OnBehalfOf { user, .. }, .. } => Some(user),
            Self::App | Self::Agent { .. } => None,
        }
    }

    /// Whether a user can take the tokens back, unlike those of an application.
    pub(super) const fn is_user(&self) -> bool {
        self.user().is_some() || matches!(self, Self::Agent { leg: AgentLeg::User(_), .. })
    }
}

/// What the cache says to a request.
pub(super) enum Look {
    /// A good token.
    Fresh(AccessToken),
    /// A token that still works but should be refreshed behind the caller's back.
    Aging(AccessToken),
    /// A recent failure that is not repeated yet.
    Gated(Error),
    /// Nothing.
    Miss,
}

/// A token in its last 30 s is not handed out: it would end on the way.
const MARGIN: time::Duration = time::Duration::seconds(30);
/// Without a hint from the issuer a token is refreshed from 300 s before its end.
const EARLY: time::Duration = time::Duration::seconds(300);
const SHARDS: usize = 16;

pub(super) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    shard_limit: usize,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<CacheKey, Entry>,
    /// Keys in the order in which the clock hand meets them.
    clock: VecDeque<CacheKey>,
    bytes: usize,
}

struct Entry {
    token: Option<Held>,
    failure: Option<Gate>,
    weight: usize,
    used: AtomicBool,
}

struct Held {
    token: AccessToken,
    /// Seconds since 1970, like the next one; the size of an entry counts.
    refresh_on: i64,
    /// When it was stored. A clock that is now before that time was ahead, and so is the end that was worked out then.
    since: i64,
}

struct Gate {
    error: Error,
    until: Instant,
    /// Failures in a row, for the growing pause.
    count: u32,
}

impl TokenCache {
    pub(super) fn new(limit: usize) -> Self {
        Self { shards: Default::default(), hasher: RandomState::new(), shard_limit: limit / SHARDS }
    }

    pub(super) fn look(&self, key: &CacheKey, now: OffsetDateTime, rejected: Option<&AccessToken>) -> Look {
        let shard = self.shard(key);
        let Some(entry) = shard.entries.get(key) else { return Look::Miss };
        entry.used.store(true, Ordering::Relaxed);
        let gate = entry.failure.as_ref().filter(|gate| gate.until > Instant::now());
        let seconds = now.unix_timestamp();
        let usable = entry.token.as_ref().filter(|held| {
            now < held.token.expires_on() - MARGIN
                && seconds >= held.since - MARGIN.whole_seconds()
                && !rejected.is_some_and(|token| token.same_as(&held.token))
        });
        match (usable, gate) {
            (Some(held), _) if seconds < held.refresh_on => Look::Fresh(held.token.clone()),
            // While refreshing fails, the token that still works is better than the error.
            (Some(held), Some(_)) => Look::Fresh(held.token.clone()),
            (Some(held), None) => Look::Aging(held.token.clone()),
            (None, Some(gate)) => Look::Gated(gate.error.clone()),
            (None, None) => Look::Miss,
        }
    }

    /// Keeps a token.
    pub(super) fn store(&self, key: &CacheKey, token: AccessToken, now: OffsetDateTime) {
        let held = Held { refresh_on: refresh_on(&token, now).unix_timestamp(), since: now.unix_timestamp(), token };
        self.shard(key).keep(key, Entry::new(Some(held), None), self.shard_limit, now);
    }

    /// Remembers a failure, so that the next caller does not repeat it at once. `fatal` also drops the token.
    pub(super) fn fail(&self, key: &CacheKey, error: &Error, fatal: bool, now: OffsetDateTime) {
        let mut shard = self.shard(key);
        let old = shard.entries.get_mut(key);
        let (token, gate) = old.map_or((None, None), |old| (old.token.take(), old.failure.take()));
        let count = gate.map_or(0, |gate| gate.count).saturating_add(1);
        let gate = Gate { error: error.clone(), until: Instant::now() + pause(error, count), count };
        shard.keep(key, Entry::new(token.filter(|_| !fatal), Some(gate)), self.shard_limit, now);
    }

    /// Forgets entries of a user.
    #[cfg_attr(not(feature = "validate"), allow(dead_code))]
    pub(super) fn forget(&self, user: &UserKey, which: impl Fn(&CacheKey) -> bool) {
        let mut shard = self.shard_of(user);
        let Shard { entries, clock, bytes } = &mut *shard;
        let ours = |key: &CacheKey| key.subject.user() == Some(user) && which(key);
        entries.retain(|key, entry| {
            let gone = ours(key);
            *bytes -= if gone { entry.weight } else { 0 };
            !gone
        });
        clock.retain(|key| !ours(key));
    }

    /// Forgets the failures of a user, so that what they have just mended is tried at once.
    #[cfg_attr(not(feature = "validate"), allow(dead_code))]
    pub(super) fn forgive(&self, user: &UserKey) {
        for (key, entry) in &mut self.shard_of(user).entries {
            if key.subject.user() == Some(user) {
                entry.failure = None;
            }
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().bytes).sum()
    }

    /// All entries of a user lie in one shard.
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, Shard> {
        match key.subject.user() {
            Some(user) => self.shard_of(user),
            None => self.shard_at(self.hasher.hash_one((&key.tenant, &key.subject))),
        }
    }

    fn shard_of(&self, user: &UserKey) -> MutexGuard<'_, Shard> {
        self.shard_at(self.hasher.hash_one(user))
    }

    #[allow(clippy::indexing_slicing)] // modulo the length
    fn shard_at(&self, hash: u64) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation)]
        let at = hash as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Puts an entry, and makes room by the clock rule: what was used since the hand came by last gets another round.
    /// Every entry has exactly one place in the clock.
    fn keep(&mut self, key: &CacheKey, entry: Entry, limit: usize, now: OffsetDateTime) {
        self.bytes += entry.weight;
        match self.entries.insert(key.clone(), entry) {
            Some(old) => self.bytes -= old.weight,
            None => self.clock.push_back(key.clone()),
        }
        for _ in 0..2 * self.clock.len() {
            if self.bytes <= limit {
                break;
            }
            let Some(next) = self.clock.pop_front() else { break };
            let Some(entry) = self.entries.get(&next) else { continue };
            let expired = entry.token.as_ref().is_some_and(|held| held.token.expires_on() <= now);
            if next == *key || (entry.used.swap(false, Ordering::Relaxed) && !expired) {
                self.clock.push_back(next);
            } else if let Some(old) = self.entries.remove(&next) {
                self.bytes -= old.weight;
            }
        }
    }
}

impl Entry {
    fn new(token: Option<Held>, failure: Option<Gate>) -> Self {
        // The key stands in the map and in the clock; an error and its strings are counted with an allowance.
        let weight = size_of::<Self>()
            + 2 * size_of::<CacheKey>()
            + token.as_ref().map_or(0, |held| held.token.weight())
            + failure.as_ref().map_or(0, |_| 512);
        Self { token, failure, weight, used: AtomicBool::new(false) }
    }
}

/// When a token should be refreshed: the issuer's word, else half-way for long lives, else shortly before the end; up
/// to a tenth earlier, so that replicas do not refresh in step.
fn refresh_on(token: &AccessToken, now: OffsetDateTime) -> OffsetDateTime {
    let life = token.expires_on() - now;
    let soft = token.refresh_on().unwrap_or_else(|| match life {
        long if long >= time::Duration::hours(2) => now + long / 2,
        short => now + (short - EARLY).max(short / 2),
    });
    soft - (soft - now) * (0.1 * crate::random::weak_fraction())
}

/// How long a failure is remembered: what the server asks for, else 1 s doubling to 30 s; 5 s for what someone must
/// mend, who may do so at any moment.
fn pause(error: &Error, count: u32) -> Duration {
    const MIN: Duration = Duration::from_secs(1);
    if let Some(wait) = error.retry_after() {
        return wait.clamp(MIN, Duration::from_secs(3600));
    }
    if !error.is_retryable() {
        return Duration::from_secs(5);
    }
    MIN.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1))).min(Duration::from_secs(30))
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn key(scope: &str) -> CacheKey {
        CacheKey {
            tenant: "11111111-1111-1111-1111-111111111111".parse().unwrap(),
            subject: Subject::App,
            scopes: scope.parse().unwrap(),
        }
    }

    fn token(text: &str, seconds: i64) -> AccessToken {
        AccessToken::new(text, NOW + time::Duration::seconds(seconds)).unwrap()
    }

    fn at(seconds: i64) -> OffsetDateTime {
        NOW + time::Duration::seconds(seconds)
    }

    #[tokio::test]
    async fn a_token_is_fresh_then_aging_then_gone() {
        let cache = TokenCache::new(1 << 20);
        cache.store(&key("a"), token("t", 3600), NOW);
        for (seconds, expected) in
            [(0, "fresh"), (2900, "fresh"), (3301, "aging"), (3569, "aging"), (3570, "miss"), (9999, "miss")]
        {
            let found = match cache.look(&key("a"), at(seconds), None) {
                Look::Fresh(_) => "fresh",
                Look::Aging(_) => "aging",
                Look::Gated(_) => "gated",
                Look::Miss => "miss",
            };
            assert_eq!(found, expected, "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_working_token_is_better_than_an_error() {
        let cache = TokenCache::new(1 << 20);
        let error = Error::new(ErrorKind::Transient, "down");
        cache.store(&key("a"), token("t", 3600), NOW);
        cache.fail(&key("a"), &error, false, at(3400));
        assert!(matches!(cache.look(&key("a"), at(3400), None), Look::Fresh(_)), "the gate holds refreshes back");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(cache.look(&key("a"), at(3402), None), Look::Aging(_)), "then it is tried again");
        cache.fail(&key("a"), &error, true, at(3402));
        assert!(matches!(cache.look(&key("a"), at(3402), None), Look::Gated(_)), "fatal errors drop the token");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_as_long_as_the_server_asks() {
        let cache = TokenCache::new(1 << 20);
        let error = Error::new(ErrorKind::Throttled, "slow").with_retry_after(Some(Duration::from_secs(40)));
        cache.fail(&key("a"), &error, false, NOW);
        tokio::time::advance(Duration::from_secs(39)).await;
        assert!(matches!(cache.look(&key("a"), NOW, None), Look::Gated(_)));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(cache.look(&key("a"), NOW, None), Look::Miss));
    }

    #[tokio::test]
    async fn a_rejected_token_is_not_served_again_but_its_successor_is() {
        let cache = TokenCache::new(1 << 20);
        let (old, new) = (token("old", 3600), token("new", 3600));
        cache.store(&key("a"), old.clone(), NOW);
        assert!(matches!(cache.look(&key("a"), NOW, Some(&old)), Look::Miss));
        cache.store(&key("a"), new, NOW);
        assert!(matches!(cache.look(&key("a"), NOW, Some(&old)), Look::Fresh(_)));
    }

    #[tokio::test]
    async fn memory_stays_bounded_and_what_is_used_stays() {
        let limit = 1 << 20;
        let cache = TokenCache::new(limit);
        let text = "x".repeat(500);
        cache.store(&key("hot"), token(&text, 3600), NOW);
        for n in 0..20_000 {
            let tenant = format!("00000000-0000-0000-0000-{n:012}").parse().unwrap();
            cache.store(&CacheKey { tenant, ..key("cold") }, token(&text, 3600), NOW);
            assert!(matches!(cache.look(&key("hot"), NOW, None), Look::Fresh(_)), "evicted after {n}");
            assert!(cache.bytes() <= limit);
        }
        let places: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().clock.len()).sum();
        let entries: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().entries.len()).sum();
        assert!(entries > 100);
        assert_eq!(places, entries, "every entry has one place in the clock");
    }

    #[tokio::test]
    async fn storing_one_key_over_and_over_does_not_grow() {
        let cache = TokenCache::new(1 << 20);
        for _ in 0..10_000 {
            cache.store(&key("a"), token("t", 3600), NOW);
        }
        assert_eq!(cache.shard(&key("a")).clock.len(), 1);
    }
}
