use std::sync::Arc;

use entra_auth::{
    Authority, BuildError, ClientId, Clock, HttpTransport, KeySource, SystemClock, TenantId, TenantKeys, TenantPolicy,
    UnverifiedToken, bearer,
};
use http::HeaderMap;

use super::{
    AgentRequest, AgentToken, ChannelAuthenticator, ChannelToken, InboundError, ServiceUrl, VerifiedActivity,
    authenticator::refused,
    entra::{EntraCallers, Group, GroupKind},
};

/// Checks requests of the channel and, where you opt in, of other callers: agents, agentic users, the Emulator, the
/// app service extension of Direct Line.
///
/// The issuer of the token alone chooses the rules; nothing else in a request does. What is not turned on here is a 401
/// like any other token of a stranger.
///
/// ```
/// # use std::sync::Arc;
/// # use botframework_activity::{AgentCaller, CallerAuthenticator, ChannelAuthenticator, InboundError, InboundRequest};
/// # use entra_auth::HttpTransport;
/// # fn f(channel: ChannelAuthenticator, transport: Arc<dyn HttpTransport>) -> Result<(), Box<dyn std::error::Error>> {
/// let authenticator = CallerAuthenticator::builder(channel)
///     .agents(
///         ["aaaaaaaa-0000-0000-0000-000000000001".parse()?],
///         [AgentCaller::new("99999999-0000-0000-0000-000000000009".parse()?)
///             .reply_to("https://agents.contoso.com/api/skills")],
///     )
///     .transport(transport)
///     .build()?;
///
/// async fn receive(authenticator: &CallerAuthenticator, headers: &http::HeaderMap, body: &[u8]) -> Result<(), InboundError> {
///     let token = authenticator.authenticate(headers).await?;
///     token.check_content(headers)?;
///     match token.open(body)? {
///         InboundRequest::Verified(activity) => println!("a turn of {}", activity.channel()),
///         InboundRequest::Agent(request) => println!("a request of the agent {}", request.caller()),
///         _ => {}
///     }
///     Ok(())
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct CallerAuthenticator {
    channel: ChannelAuthenticator,
    entra: Option<Arc<EntraCallers>>,
}

impl CallerAuthenticator {
    /// Begins with the channel alone.
    #[inline]
    pub fn builder(channel: ChannelAuthenticator) -> CallerAuthenticatorBuilder {
        CallerAuthenticatorBuilder {
            channel,
            groups: Vec::new(),
            bad_urls: 0,
            authority: None,
            keys: None,
            transport: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// The channel's part.
    #[must_use]
    #[inline]
    pub const fn channel(&self) -> &ChannelAuthenticator {
        &self.channel
    }

    /// Step one: the headers. As [`ChannelAuthenticator::authenticate`].
    ///
    /// # Errors
    ///
    /// As there, and [`InboundErrorKind::AgentNotAllowed`](crate::InboundErrorKind::AgentNotAllowed) or
    /// [`InboundErrorKind::DelegatedToken`](crate::InboundErrorKind::DelegatedToken) (403).
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<CallerToken, InboundError> {
        if let Some(entra) = &self.entra
            && let Ok(token) = bearer(headers)
            && let Ok(token) = UnverifiedToken::parse(token)
            && entra.knows_issuer(token.unverified_claims())
        {
            let result = entra.judge(token, self.channel.policy()).await;
            return result.map(CallerToken::Agent).inspect_err(refused);
        }
        self.channel.authenticate(headers).await.map(CallerToken::Channel)
    }
}

/// The proof that a request carries a good token. It opens the body of that request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CallerToken {
    /// Of the channel.
    Channel(ChannelToken),
    /// Of Entra: an agent, an agentic user, the Emulator, the app service extension.
    Agent(AgentToken),
}

impl CallerToken {
    /// How many bytes of the body are worth reading.
    #[must_use]
    #[inline]
    pub fn body_limit(&self) -> usize {
        match self {
            Self::Channel(token) => token.body_limit(),
            Self::Agent(token) => token.body_limit(),
        }
    }

