//! `POST /responses`: finds the agent, reads the history, takes the lock, plays the script, answers.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::agents::{Agent, Behaviour, DEPLOYMENT, PREVIEW};
use super::conversations;
use super::error::ApiError;
use super::http::{Call, Payload};
use super::ids;
use super::items;
use super::plays;
use super::registry;
use super::request::CreateRequest;
use super::run;
use super::sessions::Visit;
use super::sse::{self, Frame, Framing, StopOnDrop};
use super::store::{Feed, Record, Store};
use super::turn::{self, Turn};
use crate::constants::FOUNDRY_AGENT;

/// `POST /responses`.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Result<Response, ApiError> {
    let request = CreateRequest::parse(members, call.agent.as_deref())?;
    let agent = find_agent(&call, &request)?;
    let prefix = if agent.as_ref().is_some_and(|agent| agent.hosted) { "caresp" } else { "resp" };
    let response_id = ids::fresh(prefix);
    let input = request.input_items(&response_id).map_err(|error| form_of(agent.as_ref(), error))?;
    if let Some(agent) = &agent {
        let calls = call.foundry.store().count(&agent.name);
        agent.refusal(calls).map_or(Ok(()), Err)?;
    }
    let mut turn = Turn {
        response_id,
        created_at: call.foundry.clock.now(),
        request,
        agent,
        history: Vec::new(),
        input,
        user: call.user(),
    };
    let visit = Visit::of(&call, &turn)?;
    let (behaviour, feed) = begin(&call, &mut turn, visit)?;
    let steps = plays::write(behaviour, &turn);
    run::start(Arc::clone(&call.foundry), turn.response_id.clone(), steps, Arc::clone(&feed));
    answer(&call, &turn, behaviour, feed).await
}

fn find_agent(call: &Call, request: &CreateRequest) -> Result<Option<Agent>, ApiError> {
    let Some(reference) = &request.agent else {
        let model = request.members.get("model").and_then(Value::as_str).unwrap_or_default();
        return if model == DEPLOYMENT {
            Ok(None)
        } else {
            Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "DeploymentNotFound",
                "The API deployment for this resource does not exist. If you created the deployment within the last \
                 5 minutes, please wait a moment and try again.",
            ))
        };
    };
    let registered = registry::find(call, &reference.name)?;
    if registered.resource.get("state").and_then(Value::as_str) == Some("disabled") {
        let text = format!("Agent {} is disabled.", reference.name);
        return Err(ApiError::new(StatusCode::FORBIDDEN, "agent_disabled", text));
    }
    let made = registry::is_made(call, &reference.name);
    let kind = registered.resource.pointer("/versions/latest/definition/kind").and_then(Value::as_str);
    let found = Agent::find(&reference.name, FOUNDRY_AGENT)
        .or_else(|| made.then(|| Agent::made(&reference.name, kind == Some("hosted"))));
    let versions = |wanted: &str| {
        registered.versions.iter().any(|version| version.get("version").and_then(Value::as_str) == Some(wanted))
    };
    let known_version = reference.version.as_deref().is_none_or(versions);
    let agent = found.filter(|_| known_version).ok_or_else(|| {
        let version =
            reference.version.as_deref().map_or_else(String::new, |version| format!(" with version {version}"));
        ApiError::not_found(&format!("Agent {}{version} not found.", reference.name))
    })?;
    if agent.preview {
        check_preview(call)?;
    }
    Ok(Some(agent))
}

fn check_preview(call: &Call) -> Result<(), ApiError> {
    let mut features = call.headers.get_all("foundry-features").iter().filter_map(|value| value.to_str().ok());
    if features.any(|list| list.split(',').any(|feature| feature.trim() == PREVIEW)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "preview_feature_required",
        format!(
            "This operation requires the following opt-in preview feature(s): {PREVIEW}. Include the \
                 'Foundry-Features: {PREVIEW}' header in your request."
        ),
    )
    .param("Foundry-Features"))
}

