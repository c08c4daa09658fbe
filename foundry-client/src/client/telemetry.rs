//! Spans and events. Names are part of the API; values never hold text of the conversation.

use std::time::Duration;

use tracing::{Span, debug, info_span, warn};

use crate::client::classify::Operation;
use crate::client::error::Error;
use crate::events::word;
use crate::request::CreateResponse;
use crate::response::Response;

const TARGET: &str = "foundry_client";

/// The span of one response: `foundry.response`.
pub(crate) fn response_span(operation: Operation, host: &str, request: &CreateResponse, recorded: Recorded) -> Span {
    let input = recorded.0.then(|| request.input_json());
    info_span!(
        target: TARGET,
        "foundry.response",
        gen_ai.operation.name = if request.agent_name().is_some() { "invoke_agent" } else { "chat" },
        gen_ai.provider.name = "microsoft.foundry",
        gen_ai.agent.name = request.agent_name(),
        gen_ai.request.model = request.model_name(),
        gen_ai.conversation.id = request.conversation_id(),
        gen_ai.response.id = tracing::field::Empty,
        gen_ai.response.model = tracing::field::Empty,
        gen_ai.response.status = tracing::field::Empty,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        gen_ai.input.messages = input.as_deref(),
        gen_ai.output.messages = tracing::field::Empty,
        foundry.operation = operation.name(),
        foundry.reconciled = tracing::field::Empty,
        server.address = host,
        "error.type" = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
    )
}

/// Whether prompts and answers are recorded; only when the host asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded(pub(crate) bool);

/// The span of a response that is gone on with.
pub(crate) fn resume_span(host: &str, id: &str) -> Span {
    info_span!(
        target: TARGET,
        "foundry.response",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.provider.name = "microsoft.foundry",
        gen_ai.response.id = word(id),
        gen_ai.response.model = tracing::field::Empty,
        gen_ai.response.status = tracing::field::Empty,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        gen_ai.output.messages = tracing::field::Empty,
        foundry.operation = Operation::ResumeResponse.name(),
        server.address = host,
        "error.type" = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
    )
}

/// The span of any other call: `foundry.call`.
pub(crate) fn call_span(operation: Operation, host: &str) -> Span {
    info_span!(target: TARGET, "foundry.call", foundry.operation = operation.name(), server.address = host)
}

pub(crate) fn record_response(span: &Span, response: &Response, recorded: Recorded) {
    span.record("gen_ai.response.id", response.id.as_str());
    span.record("gen_ai.response.status", word(response.status.as_str()));
    if let Some(model) = response.model.as_deref() {
        span.record("gen_ai.response.model", word(model));
    }
    if recorded.0 {
        span.record("gen_ai.output.messages", serde_json::to_string(&response.output).unwrap_or_default());
    }
    if let Some(usage) = &response.usage {
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    }
}

pub(crate) fn record_error(span: &Span, error: &Error) {
    span.record("error.type", error.kind().as_str());
    if let Some(status) = error.status() {
        span.record("http.response.status_code", status);
    }
}

pub(crate) fn repeating(operation: Operation, error: &Error, wait: Duration) {
    warn!(
        target: TARGET,
        {
            foundry.operation = operation.name(),
            "error.type" = error.kind().as_str(),
            http.response.status_code = error.status(),
            attempt = error.attempts(),
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            request_id = error.request_ids().best(),
        },
        "the call failed and will be repeated"
    );
}

pub(crate) fn renewing(operation: Operation, error: &Error) {
    debug!(
        target: TARGET,
        {
            foundry.operation = operation.name(),
            request_id = error.request_ids().best(),
            claims = error.claims_challenge().is_some(),
        },
        "the token was refused; asking for another"
    );
}

pub(crate) fn failed(operation: Operation, error: &Error) {
    warn!(
        target: TARGET,
        {
            foundry.operation = operation.name(),
            "error.type" = error.kind().as_str(),
            http.response.status_code = error.status(),
            attempt = error.attempts(),
            request_id = error.request_ids().best(),
        },
        "the call failed"
    );
}
