//! The client: requests over a transport, with a credential.

mod about;
mod agent_sources;
mod agents;
#[cfg(feature = "arm")]
mod arm;
mod builder;
mod call;
mod classify;
mod conversations;
mod endpoint;
mod error;
mod form;
mod heal;
mod lists;
mod orphan;
mod page;
#[cfg(feature = "publish")]
mod publish;
mod raw_call;
mod reconcile;
mod resources;
mod responses;
mod resume;
mod retry;
mod sessions;
mod stream;
mod telemetry;

use std::fmt;
use std::sync::Arc;

use entra_auth::{Audience, BuildError, Clock, HttpTransport, RetryPolicy, Scopes, TokenCredential, UserKey};
use http::{HeaderMap, HeaderName, HeaderValue};

pub use agent_sources::{CodeArchive, FromManifest};
pub use agents::{AgentPatch, Agents, NewVersion};
#[cfg(feature = "arm")]
pub use arm::{ArmClient, ArmClientBuilder, ArmResource, AuthProvider, BotSpec, NameAvailability, OAuthConnectionSpec};
pub use builder::{DangerousFoundryBuilder, FoundryClientBuilder, Limits};
pub use conversations::{Conversations, Items};
pub use endpoint::Target;
pub use error::{Delivery, Error, ErrorKind, MissingRole, RequestIds, Resource};
pub use heal::{ConversationFault, Healed};
pub use lists::{ListAgents, ListConversations, ListFiles, ListItems, ListPage, ListResponses, ListVersions, Order};
pub use page::Paged;
#[cfg(feature = "publish")]
pub use publish::{ActivityAccess, Microsoft365, PublishDefaults, PublishRequest, PublishScope, Published};
pub use raw_call::{RawAnswer, RawCall};
pub(crate) use resources::types as resource_types;
pub use resources::{Connections, Deployments, Files, MemoryStores, Toolboxes, VectorStores};
pub use resources::{NewMemoryStore, Remember};
pub use responses::{CompactResponse, Polling, Responses};
pub use sessions::{SessionLogs, Sessions};
pub use stream::ResponseStream;

use crate::agents::Feature;
use endpoint::Endpoint;

/// A client of one project. Cheap to clone; clones share everything.
///
/// Made by [`FoundryClient::builder`]. Every call fetches its token from the credential (which
/// caches), sends it only to the endpoint's origin, repeats what may be repeated and ends at a
/// deadline. Dropping a future or a stream cancels the request; for background responses see [`Responses::stream`].
#[derive(Clone)]
pub struct FoundryClient(Arc<Shared>);

#[derive(Clone)]
pub(crate) struct Shared {
    endpoint: Endpoint,
    auth: Auth,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    repeat_ambiguous: bool,
    limits: Limits,
    user_agent: HeaderValue,
    headers: HeaderMap,
    features: Vec<Feature>,
    /// Marked sensitive: it names a person.
    user: Option<HeaderValue>,
    record_content: bool,
}

/// How requests are authorized.
#[derive(Clone)]
enum Auth {
    Token {
        credential: Arc<dyn TokenCredential>,
        audience: Audience,
    },
    /// Loopback only. The value is marked sensitive.
    ApiKey(HeaderName, HeaderValue),
}

impl Auth {
    /// Tokens of the credential, for this endpoint alone.
    fn token(
        credential: Arc<dyn TokenCredential>,
        scopes: Option<Scopes>,
        default: &str,
        endpoint: &Endpoint,
    ) -> Result<Self, BuildError> {
        let parsed = || default.parse().map_err(|error| BuildError::new("the scope is not valid").with_source(error));
        let scopes = scopes.map_or_else(parsed, Ok)?;
        Ok(Self::Token { credential, audience: Audience::new(scopes, [endpoint.base()])? })
    }
}

impl Shared {
    /// What a client has whose builder was told nothing but this.
    fn new(endpoint: Endpoint, auth: Auth, transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Self {
        Self {
            endpoint,
            auth,
            transport,
            clock,
            retry: builder::default_retry(),
            repeat_ambiguous: false,
            limits: Limits::default(),
            user_agent: HeaderValue::from_static(concat!("foundry-client/", env!("CARGO_PKG_VERSION"))),
            headers: HeaderMap::new(),
            features: Vec::new(),
            user: None,
            record_content: false,
        }
    }
}

impl FoundryClient {
    /// Prepares a client for a project endpoint, as the portal shows it:
    /// `https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT`.
    ///
    /// Plain `http` is accepted for loopback addresses only.
    pub fn builder(project_endpoint: impl Into<String>) -> FoundryClientBuilder {
        FoundryClientBuilder::new(project_endpoint.into())
    }

