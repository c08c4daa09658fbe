//! One call: token, attempts, deadline. Decides nothing itself; see `retry` and `classify`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entra_auth::{
    AccessToken, Body, ClaimsChallenge, CorrelationId, Deadline, TokenRequest, TransportError, TransportErrorKind,
};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;
use url::Url;

use crate::client::classify::{Operation, broken, refusal};
use crate::client::endpoint::Target;
use crate::client::error::{Delivery, Error, ErrorKind, RequestIds};
use crate::client::orphan::Underway;
use crate::client::retry::{Safety, least_wait, may_repeat};
use crate::client::{Auth, Shared, telemetry};
use crate::conversation::Deleted;
use crate::object::Read;

/// An error body is read up to this many bytes, for at most [`ERROR_BODY_TIME`].
const ERROR_BODY: usize = 64 * 1024;
const ERROR_BODY_TIME: Duration = Duration::from_secs(10);

/// What to send.
#[derive(Clone)]
pub(crate) struct Call {
    operation: Operation,
    plane: Plane,
    method: Method,
    url: Url,
    body: Option<Bytes>,
    content_type: &'static str,
    boundary: Option<HeaderValue>,
    accept: &'static str,
    features: Vec<&'static str>,
    headers: Vec<(&'static str, HeaderValue)>,
    as_user: bool,
    safety: Safety,
    deadline: Instant,
    attempt: Duration,
    correlation: CorrelationId,
    /// There for a response that goes on when nobody listens.
    background: Option<Arc<Shared>>,
}

/// Which family of operations a call belongs to: they differ in the headers they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    OpenAi,
    Foundry,
    #[cfg(feature = "arm")]
    Arm,
}

/// A 2xx answer. Its body is at hand, except for a stream.
pub(crate) struct Reply {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Body,
    pub(crate) ids: RequestIds,
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.body.as_bytes().map(|bytes| &bytes[..]).unwrap_or_default()
    }

    /// What the head says about the body: a media type in small letters, without its parameters.
    pub(crate) fn media_type(&self) -> String {
        let value = self.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn is_json(&self) -> bool {
        self.media_type() == "application/json"
    }

    /// The body as one JSON value.
    pub(crate) fn json(&self) -> Result<&RawValue, serde_json::Error> {
        serde_json::from_str(std::str::from_utf8(self.bytes()).unwrap_or_default())
    }

    /// The service did what was asked, and its answer makes no sense.
    pub(crate) fn unreadable(&self) -> Error {
        Error::new(ErrorKind::Protocol)
            .with_status(self.head.status.as_u16())
            .with_request_ids(self.ids.clone())
            .with_delivery(Delivery::Ambiguous)
    }
}

impl Call {
    /// A call without a body. `POST` may create something; every other method can be repeated without harm.
    pub(crate) fn new(shared: &Shared, operation: Operation, plane: Plane, method: Method, url: Url) -> Self {
        let safety = match method {
            Method::POST if shared.repeat_ambiguous => Safety::CreateAtLeastOnce,
            Method::POST => Safety::Create,
            _ => Safety::Idempotent,
        };
        let attempt = match operation {
            // The agent thinks and calls tools before it answers.
            Operation::CreateResponse => shared.limits.total,
            _ => shared.limits.attempt,
        };
        Self {
            operation,
            plane,
            method,
            url,
            body: None,
            content_type: "application/json",
            boundary: None,
            accept: if operation.is_stream() { "text/event-stream, application/json" } else { "application/json" },
            features: Vec::new(),
            headers: Vec::new(),
            as_user: plane == Plane::OpenAi,
            safety,
            deadline: Instant::now() + shared.limits.total,
            attempt,
            correlation: CorrelationId::random(),
            background: None,
        }
    }

    /// With a body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(|_| Error::new(ErrorKind::InvalidRequest))?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// With a body of another type.
    pub(crate) fn bytes(mut self, content_type: HeaderValue, body: Bytes) -> Self {
        self.boundary = Some(content_type);
        self.body = Some(body);
        self
    }

