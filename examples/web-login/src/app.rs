//! The clients and the memory of the application, made from the settings.

use std::{sync::Arc, time::Duration};

use entra_auth::{
    AccessTokenValidator, BuildError, ConfidentialClient, GroupResolver, HttpTransport, IdTokenValidator, MemoryStore,
    ReqwestTransport, Scopes, Secret, SignInAudience, SignInStore, TenantPolicy, UserKey, Users,
};
use url::Url;

use crate::{
    graph::{self, Graph},
    session::Sessions,
    settings::{Config, Registration},
    story::Stories,
};

/// Everything the routes need.
#[derive(Debug)]
pub(crate) struct App {
    /// The address by which browsers know the application.
    pub(crate) base: Url,
    /// Where a sign-in comes back to; registered at Entra.
    pub(crate) redirect_uri: Url,
    /// The origin of Entra, where forms may lead.
    pub(crate) authority_origin: String,
    pub(crate) sandbox: bool,
    pub(crate) users: Users,
    pub(crate) sign_ins: SignInStore,
    pub(crate) sessions: Sessions,
    pub(crate) groups: GroupResolver,
    pub(crate) graph: Graph,
    pub(crate) stories: Stories,
    /// The scope of the story API, which the first token is for.
    pub(crate) api_scope: Scopes,
}

impl App {
    /// Builds everything. Nothing is sent yet.
    pub(crate) fn build(config: Config, port: u16, sandbox: bool) -> Result<Arc<Self>, BuildError> {
        let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
        let client = |registration: &Registration| {
            let secret: Secret = registration.secret.clone();
            ConfidentialClient::builder(config.tenant.clone(), registration.id.clone(), secret)
                .authority(config.authority.clone())
                .transport(Arc::clone(&transport))
                .build()
        };
        let (web, service) = (client(&config.web)?, client(&config.service)?);

        let id_tokens =
            IdTokenValidator::builder(config.authority.clone(), config.web.id.clone(), config.tenants.clone())
                .transport(Arc::clone(&transport))
                .build()?;
        // One tenant signs in at its own endpoint. For several of them Entra finds the user's; the validator lets in
        // whom the policy names.
        let audience = match &config.tenants {
            TenantPolicy::Single(tenant) => SignInAudience::Tenant(tenant.clone()),
            _ => SignInAudience::Organizations,
        };
        let users = web.users(id_tokens).with_audience(audience);

        let base = match config.base {
            Some(base) => base,
            None => Url::parse(&format!("http://localhost:{port}/"))
                .map_err(|error| BuildError::new("the address of the application is no URL").with_source(error))?,
        };
        let redirect_uri = base
            .join("auth/callback")
            .map_err(|error| BuildError::new("the address of the application is no URL").with_source(error))?;
        let tokens =
            AccessTokenValidator::builder(config.authority.clone(), [config.api_audience.clone()], config.tenants)
                .transport(Arc::clone(&transport))
                .build()?;
        let groups = GroupResolver::builder(Arc::new(web.clone()), config.tenant)
            .graph(config.graph.clone())
            .scopes(graph::scopes(&config.graph, ".default")?)
            .transport(Arc::clone(&transport))
            .build()?;
        let graph = Graph::new(web, config.graph.clone(), Arc::clone(&transport))?;
        let stories =
            Stories::new(tokens, service, config.api_audience, &config.api_scope, config.authority.clone(), &graph)?;
        Ok(Arc::new(Self {
            redirect_uri,
            authority_origin: config.authority.url().origin().ascii_serialization(),
            sandbox,
            users,
            // The verifiers in it are of use to this process only, and die with it.
            sign_ins: SignInStore::new(Arc::new(MemoryStore::default())),
            sessions: Sessions::new(config.sealer, config.session, base.scheme() == "https"),
            base,
            groups,
            graph,
            stories,
            api_scope: config.api_scope,
        }))
    }

    /// Forgets everything of a user: sessions in every browser, tokens of both registrations.
    pub(crate) async fn forget(&self, user: &UserKey) {
        self.sessions.end_all(user);
        // Without a shared cache nothing can fail; with one, a sign-out that could not be told is said.
        let (signed_out, forgotten) = (self.users.sign_out(user).await, self.stories.forget(user).await);
        for error in [signed_out.err(), forgotten.err()].into_iter().flatten() {
            tracing::warn!(kind = ?error.kind(), "other processes could not be told of a sign-out");
        }
    }
}

/// How long a request to Graph may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