/// A hosted server answers schema errors in its own form.
fn form_of(agent: Option<&Agent>, error: ApiError) -> ApiError {
    if agent.is_some_and(|agent| agent.hosted) { error.into_schema() } else { error }
}

/// Reads the history, checks it, takes the conversation's lock, stores the input and the new response.
fn begin(call: &Call, turn: &mut Turn, visit: Option<Visit>) -> Result<(Behaviour, Arc<Feed>), ApiError> {
    let mut store = call.foundry.store();
    turn.history = history(&store, turn)?;
    resolve_references(&store, turn)?;
    items::check_pairs(&turn.history, &turn.input)?;
    let behaviour = behaviour(&mut store, turn)?;
    visit.map_or(Ok(()), |visit| visit.enter(&mut store))?;
    let status = if turn.request.background { "queued" } else { "in_progress" };
    let feed = Arc::new(Feed::default());
    let record = Record {
        id: turn.response_id.clone(),
        snapshot: turn.snapshot(status, &[]),
        input: turn.input.clone(),
        // A conversation keeps its own items; only a chain of responses needs them here.
        history: if turn.request.conversation.is_some() { Vec::new() } else { turn.history.clone() },
        conversation: turn.request.conversation.clone(),
        previous: turn.request.previous.clone(),
        agent: turn.agent.as_ref().map(Agent::id),
        stored: turn.request.store,
        background: turn.request.background,
        streamed: turn.request.stream && behaviour != Behaviour::Json,
        feed: turn.request.background.then(|| Arc::clone(&feed)),
    };
    if let Some(conversation) = turn.request.conversation.as_deref().and_then(|id| store.conversation_mut(id)) {
        conversation.locked_by = Some(turn.response_id.clone());
        conversation.items.extend(turn.input.iter().cloned());
        if let Some(agent) = record.agent.clone().filter(|agent| !conversation.agents.contains(agent)) {
            conversation.agents.push(agent);
        }
    }
    store.insert(record);
    Ok((behaviour, feed))
}

fn history(store: &Store, turn: &Turn) -> Result<Vec<Value>, ApiError> {
    if let Some(id) = &turn.request.conversation {
        let conversation = store.conversation(id).ok_or_else(|| conversations::not_found(id))?;
        if conversation.locked_by.is_some() {
            return Err(conversations::locked(turn.hosted()));
        }
        return Ok(conversation.items.clone());
    }
    let Some(id) = &turn.request.previous else {
        return Ok(Vec::new());
    };
    let previous = store.response(id).ok_or_else(|| {
        ApiError::bad("previous_response_not_found", format!("Previous response with id '{id}' not found."))
            .param("previous_response_id")
    })?;
    if turn.hosted() && store.responses().any(|record| record.previous.as_ref() == Some(id)) {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "conversation_fork_not_supported",
            "previous_response_id is not the newest response of its conversation.",
        )
        .kind("conflict"));
    }
    if let Some(conversation) = previous.conversation.as_deref().and_then(|id| store.conversation(id)) {
        return Ok(conversation.items.clone());
    }
    let mut history = previous.history.clone();
    history.extend(previous.input.iter().cloned());
    history.extend(previous.output());
    Ok(history)
}

/// An `item_reference` stands for an item the agent knows already, or one of an earlier response.
fn resolve_references(store: &Store, turn: &mut Turn) -> Result<(), ApiError> {
    let mut resolved = Vec::new();
    for item in std::mem::take(&mut turn.input) {
        if items::kind(&item) != "item_reference" {
            resolved.push(item);
            continue;
        }
        let id = items::field(&item, "id");
        if turn.history.iter().any(|known| items::field(known, "id") == id) {
            continue;
        }
        let found = store.responses().flat_map(|record| record.output().into_iter().chain(record.input.clone()));
        let mut found = found.filter(|known| items::field(known, "id") == id);
        resolved.push(found.next().ok_or_else(|| conversations::item_not_found(id))?);
    }
    turn.input = resolved;
    Ok(())
}

