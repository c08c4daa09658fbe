//! What is repeated, when, and what is never repeated.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Script, Step, Tokens, answer, with};
use entra_auth::{ManualClock, TransportErrorKind};
use foundry_client::{CreateConversation, CreateResponse, Delivery, ErrorKind, InputItem, Limits, ListItems, Resource};
use time::OffsetDateTime;

const CONVERSATION: &str = r#"{"id":"conv_1","object":"conversation"}"#;
const RESPONSE: &str = r#"{"id":"resp_1","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]}"#;
const EMPTY: &str = r#"{"object":"list","data":[],"has_more":false}"#;
const LOCKED: &str = r#"{"error":{"code":"conversation_locked","message":"x"}}"#;

fn turn() -> CreateResponse {
    CreateResponse::new().agent("helpdesk").conversation("conv_1").text("hello")
}

#[tokio::test(start_paused = true)]
async fn a_read_is_repeated_on_passing_failures_and_a_create_is_not() {
    for failure in [408, 500, 502, 504] {
        let script = Script::new([answer(failure, ""), answer(200, EMPTY)]);
        assert!(script.client().items("conv_1").list(&ListItems::new()).await.is_ok(), "{failure}");
        let script = Script::new([answer(failure, "")]);
        let error = script.client().responses().create(turn()).await.unwrap_err();
        assert_eq!((error.delivery(), error.attempts()), (Delivery::Ambiguous, 1), "{failure}");
        assert!(!error.is_retryable(), "{failure}");
    }
    for kind in [TransportErrorKind::Timeout, TransportErrorKind::Interrupted] {
        let script = Script::new([Step::Fail(kind), answer(200, EMPTY)]);
        assert!(script.client().items("conv_1").list(&ListItems::new()).await.is_ok());
        let script = Script::new([Step::Fail(kind)]);
        let error = script.client().conversations().create(CreateConversation::new()).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Ambiguous);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_is_repeated_when_the_service_provably_did_not_act() {
    let not_ready = r#"{"error":{"code":"session_not_ready"}}"#;
    let cases = [
        Step::Fail(TransportErrorKind::NotSent),
        answer(429, ""),
        with(answer(503, ""), "retry-after", "1"),
        answer(400, LOCKED),
        answer(409, LOCKED),
        answer(424, not_ready),
    ];
    for failure in cases {
        let script = Script::new([failure, answer(200, RESPONSE)]);
        assert_eq!(script.client().responses().create(turn()).await.unwrap().output_text(), "hi");
        assert_eq!(script.seen().len(), 2);
        let [first, second] = &script.seen()[..] else { panic!() };
        assert_eq!((&first.body, &first.uri), (&second.body, &second.uri));
        assert_eq!(first.headers["x-ms-client-request-id"], second.headers["x-ms-client-request-id"]);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end_and_the_last_failure_is_told() {
    let script = Script::new([answer(429, ""), answer(429, ""), with(answer(429, ""), "retry-after", "7")]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.status()), (ErrorKind::Throttled, 3, Some(429)));
    assert_eq!((error.retry_after(), error.is_retryable()), (Some(Duration::from_secs(7)), true));
    assert_eq!(script.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_in_all_its_forms() {
    let now = OffsetDateTime::from_unix_timestamp(1_795_341_600).unwrap();
    let date = "Sun, 22 Nov 2026 10:00:09 GMT";
    for (name, value, wait) in [
        ("retry-after", "7", 7_000),
        ("retry-after-ms", "1500", 1_500),
        ("x-ms-retry-after-ms", "250", 250),
        ("retry-after", date, 9_000),
        ("retry-after", "120", 120_000),
    ] {
        let script = Script::new([with(answer(429, ""), name, value), answer(200, RESPONSE)]);
        let client = script.builder().clock(Arc::new(ManualClock::at(now))).build().unwrap();
        client.responses().create(turn()).await.unwrap();
        let waited = script.seen()[1].at - script.seen()[0].at;
        let wait = Duration::from_millis(wait);
        assert!(waited >= wait && waited <= wait + Duration::from_millis(5), "{name}: {value}: {waited:?}");
    }
    let script = Script::new([with(answer(429, ""), "retry-after", "121")]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.attempts(), error.retry_after()), (1, Some(Duration::from_secs(121))));
}

#[tokio::test(start_paused = true)]
async fn waits_without_a_header_have_jitter_and_a_bound() {
    let mut waits = Vec::new();
    for _ in 0..20 {
        let script = Script::new([answer(429, ""), answer(429, ""), answer(200, RESPONSE)]);
        script.client().responses().create(turn()).await.unwrap();
        let seen = script.seen();
        let (first, second) = (seen[1].at - seen[0].at, seen[2].at - seen[1].at);
        assert!(first <= Duration::from_millis(502) && second <= Duration::from_millis(1_002), "{first:?} {second:?}");
        waits.push(first);
    }
    waits.dedup();
    assert!(waits.len() > 5, "no jitter: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_locked_conversation_is_given_seconds() {
    let script = Script::new([answer(400, LOCKED), answer(200, RESPONSE)]);
    script.client().responses().create(turn()).await.unwrap();
    assert!(script.seen()[1].at - script.seen()[0].at >= Duration::from_secs(2));
    let script = Script::new([answer(409, LOCKED), answer(400, LOCKED), answer(409, LOCKED)]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ConversationLocked, true));
}

#[tokio::test(start_paused = true)]
async fn no_wait_goes_past_the_deadline() {
    let script = Script::new([with(answer(429, ""), "retry-after", "30")]);
    let client = script.builder().limits(Limits::default().total(Duration::from_secs(20))).build().unwrap();
    let error = client.responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Throttled, 1));
    let script = Script::new([Step::Hang]);
    let client = script.builder().limits(Limits::default().total(Duration::from_secs(20))).build().unwrap();
    let start = tokio::time::Instant::now();
    let error = client.responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Ambiguous));
    assert!(start.elapsed() >= Duration::from_secs(20) && start.elapsed() < Duration::from_secs(21));
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_verdict_counts() {
    let script = Script::new([with(answer(429, ""), "x-should-retry", "false")]);
    assert_eq!(script.client().responses().create(turn()).await.unwrap_err().attempts(), 1);
    let script = Script::new([with(answer(400, ""), "x-should-retry", "true")]);
    assert_eq!(script.client().responses().create(turn()).await.unwrap_err().attempts(), 1);
    let script = Script::new([with(answer(400, ""), "x-should-retry", "true"), answer(200, EMPTY)]);
    assert!(script.client().items("c").list(&ListItems::new()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_host_may_allow_a_second_run() {
    let script = Script::new([answer(502, ""), answer(200, RESPONSE)]);
    let client = script.builder().repeat_ambiguous_creates(true).build().unwrap();
    assert!(client.responses().create(turn()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_bare_503_is_reconciled_and_not_repeated() {
    let items = r#"{"object":"list","data":[
        {"id":"msg_2","type":"message","role":"assistant","status":"completed","response_id":"resp_9",
         "content":[{"type":"output_text","text":"it was done"}]}],"has_more":false}"#;
    let script = Script::new([answer(503, ""), answer(200, items)]);
    let response = script.client().responses().create(turn().answers_item("msg_1")).await.unwrap();
    assert_eq!((response.output_text().as_str(), response.id.as_str()), ("it was done", "resp_9"));
    assert!(response.is_reconciled());
    let list = &script.seen()[1];
    assert_eq!(list.method, "GET");
    assert!(
        list.uri.ends_with("/openai/v1/conversations/conv_1/items?limit=100&order=asc&after=msg_1"),
        "{}",
        list.uri
    );

    let script = Script::new([answer(503, ""), answer(200, EMPTY)]);
    let error = script.client().responses().create(turn().answers_item("msg_1")).await.unwrap_err();
    assert_eq!((error.delivery(), error.status(), error.kind()), (Delivery::Ambiguous, Some(503), ErrorKind::Server));
    assert_eq!(script.seen().iter().filter(|seen| seen.method == "POST").count(), 1);

    let script = Script::new([answer(503, "")]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.delivery(), script.seen().len()), (Delivery::Ambiguous, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_reconciled_too() {
    let items = r#"{"data":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}"#;
    for lost in [answer(200, "<html>"), answer(200, "{}"), Step::Fail(TransportErrorKind::Interrupted)] {
        let script = Script::new([lost, answer(200, items)]);
        let response = script.client().responses().create(turn().answers_item("m")).await.unwrap();
        assert_eq!(response.output_text(), "a");
    }
    let script = Script::new([answer(200, "<html>")]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Protocol, Delivery::Ambiguous));
}

#[tokio::test(start_paused = true)]
async fn a_reconciled_answer_becomes_a_stream_of_one_event() {
    let items = r#"{"data":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}"#;
    let script = Script::new([answer(503, ""), answer(200, items)]);
    let mut stream = script.client().responses().stream(turn().answers_item("m")).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().is_terminal());
    assert_eq!(stream.output_text(), "a");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once() {
    let script = Script::new([answer(401, ""), answer(200, CONVERSATION)]);
    let tokens = Tokens::default();
    let client = script.builder().credential(Arc::new(tokens.clone())).build().unwrap();
    client.conversations().create(CreateConversation::new()).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer token-1");
    assert_eq!(seen[1].headers["authorization"], "Bearer token-2");
    let requests = tokens.requests.lock().unwrap().clone();
    assert_eq!(requests[1].rejected.as_ref().unwrap().expose(), "token-1");
    assert_eq!(requests[0].scopes.as_str(), "https://ai.azure.com/.default");

    let script = Script::new([answer(401, ""), answer(401, "")]);
    let error = script.client().conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthorized, false));

    let script = Script::new([answer(401, "")]);
    let fixed = Tokens { fixed: true, ..Tokens::default() };
    let client = script.builder().credential(Arc::new(fixed)).build().unwrap();
    let error = client.conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(401)));
}

#[tokio::test(start_paused = true)]
async fn a_missing_role_is_not_a_bad_token() {
    let body =
        r#"{"error":{"code":"PermissionDenied","message":"lacks the required data action `Microsoft.X/y/action`"}}"#;
    let script = Script::new([answer(401, body)]);
    let error = script.client().conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.missing_action()), (ErrorKind::MissingRole, Some("Microsoft.X/y/action")));
}

