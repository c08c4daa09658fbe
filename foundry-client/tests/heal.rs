//! Conversations that are gone, poisoned or busy: the user gets an answer, the history stays.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{Script, answer, sse};
use foundry_client::{ConversationFault, CreateResponse, ErrorKind};
use serde_json::{Value, json};

const RESPONSE: &str = r#"{"id":"resp_1","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]}"#;
const NEW: &str = r#"{"id":"conv_2","object":"conversation"}"#;
const GONE: &str = r#"{"error":{"code":"not_found","message":"Conversation with id 'conv_1' not found."}}"#;
const POISONED: &str = r#"{"error":{"message":"No tool output found for function call call_1.","type":"invalid_request_error","param":"input","code":null}}"#;
const LOCKED: &str = r#"{"error":{"code":"conversation_locked","message":"x"}}"#;

fn turn() -> CreateResponse {
    CreateResponse::new().agent("a").conversation("conv_1").text("again").answers_item("msg_9")
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_is_gone_is_made_once_more() {
    let script = Script::new([answer(404, GONE), answer(200, NEW), answer(200, RESPONSE)]);
    let healed = script.client().responses().create_healing(turn()).await.unwrap();
    assert_eq!((healed.answer.output_text().as_str(), healed.replaced.unwrap().id.as_str()), ("hi", "conv_2"));
    let seen = script.seen();
    assert_eq!((seen[1].json(), seen[2].json()["conversation"].as_str()), (json!({}), Some("conv_2")));
    // Once, and no oftener.
    let script = Script::new([answer(404, GONE), answer(200, NEW), answer(404, GONE)]);
    let error = script.client().responses().create_healing(turn()).await.unwrap_err();
    assert_eq!((error.conversation_fault(), script.seen().len()), (Some(ConversationFault::NotFound), 3));
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_conversation_goes_on_with_its_history() {
    let message = |n: usize| {
        json!({"type": "message", "id": format!("msg_{n}"), "role": "user", "status": "completed",
               "content": [{"type": "input_text", "text": n.to_string()}]})
    };
    let mut newest: Vec<Value> = (0..25).rev().map(message).collect();
    newest.insert(0, json!({"type": "function_call", "id": "fc", "call_id": "call_1", "name": "f", "arguments": "{}"}));
    let page = json!({"object": "list", "data": newest, "last_id": "msg_0", "has_more": false}).to_string();
    let added = r#"{"object":"list","data":[]}"#;
    let stream = include_str!("fixtures/streams/prompt_agent.sse");
    let script =
        Script::new([answer(400, POISONED), answer(200, page), answer(200, NEW), answer(200, added), sse(stream, 100)]);
    let healed = script.client().responses().stream_healing(turn()).await.unwrap();
    assert_eq!(healed.replaced.unwrap().id, "conv_2");
    assert_eq!(healed.answer.finish().await.unwrap().output_text(), "Hello, wörld 😀");
    let seen = script.seen();
    let texts = |json: Value| -> Vec<String> {
        json["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let kept: Vec<String> = [texts(seen[2].json()), texts(seen[3].json())].concat();
    assert_eq!(kept, (0..25).map(|n: usize| n.to_string()).collect::<Vec<_>>());
    assert!(seen[3].uri.contains("/conversations/conv_2/items"));
    assert_eq!(seen[4].json()["conversation"], "conv_2");
}

#[tokio::test(start_paused = true)]
async fn a_locked_conversation_is_waited_for_and_never_replaced() {
    for status in [400, 409] {
        let script = Script::new([answer(status, LOCKED), answer(200, RESPONSE)]);
        let healed = script.client().responses().create_healing(turn()).await.unwrap();
        assert!(healed.replaced.is_none());
        let script = Script::new((0..3).map(|_| answer(status, LOCKED)));
        let error = script.client().responses().create_healing(turn()).await.unwrap_err();
        assert_eq!((error.conversation_fault(), error.attempts()), (Some(ConversationFault::Locked), 3));
        assert!(error.is_retryable());
    }
}

#[tokio::test(start_paused = true)]
async fn other_failures_are_told_as_they_are() {
    let cases = [(answer(429, ""), ErrorKind::Throttled), (answer(500, ""), ErrorKind::Server)];
    for (step, kind) in cases {
        let mut steps = vec![step];
        steps.extend((0..2).map(|_| answer(429, "")));
        let script = Script::new(steps);
        let request = CreateResponse::new().agent("a").conversation("conv_1").text("again");
        let error = script.client().responses().create_healing(request).await.unwrap_err();
        assert_eq!((error.kind(), error.conversation_fault()), (kind, None));
    }
    // The healing fails, too: the first failure is told.
    let script = Script::new([answer(404, GONE), answer(500, "")]);
    let error = script.client().responses().create_healing(turn()).await.unwrap_err();
    assert_eq!(error.conversation_fault(), Some(ConversationFault::NotFound));
    assert!(std::error::Error::source(&error).is_some());
    // Without a conversation there is nothing to heal.
    let script = Script::new([answer(404, GONE)]);
    assert!(script.client().responses().create_healing(CreateResponse::new().agent("a").text("x")).await.is_err());
}
