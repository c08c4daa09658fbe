//! Tokens of the identity that Azure gives to a host.

mod arc;
mod ladder;
mod source;
mod wire;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument as _;

pub use self::source::ManagedIdentitySource;
#[cfg(feature = "azure-cli")]
pub(crate) use self::wire::aadsts;
use self::{ladder::Ladder, source::Endpoint, wire::Ask};
use crate::{
    AccessToken, Body, BuildError, ClientId, Clock, CorrelationId, Deadline, Error, ErrorKind, HttpTransport, ObjectId,
    Scopes, Secret, SystemClock, TokenCredential, TokenRequest, TransportErrorKind,
    acquire::HostTokens,
    chain::NotHere,
    flight::{Boxed, blocking},
    settings::Settings,
};

/// An answer of an identity endpoint is never larger.
const MAX_ANSWER: usize = 64 << 10;
/// Bound of one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Whoever is on this machine or its hypervisor accepts a connection within this time.
const CONNECT: Duration = Duration::from_secs(1);

/// Which identity of the host.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ManagedIdentityId {
    /// The identity that lives and dies with the host.
    #[default]
    SystemAssigned,
    /// A user-assigned identity, by its client id: the form that every platform but Cloud Shell understands.
    ClientId(ClientId),
    /// A user-assigned identity, by the object id of its service principal.
    ObjectId(ObjectId),
    /// A user-assigned identity, by its resource id:
    /// `/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/…`.
    ResourceId(String),
}

/// Tokens of the managed identity of an Azure host: virtual machine, App Service, Functions, Container Apps, Azure Arc,
/// Azure ML, Cloud Shell. See
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/overview>.
///
/// The source is found by the variables that the platforms set. Pods on AKS use workload identity; where they use the
/// identity of their node, the source is IMDS. Service Fabric is left out: its endpoint has a self-signed certificate
/// that must be pinned before the secret is sent, and the transport port cannot pin.
///
/// Asked for exactly one scope that ends in `/.default`. Another tenant is [`ErrorKind::Unsupported`], and so are claims
/// everywhere but on App Service and Container Apps. Tokens are cached, refreshed half-way when they live two hours or
/// more, and of many concurrent callers one asks. A clone shares the cache.
///
/// Errors: [`ErrorKind::Configuration`] when the identity is not assigned or the resource does not exist (the operator),
/// [`ErrorKind::Transport`] and [`ErrorKind::Transient`] when the endpoint does not answer (retry).
///
/// ```no_run
/// use entra_auth::{ManagedIdentityCredential, ManagedIdentityId, TokenCredential, TokenRequest};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let id = ManagedIdentityId::ClientId("22222222-2222-2222-2222-222222222222".parse()?);
/// let identity = ManagedIdentityCredential::builder(id).build()?;
/// let token = identity.get_token(&TokenRequest::new("https://vault.azure.net/.default".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ManagedIdentityCredential(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    id: ManagedIdentityId,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    tokens: Arc<HostTokens>,
    challenges: bool,
    arc_keys: Option<PathBuf>,
    /// Whether an absent endpoint is looked for first.
    probe: bool,
    seen: AtomicBool,
}

impl ManagedIdentityCredential {
    /// Starts with the identity to use.
    #[inline]
    pub fn builder(id: ManagedIdentityId) -> ManagedIdentityBuilder {
        ManagedIdentityBuilder {
            id,
            transport: None,
            clock: Arc::new(SystemClock),
            endpoint: None,
            arc_keys: None,
            challenges: false,
            probe: false,
        }
    }

    /// Where this host's tokens come from.
    #[must_use]
    #[inline]
    pub fn source(&self) -> ManagedIdentitySource {
        self.0.endpoint.source
    }
}

