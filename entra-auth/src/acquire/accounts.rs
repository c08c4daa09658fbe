//! What is kept of users who signed in: refresh tokens, names to show, and who has left.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Secret, UserKey};

/// Refresh tokens of one client that are kept at the same time; beyond it the longest unused sixteenth goes.
const MAX: usize = 100_000;
/// How long it is remembered that a user left: far longer than any fetch takes.
const DEPARTED: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Accounts(Mutex<State>);

#[derive(Default)]
struct State {
    holders: HashMap<Holder, Held>,
    /// When users signed out, and the number of that sign-out.
    departed: HashMap<UserKey, (u64, Instant)>,
    sign_outs: u64,
    uses: u64,
}

/// Whose refresh token it is: a user's own sign-in, or one of the user's long-running processes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) user: UserKey,
    pub(super) session: Option<[u8; 32]>,
}

struct Held {
    refresh_token: Secret,
    names: Names,
    used: u64,
}

/// Names to show to people.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) name: Option<Box<str>>,
    pub(super) username: Option<Box<str>>,
}

impl Accounts {
    /// Keeps a first refresh token.
    #[inline]
    pub(super) fn insert(&self, holder: Holder, refresh_token: Secret, names: Names) {
        let mut state = self.lock();
        let used = state.tick();
        state.holders.insert(holder, Held { refresh_token, names, used });
        if state.holders.len() > MAX {
            let mut uses: Vec<u64> = state.holders.values().map(|held| held.used).collect();
            let (_, oldest, _) = uses.select_nth_unstable(MAX / 16);
            let oldest = *oldest;
            state.holders.retain(|_, held| held.used > oldest);
        }
    }

    /// Replaces the refresh token of someone who is still here.
    #[inline]
    pub(super) fn rotate(&self, holder: &Holder, refresh_token: Secret) {
        if let Some(held) = self.lock().holders.get_mut(holder) {
            held.refresh_token = refresh_token;
        }
    }

    #[inline]
    pub(super) fn refresh_token(&self, holder: &Holder) -> Option<Secret> {
        let mut state = self.lock();
        let used = state.tick();
        let held = state.holders.get_mut(holder)?;
        held.used = used;
        Some(held.refresh_token.clone())
    }

    #[inline]
    pub(super) fn contains(&self, holder: &Holder) -> bool {
        self.lock().holders.contains_key(holder)
    }

    #[inline]
    pub(super) fn names(&self, user: &UserKey) -> Option<Names> {
        let holder = Holder { user: user.clone(), session: None };
        self.lock().holders.get(&holder).map(|held| held.names.clone())
    }

    /// Users who signed in, without those who are only known by a long-running process.
    #[inline]
    pub(super) fn signed_in(&self) -> Vec<(UserKey, Names)> {
        let state = self.lock();
        let own = state.holders.iter().filter(|(holder, _)| holder.session.is_none());
        own.map(|(holder, held)| (holder.user.clone(), held.names.clone())).collect()
    }

    /// Drops a refresh token that Entra refused, unless a newer one has taken its place.
    #[inline]
    pub(super) fn drop_refused(&self, holder: &Holder, refused: &Secret) {
        let mut state = self.lock();
        if state.holders.get(holder).is_some_and(|held| held.refresh_token == *refused) {
            state.holders.remove(holder);
        }
    }

    #[inline]
    pub(super) fn remove(&self, holder: &Holder) -> bool {
        self.lock().holders.remove(holder).is_some()
    }

    /// Drops everything of a user; what is being fetched for them from before is not kept.
    #[inline]
    pub(super) fn sign_out(&self, user: &UserKey) {
        self.lock().holders.retain(|holder, _| holder.user != *user);
        self.depart(user);
    }

    /// Changes the user's epoch: nobody boards a flight from before any more.
    #[inline]
    pub(super) fn depart(&self, user: &UserKey) {
        let now = Instant::now();
        let mut state = self.lock();
        state.departed.retain(|_, (_, at)| now.duration_since(*at) < DEPARTED);
        state.sign_outs += 1;
        let number = state.sign_outs;
        state.departed.insert(user.clone(), (number, now));
    }

    /// Changes with every sign-out of the user.
    pub(super) fn epoch(&self, user: &UserKey) -> u64 {
        self.lock().departed.get(user).map_or(0, |(number, _)| *number)
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[inline]
    const fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl fmt::Debug for Accounts {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserKey {
        let tenant = "11111111-1111-1111-1111-111111111111".parse().unwrap();
        UserKey::assume_verified(tenant, format!("00000000-0000-0000-0000-{number:012}").parse().unwrap())
    }

    fn holder(number: usize, session: Option<u8>) -> Holder {
        Holder { user: user(number), session: session.map(|byte| [byte; 32]) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_out_takes_all_of_one_user_and_changes_the_epoch() {
        let accounts = Accounts::default();
        for holder in [holder(1, None), holder(1, Some(1)), holder(2, None)] {
            accounts.insert(holder, "r".into(), Names::default());
        }
        let before = [accounts.epoch(&user(1)), accounts.epoch(&user(2))];
        accounts.sign_out(&user(1));
        assert!(!accounts.contains(&holder(1, None)) && !accounts.contains(&holder(1, Some(1))));
        assert!(accounts.contains(&holder(2, None)));
        assert_ne!(accounts.epoch(&user(1)), before[0]);
        assert_eq!(accounts.epoch(&user(2)), before[1]);
        accounts.rotate(&holder(1, None), "late".into());
        assert!(!accounts.contains(&holder(1, None)), "a late answer brings nobody back");
        // Departures are not remembered for ever.
        tokio::time::advance(DEPARTED).await;
        accounts.sign_out(&user(3));
        assert_eq!(accounts.lock().departed.len(), 1);
    }

    #[tokio::test]
    async fn only_the_refused_token_is_dropped() {
        let accounts = Accounts::default();
        accounts.insert(holder(1, None), "new".into(), Names::default());
        accounts.drop_refused(&holder(1, None), &"old".into());
        assert!(accounts.contains(&holder(1, None)));
        accounts.drop_refused(&holder(1, None), &"new".into());
        assert!(!accounts.contains(&holder(1, None)));
    }

    #[tokio::test]
    async fn the_number_is_bounded_and_who_is_active_stays() {
        let accounts = Accounts::default();
        accounts.insert(holder(0, None), "r".into(), Names::default());
        for number in 1..MAX + 5000 {
            accounts.insert(holder(number, None), "r".into(), Names::default());
            if number % 1000 == 0 {
                assert!(accounts.refresh_token(&holder(0, None)).is_some(), "{number}");
            }
        }
        assert!(accounts.lock().holders.len() <= MAX);
        assert!(accounts.contains(&holder(0, None)));
    }
}
