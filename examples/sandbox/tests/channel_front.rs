//! The signing front, replays of recorded requests, and the control endpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use channel_bot::{Scene, echo, scene};
use http::{HeaderMap, HeaderName, HeaderValue};
use m365_sandbox::Sandbox;
use m365_sandbox::constants::{BOT_APP_ID, HOME_TENANT, USER_ONE};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../requests/teams.jsonl");

fn claims(headers: &HeaderMap) -> Value {
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

async fn front(scene: &Scene, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> (u16, Value) {
    let mut request = scene
        .bot
        .client
        .request(method.parse().unwrap(), format!("{}{path}", scene.bot.base))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn tool_activity() -> String {
    // Key order, spacing, ids and the service URL without a final slash are the tool's own.
    r#"{ "type":"message", "text":"hi", "id":"activity-1", "serviceUrl":"http://localhost:56150/_Connector", "channelId":"msteams",
        "from":{"id":"user-id-0"}, "recipient":{"id":"bot-id"}, "conversation":{"id":"personal-chat-id","tenantId":"tenant-0"} }"#
        .to_owned()
}

#[tokio::test]
async fn the_front_signs_what_a_local_tool_posts() {
    let scene = scene(|_, _| async { (203, json!({ "answer": 1 })) }).await;
    for path in ["/front/api/messages", "/front/anything/else"] {
        let answer = front(&scene, "POST", path, &[("authorization", "Bearer the-tools-own")], tool_activity()).await;
        assert_eq!(answer, (203, json!({ "answer": 1 })), "status and body come back");
    }
    let headers = scene.bot.headers().remove(0);
    let claims = claims(&headers);
    assert_eq!(
        (&claims["serviceurl"], &claims["aud"]),
        (&json!("http://localhost:56150/_connector"), &json!(BOT_APP_ID))
    );
    assert_eq!(headers["x-ms-conversation-id"], "personal-chat-id");
    assert_eq!(headers["x-ms-tenant-id"], "tenant-0");
    assert_eq!(scene.bot.raw.lock().unwrap()[0], tool_activity().into_bytes(), "not a byte of the activity changes");
}

#[tokio::test]
async fn the_front_refuses_what_is_not_local() {
    let scene = echo().await;
    let post = |headers: &'static [(&str, &str)], body: Value| {
        front(&scene, "POST", "/front/api/messages", headers, body.to_string())
    };
    let good: Value = serde_json::from_str(&tool_activity()).unwrap();
    let away = json!({ "type": "message", "serviceUrl": "https://smba.trafficmanager.net/amer/" });
    assert_eq!(post(&[], away).await.0, 403, "a token for a foreign service URL is not made");
    assert_eq!(post(&[], json!({ "type": "message" })).await.0, 400);
    assert_eq!(post(&[], json!([1])).await.0, 400);
    assert_eq!(post(&[("origin", "https://evil.example")], good.clone()).await.0, 403, "no web page signs");
    assert_eq!(post(&[("host", "rebound.example")], good.clone()).await.0, 403);
    assert_eq!(front(&scene, "GET", "/front/api/messages", &[], String::new()).await.0, 405);
    assert!(scene.bot.received.lock().unwrap().is_empty(), "nothing reached the bot");
    let alone = Sandbox::builder().start().await.unwrap();
    let answer = scene
        .bot
        .client
        .post(format!("{}/front/api/messages", alone.base_url()))
        .body(tool_activity())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 503, "no bot is known");
}

#[derive(serde::Deserialize)]
struct Line {
    headers: BTreeMap<String, String>,
    body: Box<RawValue>,
}

