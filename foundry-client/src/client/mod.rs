//! The client: requests over a transport, with a credential.

mod builder;
mod call;
mod classify;
mod conversations;
mod endpoint;
mod error;
mod reconcile;
mod responses;
mod retry;
mod stream;
mod telemetry;

use std::fmt;
use std::sync::Arc;

use entra_auth::{Audience, Clock, HttpTransport, RetryPolicy, TokenCredential};
use http::HeaderValue;

pub use builder::{DangerousFoundryBuilder, FoundryClientBuilder, Limits};
pub use conversations::{Conversations, Items, ListItems, Order};
pub use error::{Delivery, Error, ErrorKind, RequestIds, Resource};
pub use responses::Responses;
pub use stream::ResponseStream;

use endpoint::Endpoint;

/// A client of one project. Cheap to clone; clones share everything.
///
/// Made by [`FoundryClient::builder`]. Every call fetches its token from the credential (which
/// caches), sends it only to the endpoint's origin, repeats what may be repeated and ends at a
/// deadline. Dropping a future or a stream cancels the request.
#[derive(Clone)]
pub struct FoundryClient(Arc<Shared>);

pub(crate) struct Shared {
    endpoint: Endpoint,
    auth: Auth,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    repeat_ambiguous: bool,
    limits: Limits,
    user_agent: HeaderValue,
}

/// How requests are authorized.
enum Auth {
    Token {
        credential: Arc<dyn TokenCredential>,
        audience: Audience,
    },
    /// Loopback only. The value is marked sensitive.
    ApiKey(HeaderValue),
}

impl FoundryClient {
    /// Prepares a client for a project endpoint, as the portal shows it:
    /// `https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT`.
    ///
    /// Plain `http` is accepted for loopback addresses only.
    pub fn builder(project_endpoint: impl Into<String>) -> FoundryClientBuilder {
        FoundryClientBuilder::new(project_endpoint.into())
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
}

impl fmt::Debug for FoundryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match &self.0.auth {
            Auth::Token { .. } => "token",
            Auth::ApiKey(_) => "api key",
        };
        f.debug_struct("FoundryClient")
            .field("endpoint", &self.0.endpoint.base().as_str())
            .field("auth", &auth)
            .field("retry", &self.0.retry)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}
