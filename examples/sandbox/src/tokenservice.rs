//! The user-token service of Azure Bot Service, and the channel's key metadata.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::constants::CHANNEL_ISSUER;
use crate::state::Shared;

/// Routes under `/botframework` and `/tokenservice`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/botframework/v1/.well-known/openidconfiguration", get(metadata))
        .route("/botframework/v1/.well-known/keys", get(keys))
        .with_state(shared)
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "issuer": CHANNEL_ISSUER,
        "authorization_endpoint": "https://invalid.botframework.com",
        "jwks_uri": format!("{}/botframework/v1/.well-known/keys", shared.base_url()),
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.keys.channel_jwks())
}
