//! Files, vector stores, connections, deployments, toolboxes, and the compaction of a conversation.

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::agents::DEPLOYMENT;
use super::error::ApiError;
use super::form::Raw;
use super::http::{Call, Payload};
use super::ids;

type Answer = Result<Json<Value>, ApiError>;

/// A file with its content.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) resource: Value,
    pub(crate) content: Bytes,
}

/// `POST /files`, a form of two parts.
pub(crate) async fn upload(call: Call, form: Raw) -> Answer {
    if form.boundary().is_none() {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", "Expected a form."));
    }
    let (Some((_, purpose)), Some((head, content))) = (form.part("purpose"), form.part("file")) else {
        return Err(ApiError::invalid("file", "The form needs 'purpose' and 'file'."));
    };
    let name = head.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let resource = json!({
        "id": ids::fresh("file"), "object": "file", "bytes": content.len(), "created_at": call.foundry.clock.now(),
        "filename": name, "purpose": String::from_utf8_lossy(&purpose), "status": "processed",
    });
    call.foundry.store().files.push(Stored { resource: resource.clone(), content });
    Ok(Json(resource))
}

/// `GET /files`.
pub(crate) async fn files(call: Call) -> Answer {
    let purpose = call.query("purpose");
    let fits = |file: &&Stored| {
        purpose.is_none_or(|purpose| file.resource.get("purpose").and_then(Value::as_str) == Some(purpose))
    };
    let all: Vec<Value> = call.foundry.store().files.iter().filter(fits).map(|file| file.resource.clone()).collect();
    call.page(&all).map(Json)
}

fn file(call: &Call) -> Result<Stored, ApiError> {
    let id = call.param("file");
    let found = call
        .foundry
        .store()
        .files
        .iter()
        .find(|file| file.resource.get("id").and_then(Value::as_str) == Some(id))
        .cloned();
    found.ok_or_else(|| ApiError::not_found(&format!("File '{id}' not found.")))
}

/// `GET /files/{id}`.
pub(crate) async fn get_file(call: Call) -> Answer {
    Ok(Json(file(&call)?.resource))
}

