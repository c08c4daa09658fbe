//! OpenID Connect discovery and keys, v1 and v2, per tenant and for the tenant-independent names.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::error;
use crate::constants::{self, MSA_TENANT, V1_ISSUER_HOST};
use crate::state::Shared;

/// Discovery of v2: `issuer` is `{authority}/{tid}/v2.0`, or the `{tenantid}` template.
pub(crate) async fn v2(State(shared): State<Arc<Shared>>, Path(tenant): Path<String>) -> Response {
    document(&shared, &tenant, true)
}

/// Discovery of v1: `issuer` is `https://sts.windows.net/{tid}/`.
pub(crate) async fn v1(State(shared): State<Arc<Shared>>, Path(tenant): Path<String>) -> Response {
    document(&shared, &tenant, false)
}

/// Keys of v2, each with its issuer.
pub(crate) async fn keys_v2(State(shared): State<Arc<Shared>>, Path(tenant): Path<String>) -> Response {
    keys(&shared, &tenant, true)
}

/// Keys of v1, without issuers.
pub(crate) async fn keys_v1(State(shared): State<Arc<Shared>>, Path(tenant): Path<String>) -> Response {
    keys(&shared, &tenant, false)
}

/// Instance discovery knows no host but the sandbox itself.
pub(crate) async fn instance(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let host = shared.base_url().split_once("://").map_or("", |(_, host)| host).to_owned();
    Json(json!({
        "tenant_discovery_endpoint": format!("{}/common/v2.0/.well-known/openid-configuration", shared.authority()),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }))
}

fn document(shared: &Shared, tenant: &str, v2: bool) -> Response {
    let authority = shared.authority();
    let Some(name) = issuer_tenant(tenant) else { return unknown_tenant(shared, tenant) };
    let issuer = if v2 { format!("{authority}/{name}/v2.0") } else { format!("{V1_ISSUER_HOST}/{name}/") };
    let (oauth, keys) = if v2 { ("oauth2/v2.0", "discovery/v2.0/keys") } else { ("oauth2", "discovery/keys") };
    Json(json!({
        "token_endpoint": format!("{authority}/{tenant}/{oauth}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{authority}/{tenant}/{keys}"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": issuer,
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "authorization_endpoint": format!("{authority}/{tenant}/{oauth}/authorize"),
        "device_authorization_endpoint": format!("{authority}/{tenant}/{oauth}/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{authority}/{tenant}/{oauth}/logout"),
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "aud", "exp", "iat", "auth_time", "acr", "nonce",
            "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"
        ],
        "tenant_region_scope": if name == "{tenantid}" { Value::Null } else { json!("NA") },
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    }))
    .into_response()
}

fn keys(shared: &Shared, tenant: &str, v2: bool) -> Response {
    if issuer_tenant(tenant).is_none() {
        return unknown_tenant(shared, tenant);
    }
    Json(shared.keys.entra_jwks(&shared.authority(), v2)).into_response()
}

/// What stands for the tenant in `issuer`; `None` for a tenant that does not exist.
fn issuer_tenant(tenant: &str) -> Option<&str> {
    match tenant {
        "common" | "organizations" => Some("{tenantid}"),
        "consumers" => Some(MSA_TENANT),
        id if constants::is_tenant(id) => Some(id),
        _ => None,
    }
}

fn unknown_tenant(shared: &Shared, tenant: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(error::unknown_tenant(tenant).body(shared, None))).into_response()
}
