use std::{error::Error as StdError, fmt, time::Duration};

use entra_auth::{TransportError, TransportErrorKind};

use crate::{StreamRefusal, model::words::vocabulary};

/// Why an activity was not sent, or may not have been.
///
/// `Display` and `Debug` show kind, HTTP status, known error codes and the service's request id; never what the
/// service wrote in words, and nothing of the activity.
pub struct SendError(Box<Inner>);

struct Inner {
    kind: SendErrorKind,
    delivery: Delivery,
    idempotent: bool,
    status: Option<u16>,
    code: Option<ConnectorErrorCode>,
    stream_refusal: Option<StreamRefusal>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What is known about the effect of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The call had no effect. A send may be repeated without a second message.
    NotSent,
    /// The call may have had its effect. Repeating a send may show the message twice; an update or a delete may be
    /// repeated.
    Ambiguous,
}

/// The kinds of [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The activity has no conversation id, or not the id that the call needs, or an id that can be no path segment,
    /// or cannot be written as JSON. The developer. Do not retry.
    Invalid,
    /// There is no token for the connector; the source says why. Retry when [`SendError::is_retryable`].
    Token,
    /// No connection could be made. Was retried; the operator looks at network and proxy.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was complete.
    Interrupted,
    /// 401, also with a fresh token: the bot is not registered, or its credential is of the wrong app or tenant. The
    /// operator. Do not retry.
    Unauthorized,
    /// 403: an administrator disabled the bot, or the user blocked it. Nothing more is to be sent until the user writes
    /// again.
    Blocked,
    /// 403 or 404: the bot is not installed in this conversation. Wait for an installation update.
    NotInstalled,
    /// 403: this tenant is served from another host, and the call could not be made there: the service URL is not that of
    /// the public host of Teams, or the GCC's host refused it too. Use the service URL of a newer activity.
    WrongHost,
    /// 403 of another kind: missing permissions, writes blocked, streaming not allowed. Do not retry.
    Forbidden,
    /// 404: the conversation or the activity does not exist, or no longer. Drop its id.
    NotFound,
    /// 412: other operations on the same conversation. Was retried.
    Conflict,
    /// 413: the message is too big. Shrink it; about 28 KB are safe in Teams.
    TooLarge,
    /// 429: too many requests. Was retried; wait for [`SendError::retry_after`].
    Throttled,
    /// Another 4xx: the service does not accept the request. The developer. Do not retry.
    Refused,
    /// 5xx: the service failed.
    Service,
    /// The answer was none of a connector: a redirect, the page of a proxy. The operator looks at what is in between.
    Protocol,
}

/// What to do about a [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendAdvice {
    /// Correct the request or the registration; the same request fails again.
    Fix,
    /// Try again, not before [`SendError::retry_after`].
    Retry,
    /// The effect is unknown: do not repeat a send without asking somebody.
    Reconcile,
    /// Send nothing until the user writes again.
    WaitForUser,
    /// Send nothing until the app is installed.
    WaitForInstall,
    /// Forget the conversation or activity id.
    DropReference,
    /// Take the service URL of a newer activity.
    SwitchHost,
    /// Make the message smaller, or split it.
    Shrink,
}

vocabulary! {
    /// The `code` of a connector's error body:
    /// [status codes](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages#status-code-responses).
    pub struct ConnectorErrorCode {
        ACL_CHECK_FAILED = "AclCheckFailed",
        ACTIVITY_NOT_FOUND = "ActivityNotFoundInConversation",
        BAD_ARGUMENT = "BadArgument",
        BAD_SYNTAX = "BadSyntax",
        BOT_DISABLED_BY_ADMIN = "BotDisabledByAdmin",
        BOT_NOT_IN_CONVERSATION_ROSTER = "BotNotInConversationRoster",
        BOT_NOT_REGISTERED = "BotNotRegistered",
        CONTENT_STREAM_NOT_ALLOWED = "ContentStreamNotAllowed",
        /// A piece of a stream came late and was dropped; comes with status 202.
        CONTENT_STREAM_OUT_OF_ORDER = "ContentStreamSequenceOrderPreConditionFailed",
        CONVERSATION_BLOCKED_BY_USER = "ConversationBlockedByUser",
        CONVERSATION_NOT_FOUND = "ConversationNotFound",
        FORBIDDEN_OPERATION = "ForbiddenOperationException",
        INVALID_BOT_API_HOST = "InvalidBotApiHost",
        MEMBER_NOT_FOUND = "MemberNotFoundInConversation",
        MESSAGE_SIZE_TOO_BIG = "MessageSizeTooBig",
        MESSAGE_WRITES_BLOCKED = "MessageWritesBlocked",
        MISSING_PROPERTY = "MissingProperty",
        NOT_ENOUGH_PERMISSIONS = "NotEnoughPermissions",
        PRECONDITION_FAILED = "PreconditionFailed",
        REQUEST_ENTITY_TOO_LARGE = "RequestEntityTooLarge",
        SERVICE_ERROR = "ServiceError",
        THROTTLED = "Throttled",
    }
}

