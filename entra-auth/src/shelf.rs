//! The few tokens of one identity: kept until shortly before they end, refreshed behind the caller's back, fetched once
//! for all who wait. For credentials that ask this machine instead of Entra; those of a client have a cache of their own.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    AccessToken, Clock, Error, ErrorKind, Scopes, TenantId, TokenRequest,
    flight::{Flights, Landing},
};

/// A token in its last 30 s is not handed out: it would end on the way.
const MARGIN: time::Duration = time::Duration::seconds(30);
/// Tokens of short life are refreshed from 300 s before their end.
const EARLY: time::Duration = time::Duration::seconds(300);
/// A life of this length or more is refreshed half-way.
const LONG: time::Duration = time::Duration::hours(2);
/// An identity is asked for few resources; more are not kept.
const MOST: usize = 256;

pub(crate) struct Shelf {
    clock: Arc<dyn Clock>,
    /// Bound of one fetch with all its attempts.
    limit: Duration,
    slots: Mutex<HashMap<Label, Slot>>,
    flights: Flights<Flight, Result<AccessToken, Error>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Label {
    tenant: Option<TenantId>,
    scopes: Scopes,
}

/// A fetch for a challenge must not be mistaken for one without.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Flight {
    label: Label,
    challenged: bool,
}

#[derive(Default)]
struct Slot {
    token: Option<Kept>,
    failure: Option<Gate>,
}

struct Kept {
    token: AccessToken,
    refresh_on: OffsetDateTime,
    /// When it came. A clock that is now before that time was ahead, and so is the end that was worked out then.
    since: OffsetDateTime,
}

struct Gate {
    error: Error,
    until: Instant,
    count: u32,
}

enum Look {
    Fresh(AccessToken),
    Aging(AccessToken),
    Gated(Error),
    Miss,
}

