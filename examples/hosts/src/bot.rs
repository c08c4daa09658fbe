//! The bot, as plain functions over headers and bytes: [`check`] before the body is read, [`answer`] after.
//!
//! Nothing here knows a web framework, and nothing is derived from the request's URL: behind a gateway that rewrites it
//! the bot is the same.

use std::{pin::pin, sync::Arc, time::Duration};

use botframework_activity::{
    Activity, ActivityType, ChannelAuthenticator, ChannelKeys, ChannelToken, ConnectorClient, DeliveryMode,
    ExpectedReplies, InboundError, InvokeResponse, ReplyEvents,
};
use bytes::Bytes;
use entra_auth::{
    Authority, BuildError, ClientId, ConfidentialClient, HttpTransport, ReqwestTransport, TenantId, TenantPolicy,
    settings::Settings,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body;

/// How long a sender may take for its body.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(10);

/// An echo bot. A clone is the same bot.
#[derive(Clone)]
pub(crate) struct Bot {
    authenticator: ChannelAuthenticator,
    connector: ConnectorClient,
    /// The path at which the bot is asked.
    pub(crate) path: Arc<str>,
}

/// The answer to a request.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// For 401.
    pub(crate) challenge: Option<HeaderValue>,
    pub(crate) body: Content,
}

/// The body of an answer.
pub(crate) enum Content {
    /// JSON, or nothing.
    Json(Bytes),
    /// Answers as they come, for a sender that asked for a stream.
    Events(ReplyEvents),
}

impl Content {
    pub(crate) const fn media_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Events(_) => ReplyEvents::CONTENT_TYPE,
        }
    }

    /// All of it, for a host that answers at once.
    pub(crate) async fn bytes(self) -> Bytes {
        match self {
            Self::Json(bytes) => bytes,
            Self::Events(mut events) => {
                let mut bytes = Vec::new();
                while let Some(event) = events.next().await {
                    bytes.extend_from_slice(&event);
                }
                bytes.into()
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(json: T) -> Self {
        Self::Json(json.into())
    }
}

impl Bot {
    /// Reads the environment; says everything that is wrong with it.
    pub(crate) fn from_env() -> Result<Self, String> {
        let mut settings = Settings::from_env();
        let tenant = settings.required::<TenantId>("AZURE_TENANT_ID");
        let app = settings.required::<ClientId>("BOT_APP_ID");
        let secret = settings.required_secret("BOT_APP_PASSWORD");
        let authority = settings.parsed("AZURE_AUTHORITY_HOST", Authority::default());
        let metadata = settings.optional::<String>("BOT_OPENID_METADATA_URL");
        let hosts = settings.parsed("BOT_CONNECTOR_HOSTS", String::new());
        let allowed = settings.parsed("ALLOWED_TENANT_IDS", String::new());
        let base = settings.parsed("BASE_PATH", String::new());
        let build = settings.finish(|| {
            let (tenant, app, secret, authority) = (tenant?, app?, secret?, authority?);
            let (metadata, hosts, allowed, base) = (metadata?, hosts?, allowed?, base?);
            Some(move || -> Result<Self, BuildError> {
                let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
                let named: Vec<TenantId> = allowed.split(',').filter_map(|id| id.trim().parse().ok()).collect();
                let tenants =
                    if named.is_empty() { TenantPolicy::Single(tenant.clone()) } else { TenantPolicy::allow(named) };
                let keys = ChannelKeys::fetched(Arc::clone(&transport));
                let mut authenticator = ChannelAuthenticator::builder(app.clone(), tenants, keys);
                if let Some(url) = metadata.and_then(|url| url.parse().ok()) {
                    authenticator = authenticator.metadata_url(url);
                }
                for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
                    authenticator = authenticator.connector_host(host);
                }
                let credential = ConfidentialClient::builder(tenant, app, secret)
                    .authority(authority)
                    .transport(Arc::clone(&transport))
                    .build()?;
                let connector = ConnectorClient::builder(transport, Arc::new(credential)).build()?;
                let path = format!("{}/api/messages", base.trim_end_matches('/')).into();
                Ok(Self { authenticator: authenticator.build()?, connector, path })
            })
        });
        build.map_err(|problems| problems.to_string())?().map_err(|error| error.to_string())
    }
}

/// Who asks? Needs no body: whoever is refused here has cost nothing.
pub(crate) async fn check(bot: &Bot, headers: &HeaderMap) -> Result<ChannelToken, Answer> {
    let token = bot.authenticator.authenticate(headers).await.map_err(|error| refusal(&error))?;
    token.check_content(headers).map_err(|error| refusal(&error))?;
    Ok(token)
}

/// The body, or as much of it as shows that it is too large. None when it breaks off.
///
/// Each piece is copied out at once: it is a part of a buffer of the connection, which would stay as long as the piece,
/// and a client that sends single bytes would make the host keep thousands for each.
pub(crate) async fn read(body: impl Body<Data = Bytes>, limit: usize) -> Option<Vec<u8>> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while bytes.len() <= limit {
        let Some(frame) = body.frame().await else { break };
        if let Ok(piece) = frame.ok()?.into_data() {
            bytes.extend_from_slice(&piece);
        }
    }
    Some(bytes)
}

