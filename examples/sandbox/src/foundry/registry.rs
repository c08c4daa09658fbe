//! `/agents`: made, changed, versioned, enabled, published. The agents of the table are there from the start; the first
//! change of one makes a copy that is kept in the store.

use axum::Json;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::agents::Agent;
use super::error::ApiError;
use super::form::Raw;
use super::http::{Call, Payload};
use super::{sessions, sources};
use crate::constants::FOUNDRY_AGENT;
use crate::state::uuid;

type Answer = Result<Json<Value>, ApiError>;

/// An agent that was made or changed. `versions` is oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) resource: Value,
    pub(crate) versions: Vec<Value>,
    /// The code of versions that were made of code, by version.
    pub(crate) archives: Vec<(String, Bytes)>,
    pub(crate) deleted: bool,
}

/// Kinds that need an opt-in, and which.
const PREVIEWS: [(&str, &str); 3] = [
    ("workflow", "WorkflowAgents=V1Preview"),
    ("external", "ExternalAgents=V1Preview"),
    ("voice", "VoiceAgents=V1Preview"),
];

/// `GET /agents`.
pub(crate) async fn list(call: Call) -> Answer {
    let kind = call.query("kind");
    let mut all = known(&call);
    all.retain(|agent| {
        kind.is_none_or(|kind| agent.pointer("/versions/latest/definition/kind").and_then(Value::as_str) == Some(kind))
    });
    call.page(&all).map(Json)
}

/// `GET /agents/{name}`.
pub(crate) async fn get(call: Call) -> Answer {
    find(&call, call.param("agent")).map(|agent| Json(agent.resource))
}

/// `POST /agents`.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Answer {
    let name = new_name(&call, &members)?;
    add_version(&call, &name, &members)?;
    find(&call, &name).map(|agent| Json(agent.resource))
}

/// The name of an agent that is to be made; 409 when it is taken.
pub(crate) fn new_name(call: &Call, members: &Map<String, Value>) -> Result<String, ApiError> {
    let Some(name) = members.get("name").and_then(Value::as_str) else {
        return Err(ApiError::invalid("name", "Missing required parameter: 'name'."));
    };
    if find(call, name).is_ok() {
        let text = format!("Agent {name} already exists.");
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", text));
    }
    Ok(name.to_owned())
}

/// `POST /agents/{name}` makes a version; `POST /agents/{name}:enable` and `:disable` switch.
pub(crate) async fn update(call: Call, Payload(members): Payload) -> Answer {
    let name = call.param("agent");
    let (name, state) = match name.rsplit_once(':') {
        Some((name, "enable")) => (name, Some("enabled")),
        Some((name, "disable")) => (name, Some("disabled")),
        _ => (name, None),
    };
    let mut agent = find(&call, name)?;
    let Some(state) = state else {
        add_version(&call, name, &members)?;
        return find(&call, name).map(|agent| Json(agent.resource));
    };
    set(&mut agent.resource, "state", json!(state));
    let resource = agent.resource.clone();
    keep(&call, agent);
    Ok(Json(resource))
}

/// `DELETE /agents/{name}`.
pub(crate) async fn delete(call: Call) -> Answer {
    let mut agent = find(&call, call.param("agent"))?;
    sessions::leave(&call, &agent.name, None)?;
    agent.deleted = true;
    let name = agent.name.clone();
    keep(&call, agent);
    Ok(Json(json!({"object": "agent.deleted", "name": name, "deleted": true})))
}

/// `PATCH /agents/{name}`: members of the endpoint that are named replace those there, `null` removes them.
pub(crate) async fn patch(call: Call, body: Bytes) -> Answer {
    let kind = call.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind != b"application/merge-patch+json" {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_type",
            "This API method only accepts 'application/merge-patch+json' requests.",
        ));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(&body) else {
        return Err(ApiError::bad("invalid_request", "request body must be a JSON object"));
    };
    let mut agent = find(&call, call.param("agent"))?;
    if let Some(Value::Object(endpoint)) = members.get("agent_endpoint") {
        check_endpoint(endpoint)?;
        for (name, value) in endpoint {
            set_at(&mut agent.resource, "agent_endpoint", name, value.clone());
        }
    }
    if let Some(card) = members.get("agent_card") {
        set(&mut agent.resource, "agent_card", card.clone());
    }
    let resource = agent.resource.clone();
    keep(&call, agent);
    Ok(Json(resource))
}

