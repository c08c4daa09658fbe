//! The second level in a [`Store`]. It is generic over the store, and thereby compiled where one is set up.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::{
    super::{
        cache_key::{CacheKey, Subject},
        engine::Engine,
        random_id,
    },
    Epoch, Fill, SecondLevel,
};
use crate::{AccessToken, Key, Namespace, Partition, Put, Store, StoreError, StoreErrorKind, UserKey, When, document};

const TOKENS: Namespace = Namespace::rebuildable("entra.tokens");
const EPOCHS: Namespace = Namespace::precious("entra.token-epochs");
/// Well within the promised 60 s.
const RECHECK: Duration = Duration::from_secs(50);
const RETRY: Duration = Duration::from_secs(5);
/// How long a token request waits for the store, each time.
const PATIENCE: Duration = Duration::from_millis(500);
/// As long as a refresh token can live: no process then holds anything from before the sign-out.
const EPOCH_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Users whose epoch is known here; beyond it what is kept of the longest unused sixteenth is forgotten.
const MAX_WATCHED: usize = 250_000;
/// A token in its last 30 s is not handed out.
const MARGIN: time::Duration = time::Duration::seconds(30);
/// Clocks of our processes differ by less.
const SKEW: time::Duration = time::Duration::minutes(5);
/// Format of both records: one byte of version, then JSON or the epoch's text.
const FORMAT: u8 = 1;

/// Tokens and epochs in a store.
pub(in crate::acquire) struct InStore<S> {
    store: S,
    /// Whose tokens they are: authority, client id, and whether it handles claims challenges.
    owner: [String; 3],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watched: HashMap<UserKey, Watch>,
    uses: u64,
    paused: Option<Instant>,
}

struct Watch {
    /// `None` while the store has not told.
    epoch: Option<Epoch>,
    /// When to ask again.
    next: Instant,
    used: u64,
}

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    token: Cow<'a, str>,
    expires_on: i64,
    refresh_on: Option<i64>,
    acquired_on: i64,
    epoch: Option<Cow<'a, str>>,
}

impl<S: Store> InStore<S> {
    pub(in crate::acquire) fn new(store: S) -> Self {
        Self { store, owner: <[String; 3]>::default(), state: Mutex::default() }
    }
}

#[async_trait]
impl<S: Store> SecondLevel for InStore<S> {
    fn belongs_to(&mut self, owner: [String; 3]) {
        self.owner = owner;
    }

    fn is_due(&self, user: &UserKey) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let watch = state.watched.get_mut(user).filter(|watch| watch.next <= now);
        watch.is_some_and(|watch| {
            watch.next = now + RETRY;
            true
        })
    }

    async fn compare(&self, engine: &Engine, user: &UserKey) -> Fill {
        let epoch = self.epoch(user).await;
        let (changed, evicted) = self.observe(user, epoch.as_ref());
        if changed {
            engine.forget_user(user);
        }
        for user in evicted {
            engine.forget_user(&user);
        }
        Fill { epoch, changed }
    }

    async fn load(&self, key: &CacheKey, epoch: &Epoch, now: OffsetDateTime) -> Option<(AccessToken, OffsetDateTime)> {
        let place = self.place(key)?;
        let Some(record) = self.ask(self.store.get(&place)).await? else {
            report("miss");
            return None;
        };
        let found = Entry::decode(&record.value).filter(|entry| entry.epoch.as_deref() == epoch.as_deref());
        let found = found.and_then(|entry| entry.token(now));
        report(if found.is_some() { "hit" } else { "stale" });
        found
    }

    async fn save(&self, key: &CacheKey, epoch: &Epoch, token: &AccessToken, now: OffsetDateTime) {
        let Some(place) = self.place(key) else { return };
        let life = Duration::try_from(token.expires_on() - now).unwrap_or_default();
        let entry = Entry {
            token: token.expose().into(),
            expires_on: token.expires_on().unix_timestamp(),
            refresh_on: token.refresh_on().map(OffsetDateTime::unix_timestamp),
            acquired_on: now.unix_timestamp(),
            epoch: epoch.as_deref().map(Into::into),
        };
        if let Some(bytes) = entry.encode() {
            self.ask(self.store.put(&place, bytes, life, When::Always)).await;
        }
    }

    async fn remove(&self, key: &CacheKey) {
        if let Some(place) = self.place(key) {
            self.ask(self.store.remove(&place, When::Always)).await;
        }
    }

    async fn forget(&self, user: &UserKey) -> Result<(), StoreError> {
        let epoch = random_id().ok_or(StoreErrorKind::Unavailable)?;
        let bytes = [&[FORMAT][..], epoch.as_bytes()].concat();
        match self.store.put(&self.epoch_place(user), bytes.into(), EPOCH_LIFE, When::Always).await? {
            Put::Stored(_) | Put::Conflict => {}
        }
        // This process has forgotten the user already; it is the others who find the change.
        if let Some(watch) = self.lock().watched.get_mut(user) {
            watch.epoch = Some(Some(epoch.into()));
        }
        self.store.remove_partition(&self.partition(user)).await
    }
}

