//! The remote control under `/_sandbox/…`: the Rust API for tests in other languages.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::entra::Certificates;
use crate::faults::Fault;
use crate::journal::Recorded;
use crate::keys::Signer;
use crate::state::Shared;
use crate::{Consent, Renewal};
use crate::{constants, sandbox, tokens};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_sandbox/settings", get(settings))
        .route("/_sandbox/requests", get(requests).delete(forget))
        .route("/_sandbox/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_sandbox/keys/rotate", post(rotate))
        .route("/_sandbox/consent", post(grant).delete(revoke))
        .route("/_sandbox/mfa", post(mfa))
        .route("/_sandbox/certificates", get(certificate).post(register).delete(unregister))
        .route("/_sandbox/vault/renew", post(renew))
        .route("/_sandbox/vault/disable-old", post(disable_old))
        .route("/_sandbox/redirect-uris", post(register_redirect_uri))
        .route("/_sandbox/clock", get(clock).post(advance))
        .route("/_sandbox/bot", post(bot))
        .route("/_sandbox/sign", post(sign))
        .route("/_sandbox/sso-token", post(sso_token))
        .with_state(shared)
}

/// The settings a bot needs, as one JSON object.
async fn settings(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let pairs = sandbox::settings_of(&shared).into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
    Json(Value::Object(pairs.collect()))
}

#[derive(Deserialize)]
struct Route {
    #[serde(default = "any_route")]
    route: String,
}

fn any_route() -> String {
    "**".to_owned()
}

/// `?route=PATTERN`: how many requests fitted, and those that are kept.
async fn requests(State(shared): State<Arc<Shared>>, Query(query): Query<Route>) -> Json<Value> {
    let kept: Vec<Recorded> = shared.journal.entries(&query.route);
    Json(json!({"count": shared.journal.count(&query.route), "requests": kept}))
}

async fn forget(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.journal.clear();
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.faults.list())
}

async fn add_fault(State(shared): State<Arc<Shared>>, Json(fault): Json<Fault>) -> StatusCode {
    shared.faults.add(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Rotation {
    #[serde(default)]
    retire: bool,
}

/// `?retire=true` also takes the old keys out of the documents.
async fn rotate(State(shared): State<Arc<Shared>>, Query(query): Query<Rotation>) -> StatusCode {
    match tokio::task::spawn_blocking(move || shared.keys.rotate(query.retire)).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn grant(State(shared): State<Arc<Shared>>, Json(consent): Json<Consent>) -> StatusCode {
    shared.directory().grant(&consent);
    StatusCode::NO_CONTENT
}

async fn revoke(State(shared): State<Arc<Shared>>, Json(consent): Json<Consent>) -> StatusCode {
    shared.directory().revoke(&consent);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Mfa {
    user: String,
    required: bool,
}

async fn mfa(State(shared): State<Arc<Shared>>, Json(mfa): Json<Mfa>) -> StatusCode {
    shared.directory().require_mfa(&mfa.user, mfa.required);
    StatusCode::NO_CONTENT
}

/// Private key and certificate of the certificate app, PEM.
async fn certificate(State(shared): State<Arc<Shared>>) -> String {
    shared.directory().certificate_pem().to_owned()
}

#[derive(Deserialize)]
struct Registration {
    app: String,
    pem: String,
}

async fn register(State(shared): State<Arc<Shared>>, Json(body): Json<Registration>) -> Response {
    match shared.directory().register_certificate(&body.app, &body.pem) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, Json(json!({"error": reason}))).into_response(),
    }
}

async fn unregister(State(shared): State<Arc<Shared>>, Json(body): Json<Registration>) -> Response {
    match shared.directory().unregister_certificate(&body.app, &body.pem) {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, Json(json!({"error": reason}))).into_response(),
    }
}

#[derive(Deserialize)]
struct Renewed {
    by: Renewal,
}

/// A new version of the vault's certificate, PEM.
async fn renew(State(shared): State<Arc<Shared>>, Json(body): Json<Renewed>) -> Response {
    let renew = move || shared.extension::<Certificates>().renew(&shared, body.by);
    match tokio::task::spawn_blocking(renew).await {
        Ok(Ok(pem)) => pem.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn disable_old(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.extension::<Certificates>().disable_old(&shared);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct RedirectUri {
    app: String,
    uri: String,
}

/// One more redirect URI of an app.
async fn register_redirect_uri(State(shared): State<Arc<Shared>>, Json(body): Json<RedirectUri>) -> Response {
    match shared.directory().register_redirect_uri(&body.app, &body.uri) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, Json(json!({"error": reason}))).into_response(),
    }
}

async fn clock(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"now": shared.clock.now()}))
}

#[derive(Deserialize)]
struct Advance {
    advance: i64,
}

async fn advance(State(shared): State<Arc<Shared>>, Json(body): Json<Advance>) -> Json<Value> {
    shared.clock.advance(body.advance);
    Json(json!({"now": shared.clock.now()}))
}

#[derive(Deserialize)]
struct Bot {
    endpoint: String,
}

async fn bot(State(shared): State<Arc<Shared>>, Json(body): Json<Bot>) -> StatusCode {
    shared.set_bot_endpoint(&body.endpoint);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Signing {
    signer: Signer,
    #[serde(default)]
    header: Value,
    claims: Value,
}

/// A JWT of any claims, for corpora of good and hostile tokens.
async fn sign(State(shared): State<Arc<Shared>>, Json(body): Json<Signing>) -> Json<Value> {
    Json(json!({"token": shared.keys.sign_with(body.signer, &body.header, &body.claims)}))
}

#[derive(Deserialize)]
struct Named {
    user: String,
}

/// The token Teams would send for this user, an object id.
async fn sso_token(State(shared): State<Arc<Shared>>, Json(body): Json<Named>) -> Response {
    match constants::user_by_oid(&body.user) {
        Some(user) => Json(json!({"token": tokens::sso_token(&shared, user)})).into_response(),
        None => (StatusCode::BAD_REQUEST, Json(json!({"error": "no such user"}))).into_response(),
    }
}
