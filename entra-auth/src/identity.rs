use std::fmt;

use crate::{AppToken, UserKey, UserToken, ValidatedToken};

tokio::task_local! {
    static CURRENT: RequestIdentity;
}

/// Who the request that runs right now is for, readable in deep code that is handed nothing.
///
/// It belongs to a future: [`RequestIdentity::scope`] sets it, and it is there while that future runs and never after,
/// whether the future ends, fails, panics or is dropped. Requests that run at the same time do not see each other's.
///
/// A task that is spawned has no identity, for it may outlive the request. Neither has a response body that is streamed
/// after the handler is done. Whoever wants it there hands it over:
///
/// ```
/// # use entra_auth::RequestIdentity;
/// # async fn work() {}
/// # fn run() {
/// if let Some(identity) = RequestIdentity::current() {
///     tokio::spawn(identity.scope(work()));
/// }
/// # }
/// ```
///
/// The layer of feature `tower` sets it for every request that it lets through.
#[derive(Clone)]
pub struct RequestIdentity(ValidatedToken);

impl RequestIdentity {
    /// The identity of the request that runs right now; `None` outside of one.
    #[must_use]
    #[inline]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs a future as this identity. Within another scope the inner one counts until it ends.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The validated token.
    #[must_use]
    pub const fn token(&self) -> &ValidatedToken {
        &self.0
    }

    /// The user's token, when a user is behind the request.
    #[must_use]
    pub const fn user(&self) -> Option<&UserToken> {
        match &self.0 {
            ValidatedToken::User(token) => Some(token),
            ValidatedToken::App(_) => None,
        }
    }

    /// The application's token, when an application acts for itself.
    #[must_use]
    pub const fn app(&self) -> Option<&AppToken> {
        match &self.0 {
            ValidatedToken::App(token) => Some(token),
            ValidatedToken::User(_) => None,
        }
    }

    /// The user's key, when a user is behind the request.
    #[must_use]
    #[inline]
    pub fn user_key(&self) -> Option<UserKey> {
        self.user().map(UserToken::user_key)
    }
}

impl From<ValidatedToken> for RequestIdentity {
    fn from(token: ValidatedToken) -> Self {
        Self(token)
    }
}

impl From<UserToken> for RequestIdentity {
    fn from(token: UserToken) -> Self {
        Self(ValidatedToken::User(token))
    }
}

impl From<AppToken> for RequestIdentity {
    fn from(token: AppToken) -> Self {
        Self(ValidatedToken::App(token))
    }
}

/// Shows what the token shows: tenant and end, no claim of a person.
impl fmt::Debug for RequestIdentity {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestIdentity").field(&self.0).finish()
    }
}

/// The answer to a request that is not let through: status and `WWW-Authenticate`, no word about the reason.
#[cfg(any(feature = "tower", feature = "axum"))]
pub(crate) fn refusal<B: Default>(error: &crate::TokenError) -> http::Response<B> {
    let mut response = http::Response::new(B::default());
    *response.status_mut() = error.status();
    response.headers_mut().insert(http::header::WWW_AUTHENTICATE, error.www_authenticate());
    response
}