#[async_trait]
impl TokenCredential for ManagedIdentityCredential {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let inner = &self.0;
        if request.tenant.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a managed identity has tokens of its own tenant only"));
        }
        if request.claims.is_some() && inner.endpoint.source != ManagedIdentitySource::AppService {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the identity endpoint of {} takes no claims", inner.endpoint.source),
            ));
        }
        request.without_parameters("a managed identity")?;
        let resource = resource(&request.scopes)?.to_owned();
        let challenged = request.claims.as_ref().and_then(|_| inner.tokens.kept(request));
        let bad = request.rejected.clone().or(challenged);
        let id = request.correlation_id.clone().unwrap_or_else(CorrelationId::random);
        let fetch = || -> Boxed<'static, _> {
            let (inner, resource, bad) = (Arc::clone(inner), resource.clone(), bad.clone());
            let span = tracing::info_span!(
                "entra.token",
                grant = "managed_identity",
                attempt = tracing::field::Empty,
                error.r#type = tracing::field::Empty,
                entra.correlation_id = id.as_str(),
            );
            let fetch = async move {
                let result = inner.token(&resource, bad.as_ref()).await;
                if let Err(error) = &result {
                    tracing::Span::current().record("error.type", tracing::field::debug(error.kind()));
                }
                result
            };
            Box::pin(fetch.instrument(span))
        };
        inner.tokens.token(request, &fetch).await
    }
}

/// The resource of the one scope, as the endpoints want it.
#[inline]
fn resource(scopes: &Scopes) -> Result<&str, Error> {
    const SUFFIX: &str = "/.default";
    let mut all = scopes.iter();
    if let (Some(scope), None) = (all.next(), all.next()) {
        let at = scope.len().saturating_sub(SUFFIX.len());
        if let (Some(resource), Some(suffix)) = (scope.get(..at), scope.get(at..))
            && !resource.is_empty()
            && suffix.eq_ignore_ascii_case(SUFFIX)
        {
            return Ok(resource);
        }
    }
    Err(Error::new(
        ErrorKind::Configuration,
        "a managed identity's token is for one resource: ask for exactly one scope that ends in /.default",
    ))
}

