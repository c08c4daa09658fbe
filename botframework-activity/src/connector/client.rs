use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use entra_auth::{
    AccessToken, Audience, Body, BuildError, ClaimsChallenge, Clock, Deadline, HttpTransport, RetryPolicy, Scopes,
    SystemClock, TokenCredential, TokenRequest, TransportError, TransportErrorKind,
};
use http::{
    HeaderValue, Uri,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span, field::Empty};

use super::{
    address,
    answer::{self, Answer, Operation},
    error::{Delivery, SendError, SendErrorKind},
};
use crate::{Activity, ChannelCloud, ServiceUrl};

/// The REST client of the connector: sends activities to conversations.
///
/// A clone is cheap and shares everything. Every call takes the [`ServiceUrl`] it goes to, which only verification
/// makes; the bot's token reaches that origin and no other. The conversation is the one the activity names.
///
/// A call is tried again when that cannot make a second message: nothing was sent, 412, 429, or 503 with `Retry-After`;
/// updates and deletes also after time-outs, broken connections, 500, 502 and 504. A 401 is answered once with a fresh
/// token.
/// [Connector API](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference)
///
/// ```
/// use botframework_activity::{Activity, ConnectorClient, Delivery, ServiceUrl};
///
/// async fn answer(connector: &ConnectorClient, at: &ServiceUrl, incoming: &Activity) {
///     let reply = Activity::message("Done.").reply_to(incoming);
///     match connector.reply(at, &reply).await {
///         Ok(sent) => println!("sent as {:?}", sent.id()),
///         Err(error) if error.delivery() == Delivery::Ambiguous => println!("may have been sent: {error}"),
///         Err(error) => println!("not sent: {error}"),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct ConnectorClient(Arc<Inner>);

struct Inner {
    transport: Arc<dyn HttpTransport>,
    credential: Arc<dyn TokenCredential>,
    clock: Arc<dyn Clock>,
    scopes: Scopes,
    retry: RetryPolicy,
    deadline: Duration,
    attempt_timeout: Duration,
    max_response: usize,
}

/// Settings of a [`ConnectorClient`].
pub struct ConnectorClientBuilder {
    transport: Arc<dyn HttpTransport>,
    credential: Arc<dyn TokenCredential>,
    clock: Arc<dyn Clock>,
    cloud: ChannelCloud,
    scopes: Option<Scopes>,
    retry: RetryPolicy,
    deadline: Duration,
    attempt_timeout: Duration,
    max_response: usize,
}

/// What the connector answered to a call that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    id: Option<String>,
    dropped: bool,
    request_id: Option<String>,
}

impl Sent {
    pub(super) fn new(id: Option<String>, dropped: bool, request_id: Option<String>) -> Self {
        Self { id, dropped, request_id }
    }

    /// The id of the activity. Teams does not always tell it, for one when it splits a text and a card.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the service accepted the call and dropped the content: a piece of a stream that came out of order.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.dropped
    }

    /// The id under which the service logged the request, for Microsoft's support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

impl ConnectorClient {
    /// A client over this transport, with tokens of this credential: the bot's own, in the tenant of its registration.
    #[must_use]
    pub fn builder(transport: Arc<dyn HttpTransport>, credential: Arc<dyn TokenCredential>) -> ConnectorClientBuilder {
        ConnectorClientBuilder {
            transport,
            credential,
            clock: Arc::new(SystemClock),
            cloud: ChannelCloud::Public,
            scopes: None,
            retry: RetryPolicy::new(5, Duration::from_secs(1), Duration::from_secs(16))
                .patience(Duration::from_secs(30)),
            deadline: Duration::from_secs(60),
            attempt_timeout: Duration::from_secs(15),
            max_response: 1 << 20,
        }
    }

    /// Sends an activity to the end of its conversation.
    ///
    /// # Errors
    ///
    /// [`SendErrorKind::Invalid`] without a conversation id; any other kind as the service answers.
    /// [`SendError::delivery`] says whether the message may be there.
    pub async fn send(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let target = Target::new(service_url, activity.conversation_id(), None)?;
        self.0.call(Operation::Send, target, encode(activity)?).await
    }

