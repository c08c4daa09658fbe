//! Why a call failed, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entra_auth::{ClaimsChallenge, TransportErrorKind};
use http::HeaderMap;

use crate::agents::Feature;
use crate::events::StreamError;

/// Why a call to the service failed.
///
/// `Display` and `Debug` carry status, code and request ids, never the service's text or a body:
/// those can quote the conversation and are only in [`service_message`](Self::service_message) and
/// [`body`](Self::body).
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    status: Option<u16>,
    service: ServiceError,
    retry_after: Option<Duration>,
    request_ids: RequestIds,
    claims: Option<ClaimsChallenge>,
    cursor: Cursor,
    attempts: u32,
    transport: Option<TransportErrorKind>,
    should_retry: Option<bool>,
    body: Bytes,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is: who can act on it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong: the developer fixes it. Also when it could not be built and nothing was sent.
    InvalidRequest,
    /// Something named by the request is not there, or belongs to another user. For a conversation: make a new one.
    NotFound(Resource),
    /// Another response is being made in this conversation. Try again after seconds; serialise turns to avoid it.
    ConversationLocked,
    /// A failed turn left a tool call without its output (or the reverse); every later turn in this
    /// conversation fails. Make a new conversation and replay what matters.
    ConversationPoisoned,
    /// The request collides with the state of the service, for example a response that is not the newest.
    Conflict,
    /// The token is refused even after a renewal: the operator checks tenant and audience. With a
    /// [`claims_challenge`](Error::claims_challenge) the user must sign in again.
    Unauthorized,
    /// The identity lacks a role on the project: the operator assigns it; see [`missing_action`](Error::missing_action).
    MissingRole,
    /// The service forbids it for another reason, such as a network rule.
    Forbidden,
    /// A preview feature needs an opt-in header: the developer.
    PreviewRequired,
    /// A content filter refused the prompt or the answer: the user rephrases.
    ContentFilter,
    /// Too many requests or tokens: wait for [`retry_after`](Error::retry_after).
    Throttled,
    /// The sandbox of a hosted agent did not start: try again slowly.
    SessionNotReady,
    /// The service failed. Try again later.
    Server,
    /// The agent's response failed after it had begun; see [`code`](Error::code).
    ResponseFailed,
    /// No answer in time: connecting, waiting for the answer, between two events, or in all.
    Timeout,
    /// No connection, or it broke before the answer was complete.
    Transport,
    /// The stream ended without its last event: the answer is not complete.
    Truncated,
    /// The answer or an event is larger than the limits of the client.
    TooLarge,
    /// The answer is not what the protocol says, for example the page of a proxy.
    Protocol,
    /// There is no token; the source says why.
    Credential,
}

/// What was not found.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The conversation.
    Conversation,
    /// The item of a conversation.
    Item,
    /// The response, or the one a request goes on from.
    Response,
    /// The agent or its version.
    Agent,
    /// The model deployment.
    Model,
    /// The project, or the path under it.
    Project,
    /// A file.
    File,
    /// A vector store.
    VectorStore,
    /// The sandbox of a hosted agent, or a file in it.
    Session,
    /// A connection of the project.
    Connection,
    /// A memory store, or an item of it.
    MemoryStore,
    /// A toolbox or its version.
    Toolbox,
    /// A resource of Azure Resource Manager.
    AzureResource,
    /// The service does not say.
    Unknown,
}

/// Whether a request that failed may have had an effect.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The service did not act on it. Repeating cannot do anything twice.
    NotExecuted,
    /// The service may have acted. Repeating a create can make a second answer.
    Ambiguous,
}

/// The ids under which client and service log a request; the service's support asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestIds {
    /// `x-ms-client-request-id`: made by this client, the same for all attempts of one call.
    pub client: Option<String>,
    /// `x-request-id` of the answer.
    pub service: Option<String>,
    /// `apim-request-id` of the answer.
    pub gateway: Option<String>,
}

/// A mistake of the caller; the text is ours.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misuse(&'static str);