/// What one exchange brought.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Inner {
    async fn token(&self, resource: &str, bad: Option<&AccessToken>) -> Result<AccessToken, Error> {
        if self.probe && !self.seen.load(Ordering::Relaxed) {
            self.look_for_endpoint().await?;
        }
        let started = Instant::now();
        let mut ladder = Ladder::new(self.endpoint.source);
        let mut attempt = 1;
        loop {
            tracing::Span::current().record("attempt", attempt);
            let (error, status) = match self.attempt(resource, bad).await {
                Ok(Ok(token)) => {
                    self.seen.store(true, Ordering::Relaxed);
                    return Ok(token);
                }
                Ok(Err((error, status))) => (error, Some(status)),
                Err(error) if error.is_retryable() => (error, None),
                Err(error) => return Err(error),
            };
            let Some(pause) = ladder.next(status, error.retry_after(), started.elapsed()) else {
                return Err(error);
            };
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// One attempt: a token, or an error with the status of the answer; the outer error when there was no answer or
    /// nothing in it would change.
    async fn attempt(
        &self,
        resource: &str,
        bad: Option<&AccessToken>,
    ) -> Result<Result<AccessToken, (Error, StatusCode)>, Error> {
        let mut ask = Ask { resource, id: &self.id, bad, challenges: self.challenges, arc_key: None };
        let mut answer = self.exchange(wire::encode(&self.endpoint, ask)?, ATTEMPT).await?;
        if self.endpoint.source == ManagedIdentitySource::AzureArc {
            // Whoever hands a token out unasked is not the agent.
            if answer.status.is_success() {
                return Err(Error::new(ErrorKind::Protocol, "the Azure Arc endpoint did not challenge the request"));
            }
            if answer.status == StatusCode::UNAUTHORIZED {
                let key = self.arc_key(&answer.headers).await?;
                ask.arc_key = Some(&key);
                answer = self.exchange(wire::encode(&self.endpoint, ask)?, ATTEMPT).await?;
            }
        }
        let now = self.clock.now();
        if answer.status.is_success() {
            return wire::success(self.endpoint.source, &self.id, &answer.body, now).map(Ok);
        }
        if self.endpoint.source == ManagedIdentitySource::Imds && wire::is_unreachable(answer.status, &answer.body) {
            return Err(absent(None));
        }
        let error = wire::failure(answer.status, &answer.headers, &answer.body, now);
        Ok(Err((error, answer.status)))
    }

    async fn exchange(&self, mut request: Request<Body>, limit: Duration) -> Result<Answer, Error> {
        let started = Instant::now();
        request.extensions_mut().insert(Deadline(started + limit));
        let exchange = async {
            let (head, body) = self.transport.send(request).await?.into_parts();
            Ok::<_, Error>(Answer { status: head.status, headers: head.headers, body: body.collect(MAX_ANSWER).await? })
        };
        // A transport that overlooks the deadline must not hold the flight up.
        let answer = timeout_at(started + limit, exchange)
            .await
            .map_err(|_| Error::from(crate::TransportError::from(TransportErrorKind::Timeout)))??;
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = answer.status.as_u16();
        tracing::debug!(name: "entra.token.response", status, elapsed_ms, "identity endpoint answered");
        Ok(answer)
    }

    /// Any answer to a request without the metadata header shows that there is an IMDS; it refuses the request.
    async fn look_for_endpoint(&self) -> Result<(), Error> {
        if self.endpoint.source != ManagedIdentitySource::Imds {
            return Ok(());
        }
        let request = Request::get(self.endpoint.url.as_str())
            .body(Body::empty())
            .map_err(|_| Error::new(ErrorKind::Configuration, "the identity endpoint is no usable address"))?;
        let answer = self.exchange(request, CONNECT).await.map_err(|error| absent(Some(error)))?;
        if wire::is_unreachable(answer.status, &answer.body) {
            return Err(absent(None));
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn arc_key(&self, headers: &HeaderMap) -> Result<Secret, Error> {
        let directory = self
            .arc_keys
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "Azure Arc keeps no keys on this operating system"))?;
        let path = arc::key_file(headers, directory)?;
        let read = blocking(move || arc::read_key(&path)).await;
        read.ok_or_else(|| Error::new(ErrorKind::Transport, "reading the Azure Arc agent's key was cut off"))?
    }
}

#[inline]
fn absent(cause: Option<Error>) -> Error {
    Error::new(ErrorKind::Unsupported, "no identity endpoint answered: this host has no managed identity")
        .with_source(NotHere(cause))
}

impl fmt::Debug for ManagedIdentityCredential {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentityCredential")
            .field("source", &self.0.endpoint.source)
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

/// Builds a [`ManagedIdentityCredential`].
#[derive(Debug)]
#[must_use]
pub struct ManagedIdentityBuilder {
    id: ManagedIdentityId,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    endpoint: Option<(Result<Endpoint, BuildError>, Option<PathBuf>)>,
    arc_keys: Option<PathBuf>,
    challenges: bool,
    probe: bool,
}

impl ManagedIdentityBuilder {
    /// Where the variables of the platform are read. Default: the environment of the process.
    ///
    /// Read are `IDENTITY_ENDPOINT`, `IDENTITY_HEADER`, `IDENTITY_SERVER_THUMBPRINT`, `IMDS_ENDPOINT`, `MSI_ENDPOINT`,
    /// `MSI_SECRET` and `AZURE_POD_IDENTITY_AUTHORITY_HOST` (another host for IMDS).
    pub fn settings<L: Fn(&str) -> Option<String>>(mut self, settings: &Settings<L>) -> Self {
        let lookup = |name: &str| settings.lookup(name);
        self.endpoint = Some((source::select(&lookup, arc::is_installed(&lookup)), arc::key_directory(&lookup)));
        self
    }

    /// How requests are sent. The default with feature `reqwest` connects within 1 s and uses no proxy; one of your own
    /// must use no proxy either, because a proxy would answer with the identity of *its* host, or read the secret.
    #[inline]
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// What time it is. Default: [`SystemClock`].
    #[inline]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Tells the platform (capability `cp1`) that the caller handles claims challenges. Only App Service and Container
    /// Apps pass it on.
    #[inline]
    pub const fn handles_claims_challenges(mut self) -> Self {
        self.challenges = true;
        self
    }

    /// Looks for IMDS with one request of at most 1 s before the first token request, so that a machine outside Azure
    /// is recognized at once. Default: no. The constructors of `ChainedTokenCredential` turn it on.
    #[inline]
    pub const fn probe(mut self) -> Self {
        self.probe = true;
        self
    }

    /// Another directory for the keys of the Azure Arc agent, for tests.
    #[cfg(feature = "test-util")]
    #[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
    #[inline]
    pub fn arc_key_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.arc_keys = Some(directory.into());
        self
    }

    /// Builds the credential. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When the platform does not know this kind of id, a variable names an address beyond this machine, the platform
    /// is Service Fabric, or no transport was given and none is built in. Who can fix it: the operator.
    #[inline]
    pub fn build(mut self) -> Result<ManagedIdentityCredential, BuildError> {
        if self.endpoint.is_none() {
            self = self.settings(&Settings::from_env());
        }
        let (endpoint, arc_keys) = self.endpoint.ok_or_else(|| BuildError::new("no settings"))?;
        let endpoint = endpoint?;
        check(&self.id, endpoint.source)?;
        let transport = match self.transport {
            Some(transport) => transport,
            None => direct()?,
        };
        Ok(ManagedIdentityCredential(Arc::new(Inner {
            endpoint,
            id: self.id,
            transport,
            tokens: Arc::new(HostTokens::new(Arc::clone(&self.clock), ladder::LONGEST)),
            clock: self.clock,
            challenges: self.challenges,
            arc_keys: self.arc_keys.or(arc_keys),
            probe: self.probe,
            seen: AtomicBool::new(false),
        })))
    }
}

#[inline]
fn check(id: &ManagedIdentityId, source: ManagedIdentitySource) -> Result<(), BuildError> {
    use ManagedIdentityId::{ObjectId, ResourceId, SystemAssigned};
    match (id, source) {
        (SystemAssigned, _) => {}
        (_, ManagedIdentitySource::CloudShell) => {
            return Err(BuildError::new(
                "Cloud Shell has the identity of its user; it knows no user-assigned identity",
            ));
        }
        (ObjectId(_) | ResourceId(_), ManagedIdentitySource::AzureMl) => {
            return Err(BuildError::new("Azure ML knows user-assigned identities by their client id only"));
        }
        _ => {}
    }
    if let ResourceId(text) = id {
        let lower = text.to_ascii_lowercase();
        let good = text.len() <= 1024
            && lower.starts_with("/subscriptions/")
            && lower.contains("/providers/microsoft.managedidentity/userassignedidentities/")
            && lower.bytes().all(|b| b.is_ascii_graphic());
        if !good {
            return Err(BuildError::new(
                "the resource id of a user-assigned identity has the form /subscriptions/…/resourceGroups/…/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/…",
            ));
        }
    }
    Ok(())
}

/// The built-in transport: a proxy is never used.
#[cfg(feature = "reqwest")]
#[inline]
fn direct() -> Result<Arc<dyn HttpTransport>, BuildError> {
    let builder = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT);
    Ok(Arc::new(crate::ReqwestTransport::from_builder(builder)?))
}

#[cfg(not(feature = "reqwest"))]
#[inline]
fn direct() -> Result<Arc<dyn HttpTransport>, BuildError> {
    Err(BuildError::new(crate::transport::NO_TRANSPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources() {
        for (scopes, expected) in [
            ("https://graph.microsoft.com/.default", Some("https://graph.microsoft.com")),
            ("https://example.com//.Default", Some("https://example.com/")),
            ("api://AzureADTokenExchange/.default", Some("api://AzureADTokenExchange")),
            ("https://graph.microsoft.com/User.Read", None),
            ("a/.default b/.default", None),
            ("/.default", None),
            ("x", None),
        ] {
            assert_eq!(resource(&scopes.parse().unwrap()).ok(), expected, "{scopes}");
        }
    }

    static_assertions::assert_impl_all!(ManagedIdentityCredential: Clone, Send, Sync);
}
