use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, timeout};
use url::Url;

use super::{
    KeyError, KeyErrorKind, KeyLookup, KeySource, SigningKey,
    key_set::{Find, KeySet, Reason},
    metadata::Issuer,
};
use crate::{
    BuildError, Clock, HttpTransport, RetryPolicy, SystemClock,
    flight::{Boxed, Flights, Landing},
    is_https_or_loopback,
    transport::{self, NO_KEY_TRANSPORT},
};

/// The keys of one issuer, found through its discovery document. A clone shares them.
///
/// - Nothing is fetched before the first token. That load is shared by everyone who waits for it.
/// - After about an hour (± 10 %) the next use starts a refresh behind it; no token whose key is known ever waits.
/// - A token with an unknown key causes one shared fetch, at most once in 5 minutes; otherwise it is
///   [`KeyErrorKind::Gated`].
/// - A key that is no longer published is gone after two good documents without it, or an hour after the first.
/// - While the issuer cannot be reached its keys are used for 24 hours at most.
/// - A document takes two attempts of 5 s at most, 10 s in all; failures of the first load are remembered for 1 s,
///   doubling to 30 s, or as long as `Retry-After` says.
///
/// See <https://learn.microsoft.com/entra/identity-platform/signing-key-rollover>.
#[derive(Clone, Debug)]
pub struct JwksClient(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    keys: Mutex<KeySet>,
    flights: Flights<(), Result<(), KeyError>>,
}

/// How long a token waits for a fetch.
const WAIT: Duration = Duration::from_secs(10);
/// A fetch of both documents ends by itself before this; it is for what has no deadline of its own.
const FLIGHT: Duration = Duration::from_secs(25);

impl JwksClient {
    /// Starts a client for the issuer whose discovery document is at this address, such as
    /// `https://login.microsoftonline.com/{tenant}/v2.0/.well-known/openid-configuration`.
    pub fn builder(metadata_url: Url) -> JwksClientBuilder {
        JwksClientBuilder {
            metadata_url,
            expected_issuer: None,
            allowed_hosts: Vec::new(),
            transport: None,
            clock: Arc::new(SystemClock),
            retry: RetryPolicy::new(2, Duration::from_millis(300), Duration::from_secs(2)),
            attempt_timeout: Duration::from_secs(5),
        }
    }

    /// Asks the issuer, or joins whoever is asking, and waits for the outcome.
    async fn ask(&self, reason: Reason) -> Result<(), KeyError> {
        let unavailable = || KeyError::from(KeyErrorKind::Unavailable);
        let landing = timeout(WAIT, self.0.flights.join(&(), FLIGHT, || self.fetch(reason))).await;
        match landing {
            Ok(Landing::Done(outcome)) => outcome,
            Ok(Landing::Crashed | Landing::TimedOut) => {
                self.keys().fail(unavailable(), None, Instant::now());
                Err(unavailable())
            }
            Err(_waited_long_enough) => Err(unavailable()),
        }
    }

    fn fetch(&self, reason: Reason) -> Boxed<'static, Result<(), KeyError>> {
        let fetch = self.keys().begin(reason, Instant::now()).then(|| Fetch(self.clone()));
        Box::pin(async move {
            let Some(Fetch(client)) = &fetch else { return Ok(()) };
            let outcome = client.0.issuer.fetch().await;
            let mut keys = client.keys();
            let now = Instant::now();
            match outcome {
                Ok(document) => {
                    tracing::debug!(keys = document.len(), ?reason, "signing keys fetched");
                    keys.absorb(document, now);
                    Ok(())
                }
                Err(failure) => {
                    tracing::warn!(
                        error = &failure.error as &dyn std::error::Error,
                        ?reason,
                        "signing keys not fetched"
                    );
                    keys.fail(failure.error.clone(), failure.wait, now);
                    Err(failure.error)
                }
            }
        })
    }

    fn keys(&self) -> MutexGuard<'_, KeySet> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch under way; it ends when this is dropped, whatever became of it.
struct Fetch(JwksClient);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.keys().end();
    }
}

#[async_trait]
impl KeySource for JwksClient {
    /// The issuer in the lookup does not matter: all keys are those of one document.
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        let found = self.keys().find(lookup.kid, Instant::now());
        let reason = match found {
            Find::Key { key, refresh } => {
                if refresh {
                    self.0.flights.start(&(), FLIGHT, || self.fetch(Reason::Refresh));
                }
                return Ok(key);
            }
            Find::No(error) => return Err(error),
            Find::Ask(reason) => reason,
        };
        let outcome = self.ask(reason).await;
        let mut keys = self.keys();
        let now = Instant::now();
        match (keys.find(lookup.kid, now), outcome) {
            (Find::Key { key, .. }, _) => Ok(key),
            (_, Err(error)) => Err(error),
            (Find::No(error), Ok(())) => match error.kind() {
                KeyErrorKind::Gated => Err(not_published(&mut keys, lookup.kid, now)),
                _ => Err(error),
            },
            (Find::Ask(_), Ok(())) => Err(not_published(&mut keys, lookup.kid, now)),
        }
    }

    fn revision(&self) -> u64 {
        self.keys().revision(Instant::now())
    }
}

/// The issuer has just been asked and does not publish this key.
fn not_published(keys: &mut KeySet, kid: &str, now: Instant) -> KeyError {
    keys.note_unknown(kid, now);
    KeyErrorKind::Unknown.into()
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksClient").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Settings of a [`JwksClient`].
#[must_use]
pub struct JwksClientBuilder {
    metadata_url: Url,
    expected_issuer: Option<String>,
    allowed_hosts: Vec<String>,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    attempt_timeout: Duration,
}

impl JwksClientBuilder {
    /// How documents are fetched. Default: `ReqwestTransport`, with feature `reqwest`.
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The clock that dates in answers are read by. Default [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The `issuer` that the discovery document must name, letter by letter. Default: any.
    pub fn expected_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.expected_issuer = Some(issuer.into());
        self
    }

    /// Hosts besides the metadata's own on which keys may be published, over https. Default: none.
    pub fn allowed_hosts<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.allowed_hosts = hosts.into_iter().map(|host| host.into().to_ascii_lowercase()).collect();
        self
    }

    /// How often a document is tried. Default: 2 attempts, a pause of up to 300 ms between them.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long one attempt may take. Default 5 s; all attempts for a document together never take more than 10 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// The client. It fetches nothing yet.
    ///
    /// # Errors
    ///
    /// When the address is neither `https` nor `http` on a loopback address, or without a transport when feature
    /// `reqwest` is off. The developer or operator.
    pub fn build(self) -> Result<JwksClient, BuildError> {
        if !is_https_or_loopback(&self.metadata_url) {
            return Err(BuildError::new("the metadata address must be https (http on a loopback address)"));
        }
        Ok(JwksClient(Arc::new(Inner {
            issuer: Issuer {
                metadata_url: self.metadata_url,
                expected_issuer: self.expected_issuer,
                allowed_hosts: self.allowed_hosts,
                transport: transport::or_built_in(self.transport, NO_KEY_TRANSPORT)?,
                clock: self.clock,
                retry: self.retry,
                attempt_timeout: self.attempt_timeout,
                known: Mutex::default(),
            },
            keys: Mutex::new(KeySet::new(Instant::now())),
            flights: Flights::default(),
        })))
    }
}

impl fmt::Debug for JwksClientBuilder {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksClientBuilder")
            .field("host", &self.metadata_url.host_str())
            .field("expected_issuer", &self.expected_issuer)
            .field("allowed_hosts", &self.allowed_hosts)
            .finish_non_exhaustive()
    }
}
