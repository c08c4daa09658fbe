//! Every documented event, the odd forms servers send, and what happens to the rest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use foundry_client::{EventError, EventKind, Item, OutputTextFold, Problem, ResponseEvent, SseFrame, StreamError};
use serde_json::{Value, json};

fn read(data: &Value) -> ResponseEvent {
    ResponseEvent::from_frame(SseFrame::new(None, data.to_string())).unwrap().unwrap()
}

/// A body that satisfies every shape at once, so that one loop covers all 59 types.
fn body(kind: &EventKind) -> Value {
    let mut data = json!({
        "type": kind.as_str(), "sequence_number": 7, "item_id": "it_1", "output_index": 1, "content_index": 2,
        "summary_index": 3, "command_index": 4, "partial_image_index": 5, "annotation_index": 6,
        "response": {"id": "resp_1", "status": "in_progress", "output": []},
        "item": {"type": "message", "role": "assistant", "content": []},
        "part": {"type": "output_text", "text": "", "annotations": []},
        "annotation": {"type": "file_path", "file_id": "f", "index": 0},
        "delta": "d", "text": "t", "refusal": "t", "arguments": "t", "input": "t", "code": "t", "command": "t",
        "partial_image_b64": "aGk=", "output": [{"stdout": "x"}]
    });
    if *kind == EventKind::ERROR {
        data["message"] = json!("broken");
    }
    data
}

#[test]
fn all_59_types_have_a_variant() {
    assert_eq!(EventKind::KNOWN.len(), 59);
    for kind in EventKind::KNOWN {
        let data = body(kind);
        let event = read(&data);
        assert!(!matches!(event, ResponseEvent::Unknown(_)), "{kind}");
        assert_eq!(event.kind(), *kind);
        assert_eq!(event.sequence_number(), Some(7), "{kind}");
        assert_eq!(event.raw().as_str(), data.to_string());
        assert_eq!(event.problem(), None, "{kind}");
    }
}

#[test]
fn deltas_and_ends_read_field_by_field() {
    for kind in EventKind::KNOWN.iter().filter(|kind| kind.as_str().ends_with(".delta")) {
        let event = read(&body(kind));
        let (ResponseEvent::OutputTextDelta(delta)
        | ResponseEvent::RefusalDelta(delta)
        | ResponseEvent::FunctionCallArgumentsDelta(delta)
        | ResponseEvent::CustomToolCallInputDelta(delta)
        | ResponseEvent::McpCallArgumentsDelta(delta)
        | ResponseEvent::CodeInterpreterCallCodeDelta(delta)
        | ResponseEvent::ReasoningSummaryTextDelta(delta)
        | ResponseEvent::ReasoningTextDelta(delta)
        | ResponseEvent::ShellCallCommandDelta(delta)
        | ResponseEvent::AudioDelta(delta)
        | ResponseEvent::AudioTranscriptDelta(delta)) = event
        else {
            assert_eq!(*kind, EventKind::SHELL_CALL_OUTPUT_CONTENT_DELTA);
            continue;
        };
        assert_eq!((delta.delta(), delta.item_id()), ("d", "it_1"));
        assert_eq!((delta.output_index(), delta.content_index()), (Some(1), Some(2)));
        assert_eq!((delta.summary_index(), delta.command_index()), (Some(3), Some(4)));
    }
    let members = [
        ("response.output_text.done", "text"),
        ("response.refusal.done", "refusal"),
        ("response.function_call_arguments.done", "arguments"),
        ("response.custom_tool_call_input.done", "input"),
        ("response.mcp_call_arguments.done", "arguments"),
        ("response.code_interpreter_call_code.done", "code"),
        ("response.reasoning_summary_text.done", "text"),
        ("response.reasoning_text.done", "text"),
        ("response.shell_call_command.added", "command"),
        ("response.shell_call_command.done", "command"),
    ];
    for (kind, member) in members {
        let event = read(&json!({"type": kind, member: "whole\ntext", "name": "fn", "output_index": 0}));
        let (ResponseEvent::OutputTextDone(done)
        | ResponseEvent::RefusalDone(done)
        | ResponseEvent::FunctionCallArgumentsDone(done)
        | ResponseEvent::CustomToolCallInputDone(done)
        | ResponseEvent::McpCallArgumentsDone(done)
        | ResponseEvent::CodeInterpreterCallCodeDone(done)
        | ResponseEvent::ReasoningSummaryTextDone(done)
        | ResponseEvent::ReasoningTextDone(done)
        | ResponseEvent::ShellCallCommandAdded(done)
        | ResponseEvent::ShellCallCommandDone(done)) = event
        else {
            panic!("{kind}");
        };
        assert_eq!((done.text(), done.name(), done.output_index()), ("whole\ntext", Some("fn"), Some(0)));
    }
}

