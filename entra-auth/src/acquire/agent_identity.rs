//! Entra Agent ID: a blueprint vouches for its agents, and an agent for its user account.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Request;

use super::{
    cache_key::{AgentLeg, AgentUserId, CacheKey, Subject},
    client::{ConfidentialClient, Identity, claims_parameter},
    engine::{Engine, Grant},
    wire::{self, ASSERTION_TYPE, Form},
};
use crate::{
    AccessToken, Body, ClaimsChallenge, ClientId, CorrelationId, Error, ErrorKind, ExtraParameters, ObjectId, Scopes,
    TenantId, TokenCredential, TokenRequest,
};

/// What agents are vouched for with, for the token service itself.
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";

impl ConfidentialClient {
    /// Acts as an agent identity of which this client is the blueprint
    /// (<https://learn.microsoft.com/entra/agent-id/identity-platform/agent-oauth-protocols>).
    ///
    /// As a [`TokenCredential`] it gets the agent's own application tokens. Every leg is cached in this client: after the
    /// first turn an agent costs no request until a token ages.
    ///
    /// ```no_run
    /// # async fn example(blueprint: entra_auth::ConfidentialClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use entra_auth::{TokenCredential, TokenRequest};
    ///
    /// let agent = blueprint.agent("44444444-4444-4444-4444-444444444444".parse()?);
    /// let own = agent.get_token(&TokenRequest::new("https://graph.microsoft.com/.default".parse()?)).await?;
    ///
    /// let user = agent.user("55555555-5555-5555-5555-555555555555".parse()?);
    /// let mail = user.get_token(&TokenRequest::new("https://graph.microsoft.com/Mail.Send".parse()?)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[inline]
    pub fn agent(&self, agent: ClientId) -> AgentCredential {
        let inner = self.inner();
        AgentCredential(Arc::new(Agent {
            engine: Arc::clone(&inner.engine),
            blueprint: Arc::clone(&inner.identity),
            tenant: self.tenant().clone(),
            agent,
        }))
    }
}

/// An agent identity; see [`ConfidentialClient::agent`]. A clone is cheap.
#[derive(Clone)]
pub struct AgentCredential(Arc<Agent>);

/// The user account of an agent identity, as a [`TokenCredential`]; see [`AgentCredential::user`].
#[derive(Clone)]
pub struct AgentUser {
    agent: AgentCredential,
    user: AgentUserId,
}

struct Agent {
    engine: Arc<Engine>,
    blueprint: Arc<Identity>,
    tenant: TenantId,
    agent: ClientId,
}

impl AgentCredential {
    /// The agent's client id.
    #[must_use]
    #[inline]
    pub fn client_id(&self) -> &ClientId {
        &self.0.agent
    }

    /// Acts as the agent's user account, by its object id (grant `user_fic`,
    /// <https://learn.microsoft.com/entra/agent-id/identity-platform/agent-user-oauth-flow>).
    #[must_use]
    #[inline]
    pub fn user(&self, object_id: ObjectId) -> AgentUser {
        AgentUser { agent: self.clone(), user: AgentUserId::ObjectId(object_id) }
    }

    /// The same by user principal name. Prefer the object id: names can change hands.
    #[must_use]
    #[inline]
    pub fn user_by_name(&self, name: &str) -> AgentUser {
        AgentUser { agent: self.clone(), user: AgentUserId::Name(name.to_lowercase().into()) }
    }
}

#[async_trait]
impl TokenCredential for AgentCredential {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if !request.scopes.as_str().to_ascii_lowercase().ends_with("/.default") || request.scopes.iter().count() != 1 {
            return Err(Error::new(
                ErrorKind::Configuration,
                "an agent's own token is for one resource: ask for exactly one scope that ends in /.default",
            ));
        }
        self.0.token(request, AgentLeg::App, What::App).await
    }
}

#[async_trait]
impl TokenCredential for AgentUser {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        self.agent.0.token(request, AgentLeg::User(self.user.clone()), What::User(self.user.clone())).await
    }
}

/// What an agent asks for, once its blueprint has vouched for it.
#[derive(Clone)]
enum What {
    App,
    User(AgentUserId),
    #[cfg(feature = "validate")]
    OnBehalfOf(Arc<crate::UserAssertion>),
}

impl Agent {
    async fn token(self: &Arc<Self>, request: &TokenRequest, leg: AgentLeg, what: What) -> Result<AccessToken, Error> {
        let tenant = request.tenant.as_ref().unwrap_or(&self.tenant).clone();
        let subject = Subject::Agent { agent: self.agent.clone(), leg };
        let parameters = request.parameters.digest();
        let key = CacheKey::new(Some(tenant.clone()), subject, request.scopes.clone(), parameters);
        let grant = || -> Arc<dyn Grant> {
            Arc::new(AsAgent {
                agent: Arc::clone(self),
                tenant: tenant.clone(),
                scopes: request.scopes.clone(),
                parameters: request.parameters.clone(),
                what: what.clone(),
            })
        };
        self.engine.token(key, request, &grant).await
    }

    /// The first leg: the blueprint vouches for the agent.
    async fn vouched(self: &Arc<Self>, tenant: &TenantId, id: &CorrelationId) -> Result<AccessToken, Error> {
        let request = TokenRequest::new(exchange()?).with_tenant(tenant.clone()).with_correlation_id(id.clone());
        let subject = Subject::Agent { agent: self.agent.clone(), leg: AgentLeg::Blueprint };
        let key = CacheKey::new(Some(tenant.clone()), subject, request.scopes.clone(), None);
        let grant = || -> Arc<dyn Grant> { Arc::new(Vouch { agent: Arc::clone(self), tenant: tenant.clone() }) };
        self.engine.token(key, &request, &grant).await
    }
}