    /// The same client with its OpenAI operations (conversations, responses, files, vector stores) at another
    /// [`Target`], for example an agent's own endpoint.
    #[must_use]
    pub fn at(&self, target: Target) -> Self {
        self.with(|shared| shared.endpoint = shared.endpoint.clone().with_target(target))
    }

    /// Where the OpenAI operations go.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.0.endpoint.target()
    }

    /// The same client for one user: conversations, responses and sessions carry `x-ms-user-identity`, so that the service
    /// keeps what belongs to one user from the others.
    ///
    /// The value is `tenant:object id`. The identity of the client needs the data action
    /// `Microsoft.CognitiveServices/accounts/AIServices/agents/endpoints/UserIdentityImpersonation/action`, which no
    /// built-in role has; without it every call fails with [`ErrorKind::MissingRole`]. It separates users; it does not
    /// give the agent the user's rights
    /// (<https://learn.microsoft.com/azure/ai-foundry/agents/how-to/isolate-sessions-per-user>).
    #[must_use]
    pub fn for_user(&self, user: &UserKey) -> Self {
        let text = format!("{}:{}", user.tenant().as_str(), user.object_id().as_str());
        self.with(|shared| {
            // Tenants and object ids are letters, digits, hyphens and dots.
            shared.user = HeaderValue::try_from(text).ok().map(|mut value| {
                value.set_sensitive(true);
                value
            });
        })
    }

    /// The same client with one more header on every request, for example `x-client-…`, which a hosted agent's code
    /// sees, or `traceparent`.
    ///
    /// # Errors
    ///
    /// As [`FoundryClientBuilder::header`].
    pub fn with_header(&self, name: &str, value: &str) -> Result<Self, BuildError> {
        let (name, value) = builder::extra_header(name, value)?;
        Ok(self.with(|shared| {
            shared.headers.insert(name, value);
        }))
    }

    /// The same client with one more [preview](Feature) opted in to.
    #[must_use]
    pub fn with_feature(&self, feature: Feature) -> Self {
        self.with(|shared| shared.features.push(feature))
    }

    /// The same client with other times and sizes, for example a shorter deadline for one call.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        self.with(|shared| shared.limits = limits)
    }

    fn with(&self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared::clone(&self.0);
        change(&mut shared);
        Self(Arc::new(shared))
    }

    /// Conversations of the project.
    #[must_use]
    pub fn conversations(&self) -> Conversations {
        Conversations::new(Arc::clone(&self.0))
    }

    /// Items of one conversation, by the conversation's id.
    #[must_use]
    pub fn items(&self, conversation_id: impl Into<String>) -> Items {
        Items::new(Arc::clone(&self.0), conversation_id.into())
    }

    /// Responses of agents and models.
    #[must_use]
    pub fn responses(&self) -> Responses {
        Responses::new(Arc::clone(&self.0))
    }

    /// Agents of the project, their versions and endpoints.
    #[must_use]
    pub fn agents(&self) -> Agents {
        Agents::new(Arc::clone(&self.0))
    }

    /// Sandboxes of a hosted agent, by the agent's name.
    #[must_use]
    pub fn sessions(&self, agent: impl Into<String>) -> Sessions {
        Sessions::new(Arc::clone(&self.0), agent.into())
    }

    /// Files of the project.
    #[must_use]
    pub fn files(&self) -> Files {
        Files(Arc::clone(&self.0))
    }

    /// Vector stores of the project.
    #[must_use]
    pub fn vector_stores(&self) -> VectorStores {
        VectorStores(Arc::clone(&self.0))
    }

    /// Connections of the project.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.0))
    }

    /// Model deployments of the project.
    #[must_use]
    pub fn deployments(&self) -> Deployments {
        Deployments(Arc::clone(&self.0))
    }

    /// Memory stores of the project.
    #[must_use]
    pub fn memory_stores(&self) -> MemoryStores {
        MemoryStores(Arc::clone(&self.0))
    }

    /// Toolboxes of the project.
    #[must_use]
    pub fn toolboxes(&self) -> Toolboxes {
        Toolboxes(Arc::clone(&self.0))
    }

    /// Any other operation, with the same token, repetitions, limits and errors.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn raw(&self, call: RawCall) -> Result<RawAnswer, Error> {
        call.send(&self.0).await
    }
}

impl fmt::Debug for FoundryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match &self.0.auth {
            Auth::Token { .. } => "token",
            Auth::ApiKey(..) => "api key",
        };
        f.debug_struct("FoundryClient")
            .field("endpoint", &self.0.endpoint.base().as_str())
            .field("target", self.0.endpoint.target())
            .field("auth", &auth)
            .field("retry", &self.0.retry)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