    /// The body changes members and leaves the others.
    pub(crate) fn merge_patch(mut self) -> Self {
        self.content_type = "application/merge-patch+json";
        self
    }

    /// More of the query.
    pub(crate) fn query<'a>(mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_some() {
            self.url.query_pairs_mut().extend_pairs(pairs);
        }
        self
    }

    /// Repeating it changes nothing, although it is a `POST`.
    pub(crate) fn idempotent(mut self) -> Self {
        self.safety = Safety::Idempotent;
        self
    }

    /// What it starts goes on when nobody listens.
    pub(crate) fn in_background(mut self, shared: &Arc<Shared>) -> Self {
        self.background = Some(Arc::clone(shared));
        self
    }

    /// What the answer shall be.
    pub(crate) fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = media_type;
        self
    }

    /// Repeating it may do something twice, although it is no `POST`.
    pub(crate) fn once(mut self) -> Self {
        self.safety = Safety::Create;
        self
    }

    /// An opt-in that the operation always needs.
    pub(crate) fn feature(mut self, feature: &'static str) -> Self {
        self.features.push(feature);
        self
    }

    /// A header of this operation.
    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What it acts on belongs to users.
    pub(crate) fn for_user(mut self) -> Self {
        self.as_user = true;
        self
    }

    /// Ends no later than another call did.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        self.deadline = deadline;
        self
    }

    /// The next page of a list: a call of its own.
    pub(crate) fn again(&self, shared: &Shared) -> Self {
        Self { deadline: Instant::now() + shared.limits.total, correlation: CorrelationId::random(), ..self.clone() }
    }

    /// Another address of the same operation.
    pub(crate) fn at(mut self, url: Url) -> Self {
        self.url = url;
        self
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_stream(&self) -> bool {
        self.operation.is_stream()
    }
}

impl Shared {
    /// A call of the OpenAI operations.
    pub(crate) fn openai(&self, operation: Operation, method: Method, path: &[&str]) -> Result<Call, Error> {
        Ok(Call::new(self, operation, Plane::OpenAi, method, self.endpoint.openai(path)?))
    }

    /// A call of the Foundry operations.
    pub(crate) fn foundry(&self, operation: Operation, method: Method, path: &[&str]) -> Result<Call, Error> {
        Ok(Call::new(self, operation, Plane::Foundry, method, self.endpoint.foundry(path)?))
    }

    /// Sends in a span of its own, and reads the answer as `T`.
    pub(crate) async fn fetch<T: for<'a> Read<'a>>(&self, call: Call) -> Result<T, Error> {
        parse(&self.done(call).await?)
    }

    /// Deletes. What is gone when the call is repeated was deleted by the first attempt.
    pub(crate) async fn delete(&self, call: Call, id: &str) -> Result<Deleted, Error> {
        match self.done(call).await {
            Ok(reply) => Ok(Deleted::read(id, reply.bytes())),
            Err(error) if error.attempts() > 1 && matches!(error.kind(), ErrorKind::NotFound(_)) => {
                Ok(Deleted::read(id, &[]))
            }
            Err(error) => Err(error),
        }
    }

    /// As [`fetch`](Self::fetch), for answers whose body does not matter.
    pub(crate) async fn done(&self, call: Call) -> Result<Reply, Error> {
        let span = telemetry::call_span(call.operation, self.endpoint.host());
        self.run(&call).instrument(span).await
    }

