//! Key Vault with one certificate, whose key never leaves it, and one secret.

mod store;

use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use self::store::Certificates;
pub use self::store::Renewal;
use self::store::{FIRST, Version};
use crate::constants::{MANAGED_IDENTITY_APP_ID, RESOURCE_TENANT, VAULT_RESOURCE, VAULT_SECRET, VAULT_SECRET_VALUE};
use crate::members::set;
use crate::state::Shared;
use crate::tokens;

/// Routes under `/vault`.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/vault/certificates/{name}", get(newest_certificate))
        .route("/vault/certificates/{name}/{version}", get(certificate))
        .route("/vault/keys/{name}/{version}/sign", post(sign))
        .route("/vault/secrets/{name}", get(newest_secret))
        // What the Azure SDKs send when they want the newest one.
        .route("/vault/secrets/{name}/", get(newest_secret))
        .route("/vault/secrets/{name}/{version}", get(secret))
}

#[derive(Deserialize)]
struct Common {
    #[serde(rename = "api-version")]
    version: Option<String>,
}

/// `GET certificates/{name}`: the newest version.
async fn newest_certificate(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(common): Query<Common>,
    headers: HeaderMap,
) -> Response {
    certificate_bundle(&shared, &common, &headers, &name, None)
}

/// `GET certificates/{name}/{version}`.
async fn certificate(
    State(shared): State<Arc<Shared>>,
    Path((name, version)): Path<(String, String)>,
    Query(common): Query<Common>,
    headers: HeaderMap,
) -> Response {
    certificate_bundle(&shared, &common, &headers, &name, Some(&version))
}

fn certificate_bundle(
    shared: &Shared,
    common: &Common,
    headers: &HeaderMap,
    name: &str,
    version: Option<&str>,
) -> Response {
    if let Err(refusal) = admit(shared, common, headers, "certificates get") {
        return *refusal;
    }
    let Some(Version { id, certificate, authority, enabled, .. }) = find(shared, name, version) else {
        let text = format!("A certificate with (name/id) {} was not found in this key vault.", asked(name, version));
        return failure(StatusCode::NOT_FOUND, "CertificateNotFound", &text);
    };
    let vault = format!("{}/vault", shared.base_url());
    let now = shared.clock.now();
    let issuer = if authority.is_some() { "SandboxIssuer" } else { "Self" };
    Json(json!({
        "id": format!("{vault}/certificates/{name}/{id}"),
        "kid": format!("{vault}/keys/{name}/{id}"),
        "sid": format!("{vault}/secrets/{name}/{id}"),
        "x5t": URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate)),
        "cer": STANDARD.encode(&certificate),
        "attributes": {
            "enabled": enabled, "nbf": now - 86_400, "exp": now + 31_536_000, "created": now - 86_400,
            "updated": now - 86_400, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
        },
        "policy": {
            "id": format!("{vault}/certificates/{name}/policy"),
            "key_props": {"exportable": false, "kty": "RSA", "key_size": 2048, "reuse_key": false},
            "secret_props": {"contentType": PEM},
            "issuer": {"name": issuer},
        },
    }))
    .into_response()
}

const PEM: &str = "application/x-pem-file";

/// `GET secrets/{name}`: the newest version.
async fn newest_secret(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(common): Query<Common>,
    headers: HeaderMap,
) -> Response {
    secret_bundle(&shared, &common, &headers, &name, None)
}

/// `GET secrets/{name}/{version}`.
async fn secret(
    State(shared): State<Arc<Shared>>,
    Path((name, version)): Path<(String, String)>,
    Query(common): Query<Common>,
    headers: HeaderMap,
) -> Response {
    secret_bundle(&shared, &common, &headers, &name, Some(&version))
}

