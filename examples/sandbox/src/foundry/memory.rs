//! `/memory_stores`: made, changed, deleted. What is in one, see [`memory_items`](super::memory_items); how it gets there,
//! see [`memory_updates`](super::memory_updates). The store `memory` is there from the start, with one memory of the
//! scope `user`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::agents::DEPLOYMENT;
use super::error::ApiError;
use super::http::{Call, Payload, no_route};
use super::memory_items::{self, Search};
use super::memory_updates::{self, Update};
use super::registry::{check_feature, set};

pub(crate) type Answer = Result<Json<Value>, ApiError>;

/// The opt-in of all of it.
const FEATURE: &str = "MemoryStores=V1Preview";

/// One memory store. `items` is oldest first.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    pub(crate) resource: Value,
    pub(crate) items: Vec<Value>,
    pub(crate) updates: Vec<Update>,
    pub(crate) searches: Vec<Search>,
}

impl MemoryStore {
    fn new(resource: Value) -> Self {
        Self { resource, items: Vec::new(), updates: Vec::new(), searches: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        self.resource.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The memory stores of the project.
#[derive(Debug)]
pub(crate) struct MemoryStores(Vec<MemoryStore>);

impl Default for MemoryStores {
    fn default() -> Self {
        let definition =
            json!({"kind": "default", "chat_model": DEPLOYMENT, "embedding_model": "text-embedding-3-small"});
        let mut store = MemoryStore::new(resource("memory", &definition, &Map::new(), 0));
        store.items.push(memory_items::item("user", "user_profile", "likes tea", 0));
        Self(vec![store])
    }
}

fn resource(name: &str, definition: &Value, members: &Map<String, Value>, now: i64) -> Value {
    let member = |name: &str| members.get(name).cloned().unwrap_or_default();
    json!({
        "object": "memory_store", "id": format!("memstore_{name}"), "name": name, "description": member("description"),
        "metadata": member("metadata"), "created_at": now, "updated_at": now, "definition": definition,
    })
}

/// Does something with a memory store, after what was due is done.
pub(crate) fn with<T>(
    call: &Call,
    name: &str,
    act: impl FnOnce(&mut MemoryStore) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    check_feature(call, FEATURE)?;
    let now = call.foundry.clock.now();
    let mut store = call.foundry.store();
    let found = store.memory.0.iter_mut().find(|known| known.name() == name);
    let found = found.ok_or_else(|| ApiError::not_found(&format!("Memory store {name} not found.")))?;
    memory_updates::work(found, Instant::now(), now);
    act(found)
}

/// `GET /memory_stores`.
pub(crate) async fn list(call: Call) -> Answer {
    check_feature(&call, FEATURE)?;
    let all: Vec<Value> = call.foundry.store().memory.0.iter().map(|store| store.resource.clone()).collect();
    call.page(&all).map(Json)
}

/// `POST /memory_stores`.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Answer {
    check_feature(&call, FEATURE)?;
    let name = text(&members, "name")?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err(ApiError::invalid("name", "The name of the memory store is not valid."));
    }
    let definition = members.get("definition").cloned().unwrap_or_default();
    for member in ["kind", "chat_model", "embedding_model"] {
        let param = format!("definition.{member}");
        match definition.get(member).and_then(Value::as_str).unwrap_or_default() {
            "" => return Err(ApiError::invalid(&param, format!("Missing required parameter: '{param}'."))),
            kind if member == "kind" && kind != "default" => {
                return Err(ApiError::invalid(&param, "The kind of the definition is not known."));
            }
            _ => {}
        }
    }
    let mut store = call.foundry.store();
    if store.memory.0.iter().any(|known| known.name() == name) {
        let text = format!("Memory store {name} already exists.");
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", text));
    }
    let resource = resource(name, &definition, &members, call.foundry.clock.now());
    store.memory.0.push(MemoryStore::new(resource.clone()));
    Ok(Json(resource))
}

/// `GET /memory_stores/{name}`.
pub(crate) async fn get(call: Call) -> Answer {
    with(&call, call.param("memory"), |store| Ok(Json(store.resource.clone())))
}

/// `POST /memory_stores/{name}` changes the words about it; `:search_memories`, `:update_memories`, `:delete_scope`.
pub(crate) async fn post(call: Call, Payload(members): Payload) -> Result<Response, ApiError> {
    let now = call.foundry.clock.now();
    let Some((name, verb)) = call.param("memory").rsplit_once(':') else {
        return with(&call, call.param("memory"), |store| {
            for name in ["description", "metadata"] {
                if let Some(value) = members.get(name) {
                    set(&mut store.resource, name, value.clone());
                }
            }
            set(&mut store.resource, "updated_at", json!(now));
            Ok(Json(store.resource.clone()).into_response())
        });
    };
    match verb {
        "search_memories" => {
            with(&call, name, |store| memory_items::search(store, &members)).map(|found| Json(found).into_response())
        }
        "update_memories" => {
            let update = with(&call, name, |store| memory_updates::begin(store, &members))?;
            Ok((StatusCode::ACCEPTED, Json(update)).into_response())
        }
        "delete_scope" => with(&call, name, |store| {
            let scope = text(&members, "scope")?;
            store.items.retain(|item| item.get("scope").and_then(Value::as_str) != Some(scope));
            store.updates.retain(|update| update.scope != scope);
            let gone = json!({"object": "memory_store.scope.deleted", "name": name, "scope": scope, "deleted": true});
            Ok(Json(gone).into_response())
        }),
        _ => Err(no_route().await),
    }
}

/// `DELETE /memory_stores/{name}`.
pub(crate) async fn delete(call: Call) -> Answer {
    let name = call.param("memory");
    with(&call, name, |_| Ok(()))?;
    call.foundry.store().memory.0.retain(|known| known.name() != name);
    Ok(Json(json!({"object": "memory_store.deleted", "name": name, "deleted": true})))
}

/// A member that must be there.
pub(crate) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, ApiError> {
    let found = members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| ApiError::invalid(name, format!("Missing required parameter: '{name}'.")))
}
