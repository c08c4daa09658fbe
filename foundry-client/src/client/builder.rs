//! Settings of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use entra_auth::{BuildError, Clock, HttpTransport, RetryPolicy, Scopes, Secret, SystemClock, TokenCredential};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::agents::Feature;
use crate::client::endpoint::{Endpoint, Target, host_of};
use crate::client::{Auth, FoundryClient, Shared};
use crate::sse::SseLimits;

/// The audience of every operation on a project.
const SCOPE: &str = "https://ai.azure.com/.default";

/// How long a call may take and how large its answer may be.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One attempt of a short call, and the wait for the head of a stream. Default 120 s.
    pub attempt: Duration,
    /// A call in all, with its repetitions; a stream from its request to its last event. Default 600 s.
    pub total: Duration,
    /// The longest silence in a stream. Keep-alive comments end a silence; the service sends one every
    /// 15 s. Default 60 s.
    pub idle: Duration,
    /// A JSON answer, in bytes. Default 32 MiB.
    pub body: usize,
    /// A stream in all, in bytes. Default 32 MiB.
    pub stream: usize,
    /// A line and an event of a stream, in bytes.
    pub sse: SseLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(120),
            total: Duration::from_secs(600),
            idle: Duration::from_secs(60),
            body: 32 * 1024 * 1024,
            stream: 32 * 1024 * 1024,
            sse: SseLimits::default(),
        }
    }
}

impl Limits {
    /// Sets the longest time of one attempt.
    #[must_use]
    pub fn attempt(mut self, time: Duration) -> Self {
        self.attempt = time;
        self
    }

    /// Sets the longest time of a call or stream in all.
    #[must_use]
    pub fn total(mut self, time: Duration) -> Self {
        self.total = time;
        self
    }

    /// Sets the longest silence in a stream.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets the largest JSON answer, in bytes.
    #[must_use]
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// Sets the largest stream, in bytes.
    #[must_use]
    pub fn stream(mut self, bytes: usize) -> Self {
        self.stream = bytes;
        self
    }

    /// Sets the largest line and event of a stream.
    #[must_use]
    pub fn sse(mut self, limits: SseLimits) -> Self {
        self.sse = limits;
        self
    }
}

/// Collects the settings of a [`FoundryClient`]. A transport and a credential are required.
#[must_use]
pub struct FoundryClientBuilder {
    endpoint: String,
    more_hosts: Vec<String>,
    credential: Option<Arc<dyn TokenCredential>>,
    api_key: Option<Secret>,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    scopes: Option<Scopes>,
    retry: RetryPolicy,
    repeat_ambiguous: bool,
    limits: Limits,
    target: Target,
    gateway: Option<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    features: Vec<Feature>,
    record_content: bool,
}

/// 3 attempts, waits of at most 0.5 s doubling to 8 s, a `Retry-After` of at most 120 s.
pub(crate) fn default_retry() -> RetryPolicy {
    RetryPolicy::new(3, Duration::from_millis(500), Duration::from_secs(8)).patience(Duration::from_secs(120))
}

