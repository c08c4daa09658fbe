//! What a memory store holds: items of a scope, written one by one, listed, and found again.

use std::collections::HashSet;

use axum::Json;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::http::{Call, Payload};
use super::ids;
use super::items;
use super::memory::{Answer, MemoryStore, text, with};
use super::registry::set;

const KINDS: [&str; 3] = ["user_profile", "chat_summary", "procedural"];
/// How many memories a search finds when it names no number.
const FOUND: u64 = 5;

/// A search, with the words it went by.
#[derive(Debug)]
pub(crate) struct Search {
    id: String,
    words: HashSet<String>,
}

/// A new item.
pub(crate) fn item(scope: &str, kind: &str, content: &str, now: i64) -> Value {
    json!({"memory_id": ids::fresh("mem"), "scope": scope, "kind": kind, "content": content, "updated_at": now})
}

/// `POST /memory_stores/{name}/items`.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Answer {
    with(&call, call.param("memory"), |store| {
        let kind = text(&members, "kind")?;
        if !KINDS.contains(&kind) {
            return Err(ApiError::invalid("kind", "The kind of the memory is not known."));
        }
        let now = call.foundry.clock.now();
        let item = item(text(&members, "scope")?, kind, text(&members, "content")?, now);
        store.items.push(item.clone());
        Ok(Json(item))
    })
}

/// `GET /memory_stores/{name}/items/{id}`.
pub(crate) async fn get(call: Call) -> Answer {
    with(&call, call.param("memory"), |store| one(store, call.param("item")).cloned().map(Json))
}

/// `POST /memory_stores/{name}/items/{id}`.
pub(crate) async fn update(call: Call, Payload(members): Payload) -> Answer {
    with(&call, call.param("memory"), |store| {
        let item = one(store, call.param("item"))?;
        set(item, "content", json!(text(&members, "content")?));
        set(item, "updated_at", json!(call.foundry.clock.now()));
        Ok(Json(item.clone()))
    })
}

/// `DELETE /memory_stores/{name}/items/{id}`.
pub(crate) async fn delete(call: Call) -> Answer {
    let id = call.param("item");
    with(&call, call.param("memory"), |store| {
        one(store, id)?;
        store.items.retain(|item| items::field(item, "memory_id") != id);
        Ok(Json(json!({"object": "memory_store.item.deleted", "memory_id": id, "deleted": true})))
    })
}

/// `POST /memory_stores/{name}/items:list?kind=`, with the scope in the body.
pub(crate) async fn list(call: Call, Payload(members): Payload) -> Answer {
    with(&call, call.param("memory"), |store| {
        let scope = text(&members, "scope")?;
        let kind = call.query("kind");
        let fits = |item: &&Value| {
            items::field(item, "scope") == scope && kind.is_none_or(|kind| items::field(item, "kind") == kind)
        };
        let all: Vec<Value> = store.items.iter().filter(fits).cloned().collect();
        call.page_by("memory_id", &all).map(Json)
    })
}

/// `:search_memories`: the profile of the scope, and what shares a word with the items, newest first. A search that names
/// the one before goes by its words, too.
pub(crate) fn search(store: &mut MemoryStore, members: &Map<String, Value>) -> Result<Value, ApiError> {
    let scope = text(members, "scope")?;
    let most = match members.get("options").and_then(|options| options.get("max_memories")) {
        None | Some(Value::Null) => FOUND,
        Some(number) => number
            .as_u64()
            .filter(|number| (1..=100).contains(number))
            .ok_or_else(|| ApiError::invalid("options.max_memories", "max_memories must be between 1 and 100"))?,
    };
    let mut wanted: HashSet<String> = texts(members)?.iter().flat_map(|text| words(text)).collect();
    if let Some(id) = members.get("previous_search_id").and_then(Value::as_str) {
        let known = store.searches.iter().find(|search| search.id == id);
        let known = known.ok_or_else(|| ApiError::not_found(&format!("Search {id} not found.")))?;
        wanted.extend(known.words.iter().cloned());
    }
    let fits = |item: &&Value| {
        items::field(item, "scope") == scope
            && (items::field(item, "kind") == "user_profile"
                || words(items::field(item, "content")).any(|word| wanted.contains(&word)))
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found: Vec<Value> =
        store.items.iter().rev().filter(fits).take(most).map(|item| json!({"memory_item": item})).collect();
    let id = ids::fresh("memsearch");
    store.searches.push(Search { id: id.clone(), words: wanted });
    Ok(json!({"search_id": id, "memories": found, "usage": usage()}))
}

/// What the messages of a request say. Items of other types are passed over, as the service does.
pub(crate) fn texts(members: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let list = match members.get("items") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ApiError::invalid("items", "'items' must be an array.")),
    };
    let said = |item: &Value| match item.get("content") {
        Some(Value::String(text)) => text.clone(),
        _ => items::text(item),
    };
    Ok(list.iter().filter(|item| items::is_user(item)).map(said).filter(|text| !text.is_empty()).collect())
}

pub(crate) fn usage() -> Value {
    json!({"embedding_tokens": 8, "input_tokens": 8, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
           "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8})
}

fn one<'a>(store: &'a mut MemoryStore, id: &str) -> Result<&'a mut Value, ApiError> {
    let found = store.items.iter_mut().find(|item| items::field(item, "memory_id") == id);
    found.ok_or_else(|| ApiError::not_found(&format!("Memory {id} not found.")))
}

/// Words that may say something: four letters or more.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| word.chars().count() > 3);
    parts.map(str::to_lowercase).collect::<Vec<_>>().into_iter()
}