#[tokio::test(start_paused = true)]
async fn a_claims_challenge_is_passed_through_once() {
    let challenge =
        r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ==""#;
    let refused = || with(answer(401, ""), "www-authenticate", challenge);
    let tokens = Tokens::default();
    let script = Script::new([refused(), answer(200, CONVERSATION)]);
    let client = script.builder().credential(Arc::new(tokens.clone())).build().unwrap();
    client.conversations().create(CreateConversation::new()).await.unwrap();
    assert!(tokens.requests.lock().unwrap()[1].claims.as_ref().unwrap().as_str().contains("essential"));

    let script = Script::new([refused(), refused()]);
    let error = script.client().conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.claims_challenge().is_some());
}

#[tokio::test(start_paused = true)]
async fn without_a_token_nothing_is_sent() {
    let script = Script::new([]);
    let broken = Tokens { fails: Some(entra_auth::ErrorKind::ConsentRequired), ..Tokens::default() };
    let client = script.builder().credential(Arc::new(broken)).build().unwrap();
    let error = client.conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Credential, false));
    assert!(std::error::Error::source(&error).is_some());
    let broken = Tokens { fails: Some(entra_auth::ErrorKind::Transient), ..Tokens::default() };
    let client = script.builder().credential(Arc::new(broken)).build().unwrap();
    assert!(client.conversations().create(CreateConversation::new()).await.unwrap_err().is_retryable());
}