#[test]
fn bodies_with_their_own_members() {
    let ResponseEvent::OutputItemDone(event) = read(&json!({
        "type": "response.output_item.done", "output_index": 2,
        "item": {"type": "oauth_consent_request", "id": "oauth_1", "consent_link": "https://x", "server_label": "jira",
                 "response_id": "resp_1", "agent_reference": {"type": "agent_reference", "name": "a", "version": "1"}}
    })) else {
        panic!()
    };
    assert_eq!(
        (event.output_index, event.item.id(), event.item.response_id()),
        (Some(2), Some("oauth_1"), Some("resp_1"))
    );
    assert_eq!(event.item.agent_reference().unwrap().name, "a");
    let Item::OAuthConsentRequest(consent) = &event.item else { panic!() };
    assert_eq!((consent.consent_link.as_str(), consent.server_label.as_deref()), ("https://x", Some("jira")));

    let ResponseEvent::ImageGenerationCallPartialImage(image) = read(&json!({
        "type": "response.image_generation_call.partial_image", "partial_image_index": 1, "partial_image_b64": "aGk=",
        "output_format": "png", "size": "1x1", "quality": "low", "background": "opaque", "item_id": "ig_1"
    })) else {
        panic!()
    };
    assert_eq!((image.partial_image_index, image.partial_image_b64(), image.item_id()), (Some(1), "aGk=", "ig_1"));
    assert_eq!((image.output_format.as_deref(), image.size.as_deref()), (Some("png"), Some("1x1")));
    assert_eq!((image.quality.as_deref(), image.background.as_deref()), (Some("low"), Some("opaque")));

    let ResponseEvent::ShellCallOutputContentDelta(shell) = read(
        &json!({"type": "response.shell_call_output_content.delta", "delta": {"stdout": "x"}, "command_index": 0}),
    ) else {
        panic!()
    };
    assert_eq!(shell.delta.as_ref().unwrap().as_str(), r#"{"stdout":"x"}"#);
    assert_eq!((shell.command_index(), shell.output.is_none()), (Some(0), true));
}

#[test]
fn the_error_shapes_become_one_type() {
    let flat =
        json!({"type": "error", "sequence_number": 3, "code": "server_error", "message": "boom", "param": "input"});
    let nested = json!({"type": "error", "sequence_number": 3, "error":
        {"type": "server_error", "code": "server_error", "message": "boom", "param": "input"}});
    let bare = json!({"error": {"type": "server_error", "code": "server_error", "message": "boom", "param": "input"}});
    for (data, number) in [(flat, Some(3)), (nested, Some(3)), (bare, None)] {
        let event = read(&data);
        assert!(event.is_terminal());
        let ResponseEvent::Error(error) = event else { panic!("{data}") };
        assert_eq!(error.code.as_deref(), Some("server_error"));
        assert_eq!((error.message.as_deref(), error.param.as_deref()), (Some("boom"), Some("input")));
        assert_eq!(error.sequence_number(), number);
        assert!(!error.to_string().contains("boom") && !format!("{error:?}").contains("boom"));
    }
    let failed = read(&json!({"type": "response.failed", "sequence_number": 4, "response":
        {"id": "r", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow down"}}}));
    let error = StreamError::from_response(failed.response().unwrap()).unwrap();
    assert_eq!((error.code.as_deref(), error.message.as_deref()), (Some("rate_limit_exceeded"), Some("slow down")));
}

#[test]
fn errors_with_nulls_numbers_and_bare_text_still_say_something() {
    let null = json!({"type": "error", "error": {"type": "invalid_request_error", "code": null, "message": "m", "param": null}});
    let ResponseEvent::Error(error) = read(&null) else { panic!() };
    assert_eq!((error.code, error.error_type.as_deref()), (None, Some("invalid_request_error")));
    let ResponseEvent::Error(error) = read(&json!({"error": {"code": 429, "message": "m"}})) else { panic!() };
    assert_eq!(error.code.as_deref(), Some("429"));
    let ResponseEvent::Error(error) = read(&json!({"error": "RequestTimedOut"})) else { panic!() };
    assert_eq!(error.code.as_deref(), Some("RequestTimedOut"));
}

#[test]
fn what_is_unknown_is_kept_with_its_reason() {
    let cases = [
        (json!({"type": "response.steer.added", "sequence_number": 1}), Problem::UnknownType),
        (json!({"type": "response.output_text.delta", "delta": 5}), Problem::BadBody),
        (json!({"type": "response.output_item.added"}), Problem::BadBody),
        (json!({"type": "response.created", "response": {"id": 1}}), Problem::BadBody),
        (json!({"sequence_number": 1}), Problem::MissingType),
        (json!({"type": 5}), Problem::MissingType),
    ];
    for (data, problem) in cases {
        let event = read(&data);
        assert!(matches!(event, ResponseEvent::Unknown(_)), "{data}");
        assert_eq!(event.problem(), Some(problem), "{data}");
        assert_eq!(event.raw().as_str(), data.to_string());
    }
    let nested = read(&json!({"type": "response.output_item.done", "item": {"type": "hologram"}}));
    assert_eq!(nested.problem(), Some(Problem::UnknownType));
}

#[test]
fn a_terminal_event_that_cannot_be_read_is_an_error() {
    let cases = [
        json!({"type": "response.completed"}),
        json!({"type": "response.completed", "response": {"id": "r", "status": "completed"}}),
        json!({"type": "response.completed", "response": {"id": "r", "output": []}}),
        json!({"type": "response.failed", "response": []}),
        json!({"type": "response.incomplete", "response": null}),
        json!({"type": "error"}),
        json!({"type": "error", "error": {}}),
    ];
    for data in cases {
        let kind = EventKind::from(data["type"].as_str().unwrap());
        let found = ResponseEvent::from_frame(SseFrame::new(None, data.to_string()));
        assert_eq!(found.unwrap_err(), EventError::BadTerminal(kind), "{data}");
    }
}

#[test]
fn the_fast_way_reads_like_the_slow_one() {
    let full = json!({"type": "response.output_text.delta", "sequence_number": 7, "item_id": "msg_1", "output_index": 1,
        "content_index": 2, "delta": "a\n\u{1F600}b", "logprobs": [], "obfuscation": "x"});
    for missing in ["", "type", "sequence_number", "item_id", "output_index", "content_index", "delta"] {
        let mut data = full.clone();
        data.as_object_mut().unwrap().remove(missing);
        let named = SseFrame::new(Some("response.output_text.delta"), data.to_string());
        let fast = ResponseEvent::from_frame(named).unwrap().unwrap();
        let mut typed = data.clone();
        typed["type"] = json!("response.output_text.delta");
        let slow = read(&typed);
        assert_eq!((fast.kind(), fast.sequence_number()), (slow.kind(), slow.sequence_number()), "{missing}");
        assert_eq!(fast.raw().as_str(), data.to_string());
        let (ResponseEvent::OutputTextDelta(fast), ResponseEvent::OutputTextDelta(slow)) = (&fast, &slow) else {
            assert!(missing == "delta" && fast.problem() == Some(Problem::BadBody));
            continue;
        };
        assert_eq!((fast.delta(), fast.item_id()), (slow.delta(), slow.item_id()));
        assert_eq!((fast.output_index(), fast.content_index()), (slow.output_index(), slow.content_index()));
        assert_eq!(fast.delta(), "a\n\u{1F600}b");
    }
    let array = SseFrame::new(Some("response.output_text.delta"), r#"["response.output_text.delta","d","i",1,2,3]"#);
    assert_eq!(ResponseEvent::from_frame(array).unwrap_err(), EventError::NotJson);
    let other = SseFrame::new(Some("response.output_text.delta"), r#"{"type":"response.audio.done"}"#);
    assert_eq!(ResponseEvent::from_frame(other).unwrap().unwrap().kind(), EventKind::AUDIO_DONE);
}

#[test]
fn data_that_is_not_an_object_is_an_error() {
    for data in ["", "{", "[]", "[\"error\"]", "null", "5", "{\"type\":\"error\"", "{} {}"] {
        let found = ResponseEvent::from_frame(SseFrame::new(None, data.to_owned()));
        assert_eq!(found.unwrap_err(), EventError::NotJson, "{data}");
    }
    let bad_utf8 = SseFrame::new(None, &b"{\"type\":\"x\",\"a\":\"\xff\"}"[..]);
    assert_eq!(ResponseEvent::from_frame(bad_utf8).unwrap_err(), EventError::NotJson);
}

#[test]
fn the_type_in_the_data_wins_over_the_event_field() {
    let frame = SseFrame::new(Some("error"), json!({"type": "response.audio.done"}).to_string());
    assert_eq!(ResponseEvent::from_frame(frame).unwrap().unwrap().kind(), EventKind::AUDIO_DONE);
    let frame = SseFrame::new(Some("response.audio.done"), "{}");
    assert_eq!(ResponseEvent::from_frame(frame).unwrap().unwrap().kind(), EventKind::AUDIO_DONE);
    assert!(ResponseEvent::from_frame(SseFrame::new(None, "[DONE]")).unwrap().is_none());
}

#[test]
fn a_hosted_agents_response_reads_without_the_members_it_leaves_out() {
    let event = read(&json!({"type": "response.completed", "sequence_number": 9, "response": {
        "id": "caresp_1", "response_id": "caresp_1", "status": "completed", "usage": null, "tool_choice": null,
        "conversation": null, "agent_reference": null, "content_filters": null,
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}]}}));
    let response = event.response().unwrap();
    assert_eq!(response.output_text(), "hi");
    assert!(response.usage.is_none() && response.conversation_id.is_none() && response.problems().is_empty());
    assert_eq!(event.problem(), None);
}

#[test]
fn deep_json_in_any_member_neither_overflows_nor_ends_the_stream() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for member in ["delta", "item", "x"] {
        let data = format!("{{\"type\":\"response.output_item.added\",\"{member}\":{deep}}}");
        let event = ResponseEvent::from_frame(SseFrame::new(None, data)).unwrap().unwrap();
        assert_eq!(event.kind(), EventKind::OUTPUT_ITEM_ADDED);
    }
}

#[test]
fn the_fold_follows_slots_resets_and_the_terminal_event() {
    let delta = |item: u32, part: u32, text: &str| {
        read(&json!({"type": "response.output_text.delta", "output_index": item, "content_index": part, "delta": text}))
    };
    let in_progress = |output: Value| {
        read(
            &json!({"type": "response.in_progress", "response": {"id": "r", "status": "in_progress", "output": output}}),
        )
    };
    let mut fold = OutputTextFold::new();
    fold.apply(&in_progress(json!([])));
    for event in [delta(1, 0, "wor"), delta(0, 0, "hello "), delta(1, 0, "ld"), delta(1, 1, "!")] {
        fold.apply(&event);
    }
    assert_eq!(fold.text(), "hello world!");
    fold.apply(&read(
        &json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "World"}),
    ));
    assert_eq!((fold.text().as_str(), fold.len()), ("hello World!", 12));
    fold.apply(&in_progress(json!([])));
    assert!(fold.is_empty());
    fold.apply(&delta(0, 0, "again"));
    let message =
        json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Again."}]});
    fold.apply(&read(&json!({"type": "response.completed",
        "response": {"id": "r", "status": "completed", "output": [message]}})));
    assert_eq!(fold.text(), "Again.");
}
