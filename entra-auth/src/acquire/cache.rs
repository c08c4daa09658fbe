//! The token cache in this process: bounded by bytes, compact, a hit is a comparison and an `Arc` clone.
//!
//! Entries lie in slots. Whoever asks often keeps the number of the slot as a [`Hint`] and skips the search; the whole
//! key is compared all the same, so that a slot that has been given to somebody else is never mistaken.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::Instant;

#[cfg(feature = "validate")]
use super::cache_key::{Subject, owner};
use super::{
    cache_index::Index,
    cache_key::{CacheKey, Place},
};
use crate::{AccessToken, Error, Scopes};

/// What the cache says to a request.
pub(crate) enum Look {
    /// A good token.
    Fresh(AccessToken),
    /// A token that still works but should be refreshed behind the caller's back.
    Aging(AccessToken),
    /// A recent failure that is not repeated yet.
    Gated(Error),
    /// Nothing.
    Miss,
}

/// Where an entry was found last.
pub(crate) struct Hint(AtomicU32);

/// A token in its last 30 s is not handed out: it would end on the way.
const MARGIN: time::Duration = time::Duration::seconds(30);
/// Without a hint from the issuer a token is refreshed from 300 s before its end.
const EARLY: time::Duration = time::Duration::seconds(300);
/// A life of this length or more is refreshed half-way.
const LONG: time::Duration = time::Duration::hours(2);
const SHARDS: usize = 16;

pub(crate) struct TokenCache {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    shard_limit: usize,
    /// What the monotonic ends of tokens count from.
    started: Instant,
    /// The second of the clock in which the age was read last, and that age.
    aged: AtomicU64,
}

#[derive(Default)]
struct Shard {
    slots: Slots,
    /// Slots without an entry.
    free: Vec<u32>,
    index: Index,
    /// The scopes of all entries, each once, and by how many entries they are used.
    scopes: HashMap<Scopes, u32>,
    /// The next slot that the clock rule looks at.
    hand: usize,
    bytes: usize,
}

/// Slots in blocks, so that they never move: a vector that grows holds up to twice what it needs.
#[derive(Default)]
struct Slots {
    blocks: Vec<Box<[Slot; BLOCK]>>,
    len: usize,
}

const BLOCK: usize = 64;

/// One entry, or the room for one. There are millions of these: their size counts.
struct Slot {
    place: Place,
    /// `None` in an empty slot.
    scopes: Option<Scopes>,
    token: Option<AccessToken>,
    failure: Option<Box<Gate>>,
    /// Seconds since 1970 from which on the token is no longer handed out without further thought; 0 without a token.
    soft: u32,
    /// How many seconds before `soft` the token was stored. A clock that is now before that time was ahead, and so is
    /// the end that was worked out then.
    span: u32,
    /// Seconds after the start of the cache from which on the token is not handed out at all. They pass whatever the clock
    /// is set to: a token does not live longer because somebody put the clock back.
    end: u32,
    /// Whether it was handed out since the clock hand came by.
    used: bool,
}

struct Gate {
    error: Error,
    until: Instant,
    /// Failures in a row, for the growing pause.
    count: u32,
}

/// Of a refusal and its texts; an allowance.
const GATE_WEIGHT: usize = 512;
/// Slot and two places in the index, of which up to five eighths are empty.
const SLOT_WEIGHT: usize = size_of::<Slot>() + 20;

impl TokenCache {
    pub(crate) fn new(limit: usize) -> Self {
        let shards = Default::default();
        let aged = AtomicU64::new(u64::MAX);
        Self { shards, hasher: RandomState::new(), shard_limit: limit / SHARDS, started: Instant::now(), aged }
    }

    /// Seconds since the start of the cache.
    fn age(&self) -> u64 {
        Instant::now().saturating_duration_since(self.started).as_secs()
    }

    /// The same, read once for each second of the clock: a hit asks one clock, not two. It is a second behind at the most,
    /// of which the margin of a token is a multiple.
    fn age_at(&self, now: i64) -> u64 {
        let second = u64::from(seconds(now));
        let aged = self.aged.load(Ordering::Relaxed);
        if aged >> 32 == second {
            return aged & u64::from(u32::MAX);
        }
        let age = self.age().min(u64::from(u32::MAX));
        self.aged.store(second << 32 | age, Ordering::Relaxed);
        age
    }