    /// Judges the headers that describe the body, as [`ChannelToken::check_content`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn check_content(&self, headers: &HeaderMap) -> Result<(), InboundError> {
        match self {
            Self::Channel(token) => token.check_content(headers),
            Self::Agent(token) => token.check_content(headers),
        }
    }

    /// Step two: the body, as [`ChannelToken::open`].
    ///
    /// # Errors
    ///
    /// As there, and [`InboundErrorKind::ReplyUrlNotAllowed`](crate::InboundErrorKind::ReplyUrlNotAllowed) (403).
    #[inline]
    pub fn open(&self, body: &[u8]) -> Result<InboundRequest, InboundError> {
        match self {
            Self::Channel(token) => token.open(body).map(InboundRequest::Verified),
            Self::Agent(token) => token.open(body),
        }
    }
}

/// What a request is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum InboundRequest {
    /// An activity that the bot's own connector may answer: of the channel, the Emulator, the app service extension.
    Verified(VerifiedActivity),
    /// A request of an agent. The bot's connector token never goes to an agent, so it is a type of its own.
    Agent(AgentRequest),
}

/// An agent that may call, and where its answers go.
#[derive(Clone, Debug)]
pub struct AgentCaller {
    pub(super) app_id: ClientId,
    pub(super) replies: Vec<ServiceUrl>,
    bad_urls: usize,
}

impl AgentCaller {
    /// The agent with this app id. Without an address it gets its answers in the response to its request
    /// (`deliveryMode` `expectReplies` or `stream`, and invokes), and nothing else.
    #[must_use]
    #[inline]
    pub const fn new(app_id: ClientId) -> Self {
        Self { app_id, replies: Vec::new(), bad_urls: 0 }
    }

    /// Adds a service URL that its answers may go to: the whole address, compared as that of the channel.
    #[must_use]
    #[inline]
    pub fn reply_to(mut self, url: impl AsRef<str>) -> Self {
        match service_url(url.as_ref()) {
            Some(url) => self.replies.push(url),
            None => self.bad_urls += 1,
        }
        self
    }
}

#[inline]
fn service_url(text: &str) -> Option<ServiceUrl> {
    ServiceUrl::parse(text).ok().filter(|url| url.url().scheme() == "https" || url.is_loopback())
}

/// Settings of a [`CallerAuthenticator`].
#[derive(Debug)]
#[must_use]
pub struct CallerAuthenticatorBuilder {
    channel: ChannelAuthenticator,
    groups: Vec<Group>,
    bad_urls: usize,
    authority: Option<Authority>,
    keys: Option<Arc<dyn KeySource>>,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
}

/// Tenants of Microsoft that its own services get their tokens from, in the public cloud.
const MICROSOFT: [&str; 3] = [
    "d6d49420-f39b-4df7-a1dc-d59a935871db",
    "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    "69e9b82d-4842-4902-8d1e-abc5b98a55e8",
];
/// That of the US government's clouds.
const MICROSOFT_GOVERNMENT: [&str; 1] = ["cab8a31a-1906-4287-a0d8-4eef66b95f6e"];
/// `botframework.com`.
const BOT_FRAMEWORK: &str = "d6d49420-f39b-4df7-a1dc-d59a935871db";

impl CallerAuthenticatorBuilder {
    /// Lets these agents of these tenants call: other bots, skill hosts. Their tokens are of Entra, version 1 or 2, for
    /// this bot, of an application and not of a user.
    #[inline]
    pub fn agents(
        self,
        tenants: impl IntoIterator<Item = TenantId>,
        callers: impl IntoIterator<Item = AgentCaller>,
    ) -> Self {
        self.group(GroupKind::Agents, tenants.into_iter().collect(), callers.into_iter().collect())
    }

