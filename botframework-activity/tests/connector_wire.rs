//! What the connector client puts on the wire, and how it takes a hostile one.
#![cfg(feature = "connector")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{sync::Arc, time::Duration};

use botframework_activity::{
    Activity, ChannelAccount, ConnectorClient, ConversationAccount, Delivery, SendErrorKind, ServiceUrl,
};
use entra_auth::{ReqwestTransport, StaticCredential};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

fn connector() -> ConnectorClient {
    ConnectorClient::builder(
        Arc::new(ReqwestTransport::new().unwrap()),
        Arc::new(StaticCredential::new("marker-token").unwrap()),
    )
    .attempt_timeout(Duration::from_millis(700))
    .deadline(Duration::from_secs(5))
    .build()
    .unwrap()
}

fn incoming() -> Activity {
    let mut activity = Activity::message("hi").with_id("1700/0001").with_locale("de-DE");
    activity.from = Some(ChannelAccount::new("29:u").with_name("User"));
    activity.recipient = Some(ChannelAccount::new("28:b").with_name("Bot"));
    activity.conversation = Some(ConversationAccount::new("19:c@thread.tacv2;messageid=17"));
    activity.channel_id = Some("msteams".into());
    activity.service_url = Some("https://smba.trafficmanager.net/emea/".into());
    activity
}

async fn server(response: ResponseTemplate) -> (MockServer, ServiceUrl) {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    let url = ServiceUrl::loopback_dev(&format!("{}/emea/tenant-1/", server.uri())).unwrap();
    (server, url)
}

async fn only_request(server: &MockServer) -> Request {
    let mut requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

const CONVERSATION: &str = "/emea/tenant-1/v3/conversations/19%3Ac%40thread.tacv2%3Bmessageid%3D17/activities";

fn mirrored(text: &str) -> Value {
    json!({
        "type": "message",
        "text": text,
        "channelId": "msteams",
        "serviceUrl": "https://smba.trafficmanager.net/emea/",
        "from": {"id": "28:b", "name": "Bot"},
        "recipient": {"id": "29:u", "name": "User"},
        "conversation": {"id": "19:c@thread.tacv2;messageid=17"},
        "replyToId": "1700/0001",
        "locale": "de-DE"
    })
}

#[tokio::test]
async fn a_reply_field_by_field() {
    let (server, at) =
        server(ResponseTemplate::new(201).set_body_json(json!({"id": "m-1"})).insert_header("x-ms-request-id", "r-1"))
            .await;
    let sent = connector().reply(&at, &Activity::message("grün").reply_to(&incoming())).await.unwrap();
    assert_eq!((sent.id(), sent.request_id(), sent.is_dropped()), (Some("m-1"), Some("r-1"), false));
    let request = only_request(&server).await;
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(request.url.path(), format!("{CONVERSATION}/1700%2F0001"));
    assert_eq!(request.url.query(), None);
    assert_eq!(header(&request, "authorization"), Some("Bearer marker-token"));
    assert_eq!(header(&request, "content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(header(&request, "accept"), Some("application/json"));
    assert_eq!(header(&request, "user-agent"), Some(concat!("botframework-activity/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(header(&request, "content-length"), Some(request.body.len().to_string().as_str()));
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), mirrored("grün"));
}

#[tokio::test]
async fn a_send_goes_to_the_conversation_and_teams_may_answer_without_a_body() {
    let (server, at) = server(ResponseTemplate::new(202)).await;
    let sent = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap();
    assert_eq!(sent.id(), None);
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", CONVERSATION));
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), mirrored("x"));
}

#[tokio::test]
async fn an_update_puts_the_new_content_at_the_id() {
    let (server, at) = server(ResponseTemplate::new(200).set_body_json(json!({"id": "m-1"}))).await;
    let activity = Activity::message("done").reply_to(&incoming()).with_id("m-1");
    connector().update(&at, &activity).await.unwrap();
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("PUT", format!("{CONVERSATION}/m-1").as_str()));
    let mut expected = mirrored("done");
    expected["id"] = "m-1".into();
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);
}

