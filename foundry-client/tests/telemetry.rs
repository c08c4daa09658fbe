//! Spans and events say what happened and nothing of what was said.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use common::{Script, answer, sse};
use foundry_client::CreateResponse;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes everything that is recorded into one text.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?};", field.name()).unwrap();
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "foundry_client"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = self.0.lock().unwrap();
        write!(text, "[{}]", span.metadata().name()).unwrap();
        span.record(&mut Line(&mut text));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn the_span_of_a_response_has_its_fields_and_no_text() {
    let recorder = Recorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(recorder.clone(), || {
        runtime.block_on(async {
            let script = Script::new([
                answer(429, r#"{"error":{"code":"marker text","message":"marker"}}"#),
                sse(include_str!("fixtures/streams/prompt_agent.sse"), 100),
                answer(404, r#"{"error":{"code":"not_found","message":"Agent marker"}}"#),
                sse(include_str!("fixtures/streams/unknown_types.sse"), 100),
            ]);
            let turn = || CreateResponse::new().agent("helpdesk").conversation("conv_1").text("marker");
            let responses = script.client().responses();
            responses.stream(turn()).await.unwrap().finish().await.unwrap();
            responses.create(turn()).await.unwrap_err();
            responses.stream(turn()).await.unwrap().finish().await.unwrap();
        });
    });
    let text = recorder.0.lock().unwrap().clone();
    for expected in [
        "[foundry.response]",
        "gen_ai.operation.name=\"invoke_agent\"",
        "gen_ai.provider.name=\"microsoft.foundry\"",
        "gen_ai.agent.name=\"helpdesk\"",
        "gen_ai.conversation.id=\"conv_1\"",
        "gen_ai.response.id=\"resp_1\"",
        "gen_ai.response.model=\"gpt-4.1\"",
        "gen_ai.response.status=\"completed\"",
        "gen_ai.usage.input_tokens=9",
        "gen_ai.usage.output_tokens=12",
        "foundry.operation=\"stream_response\"",
        "server.address=\"acme.services.ai.azure.com\"",
        "error.type=\"throttled\"",
        "error.type=\"not_found\"",
        "http.response.status_code=404",
        "event=\"response.steer.added\"",
        "problem=\"unknown_type\"",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    for secret in ["marker", "token-1", "Hello", "rld", "Bearer"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[test]
fn prompts_and_answers_are_recorded_only_when_asked_for() {
    let recorder = Recorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tracing::subscriber::with_default(recorder.clone(), || {
        runtime.block_on(async {
            let script = Script::new([sse(include_str!("fixtures/streams/prompt_agent.sse"), 100)]);
            let client = script.builder().record_content(true).build().unwrap();
            let turn = CreateResponse::new().agent("helpdesk").text("the question");
            client.responses().stream(turn).await.unwrap().finish().await.unwrap();
        });
    });
    let text = recorder.0.lock().unwrap().clone();
    for expected in ["gen_ai.input.messages=\"\\\"the question", "gen_ai.output.messages=", "wörld"] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    assert!(!text.contains("token-1"));
}
