//! The Teams user over HTTP, under `/_sandbox/teams/`, for tests in other languages.
//!
//! Every body is JSON. `user` is `one` (default) or `two`; `scope` is `personal` (default), `groupChat` or `channel`.

use std::time::Duration;

use axum::extract::{Query, Request, State as With};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Channel;
use super::conversation::Conversation;
use super::exchange::{Exchange, Wait};
use super::front::is_local;
use super::room::{Entry, Scope};
use super::teams::Teams;
use crate::constants::{USER_ONE, USER_TWO};

pub(crate) fn router() -> Router<Channel> {
    Router::new()
        .route("/_sandbox/teams/say", post(say))
        .route("/_sandbox/teams/activity", post(activity))
        .route("/_sandbox/teams/invoke", post(invoke))
        .route("/_sandbox/teams/raw", post(raw))
        .route("/_sandbox/teams/consent", post(consent))
        .route("/_sandbox/teams/code", post(code))
        .route("/_sandbox/teams/cancel", post(cancel))
        .route("/_sandbox/teams/failure", post(failure))
        .route("/_sandbox/teams/devices", post(devices))
        .route("/_sandbox/teams/throttle", post(throttle))
        .route("/_sandbox/teams/transcript", get(transcript))
        .route("/_sandbox/teams/sign-in", get(sign_in))
        .route("/_sandbox/teams/counters", get(counters))
        .layer(middleware::from_fn(local_only))
}

async fn local_only(request: Request, next: Next) -> Response {
    if is_local(request.headers()) { next.run(request).await } else { StatusCode::FORBIDDEN.into_response() }
}

/// Which conversation, and how long to wait.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    user: Option<String>,
    scope: Option<String>,
    /// Name of the group chat, or of the channel of the team `Sandbox`.
    name: Option<String>,
    /// Longest wait for an answer in the chat.
    wait_ms: Option<u64>,
    placeholders: Vec<String>,
}

impl Place {
    fn conversation(&self, channel: Channel) -> Conversation {
        let (me, other) = if self.user.as_deref() == Some("two") { (USER_TWO, USER_ONE) } else { (USER_ONE, USER_TWO) };
        let user = Teams::of(channel).user(me);
        let name = self.name.as_deref().unwrap_or("General");
        let conversation = match Scope::parse(self.scope.as_deref().unwrap_or_default()) {
            Scope::Personal => user.conversation(),
            Scope::GroupChat => user.group(name, &[other]),
            Scope::Channel => user.channel("Sandbox", name, &[other]),
        };
        conversation.waiting(self.wait())
    }

    fn wait(&self) -> Wait {
        let base = Wait::default();
        Wait {
            first: self.wait_ms.map_or(base.first, Duration::from_millis),
            placeholders: self.placeholders.clone(),
            ..base
        }
    }
}

#[derive(Deserialize)]
struct Say {
    #[serde(flatten)]
    place: Place,
    text: String,
    #[serde(default)]
    fields: Value,
}

async fn say(With(channel): With<Channel>, Json(asked): Json<Say>) -> Json<Value> {
    Json(asked.place.conversation(channel).say_with(&asked.text, asked.fields).await.to_json())
}

#[derive(Deserialize)]
struct Post {
    #[serde(flatten)]
    place: Place,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    fields: Value,
}

async fn activity(With(channel): With<Channel>, Json(asked): Json<Post>) -> Json<Value> {
    let fields = if asked.fields.is_object() { asked.fields } else { json!({}) };
    Json(asked.place.conversation(channel).post_and_wait(&asked.kind, fields).await.to_json())
}

#[derive(Deserialize)]
struct Invoke {
    #[serde(flatten)]
    place: Place,
    name: String,
    #[serde(default)]
    value: Value,
}

async fn invoke(With(channel): With<Channel>, Json(asked): Json<Invoke>) -> Json<Value> {
    Json(asked.place.conversation(channel).invoke(&asked.name, asked.value).await.to_json())
}

/// One line of a file of recorded requests.
async fn raw(With(channel): With<Channel>, line: String) -> Response {
    match Teams::of(channel).replay(&line, &Wait::default()).await {
        Some(exchange) => Json(exchange.to_json()).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn consent(With(channel): With<Channel>, Json(place): Json<Place>) -> Response {
    maybe(place.conversation(channel).consent().await)
}

#[derive(Deserialize)]
struct Code {
    #[serde(flatten)]
    place: Place,
    code: String,
}

async fn code(With(channel): With<Channel>, Json(asked): Json<Code>) -> Json<Value> {
    Json(asked.place.conversation(channel).enter_code(&asked.code).await.to_json())
}

async fn cancel(With(channel): With<Channel>, Json(place): Json<Place>) -> Json<Value> {
    Json(place.conversation(channel).cancel().await.to_json())
}

#[derive(Deserialize)]
struct Report {
    #[serde(flatten)]
    place: Place,
    code: String,
    #[serde(default)]
    message: String,
}

async fn failure(With(channel): With<Channel>, Json(asked): Json<Report>) -> Json<Value> {
    Json(asked.place.conversation(channel).fail_sign_in(&asked.code, &asked.message).await.to_json())
}

#[derive(Deserialize)]
struct Devices {
    #[serde(flatten)]
    place: Place,
    devices: usize,
}

async fn devices(With(channel): With<Channel>, Json(asked): Json<Devices>) -> StatusCode {
    let user = if asked.place.user.as_deref() == Some("two") { USER_TWO } else { USER_ONE };
    Teams::of(channel).user(user).set_devices(asked.devices);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Throttle {
    times: usize,
    #[serde(default)]
    retry_after: u64,
}

async fn throttle(With(channel): With<Channel>, Json(asked): Json<Throttle>) -> StatusCode {
    Teams::of(channel).throttle(asked.times.min(10_000), asked.retry_after);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Which {
    /// A conversation id; without it the one that user, scope and name say.
    conversation: Option<String>,
    user: Option<String>,
    scope: Option<String>,
    name: Option<String>,
}

async fn transcript(With(channel): With<Channel>, Query(which): Query<Which>) -> Json<Value> {
    let place = Place { user: which.user, scope: which.scope, name: which.name, ..Place::default() };
    let id = which.conversation.unwrap_or_else(|| place.conversation(channel.clone()).id().to_owned());
    let entries: Vec<Value> = Teams::of(channel).transcript(&id).iter().map(Entry::to_json).collect();
    Json(json!({ "conversation": id, "entries": entries }))
}

async fn sign_in(With(channel): With<Channel>, Query(which): Query<Which>) -> Response {
    let place = Place { user: which.user, scope: which.scope, name: which.name, ..Place::default() };
    match place.conversation(channel).sign_in() {
        Some(sign_in) => Json(sign_in.to_json()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn counters(With(channel): With<Channel>) -> Json<Value> {
    Json(Teams::of(channel).counters().to_json())
}

fn maybe(exchange: Option<Exchange>) -> Response {
    match exchange {
        Some(exchange) => Json(exchange.to_json()).into_response(),
        None => {
            (StatusCode::CONFLICT, Json(json!({ "error": "no sign-in card with a code is there" }))).into_response()
        }
    }
}
