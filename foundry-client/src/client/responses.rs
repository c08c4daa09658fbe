//! Responses of agents and models.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::client::Shared;
use crate::client::call::{Call, Reply, parse};
use crate::client::classify::Operation;
use crate::client::endpoint::Target;
use crate::client::error::{Cursor, Error, ErrorKind, Resource};
use crate::client::lists::{ListItems, ListResponses};
use crate::client::page::Paged;
use crate::client::resume::Resume;
use crate::client::stream::ResponseStream;
use crate::client::telemetry::{Recorded, record_error, record_response, response_span, resume_span};
use crate::conversation::{Deleted, Page};
use crate::events::StreamError;
use crate::input::InputItem;
use crate::items::Item;
use crate::request::CreateResponse;
use crate::response::{Compaction, Response};
use crate::vocabulary::ResponseStatus;

const GET: Operation = Operation::Plain("get_response", Resource::Response);
const CANCEL: Operation = Operation::Plain("cancel_response", Resource::Response);
const DELETE: Operation = Operation::Plain("delete_response", Resource::Response);
const LIST: Operation = Operation::Plain("list_responses", Resource::Project);
const INPUT_ITEMS: Operation = Operation::Plain("list_input_items", Resource::Response);
const COMPACT: Operation = Operation::Plain("compact_response", Resource::Response);

/// Responses of agents and models; from [`FoundryClient::responses`](crate::FoundryClient::responses).
///
/// Shapes: <https://platform.openai.com/docs/api-reference/responses>. All errors are told by their [`ErrorKind`].
#[derive(Clone)]
pub struct Responses(Arc<Shared>);

/// How a background response is waited for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Between two looks. Default 2 s; the service names no interval.
    pub every: Duration,
    /// In all. Default 1 h.
    pub at_most: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self { every: Duration::from_secs(2), at_most: Duration::from_secs(3_600) }
    }
}

impl Polling {
    /// Sets the time between two looks.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// Sets the time in all.
    #[must_use]
    pub fn at_most(mut self, time: Duration) -> Self {
        self.at_most = time;
        self
    }
}

/// What shall be made shorter; see [`Responses::compact`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct CompactResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_response_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    input: Vec<InputItem>,
}

impl CompactResponse {
    /// With this model deployment.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..Self::default() }
    }

    /// Everything up to this response.
    #[must_use]
    pub fn previous_response_id(mut self, id: impl Into<String>) -> Self {
        self.previous_response_id = Some(id.into());
        self
    }

    /// Adds an item.
    #[must_use]
    pub fn item(mut self, item: InputItem) -> Self {
        self.input.push(item);
        self
    }

    /// What matters when it is made shorter.
    #[must_use]
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }
}

impl Responses {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Lets the agent answer and waits for the whole answer.
    ///
    /// `POST {base}/responses` (<https://platform.openai.com/docs/api-reference/responses/create>). A response that is
    /// *incomplete* is returned; look at its reason. A [background](CreateResponse::background) response is returned at
    /// once, mostly queued; [`wait`](Self::wait) for it. Dropping the future before it is returned cancels it, as with
    /// [`stream`](Self::stream).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; a response that *failed* is an error too. The request is repeated only when the service did
    /// not act on it. After any other failure the client looks for the answer behind
    /// [`answers_item`](CreateResponse::answers_item); if it is not there, the error is
    /// [ambiguous](crate::Delivery::Ambiguous). [`ErrorKind::InvalidRequest`] without sending anything when the client
    /// is at an agent's endpoint and the request names an agent or a model all the same.
    pub async fn create(&self, request: CreateResponse) -> Result<Response, Error> {
        let recorded = Recorded(self.0.record_content);
        let span = response_span(Operation::CreateResponse, self.0.endpoint.host(), &request, recorded);
        let result = self.create_inner(&request).instrument(span.clone()).await;
        match &result {
            Ok(response) => record_response(&span, response, recorded),
            Err(error) => record_error(&span, error),
        }
        result
    }

    async fn create_inner(&self, request: &CreateResponse) -> Result<Response, Error> {
        let call = self.create_call(Operation::CreateResponse, request)?;
        let reply = match self.0.run(&call).await {
            Ok(reply) => reply,
            Err(error) => return self.0.reconcile(&call, request, error).await,
        };
        let response: Response = match parse(&reply) {
            Ok(response) => response,
            Err(error) => return self.0.reconcile(&call, request, error).await,
        };
        let response = response.with_session(session(&reply));
        outcome(response).map_err(|error| error.with_request_ids(reply.ids))
    }

    fn create_call(&self, operation: Operation, request: &CreateResponse) -> Result<Call, Error> {
        let named = request.agent_name().is_some() || request.model_name().is_some();
        if named && matches!(self.0.endpoint.target(), Target::Agent(_)) {
            return Err(Error::misuse("a request to an agent's endpoint names neither agent nor model"));
        }
        let call = self.0.openai(operation, Method::POST, &["responses"])?.json(request)?;
        Ok(if request.is_background() { call.in_background(&self.0) } else { call })
    }

