//! From request to token: cache, single flight, attempts, and what is remembered of failures.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, response::Parts};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;

#[cfg(feature = "validate")]
use super::{accounts::Accounts, second_level::SecondLevel, wire::Extras};
use super::{
    cache::{Hint, Look, TokenCache},
    cache_key::{CacheKey, FlightKey, Place},
    credential::Used,
    wire::{self, Answer},
};
use crate::{
    AccessToken, Body, ClaimsChallenge, Clock, CorrelationId, Deadline, Error, ErrorKind, HttpTransport, RetryPolicy,
    Scopes, TokenRequest, TransportError,
    flight::{Boxed, Flights, Landing, caught},
};

/// An answer of the token endpoint is never larger.
const MAX_ANSWER: usize = 256 << 10;
/// Token requests of one client under way at the same time.
const MAX_PARALLEL: usize = 32;

pub(super) struct Engine {
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    /// Bound of one attempt.
    pub(super) attempt: Duration,
    /// Bound of all attempts together.
    pub(super) total: Duration,
    /// Refresh tokens of users, and when they signed out.
    #[cfg(feature = "validate")]
    pub(super) accounts: Accounts,
    /// What other processes share with this one.
    #[cfg(feature = "validate")]
    pub(super) second_level: Option<Box<dyn SecondLevel>>,
    pub(super) cache: TokenCache,
    flights: Flights<FlightKey, Result<AccessToken, Error>>,
    parallel: Semaphore,
}

/// One grant: makes a fresh request for each attempt, since an assertion must not be sent twice.
#[async_trait]
pub(super) trait Grant: Send + Sync + 'static {
    /// The name under which spans and events report it.
    fn name(&self) -> &'static str;

    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error>;

    /// What came with the token: a refresh token, an id token.
    #[cfg(feature = "validate")]
    fn keep(&self, _extras: &Extras) {}

    /// The grant was refused.
    fn refused(&self, _error: &Error) {}

    /// What became of a token before it is kept, such as a cap of its life.
    fn finish(&self, token: AccessToken) -> Result<AccessToken, Error> {
        Ok(token)
    }
}

impl Engine {
    pub(super) fn new(transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>, cache_bytes: usize) -> Self {
        Self {
            transport,
            clock,
            retry: RetryPolicy::default(),
            attempt: Duration::from_secs(10),
            total: Duration::from_secs(12),
            #[cfg(feature = "validate")]
            accounts: Accounts::default(),
            #[cfg(feature = "validate")]
            second_level: None,
            cache: TokenCache::new(cache_bytes),
            flights: Flights::default(),
            parallel: Semaphore::new(MAX_PARALLEL),
        }
    }

    /// A good token for a request without anything out of the ordinary, if there is one at hand. Everything else is for
    /// [`Engine::token`].
    pub(super) fn hit(&self, place: &Place, request: &TokenRequest, hint: &Hint) -> Option<AccessToken> {
        let is_plain = request.claims.is_none() && request.rejected.is_none() && request.parameters.is_empty();
        // Whether the user signed out elsewhere is asked for now and then.
        #[cfg(feature = "validate")]
        let is_plain = is_plain && self.second_level.is_none();
        if !is_plain {
            return None;
        }
        let token = self.cache.hit(place, &request.scopes, hint, self.clock.unix_seconds())?;
        report("hit", &request.scopes);
        Some(token)
    }

