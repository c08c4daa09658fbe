//! What Graph says about people: attributes and groups to applications, a document to its owner.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::graph::{failure, refused};
use super::groups;
use crate::constants::{GRAPH_RESOURCE, PEOPLE, USER_ONE, USER_TWO, User};
use crate::state::{Shared, lock, uuid};
use crate::tokens::{self, Caller};

/// Ids on one page of an answer.
const PAGE: usize = 100;
/// Life of a download address, seconds.
const TICKET_LIFE: i64 = 60;

/// `GET /users/{id}`, `$select` as asked.
pub(crate) async fn user(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let user = match known(&shared, &headers, &id, "User.Read.All") {
        Ok(user) => user,
        Err(answer) => return *answer,
    };
    let mut members = attributes(user);
    let wanted = query.get("$select").map_or(
        "businessPhones,displayName,givenName,jobTitle,mail,mobilePhone,officeLocation,preferredLanguage,surname,userPrincipalName,id",
        String::as_str,
    );
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
    members.retain(|name, _| wanted.contains(&name.as_str()));
    let context = format!("{}/graph/v1.0/$metadata#users/$entity", shared.base_url());
    members.insert("@odata.context".to_owned(), json!(context));
    Json(members).into_response()
}

/// `POST /users/{id}/getMemberObjects`: the first page of all groups.
pub(crate) async fn member_objects(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Json<Value>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let is_good = body.is_ok_and(|Json(body)| body.get("securityEnabledOnly").is_some_and(Value::is_boolean));
    if !is_good {
        let text = "The parameter 'securityEnabledOnly' is required.";
        return failure(&shared, StatusCode::BAD_REQUEST, "Request_BadRequest", text);
    }
    page_of_groups(&shared, &headers, &id, 0)
}

/// The next page, by the address that the one before named.
pub(crate) async fn more_member_objects(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    match query.get("$skiptoken").and_then(|token| token.parse().ok()) {
        Some(from) => page_of_groups(&shared, &headers, &id, from),
        None => failure(
            &shared,
            StatusCode::METHOD_NOT_ALLOWED,
            "Request_BadRequest",
            "Specified HTTP method is not allowed.",
        ),
    }
}

fn page_of_groups(shared: &Shared, headers: &HeaderMap, id: &str, from: usize) -> Response {
    let user = match known(shared, headers, id, "GroupMember.Read.All") {
        Ok(user) => user,
        Err(answer) => return *answer,
    };
    let groups = groups::of(user);
    let ids: Vec<&str> = groups.iter().skip(from).take(PAGE).map(|group| group.id.as_str()).collect();
    let base = shared.base_url();
    let mut page =
        json!({"@odata.context": format!("{base}/graph/v1.0/$metadata#Collection(Edm.String)"), "value": ids});
    if from + PAGE < groups.len() {
        let next = format!("{base}/graph/v1.0/users/{id}/getMemberObjects?$skiptoken={}", from + PAGE);
        crate::members::set(&mut page, "@odata.nextLink", next);
    }
    Json(page).into_response()
}

/// `POST /directoryObjects/getByIds`: names of groups.
pub(crate) async fn by_ids(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Json<Value>, axum::extract::rejection::JsonRejection>,
) -> Response {
    if let Err(answer) = application(&shared, &headers, "GroupMember.Read.All") {
        return *answer;
    }
    let ids = body.ok().and_then(|Json(body)| body.get("ids").and_then(Value::as_array).cloned());
    let Some(ids) = ids.filter(|ids| ids.len() <= 1000) else {
        return failure(
            &shared,
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            "'ids' must be a list of up to 1000 ids.",
        );
    };
    let found: Vec<Value> = ids
        .iter()
        .filter_map(|id| groups::by_id(id.as_str()?))
        .map(|group| {
            json!({
                "@odata.type": "#microsoft.graph.group", "id": group.id, "displayName": group.name,
                "securityEnabled": true, "mailEnabled": false,
            })
        })
        .collect();
    let context = format!("{}/graph/v1.0/$metadata#directoryObjects", shared.base_url());
    Json(json!({"@odata.context": context, "value": found})).into_response()
}

/// Addresses from which a document can be fetched without a token, for a short time.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (&'static str, i64)>>);

