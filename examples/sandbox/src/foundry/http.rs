//! What every call has in common: the bearer, the project, the api-version, the body, paging, the headers.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Query, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Foundry;
use super::error::ApiError;
use super::form::Raw;
use crate::constants::{FOUNDRY_PROJECT, OTHER_APP_ID};
use crate::state::uuid;
use crate::tokens::{Caller, Refusal};

/// The largest JSON body, bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;
const IDENTITY: HeaderName = HeaderName::from_static("x-ms-user-identity");

/// The front door: refuses a call without a good token, and adds the headers every answer has.
pub(crate) async fn front_door(State(foundry): State<Arc<Foundry>>, mut request: Request, next: Next) -> Response {
    let client_id = request.headers().get("x-ms-client-request-id").cloned();
    let caller = authorize(&foundry, request.headers());
    let caller = caller.and_then(|caller| check_role(&caller, &request).map(|()| caller));
    let mut response = match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    for name in ["x-request-id", "apim-request-id"] {
        if let Ok(value) = HeaderValue::from_str(&uuid()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(id) = client_id {
        headers.insert(HeaderName::from_static("x-ms-client-request-id"), id);
    }
    headers.insert(HeaderName::from_static("x-ms-region"), HeaderValue::from_static("Sandbox"));
    response
}

/// 404 for a path that is no resource.
pub(crate) async fn no_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "404", "Resource not found").kind("error")
}

/// 405, with the `Allow` header that axum adds.
pub(crate) async fn no_method(method: Method, uri: OriginalUri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_supported",
        format!("Not allowed to {method} on {}", uri.path()),
    )
}

fn authorize(foundry: &Foundry, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let caller = (foundry.config.authorize)(headers).map_err(|refusal| match refusal {
        Refusal::Caller => {
            ApiError::permission_denied(StatusCode::FORBIDDEN, "The principal does not have access to this project.")
        }
        _ => ApiError::unauthorized(),
    })?;
    check_identity(headers)?;
    Ok(caller)
}

/// [`OTHER_APP_ID`] is a *Foundry Agent Consumer*: it may call agents and read, and neither make nor change anything.
fn check_role(caller: &Caller, request: &Request) -> Result<(), ApiError> {
    let path = request.uri().path();
    let resource = ["/agents", "/memory_stores"].into_iter().find(|part| path.contains(part));
    let (Some(resource), true) = (resource, caller.app_id == OTHER_APP_ID) else { return Ok(()) };
    let reads = request.method() == Method::GET || path.contains("/endpoint/") || path.ends_with(":search_memories");
    if reads {
        return Ok(());
    }
    let message = format!(
        "The principal `{}` lacks the required data action `Microsoft.CognitiveServices/accounts/AIServices{resource}/write` \
         to perform `{} {path}` operation.",
        caller.oid,
        request.method(),
    );
    Err(ApiError::permission_denied(StatusCode::UNAUTHORIZED, &message))
}

/// To speak for another user takes a data action that no built-in role has.
fn check_identity(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(IDENTITY) else {
        return Ok(());
    };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(byte);
    if !(1..=256).contains(&value.len()) || !value.as_bytes().iter().all(allowed) {
        return Err(ApiError::bad("invalid_request", "x-ms-user-identity is not valid.").param(IDENTITY.as_str()));
    }
    Err(ApiError::permission_denied(
        StatusCode::FORBIDDEN,
        "The principal lacks the required data action \
         `Microsoft.CognitiveServices/accounts/AIServices/agents/endpoints/UserIdentityImpersonation/action`.",
    ))
}

/// A checked call: who, and on which base.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) foundry: Arc<Foundry>,
    pub(crate) caller: Option<Caller>,
    pub(crate) headers: HeaderMap,
    /// The agent of the URL, on an agent's own endpoint.
    pub(crate) agent: Option<String>,
    params: HashMap<String, String>,
    query: HashMap<String, String>,
}

impl Call {
    /// A path parameter.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The display name of the user, when the token speaks for one.
    pub(crate) fn user(&self) -> Option<String> {
        let caller = self.caller.as_ref().filter(|caller| caller.is_user())?;
        caller.claims.get("name").and_then(Value::as_str).map(str::to_owned)
    }

    /// Who calls: tenant and object id.
    pub(crate) fn owner(&self) -> String {
        self.caller.as_ref().map(|caller| format!("{}/{}", caller.tenant, caller.oid)).unwrap_or_default()
    }

    /// One page of `all`, which is oldest first, in the service's list envelope.
    pub(crate) fn page(&self, all: &[Value]) -> Result<Value, ApiError> {
        self.page_by("id", all)
    }