    /// A token from the cache, or by the grant that `grant` makes when one is needed.
    pub(super) async fn token(
        self: &Arc<Self>,
        key: CacheKey,
        request: &TokenRequest,
        grant: &(dyn Fn() -> Arc<dyn Grant> + Sync),
    ) -> Result<AccessToken, Error> {
        #[cfg(feature = "validate")]
        if self.recheck(&key).await && key.subject.is_account() {
            return Err(signed_out());
        }
        // Before the cache is asked: who finds nothing there boards no flight that began after an older look.
        let epoch = self.epoch(&key);
        let look = match request.claims {
            None => self.cache.look(&key, self.clock.now(), request.rejected.as_ref()),
            Some(_) => Look::Miss,
        };
        if let Look::Fresh(token) = look {
            report("hit", &key.scopes);
            return Ok(token);
        }
        let flight = FlightKey { key, claims: request.claims.clone(), epoch };
        match look {
            Look::Fresh(token) => Ok(token),
            Look::Aging(token) => {
                report("refresh", &flight.key.scopes);
                self.flights.start(&flight, self.total * 2, || self.fetch(flight.clone(), request, grant()));
                Ok(token)
            }
            Look::Gated(error) => {
                report("gated", &flight.key.scopes);
                Err(error)
            }
            Look::Miss => {
                report("miss", &flight.key.scopes);
                let fetch = || self.fetch(flight.clone(), request, grant());
                match self.flights.join(&flight, self.total * 2, fetch).await {
                    Landing::Done(result) => result,
                    Landing::Crashed | Landing::TimedOut => Err(cut_off()),
                }
            }
        }
    }

