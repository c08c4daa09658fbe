//! `/responses/{id}`: get and resume, cancel, delete, input items; and the list.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiError;
use super::http::Call;
use super::ids;
use super::run;
use super::sse::{self, Framing, StopOnDrop};
use super::store::Record;

/// `GET /responses/{id}`; with `stream=true` the events after `starting_after`.
pub(crate) async fn get(call: Call) -> Result<Response, ApiError> {
    let record = stored(&call)?;
    if call.query("stream") != Some("true") {
        return Ok(Json(record.snapshot).into_response());
    }
    let after = match call.query("starting_after").map(str::parse::<u64>) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => {
            return Err(ApiError::invalid("starting_after", "starting_after must be an integer"));
        }
    };
    let refused = |what: &str| {
        ApiError::bad(
            "invalid_mode",
            format!("This response cannot be streamed because it was not created with {what}=true."),
        )
        .param("stream")
    };
    if !record.background {
        return Err(refused("background"));
    }
    if !record.streamed {
        return Err(refused("stream"));
    }
    Ok(sse::stream(record.feed.unwrap_or_default(), Framing::Lf, after, StopOnDrop(None)))
}

/// `POST /responses/{id}/cancel`, for background responses.
pub(crate) async fn cancel(call: Call) -> Result<Json<Value>, ApiError> {
    let record = stored(&call)?;
    let refused = |message: &str| Err(ApiError::invalid("response_id", message));
    if !record.background {
        return refused("Cannot cancel a synchronous response.");
    }
    match record.status() {
        "completed" => return refused("Cannot cancel a completed response."),
        "failed" => return refused("Cannot cancel a failed response."),
        "incomplete" => return refused("Cannot cancel a response in terminal state."),
        _ => {}
    }
    run::cancel(&call.foundry, &record.id);
    if let Some(feed) = &record.feed {
        feed.stop();
    }
    Ok(Json(stored(&call)?.snapshot))
}

/// `DELETE /responses/{id}`.
pub(crate) async fn delete(call: Call) -> Result<Json<Value>, ApiError> {
    let record = stored(&call)?;
    if !run::is_terminal(record.status()) {
        return Err(ApiError::invalid("response_id", "Cannot delete an in-flight response."));
    }
    call.foundry.store().remove_response(&record.id);
    Ok(Json(json!({"id": record.id, "object": "response", "deleted": true})))
}

/// `GET /responses/{id}/input_items`.
pub(crate) async fn input_items(call: Call) -> Result<Json<Value>, ApiError> {
    let record = stored(&call)?;
    let all: Vec<Value> = record.history.iter().chain(&record.input).cloned().collect();
    call.page(&all).map(Json)
}

/// `GET /responses`, newest first unless asked otherwise.
pub(crate) async fn list(call: Call) -> Result<Json<Value>, ApiError> {
    let (name, id) = (call.query("agent_name"), call.query("agent_id"));
    let conversation = call.query("conversation_id");
    let fits = |record: &&Record| {
        let agent = record.agent.as_deref();
        name.is_none_or(|name| agent.and_then(|agent| agent.split(':').next()) == Some(name))
            && id.is_none_or(|id| agent == Some(id))
            && conversation.is_none_or(|id| record.conversation.as_deref() == Some(id))
    };
    let all: Vec<Value> = call.foundry.store().responses().filter(fits).map(|record| record.snapshot.clone()).collect();
    call.page(&all).map(Json)
}

fn stored(call: &Call) -> Result<Record, ApiError> {
    let id = call.param("response");
    if !ids::is_well_formed(id, &["resp", "caresp"]) {
        return Err(ApiError::malformed_id("response_id"));
    }
    call.foundry.store().response(id).cloned().ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", format!("Response with id '{id}' not found."))
            .param("response_id")
    })
}
