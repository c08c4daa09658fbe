use std::{error::Error as StdError, fmt};

use entra_auth::{TokenError, TokenErrorKind};
use http::{HeaderValue, StatusCode};

use super::ForeignActivity;

/// Why a request of the channel was refused.
///
/// It names the rule that was broken and nothing from the request, so that it can be logged as it is. The caller gets
/// [`InboundError::status`] and [`InboundError::www_authenticate`] and no body.
pub struct InboundError {
    kind: InboundErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
    foreign: Option<Box<ForeignActivity>>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $status:ident, $name:literal, $message:literal;)+) => {
        /// The rule that a request broke.
        ///
        /// Unless said otherwise the sender must change the request, and repeating it does not help.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum InboundErrorKind {
            /// The bearer token is not one of the channel's for this bot. 401, or 503 when the channel's keys cannot be
            /// fetched.
            Token(TokenErrorKind),
            $($(#[$doc])* $kind,)+
        }

        impl InboundErrorKind {
            /// A stable name for logs, metrics and verdicts, such as `service-url-mismatch`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::Token(kind) => kind.as_str(),
                    $(Self::$kind => $name,)+
                }
            }

            const fn fixed_status(self) -> Option<StatusCode> {
                match self {
                    Self::Token(_) => None,
                    $(Self::$kind => Some(StatusCode::$status),)+
                }
            }

            const fn message(self) -> &'static str {
                match self {
                    Self::Token(_) => "the channel's token was refused",
                    $(Self::$kind => $message,)+
                }
            }

            #[cfg(test)]
            const OWN: &[Self] = &[$(Self::$kind,)+];
        }
    };
}

kinds! {
    /// The token has no `serviceurl` claim: it is not one of the channel's.
    MissingServiceUrlClaim => FORBIDDEN, "missing-service-url-claim", "the token names no service URL";
    /// The `serviceurl` claim is no plain absolute URL.
    MalformedServiceUrlClaim => FORBIDDEN, "malformed-service-url-claim", "the token's service URL has the wrong form";
    /// The service URL is on a host that is no connector of this cloud. The operator may add the host.
    HostNotAllowed => FORBIDDEN, "host-not-allowed", "the service URL is on a host that is not allowed";
    /// The body is larger than the limit.
    BodyTooLarge => PAYLOAD_TOO_LARGE, "body-too-large", "the body is larger than the limit";
    /// The body did not arrive within 10 s. Only hosts that read it for the crate report it.
    BodyTooSlow => REQUEST_TIMEOUT, "body-too-slow", "the body did not arrive in time";
    /// The body is not declared as JSON in UTF-8.
    UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "the body is not declared as JSON";
    /// The body is compressed.
    UnsupportedEncoding => UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "the body is compressed";
    /// The body is nested deeper than the limit.
    BodyTooDeep => BAD_REQUEST, "body-too-deep", "the body is nested too deeply";
    /// The body holds more values than the limit.
    BodyTooComplex => BAD_REQUEST, "body-too-complex", "the body holds too many values";
    /// The body is no JSON document in UTF-8.
    MalformedBody => BAD_REQUEST, "malformed-body", "the body is not JSON";
    /// The body is JSON but no activity: a wrong type, no `type`, a member twice.
    MalformedActivity => BAD_REQUEST, "malformed-activity", "the body is not an activity";
    /// An id is longer than 1,024 characters.
    IdTooLong => BAD_REQUEST, "id-too-long", "an id of the activity is longer than any real one";
    /// The activity has no `serviceUrl`.
    MissingServiceUrl => BAD_REQUEST, "missing-service-url", "the activity names no service URL";
    /// The activity has no `conversation.id`.
    MissingConversation => BAD_REQUEST, "missing-conversation", "the activity names no conversation";
    /// The activity's `serviceUrl` is not the one the channel signed.
    ServiceUrlMismatch => FORBIDDEN, "service-url-mismatch", "the activity's service URL is not the signed one";
    /// The activity has no `channelId`.
    MissingChannel => FORBIDDEN, "missing-channel", "the activity names no channel";
    /// The key that signed does not speak for the activity's channel. The operator may configure an exception.
    NotEndorsed => FORBIDDEN, "not-endorsed", "the signing key does not speak for this channel";
    /// Service URL, `conversation.tenantId` and `channelData.tenant.id` name different tenants.
    TenantMismatch => FORBIDDEN, "tenant-mismatch", "the activity names two tenants";
    /// The agent is not one of those that may call. The operator decides.
    AgentNotAllowed => FORBIDDEN, "agent-not-allowed", "the calling agent is not allowed";
    /// The token is of a user, not of an application: a user's token is never a message.
    DelegatedToken => FORBIDDEN, "delegated-token", "the token is a user's";
    /// The service URL is none of those that the agent's answers may go to. The operator may list it.
    ReplyUrlNotAllowed => FORBIDDEN, "reply-url-not-allowed", "the agent's service URL is not allowed";
    /// The tenant is not one of the allowed ones, or none is named. The operator decides.
    TenantNotAllowed => FORBIDDEN, "tenant-not-allowed", "the tenant is not allowed";
}