    /// The task of one flight. It keeps what it learns, so that later callers do not depend on who waited. The order of
    /// its steps is that of `model.rs`, which tries all interleavings.
    fn fetch(
        self: &Arc<Self>,
        flight: FlightKey,
        request: &TokenRequest,
        grant: Arc<dyn Grant>,
    ) -> Boxed<'static, Result<AccessToken, Error>> {
        let engine = Arc::clone(self);
        let rejected = request.rejected.clone();
        let id = request.correlation_id.clone().unwrap_or_else(CorrelationId::random);
        let name = grant.name();
        let span = tracing::info_span!(
            "entra.token",
            grant = name,
            attempt = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
            entra.correlation_id = id.as_str(),
        );
        let fetch = async move {
            // Who came while the last flight was landing finds its result here instead of flying again.
            let look = || engine.cache.look(&flight.key, engine.clock.now(), rejected.as_ref());
            let found = look();
            match &found {
                Look::Fresh(token) if flight.claims.is_none() => return Ok(token.clone()),
                Look::Gated(error) if flight.claims.is_none() => return Err(error.clone()),
                Look::Fresh(_) | Look::Aging(_) | Look::Gated(_) | Look::Miss => {}
            }
            #[cfg(feature = "validate")]
            let held = if let Look::Aging(token) = found { Some(token) } else { None };
            #[cfg(feature = "validate")]
            let fill = engine.begin(flight.key.subject.user()).await;
            #[cfg(feature = "validate")]
            let epoch = match fill.changed {
                true if flight.key.subject.is_account() => return Err(signed_out()),
                // The user's own assertion still counts, and this fetch begins after the sign-out.
                true => engine.epoch(&flight.key),
                false => flight.epoch,
            };
            #[cfg(not(feature = "validate"))]
            let epoch = flight.epoch;
            #[cfg(feature = "validate")]
            if flight.claims.is_none() && engine.load(&flight.key, &fill, epoch, held.as_ref(), rejected.as_ref()).await
            {
                match look() {
                    Look::Fresh(token) => return Ok(token),
                    Look::Aging(token) if held.is_none() => return Ok(token),
                    Look::Aging(_) | Look::Gated(_) | Look::Miss => {}
                }
            }
            let deadline = Instant::now() + engine.total;
            // An endpoint that has just failed is asked once: a dead one is not to be hammered by every caller's patience.
            let patient = flight.claims.is_some() || !engine.cache.has_failed(&flight.key);
            let attempts = engine.attempts(&*grant, flight.claims.as_ref(), &id, deadline, patient);
            let result = match timeout_at(deadline, caught(Box::pin(attempts))).await {
                Ok(Some(result)) => result,
                Ok(None) => Err(cut_off()),
                Err(_) => Err(late()),
            };
            #[cfg(feature = "validate")]
            match &result {
                Ok(token) => engine.share(&flight.key, &fill, token).await,
                Err(error) if is_fatal(error, &flight.key) => engine.withdraw(&flight.key).await,
                Err(_) => {}
            }
            let now = engine.clock.now();
            // What was fetched for a user who has signed out meanwhile belongs to nobody.
            let is_wanted = || engine.epoch(&flight.key) == epoch;
            let is_kept = match &result {
                Ok(token) => engine.cache.store(&flight.key, token, now, &is_wanted),
                // A challenge that cannot be met says nothing about requests without it.
                Err(_) if flight.claims.is_some() => is_wanted(),
                Err(error) => engine.cache.fail(&flight.key, error, is_fatal(error, &flight.key), now, &is_wanted),
            };
            if !is_kept {
                return Err(signed_out());
            }
            if let Err(error) = &result {
                tracing::Span::current().record("error.type", tracing::field::debug(error.kind()));
            }
            result
        };
        Box::pin(fetch.instrument(span))
    }

    async fn attempts(
        &self,
        grant: &dyn Grant,
        claims: Option<&ClaimsChallenge>,
        id: &CorrelationId,
        deadline: Instant,
        patient: bool,
    ) -> Result<AccessToken, Error> {
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            tracing::Span::current().record("attempt", attempt);
            let request = grant.request(claims, id).await?;
            let used = request.extensions().get::<Used>().cloned();
            let error = match self.exchange(request, deadline).await {
                Ok(answer) => {
                    #[cfg(feature = "validate")]
                    grant.keep(&answer.extras);
                    return grant.finish(answer.token);
                }
                Err(error) => error,
            };
            // A credential renewed meanwhile is tried at once, and once.
            if let Some(used) = used.filter(|_| !renewed)
                && used.is_renewed_after(&error).await
            {
                renewed = true;
                continue;
            }
            let pause = self.retry.delay(attempt, error.retry_after()).filter(|_| patient && error.is_retryable());
            match pause {
                Some(pause) if Instant::now() + pause < deadline => tokio::time::sleep(pause).await,
                _ => {
                    grant.refused(&error);
                    return Err(error);
                }
            }
            attempt += 1;
        }
    }

    async fn exchange(&self, request: Request<Body>, deadline: Instant) -> Result<Answer, Error> {
        let (head, body) = self.send(request, deadline).await?;
        wire::decode(head.status, &head.headers, &body, self.clock.now())
    }

    /// Sends what works only once, such as an authorization code: again only when provably no byte of it left, or when
    /// the client's own credential was refused, which uses nothing up, and another one is there. `make` makes a fresh
    /// request for each attempt.
    #[cfg(feature = "validate")]
    pub(super) async fn once<F>(&self, make: impl Fn() -> F) -> Result<(Parts, Bytes), Error>
    where
        F: Future<Output = Result<Request<Body>, Error>>,
    {
        let deadline = Instant::now() + self.total;
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            let request = timeout_at(deadline, make()).await.map_err(|_| late())??;
            let used = request.extensions().get::<Used>().cloned();
            let error = match self.send(request, deadline).await {
                Ok((head, body)) => {
                    if let Some(used) = used.filter(|_| !renewed && !head.status.is_success()) {
                        let refusal = wire::failure(head.status, &head.headers, &body, self.clock.now());
                        if used.is_renewed_after(&refusal).await {
                            renewed = true;
                            continue;
                        }
                    }
                    return Ok((head, body));
                }
                Err(error) => error,
            };
            let unsent =
                matches!(&error, Unanswered::Failed(error) if error.kind() == crate::TransportErrorKind::NotSent);
            match self.retry.delay(attempt, None).filter(|_| unsent) {
                Some(pause) if Instant::now() + pause < deadline => tokio::time::sleep(pause).await,
                _ => return Err(error.into()),
            }
            attempt += 1;
        }
    }

    /// One request out, one whole answer back, of whatever status.
    async fn send(&self, mut request: Request<Body>, deadline: Instant) -> Result<(Parts, Bytes), Unanswered> {
        // Only who sends holds a place: what a request is made of may be a token of this very engine.
        let permit = timeout_at(deadline, self.parallel.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Unanswered::Late) };
        let started = Instant::now();
        let attempt_deadline = deadline.min(started + self.attempt);
        request.extensions_mut().insert(Deadline(attempt_deadline));
        let exchange = async {
            let (head, body) = self.transport.send(request).await?.into_parts();
            let body = body.collect(MAX_ANSWER).await?;
            Ok::<_, TransportError>((head, body))
        };
        // A transport that overlooks the deadline must not hold the flight up.
        let (head, body) =
            timeout_at(attempt_deadline, exchange).await.map_err(|_| Unanswered::Late)?.map_err(Unanswered::Failed)?;
        let status = head.status.as_u16();
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(name: "entra.token.response", status, elapsed_ms, "token endpoint answered");
        Ok((head, body))
    }

    /// The user's sign-outs so far.
    #[cfg(feature = "validate")]
    fn epoch(&self, key: &CacheKey) -> u64 {
        key.subject.user().map_or(0, |user| self.accounts.epoch(user))
    }

    /// Without users nobody signs out.
    #[cfg(not(feature = "validate"))]
    #[allow(clippy::unused_self)]
    const fn epoch(&self, _: &CacheKey) -> u64 {
        0
    }
}

