//! Requests as arguments of axum handlers.

use std::{pin::Pin, time::Duration};

use axum_core::{
    body::Body,
    extract::{FromRef, FromRequest, Request},
    response::{IntoResponse, Response},
};
use futures_core::Stream as _;
use http::{HeaderValue, header::WWW_AUTHENTICATE};
use tokio::time::timeout;

use crate::{
    CallerAuthenticator, ChannelAuthenticator, InboundError, InboundErrorKind, InboundRequest, VerifiedActivity,
};

/// How long a body may take. It is counted only after the token was good.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Authenticates the request with the [`ChannelAuthenticator`] in the state, reads its body and opens it. A handler that
/// takes this argument runs for good requests only; others are answered by [`InboundError`]. It takes the body, so it
/// is the last argument.
///
/// ```
/// # use botframework_activity::{ChannelAuthenticator, VerifiedActivity};
/// async fn messages(activity: VerifiedActivity) -> &'static str {
///     println!("{}", activity.prompt_text());
///     ""
/// }
///
/// # fn f(authenticator: ChannelAuthenticator) {
/// let app: axum::Router = axum::Router::new()
///     .route("/api/messages", axum::routing::post(messages))
///     .with_state(authenticator);
/// # }
/// ```
impl<S> FromRequest<S> for VerifiedActivity
where
    S: Send + Sync,
    ChannelAuthenticator: FromRef<S>,
{
    type Rejection = InboundError;

    async fn from_request(request: Request, state: &S) -> Result<Self, InboundError> {
        let (parts, body) = request.into_parts();
        let token = ChannelAuthenticator::from_ref(state).authenticate(&parts.headers).await?;
        token.check_content(&parts.headers)?;
        token.open(&read(body, token.body_limit()).await?)
    }
}

/// As for [`VerifiedActivity`], with the [`CallerAuthenticator`] in the state.
impl<S> FromRequest<S> for InboundRequest
where
    S: Send + Sync,
    CallerAuthenticator: FromRef<S>,
{
    type Rejection = InboundError;

    async fn from_request(request: Request, state: &S) -> Result<Self, InboundError> {
        let (parts, body) = request.into_parts();
        let token = CallerAuthenticator::from_ref(state).authenticate(&parts.headers).await?;
        token.check_content(&parts.headers)?;
        token.open(&read(body, token.body_limit()).await?)
    }
}

/// The status, `WWW-Authenticate` where there is one, and an empty body: the caller learns whether, not why.
impl IntoResponse for InboundError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        if let Some(value) = self.www_authenticate() {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        if self.is_retryable() && self.status() == http::StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// Status 200 and the events as they come.
#[cfg(feature = "connector")]
impl IntoResponse for crate::ReplyEvents {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from_stream(self));
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(Self::CONTENT_TYPE));
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The body, or as much of it as shows that it is too large.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, InboundError> {
    let mut stream = body.into_data_stream();
    let reading = async {
        let mut bytes = Vec::new();
        while bytes.len() <= limit {
            match std::future::poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
                Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                Some(Err(_)) => return Err(InboundErrorKind::MalformedBody.into()),
                None => break,
            }
        }
        Ok(bytes)
    };
    timeout(BODY_DEADLINE, reading).await.unwrap_or_else(|_| Err(InboundErrorKind::BodyTooSlow.into()))
}