    /// Lets the agent answer and returns its events as they come.
    ///
    /// The same operation with `"stream": true`
    /// (<https://platform.openai.com/docs/api-reference/responses-streaming>). Returns when the head of the answer is
    /// there. A server that answers with JSON although a stream was asked for becomes a stream of one event, and so
    /// does an answer that was found in the conversation. A stream of a [background](CreateResponse::background)
    /// response that breaks off is resumed by itself where it broke, as often as the retry policy allows without
    /// progress.
    ///
    /// Dropping the stream closes its connection. That ends the response, except for one in the background: it goes on,
    /// and is [resumed](Self::resume) or [cancelled](Self::cancel) by its id. Until the first event nobody knows the id;
    /// what is dropped before it, this future or the stream, leaves the connection to a task of the runtime, which
    /// waits for the id for at most 30 seconds and cancels the response.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create). Nothing is repeated once the head of the stream is there.
    pub async fn stream(&self, request: CreateResponse) -> Result<ResponseStream, Error> {
        let recorded = Recorded(self.0.record_content);
        let span = response_span(Operation::StreamResponse, self.0.endpoint.host(), &request, recorded);
        let result = self.stream_inner(request.streamed(), &span).instrument(span.clone()).await;
        if let Err(error) = &result {
            record_error(&span, error);
        }
        result
    }

    async fn stream_inner(&self, request: CreateResponse, span: &Span) -> Result<ResponseStream, Error> {
        let call = self.create_call(Operation::StreamResponse, &request)?;
        let reply = match self.0.run(&call).await {
            Ok(reply) => reply,
            Err(error) => {
                let response = self.0.reconcile(&call, &request, error).await?;
                return self.of_response(&call, &response, crate::RequestIds::default(), span);
            }
        };
        let stream = self.open(&call, reply, span)?;
        Ok(if request.is_background() { stream.resumable(Resume::new(Arc::clone(&self.0))) } else { stream })
    }

    fn open(&self, call: &Call, reply: Reply, span: &Span) -> Result<ResponseStream, Error> {
        match reply.media_type().as_str() {
            "text/event-stream" | "" => {
                let session = session(&reply);
                let stream = ResponseStream::new(reply.body, reply.ids, &self.0.limits, call.deadline(), span.clone());
                Ok(stream.in_session(session).recording(self.0.record_content))
            }
            // The server ignored `stream`.
            "application/json" => {
                let response: Response = parse(&reply)?;
                self.of_response(call, &response, reply.ids, span)
            }
            _ => Err(protocol(&reply)),
        }
    }

    fn of_response(
        &self,
        call: &Call,
        response: &Response,
        ids: crate::RequestIds,
        span: &Span,
    ) -> Result<ResponseStream, Error> {
        let stream = ResponseStream::of(response, ids, &self.0.limits, call.deadline(), span.clone())?;
        Ok(stream.recording(self.0.record_content))
    }

    /// Reads a response that the service kept. `GET {base}/responses/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated. A response that failed is no error here: look at its status.
    pub async fn get(&self, id: &str) -> Result<Response, Error> {
        self.0.fetch(self.0.openai(GET, Method::GET, &["responses", id])?).await
    }

