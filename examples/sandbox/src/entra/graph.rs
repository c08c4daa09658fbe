//! The corner of Microsoft Graph that knows people: the signed-in user, attributes, groups, a document.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::people;
use crate::constants::{self, GRAPH_RESOURCE};
use crate::state::{Shared, uuid};
use crate::tokens::{self, Refusal};

/// Routes under `/graph`.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/graph/v1.0/me", get(me))
        .route("/graph/v1.0/users/{id}", get(people::user))
        .route("/graph/v1.0/users/{id}/getMemberObjects", post(people::member_objects).get(people::more_member_objects))
        .route("/graph/v1.0/directoryObjects/getByIds", post(people::by_ids))
        .route("/graph/v1.0/me/drive/root:/{file}/content", get(people::content))
        .route("/graph/download/{ticket}", get(people::download))
}

/// `GET /graph/v1.0/me`: the signed-in user, by a delegated token with `User.Read`.
pub(crate) async fn me(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let caller = match tokens::check_bearer(&shared, &headers, &[GRAPH_RESOURCE]) {
        Ok(caller) => caller,
        Err(refusal) => return refused(&shared, refusal),
    };
    let Some(scopes) = &caller.scopes else {
        return failure(
            &shared,
            StatusCode::BAD_REQUEST,
            "BadRequest",
            "/me request is only valid with delegated authentication flow.",
        );
    };
    if !scopes.split(' ').any(|scope| scope == "User.Read") {
        let text = "Insufficient privileges to complete the operation.";
        return failure(&shared, StatusCode::FORBIDDEN, "Authorization_RequestDenied", text);
    }
    let Some(user) = constants::user_by_oid(&caller.oid) else {
        let text = format!(
            "Resource '{}' does not exist or one of its queried reference-property objects are not present.",
            caller.oid
        );
        return failure(&shared, StatusCode::NOT_FOUND, "Request_ResourceNotFound", &text);
    };
    Json(json!({
        "@odata.context": format!("{}/graph/v1.0/$metadata#users/$entity", shared.base_url()),
        "businessPhones": [],
        "displayName": user.name,
        "givenName": user.given_name,
        "jobTitle": Value::Null,
        "mail": user.upn,
        "mobilePhone": Value::Null,
        "officeLocation": Value::Null,
        "preferredLanguage": Value::Null,
        "surname": "User",
        "userPrincipalName": user.upn,
        "id": user.oid,
    }))
    .into_response()
}

pub(crate) fn refused(shared: &Shared, refusal: Refusal) -> Response {
    let text = match refusal {
        Refusal::Missing => "Access token is empty.",
        Refusal::Audience => "Access token validation failure. Invalid audience.",
        Refusal::Expired => "Lifetime validation failed, the token is expired.",
        Refusal::Signature | Refusal::UnknownKey => "Access token validation failure. Invalid signature.",
        _ => "CompactToken validation failed.",
    };
    let mut response = failure(shared, StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", text);
    if let Ok(challenge) = refusal.www_authenticate().try_into() {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

pub(crate) fn failure(shared: &Shared, status: StatusCode, code: &str, message: &str) -> Response {
    let id = uuid();
    let date = shared.clock.rfc3339();
    let inner = json!({"date": date.get(..19), "request-id": id, "client-request-id": id});
    (status, Json(json!({"error": {"code": code, "message": message, "innerError": inner}}))).into_response()
}