impl InboundError {
    pub(super) fn foreign(activity: ForeignActivity) -> Self {
        Self { foreign: Some(Box::new(activity)), ..InboundErrorKind::TenantNotAllowed.into() }
    }

    pub(super) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// The rule that was broken.
    #[must_use]
    pub const fn kind(&self) -> InboundErrorKind {
        self.kind
    }

    /// The status to answer with: 400, 401, 403, 408, 413 or 415; 503 when the channel's keys cannot be fetched.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match (self.kind, self.kind.fixed_status()) {
            (_, Some(status)) => status,
            (InboundErrorKind::Token(TokenErrorKind::KeysUnavailable), None) => StatusCode::SERVICE_UNAVAILABLE,
            (_, None) => StatusCode::UNAUTHORIZED,
        }
    }

    /// The value of `WWW-Authenticate` to answer with, for 401 and 403. It does not say which rule was broken.
    #[must_use]
    pub fn www_authenticate(&self) -> Option<HeaderValue> {
        match (self.kind, self.status()) {
            (_, StatusCode::FORBIDDEN) => Some(HeaderValue::from_static("Bearer error=\"insufficient_scope\"")),
            (InboundErrorKind::Token(kind), StatusCode::UNAUTHORIZED) => {
                Some(TokenError::from(kind).www_authenticate())
            }
            _ => None,
        }
    }

    /// Whether the same request may be accepted later without its sender changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, InboundErrorKind::Token(TokenErrorKind::KeysUnavailable | TokenErrorKind::KeyGated))
    }

    /// The request of a tenant that is not allowed, for a bot that answers it with a polite refusal instead of 403.
    ///
    /// Everything but the tenant has been checked. `None` for every other kind.
    #[must_use]
    pub fn into_foreign(self) -> Option<ForeignActivity> {
        self.foreign.map(|activity| *activity)
    }
}

impl From<InboundErrorKind> for InboundError {
    fn from(kind: InboundErrorKind) -> Self {
        Self { kind, source: None, foreign: None }
    }
}

impl From<TokenErrorKind> for InboundError {
    fn from(kind: TokenErrorKind) -> Self {
        InboundErrorKind::Token(kind).into()
    }
}

impl From<TokenError> for InboundError {
    fn from(error: TokenError) -> Self {
        Self::from(error.kind()).with_source(error)
    }
}

impl fmt::Debug for InboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundError").field("kind", &self.kind).field("source", &self.source).finish_non_exhaustive()
    }
}

impl fmt::Display for InboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.message())
    }
}

impl StdError for InboundError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: std::collections::HashSet<_> = InboundErrorKind::OWN.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), InboundErrorKind::OWN.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }

    #[test]
    fn answers_say_whether_but_not_why() {
        for kind in InboundErrorKind::OWN {
            let error = InboundError::from(*kind);
            let answer = error.www_authenticate();
            match error.status().as_u16() {
                403 => assert_eq!(answer.unwrap(), "Bearer error=\"insufficient_scope\""),
                400 | 408 | 413 | 415 => assert_eq!(answer, None),
                other => panic!("{kind:?}: {other}"),
            }
        }
        for (kind, status, answer) in [
            (TokenErrorKind::MissingToken, 401, Some("Bearer")),
            (TokenErrorKind::Expired, 401, Some("Bearer error=\"invalid_token\"")),
            (TokenErrorKind::KeyGated, 401, Some("Bearer error=\"invalid_token\"")),
            (TokenErrorKind::KeysUnavailable, 503, None),
        ] {
            let error = InboundError::from(kind);
            assert_eq!(error.status().as_u16(), status, "{kind:?}");
            assert_eq!(error.www_authenticate().as_ref().map(|value| value.to_str().unwrap()), answer);
            assert_eq!(error.kind().as_str(), kind.as_str());
        }
    }

    static_assertions::assert_impl_all!(InboundError: Send, Sync, StdError);
}