    /// A good token, if there is one; everything else is for [`TokenCache::look`].
    pub(super) fn hit(&self, place: &Place, scopes: &Scopes, hint: &Hint, now: i64) -> Option<AccessToken> {
        let mut shard = self.shard(place);
        let mut at = hint.0.load(Ordering::Relaxed);
        if !shard.slot(at).is_some_and(|slot| slot.is(place, scopes)) {
            at = shard.find(self.hash(place, scopes), place, scopes)?;
            hint.0.store(at, Ordering::Relaxed);
        }
        let slot = shard.slot_mut(at)?;
        if now >= i64::from(slot.soft) || now < slot.since() || self.age_at(now) >= u64::from(slot.end) {
            return None;
        }
        if !slot.used {
            slot.used = true;
        }
        slot.token.clone()
    }

    pub(crate) fn look(&self, key: &CacheKey, now: OffsetDateTime, rejected: Option<&AccessToken>) -> Look {
        let mut shard = self.shard(key.place());
        let Some(at) = shard.find(self.hash_of(key), key.place(), &key.scopes) else { return Look::Miss };
        let Some(slot) = shard.slot_mut(at) else { return Look::Miss };
        slot.used = true;
        let seconds = now.unix_timestamp();
        let gate = slot.failure.as_ref().filter(|gate| gate.until > Instant::now());
        let usable = slot.token.as_ref().filter(|token| {
            now < token.expires_on() - MARGIN
                && seconds >= slot.since()
                && self.age() < u64::from(slot.end)
                && !rejected.is_some_and(|rejected| rejected.same_as(token))
        });
        match (usable, gate) {
            (Some(token), _) if seconds < i64::from(slot.soft) => Look::Fresh(token.clone()),
            // While refreshing fails, the token that still works is better than the error.
            (Some(token), Some(_)) => Look::Fresh(token.clone()),
            (Some(token), None) => Look::Aging(token.clone()),
            (None, Some(gate)) => Look::Gated(gate.error.clone()),
            (None, None) => Look::Miss,
        }
    }

    /// Whether the last request for this entry failed.
    pub(super) fn has_failed(&self, key: &CacheKey) -> bool {
        let shard = self.shard(key.place());
        let at = shard.find(self.hash_of(key), key.place(), &key.scopes);
        at.and_then(|at| shard.slot(at)).is_some_and(|slot| slot.failure.is_some())
    }

    /// Keeps a token that was issued at `now`, if it `is_wanted` still. That is asked when nobody can forget it any more
    /// without meeting the entry.
    pub(crate) fn store(
        &self,
        key: &CacheKey,
        token: &AccessToken,
        now: OffsetDateTime,
        is_wanted: &dyn Fn() -> bool,
    ) -> bool {
        let last = token.expires_on() - MARGIN;
        let soft = refresh_on(token, now).min(last).unix_timestamp();
        let end = self.age().saturating_add(u64::try_from((last - now).whole_seconds()).unwrap_or(0));
        self.write(key, now, is_wanted, &|slot| {
            slot.soft = seconds(soft);
            // A token that is stored in its last seconds spans less than nothing.
            slot.span = seconds(soft - now.unix_timestamp());
            slot.end = u32::try_from(end).unwrap_or(u32::MAX);
            slot.failure = None;
            slot.token = Some(token.clone());
        })
    }

    /// Remembers a failure, so that the next caller does not repeat it at once, if that `is_wanted` still. `fatal` also
    /// drops the token.
    pub(crate) fn fail(
        &self,
        key: &CacheKey,
        error: &Error,
        fatal: bool,
        now: OffsetDateTime,
        is_wanted: &dyn Fn() -> bool,
    ) -> bool {
        self.write(key, now, is_wanted, &|slot| {
            let count = slot.failure.as_ref().map_or(0, |gate| gate.count).saturating_add(1);
            let until = Instant::now() + pause(error, count);
            slot.failure = Some(Box::new(Gate { error: error.clone(), until, count }));
            if fatal {
                slot.token = None;
            }
            if slot.token.is_none() {
                slot.soft = 0;
            }
        })
    }