#[tokio::test]
async fn recorded_requests_are_replayed_with_a_new_token_and_service_url() {
    let scene = echo().await;
    let lines: Vec<Line> = RECORDED.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut kinds = BTreeSet::new();
    for (index, line) in lines.iter().enumerate() {
        let mut headers = HeaderMap::new();
        for (name, value) in &line.headers {
            headers
                .insert(HeaderName::try_from(name.as_str()).unwrap(), HeaderValue::try_from(value.as_str()).unwrap());
        }
        let before: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line.body.get()).unwrap();
        let activity: Value = serde_json::from_str(line.body.get()).unwrap();
        let exchange = scene.teams.send_raw(headers.clone(), line.body.get().to_owned().into()).await;
        assert_eq!(exchange.posted.status, 200, "line {}", index + 1);
        let (sent, _) = scene.bot.received.lock().unwrap()[index].clone();
        let service_url = format!("{}/connector/emea/{HOME_TENANT}/", scene.bot.base);
        assert_eq!(claims(&sent)["serviceurl"], service_url.to_lowercase());
        for name in headers.keys().filter(|name| *name != "authorization") {
            assert_eq!(sent[name], headers[name], "{name} is sent as recorded");
        }
        let raw = scene.bot.raw.lock().unwrap()[index].clone();
        let after: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&raw).unwrap();
        assert_eq!(after["serviceUrl"].get(), format!("\"{service_url}\""));
        assert_eq!(before.len(), after.len());
        for (name, value) in before.iter().filter(|(name, _)| *name != "serviceUrl") {
            assert_eq!(after[name].get(), value.get(), "line {}: {name} keeps its bytes", index + 1);
        }
        if activity["type"] == "message" {
            assert_eq!(exchange.creates(), 1, "line {}", index + 1);
        }
        let detail = [
            &activity["name"],
            &activity["action"],
            &activity["channelData"]["eventType"],
            &activity["conversation"]["conversationType"],
        ];
        kinds.insert(format!(
            "{} {detail:?} {}",
            activity["type"],
            activity["attachments"].as_array().map_or(0, Vec::len)
        ));
    }
    assert!(kinds.len() >= 24 && lines.len() >= 40, "{} lines, {} kinds", lines.len(), kinds.len());
    let malformed = scene.teams.send_raw(HeaderMap::new(), "{\"type\":".into()).await;
    assert_eq!(malformed.posted.status, 200);
    assert_eq!(scene.bot.raw.lock().unwrap().last().unwrap(), b"{\"type\":", "what cannot be read is sent as it is");
}

#[tokio::test]
async fn the_teams_user_over_http() {
    let scene = echo().await;
    let control = |path: &str, body: Value| {
        let path = format!("/_sandbox/teams/{path}");
        let scene = &scene;
        async move { front(scene, "POST", &path, &[], body.to_string()).await }
    };
    let said = control("say", json!({ "text": "hi" })).await;
    assert_eq!(
        (said.0, &said.1["text"], &said.1["posted"]["status"], &said.1["answered"]),
        (200, &json!("echo: hi"), &json!(200), &json!(true))
    );
    let group = control("say", json!({ "user": "two", "scope": "groupChat", "name": "Plan", "text": "hi" })).await;
    assert_eq!(group.1["text"], "echo: <at>Sandbox Bot</at> hi");
    assert_eq!(control("invoke", json!({ "name": "task/fetch", "value": {} })).await.1["status"], 200);
    assert_eq!(control("activity", json!({ "type": "typing", "waitMs": 50 })).await.1["posted"]["status"], 200);
    let line: Value = serde_json::from_str(RECORDED.lines().next().unwrap()).unwrap();
    assert_eq!(control("raw", line).await.1["replies"].as_array().unwrap().len(), 1);
    assert_eq!(control("raw", json!({})).await.0, 400);
    assert_eq!(control("consent", json!({})).await.0, 409, "nothing to consent to");
    assert_eq!(control("cancel", json!({ "waitMs": 50 })).await.1["posted"]["status"], 200);
    assert_eq!(control("throttle", json!({ "times": 1, "retryAfter": 1 })).await.0, 204);
    let url = |path: &str| format!("{}/_sandbox/teams/{path}", scene.bot.base);
    let get = |path: &'static str| {
        let request = scene.bot.client.get(url(path)).send();
        async move { request.await.unwrap().json::<Value>().await.unwrap() }
    };
    let transcript = get("transcript?user=one").await;
    assert_eq!(transcript["entries"][1]["activity"]["text"], "echo: hi");
    assert_eq!(
        (&transcript["entries"][0]["author"], &transcript["entries"][1]["author"]),
        (&json!("user"), &json!("bot"))
    );
    assert_eq!(transcript["conversation"], scene.teams.user(USER_ONE).conversation().id());
    assert_eq!(get("counters").await["creates"], 3);
    let evil = scene.bot.client.get(url("counters")).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(evil.status().as_u16(), 403);
}
