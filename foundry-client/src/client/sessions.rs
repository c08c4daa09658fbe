//! Sandboxes of hosted agents: their life, their files, their logs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use entra_auth::{Body, TransportErrorKind};
use http::{HeaderValue, Method};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::client::Shared;
use crate::client::call::Call;
use crate::client::classify::{Operation, broken};
use crate::client::error::{Error, ErrorKind, RequestIds, Resource};
use crate::client::lists::ListPage;
use crate::client::page::Paged;
use crate::client::resource_types::{AgentSession, SessionFile, SessionFileWritten};
use crate::conversation::{Deleted, Page};
use crate::sse::{SseDecoder, SseFrame};

/// Sandboxes of one hosted agent; from [`FoundryClient::sessions`](crate::FoundryClient::sessions).
///
/// A response starts one by itself when it names none; see
/// [`Response::agent_session_id`](crate::Response::agent_session_id). A client
/// [for a user](crate::FoundryClient::for_user) acts on the sessions of that user.
///
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/isolate-sessions-per-user>
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
    agent: String,
}

impl Sessions {
    pub(crate) fn new(shared: Arc<Shared>, agent: String) -> Self {
        Self { shared, agent }
    }

    /// Starts a sandbox of this version of the agent. An `id` of one's own must be new; the service makes one otherwise.
    /// `POST {project}/agents/{name}/endpoint/sessions`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]: [`Conflict`](ErrorKind::Conflict) when the id is taken. Repeated only when the service did not
    /// act.
    pub async fn create(&self, version: &str, id: Option<&str>) -> Result<AgentSession, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            agent_session_id: Option<&'a str>,
            version_indicator: Version<'a>,
        }
        #[derive(Serialize)]
        struct Version<'a> {
            r#type: &'static str,
            agent_version: &'a str,
        }
        let version_indicator = Version { r#type: "version_ref", agent_version: version };
        let call = self.call(("create_session", Resource::Agent), Method::POST, &[])?;
        self.shared.fetch(call.json(&Request { agent_session_id: id, version_indicator })?).await
    }

    /// Reads what is known about a sandbox. `GET …/sessions/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn get(&self, id: &str) -> Result<AgentSession, Error> {
        self.shared.fetch(self.call(("get_session", Resource::Session), Method::GET, &[id])?).await
    }

    /// One page of the sandboxes. `GET …/sessions`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn list(&self, query: &ListPage) -> Result<Page<AgentSession>, Error> {
        self.shared.fetch(self.list_call(query)?).await
    }

    /// All sandboxes, page by page.
    pub fn list_all(&self, query: &ListPage) -> Paged<AgentSession> {
        Paged::new(&self.shared, self.list_call(query))
    }

    fn list_call(&self, query: &ListPage) -> Result<Call, Error> {
        Ok(self.call(("list_sessions", Resource::Agent), Method::GET, &[])?.query(query.0.iter()))
    }

    /// Ends a sandbox and forgets its files. `DELETE …/sessions/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        self.shared.delete(self.call(("delete_session", Resource::Session), Method::DELETE, &[id])?, id).await
    }

    /// Lets a sandbox rest; the next request wakes it. `POST …/sessions/{id}:stop`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`InvalidRequest`](ErrorKind::InvalidRequest) without sending anything for an id with a colon.
    /// Passing failures are repeated.
    pub async fn stop(&self, id: &str) -> Result<(), Error> {
        let stop = verb(id, "stop")?;
        let call = self.call(("stop_session", Resource::Session), Method::POST, &[&stop])?;
        self.shared.done(call.idempotent()).await.map(drop)
    }

    /// One page of the files in a folder of the sandbox, that of the agent when none is named. `GET …/sessions/{id}/files`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn files(&self, id: &str, folder: Option<&str>, query: &ListPage) -> Result<Page<SessionFile>, Error> {
        self.shared.fetch(self.files_call(id, folder, query)?).await
    }

    /// All files in a folder of the sandbox, page by page.
    pub fn files_all(&self, id: &str, folder: Option<&str>, query: &ListPage) -> Paged<SessionFile> {
        Paged::new(&self.shared, self.files_call(id, folder, query))
    }

    fn files_call(&self, id: &str, folder: Option<&str>, query: &ListPage) -> Result<Call, Error> {
        let call = self.call(("list_session_files", Resource::Session), Method::GET, &[id, "files"])?;
        Ok(call.query(folder.map(|folder| ("path", folder))).query(query.0.iter()))
    }

    /// Writes a file in the sandbox, in place of one that is there. `PUT …/sessions/{id}/files/content`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn upload_file(
        &self,
        id: &str,
        path: &str,
        content: impl Into<Bytes>,
    ) -> Result<SessionFileWritten, Error> {
        let call = self.call(("upload_session_file", Resource::Session), Method::PUT, &[id, "files", "content"])?;
        let kind = HeaderValue::from_static("application/octet-stream");
        self.shared.fetch(call.query([("path", path)]).bytes(kind, content.into())).await
    }

    /// Reads a file of the sandbox, at most as much as [`Limits::body`](crate::Limits::body).
    /// `GET …/sessions/{id}/files/content`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn download_file(&self, id: &str, path: &str) -> Result<Bytes, Error> {
        let call = self.call(("download_session_file", Resource::Session), Method::GET, &[id, "files", "content"])?;
        let reply = self.shared.done(call.query([("path", path)]).accept("application/octet-stream")).await?;
        Ok(reply.body.as_bytes().cloned().unwrap_or_default())
    }

    /// Deletes a file, or with `recursive` a folder, of the sandbox. `DELETE …/sessions/{id}/files`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn delete_file(&self, id: &str, path: &str, recursive: bool) -> Result<Deleted, Error> {
        let call = self.call(("delete_session_file", Resource::Session), Method::DELETE, &[id, "files"])?;
        let call = call.query([("path", path)]).query(recursive.then_some(("recursive", "true")));
        self.shared.delete(call, path).await
    }

    /// What the agent's code writes, as it comes. `GET {project}/agents/{name}/versions/{version}/sessions/{id}:logstream`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated until the stream begins.
    pub async fn logs(&self, version: &str, id: &str) -> Result<SessionLogs, Error> {
        let path = ["agents", &self.agent, "versions", version, "sessions", &verb(id, "logstream")?];
        let call = self.shared.foundry(Operation::SessionLogs, Method::GET, &path)?;
        let call = call.accept("text/event-stream").for_user();
        let reply = self.shared.done(call.clone()).await?;
        Ok(SessionLogs {
            body: reply.body,
            decoder: SseDecoder::new(self.shared.limits.sse),
            ids: reply.ids,
            deadline: call.deadline(),
            over: false,
        })
    }

    fn call(&self, name: (&'static str, Resource), method: Method, path: &[&str]) -> Result<Call, Error> {
        let head = ["agents", self.agent.as_str(), "endpoint", "sessions"];
        let path: Vec<&str> = head.iter().chain(path).copied().collect();
        Ok(self.shared.foundry(Operation::Plain(name.0, name.1), method, &path)?.for_user())
    }
}

