//! The user-token service of Azure Bot Service, and the channel's key metadata.

mod call;
mod connection;
mod keys;
mod operations;
mod sign_in;
mod store;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::state::Shared;

/// Routes under `/botframework` and `/tokenservice`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/botframework/v1/.well-known/openidconfiguration", get(keys::metadata))
        .route("/botframework/v1/.well-known/keys", get(keys::keys))
        .route("/tokenservice/api/usertoken/GetToken", get(operations::get_token))
        .route("/tokenservice/api/usertoken/GetAadTokens", post(operations::get_aad_tokens))
        .route("/tokenservice/api/usertoken/exchange", post(operations::exchange))
        .route("/tokenservice/api/usertoken/GetTokenOrSignInResource", get(operations::get_token_or_resource))
        .route("/tokenservice/api/usertoken/SignOut", delete(operations::sign_out))
        .route("/tokenservice/api/usertoken/GetTokenStatus", get(operations::status))
        .route("/tokenservice/api/botsignin/GetSignInUrl", get(sign_in::url))
        .route("/tokenservice/api/botsignin/GetSignInResource", get(sign_in::resource))
        .route("/tokenservice/api/oauth/signin", get(sign_in::page))
        .with_state(shared)
}
