//! Sandboxes of hosted agents: who made one, how it is, what its code writes. A session belongs to the caller that began
//! it; for all others it is not there.

use std::fmt;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::error::ApiError;
use super::http::{Call, Payload};
use super::ids;
use super::registry;
use super::session_files::Files;
use super::store::Store;
use super::turn::Turn;

type Answer = Result<Json<Value>, ApiError>;

/// How long an unused session is kept, seconds.
const LIFETIME: i64 = 30 * 24 * 3600;

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    agent: String,
    version: String,
    owner: String,
    created_at: i64,
    last_accessed_at: i64,
    /// Set while it rests.
    stopped_at: Option<i64>,
    pub(crate) files: Files,
    log: Log,
}

/// Lines of the agent's code. Who reads is told of new ones, and of the end.
struct Log(watch::Sender<Vec<String>>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.0.borrow().len())
    }
}

impl Session {
    fn begin(id: String, agent: &str, version: &str, owner: String, now: i64) -> Self {
        let session = Self {
            id,
            agent: agent.to_owned(),
            version: version.to_owned(),
            owner,
            created_at: now,
            last_accessed_at: now,
            stopped_at: None,
            files: Files::default(),
            log: Log(watch::Sender::new(Vec::new())),
        };
        session.write("stdout", &format!("Starting version {version} on port 8088"));
        session.write("status", "Successfully connected to container");
        session
    }

    /// A request reaches it, and wakes it.
    pub(crate) fn touch(&mut self, now: i64) {
        self.last_accessed_at = now;
        if self.stopped_at.take().is_some() {
            self.write("status", "Successfully connected to container");
        }
    }

    fn write(&self, stream: &str, message: &str) {
        let line = json!({"stream": stream, "message": message}).to_string();
        self.log.0.send_modify(|lines| lines.push(line));
    }

    fn resource(&self) -> Value {
        let mut resource = json!({
            "agent_session_id": self.id,
            "version_indicator": {"type": "version_ref", "agent_version": self.version},
            "status": if self.stopped_at.is_some() { "idle" } else { "active" },
            "created_at": self.created_at,
            "last_accessed_at": self.last_accessed_at,
            "expires_at": self.last_accessed_at + LIFETIME,
        });
        if let Some(at) = self.stopped_at {
            registry::set(&mut resource, "stopped_at", json!(at));
        }
        resource
    }
}

/// `POST …/endpoint/sessions` answers 201.
pub(crate) async fn create(call: Call, Payload(members): Payload) -> Result<Response, ApiError> {
    let agent = hosted(&call)?;
    let indicator = members.get("version_indicator");
    let member = |name: &str| indicator.and_then(|indicator| indicator.get(name)).and_then(Value::as_str);
    let Some(version) = member("agent_version").filter(|_| member("type") == Some("version_ref")) else {
        return Err(ApiError::invalid("version_indicator", "Missing required parameter: 'version_indicator'."));
    };
    if !agent.versions.iter().any(|known| known.get("version").and_then(Value::as_str) == Some(version)) {
        return Err(registry::no_version(&agent.name, version));
    }
    let id = match members.get("agent_session_id") {
        None | Some(Value::Null) => fresh(),
        Some(Value::String(id)) if is_id(id) => id.clone(),
        Some(_) => return Err(ApiError::invalid("agent_session_id", "The session id is not valid.")),
    };
    let mut store = call.foundry.store();
    if store.sessions.iter().any(|known| known.agent == agent.name && known.id == id) {
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", format!("Session {id} already exists.")));
    }
    let session = Session::begin(id, &agent.name, version, call.owner(), call.foundry.clock.now());
    let resource = session.resource();
    store.sessions.push(session);
    Ok((StatusCode::CREATED, Json(resource)).into_response())
}

/// `GET …/endpoint/sessions`.
pub(crate) async fn list(call: Call) -> Answer {
    let agent = hosted(&call)?;
    let owner = call.owner();
    let all: Vec<Value> = {
        let store = call.foundry.store();
        let own = store.sessions.iter().filter(|known| known.agent == agent.name && known.owner == owner);
        own.map(Session::resource).collect()
    };
    call.page_by("agent_session_id", &all).map(Json)
}

/// `GET …/endpoint/sessions/{id}`.
pub(crate) async fn get(call: Call) -> Answer {
    with(&call, call.param("session"), |session| Ok(session.resource())).map(Json)
}

/// `DELETE …/endpoint/sessions/{id}` answers 204.
pub(crate) async fn delete(call: Call) -> Result<StatusCode, ApiError> {
    let id = call.param("session");
    with(&call, id, |_| Ok(()))?;
    let (agent, owner) = (call.param("agent"), call.owner());
    let mut store = call.foundry.store();
    store.sessions.retain(|known| !(known.agent == agent && known.id == id && known.owner == owner));
    Ok(StatusCode::NO_CONTENT)
}

/// `POST …/endpoint/sessions/{id}:stop` answers 204.
pub(crate) async fn verb(call: Call) -> Result<StatusCode, ApiError> {
    let Some((id, "stop")) = call.param("session").rsplit_once(':') else {
        return Err(super::http::no_route().await);
    };
    let now = call.foundry.clock.now();
    with(&call, id, |session| {
        if session.stopped_at.is_none() {
            session.stopped_at = Some(now);
            session.write("status", "Session stopped");
        }
        Ok(StatusCode::NO_CONTENT)
    })
}

