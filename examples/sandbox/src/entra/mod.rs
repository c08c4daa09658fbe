//! Entra ID: discovery, keys, token endpoint, and the corner of Graph a bot asks for a name.

mod directory;
mod discovery;
mod error;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::state::Shared;

pub use directory::Consent;
pub(crate) use directory::Directory;

/// Routes under `/entra` and `/graph`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/entra/common/discovery/instance", get(discovery::instance))
        .route("/entra/{tenant}/v2.0/.well-known/openid-configuration", get(discovery::v2))
        .route("/entra/{tenant}/.well-known/openid-configuration", get(discovery::v1))
        .route("/entra/{tenant}/discovery/v2.0/keys", get(discovery::keys_v2))
        .route("/entra/{tenant}/discovery/keys", get(discovery::keys_v1))
        .with_state(shared)
}
