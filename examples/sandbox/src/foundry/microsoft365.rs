//! `/agents/{name}/microsoft365`: defaults, publish, package, unpublish.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::http::{Call, Payload};
use super::registry::{find, keep, set_at};
use crate::state::uuid;

/// What was published, by agent.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) agent: String,
    pub(crate) body: Map<String, Value>,
    pub(crate) title: String,
    pub(crate) app: String,
    pub(crate) versions: Vec<String>,
}

/// `GET …/publishdefaults`.
pub(crate) async fn defaults(call: Call) -> Result<Json<Value>, ApiError> {
    let agent = find(&call, call.param("agent"))?;
    let store = call.foundry.store();
    let published = store.publications.iter().find(|publication| publication.agent == agent.name);
    let member = |name: &str| published.and_then(|publication| publication.body.get(name)).cloned().unwrap_or_default();
    let last = published.and_then(|publication| publication.versions.last()).cloned();
    Ok(Json(json!({
        "appPublishScope": member("publishScope"),
        "agentName": agent.name,
        "agentDisplayName": agent.name,
        "appRegistrationClientId": agent.resource.pointer("/instance_identity/client_id").cloned().unwrap_or_default(),
        "botServiceArmId": member("botServiceArmId"),
        "appVersion": last,
        "recommendedNextAppVersion": next(last.as_deref()),
        "titleId": published.map(|publication| publication.title.clone()),
        "teamsAppId": published.map(|publication| publication.app.clone()),
        "shortDescription": "An agent", "fullDescription": "An agent of the sandbox", "developerName": "Sandbox",
        "developerWebsiteUrl": "https://sandbox.example", "privacyUrl": "https://sandbox.example/privacy",
        "termsOfUseUrl": "https://sandbox.example/terms",
    })))
}

fn next(version: Option<&str>) -> String {
    let Some((head, last)) = version.and_then(|version| version.rsplit_once('.')) else {
        return "1.0.0".to_owned();
    };
    format!("{head}.{}", last.parse::<u32>().unwrap_or_default() + 1)
}

/// `POST …/publish`.
pub(crate) async fn publish(call: Call, Payload(members): Payload) -> Result<Json<Value>, ApiError> {
    let mut agent = find(&call, call.param("agent"))?;
    check(&agent.resource, &members)?;
    let scope = members.get("publishScope").and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = members.get("appVersion").and_then(Value::as_str).unwrap_or("1.0.0").to_owned();
    let (title, app) = {
        let mut store = call.foundry.store();
        let place = match store.publications.iter().position(|publication| publication.agent == agent.name) {
            Some(place) => place,
            None => {
                let (title, app) = (format!("T_{}", uuid()), uuid());
                let versions = Vec::new();
                store.publications.push(Publication {
                    agent: agent.name.clone(),
                    body: Map::new(),
                    title,
                    app,
                    versions,
                });
                store.publications.len() - 1
            }
        };
        let publication = store.publications.get_mut(place).ok_or_else(ApiError::unauthorized)?;
        if publication.versions.contains(&version) {
            return Err(ApiError::bad("UserError", format!("The app version {version} already exists.")));
        }
        publication.versions.push(version);
        publication.body = members;
        (publication.title.clone(), publication.app.clone())
    };
    let (scheme, status) = match scope.as_str() {
        "Tenant" => ("BotServiceTenant", "pending"),
        _ => ("BotServiceRbac", "no_approval_needed"),
    };
    let activity = agent.resource.pointer("/agent_endpoint/protocol_configuration/activity").cloned();
    let mut protocols =
        agent.resource.pointer("/agent_endpoint/protocol_configuration").cloned().unwrap_or_else(|| json!({}));
    if let Some(protocols) = protocols.as_object_mut() {
        protocols.insert("activity".to_owned(), activity.unwrap_or_else(|| json!({})));
    }
    set_at(&mut agent.resource, "agent_endpoint", "protocol_configuration", protocols);
    let schemes = json!([{"type": "Entra"}, {"type": scheme}]);
    set_at(&mut agent.resource, "agent_endpoint", "authorization_schemes", schemes);
    set_at(&mut agent.resource, "agent_endpoint", "publish_approval_status", json!(status));
    keep(&call, agent);
    Ok(Json(json!({"titleId": title, "teamsAppId": app})))
}

/// `POST …/zip`: an archive without files, which is what the bytes are worth here.
pub(crate) async fn package(call: Call, Payload(members): Payload) -> Result<Response, ApiError> {
    let agent = find(&call, call.param("agent"))?;
    check(&agent.resource, &members)?;
    let accepted = call.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted != "application/zip" {
        return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", "The answer is application/zip."));
    }
    // The end record of an empty archive.
    let mut bytes = b"PK\x05\x06".to_vec();
    bytes.resize(22, 0);
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(response)
}

/// `POST …/unpublish`.
pub(crate) async fn unpublish(call: Call) -> Result<StatusCode, ApiError> {
    let mut agent = find(&call, call.param("agent"))?;
    call.foundry.store().publications.retain(|publication| publication.agent != agent.name);
    set_at(&mut agent.resource, "agent_endpoint", "publish_approval_status", json!("not_published"));
    keep(&call, agent);
    Ok(StatusCode::NO_CONTENT)
}

fn check(agent: &Value, members: &Map<String, Value>) -> Result<(), ApiError> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let refuse = |name: &str, why: &str| Err(ApiError::bad("UserError", why).param(name));
    if agent.get("instance_identity").is_none_or(Value::is_null) {
        return refuse("agentName", "The agent has no identity and cannot be published.");
    }
    if !matches!(text("publishScope"), "Personal" | "Shared" | "Tenant") {
        return refuse("publishScope", "publishScope must be Personal, Shared or Tenant.");
    }
    let autopilot = members.get("publishAsAutopilot") == Some(&json!(true));
    if autopilot == members.contains_key("botServiceArmId") {
        return refuse("botServiceArmId", "botServiceArmId is required unless publishAsAutopilot is true.");
    }
    let version = text("appVersion");
    let digits = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if members.contains_key("appVersion")
        && (!digits || version.starts_with('0') || !version.ends_with(|c: char| c.is_ascii_digit()))
    {
        return refuse("appVersion", "appVersion has digits and dots, no leading 0, and ends with a digit.");
    }
    if text("developerName").chars().count() > 32 {
        return refuse("developerName", "developerName has at most 32 characters.");
    }
    Ok(())
}
