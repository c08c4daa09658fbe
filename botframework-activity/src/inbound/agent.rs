use std::{fmt, sync::Arc};

use entra_auth::{ClientId, TenantId};
use http::HeaderMap;

use super::{
    ChannelPolicy, InboundError, InboundErrorKind, InboundRequest, ServiceUrl, VerifiedActivity,
    authenticator::refused,
    entra::GroupKind,
    policy::{check_ids, named_channel, named_service_url},
    token::{judge_content, one_tenant},
    verified::Facts,
};
use crate::{Activity, ActivityType, DeliveryMode, RoleType};

/// The proof that a request carries a good token of Entra, of a caller that is allowed. It opens the body of that
/// request. Only [`CallerAuthenticator`](crate::CallerAuthenticator) makes one.
#[derive(Clone)]
pub struct AgentToken(Arc<AgentFacts>);

pub(super) struct AgentFacts {
    pub(super) policy: ChannelPolicy,
    pub(super) kind: GroupKind,
    pub(super) replies: Vec<ServiceUrl>,
    /// A `serviceurl` claim, which tokens of Entra mostly do not have.
    pub(super) service_url: Option<ServiceUrl>,
    pub(super) caller: ClientId,
    pub(super) app_id: ClientId,
    pub(super) tenant: TenantId,
    pub(super) key_id: Box<str>,
}

impl AgentToken {
    #[inline]
    pub(super) fn new(facts: AgentFacts) -> Self {
        Self(Arc::new(facts))
    }

    /// The id of the key that signed, for logs.
    #[must_use]
    #[inline]
    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// Which of the bot's app ids the token is for.
    #[must_use]
    #[inline]
    pub fn app_id(&self) -> &ClientId {
        &self.0.app_id
    }

    /// The app id of the caller. The Emulator and the app service extension have the bot's own.
    #[must_use]
    #[inline]
    pub fn caller(&self) -> &ClientId {
        &self.0.caller
    }

    /// The tenant that issued the token: the caller's, not the user's.
    #[must_use]
    #[inline]
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    #[inline]
    pub(super) fn body_limit(&self) -> usize {
        self.0.policy.body_limit()
    }

    #[inline]
    pub(super) fn check_content(&self, headers: &HeaderMap) -> Result<(), InboundError> {
        judge_content(headers, self.body_limit()).inspect_err(refused)
    }

    #[inline]
    pub(super) fn open(&self, body: &[u8]) -> Result<InboundRequest, InboundError> {
        self.judge(body).inspect_err(refused)
    }

    #[inline]
    fn judge(&self, body: &[u8]) -> Result<InboundRequest, InboundError> {
        let rules = &self.0.policy.0;
        let mut activity = rules.read(body)?;
        let url = named_service_url(&activity, self.0.service_url.as_ref())?;
        if self.0.service_url.as_ref().is_some_and(|signed| !signed.same_as(&url)) {
            return Err(InboundErrorKind::ServiceUrlMismatch.into());
        }
        named_channel(&activity)?;
        check_ids(&activity)?;
        let tenant = one_tenant(&activity, &url)?;
        if !rules.allows_tenant(tenant.as_ref()) {
            return Err(InboundErrorKind::TenantNotAllowed.into());
        }
        // Whoever sent the activity does not get to say who called.
        activity.caller_id = Some(format!("urn:botframework:aadappid:{}", self.0.caller));
        let reply_url = self.judge_reply_url(&activity, url)?;
        match (self.0.kind, reply_url) {
            (GroupKind::Emulator | GroupKind::AppServiceExtension, Some(service_url)) => {
                Ok(InboundRequest::Verified(VerifiedActivity::new(Facts {
                    activity,
                    service_url,
                    tenant,
                    app_id: self.0.app_id.clone(),
                    cloud: rules.cloud,
                    size: body.len(),
                })))
            }
            (_, reply_url) => {
                Ok(InboundRequest::Agent(AgentRequest(Arc::new(Request { activity, reply_url, token: self.clone() }))))
            }
        }
    }

