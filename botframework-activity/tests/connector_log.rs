//! What a call leaves in the log: names and numbers, nothing of the conversation.
#![cfg(feature = "connector")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use botframework_activity::{Activity, ChannelAccount, ConnectorClient, ConversationAccount, ServiceUrl};
use entra_auth::{Body, HttpTransport, StaticCredential, TransportError};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Writes everything down, at every level.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<String>>, Arc<AtomicU64>);

impl Paper {
    fn note(&self, name: &str, record: impl FnOnce(&mut dyn Visit)) {
        struct Line<'a>(&'a mut String);
        impl Visit for Line<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
        let mut text = self.0.lock().unwrap();
        text.push_str(name);
        record(&mut Line(&mut text));
        text.push('\n');
    }
}

impl Subscriber for Paper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("botframework_activity")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.note(attributes.metadata().name(), |line| attributes.record(line));
        span::Id::from_u64(self.1.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.note("+", |line| values.record(line));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.note("event", |line| event.record(line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Debug)]
struct Fixed(u16, &'static str);

#[async_trait::async_trait]
impl HttpTransport for Fixed {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        Ok(http::Response::builder()
            .status(self.0)
            .header("x-ms-request-id", "r-1")
            .body(Body::from(self.1.to_owned()))
            .unwrap())
    }
}

async fn log_of(status: u16, body: &'static str) -> String {
    let paper = Paper::default();
    let _on = tracing::subscriber::set_default(paper.clone());
    let credential = StaticCredential::new("marker-token").unwrap();
    let connector = ConnectorClient::builder(Arc::new(Fixed(status, body)), Arc::new(credential)).build().unwrap();
    let at = ServiceUrl::loopback_dev("http://127.0.0.1:9/emea/marker-path").unwrap();
    let mut activity = Activity::message("marker-text").with_id("marker-activity");
    activity.conversation = Some(ConversationAccount::new("marker-conversation"));
    activity.from = Some(ChannelAccount::new("marker-user").with_name("marker-name"));
    let _ = connector.update(&at, &activity).await;
    std::mem::take(&mut *paper.0.lock().unwrap())
}

#[tokio::test]
async fn a_call_leaves_names_and_numbers() {
    let log = log_of(200, r#"{"id":"marker-id"}"#).await;
    assert!(!log.contains("marker"), "{log}");
    for part in [
        "connector.request operation=\"update\" http.request.method=\"PUT\"",
        "url.template=\"/v3/conversations/{conversation}/activities/{activity}\"",
        "server.address=\"127.0.0.1\"",
        "+ attempts=1",
        "+ http.response.status_code=200",
        "event message=connector accepted request_id=\"r-1\"",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
}

#[tokio::test]
async fn a_failure_leaves_its_kind() {
    let log = log_of(403, r#"{"error":{"code":"marker-code","message":"marker-message"}}"#).await;
    assert!(!log.contains("marker"), "{log}");
    for part in [
        "+ error.type=\"Forbidden\"",
        "event message=connector call failed kind=\"Forbidden\" delivery=NotSent request_id=\"r-1\"",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
}
