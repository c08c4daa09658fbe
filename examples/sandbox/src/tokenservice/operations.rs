//! Token operations: get, exchange, status, sign-out.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::call::{Call, Failure};
use super::connection::{self, CONNECTIONS, Connection};
use super::sign_in;
use super::store::{Place, Signed, TokenStore};
use crate::constants::{HOME_TENANT, User};
use crate::entra::{self, OAuthError};
use crate::state::Shared;

/// The channel when a call names none.
pub(crate) const DEFAULT_CHANNEL: &str = "msteams";
/// The service renews a token that has less left, seconds.
const RENEW_BEFORE: i64 = 300;

/// `GET api/usertoken/GetToken?userId&connectionName&channelId?&code?`.
pub(crate) async fn get_token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    let place = place(&call)?;
    let signed = find(&shared, &place, call.get("code")).ok_or_else(Failure::no_token)?;
    Ok(Json(token_response(&place, &signed.token)).into_response())
}

/// `GET api/usertoken/GetTokenOrSignInResource?userId&connectionName&channelId&state&code?`.
pub(crate) async fn get_token_or_resource(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    let place = place(&call)?;
    let body = match find(&shared, &place, call.get("code")) {
        Some(signed) => json!({"tokenResponse": token_response(&place, &signed.token)}),
        None => json!({"signInResource": sign_in::make(&shared, &call)?.resource}),
    };
    Ok(Json(body).into_response())
}

/// `POST api/usertoken/exchange?userId&connectionName&channelId` with `{"token"}` or `{"uri"}`.
pub(crate) async fn exchange(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    call.need("channelId")?;
    let place = place(&call)?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| Failure::bad("The body is not JSON."))?;
    let connection = connection::find(&place.connection).ok_or_else(Failure::no_token)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("token") {
        let signed = exchange_token(&shared, connection, token).map_err(|error| refused(&shared, &error))?;
        let answer = token_response(&place, &signed.token);
        store(&shared).put(place, signed);
        return Ok(Json(answer).into_response());
    }
    let Some(resource) = text("uri") else {
        return Err(Failure::bad("The body needs 'token' or 'uri'."));
    };
    let signed = find(&shared, &place, None).ok_or_else(Failure::no_token)?;
    let token = for_resource(&shared, signed.user, resource).map_err(|error| refused(&shared, &error))?;
    Ok(Json(token_response(&place, &token)).into_response())
}

/// `POST api/usertoken/GetAadTokens?userId&connectionName` with `{"resourceUrls":[…]}`.
pub(crate) async fn get_aad_tokens(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    let place = place(&call)?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| Failure::bad("The body is not JSON."))?;
    let urls = body.get("resourceUrls").and_then(Value::as_array);
    let urls = urls.ok_or_else(|| Failure::bad("The body needs 'resourceUrls'."))?;
    let signed = find(&shared, &place, None).ok_or_else(Failure::no_token)?;
    let mut answer = Map::new();
    for url in urls.iter().filter_map(Value::as_str) {
        let token = for_resource(&shared, signed.user, url).map_err(|error| refused(&shared, &error))?;
        answer.insert(url.to_owned(), token_response(&place, &token));
    }
    Ok(Json(Value::Object(answer)).into_response())
}

/// `DELETE api/usertoken/SignOut?userId&connectionName?&channelId?`.
pub(crate) async fn sign_out(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<StatusCode, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    let user = call.need("userId")?;
    store(&shared).remove(&call.bot.app_id, user, call.get("channelId"), call.get("connectionName"));
    Ok(StatusCode::OK)
}

/// `GET api/usertoken/GetTokenStatus?userId&channelId?&include?`.
pub(crate) async fn status(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    let user = call.need("userId")?;
    let channel = call.get("channelId").unwrap_or(DEFAULT_CHANNEL);
    let wanted: Option<Vec<&str>> = call.get("include").map(|list| list.split(',').map(str::trim).collect());
    let all = CONNECTIONS
        .iter()
        .filter(|connection| wanted.as_ref().is_none_or(|names| names.contains(&connection.name)))
        .map(|connection| {
            let place = Place {
                bot: call.bot.app_id.clone(),
                user: user.to_owned(),
                channel: channel.to_owned(),
                connection: connection.name.to_owned(),
            };
            json!({
                "channelId": channel,
                "connectionName": connection.name,
                "hasToken": find(&shared, &place, None).is_some(),
                "serviceProviderDisplayName": "Azure Active Directory v2",
            })
        });
    Ok(Json(all.collect()))
}

/// The service's state in this world.
pub(crate) fn store(shared: &Shared) -> Arc<TokenStore> {
    shared.extension()
}

fn place(call: &Call) -> Result<Place, Failure> {
    Ok(Place {
        bot: call.bot.app_id.clone(),
        user: call.need("userId")?.to_owned(),
        connection: call.need("connectionName")?.to_owned(),
        channel: call.get("channelId").unwrap_or(DEFAULT_CHANNEL).to_owned(),
    })
}

/// The stored token, renewed when it is about to expire; with a code, the one the code stands for.
fn find(shared: &Shared, place: &Place, code: Option<&str>) -> Option<Signed> {
    let (store, now) = (store(shared), shared.clock.now());
    let connection = connection::find(&place.connection)?;
    if let Some(code) = code {
        let user = store.take_code(code, place, now)?;
        let signed = signed(shared, connection, user).ok()?;
        store.put(place.clone(), signed.clone());
        return Some(signed);
    }
    let held = store.get(place)?;
    if held.expires.saturating_sub(RENEW_BEFORE) > now {
        return Some(held);
    }
    let renewed = signed(shared, connection, held.user).ok();
    match renewed {
        Some(renewed) => {
            store.put(place.clone(), renewed.clone());
            Some(renewed)
        }
        None => Some(held).filter(|held| held.expires > now),
    }
}

fn exchange_token(shared: &Shared, connection: &Connection, token: &str) -> Result<Signed, OAuthError> {
    let app = connection::client(shared)
        .ok_or_else(|| OAuthError::new(400, "unauthorized_client", 700016, "The application was not found."))?;
    let user = entra::obo_user(shared, &app, HOME_TENANT, token)?;
    signed(shared, connection, user)
}

fn signed(shared: &Shared, connection: &Connection, user: &'static User) -> Result<Signed, OAuthError> {
    let token = connection.issue(shared, user)?;
    let life = i64::try_from(shared.options.user_token_ttl.as_secs()).unwrap_or(i64::MAX);
    Ok(Signed { user, token, expires: shared.clock.now().saturating_add(life) })
}

fn for_resource(shared: &Shared, user: &User, url: &str) -> Result<String, OAuthError> {
    let target = entra::resource(url);
    let scopes = target.map_or_else(String::new, |target| target.scopes.join(" "));
    connection::issue(shared, user, target, &scopes)
}

/// `expiration` is left out, as the real service mostly does.
fn token_response(place: &Place, token: &str) -> Value {
    json!({"channelId": place.channel, "connectionName": place.connection, "token": token})
}

/// Entra's refusal as the service passes it on.
fn refused(shared: &Shared, error: &OAuthError) -> Failure {
    let inner = error.body(shared, None);
    let message = match error.code() {
        65001 | 50076 => "Consent Required",
        _ => "The token could not be exchanged.",
    };
    Failure::new(StatusCode::BAD_REQUEST, "ServiceError", message).inner(400, &inner)
}
