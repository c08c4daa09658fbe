//! A connector that remembers what it was sent, and activities to answer.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use botframework_activity::{
    Activity, ChannelAuthenticator, ConnectorClient, MemoryTurnQueue, Notice, TurnRunner, TurnRunnerBuilder,
    VerifiedActivity,
};
use entra_auth::{Body, HttpTransport, StaticCredential, TenantPolicy, TransportError, TransportErrorKind};
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::inbound_support::{activity, bearer, builder, good_token};

/// One request to the connector.
#[derive(Clone, Debug)]
pub struct Call {
    /// Seconds since the channel was made.
    pub at: f64,
    pub method: Method,
    pub path: String,
    pub body: Value,
}

impl Call {
    pub fn text(&self) -> &str {
        self.body["text"].as_str().unwrap_or_default()
    }
}

/// What happens to a request instead of success.
#[derive(Clone, Copy, Debug)]
pub enum Mishap {
    Status(u16),
    /// 403 `ContentStreamNotAllowed` with this message.
    Stream(&'static str),
    /// 201 without a body.
    NoId,
    NotSent,
    Interrupted,
    /// Takes that many seconds, then succeeds.
    Slow(u64),
}

#[derive(Debug)]
pub struct Channel {
    started: Instant,
    calls: Mutex<Vec<Call>>,
    mishaps: Mutex<VecDeque<(Method, Mishap)>>,
}

impl Channel {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), calls: Mutex::default(), mishaps: Mutex::default() })
    }

    /// The next request of that method goes wrong.
    pub fn mishap(&self, method: Method, mishap: Mishap) {
        self.mishaps.lock().unwrap().push_back((method, mishap));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Method and text of every request, in order.
    pub fn story(&self) -> Vec<String> {
        self.calls().iter().map(|call| format!("{} {}", call.method, call.text())).collect()
    }

    pub fn connector(self: &Arc<Self>) -> ConnectorClient {
        let credential = StaticCredential::new("token").unwrap();
        ConnectorClient::builder(Arc::clone(self) as Arc<dyn HttpTransport>, Arc::new(credential)).build().unwrap()
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

#[async_trait]
impl HttpTransport for Channel {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let (parts, body) = request.into_parts();
        let body = body.collect(1 << 20).await.unwrap();
        let mishap = {
            let mut mishaps = self.mishaps.lock().unwrap();
            let at = mishaps.iter().position(|(method, _)| *method == parts.method);
            at.and_then(|at| mishaps.remove(at)).map(|(_, mishap)| mishap)
        };
        if matches!(mishap, Some(Mishap::NotSent)) {
            return Err(TransportErrorKind::NotSent.into());
        }
        let id = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Call {
                at: self.started.elapsed().as_secs_f64(),
                method: parts.method.clone(),
                path: parts.uri.path().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            });
            format!("sent-{}", calls.len())
        };
        let answer = |status: u16, body: Value| {
            Ok(http::Response::builder().status(status).body(Body::from(body.to_string())).unwrap())
        };
        match mishap {
            Some(Mishap::Status(status)) => answer(status, json!({ "error": { "code": "ServiceError" } })),
            Some(Mishap::Stream(message)) => {
                answer(403, json!({ "error": { "code": "ContentStreamNotAllowed", "message": message } }))
            }
            Some(Mishap::Interrupted) => Err(TransportErrorKind::Interrupted.into()),
            Some(Mishap::NoId) => Ok(http::Response::builder().status(201).body(Body::empty()).unwrap()),
            Some(Mishap::Slow(seconds)) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                answer(201, json!({ "id": id }))
            }
            Some(Mishap::NotSent) | None => answer(201, json!({ "id": id })),
        }
    }
}

static TOKEN: LazyLock<String> = LazyLock::new(|| good_token(json!({})));

pub fn authenticator() -> ChannelAuthenticator {
    builder(TenantPolicy::Any).build().unwrap()
}

/// A message of a conversation.
pub async fn message(conversation: &str, id: &str, text: &str) -> VerifiedActivity {
    changed(conversation, id, text, json!({})).await
}

pub async fn changed(conversation: &str, id: &str, text: &str, change: Value) -> VerifiedActivity {
    let mut body = activity();
    body["conversation"]["id"] = json!(conversation);
    body["id"] = json!(id);
    body["text"] = json!(text);
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    let token = authenticator().authenticate(&bearer(&TOKEN)).await.unwrap();
    token.open(body.to_string().as_bytes()).unwrap()
}

/// A voice that says the name of the notice.
pub fn voice(notice: Notice<'_>, _: &VerifiedActivity) -> Option<Activity> {
    Some(Activity::message(format!("[{}]", notice.as_str())))
}

pub fn in_memory(channel: &Arc<Channel>) -> TurnRunnerBuilder {
    in_memory_over(&MemoryTurnQueue::default(), channel)
}

pub fn in_memory_over(queue: &MemoryTurnQueue, channel: &Arc<Channel>) -> TurnRunnerBuilder {
    TurnRunner::in_memory(queue.clone(), authenticator().policy().clone(), channel.connector())
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
