//! How a conversation becomes memory: an update waits for more, then it works, or a later one takes its place.
//!
//! Facts ("my printer is HP-1", "remember that …") become memories of the kind `user_profile`; a fact of the same name
//! takes the place of the old one. All else is a `chat_summary`. A message that begins with `sandbox:failed-agent` makes
//! the update fail.

use std::time::Duration;

use axum::Json;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::brain;
use super::error::ApiError;
use super::http::Call;
use super::ids;
use super::items;
use super::memory::{Answer, MemoryStore, text, with};
use super::memory_items::{item, texts, usage};
use super::registry::set;
use super::turn::scripted;

/// How long an update waits when it does not say, seconds.
const DELAY: u64 = 300;

/// One update.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) scope: String,
    id: String,
    texts: Vec<String>,
    due: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    /// What came of it; `seen` by somebody who looked while it worked.
    Done {
        result: Result<Value, Value>,
        seen: bool,
    },
    /// The later one.
    Superseded(String),
}

impl Update {
    fn resource(&self) -> Value {
        let mut resource = json!({"update_id": self.id});
        let (status, member, value) = match &self.state {
            State::Waiting => ("queued", "", Value::Null),
            State::Done { seen: false, .. } => ("in_progress", "", Value::Null),
            State::Done { result: Ok(result), .. } => ("completed", "result", result.clone()),
            State::Done { result: Err(error), .. } => ("failed", "error", error.clone()),
            State::Superseded(by) => ("superseded", "superseded_by", json!(by)),
        };
        set(&mut resource, "status", json!(status));
        if !member.is_empty() {
            set(&mut resource, member, value);
        }
        resource
    }
}

/// `:update_memories`. One of the same scope that still waits is superseded; what it had is kept when it is named.
pub(crate) fn begin(store: &mut MemoryStore, members: &Map<String, Value>) -> Result<Value, ApiError> {
    let scope = text(members, "scope")?;
    let delay = match members.get("update_delay") {
        None | Some(Value::Null) => DELAY,
        Some(seconds) => seconds
            .as_u64()
            .filter(|seconds| *seconds <= 24 * 3600)
            .ok_or_else(|| ApiError::invalid("update_delay", "update_delay must be between 0 and 86400"))?,
    };
    let said = texts(members)?;
    let previous = members.get("previous_update_id").and_then(Value::as_str);
    if let Some(id) = previous.filter(|id| !store.updates.iter().any(|update| update.id == **id)) {
        return Err(missing(id));
    }
    let id = ids::fresh("memupd");
    let mut kept = Vec::new();
    let waits = |update: &&mut Update| update.scope == scope && matches!(update.state, State::Waiting);
    for earlier in store.updates.iter_mut().filter(waits) {
        if previous == Some(&earlier.id) {
            kept.append(&mut earlier.texts);
        }
        earlier.state = State::Superseded(id.clone());
    }
    kept.extend(said);
    let due = Instant::now() + Duration::from_secs(delay);
    let update = Update { scope: scope.to_owned(), id, texts: kept, due, state: State::Waiting };
    let resource = update.resource();
    store.updates.push(update);
    Ok(resource)
}

/// `GET /memory_stores/{name}/updates/{id}`. The first look after the wait finds it at work.
pub(crate) async fn get(call: Call) -> Answer {
    let id = call.param("update");
    with(&call, call.param("memory"), |store| {
        let update = store.updates.iter_mut().find(|update| update.id == id).ok_or_else(|| missing(id))?;
        let resource = update.resource();
        if let State::Done { seen, .. } = &mut update.state {
            *seen = true;
        }
        Ok(Json(resource))
    })
}

/// Does what is due.
pub(crate) fn work(store: &mut MemoryStore, at: Instant, now: i64) {
    let allowed = |option: &str| {
        let options = store.resource.pointer("/definition/options");
        options.and_then(|options| options.get(option)).is_none_or(|value| *value != json!(false))
    };
    let (profile, summary) = (allowed("user_profile_enabled"), allowed("chat_summary_enabled"));
    for update in &mut store.updates {
        if !matches!(update.state, State::Waiting) || update.due > at {
            continue;
        }
        let result = if update.texts.iter().any(|text| matches!(scripted(text), Some(("failed-agent", _)))) {
            Err(json!({"code": "server_error", "message": "The memories could not be extracted."}))
        } else {
            let mut operations = Vec::new();
            for text in &update.texts {
                let facts = if profile { brain::told(text) } else { Vec::new() };
                for (key, sentence) in &facts {
                    operations.extend(remember(&mut store.items, &update.scope, key.as_deref(), sentence, now));
                }
                if facts.is_empty() && summary {
                    let content = format!("The user said: {}", text.trim());
                    operations.push(write(&mut store.items, &update.scope, "chat_summary", &content, now));
                }
            }
            Ok(json!({"memory_operations": operations, "usage": usage()}))
        };
        update.state = State::Done { result, seen: false };
    }
}

/// Writes a fact, in place of an old one of the same name; nothing when it is known.
fn remember(all: &mut Vec<Value>, scope: &str, key: Option<&str>, sentence: &str, now: i64) -> Option<Value> {
    let profile =
        |item: &&mut Value| items::field(item, "scope") == scope && items::field(item, "kind") == "user_profile";
    let same = |item: &Value| {
        let content = items::field(item, "content");
        content == sentence || key.is_some() && brain::told(content).iter().any(|(known, _)| known.as_deref() == key)
    };
    let Some(known) = all.iter_mut().filter(profile).find(|item| same(item)) else {
        return Some(write(all, scope, "user_profile", sentence, now));
    };
    if items::field(known, "content") == sentence {
        return None;
    }
    set(known, "content", json!(sentence));
    set(known, "updated_at", json!(now));
    Some(json!({"kind": "update", "memory_item": known}))
}

fn write(all: &mut Vec<Value>, scope: &str, kind: &str, content: &str, now: i64) -> Value {
    let item = item(scope, kind, content, now);
    all.push(item.clone());
    json!({"kind": "create", "memory_item": item})
}

fn missing(id: &str) -> ApiError {
    ApiError::not_found(&format!("Update {id} not found."))
}