/// The one secret; or the certificate with its chain, and without its key, which cannot be exported.
fn secret_bundle(shared: &Shared, common: &Common, headers: &HeaderMap, name: &str, version: Option<&str>) -> Response {
    if let Err(refusal) = admit(shared, common, headers, "secrets getSecret") {
        return *refusal;
    }
    let vault = format!("{}/vault", shared.base_url());
    let (id, mut bundle) = if name == VAULT_SECRET && version.is_none_or(|version| version == FIRST) {
        (FIRST.to_owned(), json!({"value": VAULT_SECRET_VALUE, "contentType": "text/plain", "tags": {}}))
    } else if let Some(found) = find(shared, name, version) {
        let kid = format!("{vault}/keys/{name}/{}", found.id);
        (found.id.clone(), json!({"value": found.chain(), "contentType": PEM, "kid": kid, "managed": true}))
    } else {
        let text = format!(
            "A secret with (name/id) {} was not found in this key vault. If you recently deleted this secret you may be \
             able to recover it using the correct recovery command.",
            asked(name, version)
        );
        return failure(StatusCode::NOT_FOUND, "SecretNotFound", &text);
    };
    let made = shared.clock.now() - 86_400;
    set(&mut bundle, "id", json!(format!("{vault}/secrets/{name}/{id}")));
    let attributes = json!({
        "enabled": true, "created": made, "updated": made, "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    });
    set(&mut bundle, "attributes", attributes);
    Json(bundle).into_response()
}

/// `POST keys/{name}/{version}/sign` of a digest.
async fn sign(
    State(shared): State<Arc<Shared>>,
    Path((name, version)): Path<(String, String)>,
    Query(common): Query<Common>,
    headers: HeaderMap,
    body: Result<Json<Value>, axum::extract::rejection::JsonRejection>,
) -> Response {
    if let Err(refusal) = admit(&shared, &common, &headers, "keys sign") {
        return *refusal;
    }
    let Some(found) = find(&shared, &name, Some(&version)) else {
        let text = format!("A key with (name/id) {name}/{version} was not found in this key vault.");
        return failure(StatusCode::NOT_FOUND, "KeyNotFound", &text);
    };
    if !found.enabled {
        let text = "Operation sign is not allowed on a disabled key.";
        return refused("KeyDisabled", text);
    }
    let Ok(Json(body)) = body else {
        return failure(StatusCode::BAD_REQUEST, "BadParameter", "The body of the request is no JSON.");
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let encoding: &'static dyn RsaEncoding = match text("alg") {
        "PS256" => &RSA_PSS_SHA256,
        "RS256" => &RSA_PKCS1_SHA256,
        other => {
            let text = format!("Key and signing algorithm are incompatible. Key is RSA, and algorithm is {other}.");
            return failure(StatusCode::BAD_REQUEST, "BadParameter", &text);
        }
    };
    let value = URL_SAFE_NO_PAD.decode(text("value")).ok();
    let digest = value.and_then(|value| Digest::import_less_safe(&value, &SHA256).ok());
    let pair = RsaKeyPair::from_pkcs8(&found.key).ok();
    let signature = digest.zip(pair).and_then(|(digest, pair)| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign_digest(encoding, &digest, &mut signature).ok().map(|()| signature)
    });
    match signature {
        Some(signature) => Json(json!({
            "kid": format!("{}/vault/keys/{name}/{version}", shared.base_url()),
            "value": URL_SAFE_NO_PAD.encode(signature),
        }))
        .into_response(),
        None => failure(StatusCode::BAD_REQUEST, "BadParameter", "Invalid length of value: 32 bytes are expected."),
    }
}

fn find(shared: &Shared, name: &str, version: Option<&str>) -> Option<Version> {
    shared.extension::<Certificates>().find(shared, name, version)
}

fn asked(name: &str, version: Option<&str>) -> String {
    version.map_or_else(|| name.to_owned(), |version| format!("{name}/{version}"))
}

/// The managed identity of the vault's tenant may use the vault, and nobody else.
fn admit(shared: &Shared, common: &Common, headers: &HeaderMap, action: &str) -> Result<(), Box<Response>> {
    if common.version.as_deref().is_none_or(str::is_empty) {
        let text = "The request URI is missing the required parameter 'api-version'.";
        return Err(Box::new(failure(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", text)));
    }
    let caller = tokens::check_bearer_of(shared, headers, &[VAULT_RESOURCE], RESOURCE_TENANT).map_err(|_| {
        let text = "AKV10000: Request is missing a Bearer or PoP token.";
        let mut response = failure(StatusCode::UNAUTHORIZED, "Unauthorized", text);
        let challenge =
            format!("Bearer authorization=\"{}/{RESOURCE_TENANT}\", resource=\"{VAULT_RESOURCE}\"", shared.authority());
        if let Ok(challenge) = challenge.try_into() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        Box::new(response)
    })?;
    if caller.is_user() || caller.app_id != MANAGED_IDENTITY_APP_ID {
        let text = format!(
            "Caller is not authorized to perform action on resource. Action: '{action}'. Caller: appid={}",
            caller.app_id
        );
        return Err(Box::new(refused("ForbiddenByRbac", &text)));
    }
    Ok(())
}

/// 403 with the reason inside.
fn refused(reason: &str, message: &str) -> Response {
    let body = json!({"error": {"code": "Forbidden", "message": message, "innererror": {"code": reason}}});
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

fn failure(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message, "innererror": null}}))).into_response()
}