impl SendError {
    pub(super) fn new(kind: SendErrorKind, delivery: Delivery) -> Self {
        Self(Box::new(Inner {
            kind,
            delivery,
            idempotent: false,
            status: None,
            code: None,
            stream_refusal: None,
            retry_after: None,
            request_id: None,
            source: None,
        }))
    }

    pub(super) fn invalid() -> Self {
        Self::new(SendErrorKind::Invalid, Delivery::NotSent)
    }

    pub(super) fn transport(error: TransportError) -> Self {
        let (kind, delivery) = match error.kind() {
            TransportErrorKind::NotSent => (SendErrorKind::Unreachable, Delivery::NotSent),
            TransportErrorKind::Timeout => (SendErrorKind::Timeout, Delivery::Ambiguous),
            TransportErrorKind::TooLarge => (SendErrorKind::Protocol, Delivery::Ambiguous),
            _ => (SendErrorKind::Interrupted, Delivery::Ambiguous),
        };
        Self::new(kind, delivery).with_source(error)
    }

    pub(super) fn token(error: entra_auth::Error) -> Self {
        let mut this = Self::new(SendErrorKind::Token, Delivery::NotSent);
        this.0.retry_after = error.retry_after();
        this.with_source(error)
    }

    #[must_use]
    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    #[must_use]
    pub(super) fn with_code(mut self, code: Option<ConnectorErrorCode>) -> Self {
        self.0.code = code;
        self
    }

    #[must_use]
    pub(super) fn with_stream_refusal(mut self, refusal: Option<StreamRefusal>) -> Self {
        self.0.stream_refusal = refusal;
        self
    }

    #[must_use]
    pub(super) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    #[must_use]
    pub(super) fn with_request_id(mut self, id: Option<String>) -> Self {
        self.0.request_id = id;
        self
    }

    #[must_use]
    pub(super) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    #[must_use]
    pub(super) fn idempotent(mut self, idempotent: bool) -> Self {
        self.0.idempotent = idempotent;
        self
    }