    /// Changes an entry, a new one if need be, if that `is_wanted` still; whether it was.
    fn write(
        &self,
        key: &CacheKey,
        now: OffsetDateTime,
        is_wanted: &dyn Fn() -> bool,
        change: &dyn Fn(&mut Slot),
    ) -> bool {
        let hash = self.hash_of(key);
        let mut shard = self.shard(key.place());
        if !is_wanted() {
            return false;
        }
        let at = shard.entry(hash, key);
        shard.change(at, change);
        self.make_room(&mut shard, at, now);
        true
    }

    /// Forgets every entry of a user.
    #[cfg(feature = "validate")]
    #[inline]
    pub(super) fn forget(&self, user: &crate::UserKey) {
        let owner = owner(user);
        self.drop_where(owner, |_| true);
    }

    /// Forgets the entries of one of a user's accounts, whatever their scopes and parameters.
    #[cfg(feature = "validate")]
    #[inline]
    pub(super) fn forget_account(&self, user: &crate::UserKey, account: &Subject) {
        let place = Place::new(Some(user.tenant()), account, None);
        self.drop_where(place.owner, |other| other.is_of_subject(&place));
    }

    /// Forgets the failures of a user, so that what they have just mended is tried at once.
    #[cfg(feature = "validate")]
    #[inline]
    pub(super) fn forgive(&self, user: &crate::UserKey) {
        let owner = owner(user);
        let mut shard = self.shard_of(owner);
        for at in shard.all_of(owner) {
            shard.change(at, |slot| slot.failure = None);
        }
    }

    #[cfg(feature = "validate")]
    fn drop_where(&self, owner: u64, which: impl Fn(&Place) -> bool) {
        let mut shard = self.shard_of(owner);
        for at in shard.all_of(owner) {
            if shard.slot(at).is_some_and(|slot| which(&slot.place)) {
                shard.drop_entry(at, &self.hasher);
            }
        }
    }

    /// Makes room by the clock rule: what was handed out since the hand came by last gets another round.
    fn make_room(&self, shard: &mut Shard, spared: u32, now: OffsetDateTime) {
        for _ in 0..2 * shard.slots.len {
            if shard.bytes <= self.shard_limit {
                break;
            }
            shard.hand = if shard.hand + 1 < shard.slots.len { shard.hand + 1 } else { 0 };
            let Ok(at) = u32::try_from(shard.hand) else { break };
            let Some(slot) = shard.slot_mut(at).filter(|slot| slot.scopes.is_some()) else { continue };
            let expired = slot.token.as_ref().is_some_and(|token| token.expires_on() <= now);
            if at != spared && (expired || !std::mem::take(&mut slot.used)) {
                shard.drop_entry(at, &self.hasher);
            }
        }
    }

    /// All entries of a user lie in one shard.
    fn shard(&self, place: &Place) -> MutexGuard<'_, Shard> {
        self.shard_of(place.owner)
    }

    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // modulo the length
    fn shard_of(&self, owner: u64) -> MutexGuard<'_, Shard> {
        self.shards[owner as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash_of(&self, key: &CacheKey) -> u64 {
        self.hash(key.place(), &key.scopes)
    }

    fn hash(&self, place: &Place, scopes: &Scopes) -> u64 {
        hash(&self.hasher, place, scopes)
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().bytes).sum()
    }
}

fn hash(hasher: &RandomState, place: &Place, scopes: &Scopes) -> u64 {
    hasher.hash_one((&place.who, scopes.folded()))
}