/// `GET /me/drive/root:/story.txt:/content`: 302 to where the document is, as OneDrive does it.
pub(crate) async fn content(
    State(shared): State<Arc<Shared>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    let caller = match tokens::check_bearer(&shared, &headers, &[GRAPH_RESOURCE]) {
        Ok(caller) => caller,
        Err(refusal) => return refused(&shared, refusal),
    };
    let may_read = caller.scopes.as_deref().is_some_and(|scopes| scopes.split(' ').any(|scope| scope == "Files.Read"));
    if !may_read {
        return failure(&shared, StatusCode::FORBIDDEN, "accessDenied", "The caller does not have permission.");
    }
    let user = PEOPLE.iter().find(|user| user.oid == caller.oid).filter(|_| file == "story.txt:");
    let Some(user) = user else {
        return failure(&shared, StatusCode::NOT_FOUND, "itemNotFound", "The resource could not be found.");
    };
    let (ticket, now) = (format!("{}{}", uuid(), uuid()).replace('-', ""), shared.clock.now());
    let tickets = shared.extension::<Tickets>();
    let mut open = lock(&tickets.0);
    open.retain(|_, (_, end)| *end > now);
    open.insert(ticket.clone(), (user.oid, now + TICKET_LIFE));
    let location = format!("{}/graph/download/{ticket}", shared.base_url());
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

/// The document itself. A token that comes along went to the wrong place.
pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return (StatusCode::UNAUTHORIZED, "A pre-authenticated address takes no token.").into_response();
    }
    let (tickets, now) = (shared.extension::<Tickets>(), shared.clock.now());
    let found = lock(&tickets.0).get(&ticket).filter(|(_, end)| *end > now).map(|(oid, _)| *oid);
    match found.and_then(|oid| PEOPLE.iter().find(|user| user.oid == oid)) {
        Some(user) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], story(user)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn story(user: &User) -> String {
    let plot = match user.oid {
        oid if oid == USER_ONE.oid => "found a printer that answered every question with another one",
        oid if oid == USER_TWO.oid => "was in so many groups that no token could hold them all",
        _ => "came from another tenant and was let in all the same",
    };
    format!("Once upon a time {} {plot}. The end.\n", user.name)
}

fn attributes(user: &User) -> Map<String, Value> {
    let (job, department, office) = match user.oid {
        oid if oid == USER_ONE.oid => ("Storyteller", "Tales", "Building 1"),
        oid if oid == USER_TWO.oid => ("Programme manager", "Projects", "Building 2"),
        _ => ("Engineer", "Platform", "Elsewhere"),
    };
    let members = json!({
        "businessPhones": [], "displayName": user.name, "givenName": user.given_name, "jobTitle": job,
        "department": department, "mail": user.upn, "mobilePhone": Value::Null, "officeLocation": office,
        "preferredLanguage": Value::Null, "surname": "User", "userPrincipalName": user.upn, "id": user.oid,
        "accountEnabled": true, "userType": "Member",
    });
    members.as_object().cloned().unwrap_or_default()
}

/// The user of a path, for an application with this role in the user's tenant.
fn known(shared: &Shared, headers: &HeaderMap, id: &str, role: &str) -> Result<&'static User, Box<Response>> {
    let caller = application(shared, headers, role)?;
    let is_named = |user: &&User| user.oid.eq_ignore_ascii_case(id) || user.upn.eq_ignore_ascii_case(id);
    PEOPLE.iter().find(|user| user.tenant == caller.tenant && is_named(user)).ok_or_else(|| {
        let text =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Box::new(failure(shared, StatusCode::NOT_FOUND, "Request_ResourceNotFound", &text))
    })
}

/// An application that calls for itself, with this role.
fn application(shared: &Shared, headers: &HeaderMap, role: &str) -> Result<Caller, Box<Response>> {
    let caller = tokens::check_bearer(shared, headers, &[GRAPH_RESOURCE])
        .map_err(|refusal| Box::new(refused(shared, refusal)))?;
    let roles = caller.claims.get("roles").and_then(Value::as_array);
    let has_role = roles.is_some_and(|roles| roles.iter().any(|held| held == role));
    if caller.is_user() || !has_role {
        let text = "Insufficient privileges to complete the operation.";
        return Err(Box::new(failure(shared, StatusCode::FORBIDDEN, "Authorization_RequestDenied", text)));
    }
    Ok(caller)
}