/// The role that an identity lacks, and whom to ask for it; from [`Error::missing_role`].
///
/// `Display` is a text for operators.
///
/// <https://learn.microsoft.com/azure/ai-foundry/concepts/rbac-foundry>
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingRole {
    /// A built-in role that has what is missing; none when only a role of your own can have it.
    pub role: Option<&'static str>,
    /// The data action that is missing, when the service names it.
    pub action: Option<String>,
}

impl MissingRole {
    fn of(action: Option<&str>) -> Self {
        let has = |part: &str| action.is_some_and(|action| action.contains(part));
        let role = if has("UserIdentityImpersonation") {
            None
        } else if has("/endpoints/") || has("/endpoint/") {
            Some("Foundry Agent Consumer")
        } else {
            Some("Foundry User")
        };
        Self { role, action: action.map(str::to_owned) }
    }
}

impl fmt::Display for MissingRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => {
                write!(f, "The identity of this application needs the role \"{role}\" on the Foundry project.")?
            }
            None => f.write_str("The identity of this application needs a custom role on the Foundry project.")?,
        }
        if let Some(action) = &self.action {
            write!(f, " The missing data action is {action}.")?;
        }
        f.write_str(
            " Ask an Owner or a User Access Administrator of the project (or of its resource group) to assign it. \
             An assignment takes some minutes to work.",
        )
    }
}

/// What the error body said.
#[derive(Clone, Default)]
pub(crate) struct ServiceError {
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) param: Option<String>,
    pub(crate) missing_action: Option<String>,
    /// `user`, `platform` or `upstream`.
    pub(crate) origin: Option<String>,
}

