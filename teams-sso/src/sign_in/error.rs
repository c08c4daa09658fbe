use std::{error::Error as StdError, fmt, time::Duration};

use botframework_activity::{ModelError, QueueError, RecordError, SendError};
use entra_auth::{StoreError, StoreErrorKind, TableError, TokenErrorKind};

use crate::{NoUser, TokenServiceError, TokenServiceErrorKind};

/// Why there is no token, and nobody was asked to sign in.
///
/// `Display` and `Debug` show no token, no link, no code and nothing that names a user.
pub struct SignInError {
    kind: SignInErrorKind,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is: who must act, and whether to try again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInErrorKind {
    /// The message names no user of a directory. Nobody; the user writes from Teams.
    NoUser,
    /// The connection is none of those that the sign-in was built with. The developer.
    UnknownConnection,
    /// The token service; see the kind.
    TokenService(TokenServiceErrorKind),
    /// The token that the token service has is not acceptable. Retry only for `KeysUnavailable` and `KeyGated`; else the
    /// operator compares the connection's scope with the audience.
    Token(TokenErrorKind),
    /// The token that the token service has is another user's. It was signed out. Whoever watches over security.
    SubjectMismatch,
    /// Tokens of this connection cannot be exchanged: it was not built for On-Behalf-Of. The developer.
    NotOnBehalf,
    /// The card could not be sent; the source says why.
    Card,
    /// The store that keeps sign-ins; see the kind.
    Store(StoreErrorKind),
    /// Too many changes of one sign-in at once. Retry.
    Contended,
    /// The message cannot be kept, or the queue does not take it; the source says why.
    Queue,
    /// It took too long. Retry.
    Deadline,
}

impl SignInErrorKind {
    /// A short stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoUser => "missing_claims",
            Self::UnknownConnection => "unknown_connection",
            Self::TokenService(kind) => kind.as_str(),
            Self::Token(TokenErrorKind::AudienceMismatch) => "invalid_token.aud",
            Self::Token(TokenErrorKind::KeysUnavailable | TokenErrorKind::KeyGated) => "keys_unavailable",
            Self::Token(TokenErrorKind::MissingClaim) => "missing_claims",
            Self::Token(TokenErrorKind::TenantNotAllowed) => "tenant_not_allowed",
            Self::Token(_) => "invalid_token",
            Self::SubjectMismatch => "subject_mismatch",
            Self::NotOnBehalf => "config_error",
            Self::Card => "card_rejected",
            Self::Store(_) | Self::Contended => "store_error",
            Self::Queue => "resume_failed",
            Self::Deadline => "deadline",
        }
    }
}

impl SignInError {
    fn of(kind: SignInErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, retry_after: None, source: Some(Box::new(source)) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> SignInErrorKind {
        self.kind
    }

    /// How long to wait before another attempt, when the other side said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same request may succeed later without anyone acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            SignInErrorKind::TokenService(kind) => matches!(
                kind,
                TokenServiceErrorKind::Throttled | TokenServiceErrorKind::Unavailable | TokenServiceErrorKind::Protocol
            ),
            SignInErrorKind::Token(kind) => {
                matches!(kind, TokenErrorKind::KeysUnavailable | TokenErrorKind::KeyGated)
            }
            SignInErrorKind::Store(kind) => {
                matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Timeout | StoreErrorKind::Full)
            }
            SignInErrorKind::Contended | SignInErrorKind::Deadline => true,
            SignInErrorKind::Card => self.downcast::<SendError>().is_some_and(SendError::is_retryable),
            SignInErrorKind::Queue => self.downcast::<QueueError>().is_some_and(QueueError::is_retryable),
            _ => false,
        }
    }

    pub(super) fn send_error(&self) -> Option<&SendError> {
        self.downcast()
    }

    fn downcast<T: StdError + 'static>(&self) -> Option<&T> {
        self.source.as_deref().and_then(|source| source.downcast_ref())
    }
}

impl From<SignInErrorKind> for SignInError {
    fn from(kind: SignInErrorKind) -> Self {
        Self { kind, retry_after: None, source: None }
    }
}

impl From<NoUser> for SignInError {
    fn from(error: NoUser) -> Self {
        Self::of(SignInErrorKind::NoUser, error)
    }
}

impl From<TokenServiceError> for SignInError {
    fn from(error: TokenServiceError) -> Self {
        let wait = error.retry_after();
        Self { retry_after: wait, ..Self::of(SignInErrorKind::TokenService(error.kind()), error) }
    }
}

impl From<TableError> for SignInError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Store(error) => error.into(),
            error => Self::of(SignInErrorKind::Contended, error),
        }
    }
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::of(SignInErrorKind::Store(error.kind()), error)
    }
}

impl From<SendError> for SignInError {
    fn from(error: SendError) -> Self {
        let wait = error.retry_after();
        Self { retry_after: wait, ..Self::of(SignInErrorKind::Card, error) }
    }
}

impl From<ModelError> for SignInError {
    fn from(error: ModelError) -> Self {
        Self::of(SignInErrorKind::Card, error)
    }
}

impl From<QueueError> for SignInError {
    fn from(error: QueueError) -> Self {
        Self::of(SignInErrorKind::Queue, error)
    }
}

impl From<RecordError> for SignInError {
    fn from(error: RecordError) -> Self {
        Self::of(SignInErrorKind::Queue, error)
    }
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SignInErrorKind::NoUser => "the message names no user of a directory",
            SignInErrorKind::UnknownConnection => "the connection is none of this bot's",
            SignInErrorKind::TokenService(_) => "the token service did not do it",
            SignInErrorKind::Token(_) => "the token that the token service has is not acceptable",
            SignInErrorKind::SubjectMismatch => "the token that the token service has is another user's",
            SignInErrorKind::NotOnBehalf => "tokens of this connection cannot be exchanged",
            SignInErrorKind::Card => "the sign-in card could not be sent",
            SignInErrorKind::Store(_) => "the sign-in could not be stored",
            SignInErrorKind::Contended => "the sign-in is changed by too many at once",
            SignInErrorKind::Queue => "the message could not be kept or handed over",
            SignInErrorKind::Deadline => "the sign-in took too long",
        })?;
        match self.kind {
            SignInErrorKind::Token(kind) => write!(f, " ({})", kind.as_str()),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for SignInError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInError")
            .field("kind", &self.kind)
            .field("retry_after", &self.retry_after)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for SignInError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