impl Shard {
    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at)
    }

    fn find(&self, hash: u64, place: &Place, scopes: &Scopes) -> Option<u32> {
        self.index.find(hash, |at| self.slot(at).is_some_and(|slot| slot.is(place, scopes)))
    }

    /// The slot of an entry, a new one if need be.
    fn entry(&mut self, hash: u64, key: &CacheKey) -> u32 {
        if let Some(at) = self.find(hash, key.place(), &key.scopes) {
            return at;
        }
        let scopes = self.intern(&key.scopes);
        let slot = Slot { place: *key.place(), scopes: Some(scopes), ..Slot::empty() };
        self.bytes += slot.weight();
        let at = self.free.pop().unwrap_or_else(|| self.slots.add());
        if let Some(room) = self.slots.get_mut(at) {
            *room = slot;
        }
        self.index.insert(hash, at);
        at
    }

    /// Changes an entry and keeps count of its bytes.
    fn change(&mut self, at: u32, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        self.bytes -= slot.weight();
        change(slot);
        self.bytes += slot.weight();
    }

    fn drop_entry(&mut self, at: u32, hasher: &RandomState) {
        let Some(slot) = self.slot_mut(at) else { return };
        let slot = std::mem::replace(slot, Slot::empty());
        let Some(scopes) = &slot.scopes else { return };
        self.bytes -= slot.weight();
        self.index.remove(hash(hasher, &slot.place, scopes), at);
        self.free.push(at);
        if let Some(users) = self.scopes.get_mut(scopes) {
            *users -= 1;
            if *users == 0 {
                self.scopes.remove(scopes);
                self.bytes -= scopes_weight(scopes);
            }
        }
    }

    /// One copy of equal scopes, however often hosts parse them.
    fn intern(&mut self, scopes: &Scopes) -> Scopes {
        if let Some((known, _)) = self.scopes.get_key_value(scopes) {
            let known = known.clone();
            self.scopes.entry(known.clone()).and_modify(|users| *users += 1);
            return known;
        }
        self.bytes += scopes_weight(scopes);
        self.scopes.insert(scopes.clone(), 1);
        scopes.clone()
    }

    /// The slots of all entries of a user.
    #[cfg(feature = "validate")]
    #[inline]
    fn all_of(&self, owner: u64) -> Vec<u32> {
        let mut found = Vec::new();
        for (at, slot) in (0..).zip(self.slots.iter()) {
            if slot.scopes.is_some() && slot.place.owner == owner {
                found.push(at);
            }
        }
        found
    }
}

impl Slots {
    fn get(&self, at: u32) -> Option<&Slot> {
        self.blocks.get(at as usize / BLOCK)?.get(at as usize % BLOCK)
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.blocks.get_mut(at as usize / BLOCK)?.get_mut(at as usize % BLOCK)
    }

    #[cfg(any(test, feature = "validate"))]
    fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.blocks.iter().flat_map(|block| block.iter()).take(self.len)
    }

    /// The number of a new slot, which is empty.
    fn add(&mut self) -> u32 {
        if self.len == self.blocks.len() * BLOCK {
            self.blocks.push(Box::new([const { Slot::empty() }; BLOCK]));
        }
        self.len += 1;
        // 4 billion entries do not fit into any memory.
        u32::try_from(self.len - 1).unwrap_or(u32::MAX)
    }
}

impl Slot {
    const fn empty() -> Self {
        let place = Place { owner: 0, who: [0; 32] };
        Self { place, scopes: None, token: None, failure: None, soft: 0, span: 0, end: 0, used: false }
    }

    fn is(&self, place: &Place, scopes: &Scopes) -> bool {
        self.place == *place && self.scopes.as_ref() == Some(scopes)
    }

    /// Before this time, in seconds since 1970, the token cannot be what it says.
    fn since(&self) -> i64 {
        i64::from(self.soft) - i64::from(self.span) - MARGIN.whole_seconds()
    }

    fn weight(&self) -> usize {
        let failure = self.failure.as_ref().map_or(0, |_| GATE_WEIGHT);
        SLOT_WEIGHT + self.token.as_ref().map_or(0, AccessToken::weight) + failure
    }
}

/// Both spellings, their counter, and their place in the map.
fn scopes_weight(scopes: &Scopes) -> usize {
    2 * scopes.folded().len() + 128
}

impl Hint {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(u32::MAX))
    }
}

impl Clone for Hint {
    #[inline]
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)))
    }
}

/// When a token should be refreshed: the issuer's word, else half-way for long lives, else shortly before the end; up
/// to a tenth earlier, so that replicas do not refresh in step.
fn refresh_on(token: &AccessToken, now: OffsetDateTime) -> OffsetDateTime {
    let life = token.expires_on() - now;
    let soft = token.refresh_on().unwrap_or_else(|| match life {
        long if long >= LONG => now + long / 2,
        short => now + (short - EARLY).max(short / 2),
    });
    soft - (soft - now) * (0.1 * crate::random::weak_fraction())
}