/// How far a stream came.
#[derive(Clone, Default)]
pub(crate) struct Cursor {
    pub(crate) response_id: Option<String>,
    pub(crate) last_sequence: Option<u64>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            delivery: Delivery::NotExecuted,
            status: None,
            service: ServiceError::default(),
            retry_after: None,
            request_ids: RequestIds::default(),
            claims: None,
            cursor: Cursor::default(),
            attempts: 0,
            transport: None,
            should_retry: None,
            body: Bytes::new(),
            source: None,
        }))
    }

    /// The caller made a mistake that is seen before anything is sent.
    pub(crate) fn misuse(what: &'static str) -> Self {
        Self::new(ErrorKind::InvalidRequest).with_source(Misuse(what))
    }

    pub(crate) fn ambiguous(mut self) -> Self {
        self.0.delivery = Delivery::Ambiguous;
        self
    }

    pub(crate) fn with_delivery(mut self, delivery: Delivery) -> Self {
        self.0.delivery = delivery;
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_service(mut self, service: ServiceError) -> Self {
        self.0.service = service;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_should_retry(mut self, verdict: Option<bool>) -> Self {
        self.0.should_retry = verdict;
        self
    }

    pub(crate) fn with_request_ids(mut self, ids: RequestIds) -> Self {
        self.0.request_ids = ids;
        self
    }

    pub(crate) fn with_claims(mut self, claims: Option<ClaimsChallenge>) -> Self {
        self.0.claims = claims;
        self
    }

    pub(crate) fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.0.cursor = cursor;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_transport(mut self, kind: TransportErrorKind) -> Self {
        self.0.transport = Some(kind);
        self
    }

    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.0.body = body;
        self
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn transport_kind(&self) -> Option<TransportErrorKind> {
        self.0.transport
    }

    pub(crate) fn should_retry(&self) -> Option<bool> {
        self.0.should_retry
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the request may have had an effect.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Whether the same request may work later without anyone acting, and repeating it cannot do
    /// anything twice. The client has already repeated it as often as its policy says.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        if self.0.delivery == Delivery::Ambiguous {
            return false;
        }
        match self.0.kind {
            ErrorKind::ConversationLocked
            | ErrorKind::Throttled
            | ErrorKind::SessionNotReady
            | ErrorKind::Server
            | ErrorKind::Timeout
            | ErrorKind::Transport => true,
            ErrorKind::Credential => self.credential_error().is_some_and(entra_auth::Error::is_retryable),
            _ => false,
        }
    }

    /// How long the service, or Entra, wants us to wait before another attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after.or_else(|| self.credential_error()?.retry_after())
    }

    /// The HTTP status of the answer; none when there was no answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's code, such as `invalid_parameters`. Open vocabulary.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.service.code.as_deref()
    }

    /// The service's sentence. May quote ids and the conversation: not for logs, not for users.
    #[must_use]
    pub fn service_message(&self) -> Option<&str> {
        self.0.service.message.as_deref()
    }

    /// The member of the request that is at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.0.service.param.as_deref()
    }

    /// For [`ErrorKind::MissingRole`]: the data action a role must hold, when the service names it.
    #[must_use]
    pub fn missing_action(&self) -> Option<&str> {
        self.0.service.missing_action.as_deref()
    }

    /// For [`ErrorKind::MissingRole`]: the role, and whom to ask for it.
    #[must_use]
    pub fn missing_role(&self) -> Option<MissingRole> {
        (self.0.kind == ErrorKind::MissingRole).then(|| MissingRole::of(self.missing_action()))
    }

    /// For [`ErrorKind::PreviewRequired`]: the opt-in that is missing, when the service names it.
    #[must_use]
    pub fn missing_feature(&self) -> Option<Feature> {
        if self.0.kind != ErrorKind::PreviewRequired {
            return None;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '=';
        let words = self.0.service.message.as_deref()?.split(|c: char| !plain(c));
        let named = |word: &&str| word.len() <= 64 && word.split_once("=V").is_some_and(|(name, _)| !name.is_empty());
        words.filter(|word| word.ends_with("Preview")).find(named).map(Feature::from)
    }

    /// Where a hosted agent's failure comes from: `user`, `platform` or `upstream`.
    #[must_use]
    pub fn error_source(&self) -> Option<&str> {
        self.0.service.origin.as_deref()
    }

    /// The challenge that the user's next sign-in must satisfy.
    #[must_use]
    pub fn claims_challenge(&self) -> Option<&ClaimsChallenge> {
        self.0.claims.as_ref().or_else(|| self.credential_error()?.claims_challenge())
    }

    /// The ids under which both sides logged the request.
    #[must_use]
    pub fn request_ids(&self) -> &RequestIds {
        &self.0.request_ids
    }

    /// For a stream that failed: the response, when it had begun.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.0.cursor.response_id.as_deref()
    }

    /// For a stream that failed: the position of the last event.
    #[must_use]
    pub fn last_sequence_number(&self) -> Option<u64> {
        self.0.cursor.last_sequence
    }

    /// How often the request was sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The error body as received, at most 64 KiB; empty when there was none. Not for logs.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    fn credential_error(&self) -> Option<&entra_auth::Error> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

impl From<StreamError> for Error {
    /// The failure of a response that had begun.
    fn from(error: StreamError) -> Self {
        let service = ServiceError {
            code: error.code.clone().or_else(|| error.error_type.clone()),
            message: error.message.clone(),
            param: error.param.clone(),
            ..ServiceError::default()
        };
        let kind = super::classify::kind_of_code(&service).unwrap_or(ErrorKind::ResponseFailed);
        Self::new(kind).ambiguous().with_service(service).with_source(error)
    }
}

impl RequestIds {
    pub(crate) fn read(client: &str, headers: &HeaderMap) -> Self {
        Self {
            client: Some(client.to_owned()),
            service: id(headers, "x-request-id"),
            gateway: id(headers, "apim-request-id"),
        }
    }

    /// The id to give to support: the service's, else the gateway's, else ours.
    #[must_use]
    pub fn best(&self) -> Option<&str> {
        self.service.as_deref().or(self.gateway.as_deref()).or(self.client.as_deref())
    }
}

/// Ids go into logs: only what looks like one.
fn id(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    (!value.is_empty() && value.len() <= 128 && value.bytes().all(plain)).then(|| value.to_owned())
}

