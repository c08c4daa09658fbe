use std::{collections::HashMap, fmt, sync::Arc};

use entra_auth::{
    Algorithm, BuildError, Claims, ClientId, Clock, HttpTransport, JwksClient, KeySource, Lifetime, Recall,
    SystemClock, TenantPolicy, TokenError, TokenErrorKind, TokenMemory, TokenTimes, bearer, is_https_or_loopback,
};
use http::HeaderMap;
use time::OffsetDateTime;
use url::Url;

use super::{
    ChannelCloud, ChannelPolicy, ChannelToken, InboundError, InboundErrorKind, ServiceUrl,
    policy::{Rules, check_tenants},
    service_url::{ConnectorHosts, KnownUrls},
    token::TokenFacts,
};

/// Checks that requests come from the Bot Framework channel, in two steps: headers first, the body only when they are
/// good.
///
/// The rules are those of
/// [Bot Connector authentication](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication),
/// read strictly: the channel's own issuer, exactly one audience, the `serviceurl` claim and the endorsement required.
/// There is no way to switch them off.
///
/// A token that was validated a short time ago is remembered ([`ChannelAuthenticatorBuilder::remember`]). The memory is
/// shared by clones, which are `Arc` clones, and by nobody else: another authenticator has its own policy and its own
/// memory.
///
/// ```
/// # use std::sync::Arc;
/// # use botframework_activity::{ChannelAuthenticator, ChannelKeys, InboundError, VerifiedActivity};
/// # use entra_auth::{KeySource, TenantPolicy};
/// # fn f(keys: Arc<dyn KeySource>) -> Result<(), Box<dyn std::error::Error>> {
/// let authenticator = ChannelAuthenticator::builder(
///     "11111111-2222-3333-4444-555555555555".parse()?,
///     TenantPolicy::Single("aaaaaaaa-0000-0000-0000-000000000001".parse()?),
///     ChannelKeys::source(keys),
/// )
/// .build()?;
///
/// async fn receive(
///     authenticator: &ChannelAuthenticator,
///     headers: &http::HeaderMap,
///     body: impl AsyncFnOnce(usize) -> Vec<u8>, // reads at most that many bytes and one more
/// ) -> Result<VerifiedActivity, InboundError> {
///     let token = authenticator.authenticate(headers).await?;
///     token.check_content(headers)?;
///     token.open(&body(token.body_limit()).await)
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ChannelAuthenticator {
    policy: ChannelPolicy,
    keys: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    tokens: Arc<TokenMemory<ChannelToken>>,
    urls: Arc<KnownUrls>,
}

/// The channel signs with nothing else; its metadata lists only this.
const ALGORITHMS: &[Algorithm] = &[Algorithm::RS256];

impl ChannelAuthenticator {
    /// Begins an authenticator for the bot with this app id, for users of these tenants, with the channel's keys from
    /// there.
    pub fn builder(app_id: ClientId, tenants: TenantPolicy, keys: ChannelKeys) -> ChannelAuthenticatorBuilder {
        ChannelAuthenticatorBuilder {
            app_ids: vec![app_id],
            tenants,
            keys,
            cloud: ChannelCloud::Public,
            metadata_url: None,
            clock: Arc::new(SystemClock),
            connector_hosts: Vec::new(),
            loopback: false,
            required_endorsements: Vec::new(),
            endorsements: HashMap::new(),
            body_limit: 256 * 1024,
            depth_limit: 64,
            node_limit: 10_000,
            remember: 4096,
        }
    }

    /// What this bot accepts; needed to restore stored records.
    #[must_use]
    pub const fn policy(&self) -> &ChannelPolicy {
        &self.policy
    }

