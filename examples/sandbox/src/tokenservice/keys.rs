//! The channel's OpenID metadata and keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::constants::CHANNEL_ISSUER;
use crate::state::Shared;

/// `GET /botframework/v1/.well-known/openidconfiguration`.
pub(crate) async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "issuer": CHANNEL_ISSUER,
        "authorization_endpoint": "https://invalid.botframework.com",
        "jwks_uri": format!("{}/botframework/v1/.well-known/keys", shared.base_url()),
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    }))
}

/// `GET /botframework/v1/.well-known/keys`.
pub(crate) async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.keys.channel_jwks())
}
