use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use entra_auth::{BuildError, Clock, HttpTransport, RetryPolicy, Scopes, SystemClock, TokenCredential};
use http::Uri;

use super::{
    address,
    agent::AgentIdentity,
    answer::{DELETE, Operation, Outcome, REPLY, SEND, UPDATE},
    call::{Call, Settings},
    download::DownloadHosts,
    error::{Delivery, SendError, SendErrorKind},
    rates::{ConversationRates, Rates},
};
use crate::{Activity, ChannelCloud, ServiceUrl};

/// The REST client of the connector: sends activities to conversations, and asks about conversations, members, files,
/// teams and meetings.
///
/// A clone is cheap and shares everything. Every call takes the [`ServiceUrl`] it goes to, which only verification
/// makes; the bot's token reaches that origin and no other. The conversation is the one the activity names.
///
/// A call is tried again when that cannot make a second message: nothing was sent, 412, 429, or 503 with `Retry-After`;
/// updates and deletes also after time-outs, broken connections, 500, 502 and 504. A 401 is answered once with a fresh
/// token. A call of the public host of Teams for a tenant of the GCC (403 `InvalidBotApiHost`) goes once more to the
/// GCC's host, in the clouds whose host that is.
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
///
/// Text is no service URL, wherever it came from:
///
/// ```compile_fail,E0308
/// # use botframework_activity::{Activity, ConnectorClient};
/// async fn leak(connector: &ConnectorClient, incoming: &Activity) {
///     let url = incoming.service_url.as_deref().unwrap_or_default();
///     let _ = connector.reply(url, &Activity::message("Done.").reply_to(incoming)).await;
/// }
/// ```
///
/// ```compile_fail,E0308
/// # use botframework_activity::{Activity, ConnectorClient};
/// async fn leak(connector: &ConnectorClient, incoming: &Activity) {
///     let url = incoming.service_url.clone().unwrap_or_default();
///     let _ = connector.send(&url, &Activity::message("Done.")).await;
/// }
/// ```
///
/// ```
/// # use botframework_activity::{Activity, ConnectorClient, VerifiedActivity};
/// async fn safe(connector: &ConnectorClient, incoming: &VerifiedActivity) {
///     let url = incoming.service_url().clone();
///     let _ = connector.send(&url, &Activity::message("Done.")).await;
/// }
/// ```
#[derive(Clone)]
pub struct ConnectorClient(pub(super) Arc<Settings>);

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
    max_message: usize,
    max_download: usize,
    rates: ConversationRates,
    agent: Option<AgentIdentity>,
    download_hosts: Vec<String>,
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
            max_message: 100 * 1024,
            max_download: 20 << 20,
            rates: ConversationRates::default(),
            agent: None,
            download_hosts: Vec::new(),
        }
    }

    /// Sends an activity to the end of its conversation.
    ///
    /// # Errors
    ///
    /// [`SendErrorKind::Invalid`] without a conversation id; [`SendErrorKind::TooLarge`], without having sent anything,
    /// when the activity is larger than [`ConnectorClientBuilder::max_message`]; any other kind as the service answers.
    /// [`SendError::delivery`] says whether the message may be there.
    pub async fn send(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let uri = activities(service_url, activity.conversation_id(), None)?;
        let body = self.encode(activity)?;
        self.request(service_url, &SEND, uri).of(activity.conversation_id()).body(body).run().await
    }

    /// Sends an activity as the answer to the one it names in `replyToId`: in the same thread, where the channel has
    /// threads.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; also [`SendErrorKind::Invalid`] without `replyToId`.
    pub async fn reply(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let id = activity.reply_to_id.as_deref().ok_or_else(SendError::invalid)?;
        let uri = activities(service_url, activity.conversation_id(), Some(id))?;
        let body = self.encode(activity)?;
        self.request(service_url, &REPLY, uri).of(activity.conversation_id()).body(body).run().await
    }

    /// Replaces the activity with the id that `activity` has; see [`Activity::with_id`].
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; also [`SendErrorKind::Invalid`] without an id. Repeating it does no harm.
    pub async fn update(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let id = activity.id.as_deref().ok_or_else(SendError::invalid)?;
        let uri = activities(service_url, activity.conversation_id(), Some(id))?;
        let body = self.encode(activity)?;
        self.request(service_url, &UPDATE, uri).of(activity.conversation_id()).body(body).run().await
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
        let uri = activities(service_url, Some(conversation_id), Some(activity_id))?;
        let call = self.request(service_url, &DELETE, uri).of(Some(conversation_id));
        call.run::<Sent>().await.map(drop)
    }

    /// Shows the typing indicator to whoever sent `incoming`.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. A failure is seldom worth more than a line in the log.
    pub async fn typing(&self, service_url: &ServiceUrl, incoming: &Activity) -> Result<(), SendError> {
        self.send(service_url, &Activity::typing().reply_to(incoming)).await.map(drop)
    }

    /// A request for one operation.
    pub(super) fn request<'a>(
        &'a self,
        service_url: &'a ServiceUrl,
        operation: &'static Operation,
        uri: Uri,
    ) -> Asking<'a> {
        Asking {
            call: Call {
                settings: &self.0,
                operation,
                service_url,
                accept: "application/json",
                max_answer: self.0.max_response,
                conversation: None,
                uri,
                body: Bytes::new(),
            },
        }
    }

    /// The activity as it goes out, unless it is too large.
    pub(super) fn encode(&self, activity: &Activity) -> Result<Bytes, SendError> {
        let body = activity.to_json().map_err(|error| SendError::invalid().with_source(error))?;
        if body.len() > self.0.max_message {
            return Err(SendError::new(SendErrorKind::TooLarge, Delivery::NotSent));
        }
        Ok(body.into())
    }
}