    /// Step one: the headers. Nothing of the body is needed, so that whoever has no good token costs no more than this.
    ///
    /// Checks one bearer token, its form and algorithm, issuer, audience, life (300 s of leeway), signature and
    /// `serviceurl` claim. Claims are judged before the signature: a token for somebody else, or one that has ended, never
    /// causes a key to be fetched or a signature to be checked.
    ///
    /// # Errors
    ///
    /// [`InboundErrorKind::Token`] (401; 503 when the channel's keys cannot be fetched),
    /// [`InboundErrorKind::MissingServiceUrlClaim`], [`InboundErrorKind::MalformedServiceUrlClaim`] or
    /// [`InboundErrorKind::HostNotAllowed`] (403).
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<ChannelToken, InboundError> {
        let result = self.judge(headers).await;
        match &result {
            Ok(token) => tracing::debug!(key.id = token.key_id(), "channel token accepted"),
            Err(error) => refused(error),
        }
        result
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<ChannelToken, InboundError> {
        let now = self.clock.now();
        let token = match self.tokens.recall(bearer(headers)?, self.keys.revision(), now)? {
            Recall::Known(token) => return Ok(token),
            Recall::Unknown(token) => token,
        };
        if !ALGORITHMS.contains(&token.algorithm()) {
            return Err(TokenErrorKind::AlgorithmNotAllowed.into());
        }
        if token.offers_key() {
            return Err(TokenErrorKind::KeyInHeader.into());
        }
        let (app_id, times) = self.judge_claims(token.unverified_claims(), now)?;
        let issuer = self.policy.cloud().issuer();
        let verified = token.verify(&*self.keys, issuer, ALGORITHMS).await?;
        if verified.key().issuer().is_some_and(|of_key| of_key != issuer) {
            return Err(TokenErrorKind::KeyIssuerMismatch.into());
        }
        let service_url = self.judge_service_url(verified.claims())?;
        let token = ChannelToken::new(TokenFacts {
            policy: self.policy.clone(),
            key: Arc::clone(verified.key()),
            app_id,
            service_url,
        });
        self.tokens.keep(verified, times, &token);
        Ok(token)
    }

    /// Issuer, audience and life. Returns which of the bot's ids the token is for.
    fn judge_claims(&self, claims: &Claims, now: OffsetDateTime) -> Result<(ClientId, TokenTimes), TokenError> {
        if claims.required_string("iss")? != self.policy.cloud().issuer() {
            return Err(TokenErrorKind::IssuerMismatch.into());
        }
        let audience = claims.required_string("aud")?;
        // Ids are GUIDs in lower case, so nothing else can be equal.
        let is_audience = |id: &&ClientId| id.as_str().eq_ignore_ascii_case(audience);
        let app_id = self.policy.app_ids().iter().find(is_audience).ok_or(TokenErrorKind::AudienceMismatch)?;
        let times = claims.times()?;
        if times.not_before().is_none() {
            return Err(TokenErrorKind::MissingClaim.into());
        }
        times.check(now, lifetime())?;
        Ok((app_id.clone(), times))
    }

    /// The claim is spelt in lower case on the wire, whatever the documentation says.
    fn judge_service_url(&self, claims: &Claims) -> Result<Arc<ServiceUrl>, InboundError> {
        let claim = match claims.string("serviceurl") {
            Ok(Some(claim)) if !claim.is_empty() => claim,
            Ok(_) => return Err(InboundErrorKind::MissingServiceUrlClaim.into()),
            Err(_) => return Err(InboundErrorKind::MalformedServiceUrlClaim.into()),
        };
        if let Some(url) = self.urls.get(claim) {
            return Ok(url);
        }
        let url = ServiceUrl::parse(claim).map_err(|_| InboundErrorKind::MalformedServiceUrlClaim)?;
        if self.policy.allows_host(&url) {
            Ok(self.urls.keep(claim, url))
        } else {
            Err(InboundErrorKind::HostNotAllowed.into())
        }
    }
}

/// How the times in a channel token are judged: clocks may differ by as much as the protocol says.
fn lifetime() -> Lifetime {
    Lifetime::new(Lifetime::MAX_LEEWAY)
}

pub(super) fn refused(error: &InboundError) {
    let status = error.status().as_u16();
    tracing::info!(error.r#type = error.kind().as_str(), http.response.status_code = status, "channel request refused");
}

impl fmt::Debug for ChannelAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelAuthenticator").field("policy", &self.policy).field("keys", &self.keys).finish()
    }
}

/// Where the keys come from that the channel signs with.
#[derive(Clone, Debug)]
pub struct ChannelKeys(Keys);

#[derive(Clone, Debug)]
enum Keys {
    Source(Arc<dyn KeySource>),
    Transport(Arc<dyn HttpTransport>),
}

impl ChannelKeys {
    /// The keys that the cloud's metadata names, fetched over this transport, cached and refreshed.
    #[must_use]
    pub fn fetched(transport: Arc<dyn HttpTransport>) -> Self {
        Self(Keys::Transport(transport))
    }

    /// A key source of one's own. It must hold keys of the channel only.
    #[must_use]
    pub fn source(keys: Arc<dyn KeySource>) -> Self {
        Self(Keys::Source(keys))
    }
}

/// Settings of a [`ChannelAuthenticator`].
#[derive(Debug)]
#[must_use]
pub struct ChannelAuthenticatorBuilder {
    app_ids: Vec<ClientId>,
    tenants: TenantPolicy,
    keys: ChannelKeys,
    cloud: ChannelCloud,
    metadata_url: Option<Url>,
    clock: Arc<dyn Clock>,
    connector_hosts: Vec<String>,
    loopback: bool,
    required_endorsements: Vec<String>,
    endorsements: HashMap<String, Vec<String>>,
    body_limit: usize,
    depth_limit: usize,
    node_limit: usize,
    remember: usize,
}

