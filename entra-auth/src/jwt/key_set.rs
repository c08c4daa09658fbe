//! What is known of an issuer's keys, and when it may be asked again. Pure: it is told the time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{KeyError, KeyErrorKind, SigningKey, jwk::Keys};

/// A key that stops being published is used this long at most.
const GRACE: Duration = Duration::from_secs(3600);
/// Keys are used this long after the last good document.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// A refresh is due after this, give or take a tenth.
const REFRESH: Duration = Duration::from_secs(3600);
/// How often an unknown key may cause a fetch, and how long the answer is remembered.
const ASK_AGAIN: Duration = Duration::from_secs(300);
/// After a failed refresh the next one waits this long.
const REFRESH_AGAIN: Duration = Duration::from_secs(300);
/// As long as nothing is loaded, failures space the attempts from one second up to this.
const LOAD_AGAIN: Duration = Duration::from_secs(30);
/// The most unknown ids that are remembered.
const MAX_UNKNOWN: usize = 1024;

#[derive(Debug)]
pub(super) struct KeySet {
    keys: HashMap<Box<str>, Entry>,
    /// When the last good document came; `None` when there is none or it is too old.
    loaded: Option<Instant>,
    refresh_at: Instant,
    /// A fetch is under way, and whoever misses a key waits for it.
    fetching: bool,
    /// When an unknown key last caused a fetch.
    asked: Option<Instant>,
    /// Ids that the issuer was asked for in vain, and until when that counts.
    unknown: HashMap<Box<str>, Instant>,
    /// The last failure while nothing was loaded, until when it is not tried again, how many there were in a row.
    failure: Option<(KeyError, Instant, u32)>,
    revision: u64,
}

#[derive(Debug)]
struct Entry {
    key: Arc<SigningKey>,
    /// Since when good documents lack it, and how many.
    missing: Option<(Instant, u32)>,
}

/// The outcome of looking for a key.
#[derive(Debug)]
pub(super) enum Find {
    Key {
        key: Arc<SigningKey>,
        refresh: bool,
    },
    /// Ask the issuer, then look again.
    Ask(Reason),
    No(KeyError),
}

/// Why the issuer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nothing is loaded.
    Load,
    /// A token names a key that is not known.
    UnknownKey,
    /// The document has an age.
    Refresh,
}