/// `POST /agents/{name}/versions` makes the agent, too, when there is none. A form brings code.
pub(crate) async fn create_version(call: Call, body: Raw) -> Answer {
    if body.boundary().is_some() {
        return sources::from_code(&call, &body).map(Json);
    }
    let Payload(members) = body.json()?;
    add_version(&call, call.param("agent"), &members).map(Json)
}

/// `GET /agents/{name}/versions`.
pub(crate) async fn versions(call: Call) -> Answer {
    let agent = find(&call, call.param("agent"))?;
    call.page(&agent.versions).map(Json)
}

/// `GET /agents/{name}/versions/{version}`.
pub(crate) async fn version(call: Call) -> Answer {
    let agent = find(&call, call.param("agent"))?;
    let wanted = call.param("version");
    let found =
        agent.versions.into_iter().find(|version| version.get("version").and_then(Value::as_str) == Some(wanted));
    found.map(Json).ok_or_else(|| no_version(call.param("agent"), wanted))
}

/// `DELETE /agents/{name}/versions/{version}`.
pub(crate) async fn delete_version(call: Call) -> Answer {
    let mut agent = find(&call, call.param("agent"))?;
    let (name, wanted) = (call.param("agent"), call.param("version"));
    let before = agent.versions.len();
    agent.versions.retain(|version| version.get("version").and_then(Value::as_str) != Some(wanted));
    if agent.versions.len() == before {
        return Err(no_version(name, wanted));
    }
    sessions::leave(&call, name, Some(wanted))?;
    keep(&call, agent);
    Ok(Json(json!({"object": "agent.version.deleted", "name": name, "version": wanted, "deleted": true})))
}

pub(crate) fn no_version(name: &str, version: &str) -> ApiError {
    ApiError::not_found(&format!("Agent {name} with version {version} not found."))
}

/// An agent by name, changed or as it came.
pub(crate) fn find(call: &Call, name: &str) -> Result<Registered, ApiError> {
    let missing = || ApiError::not_found(&format!("Agent {name} not found."));
    let kept = call.foundry.store().agents.iter().find(|agent| agent.name == name).cloned();
    if let Some(agent) = kept {
        return if agent.deleted { Err(missing()) } else { Ok(agent) };
    }
    let resource = Agent::find(name, FOUNDRY_AGENT).ok_or_else(missing)?.resource(call.foundry.clock.now());
    let versions = resource.pointer("/versions/latest").cloned().into_iter().collect();
    Ok(Registered { name: name.to_owned(), resource, versions, archives: Vec::new(), deleted: false })
}

/// Whether an agent was made here.
pub(crate) fn is_made(call: &Call, name: &str) -> bool {
    call.foundry.store().agents.iter().any(|agent| agent.name == name && !agent.deleted)
}

fn known(call: &Call) -> Vec<Value> {
    let names = Agent::names(FOUNDRY_AGENT);
    let made: Vec<String> = call.foundry.store().agents.iter().map(|agent| agent.name.clone()).collect();
    let more = made.into_iter().filter(|name| !names.contains(name));
    let all: Vec<String> = names.iter().cloned().chain(more).collect();
    all.iter().filter_map(|name| find(call, name).ok()).map(|agent| agent.resource).collect()
}

pub(crate) fn keep(call: &Call, agent: Registered) {
    let mut store = call.foundry.store();
    store.agents.retain(|known| known.name != agent.name);
    store.agents.push(agent);
}

