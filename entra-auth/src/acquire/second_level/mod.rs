//! The second level of the token cache: users' tokens in a store that several processes share, and the sign-outs that
//! all of them obey.
//!
//! A user has an epoch in the store, changed by every sign-out. An entry names the epoch under which its fetch began,
//! so what is written late by anyone is never read. The first level asks for the epoch of a user in use every 50 s.
//! Nothing here fails a token request: a store that does not answer is left alone for 5 s.

#[cfg(feature = "seal")]
mod in_store;

use std::fmt;

use async_trait::async_trait;
use time::OffsetDateTime;

#[cfg(feature = "seal")]
pub(super) use self::in_store::InStore;
use super::{cache_key::CacheKey, engine::Engine};
use crate::{AccessToken, Error, ErrorKind, StoreError, UserKey};

/// What the engine wants of a second level. A trait, so that only programs that have one compile it.
#[async_trait]
pub(super) trait SecondLevel: fmt::Debug + Send + Sync {
    /// Whose tokens they are: authority, client id, and whether it handles claims challenges.
    fn belongs_to(&mut self, owner: [String; 3]);

    /// Whether the user's epoch should be asked for; `true` for one caller only.
    fn is_due(&self, user: &UserKey) -> bool;

    /// Asks for the user's epoch. The engine forgets the user if it is another than before, and whoever had to be
    /// forgotten to remember it.
    async fn compare(&self, engine: &Engine, user: &UserKey) -> Fill;

    async fn load(&self, key: &CacheKey, epoch: &Epoch, now: OffsetDateTime) -> Option<(AccessToken, OffsetDateTime)>;

    async fn save(&self, key: &CacheKey, epoch: &Epoch, token: &AccessToken, now: OffsetDateTime);

    async fn remove(&self, key: &CacheKey);

    /// Changes the user's epoch, and forgets what is kept for them.
    async fn forget(&self, user: &UserKey) -> Result<(), StoreError>;
}

/// Changed by every sign-out; `None` for who has never signed out.
pub(super) type Epoch = Option<Box<str>>;

/// Where a fetch stands that began just now.
#[derive(Default)]
pub(super) struct Fill {
    /// `None` while the store does not tell.
    epoch: Option<Epoch>,
    /// The user signed out elsewhere, and it is only noticed now.
    pub(super) changed: bool,
}

/// What the engine does with a second level; without one, nothing.
impl Engine {
    /// Asks for the user's epoch when that is due; `true` when the user signed out elsewhere, and is forgotten now.
    pub(super) async fn recheck(&self, key: &CacheKey) -> bool {
        match (&self.second_level, key.subject.user()) {
            (Some(second), Some(user)) if second.is_due(user) => second.compare(self, user).await.changed,
            _ => false,
        }
    }

    /// Learns the user's epoch: before anything is fetched for them, and before a new sign-in is kept.
    pub(super) async fn begin(&self, user: Option<&UserKey>) -> Fill {
        match (&self.second_level, user) {
            (Some(second), Some(user)) => second.compare(self, user).await,
            _ => Fill::default(),
        }
    }

    /// Takes a token over from the second level, one that lives longer than `held`; `true` when there was one. `epoch`
    /// is the local one of this fetch.
    pub(super) async fn load(
        &self,
        key: &CacheKey,
        fill: &Fill,
        epoch: u64,
        held: Option<&AccessToken>,
        rejected: Option<&AccessToken>,
    ) -> bool {
        let (Some(second), Some(user), Some(known)) = (&self.second_level, key.subject.user(), &fill.epoch) else {
            return false;
        };
        let now = self.clock.now();
        let Some((token, acquired_on)) = second.load(key, known, now).await else { return false };
        let stale = held.is_some_and(|held| token.expires_on() <= held.expires_on())
            || rejected.is_some_and(|rejected| rejected.same_as(&token));
        // The point of refresh follows from when the token was issued, not from when it came here.
        !stale && self.cache.store(key, &token, acquired_on, &|| self.accounts.epoch(user) == epoch)
    }

    /// Shares a token that was fetched, unless the user signed out meanwhile, which is then known here too.
    pub(super) async fn share(&self, key: &CacheKey, fill: &Fill, token: &AccessToken) {
        if let (Some(second), Some(user), Some(known)) = (&self.second_level, key.subject.user(), &fill.epoch) {
            let now = second.compare(self, user).await;
            if now.epoch.as_ref().is_some_and(|epoch| epoch == known) {
                second.save(key, known, token, self.clock.now()).await;
            }
        }
    }

    /// Withdraws a token that is no longer the user's wish.
    pub(super) async fn withdraw(&self, key: &CacheKey) {
        if let Some(second) = &self.second_level {
            second.remove(key).await;
        }
    }

    /// Signs a user out, here at once and in every other process that shares the second level within 60 s.
    pub(super) async fn sign_out(&self, user: &UserKey) -> Result<(), Error> {
        self.forget_user(user);
        let Some(second) = &self.second_level else { return Ok(()) };
        let told = second.forget(user).await;
        // What began between the two steps did so under the old epoch.
        self.forget_user(user);
        told.map_err(|error| {
            let text = "the user has signed out in this process, but the shared cache could not be told; try again";
            Error::new(ErrorKind::Transient, text).with_source(error)
        })
    }
}
