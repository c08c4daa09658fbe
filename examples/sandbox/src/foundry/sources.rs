//! Agents made of something that lies ready: a manifest of the catalogue, or code in an archive.
//!
//! | manifest | makes | parameters |
//! | --- | --- | --- |
//! | `helpdesk-template` | a prompt agent | `tone`; `company`, `Contoso` when not given |
//! | `triage-workflow` | a workflow, which needs its opt-in | none |

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::agents::DEPLOYMENT;
use super::error::ApiError;
use super::form::Raw;
use super::http::{Call, Payload};
use super::registry::{self, set};

type Answer = Result<Json<Value>, ApiError>;

/// A template of a definition, with its parameters and what they are when not given.
struct Manifest {
    id: &'static str,
    parameters: &'static [(&'static str, Option<&'static str>)],
    definition: fn(&Map<String, Value>) -> Value,
}

const CATALOGUE: [Manifest; 2] = [
    Manifest {
        id: "helpdesk-template",
        parameters: &[("tone", None), ("company", Some("Contoso"))],
        definition: helpdesk,
    },
    Manifest { id: "triage-workflow", parameters: &[], definition: triage },
];

fn helpdesk(values: &Map<String, Value>) -> Value {
    let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default();
    let instructions = format!("You are the help desk of {}. Be {}.", text("company"), text("tone"));
    json!({"kind": "prompt", "model": DEPLOYMENT, "instructions": instructions})
}

fn triage(_: &Map<String, Value>) -> Value {
    json!({"kind": "workflow", "workflow": "kind: workflow\ntrigger:\n  kind: OnConversationStart\n"})
}

/// `POST /agents:import`.
pub(crate) async fn import(call: Call, Payload(members): Payload) -> Answer {
    let name = registry::new_name(&call, &members)?;
    registry::add_version(&call, &name, &materialized(members)?)?;
    registry::find(&call, &name).map(|agent| Json(agent.resource))
}

/// `POST /agents/{name}/import`: a new version, unless it would be the newest one again.
pub(crate) async fn import_update(call: Call, Payload(members): Payload) -> Answer {
    let name = call.param("agent");
    let agent = registry::find(&call, name)?;
    let members = materialized(members)?;
    if !is_newest(&agent.versions, &members) {
        registry::add_version(&call, name, &members)?;
    }
    registry::find(&call, name).map(|agent| Json(agent.resource))
}

/// `POST /agents/{name}/versions:import`.
pub(crate) async fn import_version(call: Call, Payload(members): Payload) -> Answer {
    registry::add_version(&call, call.param("agent"), &materialized(members)?).map(Json)
}

/// The request for a version that a manifest and its values stand for.
fn materialized(mut members: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let Some(Value::String(id)) = members.remove("manifest_id") else {
        return Err(ApiError::invalid("manifest_id", "Missing required parameter: 'manifest_id'."));
    };
    let Some(Value::Object(mut values)) = members.remove("parameter_values") else {
        return Err(ApiError::invalid("parameter_values", "Missing required parameter: 'parameter_values'."));
    };
    let manifest = CATALOGUE.iter().find(|manifest| manifest.id == id);
    let manifest = manifest.ok_or_else(|| ApiError::not_found(&format!("Manifest {id} not found.")))?;
    if let Some(name) = values.keys().find(|name| !manifest.parameters.iter().any(|(known, _)| known == name)) {
        let param = format!("parameter_values.{name}");
        return Err(ApiError::invalid(&param, format!("Unknown parameter: '{param}'.")));
    }
    for (name, default) in manifest.parameters {
        let param = format!("parameter_values.{name}");
        match (values.get(*name), default) {
            (Some(Value::String(_)), _) => {}
            (Some(_), _) => return Err(ApiError::invalid(&param, format!("'{param}' must be a string."))),
            (None, Some(default)) => {
                values.insert((*name).to_owned(), json!(default));
            }
            (None, None) => {
                return Err(ApiError::invalid(&param, format!("Missing required parameter: '{param}'.")));
            }
        }
    }
    members.insert("definition".to_owned(), (manifest.definition)(&values));
    Ok(members)
}

/// Whether the newest version is just what is asked for.
fn is_newest(versions: &[Value], members: &Map<String, Value>) -> bool {
    let Some(newest) = versions.last() else { return false };
    let same = |name: &str| {
        let wanted = members.get(name).filter(|value| !value.is_null());
        let there = newest.get(name).filter(|value| !value.is_null() && **value != json!({}));
        wanted.filter(|value| **value != json!({})) == there
    };
    same("definition") && same("description") && same("metadata")
}

/// `POST /agents/{name}/versions` as a form of `metadata` and `code`.
pub(crate) fn from_code(call: &Call, form: &Raw) -> Result<Value, ApiError> {
    let (Some((_, metadata)), Some((_, code))) = (form.part("metadata"), form.part("code")) else {
        return Err(ApiError::invalid("code", "The form needs 'metadata' and 'code'."));
    };
    let Ok(Value::Object(mut members)) = serde_json::from_slice(&metadata) else {
        return Err(ApiError::invalid("metadata", "The part 'metadata' must be a JSON object."));
    };
    let found: String = digest(&SHA256, &code).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let given = call.headers.get("x-ms-code-zip-sha256").and_then(|value| value.to_str().ok());
    let given = given
        .ok_or_else(|| ApiError::invalid("x-ms-code-zip-sha256", "The header 'x-ms-code-zip-sha256' is required."))?;
    if !given.eq_ignore_ascii_case(&found) {
        let text = "The digest of the uploaded archive is not the one of the header.";
        return Err(ApiError::invalid("x-ms-code-zip-sha256", text));
    }
    let configuration = members.get_mut("definition").and_then(|definition| definition.get_mut("code_configuration"));
    let Some(configuration) = configuration.filter(|configuration| configuration.is_object()) else {
        let param = "definition.code_configuration";
        return Err(ApiError::invalid(param, format!("Missing required parameter: '{param}'.")));
    };
    set(configuration, "content_hash", json!(found));
    let name = call.param("agent");
    let newest = registry::find(call, name)
        .ok()
        .and_then(|agent| is_newest(&agent.versions, &members).then(|| agent.versions.last().cloned()).flatten());
    if let Some(newest) = newest {
        return Ok(newest);
    }
    let version = registry::add_version(call, name, &members)?;
    let mut agent = registry::find(call, name)?;
    let number = version.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
    agent.archives.push((number, code));
    registry::keep(call, agent);
    Ok(version)
}

/// `GET /agents/{name}/code:download?agent_version=`.
pub(crate) async fn download(call: Call) -> Result<Response, ApiError> {
    let name = call.param("agent");
    let agent = registry::find(&call, name)?;
    let newest = agent.versions.last().and_then(|version| version.get("version")?.as_str());
    let wanted = call.query("agent_version").or(newest).unwrap_or_default();
    if !agent.versions.iter().any(|version| version.get("version").and_then(Value::as_str) == Some(wanted)) {
        return Err(registry::no_version(name, wanted));
    }
    let code: Option<&Bytes> = agent.archives.iter().find(|(version, _)| version == wanted).map(|(_, code)| code);
    let code = code.ok_or_else(|| ApiError::not_found(&format!("Agent {name} with version {wanted} has no code.")))?;
    let mut response = (StatusCode::OK, code.clone()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(response)
}
