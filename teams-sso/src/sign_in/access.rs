use std::fmt;

use entra_auth::{AccessToken, OnBehalfOf, TokenErrorKind, UserKey, UserToken};

use super::{Connection, SignInError, SignInErrorKind};

/// What came of asking for something of the user's.
#[derive(Debug)]
#[must_use]
pub enum Access<T> {
    /// Here it is.
    Ready(T),
    /// The user has been asked to sign in, or told what else to do. End the turn without an answer: when the user has
    /// signed in, the message comes back as a turn of its own.
    Parked,
}

impl<T> Access<T> {
    /// What is ready.
    #[must_use]
    pub fn ready(self) -> Option<T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Parked => None,
        }
    }
}

/// A user's token of a connection, of the very user who wrote the message.
#[derive(Clone)]
pub struct SignedIn {
    user: UserKey,
    token: AccessToken,
    validated: Option<UserToken>,
    connection: Connection,
}

impl SignedIn {
    pub(super) const fn new(
        user: UserKey,
        token: AccessToken,
        validated: Option<UserToken>,
        connection: Connection,
    ) -> Self {
        Self { user, token, validated, connection }
    }

    /// The user.
    #[must_use]
    pub const fn user(&self) -> &UserKey {
        &self.user
    }

    /// The token, to be attached to requests to what the connection is for
    /// ([`AccessToken::authorize`](entra_auth::AccessToken::authorize)). Never keep or queue it: ask again in each turn.
    #[must_use]
    pub const fn access_token(&self) -> &AccessToken {
        &self.token
    }

    /// The token as validated; `None` for an opaque connection.
    #[must_use]
    pub const fn user_token(&self) -> Option<&UserToken> {
        self.validated.as_ref()
    }

    /// A credential that acts for the user at other resources (On-Behalf-Of).
    ///
    /// # Errors
    ///
    /// [`SignInErrorKind::NotOnBehalf`] when the connection was not made by [`Connection::on_behalf_of`];
    /// [`SignInErrorKind::Token`] when the token was not issued for that registration. The developer, in both cases.
    pub fn on_behalf_of(&self) -> Result<OnBehalfOf, SignInError> {
        let (Some((client, uris)), Some(token)) = (self.connection.exchange(), &self.validated) else {
            return Err(SignInErrorKind::NotOnBehalf.into());
        };
        let assertion = token.assertion_for(client.client_id(), uris);
        let assertion = assertion.map_err(|_| SignInErrorKind::Token(TokenErrorKind::AudienceMismatch))?;
        Ok(client.on_behalf_of(assertion))
    }
}

/// Shows the connection only.
impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("connection", &self.connection).finish_non_exhaustive()
    }
}