impl ErrorKind {
    /// A stable word for logs and metrics (`error.type`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::NotFound(_) => "not_found",
            Self::ConversationLocked => "conversation_locked",
            Self::ConversationPoisoned => "conversation_poisoned",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::MissingRole => "missing_role",
            Self::Forbidden => "forbidden",
            Self::PreviewRequired => "preview_required",
            Self::ContentFilter => "content_filter",
            Self::Throttled => "throttled",
            Self::SessionNotReady => "session_not_ready",
            Self::Server => "server",
            Self::ResponseFailed => "response_failed",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Credential => "credential",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::InvalidRequest => "the request is not valid",
            Self::NotFound(Resource::Conversation) => "the conversation does not exist or is not ours",
            Self::NotFound(Resource::Item) => "the item does not exist",
            Self::NotFound(Resource::Response) => "the response does not exist or is not ours",
            Self::NotFound(Resource::Agent) => "the agent or its version does not exist in the project",
            Self::NotFound(Resource::Model) => "the model deployment does not exist",
            Self::NotFound(Resource::Project) => "the project does not exist; check the project endpoint",
            Self::NotFound(Resource::File) => "the file does not exist",
            Self::NotFound(Resource::VectorStore) => "the vector store does not exist",
            Self::NotFound(Resource::Session) => "the session of the agent or its file does not exist or is not ours",
            Self::NotFound(Resource::Connection) => "the connection does not exist in the project",
            Self::NotFound(Resource::MemoryStore) => "the memory store or its item does not exist",
            Self::NotFound(Resource::Toolbox) => "the toolbox or its version does not exist",
            Self::NotFound(Resource::AzureResource) => "the Azure resource does not exist",
            Self::NotFound(Resource::Unknown) => "something the request names does not exist",
            Self::ConversationLocked => "another response is being made in this conversation",
            Self::ConversationPoisoned => {
                "the conversation holds a tool call without its output; go on in a new conversation"
            }
            Self::Conflict => "the request collides with the state of the service",
            Self::Unauthorized => "the token was refused; check tenant and audience",
            Self::MissingRole => "the identity lacks a role on the project, such as Foundry User",
            Self::Forbidden => "the service forbids the request",
            Self::PreviewRequired => "the operation needs a preview opt-in",
            Self::ContentFilter => "a content filter refused the prompt or the answer",
            Self::Throttled => "too many requests",
            Self::SessionNotReady => "the sandbox of the hosted agent did not start",
            Self::Server => "the service failed",
            Self::ResponseFailed => "the agent's response failed",
            Self::Timeout => "no answer in time",
            Self::Transport => "the service could not be reached or the connection broke",
            Self::Truncated => "the stream ended before the answer was complete",
            Self::TooLarge => "the answer is larger than the limits of the client",
            Self::Protocol => "the answer is not what the protocol says",
            Self::Credential => "there is no token for the service",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(inner.kind.sentence())?;
        let mut details = Vec::new();
        details.extend(inner.status.map(|status| format!("status {status}")));
        let code = inner.service.code.as_deref().map(crate::events::word).filter(|code| !code.is_empty());
        details.extend(code.map(|code| format!("code {code}")));
        details.extend(inner.service.missing_action.as_deref().map(|action| format!("needs {action}")));
        if inner.delivery == Delivery::Ambiguous {
            details.push("it may have had an effect".to_owned());
        }
        details.extend(inner.request_ids.best().map(|id| format!("request id {id}")));
        for (place, detail) in details.iter().enumerate() {
            f.write_str(if place == 0 { " (" } else { ", " })?;
            f.write_str(detail)?;
        }
        f.write_str(if details.is_empty() { "" } else { ")" })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("delivery", &inner.delivery)
            .field("status", &inner.status)
            .field("code", &inner.service.code.as_deref().map(crate::events::word))
            .field("param", &inner.service.param.as_deref().map(crate::events::word))
            .field("retry_after", &inner.retry_after)
            .field("request_ids", &inner.request_ids)
            .field("attempts", &inner.attempts)
            .field("source", &inner.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
