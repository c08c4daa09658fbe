//! The extractors over a socket.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::time::Duration;

use axum::{Router, extract::FromRef, routing::post};
use botframework_activity::{CallerAuthenticator, ChannelAuthenticator, InboundRequest, VerifiedActivity};
use entra_auth::TenantPolicy;
use inbound_support::{activity, builder, good_token};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone)]
struct State(CallerAuthenticator);

impl FromRef<State> for CallerAuthenticator {
    fn from_ref(state: &State) -> Self {
        state.0.clone()
    }
}

impl FromRef<State> for ChannelAuthenticator {
    fn from_ref(state: &State) -> Self {
        state.0.channel().clone()
    }
}

async fn serve() -> std::net::SocketAddr {
    async fn channel(activity: VerifiedActivity) -> String {
        activity.prompt_text().into_owned()
    }
    async fn callers(request: InboundRequest) -> &'static str {
        if matches!(request, InboundRequest::Verified(_)) { "verified" } else { "agent" }
    }
    let channel_part = builder(TenantPolicy::Any).build().unwrap();
    let state = State(CallerAuthenticator::builder(channel_part).build().unwrap());
    let app = Router::new().route("/bots/a/messages", post(channel)).route("/callers", post(callers)).with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends a request and returns the whole answer.
async fn send(address: std::net::SocketAddr, path: &str, token: &str, headers: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: rewritten.example\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Authorization: Bearer {token}\r\n{headers}\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn good_requests_reach_the_handler_and_others_learn_only_that() {
    let address = serve().await;
    let body = activity().to_string();
    let good = good_token(json!({}));
    let length = format!("Content-Length: {}\r\n", body.len());
    let answer = send(address, "/bots/a/messages?x=1", &good, &length, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    let answer = send(address, "/callers", &good, &length, body.as_bytes()).await;
    assert!(answer.ends_with("verified"), "{answer}");

    for (token, headers, body, status) in [
        ("no.good.token", length.as_str(), body.as_bytes(), "401"),
        ("no.good.token", "Content-Length: 99999999\r\n", &b""[..], "401"),
        (&good, "Content-Length: 99999999\r\n", &b""[..], "413"),
        (&good, &format!("Content-Encoding: gzip\r\n{length}"), body.as_bytes(), "415"),
        (&good, "Content-Length: 1\r\n", b"{", "400"),
        (
            &good_token(json!({ "serviceurl": "https://smba.trafficmanager.net/emea/" })),
            &length,
            body.as_bytes(),
            "403",
        ),
    ] {
        let answer = send(address, "/bots/a/messages", token, headers, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        assert_eq!(answer.to_lowercase().contains("www-authenticate"), matches!(status, "401" | "403"), "{answer}");
    }
}

/// A body without a declared length is cut off at the limit.
#[tokio::test]
async fn a_long_chunked_body_is_413() {
    let address = serve().await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let body = chunk.repeat(8) + "0\r\n\r\n";
    let good = good_token(json!({}));
    let answer = send(address, "/bots/a/messages", &good, "Transfer-Encoding: chunked\r\n", body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// A body that never comes does not hold the connection for ever.
#[tokio::test]
async fn a_slow_body_is_408() {
    let address = serve().await;
    let started = std::time::Instant::now();
    let good = good_token(json!({}));
    let answer = send(address, "/bots/a/messages", &good, "Content-Length: 100\r\n", b"{").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(29));
}

/// Answers that stream are a response of axum as they are.
#[cfg(feature = "connector")]
#[tokio::test]
async fn events_are_a_response() {
    use axum::response::IntoResponse;
    use botframework_activity::{Activity, ReplyEvents};

    let (replies, events) = ReplyEvents::channel();
    let response = events.into_response();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = tokio::spawn(axum::body::to_bytes(response.into_body(), 1 << 20));
    replies.send(&Activity::message("one")).await.unwrap();
    replies.send(&Activity::message("two")).await.unwrap();
    drop(replies);
    let body = String::from_utf8(body.await.unwrap().unwrap().to_vec()).unwrap();
    let texts: Vec<_> = body
        .split_terminator("\r\n\r\n")
        .map(|event| event.strip_prefix("event: activity\r\ndata: ").unwrap())
        .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap()["text"].clone())
        .collect();
    assert_eq!(texts, ["one", "two"]);
}
