//! `/conversations` and `/conversations/{id}/items`.

use axum::Json;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::http::{Call, Payload};
use super::ids;
use super::items::{self, MAX_ITEMS};
use super::request::check_metadata;
use super::store::Conversation;

type Answer = Result<Json<Value>, ApiError>;

/// `POST /conversations`.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Answer {
    only(&members, &["items", "metadata"])?;
    let metadata = metadata(&members)?;
    // The ids of the first items need a partition key; the conversation's own is not known yet.
    let items = item_list(&members, &ids::fresh("conv"), false)?;
    let now = call.foundry.clock.now();
    let conversation = call.foundry.store().create_conversation(now, metadata, items);
    Ok(Json(conversation.resource()))
}

/// `GET /conversations`, newest first unless asked otherwise.
pub(crate) async fn list(call: Call) -> Answer {
    let (name, id) = (call.query("agent_name"), call.query("agent_id"));
    let agent_fits = |agent: &String| {
        name.is_none_or(|name| agent.split(':').next() == Some(name)) && id.is_none_or(|id| agent == id)
    };
    let fits =
        |conversation: &&Conversation| (name.is_none() && id.is_none()) || conversation.agents.iter().any(agent_fits);
    let all: Vec<Value> =
        call.foundry.store().conversations().iter().filter(fits).map(Conversation::resource).collect();
    call.page(&all).map(Json)
}

/// `GET /conversations/{id}`.
pub(crate) async fn get(call: Call) -> Answer {
    with(&call, |conversation| Ok(Json(conversation.resource())))
}

/// `POST /conversations/{id}` replaces the metadata.
pub(crate) async fn update(call: Call, Payload(members): Payload) -> Answer {
    only(&members, &["metadata"])?;
    if !members.contains_key("metadata") {
        return Err(items::missing("metadata"));
    }
    let metadata = metadata(&members)?;
    with(&call, |conversation| {
        conversation.metadata = metadata;
        Ok(Json(conversation.resource()))
    })
}

/// `DELETE /conversations/{id}`.
pub(crate) async fn delete(call: Call) -> Answer {
    with(&call, |_| Ok(()))?;
    let id = call.param("conversation");
    call.foundry.store().remove_conversation(id);
    Ok(Json(json!({"id": id, "object": "conversation.deleted", "deleted": true})))
}

/// `POST /conversations/{id}/items` answers with the items as they are stored.
pub(crate) async fn create_items(call: Call, Payload(members): Payload) -> Answer {
    only(&members, &["items"])?;
    let items = item_list(&members, call.param("conversation"), true)?;
    with(&call, |conversation| {
        if conversation.locked_by.is_some() {
            return Err(locked(false));
        }
        let known = |id: &str| conversation.items.iter().any(|item| items::field(item, "id") == id);
        if let Some(twice) = items.iter().map(|item| items::field(item, "id")).find(|id| known(id)) {
            return Err(
                ApiError::bad("invalid_request_error", format!("Duplicate item found with id {twice}.")).param("items")
            );
        }
        conversation.items.extend(items.iter().cloned());
        let id = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned().unwrap_or_default();
        Ok(Json(json!({
            "object": "list",
            "data": items,
            "first_id": id(items.first()),
            "last_id": id(items.last()),
            "has_more": false,
        })))
    })
}

/// `GET /conversations/{id}/items`, newest first unless asked otherwise. `item_type` filters.
pub(crate) async fn list_items(call: Call) -> Answer {
    let kind = call.query("item_type");
    let mut all = Vec::new();
    with(&call, |conversation| {
        all = conversation
            .items
            .iter()
            .filter(|item| kind.is_none_or(|kind| items::kind(item) == kind))
            .cloned()
            .collect();
        Ok(Value::Null)
    })?;
    call.page(&all).map(Json)
}

/// `GET /conversations/{id}/items/{item}`.
pub(crate) async fn get_item(call: Call) -> Answer {
    let wanted = call.param("item");
    with(&call, |conversation| {
        let item = conversation.items.iter().find(|item| items::field(item, "id") == wanted);
        item.cloned().map(Json).ok_or_else(|| item_not_found(wanted))
    })
}

/// `DELETE /conversations/{id}/items/{item}` answers with the conversation.
pub(crate) async fn delete_item(call: Call) -> Answer {
    let wanted = call.param("item");
    with(&call, |conversation| {
        let before = conversation.items.len();
        conversation.items.retain(|item| items::field(item, "id") != wanted);
        if conversation.items.len() == before {
            return Err(item_not_found(wanted));
        }
        Ok(Json(conversation.resource()))
    })
}

/// 404 for a conversation that does not exist, or not any more.
pub(crate) fn not_found(id: &str) -> ApiError {
    ApiError::not_found(&format!("Conversation with id '{id}' not found."))
}

/// 404 for an item.
pub(crate) fn item_not_found(id: &str) -> ApiError {
    ApiError::not_found(&format!("Item with id '{id}' not found."))
}

/// What a busy conversation answers: 400 from the model layer, 409 from a hosted agent.
pub(crate) fn locked(hosted: bool) -> ApiError {
    if hosted {
        let message = "Conversation is locked \u{2014} task is in_progress";
        return ApiError::new(StatusCode::CONFLICT, "conversation_locked", message).kind("conflict");
    }
    let message = "Another process is currently operating on this conversation. Please retry in a few seconds.";
    ApiError::bad("conversation_locked", message).param("conversation")
}

fn with<T>(call: &Call, work: impl FnOnce(&mut Conversation) -> Result<T, ApiError>) -> Result<T, ApiError> {
    let id = call.param("conversation");
    if !ids::is_well_formed(id, &["conv"]) {
        return Err(ApiError::malformed_id("conversation_id"));
    }
    let mut store = call.foundry.store();
    let conversation = store.conversation_mut(id).ok_or_else(|| not_found(id))?;
    work(conversation)
}

fn only(members: &Map<String, Value>, known: &[&str]) -> Result<(), ApiError> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(items::unknown_parameter(unknown)),
        None => Ok(()),
    }
}

fn metadata(members: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    match members.get("metadata") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value) => check_metadata(value),
    }
}

fn item_list(members: &Map<String, Value>, hint: &str, required: bool) -> Result<Vec<Value>, ApiError> {
    match members.get("items") {
        None | Some(Value::Null) if required => Err(items::missing("items")),
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => items::normalise(list, "items", hint, Some(MAX_ITEMS)),
        Some(other) => Err(items::invalid_type("items", "an array", other)),
    }
}