    /// Sends an activity as the answer to the one it names in `replyToId`: in the same thread, where the channel has
    /// threads.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; also [`SendErrorKind::Invalid`] without `replyToId`.
    pub async fn reply(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let target = Target::new(service_url, activity.conversation_id(), Some(activity.reply_to_id.as_deref()))?;
        self.0.call(Operation::Reply, target, encode(activity)?).await
    }

    /// Replaces the activity with the id that `activity` has; see [`Activity::with_id`].
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; also [`SendErrorKind::Invalid`] without an id. Repeating it does no harm.
    pub async fn update(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let target = Target::new(service_url, activity.conversation_id(), Some(activity.id.as_deref()))?;
        self.0.call(Operation::Update, target, encode(activity)?).await
    }

    /// Deletes an activity. One that is gone after an attempt of unknown effect counts as deleted.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. Repeating it does no harm.
    pub async fn delete(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        activity_id: &str,
    ) -> Result<(), SendError> {
        let target = Target::new(service_url, Some(conversation_id), Some(Some(activity_id)))?;
        self.0.call(Operation::Delete, target, Bytes::new()).await.map(|_| ())
    }

    /// Shows the typing indicator to whoever sent `incoming`.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. A failure is seldom worth more than a line in the log.
    pub async fn typing(&self, service_url: &ServiceUrl, incoming: &Activity) -> Result<(), SendError> {
        self.send(service_url, &Activity::typing().reply_to(incoming)).await.map(|_| ())
    }
}

impl fmt::Debug for ConnectorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorClient")
            .field("scopes", &self.0.scopes)
            .field("retry", &self.0.retry)
            .field("deadline", &self.0.deadline)
            .finish_non_exhaustive()
    }
}

impl ConnectorClientBuilder {
    /// The cloud, which fixes the scope of the tokens. Default [`ChannelCloud::Public`].
    #[must_use]
    pub fn cloud(mut self, cloud: ChannelCloud) -> Self {
        self.cloud = cloud;
        self
    }

    /// The scope of the tokens, where it is not the cloud's.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// How often and how patiently a call is tried. Default 5 attempts, 1 s doubling up to 16 s, and up to 30 s of
    /// `Retry-After`.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How long a call may take, all attempts, waits and the token included. Default 60 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long one attempt may take, the answer's body included. Default 15 s.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// The most that is read of an answer, in bytes. Default 1 MiB.
    #[must_use]
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// The clock that `Retry-After` dates are compared with. Default the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// When a time is zero.
    pub fn build(self) -> Result<ConnectorClient, BuildError> {
        if self.deadline.is_zero() || self.attempt_timeout.is_zero() {
            return Err(BuildError::new("the deadline and the attempt time-out of the connector must be above zero"));
        }
        let scopes = match self.scopes {
            Some(scopes) => scopes,
            None => self
                .cloud
                .connector_scope()
                .parse()
                .map_err(|error| BuildError::new("the connector scope is no scope").with_source(error))?,
        };
        Ok(ConnectorClient(Arc::new(Inner {
            transport: self.transport,
            credential: self.credential,
            clock: self.clock,
            scopes,
            retry: self.retry,
            deadline: self.deadline,
            attempt_timeout: self.attempt_timeout,
            max_response: self.max_response,
        })))
    }
}

impl fmt::Debug for ConnectorClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorClientBuilder").field("cloud", &self.cloud).finish_non_exhaustive()
    }
}

fn encode(activity: &Activity) -> Result<Bytes, SendError> {
    activity.to_json().map(Bytes::from).map_err(|error| SendError::invalid().with_source(error))
}

/// Where a call goes, and the only origin that its token may go to.
struct Target {
    uri: Uri,
    origin: url::Url,
}

impl Target {
    /// `activity`: not part of the path, or part of it and perhaps missing.
    fn new(
        service_url: &ServiceUrl,
        conversation: Option<&str>,
        activity: Option<Option<&str>>,
    ) -> Result<Self, SendError> {
        let conversation = conversation.ok_or_else(SendError::invalid)?;
        let uri = match activity {
            None => address::join(service_url, &["v3", "conversations", conversation, "activities"]),
            Some(None) => None,
            Some(Some(id)) => address::join(service_url, &["v3", "conversations", conversation, "activities", id]),
        };
        Ok(Self { uri: uri.ok_or_else(SendError::invalid)?, origin: service_url.url().clone() })
    }
}

