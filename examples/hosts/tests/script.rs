//! Every host as its own process, driven over a socket by the same script.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, HOME_TENANT, USER_ONE, USER_TWO},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

struct Host {
    child: Child,
    url: String,
}

impl Host {
    /// Behind a gateway with a base path.
    async fn start(name: &'static str, sandbox: &Sandbox) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hosts"))
            .arg(name)
            .env_clear()
            .envs(sandbox.settings())
            .envs([("PORT", "0"), ("BASE_PATH", "/bots/echo/")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = tokio::task::spawn_blocking(move || {
            let mut seen = String::new();
            let url = loop {
                let Some(Ok(line)) = lines.next() else { panic!("the host did not start: {seen}") };
                seen.push_str(&line);
                if let Some(url) = line.strip_prefix("listening on ") {
                    break url.to_owned();
                }
            };
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            url
        });
        let url = url.await.unwrap();
        sandbox.set_bot_endpoint(&url);
        Self { child, url }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn activity(service_url: &str, change: &Value) -> String {
    let mut activity = json!({
        "type": "message", "id": "1", "channelId": "msteams", "serviceUrl": service_url, "text": "hi",
        "from": {"id": USER_ONE.mri, "aadObjectId": USER_ONE.oid}, "recipient": {"id": format!("28:{BOT_APP_ID}")},
        "conversation": {"id": "a:1", "tenantId": HOME_TENANT}, "channelData": {"tenant": {"id": HOME_TENANT}},
        "deliveryMode": "expectReplies",
    });
    activity.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    activity.to_string()
}

/// One request of the script.
struct Case {
    name: &'static str,
    method: Method,
    /// Behind the address of the bot.
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    status: u16,
}

fn script(sandbox: &Sandbox) -> Vec<Case> {
    let url = sandbox.service_url(HOME_TENANT);
    let good = format!("Bearer {}", sandbox.channel_token(BOT_APP_ID, &url));
    let other_url = format!("Bearer {}", sandbox.channel_token(BOT_APP_ID, "https://smba.trafficmanager.net/amer/"));
    let other_app = format!("Bearer {}", sandbox.channel_token("00000000-0000-0000-0000-000000000001", &url));
    let json_type = ("content-type", "application/json".to_owned());
    let signed = |more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut headers: Vec<_> = more.collect();
        headers.push(("authorization", good.clone()));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(json_type.clone());
        }
        headers
    };
    let token = |tokens: &[&str]| {
        let tokens = tokens.iter().map(|token| ("authorization", (*token).to_owned()));
        tokens.chain([json_type.clone()]).collect::<Vec<_>>()
    };
    let hi = activity(&url, &json!({}));
    let foreign = json!({"id": "99999999-0000-4000-8000-000000000009"});
    let foreign = json!({
        "conversation": {"id": "a:1", "tenantId": foreign["id"]}, "channelData": {"tenant": foreign},
    });
    let post = |name, headers, body: &str, status| Case {
        name,
        method: Method::POST,
        path: "",
        headers,
        body: body.to_owned(),
        status,
    };
    vec![
        post("a good request", signed(&[]), &hi, 200),
        post("no token", token(&[]), &hi, 401),
        post("no bearer", token(&["Basic YTpi"]), &hi, 401),
        post("garbage", token(&["Bearer a.b.c"]), &hi, 401),
        post("two tokens", token(&[&good, &good]), &hi, 401),
        post("the token of another bot", token(&[&other_app]), &hi, 401),
        post("a token for another service URL", token(&[&other_url]), &hi, 403),
        post("a user of a tenant that is not allowed", signed(&[]), &activity(&url, &foreign), 403),
        post("no JSON", signed(&[]), "{", 400),
        post("another type", signed(&[("content-type", "text/plain")]), &hi, 415),
        post("compressed", signed(&[("content-encoding", "gzip")]), &hi, 415),
        post("too large", signed(&[]), &" ".repeat((256 << 10) + 1), 413),
        post("an invoke", signed(&[]), &activity(&url, &json!({"type": "invoke", "name": "x"})), 501),
        post("an update", signed(&[]), &activity(&url, &json!({"type": "conversationUpdate"})), 200),
        post(
            "headers of a gateway",
            signed(&[("x-forwarded-host", "evil.example"), ("x-original-url", "/other"), ("host", "bot.example.com")]),
            &hi,
            200,
        ),
        Case { name: "GET", method: Method::GET, path: "", headers: vec![], body: String::new(), status: 405 },
        Case { path: "/more", ..post("another path", signed(&[]), &hi, 404) },
    ]
}

/// A stranger who announces a large body is refused before it is sent, or, where the gateway reads first, after.
async fn unsigned_and_large(url: &str) -> u16 {
    const SIZE: usize = 300_000;
    let address = url.strip_prefix("http://").unwrap();
    let (host, path) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {SIZE}\r\n\
         expect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    loop {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let status: u16 = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        if status != 100 {
            return status;
        }
        stream.write_all(&vec![b' '; SIZE]).await.unwrap();
    }
}

async fn drive(name: &'static str) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let host = Host::start(name, &sandbox).await;
    let mut cases = 0;
    for case in script(&sandbox) {
        let mut request = Client::new().request(case.method, format!("{}{}", host.url, case.path)).body(case.body);
        for (name, value) in &case.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{name}: {}: {error}", case.name));
        assert_eq!(response.status(), case.status, "{name}: {}", case.name);
        let challenged = response.headers().contains_key("www-authenticate");
        assert_eq!(challenged, matches!(case.status, 401 | 403), "{name}: {}", case.name);
        let body = response.text().await.unwrap();
        if case.name == "a good request" {
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["activities"][0]["text"], "You said: hi", "{name}");
        }
        cases += 1;
    }
    assert_eq!(unsigned_and_large(&host.url).await, 401, "{name}");
    // Through the whole channel: a personal chat, and a group with a mention.
    for chat in
        [sandbox.teams().user(USER_ONE).conversation(), sandbox.teams().user(USER_ONE).group("team", &[USER_TWO])]
    {
        let exchange = chat.say("hello").await;
        assert_eq!((exchange.posted.status, exchange.text().as_str()), (200, "You said: hello"), "{name}");
        assert_eq!(exchange.creates(), 1, "{name}");
    }
    // What asks for a stream gets its answer as an event of the response, and nothing by the connector.
    let chat = sandbox.teams().user(USER_ONE).conversation();
    let before = sandbox.teams().counters().creates;
    let exchange = chat.say_with("hello", json!({"deliveryMode": "stream"})).await;
    assert_eq!((exchange.posted.status, exchange.text().as_str()), (200, "You said: hello"), "{name}");
    assert_eq!(exchange.posted.headers["content-type"], "text/event-stream", "{name}");
    assert_eq!(sandbox.teams().counters().creates, before, "{name}");
    let invoke = chat.post("invoke", json!({"name": "x", "deliveryMode": "stream"})).await;
    assert_eq!((invoke.status, invoke.text().starts_with("event: invokeResponse\r\ndata: ")), (200, true), "{name}");
    assert!(invoke.text().contains(r#""status":501"#), "{name}");
    assert_eq!(cases + 3, 20, "the script has twenty cases");
    let health = host.url.replace("/bots/echo/api/messages", "/healthz");
    assert_eq!(Client::new().get(health).send().await.unwrap().status(), 200, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn axum() {
    drive("axum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actix() {
    drive("actix").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hyper() {
    drive("hyper").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lambda() {
    drive("lambda").await;
}

#[test]
fn every_host_is_short() {
    for name in ["axum", "actix", "hyper", "lambda"] {
        let path = format!("{}/src/{name}_host.rs", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(path).unwrap().lines().count();
        assert!(lines < 80, "{name}: {lines}");
    }
}