#[inline]
fn exchange() -> Result<Scopes, Error> {
    EXCHANGE.parse().map_err(super::too_many_scopes)
}

/// Client credentials of the blueprint with `fmi_path`.
struct Vouch {
    agent: Arc<Agent>,
    tenant: TenantId,
}

#[async_trait]
impl Grant for Vouch {
    #[inline]
    fn name(&self) -> &'static str {
        "agent_blueprint"
    }

    #[inline]
    async fn request(&self, _claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let form = vec![
            ("grant_type", "client_credentials".into()),
            ("scope", EXCHANGE.into()),
            ("fmi_path", self.agent.agent.as_str().into()),
        ];
        self.agent.blueprint.request(&self.tenant, form, None, id).await
    }
}

/// What the agent asks for itself, with its blueprint's token as client assertion.
struct AsAgent {
    agent: Arc<Agent>,
    tenant: TenantId,
    scopes: Scopes,
    parameters: ExtraParameters,
    what: What,
}

#[async_trait]
impl Grant for AsAgent {
    #[inline]
    fn name(&self) -> &'static str {
        match self.what {
            What::App => "agent_app",
            What::User(_) => "agent_user",
            #[cfg(feature = "validate")]
            What::OnBehalfOf(_) => "agent_on_behalf_of",
        }
    }

    #[inline]
    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let agent = &self.agent;
        let vouched = agent.vouched(&self.tenant, id).await?;
        let own = match self.what {
            What::User(_) => {
                let request = TokenRequest::new(exchange()?);
                let request = request.with_tenant(self.tenant.clone()).with_correlation_id(id.clone());
                Some(agent.token(&request, AgentLeg::App, What::App).await?)
            }
            _ => None,
        };
        let mut form: Form<'_> = vec![("scope", self.scopes.as_str().into())];
        match &self.what {
            What::App => form.push(("grant_type", "client_credentials".into())),
            What::User(user) => {
                form.push(("grant_type", "user_fic".into()));
                form.push(("requested_token_use", "on_behalf_of".into()));
                form.extend(own.as_ref().map(|own| ("user_federated_identity_credential", own.expose().into())));
                form.push(match user {
                    AgentUserId::ObjectId(id) => ("user_id", id.as_str().into()),
                    AgentUserId::Name(name) => ("username", (&**name).into()),
                });
            }
            #[cfg(feature = "validate")]
            What::OnBehalfOf(assertion) => {
                form.push(("grant_type", wire::GRANT_JWT_BEARER.into()));
                form.push(("requested_token_use", "on_behalf_of".into()));
                form.push(("assertion", assertion.raw().expose().into()));
            }
        }
        form.push(("client_id", agent.agent.as_str().into()));
        form.extend(claims_parameter(agent.blueprint.challenges(), claims).map(|claims| ("claims", claims.into())));
        form.push(("client_assertion_type", ASSERTION_TYPE.into()));
        form.push(("client_assertion", vouched.expose().into()));
        wire::extend(&mut form, &self.parameters);
        wire::encode(&agent.blueprint.authority().token_endpoint(&self.tenant), &form, id)
    }

    #[cfg(feature = "validate")]
    #[inline]
    fn finish(&self, token: AccessToken) -> Result<AccessToken, Error> {
        match &self.what {
            What::OnBehalfOf(assertion) => {
                super::on_behalf_of::capped(token, assertion.expires_on(), self.agent.engine.clock.now())
            }
            _ => Ok(token),
        }
    }
}

/// An agent that acts for a person, as a [`TokenCredential`]; see [`AgentCredential::on_behalf_of`].
#[cfg(feature = "validate")]
#[derive(Clone)]
pub struct AgentOnBehalfOf {
    agent: AgentCredential,
    assertion: Arc<crate::UserAssertion>,
    hash: [u8; 32],
}

#[cfg(feature = "validate")]
impl AgentCredential {
    /// The agent acts for the person who sent `assertion`, a token whose audience is the blueprint
    /// (<https://learn.microsoft.com/entra/agent-id/identity-platform/agent-on-behalf-of-oauth-flow>). As with
    /// [`ConfidentialClient::on_behalf_of`], no token outlives the assertion.
    #[must_use]
    #[inline]
    pub fn on_behalf_of(&self, assertion: crate::UserAssertion) -> AgentOnBehalfOf {
        let hash = super::sha256(assertion.raw().expose().as_bytes());
        AgentOnBehalfOf { agent: self.clone(), assertion: Arc::new(assertion), hash }
    }
}

#[cfg(feature = "validate")]
#[async_trait]
impl TokenCredential for AgentOnBehalfOf {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let user = self.assertion.user_key();
        if request.tenant.as_ref().is_some_and(|other| other != user.tenant()) {
            return Err(Error::new(ErrorKind::Unsupported, "a user's assertion is exchanged in the user's own tenant"));
        }
        if self.assertion.expires_on() <= self.agent.0.engine.clock.now() {
            return Err(Error::new(ErrorKind::Reauthenticate, "the user assertion has ended; get a new user token"));
        }
        let request = request.clone().with_tenant(user.tenant().clone());
        let leg = AgentLeg::OnBehalfOf { user: user.clone(), assertion: self.hash };
        self.agent.0.token(&request, leg, What::OnBehalfOf(Arc::clone(&self.assertion))).await
    }
}

#[cfg(feature = "validate")]
impl fmt::Debug for AgentOnBehalfOf {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentOnBehalfOf").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentCredential {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCredential")
            .field("tenant", &self.0.tenant)
            .field("agent", &self.0.agent)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentUser {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentUser").field("agent", &self.agent).finish_non_exhaustive()
    }
}