/// A request that is being put together.
pub(super) struct Asking<'a> {
    call: Call<'a>,
}

impl<'a> Asking<'a> {
    /// The conversation whose rate it counts for.
    pub(super) fn of(mut self, conversation: Option<&'a str>) -> Self {
        self.call.conversation = conversation;
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.call.body = body;
        self
    }

    /// A body of JSON.
    ///
    /// # Errors
    ///
    /// [`SendErrorKind::Invalid`] when it cannot be written.
    pub(super) fn json(self, body: &impl serde_core::Serialize) -> Result<Self, SendError> {
        // serde's message can quote the content, so it is not passed on.
        let body = serde_json::to_vec(body).map_err(|_| SendError::invalid())?;
        Ok(self.body(body.into()))
    }

    /// Any content, up to so many bytes.
    pub(super) fn bytes(mut self, most: usize) -> Self {
        self.call.accept = "*/*";
        self.call.max_answer = most;
        self
    }

    pub(super) async fn run<T: Outcome + Send>(self) -> Result<T, SendError> {
        self.call.run().await
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

    /// The largest activity that is sent, in bytes of JSON. Default 100 KiB, the documented limit of Teams; about 28 KiB
    /// are safe everywhere. What is larger fails as [`SendErrorKind::TooLarge`] without a request:
    /// [`Activity::split`] makes several messages of one.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The largest file that is fetched, in bytes. Default 20 MiB.
    #[must_use]
    pub fn max_download(mut self, bytes: usize) -> Self {
        self.max_download = bytes;
        self
    }

    /// One more host that files may be fetched from without a token: an exact name. Known already are the document
    /// stores of the cloud.
    #[must_use]
    pub fn allow_downloads_from(mut self, host: impl Into<String>) -> Self {
        self.download_hosts.push(host.into());
        self
    }

    /// Where the documented rates of Teams are kept. Default [`ConversationRates::Teams`].
    #[must_use]
    pub fn rates(mut self, rates: ConversationRates) -> Self {
        self.rates = rates;
        self
    }

    /// Acts as one agent of an agent blueprint: its headers on every request, and the scope of agents. The credential
    /// must be the agent's own. Which agent it is comes from configuration, never from an activity.
    #[must_use]
    pub fn agent(mut self, agent: AgentIdentity) -> Self {
        self.agent = Some(agent);
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
    /// When a time is zero, or a download host is no exact host name.
    pub fn build(self) -> Result<ConnectorClient, BuildError> {
        if self.deadline.is_zero() || self.attempt_timeout.is_zero() {
            return Err(BuildError::new("the deadline and the attempt time-out of the connector must be above zero"));
        }
        let scopes = match self.scopes {
            Some(scopes) => scopes,
            None => match &self.agent {
                Some(_) => self.cloud.agent_connector_scope(),
                None => self.cloud.connector_scope(),
            }
            .parse()
            .map_err(|error| BuildError::new("the connector scope is no scope").with_source(error))?,
        };
        let mut downloads = DownloadHosts::of(self.cloud);
        self.download_hosts.iter().try_for_each(|host| downloads.add(host))?;
        Ok(ConnectorClient(Arc::new(Settings {
            transport: self.transport,
            credential: self.credential,
            clock: self.clock,
            scopes,
            retry: self.retry,
            deadline: self.deadline,
            attempt_timeout: self.attempt_timeout,
            max_response: self.max_response,
            max_message: self.max_message,
            max_download: self.max_download,
            rates: Rates::new(self.rates),
            headers: self.agent.map(AgentIdentity::into_headers).unwrap_or_default(),
            downloads,
            cloud: self.cloud,
        })))
    }
}

impl fmt::Debug for ConnectorClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorClientBuilder").field("cloud", &self.cloud).finish_non_exhaustive()
    }
}

/// The address of a conversation's activities, or of one of them.
pub(super) fn activities(
    service_url: &ServiceUrl,
    conversation: Option<&str>,
    activity: Option<&str>,
) -> Result<Uri, SendError> {
    let conversation = conversation.ok_or_else(SendError::invalid)?;
    let mut segments = vec!["v3", "conversations", conversation, "activities"];
    segments.extend(activity);
    at(service_url, &segments)
}

/// The address below the service URL that these segments name.
pub(super) fn at(service_url: &ServiceUrl, segments: &[&str]) -> Result<Uri, SendError> {
    address::join(service_url, segments, &[]).ok_or_else(SendError::invalid)
}
