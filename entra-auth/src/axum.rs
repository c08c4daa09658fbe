use axum_core::{
    extract::{FromRef, FromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    AccessTokenValidator, AppToken, RequestIdentity, TokenError, TokenErrorKind, UserToken, ValidatedToken,
    identity::refusal,
};

/// Validates the request's bearer token with the [`AccessTokenValidator`] in the state. A handler that takes this
/// argument runs for good tokens only; others are answered by [`TokenError`].
impl<S> FromRequestParts<S> for ValidatedToken
where
    S: Send + Sync,
    AccessTokenValidator: FromRef<S>,
{
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, TokenError> {
        AccessTokenValidator::from_ref(state).authenticate(&parts.headers).await
    }
}

/// As for [`ValidatedToken`]; an application's token is answered with 403.
impl<S> FromRequestParts<S> for UserToken
where
    S: Send + Sync,
    AccessTokenValidator: FromRef<S>,
{
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, TokenError> {
        ValidatedToken::from_request_parts(parts, state).await?.into_user()
    }
}

/// As for [`ValidatedToken`]; a user's token is answered with 403.
impl<S> FromRequestParts<S> for AppToken
where
    S: Send + Sync,
    AccessTokenValidator: FromRef<S>,
{
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, TokenError> {
        ValidatedToken::from_request_parts(parts, state).await?.into_app()
    }
}

/// What the layer of feature `tower` found. Without the layer every request is refused: it validates nothing itself.
impl<S: Send + Sync> FromRequestParts<S> for RequestIdentity {
    type Rejection = TokenError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, TokenError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| TokenErrorKind::MissingToken.into())
    }
}

/// 401 or 403 with `WWW-Authenticate` and an empty body: the caller learns whether, not why.
impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        refusal(&self)
    }
}