/// What has to do with people.
#[cfg(feature = "validate")]
impl Engine {
    /// Keeps a token that came by another way than [`Engine::token`], unless the user signed out since `epoch`.
    #[inline]
    pub(super) fn adopt(&self, key: &CacheKey, token: &AccessToken, epoch: u64) -> Result<(), Error> {
        match self.cache.store(key, token, self.clock.now(), &|| self.epoch(key) == epoch) {
            true => Ok(()),
            false => Err(signed_out()),
        }
    }

    /// Forgets every token of a user, and lets no fetch under way bring one back.
    #[inline]
    pub(super) fn forget_user(&self, user: &crate::UserKey) {
        // In this order: what is stored before the second step is found by it, what is stored after it knows the first.
        // A flight that began between the two may have found an old token; after the third nobody boards it.
        self.accounts.sign_out(user);
        self.cache.forget(user);
        self.accounts.depart(user);
    }

    /// Forgets failures remembered for a user, who has just mended what was wrong.
    #[inline]
    pub(super) fn forgive(&self, user: &crate::UserKey) {
        self.cache.forgive(user);
    }
}

/// Why there is no answer.
enum Unanswered {
    Failed(TransportError),
    Late,
}

impl From<Unanswered> for Error {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Failed(error) => error.into(),
            Unanswered::Late => late(),
        }
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Transport, "the token endpoint did not answer in time; check the network and the proxy")
}

/// The user signed out while a token was on its way.
pub(super) fn signed_out() -> Error {
    Error::new(ErrorKind::Reauthenticate, "the user has signed out")
}

/// After these the user's token is no longer the user's wish; an application's token stays until it ends.
fn is_fatal(error: &Error, key: &CacheKey) -> bool {
    key.subject.is_user()
        && matches!(
            error.kind(),
            ErrorKind::Reauthenticate
                | ErrorKind::ConsentRequired
                | ErrorKind::InteractionRequired
                | ErrorKind::PolicyBlocked
        )
}

fn cut_off() -> Error {
    Error::new(ErrorKind::Transport, "the token request was cut off before it ended")
}

fn report(result: &'static str, scopes: &Scopes) {
    let scopes = scopes.as_str();
    tracing::debug!(name: "entra.token.cache", result, scopes, "token cache");
}

impl fmt::Debug for Engine {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("transport", &self.transport).finish_non_exhaustive()
    }
}
