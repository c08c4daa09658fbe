//! The device authorization endpoint and the page for the user code; the end of a browser session.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::error::{self, OAuthError};
use super::form::Form;
use super::interaction::{DEVICE_LIFE, DeviceState, Interactions};
use super::page::{Page, button};
use super::{credential, scope};
use crate::constants::{self, PEOPLE, User};
use crate::journal::pairs;
use crate::state::Shared;

/// Seconds between two polls. The cloud says 5.
const INTERVAL: i64 = 1;

/// `POST /{tenant}/oauth2/v2.0/devicecode`.
pub(crate) async fn start(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match begin(&shared, &tenant, &headers, &body) {
        Ok(body) => Json(body).into_response(),
        Err(refusal) => refusal.response(&shared, None),
    }
}

fn begin(shared: &Shared, tenant: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, OAuthError> {
    let form = Form::read(headers, body)?;
    let is_shared = ["common", "organizations"].contains(&tenant);
    if !is_shared && !constants::is_tenant(tenant) {
        return Err(error::unknown_tenant(tenant));
    }
    let id = form.need("client_id")?;
    let app = shared.directory().app(id).cloned().ok_or_else(|| credential::unknown_app(id, tenant))?;
    let wanted = form.need("scope")?;
    scope::resources(wanted, tenant)?;
    let (device_code, user_code) =
        shared.extension::<Interactions>().start_device(&app.id, tenant, wanted, shared.clock.now());
    let page = format!("{}/common/oauth2/deviceauth", shared.authority());
    Ok(json!({
        "user_code": user_code,
        "device_code": device_code,
        "verification_uri": page,
        "expires_in": DEVICE_LIFE,
        "interval": INTERVAL,
        "message": format!("To sign in, use a web browser to open the page {page} and enter the code {user_code} to authenticate."),
    }))
}

/// `GET /common/oauth2/deviceauth`: the page behind `verification_uri`.
pub(crate) async fn page(uri: Uri) -> Response {
    let inside = "<p><input type=\"text\" name=\"code\" autocomplete=\"off\" autofocus></p>\n".to_owned()
        + &button("step", "code", "Next");
    Page::new("Enter the code").form(uri.path(), &[], &inside).response(StatusCode::OK)
}

/// The same as a form post: code, then user, then yes or no.
pub(crate) async fn enter(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let fields = pairs(&body);
    let get = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let interactions = shared.extension::<Interactions>();
    let Some(device) = interactions.waiting(get("code").unwrap_or_default(), shared.clock.now()) else {
        return Page::new("That code did not work")
            .text("Check the code on your device and try again.")
            .response(StatusCode::BAD_REQUEST);
    };
    let app = shared.directory().app(&device.client).cloned();
    let serves = |user: &&User| {
        let by_path = !constants::is_tenant(&device.tenant) || user.tenant.eq_ignore_ascii_case(&device.tenant);
        by_path && app.as_ref().is_some_and(|app| app.tenants.contains(&user.tenant))
    };
    let name = app.as_ref().map_or("the application", |app| app.name.as_str());
    if get("step") == Some("cancel") {
        interactions.decide(&device.user_code, DeviceState::Declined);
        return Page::new("Not signed in").text("You can close this window.").response(StatusCode::OK);
    }
    match get("user").and_then(constants::user_by_oid).filter(serves) {
        Some(user) => {
            interactions.decide(&device.user_code, DeviceState::Approved(user));
            Page::new("Signed in")
                .text(&format!("You have signed in to {name} on your device. You can close this window."))
                .response(StatusCode::OK)
        }
        None => {
            let buttons = PEOPLE.iter().filter(serves);
            let buttons = buttons.map(|user| button("user", user.oid, &format!("{} ({})", user.name, user.upn)));
            let inside = buttons.collect::<String>() + &button("step", "cancel", "Cancel");
            Page::new(&format!("Are you trying to sign in to {name}?"))
                .text("Continue only if you started this sign-in yourself, on a device in front of you.")
                .form(uri.path(), &[("code", &device.user_code)], &inside)
                .response(StatusCode::OK)
        }
    }
}

/// `GET /{tenant}/oauth2/v2.0/logout`: ends the session of the browser, and goes back to a registered URI.
pub(crate) async fn logout(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Response {
    let cookie = shared.extension::<Interactions>().sign_out(&headers);
    let fields = pairs(uri.query().unwrap_or_default().as_bytes());
    let back = fields.iter().find(|(name, _)| name == "post_logout_redirect_uri").map(|(_, uri)| uri.as_str());
    let mut response = match back.filter(|uri| shared.directory().knows_redirect_uri(uri)) {
        Some(uri) => (StatusCode::FOUND, [(header::LOCATION, uri.to_owned())]).into_response(),
        None => Page::new("You signed out of your account")
            .text("It is a good idea to close all browser windows.")
            .response(StatusCode::OK),
    };
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
