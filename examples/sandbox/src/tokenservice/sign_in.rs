//! Interactive sign-in: the resource for the card, the page behind its link, the magic code.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::call::{Call, Failure};
use super::connection;
use super::operations::{DEFAULT_CHANNEL, store};
use super::store::Place;
use crate::constants::{self, SSO_RESOURCE};
use crate::journal::pairs;
use crate::members::set;
use crate::state::{Shared, uuid};

/// `serviceProviderId` of the Entra v2 provider.
const PROVIDER: &str = "30dd229c-58e3-4a48-bdfd-91ec48eb906c";
/// Life of the post-token link, seconds.
const SAS_LIFE: i64 = 60;

/// A new sign-in.
pub(crate) struct Made {
    link: String,
    /// `{signInLink, tokenExchangeResource?, tokenPostResource}`.
    pub(crate) resource: Value,
}

/// `GET api/botsignin/GetSignInUrl?state`: the link as plain text.
pub(crate) async fn url(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Result<String, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    Ok(make(&shared, &call)?.link)
}

/// `GET api/botsignin/GetSignInResource?state`.
pub(crate) async fn resource(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Failure> {
    let call = Call::new(&shared, &headers, &uri)?;
    Ok(Json(make(&shared, &call)?.resource).into_response())
}

/// The page behind the link. The browser of the user named by the header `x-sandbox-user` (an object id) opens it;
/// without the header it is the user of the chat. It shows the six-digit code, as JSON when asked for JSON.
pub(crate) async fn page(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: Uri) -> Response {
    let query = pairs(uri.query().unwrap_or_default().as_bytes());
    let link = query.iter().find(|(name, _)| name == "signin").map(|(_, id)| id.as_str()).unwrap_or_default();
    let (store, now) = (store(&shared), shared.clock.now());
    let Some(place) = store.link(link, now) else {
        return (StatusCode::NOT_FOUND, "The sign-in link is unknown or expired.").into_response();
    };
    let named = headers.get("x-sandbox-user").and_then(|oid| oid.to_str().ok());
    let user = named.map_or_else(|| constants::user_by_mri(&place.user), constants::user_by_oid);
    let (Some(user), Some(connection)) = (user, connection::find(&place.connection)) else {
        return (StatusCode::BAD_REQUEST, "This user cannot sign in here.").into_response();
    };
    if let Err(refusal) = connection.issue(&shared, user) {
        return refusal.response(&shared, None);
    }
    let code = code();
    store.add_code(link, code.clone(), place, user, now);
    let wants_json = headers.get(header::ACCEPT).is_some_and(|kinds| kinds.as_bytes().starts_with(b"application/json"));
    if wants_json {
        return Json(json!({"code": code})).into_response();
    }
    Html(format!("<html><body><p>Enter this code in the chat to finish signing in:</p><h1>{code}</h1></body></html>"))
        .into_response()
}

/// Starts a sign-in from the `state` parameter.
pub(crate) fn make(shared: &Shared, call: &Call) -> Result<Made, Failure> {
    let state = State64::read(call.need("state")?).ok_or_else(|| Failure::bad("The state is not valid."))?;
    let name = state.text(&["connectionName"]).unwrap_or_default();
    let connection = connection::find(&name)
        .ok_or_else(|| Failure::bad(format!("The connection '{name}' does not exist on this bot.")))?;
    let app = state.text(&["msAppId"]);
    if app.as_ref().is_some_and(|app| !app.is_empty() && !app.eq_ignore_ascii_case(&call.bot.app_id)) {
        return Err(Failure::bad("The msAppId of the state is not the calling bot."));
    }
    let user = state.text(&["conversation", "user", "id"]).filter(|id| !id.is_empty());
    let user = user.ok_or_else(|| Failure::bad("The state names no user."))?;
    let channel = state.text(&["conversation", "channelId"]).unwrap_or_else(|| DEFAULT_CHANNEL.to_owned());
    if channel.contains(':') {
        return Err(Failure::bad("The channel of the state must be the base channel."));
    }
    let place = Place { bot: call.bot.app_id.clone(), user, channel, connection: connection.name.to_owned() };
    let (id, now) = (uuid().replace('-', ""), shared.clock.now());
    let service = format!("{}/tokenservice", shared.base_url());
    let link = format!("{service}/api/oauth/signin?signin={id}");
    let sas = format!(
        "{service}/api/sas/postToken?expiry={}&id=key1&state={id}&hmac={}",
        now.saturating_add(SAS_LIFE),
        uuid().replace('-', "")
    );
    let mut resource = json!({"signInLink": link, "tokenPostResource": {"sasUrl": sas}});
    // Without `msAppId` the service cannot know the registration whose token Teams would get.
    if app.is_some() {
        set(&mut resource, "tokenExchangeResource", json!({"id": uuid(), "uri": SSO_RESOURCE, "providerId": PROVIDER}));
    }
    store(shared).add_link(id, place, now);
    Ok(Made { link, resource })
}

/// Standard base64 of JSON; members in any letter case.
struct State64(Value);

impl State64 {
    fn read(state: &str) -> Option<Self> {
        let bytes = STANDARD.decode(state).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).map(Self)
    }

    fn text(&self, path: &[&str]) -> Option<String> {
        let mut at = &self.0;
        for name in path {
            at = at.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1;
        }
        at.as_str().map(str::to_owned)
    }
}

fn code() -> String {
    let mut bytes = [0_u8; 4];
    // Without randomness the code is constant, which only weakens a test.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    format!("{:06}", u32::from_be_bytes(bytes) % 1_000_000)
}
