//! The authorization endpoint: who signs in, what they allow, and the way back to the application.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use url::Url;

use super::directory::{App, Resource};
use super::error::{self, OAuthError};
use super::interaction::Interactions;
use super::page::{Page, button};
use super::{credential, scope};
use crate::Consent;
use crate::constants::{self, PEOPLE, User, V1_ISSUER_HOST};
use crate::journal::pairs;
use crate::state::{Shared, uuid};

/// Fields that the pages add to those of the request.
const USER: &str = "sandbox_user";
const STEP: &str = "sandbox_step";

/// `GET /{tenant}/oauth2/v2.0/authorize`.
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let fields = pairs(uri.query().unwrap_or_default().as_bytes());
    // What the pages add counts only when a page sent it.
    let fields = fields.into_iter().filter(|(name, _)| ![USER, STEP].contains(&name.as_str())).collect();
    answer(&shared, &tenant, &headers, uri.path(), fields)
}

/// The same as a form post: from the pages, or from an application.
pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Bytes,
) -> Response {
    answer(&shared, &tenant, &headers, uri.path(), pairs(&body))
}

fn answer(shared: &Shared, tenant: &str, headers: &HeaderMap, path: &str, fields: Vec<(String, String)>) -> Response {
    let interactions = shared.extension::<Interactions>();
    let request = match Request::read(shared, tenant, fields) {
        Ok(request) => request,
        Err(refusal) => return Page::new("Sign-in failed").text(&refusal.sentence()).response(StatusCode::BAD_REQUEST),
    };
    let mut response = match request.decide(shared, &interactions, headers) {
        Ok(Next::Page(page)) => page.response(StatusCode::OK),
        Ok(Next::Show(title, hidden, inside)) => {
            let mut fields = request.originals();
            fields.extend(hidden.iter().map(|(name, value)| (*name, value.as_str())));
            Page::new(&title).form(path, &fields, &inside).response(StatusCode::OK)
        }
        Ok(Next::Done(user, code)) => {
            let session = ("session_state", uuid());
            let mut response = request.back(vec![("code", code), session]);
            if let Ok(cookie) = HeaderValue::try_from(interactions.sign_in(user)) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => request.back(refusal.members(shared)),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What happens next.
enum Next {
    /// An error that never goes to the application.
    Page(Page),
    /// A question: heading, further hidden fields, what is in the form.
    Show(String, Vec<(&'static str, String)>, String),
    /// The user is signed in and has a code.
    Done(&'static User, String),
}

/// A request whose client and redirect URI are known, so that answers can go there.
struct Request {
    fields: Vec<(String, String)>,
    app: App,
    tenant: String,
    redirect_uri: Url,
}

impl Request {
    fn read(shared: &Shared, tenant: &str, fields: Vec<(String, String)>) -> Result<Self, OAuthError> {
        let get = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let is_tenant = constants::is_tenant(tenant);
        if !is_tenant && !["common", "organizations"].contains(&tenant) {
            return Err(error::unknown_tenant(tenant));
        }
        let id = get("client_id").filter(|id| !id.is_empty()).ok_or_else(|| error::missing("client_id"))?;
        let app = shared.directory().app(id).cloned().ok_or_else(|| credential::unknown_app(id, tenant))?;
        if !is_tenant && !app.is_multi_tenant() {
            return Err(OAuthError::new(
                400,
                "invalid_request",
                50194,
                format!(
                    "Application '{id}'({}) is not configured as a multi-tenant application. Usage of the /common \
                     endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint \
                     or configure the application to be multi-tenant.",
                    app.name
                ),
            ));
        }
        if is_tenant && !app.tenants.iter().any(|known| known.eq_ignore_ascii_case(tenant)) {
            return Err(credential::unknown_app(id, tenant));
        }
        let uri = get("redirect_uri").ok_or_else(|| error::missing("redirect_uri"))?;
        let redirect_uri = app.may_redirect_to(uri).then(|| Url::parse(uri).ok()).flatten().ok_or_else(|| {
            OAuthError::new(
                400,
                "invalid_request",
                50011,
                format!(
                    "The redirect URI '{uri}' specified in the request does not match the redirect URIs configured for \
                     the application '{id}'. Make sure the redirect URI sent in the request matches one added to your \
                     application in the Azure portal.",
                ),
            )
        })?;
        Ok(Self { app, tenant: tenant.to_owned(), redirect_uri, fields })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| error::missing(name))
    }

    /// The fields of the application's request.
    fn originals(&self) -> Vec<(&str, &str)> {
        let own = |name: &str| name == USER || name == STEP;
        self.fields.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn decide(&self, shared: &Shared, interactions: &Interactions, headers: &HeaderMap) -> Result<Next, OAuthError> {
        self.check()?;
        let step = self.get(STEP).unwrap_or_default();
        if step == "cancel" {
            return Err(declined());
        }
        let targets = scope::resources(self.need("scope")?, &self.tenant)?;
        let prompt = self.get("prompt").unwrap_or_default();
        let silent = prompt == "none";
        let user = match self.get(USER) {
            Some(oid) => {
                let user = constants::user_by_oid(oid).filter(|user| self.serves(user));
                let Some(user) = user else { return Ok(Next::Page(foreign(oid, &self.tenant, &self.app))) };
                user
            }
            None => match interactions.user(headers).filter(|user| self.serves(user) && self.is_hinted(user)) {
                Some(user) if !["login", "select_account"].contains(&prompt) => user,
                _ if silent => return Err(login_required()),
                _ => return Ok(self.accounts()),
            },
        };
        let known = |user: &User| vec![(USER, user.oid.to_owned())];
        if shared.directory().needs_mfa(user.oid) {
            match step {
                "approve" => shared.directory().require_mfa(user.oid, false),
                _ if silent => return Err(second_factor()),
                _ => {
                    let inside = button(STEP, "approve", "Approve") + &button(STEP, "cancel", "Cancel");
                    return Ok(Next::Show("Approve the sign-in".to_owned(), known(user), inside));
                }
            }
        }
        let missing = |target: &&&Resource| {
            target.id != self.app.id && !shared.directory().has_consent(user.oid, &self.app.id, target.id)
        };
        let asked: Vec<&Resource> = targets.iter().filter(missing).copied().collect();
        if !asked.is_empty() || prompt == "consent" {
            match step {
                "accept" => asked.iter().for_each(|target| {
                    shared.directory().grant(&Consent::of_user(user.oid, &self.app.id, target.id));
                }),
                _ if silent => return Err(consent_required(&self.app)),
                _ => {
                    let names: Vec<&str> = asked.iter().map(|target| target.audience).collect();
                    let title = format!("{} asks for permissions", self.app.name);
                    let inside = format!("<p>{}</p>\n", super::page::escape(&names.join(", ")))
                        + &button(STEP, "accept", "Accept")
                        + &button(STEP, "cancel", "Cancel");
                    return Ok(Next::Show(title, known(user), inside));
                }
            }
        }
        let code = interactions.issue(
            &self.app.id,
            &self.tenant,
            self.get("redirect_uri").unwrap_or_default(),
            self.need("code_challenge")?,
            self.need("scope")?,
            self.get("nonce"),
            user,
            shared.clock.now(),
        );
        Ok(Next::Done(user, code))
    }

    /// What does not depend on the user.
    fn check(&self) -> Result<(), OAuthError> {
        for (index, (name, _)) in self.fields.iter().enumerate() {
            if self.fields.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(error::bad_parameter("Invalid request. A parameter is there twice."));
            }
        }
        if self.need("response_type")? != "code" {
            return Err(OAuthError::new(
                400,
                "unsupported_response_type",
                700_054,
                "The sandbox answers with response_type 'code' alone; response_type 'id_token' is not enabled for the application.",
            ));
        }
        if !["query", "form_post", "fragment"].contains(&self.get("response_mode").unwrap_or("query")) {
            return Err(error::bad_parameter("The value of 'response_mode' is not supported."));
        }
        if !["", "login", "none", "consent", "select_account"].contains(&self.get("prompt").unwrap_or_default()) {
            return Err(error::bad_parameter("The value of 'prompt' is not supported."));
        }
        let challenge = self.need("code_challenge")?;
        if self.get("code_challenge_method") != Some("S256") || challenge.len() != 43 {
            return Err(error::bad_parameter("The code challenge is not one of method 'S256'."));
        }
        Ok(())
    }

    /// Whether this user can sign in by this path.
    fn serves(&self, user: &User) -> bool {
        let tenant = user.tenant;
        let by_path = !constants::is_tenant(&self.tenant) || tenant.eq_ignore_ascii_case(&self.tenant);
        by_path && self.app.tenants.contains(&tenant)
    }

    fn is_hinted(&self, user: &User) -> bool {
        self.get("login_hint").is_none_or(|hint| hint.eq_ignore_ascii_case(user.upn))
    }

    fn accounts(&self) -> Next {
        let hinted: Vec<&User> = PEOPLE.iter().filter(|user| self.serves(user) && self.is_hinted(user)).collect();
        let all = || PEOPLE.iter().filter(|user| self.serves(user)).collect();
        let listed: Vec<&User> = if hinted.is_empty() { all() } else { hinted };
        let buttons = listed.iter().map(|user| button(USER, user.oid, &format!("{} ({})", user.name, user.upn)));
        let inside = buttons.collect::<String>() + &button(STEP, "cancel", "Cancel");
        Next::Show(format!("Sign in to {}", self.app.name), Vec::new(), inside)
    }

    /// The way back, in the mode that was asked for.
    fn back(&self, mut members: Vec<(&'static str, String)>) -> Response {
        members.extend(self.get("state").map(|state| ("state", state.to_owned())));
        let mut uri = self.redirect_uri.clone();
        match self.get("response_mode") {
            Some("form_post") => {
                let fields: Vec<(&str, &str)> = members.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let inside = "<noscript><button type=\"submit\">Continue</button></noscript>\n";
                let page = Page::new("Working …").form(uri.as_str(), &fields, inside).submitted();
                return page.response(StatusCode::OK);
            }
            Some("fragment") => {
                let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&members).finish();
                uri.set_fragment(Some(&text));
            }
            _ => {
                uri.query_pairs_mut().extend_pairs(&members);
            }
        }
        (StatusCode::FOUND, [(header::LOCATION, uri.to_string())]).into_response()
    }
}

/// The user pressed Cancel.
pub(crate) fn declined() -> OAuthError {
    OAuthError::new(400, "access_denied", 65004, "User declined to consent to access the app.").suberror("cancel")
}

fn login_required() -> OAuthError {
    OAuthError::new(
        400,
        "login_required",
        50058,
        "A silent sign-in request was sent but no user is signed in. The cookies used to represent the user's session \
         were not sent in the request to Azure AD.",
    )
}

fn second_factor() -> OAuthError {
    OAuthError::new(
        400,
        "interaction_required",
        50076,
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must use \
         multi-factor authentication to access the application.",
    )
    .suberror("basic_action")
}

fn consent_required(app: &App) -> OAuthError {
    OAuthError::new(
        400,
        "consent_required",
        65001,
        format!(
            "The user or administrator has not consented to use the application with ID '{}' named '{}'. Send an \
             interactive authorization request for this user and resource.",
            app.id, app.name
        ),
    )
}

fn foreign(oid: &str, tenant: &str, app: &App) -> Page {
    let from = constants::user_by_oid(oid).map_or("unknown", |user| user.tenant);
    let refusal = error::invalid_grant(
        50020,
        format!(
            "User account '{oid}' from identity provider '{V1_ISSUER_HOST}/{from}/' does not exist in tenant '{tenant}' \
             and cannot access the application '{}'({}) in that tenant.",
            app.id, app.name
        ),
    );
    Page::new("Sign-in failed").text(&refusal.sentence())
}
