//! Requests that are not the channel's, and requests that are no use.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use m365_sandbox::{
    Sandbox, Signer,
    constants::{BOT_APP_ID, HOME_TENANT, USER_ONE},
};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use support::{Broker, TOKENS};

fn activity(service_url: &str) -> Value {
    json!({
        "type": "message", "id": "1", "channelId": "msteams", "serviceUrl": service_url, "text": "hi",
        "from": {"id": USER_ONE.mri, "aadObjectId": USER_ONE.oid}, "recipient": {"id": format!("28:{BOT_APP_ID}")},
        "conversation": {"id": "a:1", "tenantId": HOME_TENANT}, "channelData": {"tenant": {"id": HOME_TENANT}},
    })
}

#[allow(clippy::disallowed_methods)] // a test that plays the channel
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

async fn post(url: &str, token: Option<&str>, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let mut request = Client::new().post(url).header("content-type", content_type).body(body.into());
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.send().await.unwrap()
}

async fn assert_silent(response: Response, status: u16, why: &str) {
    assert_eq!(response.status(), status, "{why}");
    if status == 401 || status == 403 {
        let challenge = response.headers().get("www-authenticate").unwrap_or_else(|| panic!("{why}: no challenge"));
        assert!(challenge.to_str().unwrap().starts_with("Bearer"), "{why}");
    }
    assert_eq!(response.text().await.unwrap(), "", "{why}: no detail for the caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_requests_cost_nothing_upstream() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let url = sandbox.service_url(HOME_TENANT);
    let body = activity(&url).to_string();
    let good = sandbox.channel_token(BOT_APP_ID, &url);
    let now = unix_now();
    let claims = |changes: Value| {
        let mut claims = json!({
            "iss": "https://api.botframework.com", "aud": BOT_APP_ID, "serviceurl": url, "nbf": now - 60, "exp": now + 3600,
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        sandbox.sign(Signer::Channel, &json!({}), &claims)
    };
    let mut tampered = good.clone();
    tampered.replace_range(tampered.len() - 6.., "AAAAAA");
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    let cases = [
        ("no token", None, 401),
        ("empty", Some(String::new()), 401),
        ("garbage", Some("a.b.c".to_owned()), 401),
        ("tampered", Some(tampered), 401),
        ("unsigned", Some(unsigned), 401),
        ("expired", Some(claims(json!({"nbf": now - 7200, "exp": now - 3600}))), 401),
        ("not yet", Some(claims(json!({"nbf": now + 3600, "exp": now + 7200}))), 401),
        ("wrong audience", Some(claims(json!({"aud": "00000000-0000-0000-0000-000000000001"}))), 401),
        ("wrong issuer", Some(claims(json!({"iss": "https://evil.example"}))), 401),
        ("user token", Some(sandbox.sso_token(&USER_ONE)), 401),
        ("other service URL", Some(sandbox.channel_token(BOT_APP_ID, "https://smba.trafficmanager.net/amer/")), 403),
        ("evil service URL", Some(sandbox.channel_token(BOT_APP_ID, "https://evil.example/")), 403),
    ];
    for (why, token, status) in &cases {
        let response = post(&broker.url, token.as_deref(), "application/json", body.clone()).await;
        assert_silent(response, *status, why).await;
    }
    // A large body of a stranger is a stranger's: 401, not 413.
    let large = vec![b' '; 1 << 20];
    assert_silent(post(&broker.url, None, "application/json", large).await, 401, "unsigned and large").await;
    assert_eq!(sandbox.requests(TOKENS), 0);
    assert_eq!(sandbox.requests("/foundry/**"), 0);
    assert_eq!(sandbox.requests("/connector/**"), 0);
    // The same request with a good token is taken.
    assert_eq!(post(&broker.url, Some(&good), "application/json", body).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn useless_bodies_are_refused_after_the_token() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let mut broker = Broker::serve(&sandbox, &[], &[]).await;
    let url = sandbox.service_url(HOME_TENANT);
    let token = sandbox.channel_token(BOT_APP_ID, &url);
    let mut large = activity(&url);
    large["text"] = "x".repeat(300 << 10).into();
    let mut deep = activity(&url).to_string();
    deep.insert_str(1, &format!(r#""value":{}{},"#, "[".repeat(1000), "]".repeat(1000)));
    let mut twice = activity(&url).to_string();
    twice.insert_str(1, r#""serviceUrl":"https://evil.example/","#);
    for (why, content_type, body, status) in [
        ("no JSON", "application/json", "{".to_owned(), 400),
        ("empty", "application/json", String::new(), 400),
        ("an array", "application/json", "[]".to_owned(), 400),
        ("nul bytes", "application/json", "\0\0\0".to_owned(), 400),
        ("a member twice", "application/json", twice, 400),
        ("too deep", "application/json", deep, 400),
        ("text", "text/plain", activity(&url).to_string(), 415),
        ("a form", "application/x-www-form-urlencoded", "a=b".to_owned(), 415),
        ("too large", "application/json", large.to_string(), 413),
        ("another service URL", "application/json", activity("https://smba.trafficmanager.net/amer/").to_string(), 403),
    ] {
        assert_silent(post(&broker.url, Some(&token), content_type, body).await, status, why).await;
    }
    assert_eq!(sandbox.requests("/foundry/**"), 0);
    assert!(broker.is_alive() && !broker.log().contains("panicked"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_and_no_more() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let base = broker.url.trim_end_matches("/api/messages").to_owned();
    for (method, path, status) in [
        (Method::GET, "/healthz", 200),
        (Method::POST, "/healthz", 405),
        (Method::GET, "/api/messages", 405),
        (Method::PUT, "/api/messages", 405),
        (Method::GET, "/healthz/", 404),
        (Method::GET, "/", 404),
        (Method::POST, "/api/messages/", 404),
        (Method::POST, "/healthz/../api/messages", 401),
        (Method::GET, "/_sandbox/log", 404),
    ] {
        let response = Client::new().request(method.clone(), format!("{base}{path}")).send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
    }
    let health: Value = Client::new().get(format!("{base}/healthz")).send().await.unwrap().json().await.unwrap();
    assert_eq!(health, json!({"status": "ok"}), "served with settings, so no sandbox");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_sees_it_and_keeps_its_connection() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let address = broker.url.trim_start_matches("http://").trim_end_matches("/api/messages");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for round in 0..5 {
        let head =
            b"POST /api/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // The body comes in packets of its own, later than the answer could.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        stream.write_all(&[b' '; 1000]).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap_or_else(|error| panic!("round {round}: {error}")));
        }
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    }
}
