use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use entra_auth::{TransportError, TransportErrorKind};

/// Why the token service did not do it.
///
/// Cheap to clone. `Display` and `Debug` show kind, status and AADSTS number; never what the service wrote in words, no
/// address with a query and nothing of a token or code.
#[derive(Clone)]
pub struct TokenServiceError(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: TokenServiceErrorKind,
    status: Option<u16>,
    aadsts: Option<u32>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is: who must act, and whether to try again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenServiceErrorKind {
    /// The user must consent, or do something else interactive such as MFA. Do not retry before that.
    ConsentRequired,
    /// The user's token is too old to be exchanged. Retry with a fresh one.
    StaleToken,
    /// The service does not take the user's token, whoever tries again. The operator compares the connection's app
    /// registration with the app's.
    InvalidExchange,
    /// The connection does not exist on this bot, or its settings are wrong. The operator.
    BadConnection,
    /// The service does not take the bot's own token: wrong app, expired secret, policy. The operator.
    BotCredential,
    /// Too many requests. Retry after [`TokenServiceError::retry_after`].
    Throttled,
    /// The service could not be reached, did not answer in time or failed. Retry later.
    Unavailable,
    /// The answer was none of the service, such as the page of a proxy. The operator looks at what is in between.
    Protocol,
    /// The request cannot be expressed: an id that is no text of a URL. The developer. Do not retry.
    Invalid,
}

impl TokenServiceErrorKind {
    /// A short stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsentRequired => "consent_required",
            Self::StaleToken => "assertion_expired",
            Self::InvalidExchange => "invalid_exchange",
            Self::BadConnection => "config_error",
            Self::BotCredential => "bot_credential",
            Self::Throttled => "throttled",
            Self::Unavailable => "token_service_error",
            Self::Protocol => "bad_response",
            Self::Invalid => "invalid_request",
        }
    }
}

impl TokenServiceError {
    pub(super) fn new(kind: TokenServiceErrorKind) -> Self {
        Self(Arc::new(Inner { kind, status: None, aadsts: None, retry_after: None, source: None }))
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        Arc::make_mut(&mut self.0).status = Some(status);
        self
    }

    pub(super) fn with_aadsts(mut self, code: Option<u32>) -> Self {
        Arc::make_mut(&mut self.0).aadsts = code;
        self
    }

    pub(super) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.0).retry_after = wait;
        self
    }

    fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    pub(super) fn transport(error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::TooLarge => TokenServiceErrorKind::Protocol,
            _ => TokenServiceErrorKind::Unavailable,
        };
        Self::new(kind).with_source(error)
    }

    /// There is no token of the bot's own to call with.
    pub(super) fn credential(error: entra_auth::Error) -> Self {
        let kind = match error.is_retryable() {
            true => TokenServiceErrorKind::Unavailable,
            false => TokenServiceErrorKind::BotCredential,
        };
        Self::new(kind).with_retry_after(error.retry_after()).with_source(error)
    }

    /// Whether provably nothing reached the service.
    pub(super) fn is_not_sent(&self) -> bool {
        let transport = self.0.source.as_deref().and_then(|source| source.downcast_ref::<TransportError>());
        transport.is_some_and(|error| error.kind() == TransportErrorKind::NotSent)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> TokenServiceErrorKind {
        self.0.kind
    }

    /// The HTTP status, when there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The AADSTS number behind the refusal, when the service passed it on.
    #[must_use]
    pub fn aadsts(&self) -> Option<u32> {
        self.0.aadsts
    }

    /// How long to wait before another attempt, when the service said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed later without anyone acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            TokenServiceErrorKind::Throttled | TokenServiceErrorKind::Unavailable | TokenServiceErrorKind::Protocol
        )
    }

    /// Why there was no token of the bot's own, when that is the reason.
    #[must_use]
    pub fn credential_error(&self) -> Option<&entra_auth::Error> {
        self.0.source.as_deref().and_then(|source| source.downcast_ref())
    }
}

impl fmt::Display for TokenServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            TokenServiceErrorKind::ConsentRequired => "the user must consent or sign in interactively",
            TokenServiceErrorKind::StaleToken => "the user's token is too old to be exchanged",
            TokenServiceErrorKind::InvalidExchange => "the token service does not take the user's token",
            TokenServiceErrorKind::BadConnection => "the OAuth connection does not exist or is misconfigured",
            TokenServiceErrorKind::BotCredential => "the token service does not take the bot's own token",
            TokenServiceErrorKind::Throttled => "the token service asks for fewer requests",
            TokenServiceErrorKind::Unavailable => "the token service is not available",
            TokenServiceErrorKind::Protocol => "the answer is none of the token service",
            TokenServiceErrorKind::Invalid => "the request cannot be expressed",
        })?;
        match (self.0.status, self.0.aadsts) {
            (Some(status), Some(code)) => write!(f, " (status {status}, AADSTS{code})"),
            (Some(status), None) => write!(f, " (status {status})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for TokenServiceError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServiceError")
            .field("kind", &self.0.kind)
            .field("status", &self.0.status)
            .field("aadsts", &self.0.aadsts)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for TokenServiceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