    /// An earlier attempt of the same call had an unknown effect.
    #[must_use]
    pub(super) fn after_doubt(mut self, doubt: bool) -> Self {
        if doubt {
            self.0.delivery = Delivery::Ambiguous;
        }
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> SendErrorKind {
        self.0.kind
    }

    /// Whether the call may have had its effect.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// The HTTP status, when there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The connector's error code, when the answer had one.
    #[must_use]
    pub fn code(&self) -> Option<&ConnectorErrorCode> {
        self.0.code.as_ref()
    }

    /// Why a piece of a stream was refused, when the answer was 403 `ContentStreamNotAllowed`.
    #[must_use]
    pub fn stream_refusal(&self) -> Option<StreamRefusal> {
        self.0.stream_refusal
    }

    /// How long to wait before another attempt, when the service said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The id under which the service logged the request, for Microsoft's support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Why there was no token, for [`SendErrorKind::Token`].
    #[must_use]
    pub fn token_error(&self) -> Option<&entra_auth::Error> {
        self.0.source.as_deref().and_then(|source| source.downcast_ref())
    }

    /// Whether the same call may succeed later without anyone acting and without a second message.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let passing = match self.0.kind {
            SendErrorKind::Token => self.token_error().is_some_and(entra_auth::Error::is_retryable),
            SendErrorKind::Unreachable
            | SendErrorKind::Timeout
            | SendErrorKind::Interrupted
            | SendErrorKind::Conflict
            | SendErrorKind::Throttled
            | SendErrorKind::Service => true,
            _ => false,
        };
        passing && (self.0.idempotent || self.0.delivery == Delivery::NotSent)
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> SendAdvice {
        match self.0.kind {
            _ if self.is_retryable() => SendAdvice::Retry,
            SendErrorKind::Blocked => SendAdvice::WaitForUser,
            SendErrorKind::NotInstalled => SendAdvice::WaitForInstall,
            SendErrorKind::NotFound => SendAdvice::DropReference,
            SendErrorKind::WrongHost => SendAdvice::SwitchHost,
            SendErrorKind::TooLarge => SendAdvice::Shrink,
            _ if self.0.delivery == Delivery::Ambiguous => SendAdvice::Reconcile,
            _ => SendAdvice::Fix,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            SendErrorKind::Invalid => "the activity cannot be sent: a required id is missing or unusable",
            SendErrorKind::Token => "no token for the connector",
            SendErrorKind::Unreachable => "the connector could not be reached",
            SendErrorKind::Timeout => "the connector did not answer in time",
            SendErrorKind::Interrupted => "the connection to the connector broke before the answer",
            SendErrorKind::Unauthorized => "the connector refused the bot's token",
            SendErrorKind::Blocked => "the bot is disabled or blocked in this conversation",
            SendErrorKind::NotInstalled => "the bot is not installed in this conversation",
            SendErrorKind::WrongHost => "this tenant is served from another connector host",
            SendErrorKind::Forbidden => "the connector forbids the operation",
            SendErrorKind::NotFound => "the conversation or activity does not exist",
            SendErrorKind::Conflict => "other operations on the conversation are in the way",
            SendErrorKind::TooLarge => "the message is too big",
            SendErrorKind::Throttled => "the connector asks for fewer requests",
            SendErrorKind::Refused => "the connector does not accept the request",
            SendErrorKind::Service => "the connector failed",
            SendErrorKind::Protocol => "the answer is none of a connector",
        })?;
        let known = self.0.code.as_ref().filter(|code| code.is_known());
        match (self.0.status, known) {
            (Some(status), Some(code)) => write!(f, " (status {status}, {code})")?,
            (Some(status), None) => write!(f, " (status {status})")?,
            _ => {}
        }
        if self.0.delivery == Delivery::Ambiguous {
            f.write_str("; it may have been delivered")?;
        }
        if let Some(id) = &self.0.request_id {
            write!(f, "; request id {id}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.0.kind)
            .field("delivery", &self.0.delivery)
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .field("retry_after", &self.0.retry_after)
            .field("request_id", &self.0.request_id)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for SendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static_assertions::assert_impl_all!(SendError: Send, Sync);

    #[test]
    fn an_unknown_code_is_kept_but_not_shown() {
        let error = SendError::new(SendErrorKind::Forbidden, Delivery::NotSent)
            .with_status(403)
            .with_code(Some("secret words".into()));
        assert_eq!(error.code().map(ConnectorErrorCode::as_str), Some("secret words"));
        assert!(!format!("{error} {error:?}").contains("secret"));
        let error = error.with_code(Some(ConnectorErrorCode::NOT_ENOUGH_PERMISSIONS));
        assert_eq!(error.to_string(), "the connector forbids the operation (status 403, NotEnoughPermissions)");
    }

    #[test]
    fn every_code_is_shown() {
        for code in ConnectorErrorCode::KNOWN {
            let error = SendError::new(SendErrorKind::Refused, Delivery::NotSent)
                .with_status(400)
                .with_code(Some((*code).into()));
            assert!(error.to_string().ends_with(&format!("(status 400, {code})")), "{error}");
        }
    }

    #[test]
    fn an_ambiguous_send_is_reconciled_and_an_update_repeated() {
        let error = SendError::transport(TransportErrorKind::Timeout.into());
        assert_eq!((error.is_retryable(), error.advice()), (false, SendAdvice::Reconcile));
        let error = error.idempotent(true);
        assert_eq!((error.is_retryable(), error.advice()), (true, SendAdvice::Retry));
    }
}