impl FoundryClientBuilder {
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            more_hosts: Vec::new(),
            credential: None,
            api_key: None,
            transport: None,
            clock: Arc::new(SystemClock),
            scopes: None,
            retry: default_retry(),
            repeat_ambiguous: false,
            limits: Limits::default(),
            target: Target::Project,
            gateway: None,
            query: Vec::new(),
            headers: Vec::new(),
            features: Vec::new(),
            record_content: false,
        }
    }

    /// Where the OpenAI operations go. Default [`Target::Project`].
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Adds a pair to the query of every request. `api-version` replaces the version of operations that take one.
    pub fn default_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header to every request. Those that carry credentials, that frame the message or that the client sets
    /// itself are refused by [`build`](Self::build).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Opts in to a preview: the header `Foundry-Features` of Foundry operations and of agents' own endpoints.
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }

    /// Also records what is asked and answered in the spans, as `gen_ai.input.messages` and `gen_ai.output.messages`.
    /// Default: never. Traces then hold what people wrote; treat them like the conversations themselves.
    pub fn record_content(mut self, record: bool) -> Self {
        self.record_content = record;
        self
    }

    /// Who the client is to the service. The identity needs a role such as *Foundry User* on the project.
    pub fn credential(mut self, credential: Arc<dyn TokenCredential>) -> Self {
        self.credential = Some(credential);
        self
    }

    /// A key instead of a credential, for local servers: only with an endpoint on a loopback address. Agents of the
    /// service take no keys.
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// What carries the requests.
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// How often and how patiently is repeated what may be repeated. Default: 3 attempts, waits of at most 0.5 s
    /// doubling to 8 s, a `Retry-After` of at most 120 s.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Also repeats creates that the service may already have carried out: fewer errors, but a turn can run twice.
    /// Default: never.
    pub fn repeat_ambiguous_creates(mut self, repeat: bool) -> Self {
        self.repeat_ambiguous = repeat;
        self
    }

    /// Times and sizes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The scopes to ask the credential for. Default `https://ai.azure.com/.default`, right for every project of the
    /// public cloud.
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// The wall clock that `Retry-After` dates are compared with.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Settings that weaken a protection.
    pub fn dangerous(self) -> DangerousFoundryBuilder {
        DangerousFoundryBuilder(self)
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the endpoint is not a project endpoint, or transport or credential are missing, or a key is given for an
    /// address that is not loopback. The developer or operator fixes it.
    pub fn build(self) -> Result<FoundryClient, BuildError> {
        let endpoint = match &self.gateway {
            None => Endpoint::parse(&self.endpoint, &self.more_hosts)?,
            Some(gateway) => {
                // The project endpoint must be one all the same: it is what the operator thinks of.
                Endpoint::parse(&self.endpoint, &self.more_hosts)?;
                let url = Url::parse(gateway.trim())
                    .map_err(|error| BuildError::new("the gateway's address is not a URL").with_source(error))?;
                Endpoint::parse(gateway, &[host_of(&url)])?
            }
        };
        let endpoint = endpoint.with_target(self.target).with_query(self.query);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = extra_header(name, value)?;
            headers.insert(name, value);
        }
        for feature in &self.features {
            HeaderValue::try_from(feature.as_str())
                .map_err(|_| BuildError::new("a preview feature holds characters that no header can carry"))?;
        }
        let transport = self.transport.ok_or_else(|| BuildError::new("the client needs a transport"))?;
        let auth = match (self.credential, self.api_key) {
            (Some(credential), None) => Auth::token(credential, self.scopes, SCOPE, &endpoint)?,
            (None, Some(key)) if endpoint.is_loopback() => {
                // Servers with the bare interface of OpenAI want a bearer, others the header of the service.
                let bearer = matches!(endpoint.target(), Target::Base);
                let text = Secret::new(format!("{}{}", if bearer { "Bearer " } else { "" }, key.expose()));
                let mut value = HeaderValue::try_from(text.expose())
                    .map_err(|_| BuildError::new("the key holds characters that no header can carry"))?;
                value.set_sensitive(true);
                Auth::ApiKey(if bearer { AUTHORIZATION } else { HeaderName::from_static("api-key") }, value)
            }
            (None, Some(_)) => {
                return Err(BuildError::new("a key is for local servers only; use a credential for the service"));
            }
            (Some(_), Some(_)) => return Err(BuildError::new("give a credential or a key, not both")),
            (None, None) => return Err(BuildError::new("the client needs a credential")),
        };
        if endpoint.base().scheme() == "http" {
            tracing::info!(target: "foundry_client", { server.address = endpoint.host() }, "plain http on a loopback address");
        }
        Ok(FoundryClient(Arc::new(Shared {
            retry: self.retry,
            repeat_ambiguous: self.repeat_ambiguous,
            limits: self.limits,
            headers,
            features: self.features,
            record_content: self.record_content,
            ..Shared::new(endpoint, auth, transport, self.clock)
        })))
    }
}

impl fmt::Debug for FoundryClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundryClientBuilder")
            .field("has_credential", &self.credential.is_some())
            .field("has_api_key", &self.api_key.is_some())
            .field("has_transport", &self.transport.is_some())
            .field("retry", &self.retry)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Settings that weaken a protection; see [`FoundryClientBuilder::dangerous`].
#[derive(Debug)]
#[must_use]
pub struct DangerousFoundryBuilder(FoundryClientBuilder);

impl DangerousFoundryBuilder {
    /// Also takes a project endpoint on this very host, such as a gateway of your own. Tokens for the service then go
    /// to it.
    pub fn allow_host(mut self, host: impl Into<String>) -> FoundryClientBuilder {
        self.0.more_hosts.push(host.into().to_ascii_lowercase());
        self.0
    }

    /// Sends everything to this address instead of the project endpoint: a gateway that stands in front of it, such as
    /// API Management. Tokens for the service go to the gateway, and to it alone.
    pub fn gateway(mut self, base_url: impl Into<String>) -> FoundryClientBuilder {
        self.0.gateway = Some(base_url.into());
        self.0
    }
}

/// Headers that a caller may not set: credentials, framing, and what the client sets itself.
const RESERVED: &[&str] = &[
    "accept",
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "foundry-features",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-ms-client-request-id",
    "x-ms-user-identity",
];

pub(crate) fn extra_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BuildError> {
    let name = HeaderName::try_from(name).map_err(|_| BuildError::new("a header's name is not valid"))?;
    if RESERVED.contains(&name.as_str()) {
        return Err(BuildError::new("a header of that name is set by the client itself or carries credentials"));
    }
    let value = HeaderValue::try_from(value).map_err(|_| BuildError::new("a header's value is not valid"))?;
    Ok((name, value))
}