/// `GET …/versions/{version}/sessions/{id}:logstream`: what is there, then what comes, until the session ends.
pub(crate) async fn logs(call: Call) -> Result<Response, ApiError> {
    let Some((id, "logstream")) = call.param("session").rsplit_once(':') else {
        return Err(super::http::no_route().await);
    };
    let version = call.param("version");
    let lines =
        with(
            &call,
            id,
            |session| {
                if session.version == version { Ok(session.log.0.subscribe()) } else { Err(missing(id)) }
            },
        )?;
    let frames = stream::unfold((lines, 0), |(mut lines, next)| async move {
        loop {
            let line = lines.borrow_and_update().get(next).cloned();
            if let Some(line) = line {
                let frame = Bytes::from(format!("event: log\ndata: {line}\n\n"));
                return Some((Ok::<_, std::convert::Infallible>(frame), (lines, next + 1)));
            }
            lines.changed().await.ok()?;
        }
    });
    let mut response = Response::new(Body::from_stream(frames));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    Ok(response)
}

/// Does something with a session of the caller.
pub(crate) fn with<T>(
    call: &Call,
    id: &str,
    act: impl FnOnce(&mut Session) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let agent = hosted(call)?;
    let owner = call.owner();
    let mut store = call.foundry.store();
    let mut own = store.sessions.iter_mut();
    let session = own.find(|known| known.agent == agent.name && known.id == id && known.owner == owner);
    act(session.ok_or_else(|| missing(id))?)
}

/// A turn of a hosted agent: where it runs, and for whom.
pub(crate) struct Visit {
    id: String,
    agent: String,
    version: String,
    owner: String,
    /// Whether the request names the session. Otherwise each caller has one of their own in a conversation.
    named: bool,
    now: i64,
}

impl Visit {
    /// None for an agent that is not hosted.
    pub(crate) fn of(call: &Call, turn: &Turn) -> Result<Option<Self>, ApiError> {
        let Some(agent) = turn.agent.as_ref().filter(|agent| agent.hosted) else { return Ok(None) };
        let asked = turn.request.agent.as_ref().and_then(|reference| reference.version.clone());
        let known = registry::find(call, &agent.name)?;
        let newest = || known.versions.last().and_then(|version| version.get("version")?.as_str()).map(str::to_owned);
        let version = asked.or_else(newest).unwrap_or_default();
        let (id, now) = (turn.session_id(), call.foundry.clock.now());
        if !is_id(&id) {
            return Err(ApiError::invalid("agent_session_id", "The session id is not valid."));
        }
        let named = turn.request.members.get("agent_session_id").is_some_and(Value::is_string);
        Ok(Some(Self { id, agent: agent.name.clone(), version, owner: call.owner(), named, now }))
    }

    /// Begins the session, or wakes it.
    pub(crate) fn enter(self, store: &mut Store) -> Result<(), ApiError> {
        let mut sessions = store.sessions.iter_mut();
        let known = sessions.find(|known| {
            known.agent == self.agent && known.id == self.id && (self.named || known.owner == self.owner)
        });
        match known {
            Some(session) if session.owner != self.owner => {
                let text = "The session belongs to another identity.";
                Err(ApiError::new(StatusCode::FORBIDDEN, "session_not_accessible", text))
            }
            Some(session) => {
                session.touch(self.now);
                session.write("stdout", "POST /responses");
                Ok(())
            }
            None => {
                let session = Session::begin(self.id, &self.agent, &self.version, self.owner, self.now);
                session.write("stdout", "POST /responses");
                store.sessions.push(session);
                Ok(())
            }
        }
    }
}

/// 409 when a session still runs on what shall go, unless it is forced; then it goes, too.
pub(crate) fn leave(call: &Call, agent: &str, version: Option<&str>) -> Result<(), ApiError> {
    let forced = call.query("force").is_some_and(|force| force.eq_ignore_ascii_case("true"));
    let on = |session: &Session| session.agent == agent && version.is_none_or(|version| session.version == version);
    let mut store = call.foundry.store();
    if !forced && store.sessions.iter().any(|session| on(session) && session.stopped_at.is_none()) {
        let text = format!("Agent {agent} has active sessions. Delete them, or set 'force' to true.");
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", text));
    }
    store.sessions.retain(|session| !on(session));
    Ok(())
}

fn hosted(call: &Call) -> Result<registry::Registered, ApiError> {
    let agent = registry::find(call, call.param("agent"))?;
    let kind = agent.resource.pointer("/versions/latest/definition/kind").and_then(Value::as_str);
    if kind != Some("hosted") {
        return Err(ApiError::bad("invalid_request", format!("Agent {} is not a hosted agent.", agent.name)));
    }
    Ok(agent)
}

fn missing(id: &str) -> ApiError {
    ApiError::not_found(&format!("Session {id} not found."))
}

fn fresh() -> String {
    ids::fresh("s").chars().filter(char::is_ascii_alphanumeric).take(63).collect::<String>().to_lowercase()
}

fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