impl Inner {
    async fn call(&self, operation: Operation, target: Target, body: Bytes) -> Result<Sent, SendError> {
        let span = tracing::info_span!(
            "connector.request",
            operation = operation.name(),
            http.request.method = operation.method().as_str(),
            url.template = operation.template(),
            server.address = target.uri.host(),
            http.response.status_code = Empty,
            attempts = Empty,
            error.r#type = Empty,
        );
        let result = self.attempts(operation, target, body).instrument(span.clone()).await;
        span.in_scope(|| match &result {
            Ok(sent) => tracing::debug!(request_id = sent.request_id(), "connector accepted"),
            Err(error) => {
                let kind = format!("{:?}", error.kind());
                Span::current().record("error.type", &kind);
                tracing::warn!(kind, delivery = ?error.delivery(), request_id = error.request_id(), "connector call failed");
            }
        });
        result.map_err(|error| error.idempotent(operation.is_idempotent()))
    }

    async fn attempts(&self, operation: Operation, target: Target, body: Bytes) -> Result<Sent, SendError> {
        let end = Instant::now() + self.deadline;
        let audience = Audience::new(self.scopes.clone(), [&target.origin])
            .map_err(|error| SendError::invalid().with_source(error))?;
        let mut token = self.token(TokenRequest::new(self.scopes.clone()), end).await?;
        let mut renewed = false;
        let mut doubt = false;
        let mut attempt = 1;
        loop {
            Span::current().record("attempts", attempt);
            let outcome = self.attempt(operation, &target.uri, &audience, &token, &body, end).await;
            let (error, challenge) = match outcome {
                Ok(sent) => return Ok(sent),
                Err(failure) => failure,
            };
            if error.kind() == SendErrorKind::Unauthorized && !renewed {
                renewed = true;
                token = self.renew(token, challenge, error, end).await.map_err(|error| error.after_doubt(doubt))?;
                continue;
            }
            if operation == Operation::Delete && doubt && error.kind() == SendErrorKind::NotFound {
                return Ok(Sent::new(None, false, error.request_id().map(str::to_owned)));
            }
            doubt |= error.delivery() == Delivery::Ambiguous;
            let wait = self.retry.delay(attempt, error.retry_after()).filter(|_| answer::may_repeat(operation, &error));
            match wait.map(|wait| Instant::now() + wait).filter(|at| *at < end) {
                Some(at) => {
                    tracing::debug!(attempt, kind = ?error.kind(), "connector call will be repeated");
                    sleep_until(at).await;
                }
                None => return Err(error.after_doubt(doubt)),
            }
            attempt += 1;
        }
    }

    async fn token(&self, request: TokenRequest, end: Instant) -> Result<AccessToken, SendError> {
        match timeout_at(end, self.credential.get_token(&request)).await {
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
        let mut request = TokenRequest::new(self.scopes.clone()).with_rejected(refused.clone());
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
        operation: Operation,
        uri: &Uri,
        audience: &Audience,
        token: &AccessToken,
        body: &Bytes,
        end: Instant,
    ) -> Result<Sent, (SendError, Option<ClaimsChallenge>)> {
        let deadline = (Instant::now() + self.attempt_timeout).min(end);
        let mut request = http::Request::new(Body::from(body.clone()));
        *request.method_mut() = operation.method();
        request.uri_mut().clone_from(uri);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("botframework-activity/", env!("CARGO_PKG_VERSION"))));
        if operation != Operation::Delete {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        }
        request.extensions_mut().insert(Deadline(deadline));
        token.authorize(&mut request, audience).map_err(|error| (SendError::token(error), None))?;

        let response = timeout_at(deadline, self.transport.send(request))
            .await
            .unwrap_or_else(|_| Err(TransportErrorKind::Timeout.into()))
            .map_err(|error| (SendError::transport(error), None))?;
        let (parts, body) = response.into_parts();
        Span::current().record("http.response.status_code", parts.status.as_u16());
        let body = timeout_at(deadline, body.collect(self.max_response))
            .await
            .unwrap_or_else(|_| Err::<_, TransportError>(TransportErrorKind::Timeout.into()));
        let answer = Answer {
            status: parts.status,
            retry_after: entra_auth::retry_after(&parts.headers, self.clock.now()),
            request_id: answer::request_id(&parts.headers),
            body,
        };
        answer::judge(operation, answer).map_err(|error| (error, ClaimsChallenge::from_headers(&parts.headers)))
    }
}