/// How long a failure is remembered: what the server asks for, else 5 s doubling to 30 s; 5 s for what someone must
/// mend, who may do so at any moment.
fn pause(error: &Error, count: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(5);
    if let Some(wait) = error.retry_after() {
        return wait.clamp(Duration::from_secs(1), Duration::from_secs(3600));
    }
    if !error.is_retryable() {
        return FIRST;
    }
    FIRST.saturating_mul(2_u32.saturating_pow(count.saturating_sub(1))).min(Duration::from_secs(30))
}

/// Whole seconds as they fit into a slot: until the year 2106, and none that are negative.
fn seconds(of: i64) -> u32 {
    u32::try_from(of.max(0)).unwrap_or(u32::MAX)
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cache_key::Subject, *};
    use crate::ErrorKind;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const TENANT: &str = "11111111-1111-1111-1111-111111111111";

    fn key(scope: &str) -> CacheKey {
        key_of(TENANT, scope)
    }

    fn key_of(tenant: &str, scope: &str) -> CacheKey {
        CacheKey::new(Some(tenant.parse().unwrap()), Subject::App, scope.parse().unwrap(), None)
    }

    fn token(text: &str, seconds: i64) -> AccessToken {
        AccessToken::new(text, NOW + time::Duration::seconds(seconds)).unwrap()
    }

    fn at(seconds: i64) -> OffsetDateTime {
        NOW + time::Duration::seconds(seconds)
    }

    impl TokenCache {
        fn put(&self, key: &CacheKey, token: &AccessToken) {
            assert!(self.store(key, token, NOW, &|| true));
        }

        fn refuse(&self, key: &CacheKey, error: &Error, fatal: bool, seconds: i64) {
            assert!(self.fail(key, error, fatal, at(seconds), &|| true));
        }
    }

    /// P2.2: what an entry takes beside the token's own bytes. Two blocks of the allocator and the emptiest index are
    /// counted.
    #[test]
    fn an_entry_is_small() {
        let overhead = SLOT_WEIGHT + token("t", 1).weight() - "t".len();
        assert!(size_of::<Slot>() <= 80, "{}", size_of::<Slot>());
        assert!(overhead <= 200, "{overhead}");
    }

    #[tokio::test]
    async fn a_token_is_fresh_then_aging_then_gone() {
        let cache = TokenCache::new(1 << 20);
        cache.put(&key("a"), &token("t", 3600));
        let hint = Hint::new();
        for (seconds, expected) in [
            (-31, "miss"),
            (-30, "fresh"),
            (0, "fresh"),
            (2900, "fresh"),
            (3301, "aging"),
            (3569, "aging"),
            (3570, "miss"),
            (9999, "miss"),
        ] {
            let found = match cache.look(&key("a"), at(seconds), None) {
                Look::Fresh(_) => "fresh",
                Look::Aging(_) => "aging",
                Look::Gated(_) => "gated",
                Look::Miss => "miss",
            };
            assert_eq!(found, expected, "{seconds}");
            let hit = cache.hit(key("a").place(), &key("a").scopes, &hint, seconds);
            assert_eq!(hit.is_some(), expected == "fresh", "{seconds}");
        }
    }

    #[test]
    fn long_lives_are_refreshed_half_way_and_short_ones_before_the_end() {
        for (life, latest) in [(86_400, 43_200), (7200, 3600), (7199, 6899), (3600, 3300), (400, 200)] {
            for _ in 0..50 {
                let at = (refresh_on(&token("t", life), NOW) - NOW).as_seconds_f64();
                assert!(at <= f64::from(latest) && at >= 0.9 * f64::from(latest), "{life}: {at}");
            }
        }
    }

    /// An issuer may name a time of refresh in the very last seconds; a token near its end is not handed out for that.
    #[test]
    fn no_word_of_the_issuer_makes_a_token_live_longer() {
        let cache = TokenCache::new(1 << 20);
        cache.put(&key("a"), &token("t", 3600).with_refresh_on(at(3_000_000)));
        assert!(matches!(cache.look(&key("a"), at(3569), None), Look::Fresh(_) | Look::Aging(_)));
        let hint = Hint::new();
        assert!(cache.hit(key("a").place(), &key("a").scopes, &hint, 3570).is_none());
        assert!(matches!(cache.look(&key("a"), at(3570), None), Look::Miss));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_put_back_makes_no_token_live_longer() {
        let cache = TokenCache::new(1 << 20);
        cache.put(&key("a"), &token("t", 3600));
        let hit = |seconds| cache.hit(key("a").place(), &key("a").scopes, &Hint::new(), seconds).is_some();
        tokio::time::advance(Duration::from_secs(3569)).await;
        assert!(hit(2969), "still alive, though the clock has lost ten minutes");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!hit(2970), "its end has come all the same");
        assert!(matches!(cache.look(&key("a"), at(2970), None), Look::Miss));
    }

    /// The age that is kept for a second is not kept for the next one.
    #[tokio::test(start_paused = true)]
    async fn the_age_is_a_second_behind_at_the_most() {
        let cache = TokenCache::new(1 << 20);
        for second in 0..50 {
            assert_eq!(cache.age_at(1000 + second), cache.age());
            tokio::time::advance(Duration::from_millis(999)).await;
            assert!(cache.age() - cache.age_at(1000 + second) <= 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_working_token_is_better_than_an_error() {
        let cache = TokenCache::new(1 << 20);
        let error = Error::new(ErrorKind::Transient, "down");
        cache.put(&key("a"), &token("t", 3600));
        cache.refuse(&key("a"), &error, false, 3400);
        assert!(matches!(cache.look(&key("a"), at(3400), None), Look::Fresh(_)), "the gate holds refreshes back");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(matches!(cache.look(&key("a"), at(3406), None), Look::Aging(_)), "then it is tried again");
        cache.refuse(&key("a"), &error, true, 3406);
        assert!(matches!(cache.look(&key("a"), at(3406), None), Look::Gated(_)), "fatal errors drop the token");
        assert!(cache.hit(key("a").place(), &key("a").scopes, &Hint::new(), 0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_as_long_as_the_server_asks() {
        let cache = TokenCache::new(1 << 20);
        let error = Error::new(ErrorKind::Throttled, "slow").with_retry_after(Some(Duration::from_secs(40)));
        cache.refuse(&key("a"), &error, false, 0);
        tokio::time::advance(Duration::from_secs(39)).await;
        assert!(matches!(cache.look(&key("a"), NOW, None), Look::Gated(_)));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(matches!(cache.look(&key("a"), NOW, None), Look::Miss));
    }

    #[tokio::test]
    async fn a_rejected_token_is_not_served_again_but_its_successor_is() {
        let cache = TokenCache::new(1 << 20);
        let (old, new) = (token("old", 3600), token("new", 3600));
        cache.put(&key("a"), &old);
        assert!(matches!(cache.look(&key("a"), NOW, Some(&old)), Look::Miss));
        cache.put(&key("a"), &new);
        assert!(matches!(cache.look(&key("a"), NOW, Some(&old)), Look::Fresh(_)));
    }

    #[test]
    fn what_is_no_longer_wanted_is_not_kept() {
        let cache = TokenCache::new(1 << 20);
        assert!(!cache.store(&key("a"), &token("t", 3600), NOW, &|| false));
        assert!(!cache.fail(&key("a"), &Error::new(ErrorKind::Transient, "down"), false, NOW, &|| false));
        assert_eq!(cache.bytes(), 0);
    }

    /// A slot that was emptied, or given to somebody else, is not mistaken by who remembers it.
    #[cfg(feature = "validate")]
    #[test]
    fn a_hint_is_never_more_than_a_hint() {
        let user = |number: usize| {
            let id = format!("00000000-0000-0000-0000-{number:012}").parse().unwrap();
            crate::UserKey::assume_verified(TENANT.parse().unwrap(), id)
        };
        let key = |number: usize| {
            let subject = Subject::OnBehalfOf { user: user(number), assertion: [9; 32] };
            CacheKey::new(Some(TENANT.parse().unwrap()), subject, "a".parse().unwrap(), None)
        };
        let cache = TokenCache::new(1 << 20);
        let hints: Vec<_> = (0..200).map(|_| Hint::new()).collect();
        for number in 0..200 {
            cache.put(&key(number), &token(&format!("t{number}"), 3600));
        }
        let hit = |number: usize| cache.hit(key(number).place(), &"a".parse().unwrap(), &hints[number], 0);
        for number in 0..200 {
            assert_eq!(hit(number).unwrap().expose(), format!("t{number}"));
        }
        let (out, stay) = (0..200).partition::<Vec<usize>, _>(|number| number % 2 == 0);
        out.iter().for_each(|number| cache.forget(&user(*number)));
        assert!(out.iter().all(|number| hit(*number).is_none()), "at once");
        // Others move into the slots.
        for number in 200..300 {
            cache.put(&key(number), &token(&format!("t{number}"), 3600));
        }
        assert!(out.iter().all(|number| hit(*number).is_none()));
        for number in stay {
            assert_eq!(hit(number).unwrap().expose(), format!("t{number}"));
        }
        // Back, and found again.
        cache.put(&key(0), &token("again", 3600));
        assert_eq!(hit(0).unwrap().expose(), "again");
    }

    #[tokio::test]
    async fn memory_stays_bounded_and_what_is_used_stays() {
        let limit = 1 << 20;
        let cache = TokenCache::new(limit);
        let text = "x".repeat(500);
        cache.put(&key("hot"), &token(&text, 3600));
        let hint = Hint::new();
        for n in 0..20_000 {
            cache.put(&key_of(&format!("00000000-0000-0000-0000-{n:012}"), "cold"), &token(&text, 3600));
            let hit = cache.hit(key("hot").place(), &key("hot").scopes, &hint, 0);
            assert!(hit.is_some(), "evicted after {n}");
            assert!(cache.bytes() <= limit);
        }
        let count = |what: fn(&Shard) -> usize| -> usize {
            cache.shards.iter().map(|shard| what(&shard.lock().unwrap())).sum()
        };
        let entries = count(|shard| shard.slots.iter().filter(|slot| slot.scopes.is_some()).count());
        assert!(entries > 100);
        assert_eq!(count(|shard| shard.slots.len - shard.free.len()), entries, "slots are used again");
        assert!(count(|shard| shard.slots.len) < 2 * entries);
        assert_eq!(count(|shard| shard.scopes.values().map(|users| *users as usize).sum()), entries);
    }

    /// The count of bytes is right whatever happens: it ends where it began.
    #[cfg(feature = "validate")]
    #[tokio::test]
    async fn forgetting_gives_everything_back() {
        let cache = TokenCache::new(1 << 30);
        let user = crate::UserKey::assume_verified(TENANT.parse().unwrap(), TENANT.parse().unwrap());
        let error = Error::new(ErrorKind::Transient, "down");
        for number in 0..500 {
            let session = Some([u8::try_from(number % 7).unwrap(); 32]);
            let subject = Subject::Account { user: user.clone(), session };
            let scopes = format!("s{}", number % 50).parse().unwrap();
            let parameters = (number % 2 == 0).then_some([1; 32]);
            let key = CacheKey::new(Some(TENANT.parse().unwrap()), subject, scopes, parameters);
            match number % 3 {
                0 => cache.refuse(&key, &error, number % 2 == 0, 0),
                _ => cache.put(&key, &token(&"x".repeat(number), 3600)),
            }
            if number % 100 == 0 {
                cache.forget_account(&user, &key.subject);
                assert!(matches!(cache.look(&key, NOW, None), Look::Miss));
            }
        }
        cache.forgive(&user);
        assert!(cache.bytes() > 0);
        cache.forget(&user);
        assert_eq!(cache.bytes(), 0);
    }

    #[tokio::test]
    async fn storing_one_key_over_and_over_does_not_grow() {
        let cache = TokenCache::new(1 << 20);
        for _ in 0..10_000 {
            cache.put(&key("a"), &token("t", 3600));
        }
        assert_eq!(cache.shard(key("a").place()).slots.len, 1);
    }
}
