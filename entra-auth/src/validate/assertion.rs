use std::fmt;

use time::OffsetDateTime;

use super::UserToken;
use crate::{ClientId, Secret, TokenError, TokenErrorKind, UserKey};

/// A user's token that this application may exchange for others (On-Behalf-Of).
///
/// It comes only from a validated [`UserToken`] that was issued for this very application, by
/// [`UserToken::assertion_for`]. See
/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>.
///
/// ```
/// # use entra_auth::{ClientId, TokenError, UserAssertion, UserToken};
/// fn assertion(token: &UserToken, own: &ClientId) -> Result<UserAssertion, TokenError> {
///     token.assertion_for(own, &["api://app"])
/// }
/// ```
///
/// Nobody puts one together, and no text is one:
///
/// ```compile_fail,E0451
/// # use entra_auth::{Secret, UserAssertion, UserToken};
/// fn assertion(token: &UserToken) -> UserAssertion {
///     UserAssertion { raw: Secret::new("eyJ"), user: token.user_key(), expires_on: token.expires_on() }
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use entra_auth::UserAssertion;
/// fn assertion(text: String) -> UserAssertion {
///     text.into()
/// }
/// ```
#[derive(Clone)]
pub struct UserAssertion {
    raw: Secret,
    user: UserKey,
    expires_on: OffsetDateTime,
}

impl UserToken {
    /// This token as the assertion of an On-Behalf-Of request that `client` makes.
    ///
    /// The token's audience must be the client id or one of the application's identifier URIs, letter by letter.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::AudienceMismatch`] when the token was issued for another application: Entra would refuse it, and
    /// passing on tokens of others is how confused deputies are made. The developer corrects the scope that the client
    /// asks for.
    pub fn assertion_for<S: AsRef<str>>(
        &self,
        client: &ClientId,
        app_id_uris: &[S],
    ) -> Result<UserAssertion, TokenError> {
        let ours = self.audience().eq_ignore_ascii_case(client.as_str())
            || app_id_uris.iter().any(|uri| uri.as_ref() == self.audience());
        if !ours {
            return Err(TokenErrorKind::AudienceMismatch.into());
        }
        Ok(UserAssertion { raw: self.raw().clone(), user: self.user_key(), expires_on: self.expires_on() })
    }
}

impl UserAssertion {
    /// When the user's token ends; nothing that was exchanged for it outlives it.
    #[must_use]
    pub const fn expires_on(&self) -> OffsetDateTime {
        self.expires_on
    }

    /// Whose token it is.
    #[must_use]
    pub const fn user_key(&self) -> &UserKey {
        &self.user
    }

    #[cfg_attr(not(feature = "acquire"), expect(dead_code, reason = "only acquisition sends it"))]
    pub(crate) const fn raw(&self) -> &Secret {
        &self.raw
    }
}

impl fmt::Debug for UserAssertion {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAssertion").field("expires_on", &self.expires_on).finish_non_exhaustive()
    }
}
