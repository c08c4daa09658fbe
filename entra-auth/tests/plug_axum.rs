//! Tokens as arguments of axum handlers, and the layer around an axum router.
#![cfg(all(feature = "axum", feature = "tower", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::FromRef,
    routing::get,
};
use entra_auth::{
    AccessTokenValidator, AllowedCallers, AppToken, BearerLayer, RequestIdentity, UserToken, ValidatedToken,
};
use http::{Request, StatusCode, header};
use serde_json::json;
use tower_service::Service;
use validate_support::*;

/// The state of an application that has more than a validator.
#[derive(Clone)]
struct App {
    validator: AccessTokenValidator,
}

impl FromRef<App> for AccessTokenValidator {
    fn from_ref(app: &App) -> Self {
        app.validator.clone()
    }
}

fn validator() -> AccessTokenValidator {
    let callers = AllowedCallers::only([CALLER.parse().unwrap()]);
    builder(single()).app_callers(callers).build().unwrap()
}

async fn user(token: UserToken) -> String {
    token.user_key().object_id().to_string()
}

async fn scoped(token: UserToken) -> Result<String, entra_auth::TokenError> {
    token.require_scope("Files.Write")?;
    Ok("written".to_owned())
}

async fn app(token: AppToken) -> String {
    token.caller().unwrap().to_string()
}

async fn any(token: ValidatedToken) -> &'static str {
    if token.into_user().is_ok() { "user" } else { "app" }
}

async fn identity(identity: RequestIdentity) -> String {
    assert_eq!(deep().await, identity.user_key());
    format!("{}", identity.user().is_some())
}

async fn deep() -> Option<entra_auth::UserKey> {
    tokio::task::yield_now().await;
    RequestIdentity::current()?.user_key()
}

fn router() -> Router {
    Router::new()
        .route("/user", get(user))
        .route("/scoped", get(scoped))
        .route("/app", get(app))
        .route("/any", get(any))
        .route("/identity", get(identity))
        .with_state(App { validator: validator() })
}

async fn ask(mut router: Router, path: &str, token: Option<&str>) -> (u16, Option<String>, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = router.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1000).await.unwrap();
    (status, challenge, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn handlers_take_the_token_they_need() {
    let (of_user, of_app) = (ENTRA.sign(&user_claims()), ENTRA.sign(&app_claims()));
    let forbidden = Some("Bearer error=\"insufficient_scope\"".to_owned());
    for (path, token, status, body) in [
        ("/user", &of_user, 200, USER),
        ("/user", &of_app, 403, ""),
        ("/app", &of_app, 200, CALLER),
        ("/app", &of_user, 403, ""),
        ("/any", &of_user, 200, "user"),
        ("/any", &of_app, 200, "app"),
        ("/scoped", &of_user, 403, ""),
    ] {
        let challenge = if status == 403 { forbidden.clone() } else { None };
        assert_eq!(ask(router(), path, Some(token)).await, (status, challenge, body.to_owned()), "{path}");
    }
    let writer = ENTRA.sign(&with(user_claims(), &[("scp", json!("Files.Write"))]));
    assert_eq!(ask(router(), "/scoped", Some(&writer)).await.0, 200);
}

#[tokio::test]
async fn bad_tokens_are_answered_without_detail() {
    let invalid = Some("Bearer error=\"invalid_token\"".to_owned());
    let forged = EVIL.sign(&user_claims());
    for path in ["/user", "/app", "/any", "/scoped"] {
        assert_eq!(ask(router(), path, Some(&forged)).await, (401, invalid.clone(), String::new()), "{path}");
        assert_eq!(ask(router(), path, None).await, (401, Some("Bearer".to_owned()), String::new()), "{path}");
    }
}

#[tokio::test]
async fn the_layer_gives_handlers_and_deep_code_the_identity() {
    let token = ENTRA.sign(&user_claims());
    let layered = || router().layer(BearerLayer::new(validator()).user_scope("access_as_user"));
    assert_eq!(ask(layered(), "/identity", Some(&token)).await, (200, None, "true".to_owned()));
    assert_eq!(ask(layered(), "/user", Some(&token)).await.0, StatusCode::OK.as_u16());
    assert!(RequestIdentity::current().is_none());
    assert_eq!(ask(layered(), "/identity", None).await.0, 401);
    let without_layer = ask(router(), "/identity", Some(&token)).await;
    assert_eq!(without_layer.0, 401, "the extractor of the identity validates nothing by itself");
}