/// A colon in the id would make another verb of it.
fn verb(id: &str, verb: &str) -> Result<String, Error> {
    if id.is_empty() || id.contains(':') {
        return Err(Error::misuse("the id of a session has no colon"));
    }
    Ok(format!("{id}:{verb}"))
}

/// What the code of a hosted agent writes; see [`Sessions::logs`]. Dropping it ends the request.
pub struct SessionLogs {
    body: Body,
    decoder: SseDecoder,
    ids: RequestIds,
    deadline: Instant,
    over: bool,
}

impl SessionLogs {
    /// The next entry: an event, mostly `log`, whose data only the agent's code knows. May hold what users wrote: keep it
    /// out of logs of your own. None when the service ends the stream.
    ///
    /// # Errors
    ///
    /// [`Transport`](ErrorKind::Transport), [`TooLarge`](ErrorKind::TooLarge), and [`Timeout`](ErrorKind::Timeout) after
    /// [`Limits::total`](crate::Limits::total). An error is the end; open the stream again to go on.
    pub async fn next(&mut self) -> Option<Result<SseFrame, Error>> {
        if self.over {
            return None;
        }
        let next = self.read().await;
        self.over = !matches!(next, Some(Ok(_)));
        next
    }

    async fn read(&mut self) -> Option<Result<SseFrame, Error>> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(error) => {
                    let error = Error::new(ErrorKind::TooLarge).with_request_ids(self.ids.clone()).with_source(error);
                    return Some(Err(error));
                }
            }
            let late = |_| Err(TransportErrorKind::Timeout.into());
            match timeout_at(self.deadline, self.body.chunk()).await.unwrap_or_else(late) {
                Ok(Some(chunk)) => self.decoder.push(chunk),
                Ok(None) => return None,
                Err(error) => return Some(Err(broken(error, self.ids.clone()))),
            }
        }
    }
}

impl fmt::Debug for SessionLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLogs").field("request_ids", &self.ids).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("agent", &self.agent).finish_non_exhaustive()
    }
}