impl Shelf {
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock, limit, slots: Mutex::default(), flights: Flights::default() }
    }

    /// The token for a request, from the shelf or by `fetch`.
    pub(crate) async fn token<F>(
        self: &Arc<Self>,
        request: &TokenRequest,
        fetch: impl FnOnce() -> F,
    ) -> Result<AccessToken, Error>
    where
        F: Future<Output = Result<AccessToken, Error>> + Send + 'static,
    {
        let label = Label { tenant: request.tenant.clone(), scopes: request.scopes.clone() };
        let flight = Flight { label, challenged: request.claims.is_some() };
        let look = match flight.challenged {
            true => Look::Miss,
            false => self.look(&flight.label, request.rejected.as_ref()),
        };
        match look {
            Look::Fresh(token) => {
                report("hit", request);
                Ok(token)
            }
            Look::Aging(token) => {
                report("refresh", request);
                self.flights.start(&flight, self.limit, || self.fetch(flight.clone(), request, fetch()));
                Ok(token)
            }
            Look::Gated(error) => {
                report("gated", request);
                Err(error)
            }
            Look::Miss => {
                report("miss", request);
                match self.flights.join(&flight, self.limit, || self.fetch(flight.clone(), request, fetch())).await {
                    Landing::Done(result) => result,
                    Landing::Crashed | Landing::TimedOut => {
                        Err(Error::new(ErrorKind::Transport, "the token request was cut off before it ended"))
                    }
                }
            }
        }
    }

    /// The token kept for a request, good or not.
    pub(crate) fn kept(&self, request: &TokenRequest) -> Option<AccessToken> {
        let label = Label { tenant: request.tenant.clone(), scopes: request.scopes.clone() };
        self.lock().get(&label).and_then(|slot| slot.token.as_ref()).map(|kept| kept.token.clone())
    }

    fn fetch(
        self: &Arc<Self>,
        flight: Flight,
        request: &TokenRequest,
        fetch: impl Future<Output = Result<AccessToken, Error>> + Send + 'static,
    ) -> impl Future<Output = Result<AccessToken, Error>> + Send + 'static {
        let shelf = Arc::clone(self);
        let rejected = request.rejected.clone();
        async move {
            // Who came while the last flight was landing finds its result here.
            if !flight.challenged {
                match shelf.look(&flight.label, rejected.as_ref()) {
                    Look::Fresh(token) => return Ok(token),
                    Look::Gated(error) => return Err(error),
                    Look::Aging(_) | Look::Miss => {}
                }
            }
            let result = fetch.await.and_then(|token| {
                // A token that ends at once is of no use to anyone.
                match token.expires_on() > shelf.clock.now() {
                    true => Ok(token),
                    false => Err(Error::new(ErrorKind::Protocol, "the token that was handed out has already ended")),
                }
            });
            match &result {
                Ok(token) => shelf.keep(&flight.label, token.clone()),
                Err(error) if !flight.challenged => shelf.fail(&flight.label, error),
                Err(_) => {}
            }
            result
        }
    }

    fn look(&self, label: &Label, rejected: Option<&AccessToken>) -> Look {
        let now = self.clock.now();
        let slots = self.lock();
        let Some(slot) = slots.get(label) else { return Look::Miss };
        let gate = slot.failure.as_ref().filter(|gate| gate.until > Instant::now());
        let usable = slot.token.as_ref().filter(|kept| {
            now < kept.token.expires_on() - MARGIN
                && now >= kept.since - MARGIN
                && !rejected.is_some_and(|rejected| rejected.same_as(&kept.token))
        });
        match (usable, gate) {
            (Some(kept), _) if now < kept.refresh_on => Look::Fresh(kept.token.clone()),
            // While refreshing fails, the token that still works is better than the error.
            (Some(kept), Some(_)) => Look::Fresh(kept.token.clone()),
            (Some(kept), None) => Look::Aging(kept.token.clone()),
            (None, Some(gate)) => Look::Gated(gate.error.clone()),
            (None, None) => Look::Miss,
        }
    }

    fn keep(&self, label: &Label, token: AccessToken) {
        let now = self.clock.now();
        let kept = Kept { refresh_on: refresh_on(&token, now), since: now, token };
        let mut slots = self.lock();
        make_room(&mut slots, label, now);
        slots.insert(label.clone(), Slot { token: Some(kept), failure: None });
    }

    fn fail(&self, label: &Label, error: &Error) {
        let now = self.clock.now();
        let mut slots = self.lock();
        make_room(&mut slots, label, now);
        let slot = slots.entry(label.clone()).or_default();
        let count = slot.failure.as_ref().map_or(0, |gate| gate.count).saturating_add(1);
        slot.failure = Some(Gate { error: error.clone(), until: Instant::now() + pause(error, count), count });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Label, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what has ended, and at last of anything, before a new label comes in.
fn make_room(slots: &mut HashMap<Label, Slot>, label: &Label, now: OffsetDateTime) {
    if slots.len() < MOST || slots.contains_key(label) {
        return;
    }
    slots.retain(|_, slot| slot.token.as_ref().is_some_and(|kept| kept.token.expires_on() > now));
    while slots.len() >= MOST {
        let Some(any) = slots.keys().next().cloned() else { return };
        slots.remove(&any);
    }
}

/// The issuer's word, else half-way for long lives, else shortly before the end; up to a tenth earlier, so that
/// replicas do not refresh in step.
fn refresh_on(token: &AccessToken, now: OffsetDateTime) -> OffsetDateTime {
    let life = token.expires_on() - now;
    let soft = token.refresh_on().unwrap_or_else(|| match life {
        long if long >= LONG => now + long / 2,
        short => now + (short - EARLY).max(short / 2),
    });
    soft - (soft - now) * (0.1 * crate::random::weak_fraction())
}

/// How long a failure is remembered: what the other side asks for, else 1 s doubling to 30 s; 5 s for what someone must
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

fn report(result: &'static str, request: &TokenRequest) {
    let scopes = request.scopes.as_str();
    tracing::debug!(name: "entra.token.cache", result, scopes, "token cache");
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::SystemClock;

    fn shelf() -> Arc<Shelf> {
        Arc::new(Shelf::new(Arc::new(SystemClock), Duration::from_secs(5)))
    }

    fn request(scope: &str) -> TokenRequest {
        TokenRequest::new(scope.parse().unwrap())
    }

    #[test]
    fn long_lives_are_refreshed_half_way_and_short_ones_before_the_end() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (life, latest) in [(86_400, 43_200), (7200, 3600), (7199, 6899), (3600, 3300), (400, 200)] {
            let token = AccessToken::new("t", now + time::Duration::seconds(life)).unwrap();
            for _ in 0..50 {
                let at = (refresh_on(&token, now) - now).as_seconds_f64();
                assert!(at <= f64::from(latest) && at >= 0.9 * f64::from(latest), "{life}: {at}");
            }
        }
    }

    #[tokio::test]
    async fn many_callers_make_one_fetch_and_a_rejection_one_more() {
        let (shelf, fetches) = (shelf(), Arc::new(AtomicUsize::new(0)));
        let get = |request: TokenRequest| {
            let (shelf, fetches) = (Arc::clone(&shelf), Arc::clone(&fetches));
            tokio::spawn(async move {
                let clock = SystemClock;
                let fetch = || async move {
                    let count = fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    AccessToken::new(format!("t{count}"), clock.now() + time::Duration::hours(1))
                };
                shelf.token(&request, fetch).await.unwrap()
            })
        };
        let first: Vec<_> = (0..100).map(|_| get(request("a/.default"))).collect();
        for token in first {
            assert_eq!(token.await.unwrap().expose(), "t0");
        }
        let old = shelf.kept(&request("a/.default")).unwrap();
        let again: Vec<_> = (0..100).map(|_| get(request("a/.default").with_rejected(old.clone()))).collect();
        for token in again {
            assert_eq!(token.await.unwrap().expose(), "t1");
        }
        assert_eq!(get(request("b/.default")).await.unwrap().expose(), "t2");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_a_moment() {
        let (shelf, fetches) = (shelf(), Arc::new(AtomicUsize::new(0)));
        for (advance, expected) in [(0, 1), (0, 1), (4, 1), (2, 2)] {
            tokio::time::advance(Duration::from_secs(advance)).await;
            let fetches_here = Arc::clone(&fetches);
            let fetch = || async move {
                fetches_here.fetch_add(1, Ordering::SeqCst);
                Err(Error::new(ErrorKind::Configuration, "wrong"))
            };
            assert!(shelf.token(&request("a/.default"), fetch).await.is_err());
            assert_eq!(fetches.load(Ordering::SeqCst), expected);
        }
    }

    #[test]
    fn the_shelf_is_bounded() {
        let shelf = shelf();
        for n in 0..1000 {
            let label = Label { tenant: None, scopes: format!("{n}").parse().unwrap() };
            shelf.keep(&label, AccessToken::new("t", SystemClock.now() + time::Duration::hours(1)).unwrap());
            shelf.fail(&label, &Error::new(ErrorKind::Transient, "down"));
            assert!(shelf.lock().len() <= MOST && shelf.lock().contains_key(&label));
        }
    }
}