/// What do they want? At most [`ChannelToken::body_limit`] bytes and one more are worth reading.
pub(crate) async fn answer(bot: &Bot, token: &ChannelToken, body: &[u8]) -> Answer {
    let activity = match token.open(body) {
        Ok(activity) => activity,
        Err(error) => return refusal(&error),
    };
    let streams = activity.delivery_mode == Some(DeliveryMode::STREAM);
    if activity.kind == ActivityType::INVOKE {
        return match ReplyEvents::of_invoke(&InvokeResponse::not_implemented()) {
            Ok(events) if streams => Answer { body: Content::Events(events), ..status(StatusCode::OK) },
            _ => status(StatusCode::NOT_IMPLEMENTED),
        };
    }
    if activity.kind != ActivityType::MESSAGE {
        return status(StatusCode::OK);
    }
    let echo = Activity::message(format!("You said: {}", activity.text_without_mentions().trim())).reply_to(&activity);
    if activity.delivery_mode == Some(DeliveryMode::EXPECT_REPLIES) {
        let mut replies = ExpectedReplies::default();
        replies.activities.push(echo);
        return Answer { body: serde_json::to_vec(&replies).unwrap_or_default().into(), ..status(StatusCode::OK) };
    }
    if streams {
        let (replies, events) = ReplyEvents::channel();
        // There is room for some events before anybody reads.
        let _ = replies.send(&echo).await;
        return Answer { body: Content::Events(events), ..status(StatusCode::OK) };
    }
    match bot.connector.reply(activity.service_url(), &echo).await {
        Ok(_) => status(StatusCode::OK),
        // The channel sends it again, which would be a second answer after an unknown outcome.
        Err(error) if error.is_retryable() => status(StatusCode::SERVICE_UNAVAILABLE),
        Err(_) => status(StatusCode::OK),
    }
}

/// 413, for what is too large to be read.
pub(crate) fn too_large() -> Answer {
    status(StatusCode::PAYLOAD_TOO_LARGE)
}

/// 408, for a sender that is too slow.
pub(crate) fn too_slow() -> Answer {
    status(StatusCode::REQUEST_TIMEOUT)
}

pub(crate) const fn status(status: StatusCode) -> Answer {
    Answer { status, challenge: None, body: Content::Json(Bytes::new()) }
}

fn refusal(error: &InboundError) -> Answer {
    Answer { challenge: error.www_authenticate(), ..status(error.status()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    /// A byte, and the buffer of the connection that it keeps.
    struct Piece(Arc<[u8; 1]>);

    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }

    #[tokio::test]
    async fn no_piece_outlives_the_next() {
        let buffers = Arc::new(*b"x");
        let pieces = stream::iter(0..1000).map(|_| {
            assert_eq!(Arc::strong_count(&buffers), 1, "the piece before is still there");
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_owner(Piece(Arc::clone(&buffers)))))
        });
        assert_eq!(read(StreamBody::new(pieces), 1000).await.unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn reading_ends_where_it_is_too_much_and_where_it_breaks() {
        let endless = || stream::repeat_with(|| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"ab"))));
        assert_eq!(read(StreamBody::new(endless()), 5).await.unwrap(), b"ababab");
        let broken = endless().take(1).chain(stream::once(async { Err(std::io::Error::other("gone")) }));
        assert!(read(StreamBody::new(broken), 5).await.is_none());
    }
}