/// `GET /files/{id}/content`.
pub(crate) async fn file_content(call: Call) -> Result<Response, ApiError> {
    let mut response = file(&call)?.content.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// `DELETE /files/{id}`.
pub(crate) async fn delete_file(call: Call) -> Answer {
    file(&call)?;
    let id = call.param("file");
    call.foundry.store().files.retain(|file| file.resource.get("id").and_then(Value::as_str) != Some(id));
    Ok(Json(json!({"id": id, "object": "file", "deleted": true})))
}

/// `POST /vector_stores`.
pub(crate) async fn create_vector_store(call: Call, Payload(members): Payload) -> Answer {
    let files = members.get("file_ids").and_then(Value::as_array).map_or(0, Vec::len);
    let resource = json!({
        "id": ids::fresh("vs"), "object": "vector_store", "name": members.get("name").cloned().unwrap_or_default(),
        "created_at": call.foundry.clock.now(), "status": "completed", "usage_bytes": 0,
        "file_counts": {"in_progress": 0, "completed": files, "failed": 0, "cancelled": 0, "total": files},
    });
    call.foundry.store().vector_stores.push(resource.clone());
    Ok(Json(resource))
}

/// `GET /vector_stores`.
pub(crate) async fn vector_stores(call: Call) -> Answer {
    let all = call.foundry.store().vector_stores.clone();
    call.page(&all).map(Json)
}

/// `GET /vector_stores/{id}`.
pub(crate) async fn get_vector_store(call: Call) -> Answer {
    let id = call.param("store");
    let all = call.foundry.store().vector_stores.clone();
    one(&all, "id", id).ok_or_else(|| ApiError::not_found(&format!("Vector store '{id}' not found."))).map(Json)
}

/// `DELETE /vector_stores/{id}`.
pub(crate) async fn delete_vector_store(call: Call) -> Answer {
    let id = call.param("store").to_owned();
    let mut store = call.foundry.store();
    let before = store.vector_stores.len();
    store.vector_stores.retain(|resource| resource.get("id").and_then(Value::as_str) != Some(&id));
    if store.vector_stores.len() == before {
        return Err(ApiError::not_found(&format!("Vector store '{id}' not found.")));
    }
    Ok(Json(json!({"id": id, "object": "vector_store.deleted", "deleted": true})))
}

fn one(all: &[Value], key: &str, wanted: &str) -> Option<Value> {
    all.iter().find(|resource| resource.get(key).and_then(Value::as_str) == Some(wanted)).cloned()
}

fn connection_list() -> Vec<Value> {
    let connection = |name: &str, kind: &str, default: bool| {
        json!({"name": name, "id": format!("/connections/{name}"), "type": kind, "target": format!("https://{name}.sandbox.example"),
               "isDefault": default, "credentials": {"type": "ApiKey"}, "metadata": {}})
    };
    vec![
        connection("search", "CognitiveSearch", true),
        connection("search-two", "CognitiveSearch", false),
        connection("jira", "CustomKeys", true),
    ]
}

/// `GET /connections`, one entry a page, to make clients follow `nextLink`.
pub(crate) async fn connections(call: Call) -> Answer {
    let kind = call.query("connectionType");
    let only = call.query("defaultConnection") == Some("true");
    let mut all = connection_list();
    all.retain(|one| kind.is_none_or(|kind| one.get("type").and_then(Value::as_str) == Some(kind)));
    all.retain(|one| !only || one.get("isDefault") == Some(&json!(true)));
    let skip = call.query("skip").and_then(|skip| skip.parse::<usize>().ok()).unwrap_or_default();
    let more = kind.map(|kind| format!("&connectionType={kind}")).unwrap_or_default();
    let path =
        format!("/foundry/api/projects/{}/connections?api-version=v1&skip={}{more}", call.param("project"), skip + 1);
    let link = (skip + 1 < all.len()).then(|| format!("{}{path}", call.foundry.config.base_url));
    let page: Vec<Value> = all.into_iter().skip(skip).take(1).collect();
    Ok(Json(json!({"value": page, "nextLink": link})))
}

/// `GET /connections/{name}`.
pub(crate) async fn get_connection(call: Call) -> Answer {
    let name = call.param("connection");
    one(&connection_list(), "name", name)
        .ok_or_else(|| ApiError::not_found(&format!("Connection {name} not found.")))
        .map(Json)
}

/// `POST /connections/{name}/getConnectionWithCredentials`.
pub(crate) async fn connection_secrets(call: Call) -> Answer {
    let Json(mut connection) = get_connection(call).await?;
    if let Some(credentials) = connection.get_mut("credentials").and_then(Value::as_object_mut) {
        credentials.insert("key".to_owned(), json!("a-key-of-the-sandbox"));
    }
    Ok(Json(connection))
}

fn deployment_list() -> Vec<Value> {
    vec![json!({"type": "ModelDeployment", "name": DEPLOYMENT, "modelName": "gpt-4.1", "modelVersion": "2025-04-14",
                "modelPublisher": "OpenAI", "capabilities": {"chat_completion": "true"}, "sku": {"name": "GlobalStandard"},
                "connectionName": null})]
}

/// `GET /deployments`.
pub(crate) async fn deployments(_: Call) -> Answer {
    Ok(Json(json!({"value": deployment_list(), "nextLink": null})))
}

/// `GET /deployments/{name}`.
pub(crate) async fn get_deployment(call: Call) -> Answer {
    let name = call.param("deployment");
    one(&deployment_list(), "name", name)
        .ok_or_else(|| ApiError::not_found(&format!("Deployment {name} not found.")))
        .map(Json)
}

fn toolbox_list(now: i64) -> Vec<Value> {
    vec![json!({"id": "toolbox", "name": "toolbox", "updated_at": now, "default_version": "1", "versions": ["1"]})]
}

/// `GET /toolboxes`.
pub(crate) async fn toolboxes(call: Call) -> Answer {
    call.page(&toolbox_list(call.foundry.clock.now())).map(Json)
}

/// `GET /toolboxes/{name}`.
pub(crate) async fn get_toolbox(call: Call) -> Answer {
    let name = call.param("toolbox");
    one(&toolbox_list(0), "name", name)
        .ok_or_else(|| ApiError::not_found(&format!("Toolbox {name} not found.")))
        .map(Json)
}

/// `GET /toolboxes/{name}/versions/{version}`.
pub(crate) async fn toolbox_version(call: Call) -> Answer {
    match (call.param("toolbox"), call.param("version")) {
        ("toolbox", "1") => {
            Ok(Json(json!({"name": "toolbox", "version": "1", "description": null, "skills": [], "policies": {},
            "tools": [{"type": "mcp", "server_label": "jira", "server_url": "https://jira.sandbox.example"}]})))
        }
        (name, version) => Err(ApiError::not_found(&format!("Toolbox {name} with version {version} not found."))),
    }
}

/// `POST /responses/compact`.
pub(crate) async fn compact(call: Call, Payload(members): Payload) -> Answer {
    if members.get("model").and_then(Value::as_str).is_none() {
        return Err(ApiError::invalid("model", "Missing required parameter: 'model'."));
    }
    if !members.contains_key("input") && !members.contains_key("previous_response_id") {
        return Err(ApiError::invalid("input", "One of 'input' and 'previous_response_id' is required."));
    }
    Ok(Json(json!({
        "id": ids::fresh("resp"), "object": "response.compaction", "created_at": call.foundry.clock.now(),
        "output": [{"type": "compaction", "id": ids::fresh("cmp"), "encrypted_content": "gAAAA"}],
        "usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10},
    })))
}
