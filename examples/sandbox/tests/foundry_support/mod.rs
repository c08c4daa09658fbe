//! A client that knows nothing of the sandbox's insides: raw JSON over a socket.
#![allow(dead_code)]

use m365_sandbox::{Sandbox, constants};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

pub struct Cloud {
    pub sandbox: Sandbox,
    pub client: Client,
    pub project: String,
    pub token: String,
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Reply {
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    pub fn param(&self) -> &str {
        self.body["error"]["param"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().expect("an id").to_owned()
    }

    /// Text of all messages of a response.
    pub fn answer(&self) -> String {
        answer_of(&self.body)
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, param: &str) {
        assert_eq!((self.status.as_u16(), self.code(), self.param()), (status, code, param), "{}", self.text);
        assert!(self.body["error"]["additionalInfo"]["request_id"].is_string(), "{}", self.text);
        assert!(self.headers.contains_key("x-platform-error-source"));
    }
}

pub fn answer_of(response: &Value) -> String {
    let items = response["output"].as_array().cloned().unwrap_or_default();
    let parts = items.iter().filter_map(|item| item["content"].as_array()).flatten();
    parts.filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}

pub fn agent(name: &str) -> Value {
    json!({"type": "agent_reference", "name": name})
}

/// A request to the agent `name` with this input.
pub fn ask(name: &str, input: &str) -> Value {
    json!({"agent_reference": agent(name), "input": input})
}

pub fn with(mut value: Value, name: &str, member: impl Into<Value>) -> Value {
    value[name] = member.into();
    value
}

impl Cloud {
    pub async fn start() -> Self {
        let sandbox = Sandbox::builder().start().await.expect("sandbox");
        let settings = sandbox.settings();
        let project = settings.iter().find(|(name, _)| *name == "FOUNDRY_PROJECT_ENDPOINT").expect("setting").1.clone();
        let client = Client::builder().build().expect("client");
        let mut cloud = Self { sandbox, client, project, token: String::new() };
        cloud.token =
            cloud.app_token(constants::RESOURCE_TENANT, &format!("{}/.default", constants::FOUNDRY_RESOURCE)).await;
        cloud
    }

    /// An app-only token of the bot.
    pub async fn app_token(&self, tenant: &str, scope: &str) -> String {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            constants::BOT_APP_ID,
            encode(constants::BOT_APP_SECRET),
            encode(scope)
        );
        let reply = self
            .client
            .post(format!("{}/entra/{tenant}/oauth2/v2.0/token", self.sandbox.base_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .expect("token endpoint");
        let body: Value = reply.json().await.expect("json");
        body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {body}")).to_owned()
    }

    pub fn openai(&self, path: &str) -> String {
        format!("{}/openai/v1{path}", self.project)
    }

    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(&self.token)
    }

    pub async fn call(&self, request: RequestBuilder) -> Reply {
        let reply = request.send().await.expect("an answer");
        let (status, headers) = (reply.status(), reply.headers().clone());
        let text = reply.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status, headers, text, body }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(self.request(Method::POST, &self.openai(path)).json(body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(self.request(Method::GET, &self.openai(path))).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call(self.request(Method::DELETE, &self.openai(path))).await
    }

    #[track_caller]
    pub fn ok(reply: Reply) -> Reply {
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply
    }

    pub async fn conversation(&self) -> String {
        Self::ok(self.post("/conversations", &json!({})).await).id()
    }

    /// One turn of the default agent in a conversation.
    pub async fn turn(&self, conversation: &str, text: &str) -> String {
        let body = with(ask(constants::FOUNDRY_AGENT, text), "conversation", conversation);
        Self::ok(self.post("/responses", &body).await).answer()
    }

    /// A streamed response: all bytes, and whether the body ended properly.
    pub async fn stream_bytes(&self, body: &Value) -> (Vec<u8>, bool) {
        let body = with(body.clone(), "stream", true);
        let mut reply =
            self.request(Method::POST, &self.openai("/responses")).json(&body).send().await.expect("an answer");
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["content-type"], "text/event-stream; charset=utf-8");
        let mut bytes = Vec::new();
        loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return (bytes, true),
                Err(_) => return (bytes, false),
            }
        }
    }

    /// The events of a stream that ends properly.
    pub async fn events(&self, body: &Value) -> Vec<Value> {
        let (bytes, ended) = self.stream_bytes(body).await;
        assert!(ended, "the stream broke");
        events_of(&bytes)
    }
}

/// Events of LF-framed bytes. Checks that the name is the type and that nothing follows the last blank line.
pub fn events_of(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("utf-8");
    let mut events = Vec::new();
    for frame in text.split("\n\n").filter(|frame| !frame.is_empty() && !frame.starts_with(':')) {
        let (name, data) = frame.strip_prefix("event: ").and_then(|rest| rest.split_once("\ndata: ")).expect("a frame");
        let event: Value = serde_json::from_str(data).expect("one line of JSON");
        assert_eq!(event["type"], name);
        events.push(event);
    }
    events
}

pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}
