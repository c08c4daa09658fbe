//! Responses of agents and models.

use std::fmt;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use tracing::{Instrument, Span};

use crate::client::Shared;
use crate::client::call::{Call, Reply, parse};
use crate::client::classify::Operation;
use crate::client::error::{Error, ErrorKind};
use crate::client::stream::ResponseStream;
use crate::client::telemetry::{record_error, record_response, response_span};
use crate::events::StreamError;
use crate::request::CreateResponse;
use crate::response::Response;
use crate::vocabulary::ResponseStatus;

/// Responses of agents and models; from [`FoundryClient::responses`](crate::FoundryClient::responses).
#[derive(Clone)]
pub struct Responses(Arc<Shared>);

impl Responses {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Lets the agent answer and waits for the whole answer.
    ///
    /// `POST {project}/openai/v1/responses`
    /// (<https://platform.openai.com/docs/api-reference/responses/create>). A response that is
    /// *incomplete* is returned; look at its reason.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; a response that *failed* is an error too. The request is repeated only when the service did
    /// not act on it. After any other failure the client looks for the answer behind
    /// [`answers_item`](CreateResponse::answers_item); if it is not there, the error is
    /// [ambiguous](crate::Delivery::Ambiguous).
    pub async fn create(&self, request: CreateResponse) -> Result<Response, Error> {
        let span = response_span(Operation::CreateResponse, self.0.endpoint.host(), &request);
        let result = self.create_inner(&request).instrument(span.clone()).await;
        note(&span, &result);
        result
    }

    async fn create_inner(&self, request: &CreateResponse) -> Result<Response, Error> {
        let url = self.0.endpoint.openai(&["responses"])?;
        let call = Call::post(&self.0, Operation::CreateResponse, url, request)?;
        let reply = match self.0.run(&call).await {
            Ok(reply) => reply,
            Err(error) => return self.0.reconcile(&call, request, error).await,
        };
        let response: Response = match parse(&reply) {
            Ok(response) => response,
            Err(error) => return self.0.reconcile(&call, request, error).await,
        };
        outcome(response).map_err(|error| error.with_request_ids(reply.ids))
    }

    /// Lets the agent answer and returns its events as they come.
    ///
    /// The same operation with `"stream": true`
    /// (<https://platform.openai.com/docs/api-reference/responses-streaming>). Returns when the head of the answer is
    /// there. A server that answers with JSON although a stream was asked for becomes a stream of one event, and so
    /// does an answer that was found in the conversation.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create). Nothing is repeated once the head of the stream is there.
    pub async fn stream(&self, request: CreateResponse) -> Result<ResponseStream, Error> {
        let span = response_span(Operation::StreamResponse, self.0.endpoint.host(), &request);
        let result = self.stream_inner(request.streamed(), &span).instrument(span.clone()).await;
        if let Err(error) = &result {
            record_error(&span, error);
        }
        result
    }

    async fn stream_inner(&self, request: CreateResponse, span: &Span) -> Result<ResponseStream, Error> {
        let url = self.0.endpoint.openai(&["responses"])?;
        let call = Call::post(&self.0, Operation::StreamResponse, url, &request)?;
        let reply = match self.0.run(&call).await {
            Ok(reply) => reply,
            Err(error) => {
                let response = self.0.reconcile(&call, &request, error).await?;
                return self.of_response(&call, &response, crate::RequestIds::default(), span);
            }
        };
        match media_type(&reply).as_str() {
            "text/event-stream" | "" => {
                Ok(ResponseStream::new(reply.body, reply.ids, &self.0.limits, call.deadline(), span.clone()))
            }
            "application/json" => self.of_json(&call, reply, span).await,
            _ => Err(protocol(&reply)),
        }
    }

    /// The server ignored `stream`.
    async fn of_json(&self, call: &Call, reply: Reply, span: &Span) -> Result<ResponseStream, Error> {
        let Reply { head, body, ids } = reply;
        let limit = self.0.limits.body;
        let bytes = tokio::time::timeout_at(call.deadline(), body.collect(limit))
            .await
            .unwrap_or_else(|_| Err(entra_auth::TransportErrorKind::Timeout.into()))
            .map_err(|error| super::classify::broken(error, ids.clone()))?;
        let reply = Reply { head, body: bytes.into(), ids };
        let response: Response = parse(&reply)?;
        self.of_response(call, &response, reply.ids, span)
    }

    fn of_response(
        &self,
        call: &Call,
        response: &Response,
        ids: crate::RequestIds,
        span: &Span,
    ) -> Result<ResponseStream, Error> {
        ResponseStream::of(response, ids, &self.0.limits, call.deadline(), span.clone())
    }
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

fn note(span: &Span, result: &Result<Response, Error>) {
    match result {
        Ok(response) => record_response(span, response),
        Err(error) => record_error(span, error),
    }
}

fn media_type(reply: &Reply) -> String {
    let value = reply.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
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