impl KeySet {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            keys: HashMap::new(),
            loaded: None,
            refresh_at: now,
            fetching: false,
            asked: None,
            unknown: HashMap::new(),
            failure: None,
            revision: 0,
        }
    }

    pub(super) fn find(&mut self, kid: &str, now: Instant) -> Find {
        self.forget_old(now);
        if let Some(entry) = self.keys.get(kid) {
            return Find::Key { key: Arc::clone(&entry.key), refresh: now >= self.refresh_at };
        }
        if self.loaded.is_none() {
            return match &self.failure {
                Some((error, until, _)) if now < *until => Find::No(error.clone()),
                _ => Find::Ask(Reason::Load),
            };
        }
        if self.unknown.get(kid).is_some_and(|until| now < *until) {
            return Find::No(KeyErrorKind::Unknown.into());
        }
        if self.fetching || self.may_ask(now) {
            Find::Ask(Reason::UnknownKey)
        } else {
            Find::No(KeyErrorKind::Gated.into())
        }
    }

    /// Called when a fetch is about to start; the decision to make it may be older than its outcome elsewhere. If it
    /// may start, [`KeySet::end`] must follow.
    pub(super) fn begin(&mut self, reason: Reason, now: Instant) -> bool {
        let may = match reason {
            Reason::Load => self.loaded.is_none() && self.failure.as_ref().is_none_or(|(_, until, _)| now >= *until),
            Reason::UnknownKey => self.may_ask(now),
            Reason::Refresh => now >= self.refresh_at,
        };
        match reason {
            Reason::UnknownKey if may => self.asked = Some(now),
            Reason::Refresh if may => self.refresh_at = now + REFRESH_AGAIN,
            _ => {}
        }
        self.fetching |= may;
        may
    }

    /// The fetch is over, however it went.
    pub(super) fn end(&mut self) {
        self.fetching = false;
    }

    /// Takes a good document in.
    pub(super) fn absorb(&mut self, mut document: Keys, now: Instant) {
        self.forget_old(now);
        let mut dropped = false;
        self.keys.retain(|kid, entry| match document.remove(kid) {
            Some(key) => {
                entry.missing = None;
                // An unchanged key stays as it is, parsed once. A changed one is another key.
                if !key.is_same_as(&entry.key) {
                    entry.key = key;
                    dropped = true;
                }
                true
            }
            None => {
                let (since, times) = entry.missing.unwrap_or((now, 0));
                entry.missing = Some((since, times + 1));
                dropped |= times + 1 >= 2;
                times + 1 < 2
            }
        });
        for (kid, key) in document {
            self.keys.insert(kid, Entry { key, missing: None });
        }
        self.revision += u64::from(dropped);
        self.loaded = Some(now);
        self.refresh_at = now + REFRESH.mul_f64(0.9 + 0.2 * crate::random::weak_fraction());
        self.failure = None;
    }

    /// Notes that a fetch failed and when the issuer wants to be asked again.
    pub(super) fn fail(&mut self, error: KeyError, wait: Option<Duration>, now: Instant) {
        if self.loaded.is_none() {
            let times = self.failure.as_ref().map_or(0, |(_, _, times)| *times);
            let chosen = Duration::from_secs(1 << times.min(5)).min(LOAD_AGAIN);
            self.failure = Some((error, now + wait.unwrap_or(chosen), times + 1));
        } else if let Some(wait) = wait {
            self.refresh_at = self.refresh_at.max(now + wait);
        }
    }

    /// Notes that the issuer was asked and does not publish this key.
    pub(super) fn note_unknown(&mut self, kid: &str, now: Instant) {
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.retain(|_, until| now < *until);
        }
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.insert(kid.into(), now + ASK_AGAIN);
        }
    }

    pub(super) fn revision(&mut self, now: Instant) -> u64 {
        self.forget_old(now);
        self.revision
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN)
    }

    fn forget_old(&mut self, now: Instant) {
        let before = self.keys.len();
        if self.loaded.is_some_and(|loaded| now.duration_since(loaded) >= STALE) {
            self.keys.clear();
            self.loaded = None;
        }
        self.keys.retain(|_, entry| entry.missing.is_none_or(|(since, _)| now.duration_since(since) < GRACE));
        self.revision += u64::from(self.keys.len() < before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::jwk::tests::ec_keys;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// The document without one of its keys.
    fn without(kid: &str, document: &Keys) -> Keys {
        document.iter().filter(|(other, _)| &***other != kid).map(|(kid, key)| (kid.clone(), Arc::clone(key))).collect()
    }

    fn has(set: &mut KeySet, kid: &str, now: Instant) -> bool {
        matches!(set.find(kid, now), Find::Key { .. })
    }

    fn kind(find: Find) -> Result<Reason, KeyErrorKind> {
        match find {
            Find::Ask(reason) => Ok(reason),
            Find::No(error) => Err(error.kind()),
            Find::Key { .. } => panic!("a key"),
        }
    }

    #[test]
    fn a_key_is_gone_after_two_good_documents_without_it() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        let both = ec_keys(&["a", "b"]);
        set.absorb(both.clone(), start);
        assert_eq!(set.revision(start), 0);
        set.absorb(without("b", &both), start + MINUTE);
        assert!(has(&mut set, "b", start + MINUTE));
        assert_eq!(set.revision(start + MINUTE), 0);
        set.absorb(without("b", &both), start + 2 * MINUTE);
        assert!(!has(&mut set, "b", start + 2 * MINUTE));
        assert_eq!(set.revision(start + 2 * MINUTE), 1);
        set.fail(KeyErrorKind::Unavailable.into(), None, start + 3 * MINUTE);
        assert!(!has(&mut set, "b", start + 3 * MINUTE), "stale serving brings nothing back");
        assert!(has(&mut set, "a", start + 3 * MINUTE));
    }

    #[test]
    fn a_key_is_gone_an_hour_after_the_first_document_without_it() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        let both = ec_keys(&["a", "b"]);
        set.absorb(both.clone(), start);
        set.absorb(without("b", &both), start);
        let end = start + HOUR;
        assert!(has(&mut set, "b", end - MINUTE));
        let revision = set.revision(end - MINUTE);
        assert_ne!(set.revision(end), revision, "the revision tells without a lookup");
        assert!(!has(&mut set, "b", end));
        assert!(has(&mut set, "a", end));
    }

    #[test]
    fn documents_that_flap_lose_no_key() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        let both = ec_keys(&["a", "b"]);
        for round in 0..20 {
            let now = start + round * 5 * MINUTE;
            set.absorb(if round % 2 == 0 { both.clone() } else { without("b", &both) }, now);
            assert!(has(&mut set, "a", now) && has(&mut set, "b", now));
        }
        assert_eq!(set.revision(start + 100 * MINUTE), 0);
    }

    #[test]
    fn a_changed_key_of_the_same_id_is_another_key() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        set.absorb(ec_keys(&["a"]), start);
        let Find::Key { key: first, .. } = set.find("a", start) else { panic!("no key") };
        set.absorb(ec_keys(&["a"]), start);
        let Find::Key { key: second, .. } = set.find("a", start) else { panic!("no key") };
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(set.revision(start), 1);
        set.absorb(Keys::from([("a".into(), Arc::clone(&second))]), start);
        let Find::Key { key: third, .. } = set.find("a", start) else { panic!("no key") };
        assert!(Arc::ptr_eq(&second, &third), "an unchanged key is parsed once");
        assert_eq!(set.revision(start), 1);
    }

    #[test]
    fn keys_are_served_for_a_day_without_the_issuer() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        set.absorb(ec_keys(&["a"]), start);
        let day = start + 24 * HOUR;
        set.fail(KeyErrorKind::Unavailable.into(), None, day - MINUTE);
        assert!(has(&mut set, "a", day - MINUTE));
        assert_eq!(set.revision(day), 1);
        assert_eq!(kind(set.find("a", day)), Ok(Reason::Load));
    }

    #[test]
    fn refresh_is_due_after_an_hour_give_or_take_a_tenth() {
        let start = Instant::now();
        for _ in 0..100 {
            let mut set = KeySet::new(start);
            set.absorb(ec_keys(&["a"]), start);
            let mut due = |now| matches!(set.find("a", now), Find::Key { refresh: true, .. });
            assert!(!due(start + 54 * MINUTE - MINUTE));
            assert!(due(start + 66 * MINUTE));
        }
    }

    #[test]
    fn a_failed_refresh_waits() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        set.absorb(ec_keys(&["a"]), start);
        let later = start + 2 * HOUR;
        assert!(set.begin(Reason::Refresh, later));
        assert!(!set.begin(Reason::Refresh, later), "under way");
        set.fail(KeyErrorKind::Unavailable.into(), Some(10 * MINUTE), later);
        assert!(!set.begin(Reason::Refresh, later + 9 * MINUTE));
        assert!(set.begin(Reason::Refresh, later + 10 * MINUTE));
    }

    #[test]
    fn the_gate_opens_every_five_minutes_and_not_for_the_first_load() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        assert_eq!(kind(set.find("x", start)), Ok(Reason::Load));
        assert!(set.begin(Reason::Load, start));
        set.absorb(ec_keys(&["a"]), start);
        assert!(!set.begin(Reason::Load, start), "someone else loaded");
        assert_eq!(kind(set.find("x", start)), Ok(Reason::UnknownKey));
        assert!(set.begin(Reason::UnknownKey, start));
        assert!(!set.begin(Reason::UnknownKey, start));
        assert_eq!(kind(set.find("y", start)), Ok(Reason::UnknownKey), "waits for the fetch that is under way");
        set.end();
        set.note_unknown("x", start);
        assert_eq!(kind(set.find("x", start)), Err(KeyErrorKind::Unknown));
        assert_eq!(kind(set.find("y", start)), Err(KeyErrorKind::Gated));
        assert_eq!(kind(set.find("y", start + 5 * MINUTE)), Ok(Reason::UnknownKey));
    }

    #[test]
    fn failures_of_the_first_load_are_spaced_and_shared() {
        let mut now = Instant::now();
        let mut set = KeySet::new(now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert!(set.begin(Reason::Load, now));
            set.fail(KeyErrorKind::Unavailable.into(), None, now);
            now += Duration::from_secs(seconds);
            assert_eq!(kind(set.find("a", now - Duration::from_millis(1))), Err(KeyErrorKind::Unavailable));
            assert_eq!(kind(set.find("a", now)), Ok(Reason::Load));
        }
        set.fail(KeyErrorKind::Unavailable.into(), Some(10 * MINUTE), now);
        assert_eq!(kind(set.find("a", now + 9 * MINUTE)), Err(KeyErrorKind::Unavailable));
        set.absorb(ec_keys(&["a"]), now);
        assert!(has(&mut set, "a", now));
    }

    #[test]
    fn remembering_unknown_ids_is_bounded() {
        let start = Instant::now();
        let mut set = KeySet::new(start);
        for n in 0..10_000 {
            set.note_unknown(&format!("k{n}"), start);
        }
        assert_eq!(set.unknown.len(), MAX_UNKNOWN);
        set.note_unknown("later", start + 5 * MINUTE);
        assert_eq!(set.unknown.len(), 1);
    }
}
