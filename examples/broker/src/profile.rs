//! The per-user part (`--sso`): who is the signed-in user? Asked of Microsoft Graph, with the user's own token.

use std::{sync::Arc, time::Duration};

use botframework_activity::ChannelPolicy;
use botframework_activity::{ChannelCloud, ConnectorClient, InvokeResponse, Turn, TurnRunner, VerifiedActivity};
use entra_auth::{
    AccessTokenValidator, Audience, Authority, Body, BuildError, ConfidentialClient, Deadline, HttpTransport,
    TenantPolicy, TokenCredential, TokenRequest,
};
use serde::Deserialize;
use teams_sso::{Access, Connection, SignIn, SignInError, TokenServiceClient};
use tokio::time::Instant;
use url::Url;

use crate::{clients::Shared, settings::SsoConfig};

/// Signs users in and asks Graph for their names.
#[derive(Clone, Debug)]
pub(crate) struct Profiles {
    sign_in: SignIn,
    connection: String,
    transport: Arc<dyn HttpTransport>,
    graph: Audience,
    me: Url,
}

/// What the profiles are made from besides their settings.
pub(crate) struct Parts {
    /// Who the bot is to the channel's services.
    pub(crate) bot: Arc<dyn TokenCredential>,
    /// The registration that exchanges users' tokens.
    pub(crate) client: ConfidentialClient,
    pub(crate) authority: Authority,
    pub(crate) tenants: TenantPolicy,
    pub(crate) transport: Arc<dyn HttpTransport>,
    pub(crate) connector: ConnectorClient,
    pub(crate) policy: ChannelPolicy,
    pub(crate) shared: Option<Shared>,
}

/// The one member of the answer that is used. <https://learn.microsoft.com/graph/api/user-get>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    display_name: Option<String>,
}

impl Profiles {
    pub(crate) fn new(config: &SsoConfig, parts: Parts) -> Result<Self, BuildError> {
        let Parts { bot, client, authority, tenants, transport, connector, policy, shared } = parts;
        let mut tokens = TokenServiceClient::builder(ChannelCloud::Public, bot, Arc::clone(&transport));
        if let Some(url) = &config.token_service {
            tokens = tokens.base_url(url.clone());
        }
        // Tokens of this connection are for our own registration: of a version 2 API by its id, else by its URI.
        let audiences = [config.app_id.as_str(), &config.resource];
        let validator =
            AccessTokenValidator::builder(authority, audiences, tenants).transport(Arc::clone(&transport)).build()?;
        let connection =
            Connection::on_behalf_of(config.connection.as_str(), validator, client, [config.resource.as_str()]);
        let mut sign_in = SignIn::builder(tokens.build()?, connector, policy).connection(connection);
        if let Some(shared) = shared {
            sign_in = sign_in.durable(Arc::new(shared.store), shared.sealer);
        }
        let sign_in = sign_in.build()?;

        let scopes = "https://graph.microsoft.com/User.Read".parse();
        let scopes = scopes.map_err(|error| BuildError::new("the scope of Graph is malformed").with_source(error))?;
        let graph = Audience::new(scopes, [&config.graph])?;
        let mut me = config.graph.clone();
        if let Ok(mut path) = me.path_segments_mut() {
            path.pop_if_empty().extend(["v1.0", "me"]);
        }
        me.set_query(Some("$select=displayName"));
        Ok(Self { sign_in, connection: config.connection.clone(), transport, graph, me })
    }

    /// Where messages come back to that waited for a sign-in.
    pub(crate) fn attach(&self, runner: &TurnRunner) {
        self.sign_in.attach(runner);
    }

    /// The answer to a `signin/…` invoke; `None` for any other.
    pub(crate) async fn invoke(&self, activity: &VerifiedActivity) -> Option<InvokeResponse> {
        let answer = self.sign_in.invoke(activity).await?;
        let name = activity.name.as_deref().unwrap_or_default();
        tracing::info!(target: "hop", "{name} answered: {}", answer.status);
        Some(answer)
    }

    /// Forgets the user's tokens.
    pub(crate) async fn sign_out(&self, activity: &VerifiedActivity) -> Result<(), SignInError> {
        self.sign_in.sign_out(activity, Some(&self.connection)).await
    }

    /// The display name of the user who wrote the message; parked when the user has to sign in first.
    pub(crate) async fn name(&self, turn: &Turn) -> Result<Access<String>, Box<dyn std::error::Error + Send + Sync>> {
        let Access::Ready(user) = self.sign_in.on_behalf_of(turn, &self.connection).await? else {
            tracing::info!(target: "hop", "no token for the user yet: the message waits for the sign-in");
            return Ok(Access::Parked);
        };
        let token = user.get_token(&TokenRequest::new(self.graph.scopes().clone())).await?;
        let mut request = http::Request::get(self.me.as_str()).body(Body::empty())?;
        request.extensions_mut().insert(Deadline(Instant::now() + Duration::from_secs(10)));
        token.authorize(&mut request, &self.graph)?;
        let response = self.transport.send(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("Graph answered with status {}", status.as_u16()).into());
        }
        let body = response.into_body().collect(64 << 10).await?;
        let me: Me = serde_json::from_slice(&body).map_err(|_| "Graph answered with something that is no user")?;
        tracing::info!(target: "hop", "name of the user from Graph, with the user's own token: {}", status.as_u16());
        Ok(Access::Ready(me.display_name.unwrap_or_default()))
    }
}
