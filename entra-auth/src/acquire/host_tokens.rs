//! The tokens of one identity that this machine hands out: the same cache and the same flights as those of a client, for
//! credentials that ask the machine instead of Entra.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    cache::{Look, TokenCache},
    cache_key::{CacheKey, FlightKey, Subject},
};
use crate::{
    AccessToken, Clock, Error, ErrorKind, TokenRequest,
    flight::{Boxed, Flights, Landing},
};

/// An identity is asked for few resources.
const LIMIT: usize = 4 << 20;

pub(crate) struct HostTokens {
    clock: Arc<dyn Clock>,
    /// Bound of one fetch with all its attempts.
    limit: Duration,
    cache: TokenCache,
    flights: Flights<FlightKey, Result<AccessToken, Error>>,
}

impl HostTokens {
    #[inline]
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self { clock, limit, cache: TokenCache::new(LIMIT), flights: Flights::default() }
    }

    /// The token for a request, from the cache or by `fetch`.
    pub(crate) async fn token(
        self: &Arc<Self>,
        request: &TokenRequest,
        fetch: &(dyn Fn() -> Boxed<'static, Result<AccessToken, Error>> + Sync),
    ) -> Result<AccessToken, Error> {
        let flight = FlightKey { key: key(request), claims: request.claims.clone(), epoch: 0 };
        let look = match flight.claims {
            Some(_) => Look::Miss,
            None => self.cache.look(&flight.key, self.clock.now(), request.rejected.as_ref()),
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

    /// The token kept for a request, if it is good.
    #[inline]
    pub(crate) fn kept(&self, request: &TokenRequest) -> Option<AccessToken> {
        match self.cache.look(&key(request), self.clock.now(), None) {
            Look::Fresh(token) | Look::Aging(token) => Some(token),
            Look::Gated(_) | Look::Miss => None,
        }
    }

    #[inline]
    fn fetch(
        self: &Arc<Self>,
        flight: FlightKey,
        request: &TokenRequest,
        fetch: Boxed<'static, Result<AccessToken, Error>>,
    ) -> Boxed<'static, Result<AccessToken, Error>> {
        let tokens = Arc::clone(self);
        let rejected = request.rejected.clone();
        Box::pin(async move {
            // Who came while the last flight was landing finds its result here.
            if flight.claims.is_none() {
                match tokens.cache.look(&flight.key, tokens.clock.now(), rejected.as_ref()) {
                    Look::Fresh(token) => return Ok(token),
                    Look::Gated(error) => return Err(error),
                    Look::Aging(_) | Look::Miss => {}
                }
            }
            let result = fetch.await;
            let now = tokens.clock.now();
            let result = result.and_then(|token| match token.expires_on() > now {
                true => Ok(token),
                // A token that ends at once is of no use to anyone.
                false => Err(Error::new(ErrorKind::Protocol, "the token that was handed out has already ended")),
            });
            match &result {
                Ok(token) => {
                    tokens.cache.store(&flight.key, token, now, &|| true);
                }
                Err(error) if flight.claims.is_none() => {
                    tokens.cache.fail(&flight.key, error, false, now, &|| true);
                }
                Err(_) => {}
            }
            result
        })
    }
}

#[inline]
fn key(request: &TokenRequest) -> CacheKey {
    CacheKey::new(request.tenant.clone(), Subject::Machine, request.scopes.clone(), request.parameters.digest())
}

#[inline]
fn report(result: &'static str, request: &TokenRequest) {
    let scopes = request.scopes.as_str();
    tracing::debug!(name: "entra.token.cache", result, scopes, "token cache");
}

impl fmt::Debug for HostTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTokens")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::SystemClock;

    fn tokens() -> Arc<HostTokens> {
        Arc::new(HostTokens::new(Arc::new(SystemClock), Duration::from_secs(5)))
    }

    fn request(scope: &str) -> TokenRequest {
        TokenRequest::new(scope.parse().unwrap())
    }

    #[tokio::test]
    async fn many_callers_make_one_fetch_and_a_rejection_one_more() {
        let (tokens, fetches) = (tokens(), Arc::new(AtomicUsize::new(0)));
        let get = |request: TokenRequest| {
            let (tokens, fetches) = (Arc::clone(&tokens), Arc::clone(&fetches));
            tokio::spawn(async move {
                let fetch = || -> Boxed<'static, _> {
                    let fetches = Arc::clone(&fetches);
                    Box::pin(async move {
                        let count = fetches.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        AccessToken::new(format!("t{count}"), SystemClock.now() + time::Duration::hours(1))
                    })
                };
                tokens.token(&request, &fetch).await.unwrap()
            })
        };
        let first: Vec<_> = (0..100).map(|_| get(request("a/.default"))).collect();
        for token in first {
            assert_eq!(token.await.unwrap().expose(), "t0");
        }
        let old = tokens.kept(&request("a/.default")).unwrap();
        let again: Vec<_> = (0..100).map(|_| get(request("a/.default").with_rejected(old.clone()))).collect();
        for token in again {
            assert_eq!(token.await.unwrap().expose(), "t1");
        }
        assert_eq!(get(request("b/.default")).await.unwrap().expose(), "t2");
        let elsewhere = request("a/.default").with_tenant("contoso.com".parse().unwrap());
        assert_eq!(get(elsewhere).await.unwrap().expose(), "t3");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_remembered_for_a_moment() {
        let (tokens, fetches) = (tokens(), Arc::new(AtomicUsize::new(0)));
        for (advance, expected) in [(0, 1), (0, 1), (4, 1), (2, 2)] {
            tokio::time::advance(Duration::from_secs(advance)).await;
            let fetch = || -> Boxed<'static, _> {
                let fetches = Arc::clone(&fetches);
                Box::pin(async move {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    Err(Error::new(ErrorKind::Configuration, "wrong"))
                })
            };
            assert!(tokens.token(&request("a/.default"), &fetch).await.is_err());
            assert_eq!(fetches.load(Ordering::SeqCst), expected);
        }
    }
}
