//! One call: a token, attempts, waits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use entra_auth::{
    AccessToken, Audience, Body, ClaimsChallenge, Clock, Deadline, HttpTransport, RetryPolicy, Scopes, TokenCredential,
    TokenRequest, TransportError, TransportErrorKind,
};
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span, field::Empty};

use super::{
    answer::{self, Answer, Operation, Outcome, Reading},
    download::DownloadHosts,
    error::{Delivery, SendError, SendErrorKind},
    rates::Rates,
};
use crate::{ChannelCloud, ServiceUrl};

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
    pub(super) max_message: usize,
    pub(super) max_download: usize,
    pub(super) rates: Rates,
    /// What an agent adds to every request.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) downloads: DownloadHosts,
    pub(super) cloud: ChannelCloud,
}

pub(super) struct Call<'a> {
    pub(super) settings: &'a Settings,
    pub(super) operation: &'static Operation,
    pub(super) service_url: &'a ServiceUrl,
    pub(super) accept: &'static str,
    /// The most that is read of an answer, in bytes.
    pub(super) max_answer: usize,
    /// The conversation whose rate the call counts for.
    pub(super) conversation: Option<&'a str>,
    pub(super) uri: Uri,
    pub(super) body: Bytes,
}

/// A failed attempt, and the challenge that came with a 401.
type Failure = (SendError, Option<ClaimsChallenge>);

/// Where the requests of a call go. Its origin is the only one that the token may go to.
struct Target {
    uri: Uri,
    audience: Audience,
}