    /// No signature covers the address: it must be one that the operator has listed, or that the kind of caller implies.
    #[inline]
    fn judge_reply_url(&self, activity: &Activity, url: ServiceUrl) -> Result<Option<ServiceUrl>, InboundError> {
        let rules = &self.0.policy.0;
        let listed = self.0.replies.iter().any(|listed| listed.same_as(&url));
        match self.0.kind {
            GroupKind::Emulator if url.is_loopback() && rules.hosts.allows(&url) => Ok(Some(url)),
            GroupKind::Emulator => Err(InboundErrorKind::HostNotAllowed.into()),
            GroupKind::Agents | GroupKind::AppServiceExtension if listed => Ok(Some(url)),
            GroupKind::Agentic if listed || (is_agentic(activity) && rules.hosts.allows(&url)) => Ok(Some(url)),
            GroupKind::Agents | GroupKind::Agentic if is_answered_inline(activity) => Ok(None),
            _ => Err(InboundErrorKind::ReplyUrlNotAllowed.into()),
        }
    }
}

/// Whether the activity is addressed to an agentic account, or comes from a user of a connector.
#[inline]
fn is_agentic(activity: &Activity) -> bool {
    let role = |account: &Option<crate::ChannelAccount>| account.as_ref().and_then(|account| account.role.clone());
    let connector = |role: &RoleType| *role == RoleType::CONNECTOR_USER;
    role(&activity.recipient).is_some_and(|role| role.is_agentic() || connector(&role))
        || role(&activity.from).is_some_and(|role| connector(&role))
}

/// Whether all answers are in the response to the request.
#[inline]
fn is_answered_inline(activity: &Activity) -> bool {
    let modes = [DeliveryMode::EXPECT_REPLIES, DeliveryMode::STREAM];
    activity.kind == ActivityType::INVOKE || activity.delivery_mode.as_ref().is_some_and(|mode| modes.contains(mode))
}

impl fmt::Debug for AgentToken {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentToken")
            .field("kind", &self.0.kind)
            .field("caller", &self.0.caller)
            .field("key_id", &self.0.key_id)
            .finish_non_exhaustive()
    }
}

/// The request of an agent.
///
/// Who the user is, is the agent's word: a conversation of an agent opens no data of a user without the user's own
/// token. It goes into no queue, and the bot's connector token never goes to [`AgentRequest::reply_url`]: that takes a
/// token for the agent, of the scope [`AgentRequest::reply_scope`]. A clone is an `Arc` clone.
#[derive(Clone)]
pub struct AgentRequest(Arc<Request>);

struct Request {
    activity: Activity,
    reply_url: Option<ServiceUrl>,
    token: AgentToken,
}

impl AgentRequest {
    /// The activity.
    #[must_use]
    #[inline]
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// The app id of the agent.
    #[must_use]
    #[inline]
    pub fn caller(&self) -> &ClientId {
        self.0.token.caller()
    }

    /// The agent's tenant.
    #[must_use]
    #[inline]
    pub fn tenant(&self) -> &TenantId {
        self.0.token.tenant()
    }

    /// The app id of the bot that was addressed.
    #[must_use]
    #[inline]
    pub fn app_id(&self) -> &ClientId {
        self.0.token.app_id()
    }

    /// Where answers may go; `None` when they go into the response to the request, as
    /// [`ExpectedReplies`](crate::ExpectedReplies) or the body of an invoke, and nowhere else.
    #[must_use]
    #[inline]
    pub fn reply_url(&self) -> Option<&ServiceUrl> {
        self.0.reply_url.as_ref()
    }

    /// The scope of a token for the agent.
    #[must_use]
    #[inline]
    pub fn reply_scope(&self) -> String {
        format!("{}/.default", self.caller())
    }
}

impl AsRef<Activity> for AgentRequest {
    #[inline]
    fn as_ref(&self) -> &Activity {
        self.activity()
    }
}

impl fmt::Debug for AgentRequest {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRequest")
            .field("activity", &self.0.activity)
            .field("caller", self.caller())
            .field("reply_url", &self.0.reply_url)
            .finish_non_exhaustive()
    }
}
