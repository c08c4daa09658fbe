//! The instance metadata service of a virtual machine: tokens of its managed identities.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::directory::resource;
use crate::constants::{BOT_APP_ID, MANAGED_IDENTITY_APP_ID, RESOURCE_TENANT};
use crate::keys::Ring;
use crate::members::set;
use crate::state::Shared;
use crate::tokens;

/// `GET /metadata/identity/oauth2/token`.
pub(crate) async fn token(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let get = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if headers.get("metadata").is_none_or(|value| value.as_bytes() != b"true") {
        return failure("bad_request", "Required metadata header not specified");
    }
    if get("api-version").is_none_or(|version| version < "2018-02-01") {
        return failure("bad_request", "Required query variable 'api-version' is missing or too old");
    }
    let bot = shared.options.bot_is_identity.then_some(BOT_APP_ID);
    let identity = match get("client_id") {
        None => Some(MANAGED_IDENTITY_APP_ID),
        Some(id) => [Some(MANAGED_IDENTITY_APP_ID), bot].into_iter().flatten().find(|own| own.eq_ignore_ascii_case(id)),
    };
    let named_otherwise = ["object_id", "msi_res_id"].iter().any(|name| get(name).is_some());
    let Some(identity) = identity.filter(|_| !named_otherwise) else {
        return failure("invalid_request", "Identity not found");
    };
    let Some(name) = get("resource") else {
        return failure("bad_request", "Required query variable 'resource' is missing");
    };
    let Some(target) = resource(name) else {
        return failure("invalid_resource", "AADSTS500011: The resource principal was not found in the tenant.");
    };
    let mut claims = tokens::app_claims(&shared, RESOURCE_TENANT, identity, target.audience, target.version, "2");
    if !target.roles.is_empty() {
        set(&mut claims, "roles", target.roles.to_vec());
    }
    let (now, life) = (shared.clock.now(), shared.options.app_token_ttl.as_secs());
    Json(json!({
        "access_token": shared.keys.sign(Ring::Entra, &claims),
        "client_id": identity,
        "expires_in": life.saturating_sub(1).to_string(),
        "expires_on": now.saturating_add_unsigned(life).to_string(),
        "ext_expires_in": life.saturating_sub(1).to_string(),
        "not_before": now.to_string(),
        "refresh_token": "",
        "resource": name,
        "token_type": "Bearer",
    }))
    .into_response()
}

fn failure(error: &str, description: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error, "error_description": description}))).into_response()
}