impl Call<'_> {
    pub(super) async fn run<T: Outcome + Send>(self) -> Result<T, SendError> {
        let mut outcome = None;
        self.drive(&mut outcome).await?;
        // A call that has succeeded has read its outcome.
        outcome.ok_or_else(|| SendError::new(SendErrorKind::Protocol, Delivery::Ambiguous))
    }

    /// The same for every outcome.
    async fn drive(&self, outcome: &mut dyn Reading) -> Result<(), SendError> {
        let span = tracing::info_span!(
            "connector.request",
            operation = self.operation.name,
            http.request.method = self.operation.method.as_str(),
            url.template = self.operation.template,
            server.address = self.uri.host(),
            http.response.status_code = Empty,
            attempts = Empty,
            error.r#type = Empty,
        );
        let result = self.attempts(outcome, &span).instrument(span.clone()).await;
        let result = result.map_err(|error| error.idempotent(self.operation.idempotent));
        if let Err(error) = &result {
            let (kind, delivery) = (format!("{:?}", error.kind()), error.delivery());
            span.record("error.type", &kind);
            span.in_scope(|| tracing::warn!(kind, ?delivery, request_id = error.request_id(), "connector call failed"));
        }
        result
    }

    async fn attempts(&self, outcome: &mut dyn Reading, span: &Span) -> Result<(), SendError> {
        let end = Instant::now() + self.settings.deadline;
        let mut target = self.target(self.service_url, self.uri.clone())?;
        let mut moved = false;
        let mut token = self.token(TokenRequest::new(self.settings.scopes.clone()), end).await?;
        let mut renewed = false;
        let mut doubt = false;
        let mut attempt = 1;
        loop {
            span.record("attempts", attempt);
            self.wait_for_its_turn(end).await.map_err(|error| error.after_doubt(doubt))?;
            let (error, challenge) = match self.attempt(&token, &target, end, outcome, span).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if error.kind() == SendErrorKind::Unauthorized && !renewed {
                renewed = true;
                token = self.renew(token, challenge, error, end).await.map_err(|error| error.after_doubt(doubt))?;
                continue;
            }
            if error.kind() == SendErrorKind::WrongHost
                && !moved
                && let Some(elsewhere) = self.elsewhere()
            {
                tracing::debug!("the tenant is served by another host of the cloud");
                (target, moved) = (elsewhere, true);
                span.record("server.address", target.uri.host());
                continue;
            }
            if self.operation.method == Method::DELETE
                && doubt
                && error.kind() == SendErrorKind::NotFound
                && outcome.gone(error.request_id().map(str::to_owned))
            {
                return Ok(());
            }
            if let (SendErrorKind::Throttled, Some(wait)) = (error.kind(), error.retry_after()) {
                self.settings.rates.hold(self.service_url, self.conversation, wait);
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

    /// The address of the call is below the service URL, whose origin the token may go to.
    fn target(&self, service_url: &ServiceUrl, uri: Uri) -> Result<Target, SendError> {
        let audience = Audience::new(self.settings.scopes.clone(), [service_url.url()])
            .map_err(|error| SendError::invalid().with_source(error))?;
        Ok(Target { uri, audience })
    }

    /// Where a tenant of the GCC is served whose conversation was looked for at the public host. The address is the
    /// cloud's own; nothing of it comes from the answer.
    fn elsewhere(&self) -> Option<Target> {
        let url = self.service_url.in_gcc(self.settings.cloud)?;
        let mut parts = self.uri.clone().into_parts();
        parts.authority = Some(url.host().parse().ok()?);
        self.target(&url, Uri::from_parts(parts).ok()?).ok()
    }

    /// Waits until the documented rates let this call through: those of its conversation, then those of its tenant.
    async fn wait_for_its_turn(&self, end: Instant) -> Result<(), SendError> {
        let rates = &self.settings.rates;
        let late = |wait| SendError::new(SendErrorKind::Throttled, Delivery::NotSent).with_retry_after(Some(wait));
        let at = rates.reserve(self.service_url, self.conversation, self.operation.cost, end).map_err(late)?;
        if let Some(at) = at {
            tracing::debug!("connector call waits for the rate of its conversation");
            sleep_until(at).await;
        }
        if let Some(at) = rates.reserve_tenant(self.service_url, end).map_err(late)? {
            tracing::debug!("connector call waits for the rate of its tenant");
            sleep_until(at).await;
        }
        Ok(())
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

    async fn attempt(
        &self,
        token: &AccessToken,
        target: &Target,
        end: Instant,
        outcome: &mut dyn Reading,
        span: &Span,
    ) -> Result<(), Failure> {
        let deadline = (Instant::now() + self.settings.attempt_timeout).min(end);
        let mut request = self.request(&target.uri, deadline);
        token.authorize(&mut request, &target.audience).map_err(|error| (SendError::token(error), None))?;
        let response = timeout_at(deadline, self.settings.transport.send(request))
            .await
            .unwrap_or_else(|_| Err(TransportErrorKind::Timeout.into()))
            .map_err(|error| (SendError::transport(error), None))?;
        let (parts, body) = response.into_parts();
        span.record("http.response.status_code", parts.status.as_u16());
        let body = timeout_at(deadline, body.collect(self.max_answer))
            .await
            .unwrap_or_else(|_| Err::<_, TransportError>(TransportErrorKind::Timeout.into()));
        let answer = Answer {
            status: parts.status,
            retry_after: entra_auth::retry_after(&parts.headers, self.settings.clock.now()),
            request_id: answer::request_id(&parts.headers),
            content_type: parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned),
            body,
        };
        let request_id = answer.request_id.clone();
        answer::judge(self.operation, answer, outcome)
            .map_err(|error| (error, ClaimsChallenge::from_headers(&parts.headers)))?;
        tracing::debug!(request_id, "connector accepted");
        Ok(())
    }

    fn request(&self, uri: &Uri, deadline: Instant) -> Request<Body> {
        const AGENT: &str = concat!("botframework-activity/", env!("CARGO_PKG_VERSION"));
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.operation.method.clone();
        request.uri_mut().clone_from(uri);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(self.accept));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        if !self.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        request.extensions_mut().insert(Deadline(deadline));
        request
    }
}
