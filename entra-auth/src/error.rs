use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{ClaimsChallenge, TransportError, TransportErrorKind};

/// Why there is no token.
///
/// Cheap to clone: everyone who waited for one request gets the same error. `Display` says what happened and what to
/// do; it carries AADSTS code and correlation id, never a token, a secret or Entra's own description (which names users).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    oauth: Option<OAuthError>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is: who must act, and whether to try again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Entra could not be reached or did not answer in time. Retry; else the operator looks at network and proxy.
    Transport,
    /// Entra reported a passing fault. Retry with back-off.
    Transient,
    /// Too many requests. Retry after [`Error::retry_after`]; the developer looks for a missing cache.
    Throttled,
    /// The user must sign in again: grant, session or password is no longer good. Do not retry.
    Reauthenticate,
    /// Consent is missing: the user, or an administrator for some permissions, must give it. Do not retry.
    ConsentRequired,
    /// The user must do something interactive, such as MFA; pass [`Error::claims_challenge`] on. Do not retry.
    InteractionRequired,
    /// A policy forbids it (Conditional Access, assignment, disabled account): an administrator decides. Do not retry.
    PolicyBlocked,
    /// The registration, the settings or the request are wrong: the developer or operator. Do not retry.
    Configuration,
    /// The client's own secret, certificate or assertion is refused: the operator renews it. Do not retry as is.
    ClientCredential,
    /// The answer was not what the protocol says, for example the HTML page of a proxy. Retry is unlikely to help.
    Protocol,
    /// This credential cannot do what was asked, such as another tenant or claims. The developer. Do not retry.
    Unsupported,
    /// The token was about to go to an origin that its audience does not list. The developer. Do not retry.
    ForeignOrigin,
}

impl Error {
    /// An error of that kind; `message` is one lower-case sentence without a final period, without any secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::of(kind, message.into())
    }

    fn of(kind: ErrorKind, message: Cow<'static, str>) -> Self {
        Self(Arc::new(Inner { kind, message, retry_after: None, oauth: None, source: None }))
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.caused_by(Box::new(source))
    }

    /// The same with the time after which another attempt makes sense.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        if let Some(inner) = self.unshared() {
            inner.retry_after = wait;
        }
        self
    }

    /// The same with what Entra's error body said.
    #[must_use]
    pub fn with_oauth(mut self, oauth: OAuthError) -> Self {
        if let Some(inner) = self.unshared() {
            inner.oauth = Some(oauth);
        }
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same request may succeed later without anyone acting.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Transport | ErrorKind::Transient | ErrorKind::Throttled)
    }

    /// How long to wait before another attempt, when the other side said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What Entra's error body said, for support and for finer decisions.
    #[must_use]
    pub fn oauth(&self) -> Option<&OAuthError> {
        self.0.oauth.as_ref()
    }

    /// The challenge that the user's next sign-in must satisfy.
    #[must_use]
    pub fn claims_challenge(&self) -> Option<&ClaimsChallenge> {
        self.0.oauth.as_ref().and_then(|oauth| oauth.claims.as_ref())
    }

    fn caused_by(mut self, source: Box<dyn StdError + Send + Sync>) -> Self {
        if let Some(inner) = self.unshared() {
            inner.source = Some(source);
        }
        self
    }

    /// Building happens before anyone shares the error; a shared one is left as it is.
    fn unshared(&mut self) -> Option<&mut Inner> {
        Arc::get_mut(&mut self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("oauth", &self.0.oauth)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(oauth) = &self.0.oauth {
            write!(f, " ({oauth})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        let (kind, message) = match error.kind() {
            TransportErrorKind::NotSent => {
                (ErrorKind::Transport, "the server could not be reached; check its name, the network and the proxy")
            }
            TransportErrorKind::Timeout => {
                (ErrorKind::Transport, "the server did not answer in time; check the network and the proxy")
            }
            TransportErrorKind::Interrupted => {
                (ErrorKind::Transport, "the connection broke before the answer; check the network and the proxy")
            }
            TransportErrorKind::TooLarge => {
                (ErrorKind::Protocol, "the answer is larger than any real one; look for a proxy in between")
            }
            TransportErrorKind::Other => (
                ErrorKind::Transport,
                "the HTTP exchange failed; the source says how (often TLS: check the certificate authorities of this machine)",
            ),
        };
        Self::new(kind, message).with_source(error)
    }
}

/// The members of an OAuth error body as Entra sends it.
///
/// See <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>. Branch on [`Error::kind`] first;
/// numbers may change. `Debug` and `Display` leave the description out.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct OAuthError {
    /// HTTP status of the answer.
    pub status: u16,
    /// `error`, such as `invalid_grant`.
    pub error: String,
    /// `suberror`, such as `consent_required`.
    pub suberror: Option<String>,
    /// The AADSTS numbers, the most specific first.
    pub error_codes: Vec<u32>,
    /// `error_description`. It can hold user names and ids: not for logs, not for users.
    pub description: Option<String>,
    /// `claims`: what the user's next token must satisfy.
    pub claims: Option<ClaimsChallenge>,
    /// `trace_id`, for Microsoft's support.
    pub trace_id: Option<String>,
    /// `correlation_id`, for Microsoft's support.
    pub correlation_id: Option<String>,
    /// `timestamp` as sent.
    pub timestamp: Option<String>,
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error_codes.first() {
            Some(code) => write!(f, "AADSTS{code}")?,
            None => f.write_str(safe(&self.error))?,
        }
        write!(f, ", status {}", self.status)?;
        if let Some(id) = &self.correlation_id {
            write!(f, ", correlation id {}", safe(id))?;
        }
        Ok(())
    }
}

impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthError")
            .field("status", &self.status)
            .field("error", &safe(&self.error))
            .field("suberror", &self.suberror.as_deref().map(safe))
            .field("error_codes", &self.error_codes)
            .field("claims", &self.claims)
            .field("trace_id", &self.trace_id.as_deref().map(safe))
            .field("correlation_id", &self.correlation_id.as_deref().map(safe))
            .finish_non_exhaustive()
    }
}

/// Text from outside goes into messages only when it looks like a code or an id.
fn safe(text: &str) -> &str {
    let harmless = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if harmless { text } else { "(unprintable)" }
}

/// A setting with which a client cannot be built: the developer or operator fixes it.
#[derive(Debug)]
pub struct BuildError {
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl BuildError {
    /// An error with a sentence that says what is wrong and what to do.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for BuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_hold_code_and_correlation_id_but_no_description() {
        let oauth = OAuthError {
            status: 400,
            error: "invalid_grant".into(),
            error_codes: vec![50076],
            description: Some("AADSTS50076: user ada@contoso.com marker".into()),
            correlation_id: Some("aaaa-bbbb".into()),
            trace_id: Some("<script>marker".into()),
            ..OAuthError::default()
        };
        let error = Error::new(ErrorKind::InteractionRequired, "the user must sign in with MFA").with_oauth(oauth);
        assert_eq!(
            error.to_string(),
            "the user must sign in with MFA (AADSTS50076, status 400, correlation id aaaa-bbbb)"
        );
        assert!(!format!("{error} {error:?} {error:#?}").contains("marker"));
        assert_eq!(error.oauth().unwrap().description.as_deref().map(|d| d.contains("marker")), Some(true));
    }

    static_assertions::assert_impl_all!(Error: Send, Sync, Clone, std::error::Error);
}