    /// Sends, with repetitions; the answer has a 2xx status.
    pub(crate) async fn run(&self, call: &Call) -> Result<Reply, Error> {
        let mut renewal = Renewal::default();
        let mut attempt = 1;
        loop {
            let error = match self.attempt(call, &mut renewal).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error.with_attempts(attempt),
            };
            if error.kind() == ErrorKind::Unauthorized && renewal.wants(&error) {
                telemetry::renewing(call.operation, &error);
                continue;
            }
            let Some(wait) = self.wait(call, attempt, &error) else {
                telemetry::failed(call.operation, &error);
                return Err(error);
            };
            telemetry::repeating(call.operation, &error, wait);
            sleep(wait).await;
            attempt += 1;
        }
    }

    fn wait(&self, call: &Call, attempt: u32, error: &Error) -> Option<Duration> {
        if !may_repeat(error, call.safety) {
            return None;
        }
        let wait = self.retry.delay(attempt, error.retry_after())?.max(least_wait(error.kind()));
        (Instant::now() + wait < call.deadline).then_some(wait)
    }

    async fn attempt(&self, call: &Call, renewal: &mut Renewal) -> Result<Reply, Error> {
        let mut request = self.request(call)?;
        let token = self.authorize(&mut request, call, renewal).await?;
        let by = call.deadline.min(Instant::now() + call.attempt);
        // A stream may last longer than the wait for its head.
        let over = if call.is_stream() { call.deadline } else { by };
        request.extensions_mut().insert(Deadline(over));
        let answer = match &call.background {
            None => self.exchange(call, request, by).await,
            Some(shared) => {
                let (owner, call) = (Arc::clone(shared), call.clone());
                let exchange = async move { owner.exchange(&call, request, by).await };
                Underway::new(Arc::clone(shared), exchange).await
            }
        };
        if answer.as_ref().is_err_and(|error| error.status() == Some(401)) {
            renewal.refused = token;
        }
        answer
    }

    /// One request and its answer.
    async fn exchange(&self, call: &Call, request: Request<Body>, by: Instant) -> Result<Reply, Error> {
        let client_id = call.correlation.to_string();
        let sent = timeout_at(by, self.transport.send(request)).await.unwrap_or_else(|_| Err(timeout()));
        let response = sent.map_err(|error| {
            let ids = RequestIds { client: Some(client_id.clone()), ..RequestIds::default() };
            broken(error, ids)
        })?;
        let ids = RequestIds::read(&client_id, response.headers());
        if response.status().is_success() {
            return self.accept(call, response, ids, by).await;
        }
        let (head, body) = response.into_parts();
        let body_by = by.min(Instant::now() + ERROR_BODY_TIME);
        let body = timeout_at(body_by, body.collect(ERROR_BODY)).await.ok().and_then(Result::ok).unwrap_or_default();
        Err(refusal(call.operation, head.status.as_u16(), &head.headers, body, ids, self.clock.now()))
    }

    async fn accept(
        &self,
        call: &Call,
        response: Response<Body>,
        ids: RequestIds,
        by: Instant,
    ) -> Result<Reply, Error> {
        let (head, body) = response.into_parts();
        let reply = Reply { head, body, ids };
        // Servers that ignore `stream` answer as a whole.
        if call.is_stream() && !reply.is_json() {
            return Ok(reply);
        }
        let Reply { head, body, ids } = reply;
        let read = timeout_at(by, body.collect(self.limits.body)).await.unwrap_or_else(|_| Err(timeout()));
        match read {
            Ok(bytes) => Ok(Reply { head, body: Body::from(bytes), ids }),
            Err(error) => Err(broken(error, ids).with_status(head.status.as_u16())),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Body>, Error> {
        let invalid = || Error::new(ErrorKind::InvalidRequest);
        let mut request = Request::new(call.body.clone().map(Body::from).unwrap_or_default());
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.url.as_str().parse().map_err(|_| invalid())?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(call.accept));
        let correlation = HeaderValue::try_from(call.correlation.to_string()).map_err(|_| invalid())?;
        headers.insert("x-ms-client-request-id", correlation);
        if call.body.is_some() {
            let named = call.boundary.clone().unwrap_or_else(|| HeaderValue::from_static(call.content_type));
            headers.insert(CONTENT_TYPE, named);
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        for (name, value) in &call.headers {
            headers.insert(*name, value.clone());
        }
        if let Some(features) = self.features(call) {
            headers.insert("foundry-features", features);
        }
        if let Some(user) = self.user.as_ref().filter(|_| call.as_user) {
            headers.insert("x-ms-user-identity", user.clone());
        }
        Ok(request)
    }

    /// Opt-ins go to Foundry operations and to an agent's own endpoint; the project's OpenAI operations know none.
    fn features(&self, call: &Call) -> Option<HeaderValue> {
        let own = match call.plane {
            Plane::Foundry => true,
            Plane::OpenAi => matches!(self.endpoint.target(), Target::Agent(_)),
            #[cfg(feature = "arm")]
            Plane::Arm => false,
        };
        let set = self.features.iter().map(|feature| feature.as_str()).filter(|_| own);
        let mut all: Vec<&str> = Vec::new();
        for feature in set.chain(call.features.iter().copied()) {
            if !all.contains(&feature) {
                all.push(feature);
            }
        }
        (!all.is_empty()).then(|| HeaderValue::try_from(all.join(",")).ok()).flatten()
    }

    async fn authorize(
        &self,
        request: &mut Request<Body>,
        call: &Call,
        renewal: &mut Renewal,
    ) -> Result<Option<AccessToken>, Error> {
        let (credential, audience) = match &self.auth {
            Auth::Token { credential, audience } => (credential, audience),
            Auth::ApiKey(name, key) => {
                request.headers_mut().insert(name, key.clone());
                return Ok(None);
            }
        };
        let mut wanted = TokenRequest::new(audience.scopes().clone()).with_correlation_id(call.correlation.clone());
        wanted.claims = renewal.claims.clone();
        wanted.rejected = renewal.rejected.clone();
        let Ok(got) = timeout_at(call.deadline, credential.get_token(&wanted)).await else {
            return Err(Error::new(ErrorKind::Timeout));
        };
        let token = match got {
            Ok(token) => token,
            Err(error) => return Err(renewal.give_up(Some(error))),
        };
        // The credential has nothing better than what was just refused.
        if renewal.rejected.as_ref().is_some_and(|refused| refused.same_as(&token)) {
            return Err(renewal.give_up(None));
        }
        token.authorize(request, audience).map_err(credential_error)?;
        Ok(Some(token))
    }
}

/// The one renewal after a 401, and the one claims challenge that is passed through.
#[derive(Default)]
struct Renewal {
    refused: Option<AccessToken>,
    rejected: Option<AccessToken>,
    claims: Option<ClaimsChallenge>,
    cause: Option<Error>,
}

impl Renewal {
    /// Whether another token should be tried, and if so prepares to ask for it.
    fn wants(&mut self, error: &Error) -> bool {
        let Some(refused) = self.refused.take() else {
            return false;
        };
        let wants = match error.claims_challenge() {
            Some(claims) if self.claims.is_none() => {
                self.claims = Some(claims.clone());
                true
            }
            Some(_) => false,
            None => self.rejected.is_none() && self.claims.is_none(),
        };
        if wants {
            self.rejected = Some(refused);
            self.cause = Some(error.clone());
        }
        wants
    }

    /// No better token: a fixed credential leaves the service's own refusal, another says more.
    fn give_up(&mut self, error: Option<entra_auth::Error>) -> Error {
        match (self.cause.take(), error) {
            (Some(cause), None) => cause,
            (Some(cause), Some(error)) if error.kind() == entra_auth::ErrorKind::Unsupported => cause,
            (_, Some(error)) => credential_error(error),
            (None, None) => Error::new(ErrorKind::Credential),
        }
    }
}

fn credential_error(error: entra_auth::Error) -> Error {
    Error::new(ErrorKind::Credential).with_source(error)
}

fn timeout() -> TransportError {
    TransportErrorKind::Timeout.into()
}

/// Reads the answer. What cannot be read was carried out all the same.
pub(crate) fn parse<T: for<'a> Read<'a>>(reply: &Reply) -> Result<T, Error> {
    reply.json().and_then(T::read).map_err(|_| reply.unreadable())
}