#[tokio::test(start_paused = true)]
async fn bad_requests_never_leave() {
    let script = Script::new([]);
    let client = script.client();
    let many = || std::iter::repeat_with(|| InputItem::user_text("x"));
    for count in [0, 21] {
        let error = client.items("conv_1").create(many().take(count)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    for id in ["", "..", "a\nb"] {
        assert_eq!(client.items(id).list(&ListItems::new()).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    let full = many().take(21).fold(CreateConversation::new(), CreateConversation::item);
    assert_eq!(client.conversations().create(full).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_depends_on_the_call() {
    let script = Script::new([answer(404, "{}"), answer(404, "{}"), answer(404, "{}")]);
    let client = script.client();
    let kind = client.conversations().create(CreateConversation::new()).await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::NotFound(Resource::Project));
    let kind = client.items("conv_1").list(&ListItems::new()).await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::NotFound(Resource::Conversation));
    let kind = client.responses().create(turn()).await.unwrap_err().kind();
    assert_eq!(kind, ErrorKind::NotFound(Resource::Unknown));
}

#[tokio::test(start_paused = true)]
async fn redirects_and_oversized_answers_are_errors() {
    let script = Script::new([with(answer(307, ""), "location", "https://evil.example/")]);
    let error = script.client().conversations().create(CreateConversation::new()).await.unwrap_err();
    assert_eq!((error.kind(), script.seen().len()), (ErrorKind::Protocol, 1));
    let script = Script::new([answer(200, vec![b' '; 2_000])]);
    let client = script.builder().limits(Limits::default().body(1_000)).build().unwrap();
    let error = client.responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::Ambiguous));
    let script = Script::new([answer(400, vec![b'x'; 200_000])]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.body().len()), (ErrorKind::InvalidRequest, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failed_response_is_an_error_and_an_incomplete_one_is_not() {
    let failed = r#"{"id":"r","status":"failed","error":{"code":"server_error","message":"marker"}}"#;
    let script = Script::new([answer(200, failed)]);
    let error = script.client().responses().create(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::ResponseFailed, Some("server_error")));
    assert_eq!((error.delivery(), error.service_message()), (Delivery::Ambiguous, Some("marker")));
    assert!(!format!("{error} {error:?}").contains("marker"));
    let cut = r#"{"id":"r","status":"incomplete","output":[],"incomplete_details":{"reason":"content_filter"}}"#;
    let script = Script::new([answer(200, cut)]);
    assert!(script.client().responses().create(turn()).await.unwrap().is_content_filtered());
}
