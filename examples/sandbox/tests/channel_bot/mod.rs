//! A tiny bot for the channel tests: records what it gets, asks Entra for a token, answers over the connector.

#![allow(dead_code, unreachable_pub)] // shared by the test files, each of which uses a part of it

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use m365_sandbox::constants::{BOT_APP_ID, BOT_APP_SECRET, RESOURCE_TENANT};
use m365_sandbox::{Sandbox, Teams};
use serde_json::{Value, json};

/// What the bot does with an activity: HTTP status and body.
pub type Handler = Arc<dyn Fn(Bot, Value) -> BoxFuture<'static, (u16, Value)> + Send + Sync>;

#[derive(Clone)]
pub struct Bot {
    pub client: reqwest::Client,
    pub base: String,
    pub received: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    pub raw: Arc<Mutex<Vec<Vec<u8>>>>,
    handler: Handler,
}

/// A sandbox with a bot that listens.
pub struct Scene {
    pub sandbox: Sandbox,
    pub bot: Bot,
    pub teams: Teams,
}

/// Starts both.
pub async fn scene<F>(handler: impl Fn(Bot, Value) -> F + Send + Sync + 'static) -> Scene
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let sandbox = Sandbox::builder().start().await.unwrap();
    let bot = Bot {
        client: reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap(),
        base: sandbox.base_url(),
        received: Arc::default(),
        raw: Arc::default(),
        handler: Arc::new(move |bot, activity| Box::pin(handler(bot, activity))),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    sandbox.set_bot_endpoint(&format!("http://{}/api/messages", listener.local_addr().unwrap()));
    let router = Router::new().fallback(take).with_state(bot.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let teams = sandbox.teams();
    Scene { sandbox, bot, teams }
}

/// A bot that repeats messages and answers everything else with 200.
pub async fn echo() -> Scene {
    scene(|bot, activity| async move {
        if activity["type"] == "message" {
            let text = format!("echo: {}", activity["text"].as_str().unwrap_or_default());
            bot.reply(&activity, json!({ "type": "message", "text": text })).await;
        }
        (200, json!({}))
    })
    .await
}

async fn take(State(bot): State<Bot>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 4 << 20).await.unwrap();
    bot.raw.lock().unwrap().push(bytes.to_vec());
    let activity: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    bot.received.lock().unwrap().push((parts.headers, activity.clone()));
    let (status, body) = (bot.handler.clone())(bot.clone(), activity).await;
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

impl Bot {
    /// An app-only token.
    pub async fn token_of(&self, tenant: &str, app: &str, secret: &str, scope: &str) -> String {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "client_credentials"),
                ("client_id", app),
                ("client_secret", secret),
                ("scope", scope),
            ])
            .finish();
        let response = self
            .client
            .post(format!("{}/entra/{tenant}/oauth2/v2.0/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        let body: Value = response.json().await.unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {body}")).to_owned()
    }

    /// The connector token of the bot.
    pub async fn token(&self) -> String {
        self.token_of(RESOURCE_TENANT, BOT_APP_ID, BOT_APP_SECRET, "https://api.botframework.com/.default").await
    }

    /// Any connector request; path segments are given encoded.
    pub async fn call(&self, method: &str, service_url: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let token = self.token().await;
        self.call_as(Some(&token), method, service_url, path, body).await
    }

    pub async fn call_as(
        &self,
        token: Option<&str>,
        method: &str,
        service_url: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let url = format!("{}/v3/conversations{path}", service_url.trim_end_matches('/'));
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// Replies with mirrored fields; returns the new id.
    pub async fn reply(&self, inbound: &Value, fields: Value) -> String {
        let (status, answer) = self.try_reply(inbound, fields).await;
        assert!((200..300).contains(&status), "{status} {answer}");
        answer["id"].as_str().unwrap_or_default().to_owned()
    }

    pub async fn try_reply(&self, inbound: &Value, fields: Value) -> (u16, Value) {
        let service_url = inbound["serviceUrl"].as_str().unwrap();
        self.call(
            "POST",
            service_url,
            &path(&inbound["conversation"]["id"], &inbound["id"]),
            Some(&mirrored(inbound, fields)),
        )
        .await
    }

    /// Updates an earlier activity.
    pub async fn update(&self, inbound: &Value, id: &str, text: &str) -> (u16, Value) {
        let service_url = inbound["serviceUrl"].as_str().unwrap();
        let body = mirrored(inbound, json!({ "type": "message", "text": text }));
        self.call("PUT", service_url, &path(&inbound["conversation"]["id"], &json!(id)), Some(&body)).await
    }

    /// Activities of this type the bot got, oldest first.
    pub fn got(&self, kind: &str) -> Vec<Value> {
        self.received
            .lock()
            .unwrap()
            .iter()
            .map(|(_, activity)| activity.clone())
            .filter(|activity| activity["type"] == kind)
            .collect()
    }

    pub fn headers(&self) -> Vec<HeaderMap> {
        self.received.lock().unwrap().iter().map(|(headers, _)| headers.clone()).collect()
    }
}

/// An answer with the mirrored fields of the inbound activity.
pub fn mirrored(inbound: &Value, fields: Value) -> Value {
    let mut activity = json!({
        "from": inbound["recipient"], "recipient": inbound["from"], "conversation": inbound["conversation"], "replyToId": inbound["id"],
    });
    if let (Some(activity), Value::Object(fields)) = (activity.as_object_mut(), fields) {
        activity.extend(fields);
    }
    activity
}

pub fn path(conversation: &Value, activity: &Value) -> String {
    format!("/{}/activities/{}", encode(conversation.as_str().unwrap()), encode(activity.as_str().unwrap()))
}

/// Percent-encodes everything outside the unreserved set.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
