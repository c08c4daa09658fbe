use std::{fmt, sync::Arc};

use entra_auth::{AccessTokenValidator, ClientId, ConfidentialClient, Secret, TokenErrorKind, UserKey, UserToken};

use super::SignInErrorKind;

/// An OAuth connection of the bot: a name at the token service, and what its tokens are to us.
///
/// ```
/// use teams_sso::Connection;
///
/// let jira = Connection::opaque("jira"); // tokens of a third party: attached to its requests, never looked into
/// # let _ = jira;
/// ```
#[derive(Clone)]
pub struct Connection {
    name: Box<str>,
    tokens: Tokens,
}

#[derive(Clone)]
enum Tokens {
    Opaque,
    Validated(AccessTokenValidator),
    OnBehalf { validator: AccessTokenValidator, client: ConfidentialClient, app_id_uris: Arc<[String]> },
}

impl Connection {
    /// A connection whose tokens are for another system. Nothing is known about what is in them.
    pub fn opaque(name: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), tokens: Tokens::Opaque }
    }

    /// An Entra connection whose tokens are for an API of ours. Each token is validated, and must be the token of the
    /// user who wrote the message, before anything is done with it.
    pub fn validated(name: impl Into<Box<str>>, validator: AccessTokenValidator) -> Self {
        Self { name: name.into(), tokens: Tokens::Validated(validator) }
    }

    /// An Entra connection whose tokens are for the single sign-on registration itself (`access_as_user`), so that
    /// `client` may exchange them for tokens of other resources (On-Behalf-Of).
    ///
    /// `validator` must take exactly the audiences of that registration: its client id, and `app_id_uris` for version 1
    /// tokens.
    pub fn on_behalf_of<U: Into<String>>(
        name: impl Into<Box<str>>,
        validator: AccessTokenValidator,
        client: ConfidentialClient,
        app_id_uris: impl IntoIterator<Item = U>,
    ) -> Self {
        let app_id_uris = app_id_uris.into_iter().map(Into::into).collect();
        Self { name: name.into(), tokens: Tokens::OnBehalf { validator, client, app_id_uris } }
    }

    /// The name at the token service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client that exchanges this connection's tokens, with the URIs of its registration.
    pub(super) fn exchange(&self) -> Option<(&ConfidentialClient, &[String])> {
        match &self.tokens {
            Tokens::OnBehalf { client, app_id_uris, .. } => Some((client, app_id_uris)),
            Tokens::Opaque | Tokens::Validated(_) => None,
        }
    }

    /// Validates a token of this connection; `None` when its tokens are opaque. Whoever it belongs to must be `user`.
    pub(super) async fn judge(&self, token: &Secret, user: &UserKey) -> Result<Option<UserToken>, Verdict> {
        let (Tokens::Validated(validator) | Tokens::OnBehalf { validator, .. }) = &self.tokens else {
            return Ok(None);
        };
        let token = validator.validate(token.expose()).await.and_then(entra_auth::ValidatedToken::into_user);
        let token = token.map_err(|error| Verdict::from(error.kind()))?;
        if token.user_key() == *user { Ok(Some(token)) } else { Err(Verdict::OtherUser) }
    }
}

/// Why a token of the token service is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is over: a new one is needed.
    Over,
    /// Nothing could be judged: the keys cannot be had now.
    Unknown,
    /// It is another user's.
    OtherUser,
    /// Any other rule.
    Bad(TokenErrorKind),
}

impl Verdict {
    pub(super) const fn kind(self) -> SignInErrorKind {
        match self {
            Self::Over => SignInErrorKind::Token(TokenErrorKind::Expired),
            Self::Unknown => SignInErrorKind::Token(TokenErrorKind::KeysUnavailable),
            Self::OtherUser => SignInErrorKind::SubjectMismatch,
            Self::Bad(kind) => SignInErrorKind::Token(kind),
        }
    }
}

impl From<TokenErrorKind> for Verdict {
    fn from(kind: TokenErrorKind) -> Self {
        match kind {
            TokenErrorKind::Expired => Self::Over,
            TokenErrorKind::KeysUnavailable | TokenErrorKind::KeyGated => Self::Unknown,
            kind => Self::Bad(kind),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client: Option<&ClientId> = self.exchange().map(|(client, _)| client.client_id());
        f.debug_struct("Connection").field("name", &self.name).field("on_behalf_of", &client).finish_non_exhaustive()
    }
}
