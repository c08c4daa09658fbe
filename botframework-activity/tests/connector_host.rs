//! 403 `InvalidBotApiHost`: a call goes once to the GCC's host, and the token to no host that is not the cloud's. No
//! network.
#![cfg(feature = "connector")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use botframework_activity::{
    Activity, ChannelCloud, ConnectorClient, ConversationAccount, SendAdvice, SendErrorKind, ServiceUrl,
};
use entra_auth::{Body, HttpTransport, StaticCredential, TransportError};
use http::{Request, Response, header};

const WRONG: (u16, &str) = (403, r#"{"error":{"code":"InvalidBotApiHost","message":"Call https://evil.example/"}}"#);
const GOOD: (u16, &str) = (201, r#"{"id":"m-1"}"#);
const PUBLIC: &str = "https://smba.trafficmanager.net/teams/v3/conversations/19%3Aa/activities";
const GCC: &str = "https://smba.infra.gcc.teams.microsoft.com/teams/v3/conversations/19%3Aa/activities";

/// Answers what it was told to, and remembers who was asked, with which token.
#[derive(Clone, Debug, Default)]
struct Service {
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    seen: Arc<Mutex<Vec<(String, bool)>>>,
}

#[async_trait::async_trait]
impl HttpTransport for Service {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let token = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer bot-token");
        self.seen.lock().unwrap().push((request.uri().to_string(), token));
        let (status, body) = self.answers.lock().unwrap().pop_front().expect("no further request was expected");
        Ok(Response::builder().status(status).body(Body::from(body.to_owned())).unwrap())
    }
}

impl Service {
    fn new(answers: impl IntoIterator<Item = (u16, &'static str)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn client(&self, cloud: ChannelCloud) -> ConnectorClient {
        let credential = StaticCredential::new("bot-token").unwrap();
        ConnectorClient::builder(Arc::new(self.clone()), Arc::new(credential)).cloud(cloud).build().unwrap()
    }

    /// Every request that came, all with the bot's token.
    fn asked(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        assert!(seen.iter().all(|(_, token)| *token));
        seen.iter().map(|(uri, _)| uri.clone()).collect()
    }
}

fn message() -> Activity {
    let mut message = Activity::message("hi");
    let mut conversation = ConversationAccount::default();
    conversation.id = Some("19:a".into());
    message.conversation = Some(conversation);
    message
}

fn teams() -> ServiceUrl {
    ServiceUrl::configured(ChannelCloud::Public).unwrap()
}

#[tokio::test]
async fn a_call_moves_once_to_the_gcc_and_keeps_its_path() {
    for cloud in [ChannelCloud::Public, ChannelCloud::Gcc] {
        let service = Service::new([WRONG, GOOD]);
        let sent = service.client(cloud).send(&teams(), &message()).await.unwrap();
        assert_eq!(sent.id(), Some("m-1"));
        assert_eq!(service.asked(), [PUBLIC, GCC]);
    }
    // Reads move as sends do.
    let service = Service::new([WRONG, (200, r#"{"id":"29:u"}"#)]);
    let member = service.client(ChannelCloud::Public).member(&teams(), "19:a", "29:u").await.unwrap();
    assert_eq!(member.id.as_deref(), Some("29:u"));
    assert!(service.asked()[1].starts_with("https://smba.infra.gcc.teams.microsoft.com/teams/v3/"));
}

#[tokio::test]
async fn a_second_refusal_is_the_answer() {
    let service = Service::new([WRONG, WRONG]);
    let error = service.client(ChannelCloud::Public).send(&teams(), &message()).await.unwrap_err();
    assert_eq!((error.kind(), error.advice()), (SendErrorKind::WrongHost, SendAdvice::SwitchHost));
    assert_eq!(service.asked(), [PUBLIC, GCC]);
    // The GCC's host itself has nowhere to move to, and the other clouds have no such host.
    let gcc = ServiceUrl::configured(ChannelCloud::Gcc).unwrap();
    for (cloud, url) in [
        (ChannelCloud::Gcc, gcc),
        (ChannelCloud::GccHigh, teams()),
        (ChannelCloud::Dod, teams()),
        (ChannelCloud::China, teams()),
        (ChannelCloud::Public, ServiceUrl::loopback_dev("http://127.0.0.1:3978/_connector").unwrap()),
    ] {
        let service = Service::new([WRONG]);
        let error = service.client(cloud).send(&url, &message()).await.unwrap_err();
        assert_eq!(error.kind(), SendErrorKind::WrongHost, "{cloud:?}");
        assert_eq!(service.asked().len(), 1, "{cloud:?}");
        assert!(service.asked()[0].starts_with(url.as_str()), "{cloud:?}");
    }
}

#[tokio::test]
async fn other_refusals_move_nothing() {
    for body in [
        r#"{"error":{"code":"BotNotInConversationRoster","message":"InvalidBotApiHost"}}"#,
        r#"{"error":{"code":"Forbidden"}}"#,
        "InvalidBotApiHost",
    ] {
        let service = Service::new([(403, body)]);
        service.client(ChannelCloud::Public).send(&teams(), &message()).await.unwrap_err();
        assert_eq!(service.asked(), [PUBLIC], "{body}");
    }
}
