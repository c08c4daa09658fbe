//! Discovery document and key document: what is believed of them, and how they are fetched.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::ACCEPT};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::{
    KeyError, KeyErrorKind,
    jwk::{Keys, parse_jwks},
};
use crate::{
    Body, Clock, Deadline, HttpTransport, RetryPolicy, TransportError, TransportErrorKind,
    document::{Document, Unreadable},
    is_https_or_loopback, is_loopback, retry_after,
};

const MAX_METADATA: usize = 256 * 1024;
const MAX_JWKS: usize = 1024 * 1024;
/// Attempts and pauses for one document take no longer.
const TOTAL: Duration = Duration::from_secs(10);
/// How long a discovery document is believed; it hardly ever changes.
const METADATA_AGE: Duration = Duration::from_secs(12 * 3600);

/// Where keys are published, and whom to believe.
pub(super) struct Issuer {
    pub(super) metadata_url: Url,
    pub(super) expected_issuer: Option<String>,
    pub(super) allowed_hosts: Vec<String>,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    pub(super) attempt_timeout: Duration,
    pub(super) known: Mutex<Option<(Metadata, Instant)>>,
}

/// What a fetch ended with when it failed.
#[derive(Debug)]
pub(super) struct FetchError {
    pub(super) error: KeyError,
    /// How long the server wants to be left alone.
    pub(super) wait: Option<Duration>,
}

/// Why a document was not had. Holds no address and no content.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the server could not be asked")]
    Transport(#[source] TransportError),
    #[error("the server answered with status {0}")]
    Status(u16),
    #[error("{0}")]
    Document(&'static str),
}

impl From<Problem> for FetchError {
    fn from(problem: Problem) -> Self {
        let kind = match problem {
            Problem::Document(_) => KeyErrorKind::Malformed,
            Problem::Transport(_) | Problem::Status(_) => KeyErrorKind::Unavailable,
        };
        Self { error: KeyError::new(kind, problem), wait: None }
    }
}

impl Issuer {
    /// The keys as they are published now.
    pub(super) async fn fetch(&self) -> Result<Keys, FetchError> {
        let known = self.known().as_ref().filter(|(_, at)| at.elapsed() < METADATA_AGE).map(|(known, _)| known.clone());
        let metadata = match known {
            Some(known) => known,
            None => {
                let document = self.get(&self.metadata_url, MAX_METADATA).await?;
                let metadata = self.judge(&document)?;
                *self.known() = Some((metadata.clone(), Instant::now()));
                metadata
            }
        };
        let keys = self.get_keys(&metadata).await;
        if keys.is_err() {
            // Perhaps they have moved.
            *self.known() = None;
        }
        keys
    }

    async fn get_keys(&self, metadata: &Metadata) -> Result<Keys, FetchError> {
        let document = self.get(&metadata.jwks_uri, MAX_JWKS).await?;
        let mut keys = parse_jwks(&document).map_err(|error| FetchError { error, wait: None })?;
        if let Some(cloud) = &metadata.cloud_instance_name {
            keys.retain(|_, key| key.cloud_instance_name().is_none_or(|of_key| of_key == cloud));
        }
        if keys.is_empty() {
            return Err(Problem::Document("all keys belong to another cloud").into());
        }
        Ok(keys)
    }

    /// Believes a discovery document when it names the expected issuer and a place for keys that can be trusted.
    fn judge(&self, document: &[u8]) -> Result<Metadata, Problem> {
        let (issuer, jwks_uri, cloud_instance_name) =
            read(document).map_err(|_| Problem::Document("this is no discovery document"))?;
        if self.expected_issuer.as_ref().is_some_and(|expected| *expected != issuer) {
            return Err(Problem::Document("the discovery document is another issuer's"));
        }
        let jwks_uri =
            Url::parse(&jwks_uri).map_err(|_| Problem::Document("the discovery document names no place for keys"))?;
        if !self.trusts(&jwks_uri) {
            return Err(Problem::Document("the discovery document names a place for keys that is not allowed"));
        }
        Ok(Metadata { jwks_uri, cloud_instance_name })
    }

    /// The origin of the metadata, a listed host on https, or this machine when the metadata are on it too.
    fn trusts(&self, url: &Url) -> bool {
        let listed = || url.host_str().is_some_and(|host| self.allowed_hosts.iter().any(|allowed| allowed == host));
        is_https_or_loopback(url)
            && (url.origin() == self.metadata_url.origin()
                || (listed() && url.port().is_none() && url.scheme() == "https")
                || (is_loopback(url) && is_loopback(&self.metadata_url)))
    }

    /// One document: a few attempts, each and all bounded in time, the body bounded in size, no redirect followed.
    async fn get(&self, url: &Url, limit: usize) -> Result<Bytes, FetchError> {
        let end = Instant::now() + TOTAL;
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(url, limit, end).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let delay = failure.again.then(|| self.retry.delay(attempt, failure.wait)).flatten();
            match delay {
                Some(delay) if Instant::now() + delay < end => sleep(delay).await,
                _ => return Err(FetchError { wait: failure.wait, ..failure.problem.into() }),
            }
            attempt += 1;
        }
    }

    async fn attempt(&self, url: &Url, limit: usize, end: Instant) -> Result<Bytes, Failure> {
        let deadline = end.min(Instant::now() + self.attempt_timeout);
        let request = Request::get(url.as_str()).header(ACCEPT, "application/json").extension(Deadline(deadline));
        let request = request.body(Body::empty()).map_err(|_| Failure::from(TransportErrorKind::Other))?;
        let exchange = async {
            let (head, body) = self.transport.send(request).await?.into_parts();
            let body = match head.status {
                StatusCode::OK => body.collect(limit).await?,
                _ => Bytes::new(),
            };
            Ok::<_, TransportError>((head.status, head.headers, body))
        };
        match timeout_at(deadline, exchange).await {
            Ok(Ok((StatusCode::OK, _, body))) => Ok(body),
            Ok(Ok((status, headers, _))) => {
                let throttled = status == StatusCode::TOO_MANY_REQUESTS;
                let asked = retry_after(&headers, self.clock.now());
                Err(Failure {
                    again: throttled || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error(),
                    wait: asked.or_else(|| throttled.then_some(Duration::from_secs(60))),
                    problem: Problem::Status(status.as_u16()),
                })
            }
            Ok(Err(error)) => Err(Failure::from(error)),
            Err(_late) => Err(Failure::from(TransportErrorKind::Timeout)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<(Metadata, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The issuer that a discovery document is of, where its keys are, and its cloud.
fn read(document: &[u8]) -> Result<(String, String, Option<String>), Unreadable> {
    let document = Document::read(document)?;
    Ok((document.required("issuer")?, document.required("jwks_uri")?, document.optional("cloud_instance_name")?))
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("host", &self.metadata_url.host_str())
            .field("path", &self.metadata_url.path())
            .finish_non_exhaustive()
    }
}

/// What matters of a discovery document (<https://openid.net/specs/openid-connect-discovery-1_0.html>).
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    jwks_uri: Url,
    cloud_instance_name: Option<String>,
}

struct Failure {
    problem: Problem,
    again: bool,
    wait: Option<Duration>,
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let again = matches!(
            error.kind(),
            TransportErrorKind::NotSent | TransportErrorKind::Timeout | TransportErrorKind::Interrupted
        );
        Self { problem: Problem::Transport(error), again, wait: None }
    }
}

impl From<TransportErrorKind> for Failure {
    fn from(kind: TransportErrorKind) -> Self {
        TransportError::from(kind).into()
    }
}