impl ChannelAuthenticatorBuilder {
    /// Adds an app id: one process that serves several bots.
    pub fn app_id(mut self, app_id: ClientId) -> Self {
        self.app_ids.push(app_id);
        self
    }

    /// Sets the cloud. Default [`ChannelCloud::Public`].
    pub const fn cloud(mut self, cloud: ChannelCloud) -> Self {
        self.cloud = cloud;
        self
    }

    /// Sets where the channel's metadata is; the issuer stays that of the cloud. Default
    /// [`ChannelCloud::metadata_url`]. Plain `http` is taken for loopback addresses only.
    pub fn metadata_url(mut self, url: Url) -> Self {
        self.metadata_url = Some(url);
        self
    }

    /// Sets the clock that tokens are judged by. Default the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a connector host that the bot's token may be sent to: an exact name such as `bridge.contoso.com`, or a
    /// loopback host with or without a port such as `localhost:56150`.
    pub fn connector_host(mut self, host: impl Into<String>) -> Self {
        self.connector_hosts.push(host.into());
        self
    }

    /// Lets connectors be on this machine, at any port: for sandboxes and local tools.
    pub const fn loopback_connectors(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Demands an endorsement of the signing key besides that of the channel.
    pub fn require_endorsement(mut self, endorsement: impl Into<String>) -> Self {
        self.required_endorsements.push(endorsement.into());
        self
    }

    /// Lets an endorsement stand in for that of a channel, for a channel whose keys are endorsed under another name.
    pub fn endorsement_for(mut self, channel: impl AsRef<str>, endorsement: impl Into<String>) -> Self {
        let channel = channel.as_ref().to_ascii_lowercase();
        self.endorsements.entry(channel).or_default().push(endorsement.into());
        self
    }

    /// Sets the largest body in bytes. Default 256 KiB.
    pub const fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how deep a body may be nested. Default and maximum 64.
    pub fn depth_limit(mut self, depth: usize) -> Self {
        self.depth_limit = depth.min(64);
        self
    }

    /// Sets how many values a body may hold. Default 10,000.
    pub const fn node_limit(mut self, nodes: usize) -> Self {
        self.node_limit = nodes;
        self
    }

    /// Sets how many validated tokens are remembered: for five minutes at most, until a key disappears, never beyond
    /// their end. The service URL, the endorsement and the tenant of every activity are judged each time. Default 4,096,
    /// about 300 bytes each; 0 remembers none, so that every request costs a signature. See [`TokenMemory`].
    pub const fn remember(mut self, tokens: usize) -> Self {
        self.remember = tokens;
        self
    }

    /// Finishes the authenticator. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// When the tenant policy lets nobody in, a connector host is no exact host name, or the metadata address is neither
    /// `https` nor on loopback. The operator fixes the setting.
    pub fn build(self) -> Result<ChannelAuthenticator, BuildError> {
        check_tenants(&self.tenants)?;
        let mut hosts = ConnectorHosts::of(self.cloud);
        self.connector_hosts.iter().try_for_each(|host| hosts.add(host))?;
        if self.loopback {
            hosts.allow_loopback();
        }
        let metadata_url = match self.metadata_url {
            Some(url) => url,
            None => Url::parse(self.cloud.metadata_url())
                .map_err(|error| BuildError::new("the metadata address is no URL").with_source(error))?,
        };
        if !is_https_or_loopback(&metadata_url) {
            return Err(BuildError::new("the metadata address of the channel is https, or http on a loopback address"));
        }
        let keys: Arc<dyn KeySource> = match self.keys.0 {
            Keys::Source(keys) => keys,
            Keys::Transport(transport) => Arc::new(
                JwksClient::builder(metadata_url)
                    .transport(transport)
                    .clock(Arc::clone(&self.clock))
                    .expected_issuer(self.cloud.issuer())
                    .build()?,
            ),
        };
        Ok(ChannelAuthenticator {
            policy: ChannelPolicy(Arc::new(Rules {
                app_ids: self.app_ids,
                tenants: self.tenants,
                cloud: self.cloud,
                hosts,
                required_endorsements: self.required_endorsements,
                endorsements: self.endorsements,
                body_limit: self.body_limit,
                depth_limit: self.depth_limit,
                node_limit: self.node_limit,
            })),
            keys,
            clock: self.clock,
            tokens: Arc::new(TokenMemory::new(self.remember, lifetime())),
            urls: Arc::default(),
        })
    }
}