/// The agent's behaviour, or for one turn of a remembering agent the one its text names.
fn behaviour(store: &mut Store, turn: &mut Turn) -> Result<Behaviour, ApiError> {
    let own = turn.agent.as_ref().map_or(Behaviour::Memory, |agent| agent.behaviour);
    if own != Behaviour::Memory {
        return Ok(own);
    }
    let text = turn.newest_text();
    let Some(other) = turn::scripted(&text).and_then(|(name, _)| Agent::find(name, "")) else {
        return Ok(own);
    };
    let calls = store.count(&other.name);
    other.refusal(calls).map_or(Ok(()), Err)?;
    if let Some(agent) = &mut turn.agent {
        agent.framing = other.framing;
    }
    Ok(other.behaviour)
}

async fn answer(call: &Call, turn: &Turn, behaviour: Behaviour, feed: Arc<Feed>) -> Result<Response, ApiError> {
    let background = turn.request.background;
    let guard = StopOnDrop((!background).then(|| Arc::clone(&feed)));
    if behaviour == Behaviour::Silent {
        std::future::pending::<()>().await;
    }
    if behaviour == Behaviour::Lost {
        finished(&feed, guard).await;
        return Err(ApiError::verbatim(StatusCode::SERVICE_UNAVAILABLE, "text/plain", ""));
    }
    let mut response = if turn.request.stream && behaviour != Behaviour::Json {
        let framing = turn.agent.as_ref().map_or(Framing::Lf, |agent| agent.framing);
        sse::stream(feed, framing, None, guard)
    } else {
        if !background {
            match finished(&feed, guard).await {
                Ending::Good => {}
                Ending::Cut => return Ok(cut()),
                Ending::Error => {
                    return Err(ApiError::server(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "server_error",
                        "An error occurred while processing your request.",
                    ));
                }
            }
        }
        let mut store = call.foundry.store();
        let snapshot = store.running(&turn.response_id).map(|record| record.snapshot.clone());
        if !turn.request.store {
            store.remove_response(&turn.response_id);
        }
        Json(snapshot.unwrap_or_default()).into_response()
    };
    add_headers(&mut response, turn);
    Ok(response)
}

enum Ending {
    Good,
    Error,
    Cut,
}

/// Waits for the end of a run nobody streams.
async fn finished(feed: &Feed, mut guard: StopOnDrop) -> Ending {
    let mut ending = Ending::Good;
    for index in 0.. {
        match feed.frame(index).await {
            Frame::End => break,
            Frame::Drop => {}
            Frame::Cut => {
                ending = Ending::Cut;
                break;
            }
            Frame::Event(event) => {
                let kind = event.get("type").and_then(Value::as_str);
                if kind == Some("error") || (kind.is_none() && event.get("error").is_some()) {
                    ending = Ending::Error;
                }
            }
            _ => {}
        }
    }
    guard.0 = None;
    ending
}

/// An answer whose body breaks off.
fn cut() -> Response {
    let first = stream::iter([Ok(Bytes::from_static(b"{\"id\":\"resp_"))]);
    let pieces = first.chain(stream::once(async { Err(sse::broken().await) }));
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn add_headers(response: &mut Response, turn: &Turn) {
    let headers = response.headers_mut();
    if turn.hosted() {
        if let Ok(value) = HeaderValue::from_str(&turn.session_id()) {
            headers.insert(HeaderName::from_static("x-agent-session-id"), value);
        }
        return;
    }
    for (name, value) in [
        ("x-ratelimit-limit-requests", "1000"),
        ("x-ratelimit-remaining-requests", "999"),
        ("x-ratelimit-limit-tokens", "1000000"),
        ("x-ratelimit-remaining-tokens", "999000"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