impl<S: Store> InStore<S> {
    async fn epoch(&self, user: &UserKey) -> Option<Epoch> {
        let place = self.epoch_place(user);
        let read = async {
            let Some(record) = self.store.get(&place).await? else { return Ok(None) };
            let text = record.value.strip_prefix(&[FORMAT]).and_then(|text| std::str::from_utf8(text).ok());
            Ok(Some(text.ok_or(StoreErrorKind::Corrupt)?.into()))
        };
        self.ask(read).await
    }

    /// Whether the epoch is another than before, and who had to be forgotten to remember it.
    fn observe(&self, user: &UserKey, epoch: Option<&Epoch>) -> (bool, Vec<UserKey>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.uses += 1;
        let (used, next) = (state.uses, now + if epoch.is_some() { RECHECK } else { RETRY });
        let Some(watch) = state.watched.get_mut(user) else {
            state.watched.insert(user.clone(), Watch { epoch: epoch.cloned(), next, used });
            return (false, state.make_room());
        };
        (watch.next, watch.used) = (next, used);
        let Some(epoch) = epoch else { return (false, Vec::new()) };
        let changed = match &watch.epoch {
            Some(old) => old != epoch,
            // What was kept while the store was silent may be from before any sign-out.
            None => epoch.is_some(),
        };
        watch.epoch = Some(epoch.clone());
        (changed, Vec::new())
    }

    /// Where a token lies. Only tokens that need nothing but the user's own assertion are shared: they are the ones
    /// that every process can be asked for. Those with additional parameters are rare, and stay here.
    fn place(&self, key: &CacheKey) -> Option<Key> {
        let Subject::OnBehalfOf { user, assertion } = &key.subject else { return None };
        let tenant = key.tenant.as_ref().filter(|_| key.parameters.is_none())?;
        let assertion: String = assertion.iter().map(|byte| format!("{byte:02x}")).collect();
        let scopes = key.scopes.as_str().to_ascii_lowercase();
        Some(self.partition(user).key(["on_behalf_of", tenant.as_str(), &assertion, &scopes]))
    }

    fn partition(&self, user: &UserKey) -> Partition {
        TOKENS.partition(self.parts(user))
    }

    /// In another partition than the tokens, so that it stays when they go.
    fn epoch_place(&self, user: &UserKey) -> Key {
        EPOCHS.partition(self.parts(user)).key(["epoch"])
    }

    fn parts<'a>(&'a self, user: &'a UserKey) -> impl Iterator<Item = &'a str> {
        self.owner.iter().map(String::as_str).chain([user.tenant().as_str(), user.object_id().as_str()])
    }

    /// Asks the store, unless it has just failed; failures are told to the operator and to nobody else.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        if self.is_paused() {
            return None;
        }
        match timeout(PATIENCE, question).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.failed(error.kind()),
            Err(_) => self.failed(StoreErrorKind::Timeout),
        }
        None
    }

    fn is_paused(&self) -> bool {
        self.lock().paused.is_some_and(|until| until > Instant::now())
    }

    fn failed(&self, kind: StoreErrorKind) {
        if matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout) {
            self.lock().paused = Some(Instant::now() + RETRY);
        }
        tracing::warn!(
            name: "entra.token.second_level",
            result = "failed",
            error.r#type = ?kind,
            "the shared token cache failed; going on without it"
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[inline]
    fn make_room(&mut self) -> Vec<UserKey> {
        if self.watched.len() <= MAX_WATCHED {
            return Vec::new();
        }
        let mut uses: Vec<u64> = self.watched.values().map(|watch| watch.used).collect();
        let (_, oldest, _) = uses.select_nth_unstable(MAX_WATCHED / 16);
        let oldest = *oldest;
        self.watched.extract_if(|_, watch| watch.used <= oldest).map(|(user, _)| user).collect()
    }
}

impl Entry<'_> {
    #[inline]
    fn encode(&self) -> Option<Bytes> {
        let mut bytes = vec![FORMAT];
        serde_json::to_writer(&mut bytes, self).ok()?;
        Some(bytes.into())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Option<Self> {
        document::read(std::str::from_utf8(bytes.strip_prefix(&[FORMAT])?).ok()?).ok()
    }

    /// The token and when it was issued, unless it is near its end or from the future.
    #[inline]
    fn token(self, now: OffsetDateTime) -> Option<(AccessToken, OffsetDateTime)> {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let (expires_on, acquired_on) = (time(self.expires_on)?, time(self.acquired_on)?);
        if now >= expires_on - MARGIN || acquired_on > now + SKEW {
            return None;
        }
        let token = AccessToken::new(self.token.into_owned(), expires_on).ok()?;
        let refresh_on = self.refresh_on.and_then(time);
        Some((refresh_on.into_iter().fold(token, AccessToken::with_refresh_on), acquired_on))
    }
}

#[inline]
fn report(result: &'static str) {
    tracing::debug!(name: "entra.token.second_level", result, "shared token cache");
}

impl<S: Store> fmt::Debug for InStore<S> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondLevel").field("store", &self.store).finish_non_exhaustive()
    }
}
