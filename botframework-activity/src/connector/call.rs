//! One call: a token, attempts, waits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use entra_auth::{
    AccessToken, Audience, Body, ClaimsChallenge, Clock, Deadline, HttpTransport, RetryPolicy, Scopes, TokenCredential,
    TokenRequest, TransportError, TransportErrorKind,
};
use http::{
    HeaderValue, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span, field::Empty};

use super::{
    answer::{self, Answer, Operation},
    client::Sent,
    error::{Delivery, SendError, SendErrorKind},
};

/// What all calls of a client share.
pub(super) struct Settings {
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) credential: Arc<dyn TokenCredential>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) scopes: Scopes,
    pub(super) retry: RetryPolicy,
    pub(super) deadline: Duration,
    pub(super) attempt_timeout: Duration,
    pub(super) max_response: usize,
}

pub(super) struct Call<'a> {
    pub(super) settings: &'a Settings,
    pub(super) operation: Operation,
    pub(super) uri: Uri,
    /// The only origin that the token may go to.
    pub(super) audience: Audience,
    pub(super) body: Bytes,
}

/// A failed attempt, and the challenge that came with a 401.
type Failure = (SendError, Option<ClaimsChallenge>);

impl Call<'_> {
    pub(super) async fn run(self) -> Result<Sent, SendError> {
        let span = tracing::info_span!(
            "connector.request",
            operation = self.operation.name(),
            http.request.method = self.operation.method().as_str(),
            url.template = self.operation.template(),
            server.address = self.uri.host(),
            http.response.status_code = Empty,
            attempts = Empty,
            error.r#type = Empty,
        );
        let result = self.attempts(&span).instrument(span.clone()).await;
        let result = result.map_err(|error| error.idempotent(self.operation.is_idempotent()));
        span.in_scope(|| match &result {
            Ok(sent) => tracing::debug!(request_id = sent.request_id(), "connector accepted"),
            Err(error) => {
                let (kind, delivery) = (format!("{:?}", error.kind()), error.delivery());
                span.record("error.type", &kind);
                tracing::warn!(kind, ?delivery, request_id = error.request_id(), "connector call failed");
            }
        });
        result
    }

    async fn attempts(&self, span: &Span) -> Result<Sent, SendError> {
        let end = Instant::now() + self.settings.deadline;
        let mut token = self.token(TokenRequest::new(self.settings.scopes.clone()), end).await?;
        let mut renewed = false;
        let mut doubt = false;
        let mut attempt = 1;
        loop {
            span.record("attempts", attempt);
            let (error, challenge) = match self.attempt(&token, end, span).await {
                Ok(sent) => return Ok(sent),
                Err(failure) => failure,
            };
            if error.kind() == SendErrorKind::Unauthorized && !renewed {
                renewed = true;
                token = self.renew(token, challenge, error, end).await.map_err(|error| error.after_doubt(doubt))?;
                continue;
            }
            if self.operation == Operation::Delete && doubt && error.kind() == SendErrorKind::NotFound {
                return Ok(Sent::new(None, false, error.request_id().map(str::to_owned)));
            }
            doubt |= error.delivery() == Delivery::Ambiguous;
            match self.next_attempt(attempt, &error).filter(|at| *at < end) {
                Some(at) => {
                    tracing::debug!(attempt, kind = ?error.kind(), "connector call will be repeated");
                    sleep_until(at).await;
                }
                None => return Err(error.after_doubt(doubt)),
            }
            attempt += 1;
        }
    }

    fn next_attempt(&self, attempt: u32, error: &SendError) -> Option<Instant> {
        if !answer::may_repeat(self.operation, error) {
            return None;
        }
        self.settings.retry.delay(attempt, error.retry_after()).map(|wait| Instant::now() + wait)
    }

    async fn token(&self, request: TokenRequest, end: Instant) -> Result<AccessToken, SendError> {
        match timeout_at(end, self.settings.credential.get_token(&request)).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(SendError::token(error)),
            Err(_) => Err(SendError::new(SendErrorKind::Timeout, Delivery::NotSent)),
        }
    }

    /// Another token than the one that the connector refused with `error`, or that error.
    async fn renew(
        &self,
        refused: AccessToken,
        challenge: Option<ClaimsChallenge>,
        error: SendError,
        end: Instant,
    ) -> Result<AccessToken, SendError> {
        let mut request = TokenRequest::new(self.settings.scopes.clone()).with_rejected(refused.clone());
        if let Some(challenge) = challenge {
            request = request.with_claims(challenge);
        }
        match self.token(request, end).await {
            Ok(token) if token.same_as(&refused) => Err(error),
            Ok(token) => Ok(token),
            Err(token_error) if token_error.is_retryable() => Err(token_error),
            Err(token_error) => Err(error.with_source(token_error)),
        }
    }

    async fn attempt(&self, token: &AccessToken, end: Instant, span: &Span) -> Result<Sent, Failure> {
        let deadline = (Instant::now() + self.settings.attempt_timeout).min(end);
        let mut request = self.request(deadline);
        token.authorize(&mut request, &self.audience).map_err(|error| (SendError::token(error), None))?;
        let response = timeout_at(deadline, self.settings.transport.send(request))
            .await
            .unwrap_or_else(|_| Err(TransportErrorKind::Timeout.into()))
            .map_err(|error| (SendError::transport(error), None))?;
        let (parts, body) = response.into_parts();
        span.record("http.response.status_code", parts.status.as_u16());
        let body = timeout_at(deadline, body.collect(self.settings.max_response))
            .await
            .unwrap_or_else(|_| Err::<_, TransportError>(TransportErrorKind::Timeout.into()));
        let answer = Answer {
            status: parts.status,
            retry_after: entra_auth::retry_after(&parts.headers, self.settings.clock.now()),
            request_id: answer::request_id(&parts.headers),
            body,
        };
        answer::judge(self.operation, answer).map_err(|error| (error, ClaimsChallenge::from_headers(&parts.headers)))
    }

    fn request(&self, deadline: Instant) -> Request<Body> {
        const AGENT: &str = concat!("botframework-activity/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.operation.method();
        request.uri_mut().clone_from(&self.uri);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if self.operation != Operation::Delete {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        request.extensions_mut().insert(Deadline(deadline));
        request
    }
}