#[tokio::test]
async fn a_delete_has_no_body() {
    let (server, at) = server(ResponseTemplate::new(200)).await;
    connector().delete(&at, "a:1", "m-1").await.unwrap();
    let request = only_request(&server).await;
    assert_eq!(request.method.as_str(), "DELETE");
    assert_eq!(request.url.path(), "/emea/tenant-1/v3/conversations/a%3A1/activities/m-1");
    assert_eq!(header(&request, "authorization"), Some("Bearer marker-token"));
    assert_eq!(header(&request, "content-type"), None);
    assert!(request.body.is_empty());
}

#[tokio::test]
async fn typing_is_mirrored_too() {
    let (server, at) = server(ResponseTemplate::new(200)).await;
    connector().typing(&at, &incoming()).await.unwrap();
    let request = only_request(&server).await;
    let mut expected = mirrored("");
    expected["type"] = "typing".into();
    expected.as_object_mut().unwrap().remove("text");
    assert_eq!(request.url.path(), CONVERSATION);
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, _) = server(ResponseTemplate::new(200)).await;
    for status in [301, 302, 303, 307, 308] {
        let template = ResponseTemplate::new(status).insert_header("location", elsewhere.uri());
        let (server, at) = server(template).await;
        let error = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (SendErrorKind::Protocol, Some(status)));
        assert_eq!(error.delivery(), Delivery::NotSent);
        only_request(&server).await;
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_page_of_a_proxy_is_no_answer() {
    let page = "<html><body>marker-page</body></html>";
    for (status, kind) in
        [(200, SendErrorKind::Protocol), (502, SendErrorKind::Service), (403, SendErrorKind::Forbidden)]
    {
        let (server, at) = server(ResponseTemplate::new(status).set_body_raw(page, "text/html")).await;
        let error = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (kind, None));
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        only_request(&server).await;
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let (_server, at) = server(ResponseTemplate::new(201).set_body_bytes(vec![b' '; 100_000])).await;
    let connector = ConnectorClient::builder(
        Arc::new(ReqwestTransport::new().unwrap()),
        Arc::new(StaticCredential::new("t").unwrap()),
    )
    .max_response(10_000)
    .build()
    .unwrap();
    let error = connector.send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Protocol, Delivery::Ambiguous));
}

#[tokio::test]
async fn a_refused_token_is_not_sent_a_second_time() {
    let (server, at) = server(ResponseTemplate::new(401)).await;
    let error = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Unauthorized, Delivery::NotSent));
    assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    only_request(&server).await;
}

/// Accepts connections, reads the request head, writes `answer`, then closes (or holds on when it is `None`).
async fn raw_server(answer: Option<&'static str>) -> (ServiceUrl, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = ServiceUrl::loopback_dev(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                let mut length = 0;
                while !buffer[..length].windows(4).any(|four| four == b"\r\n\r\n") {
                    match socket.read(&mut buffer[length..]).await {
                        Ok(n) if n > 0 => length += n,
                        _ => return,
                    }
                }
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                match answer {
                    Some(answer) => {
                        socket.write_all(answer.as_bytes()).await.unwrap();
                        socket.shutdown().await.unwrap();
                    }
                    None => std::future::pending().await,
                }
            });
        }
    });
    (at, count)
}

async fn ambiguous_once(answer: Option<&'static str>, kind: SendErrorKind) {
    let (at, count) = raw_server(answer).await;
    let error = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Ambiguous), "{error}");
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_hanging_service_is_left_at_the_deadline() {
    ambiguous_once(None, SendErrorKind::Timeout).await;
}

#[tokio::test]
async fn a_cut_answer_is_ambiguous() {
    let cut = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\":";
    ambiguous_once(Some(cut), SendErrorKind::Interrupted).await;
    ambiguous_once(Some("HTTP/1.1 2"), SendErrorKind::Interrupted).await;
    ambiguous_once(Some(""), SendErrorKind::Interrupted).await;
    ambiguous_once(Some("\u{0}\u{1}garbage\r\n\r\n"), SendErrorKind::Interrupted).await;
}

#[tokio::test]
async fn nobody_listening_means_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = ServiceUrl::loopback_dev(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = connector().send(&at, &Activity::message("x").reply_to(&incoming())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Unreachable, Delivery::NotSent));
    assert!(error.is_retryable());
}