    /// [`page`](Self::page) of resources whose id is the member `key`.
    pub(crate) fn page_by(&self, key: &str, all: &[Value]) -> Result<Value, ApiError> {
        let limit = match self.query("limit").map(str::parse::<usize>) {
            None => 20,
            Some(Ok(limit)) if (1..=100).contains(&limit) => limit,
            Some(Ok(_)) => {
                return Err(ApiError::invalid("limit", "limit must be between 1 and 100"));
            }
            Some(Err(_)) => {
                return Err(ApiError::invalid("limit", "limit must be an integer between 1 and 100"));
            }
        };
        let mut list: Vec<&Value> = all.iter().collect();
        match self.query("order") {
            None | Some("desc") => list.reverse(),
            Some("asc") => {}
            Some(_) => return Err(ApiError::invalid("order", "order must be 'asc' or 'desc'")),
        }
        let position =
            |cursor: &str| list.iter().position(|item| item.get(key).and_then(Value::as_str) == Some(cursor));
        let place = |name: &str| match self.query(name) {
            None => Ok(None),
            Some(cursor) => position(cursor)
                .map(Some)
                .ok_or_else(|| ApiError::invalid(name, format!("No item with id '{cursor}' in this list."))),
        };
        let from = place("after")?.map_or(0, |index| index + 1);
        let to = place("before")?.unwrap_or(list.len());
        let window = list.get(from..to).unwrap_or_default();
        let data: Vec<&Value> = window.iter().copied().take(limit).collect();
        let id = |item: Option<&&Value>| item.and_then(|item| item.get(key)).cloned().unwrap_or_default();
        Ok(json!({
            "object": "list",
            "data": data,
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "has_more": window.len() > data.len(),
        }))
    }

    /// On an agent's endpoint and for Foundry operations `api-version=v1` is a must; the project's OpenAI path has
    /// none.
    fn check_version(&self, path: &str) -> Result<(), ApiError> {
        let version = self.query("api-version");
        if path.contains("/openai/v1") {
            return match version {
                None | Some("v1" | "preview") => Ok(()),
                Some(_) => {
                    Err(ApiError::bad("BadRequest", "api-version query parameter is not allowed when using /v1 path"))
                }
            };
        }
        match version {
            Some("v1") => Ok(()),
            None => Err(ApiError::bad("MissingApiVersion", "API version not specified").param("api-version")),
            Some(_) => Err(ApiError::bad("UnsupportedApiVersion", "API version not supported").param("api-version")),
        }
    }
}

impl FromRequestParts<Arc<Foundry>> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, foundry: &Arc<Foundry>) -> Result<Self, ApiError> {
        let params =
            RawPathParams::from_request_parts(parts, foundry).await.map_err(|_| ApiError::malformed_id("path"))?;
        let params: HashMap<String, String> =
            params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::bad("invalid_request", "The query string is not valid."))?;
        // Of a repeated parameter the first one counts.
        let query = query.0.into_iter().rev().collect();
        let call = Self {
            foundry: Arc::clone(foundry),
            caller: parts.extensions.get::<Caller>().cloned(),
            headers: parts.headers.clone(),
            agent: params.get("endpoint_agent").cloned(),
            params,
            query,
        };
        if call.param("project") != FOUNDRY_PROJECT {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "NotFound", "Project not found").kind("error"));
        }
        let path = OriginalUri::from_request_parts(parts, foundry).await.unwrap_or_else(|never| match never {});
        call.check_version(path.path())?;
        Ok(call)
    }
}

/// A call of Resource Manager.
#[derive(Debug)]
pub(crate) struct ArmCall {
    pub(crate) foundry: Arc<Foundry>,
    path: String,
    version: String,
}

impl ArmCall {
    /// The id of the resource: the path below the base.
    pub(crate) fn id(&self) -> String {
        self.path.split_once("/arm").map(|(_, id)| id.to_owned()).unwrap_or_default()
    }

    /// Every operation has a version of its own.
    pub(crate) fn version(&self, wanted: &str) -> Result<(), ApiError> {
        if self.version == wanted {
            return Ok(());
        }
        Err(ApiError::bad("InvalidApiVersionParameter", format!("The api-version must be '{wanted}'.")))
    }
}

impl FromRequestParts<Arc<Foundry>> for ArmCall {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, foundry: &Arc<Foundry>) -> Result<Self, ApiError> {
        let path = OriginalUri::from_request_parts(parts, foundry).await.unwrap_or_else(|never| match never {});
        let query = Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
            .map_err(|_| ApiError::bad("InvalidRequest", "The query string is not valid."))?;
        let version = query.0.get("api-version").cloned().unwrap_or_default();
        Ok(Self { foundry: Arc::clone(foundry), path: path.path().to_owned(), version })
    }
}

/// The JSON object of a request. An empty body is an empty object.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) Map<String, Value>);

impl FromRequest<Arc<Foundry>> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Foundry>) -> Result<Self, ApiError> {
        Raw::of(request, MAX_BODY).await?.json()
    }
}

impl Payload {
    /// The object that these bytes are.
    pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        check_content_type(content_type)?;
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(ApiError::bad("invalid_request", "request body must be a JSON object")),
            Err(_) => Err(ApiError::bad(
                "invalid_request_error",
                "We could not parse the JSON body of your request. The service expects a JSON payload.",
            )),
        }
    }
}

fn check_content_type(text: &str) -> Result<(), ApiError> {
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_content_type",
        format!("Unsupported content type: '{essence}'. This API method only accepts 'application/json' requests."),
    ))
}