pub(crate) fn add_version(call: &Call, name: &str, members: &Map<String, Value>) -> Result<Value, ApiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    let good =
        name.len() <= 63 && name.bytes().all(plain) && edge(bytes.first().copied()) && edge(bytes.last().copied());
    if !good {
        return Err(ApiError::invalid("name", "The agent name is not valid."));
    }
    let definition = members.get("definition").filter(|definition| definition.is_object());
    let definition =
        definition.ok_or_else(|| ApiError::invalid("definition", "Missing required parameter: 'definition'."))?;
    let kind = definition.get("kind").and_then(Value::as_str).unwrap_or_default();
    if let Some((_, feature)) = PREVIEWS.iter().find(|(preview, _)| *preview == kind) {
        check_feature(call, feature)?;
    } else if !matches!(kind, "prompt" | "hosted") {
        return Err(ApiError::invalid("definition.kind", "The kind of the definition is not known."));
    }
    if kind == "prompt" && definition.get("model").and_then(Value::as_str).is_none() {
        return Err(ApiError::invalid("definition.model", "Missing required parameter: 'definition.model'."));
    }
    if kind == "hosted"
        && ["code_configuration", "container_configuration"].iter().all(|one| definition.get(one).is_some())
    {
        let text = "A hosted agent has either 'container_configuration' or 'code_configuration'.";
        return Err(ApiError::invalid("definition", text));
    }
    let now = call.foundry.clock.now();
    let mut agent = find(call, name).unwrap_or_else(|_| Registered {
        name: name.to_owned(),
        resource: json!({
            "object": "agent", "id": name, "name": name, "state": "enabled", "versions": {},
            "agent_endpoint": {
                "version_selector": {"version_selection_rules": [
                    {"type": "FixedRatio", "agent_version": "@latest", "traffic_percentage": 100}]},
                "protocol_configuration": {"responses": {}},
                "authorization_schemes": [{"type": "Entra"}],
                "publish_approval_status": "not_published",
            },
            "instance_identity": {"client_id": uuid(), "principal_id": uuid(), "status": "active"},
            "blueprint": null, "agent_card": null,
        }),
        versions: Vec::new(),
        archives: Vec::new(),
        deleted: false,
    });
    let numbers = agent.versions.iter().filter_map(|version| version.get("version")?.as_str()?.parse::<u32>().ok());
    let number = (numbers.max().unwrap_or_default() + 1).to_string();
    let version = json!({
        "object": "agent.version", "id": format!("{name}:{number}"), "name": name, "version": number,
        "description": members.get("description").cloned().unwrap_or_default(), "created_at": now,
        "definition": definition, "draft": members.get("draft").cloned().unwrap_or(json!(false)), "status": "active",
        "metadata": members.get("metadata").cloned().unwrap_or_else(|| json!({})), "agent_guid": uuid(),
    });
    agent.versions.push(version.clone());
    set(&mut agent.resource, "versions", json!({"latest": version}));
    keep(call, agent);
    Ok(version)
}

/// 403 without the opt-in.
pub(crate) fn check_feature(call: &Call, feature: &str) -> Result<(), ApiError> {
    let given = call.headers.get("foundry-features").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given.split(',').any(|one| one.trim() == feature) {
        return Ok(());
    }
    let text = format!("This operation requires the opt-in {feature} in the Foundry-Features header.");
    Err(ApiError::new(StatusCode::FORBIDDEN, "preview_feature_required", text).param("Foundry-Features"))
}

/// The two schemes of Bot Service exclude each other; the old form of the protocols is gone.
fn check_endpoint(endpoint: &Map<String, Value>) -> Result<(), ApiError> {
    if endpoint.contains_key("protocols") {
        return Err(ApiError::invalid("agent_endpoint.protocols", "Unknown parameter: 'agent_endpoint.protocols'."));
    }
    let schemes = endpoint.get("authorization_schemes").and_then(Value::as_array).into_iter().flatten();
    let kinds: Vec<&str> = schemes.filter_map(|scheme| scheme.get("type")?.as_str()).collect();
    if kinds.contains(&"BotServiceRbac") && kinds.contains(&"BotServiceTenant") {
        let text = "An endpoint can use either BotServiceRbac or BotServiceTenant, but not both.";
        return Err(ApiError::invalid("agent_endpoint.authorization_schemes", text));
    }
    Ok(())
}

pub(crate) fn set(resource: &mut Value, name: &str, value: Value) {
    if let Some(members) = resource.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

pub(crate) fn set_at(resource: &mut Value, parent: &str, name: &str, value: Value) {
    if let Some(members) = resource.get_mut(parent).and_then(Value::as_object_mut) {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value);
        }
    }
}