    /// Lets these services of Microsoft call for agentic users, agentic instances and users of Copilot Studio
    /// connectors: with tokens of Microsoft's own tenants. Their answers go to a connector of the bot's cloud when the
    /// activity is addressed to an agentic account.
    #[inline]
    pub fn agentic(self, callers: impl IntoIterator<Item = AgentCaller>) -> Self {
        let tenants = self.microsoft().iter().filter_map(|id| id.parse().ok()).collect();
        self.group(GroupKind::Agentic, tenants, callers.into_iter().collect())
    }

    /// Lets the Bot Framework Emulator call, for development: it holds the bot's own credential. Its service URL must be
    /// on this machine, so the channel's part needs
    /// [`loopback_connectors`](crate::ChannelAuthenticatorBuilder::loopback_connectors).
    #[inline]
    pub fn emulator_for_development(self, own_tenant: TenantId) -> Self {
        let tenants = [own_tenant].into_iter().chain(BOT_FRAMEWORK.parse()).collect();
        self.group(GroupKind::Emulator, tenants, Vec::new())
    }

    /// Lets the app service extension of Direct Line call: it holds the bot's own credential. Answers go to this service
    /// URL and no other.
    #[inline]
    pub fn app_service_extension(self, own_tenant: TenantId, reply_to: impl AsRef<str>) -> Self {
        let own = self.channel.policy().app_ids().first().cloned();
        let caller = own.map(|app_id| AgentCaller::new(app_id).reply_to(reply_to));
        let microsoft = self.microsoft().iter().filter_map(|id| id.parse().ok());
        let tenants = [own_tenant].into_iter().chain(microsoft).collect();
        self.group(GroupKind::AppServiceExtension, tenants, caller.into_iter().collect())
    }

    /// Sets where tokens of Entra come from. Default: Entra of the channel's cloud.
    #[inline]
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Sets the keys that tokens of Entra are verified with. Default: those that Entra publishes for each tenant.
    #[inline]
    pub fn keys(mut self, keys: Arc<dyn KeySource>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets how Entra's keys are fetched.
    #[inline]
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets the clock that tokens are judged by. Default the system's.
    #[inline]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Finishes the authenticator. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// When a list of tenants or callers is empty, a tenant is no GUID, an address is no service URL, a caller is the bot
    /// itself, or there is neither a key source nor a transport. The operator or the developer fixes the setting.
    #[inline]
    pub fn build(self) -> Result<CallerAuthenticator, BuildError> {
        if self.bad_urls > 0 {
            return Err(BuildError::new("an address for answers is no https URL without query, user and fragment"));
        }
        if self.groups.is_empty() {
            return Ok(CallerAuthenticator { channel: self.channel, entra: None });
        }
        let own = self.channel.policy().app_ids();
        for group in &self.groups {
            group.check(own)?;
        }
        let authority = self.authority.unwrap_or_else(|| self.channel.policy().cloud().entra().into());
        let keys = match (self.keys, self.transport) {
            (Some(keys), _) => keys,
            (None, Some(transport)) => {
                let tenants = self.groups.iter().flat_map(|group| group.tenants.iter().cloned());
                let policy = TenantPolicy::allow(tenants);
                let keys = TenantKeys::builder(authority.clone(), policy).transport(transport);
                Arc::new(keys.clock(Arc::clone(&self.clock)).build()?)
            }
            (None, None) => return Err(BuildError::new("callers of Entra need a key source or a transport")),
        };
        let entra = EntraCallers::new(&authority, self.groups, keys, self.clock);
        Ok(CallerAuthenticator { channel: self.channel, entra: Some(Arc::new(entra)) })
    }

    #[inline]
    fn group(mut self, kind: GroupKind, tenants: Vec<TenantId>, callers: Vec<AgentCaller>) -> Self {
        self.bad_urls += callers.iter().map(|caller| caller.bad_urls).sum::<usize>();
        self.groups.push(Group { kind, tenants, callers });
        self
    }

    #[inline]
    fn microsoft(&self) -> &'static [&'static str] {
        match self.channel.policy().cloud().entra() {
            entra_auth::Cloud::UsGovernment => &MICROSOFT_GOVERNMENT,
            _ => &MICROSOFT,
        }
    }
}
