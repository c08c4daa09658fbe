//! Entra ID: discovery, keys, sign-in pages, token endpoint, and the corner of Graph that knows people.

mod authorize;
mod credential;
mod device;
mod directory;
mod discovery;
mod error;
mod form;
mod graph;
mod groups;
mod interaction;
mod managed_identity;
mod obo;
mod page;
mod people;
mod redeem;
mod scope;
mod token;
mod vault;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::state::Shared;

pub use directory::Consent;
pub(crate) use directory::{App, Directory, Resource, resource};
pub(crate) use error::OAuthError;
pub(crate) use obo::{permission as obo_permission, user as obo_user};
pub(crate) use vault::Certificates;
pub use vault::Renewal;

/// Routes under `/entra` and `/graph`. The tenants also answer at the root, because MSAL takes an authority of one path
/// segment only; the documents there name the addresses under `/entra`.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .merge(graph::router())
        .merge(vault::router())
        .route("/metadata/identity/oauth2/token", get(managed_identity::token))
        .nest("/entra", tenants().route("/common/discovery/instance", get(discovery::instance)))
        .merge(tenants())
        .with_state(shared)
}

fn tenants() -> Router<Arc<Shared>> {
    Router::new()
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery::v2))
        .route("/{tenant}/.well-known/openid-configuration", get(discovery::v1))
        .route("/{tenant}/discovery/v2.0/keys", get(discovery::keys_v2))
        .route("/{tenant}/discovery/keys", get(discovery::keys_v1))
        .route("/{tenant}/oauth2/v2.0/token", post(token::v2))
        .route("/{tenant}/oauth2/token", post(token::v1))
        .route("/{tenant}/oauth2/v2.0/authorize", get(authorize::get).post(authorize::post))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::start))
        .route("/{tenant}/oauth2/v2.0/logout", get(device::logout))
        .route("/common/oauth2/deviceauth", get(device::page).post(device::enter))
}
