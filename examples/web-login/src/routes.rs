//! The routes. Every answer carries the security headers; nothing is kept by browsers or proxies in between.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, Query, State},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use entra_auth::{
    AuthorizationAnswer, AuthorizationRequest, Error, ErrorKind, ReturnPath, Secret, TokenCredential, TokenRequest,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::json;

use crate::{app::App, pages, session::Session, story::NoStory};

/// Largest form, bytes.
const LARGEST_FORM: usize = 8 << 10;

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", get(login))
        .route("/auth/callback", get(callback))
        .route("/me", get(me))
        .route("/story", get(story))
        .route("/api/story", get(api_story))
        .route("/logout", post(logout))
        .route("/style.css", get(style))
        .route("/healthz", get(health))
        .fallback(async || (StatusCode::NOT_FOUND, Html(pages::trouble("Not found", "There is no such page.", None))))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guarded))
        .with_state(app)
}

/// What browsers are told about every answer.
async fn guarded(State(app): State<Arc<App>>, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // Signing out is a form whose redirect leads to Entra.
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {}; frame-ancestors 'none'; base-uri 'none'",
        app.authority_origin
    );
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    if app.base.scheme() == "https" {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

async fn home(State(app): State<Arc<App>>, headers: HeaderMap) -> Html<String> {
    Html(pages::home(app.sessions.of(&headers).as_ref()))
}

/// Sends the browser to Entra. `return_to` is where to go afterwards, within this application.
async fn login(
    State(app): State<Arc<App>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut request = AuthorizationRequest::new(app.redirect_uri.clone(), app.api_scope.clone());
    if let Some(path) = query.get("return_to").and_then(|text| ReturnPath::parse(text)) {
        request = request.return_to(path);
    }
    if let Some(claims) = app.sessions.of(&headers).and_then(|session| session.step_up) {
        request = request.claims(claims);
    }
    let started = app.users.sign_in(request).ok().zip(app.sessions.browser(&headers));
    let Some(((url, session), (browser, cookie))) = started else {
        return trouble(StatusCode::INTERNAL_SERVER_ERROR, "The sign-in failed", "It could not be started.");
    };
    if app.sign_ins.keep(&browser, &session).await.is_err() {
        return trouble(StatusCode::SERVICE_UNAVAILABLE, "Not now", "Too many sign-ins are under way. Try again.");
    }
    let mut response = redirect(url.as_str());
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// The browser comes back from Entra.
async fn callback(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    let not_ours = || {
        trouble(
            StatusCode::BAD_REQUEST,
            "That is not your sign-in",
            "It was not started in this browser, took too long, or is finished already.",
        )
    };
    let Some(browser) = app.sessions.known_browser(&headers) else { return not_ours() };
    let Ok(answer) = AuthorizationAnswer::parse(uri.query().unwrap_or_default()) else { return not_ours() };
    let started = match app.sign_ins.take(&browser, &answer).await {
        Ok(Some(session)) => session,
        Ok(None) => return not_ours(),
        Err(_) => return trouble(StatusCode::SERVICE_UNAVAILABLE, "Not now", "Try again in a minute."),
    };
    let return_to = started.return_to();
    let signed_in = match app.users.redeem(started, answer).await {
        Ok(signed_in) => signed_in,
        Err(error) => return refused(&error),
    };
    // Whoever was signed in here before is not any more, and the id of a session never outlives a sign-in.
    if let Some(old) = app.sessions.of(&headers) {
        app.sessions.end(&old);
    }
    let Some(cookie) = app.sessions.begin(signed_in.id_token) else {
        return trouble(StatusCode::INTERNAL_SERVER_ERROR, "The sign-in failed", "There is no session to be had.");
    };
    let mut response = redirect(return_to.as_ref().map_or("/", ReturnPath::as_str));
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

fn refused(error: &Error) -> Response {
    tracing::info!(kind = ?error.kind(), "a sign-in was refused");
    let (title, text) = pages::refused(error.kind());
    let status = match error.kind() {
        ErrorKind::ConsentRequired => StatusCode::OK,
        ErrorKind::PolicyBlocked => StatusCode::FORBIDDEN,
        ErrorKind::Transport | ErrorKind::Transient | ErrorKind::Throttled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Configuration | ErrorKind::ClientCredential => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    trouble(status, title, text)
}

async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let Some(session) = app.sessions.of(&headers) else { return redirect("/login?return_to=/me") };
    let groups = async {
        let ids = app.groups.groups_of_sign_in(&session.id_token).await?;
        let names = app.graph.names(&session.user, &ids).await?;
        Ok((ids, names))
    };
    let (groups, attributes) = tokio::join!(groups, app.graph.attributes(&session.user));
    let groups = groups.map_err(|error: Error| unavailable(&error));
    let attributes = attributes.map_err(|error| unavailable(&error));
    Html(pages::me(&session, &groups, &attributes)).into_response()
}

/// The page goes on without what Graph does not tell.
fn unavailable(error: &Error) -> &'static str {
    tracing::warn!(%error, "Graph could not be asked");
    match error.kind() {
        ErrorKind::Configuration => "Graph does not let the application read this.",
        _ => "Graph cannot be reached at the moment.",
    }
}

async fn story(
    State(app): State<Arc<App>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(session) = app.sessions.of(&headers) else { return redirect("/login?return_to=/story") };
    match story_of(&app, &session).await {
        Ok(text) => Html(pages::story(&session, &text)).into_response(),
        // Another sign-in may help, and one is enough to know.
        Err(NoStory::Downstream(error, ..)) if asks_the_user(&error) && !query.contains_key("again") => {
            app.sessions.step_up(&session, error.claims_challenge());
            redirect("/login?return_to=/story%3Fagain%3D1")
        }
        Err(reason) => {
            let status = note(&reason);
            let page = pages::trouble("No story", "Your story cannot be read at the moment.", Some(&session));
            (status, Html(page)).into_response()
        }
    }
}

/// The same as JSON, to callers with a token for the story API, and to the pages' own scripts by their session.
async fn api_story(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let result = match app.sessions.of(&headers).filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
        Some(session) => story_of(&app, &session).await,
        None => app.stories.of_request(&headers).await,
    };
    match result {
        Ok(text) => Json(json!({ "story": text })).into_response(),
        Err(reason) => {
            let status = note(&reason);
            let challenge = match reason {
                NoStory::Token(error) => HeaderMap::from_iter([(header::WWW_AUTHENTICATE, error.www_authenticate())]),
                NoStory::Downstream(_, headers, _) => headers,
            };
            (status, challenge).into_response()
        }
    }
}

/// The story of a session's user: their own token for the API, judged as any other caller's.
async fn story_of(app: &App, session: &Session) -> Result<String, NoStory> {
    let token = app.users.credential(&session.user).get_token(&TokenRequest::new(app.api_scope.clone())).await;
    let token = token.map_err(|error| {
        let status = if asks_the_user(&error) { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_GATEWAY };
        NoStory::Downstream(error, HeaderMap::new(), status)
    })?;
    app.stories.of_token(token.expose()).await
}

fn note(reason: &NoStory) -> StatusCode {
    match reason {
        NoStory::Token(error) => {
            tracing::info!(rule = error.kind().as_str(), "a caller of the story API was refused");
            error.status()
        }
        NoStory::Downstream(error, _, status) => {
            tracing::warn!(%error, "a story could not be read");
            *status
        }
    }
}

/// Whether the user can mend it by signing in again.
fn asks_the_user(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Reauthenticate | ErrorKind::ConsentRequired | ErrorKind::InteractionRequired)
}

#[derive(Deserialize)]
struct Logout {
    #[serde(default)]
    csrf: String,
}

/// Forgets the user and sends the browser to Entra, so that its session there ends too.
async fn logout(State(app): State<Arc<App>>, headers: HeaderMap, Form(form): Form<Logout>) -> Response {
    let Some(session) = app.sessions.of(&headers) else { return redirect("/") };
    if session.csrf != Secret::from(form.csrf) {
        return trouble(StatusCode::FORBIDDEN, "Not signed out", "The form was not one of this application.");
    }
    app.forget(&session.user).await;
    let mut response = redirect(app.users.sign_out_url(Some(&app.base)).as_str());
    if let Some(cookie) = app.sessions.gone() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], pages::STYLE)
}

async fn health(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(if app.sandbox { json!({"status": "ok", "mode": "sandbox"}) } else { json!({"status": "ok"}) })
}

fn redirect(to: &str) -> Response {
    match HeaderValue::try_from(to) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn trouble(status: StatusCode, title: &str, text: &str) -> Response {
    (status, Html(pages::trouble(title, text, None))).into_response()
}