    /// As [`get`](Self::get), with additional parts, for example `file_search_call.results`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_with(&self, id: &str, include: &[&str]) -> Result<Response, Error> {
        let call = self.0.openai(GET, Method::GET, &["responses", id])?;
        self.0.fetch(call.query(include.iter().map(|part| ("include[]", *part)))).await
    }

    /// Waits until a background response is finished: completed, incomplete or cancelled.
    ///
    /// Dropping the future stops the waiting, not the response; [`cancel`](Self::cancel) does that.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; a response that *failed* is an error, and so is the end of the patience
    /// ([`ErrorKind::Timeout`] with the [response's id](Error::response_id)).
    pub async fn wait(&self, id: &str, polling: Polling) -> Result<Response, Error> {
        let deadline = Instant::now() + polling.at_most;
        loop {
            let response = self.get(id).await?;
            if !response.status.is_pending() {
                return outcome(response);
            }
            let next = Instant::now() + polling.every;
            if next > deadline {
                let cursor = Cursor { response_id: Some(id.to_owned()), last_sequence: None };
                return Err(Error::new(ErrorKind::Timeout).with_cursor(cursor));
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// The events of a background response again, from the beginning or after an event that was seen.
    ///
    /// `GET {base}/responses/{id}?stream=true&starting_after={n}`. For a process that lost its stream and kept
    /// [`response_id`](ResponseStream::response_id) and
    /// [`last_sequence_number`](ResponseStream::last_sequence_number) of the last event it acted on. Deltas before that
    /// event are not sent again; the terminal event has the whole answer. A stream that breaks off is resumed by
    /// itself. Never send the request again instead: it would run a second time.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`InvalidRequest`](ErrorKind::InvalidRequest) for a response that was not made with
    /// [`background`](CreateResponse::background) and as a stream.
    pub async fn resume(&self, id: &str, starting_after: Option<u64>) -> Result<ResponseStream, Error> {
        let span = resume_span(self.0.endpoint.host(), id);
        let call = resume_call(&self.0, id, starting_after)?;
        let cursor = Cursor { response_id: Some(id.to_owned()), last_sequence: starting_after };
        let opened = async {
            let reply = self.0.run(&call).await?;
            self.open(&call, reply, &span)
        };
        match opened.instrument(span.clone()).await {
            Ok(stream) => Ok(stream.at(cursor).resumable(Resume::new(Arc::clone(&self.0)))),
            Err(error) => {
                record_error(&span, &error);
                Err(error.with_cursor(cursor))
            }
        }
    }

    /// Stops a background response. `POST {base}/responses/{id}/cancel`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`InvalidRequest`](ErrorKind::InvalidRequest) when it is finished or not a background
    /// response. Passing failures are repeated.
    pub async fn cancel(&self, id: &str) -> Result<Response, Error> {
        self.0.fetch(cancel_call(&self.0, id)?).await
    }

    /// Deletes a response that the service kept. `DELETE {base}/responses/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated; one that is gone by then counts as deleted.
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        self.0.delete(self.0.openai(DELETE, Method::DELETE, &["responses", id])?, id).await
    }

    /// One page of what a response was made from. `GET {base}/responses/{id}/input_items`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn input_items(&self, id: &str, query: &ListItems) -> Result<Page<Item>, Error> {
        self.0.fetch(self.input_call(id, query)?).await
    }

    /// All of what a response was made from, page by page.
    pub fn input_items_all(&self, id: &str, query: &ListItems) -> Paged<Item> {
        Paged::new(&self.0, self.input_call(id, query))
    }

    fn input_call(&self, id: &str, query: &ListItems) -> Result<Call, Error> {
        let call = self.0.openai(INPUT_ITEMS, Method::GET, &["responses", id, "input_items"])?;
        Ok(call.query(query.0.iter()))
    }

    /// One page of the project's responses. The service's own addition; other servers have no such list.
    /// `GET {base}/responses`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn list(&self, query: &ListResponses) -> Result<Page<Response>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All of the project's responses, page by page.
    pub fn list_all(&self, query: &ListResponses) -> Paged<Response> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListResponses) -> Result<Call, Error> {
        Ok(self.0.openai(LIST, Method::GET, &["responses"])?.query(query.0.iter()))
    }

    /// Makes a long conversation shorter. `POST {base}/responses/compact`
    /// (<https://platform.openai.com/docs/api-reference/responses/compact>). Nothing is kept by the service.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated: it costs tokens again, and changes nothing.
    pub async fn compact(&self, request: &CompactResponse) -> Result<Compaction, Error> {
        let call = self.0.openai(COMPACT, Method::POST, &["responses", "compact"])?.json(request)?;
        self.0.fetch(call.idempotent()).await
    }
}

pub(crate) fn cancel_call(shared: &Shared, id: &str) -> Result<Call, Error> {
    Ok(shared.openai(CANCEL, Method::POST, &["responses", id, "cancel"])?.idempotent())
}

pub(crate) fn resume_call(shared: &Shared, id: &str, starting_after: Option<u64>) -> Result<Call, Error> {
    let after = starting_after.map(|number| number.to_string());
    let call = shared.openai(Operation::ResumeResponse, Method::GET, &["responses", id])?;
    let after = after.as_deref().map(|number| ("starting_after", number));
    Ok(call.query(after.into_iter().chain([("stream", "true")])))
}

/// A failed response is an error.
pub(crate) fn outcome(response: Response) -> Result<Response, Error> {
    if response.status != ResponseStatus::FAILED {
        return Ok(response);
    }
    let error = StreamError::from_response(&response);
    let error = error.map_or_else(|| Error::new(ErrorKind::ResponseFailed).ambiguous(), Error::from);
    Err(error)
}

/// The sandbox of a hosted agent, which is also named in the head of the answer.
fn session(reply: &Reply) -> Option<String> {
    let value = reply.head.headers.get("x-agent-session-id")?.to_str().ok()?;
    (!value.is_empty() && value.len() <= 256).then(|| value.to_owned())
}

fn protocol(reply: &Reply) -> Error {
    Error::new(ErrorKind::Protocol)
        .ambiguous()
        .with_status(reply.head.status.as_u16())
        .with_request_ids(reply.ids.clone())
}

impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responses")
    }
}
