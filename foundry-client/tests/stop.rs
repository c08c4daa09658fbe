//! Stop: what becomes of a response that is given up before its first event.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Chunk, Script, Step, Tokens, answer, events, with};
use entra_auth::{ReqwestTransport, TransportErrorKind};
use foundry_client::{CreateResponse, FoundryClient, Responses};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const SECOND: Duration = Duration::from_secs(1);

fn turn(background: bool) -> CreateResponse {
    CreateResponse::new().agent("helpdesk").conversation("conv_1").text("hello").background(background)
}

fn response(status: &str) -> String {
    json!({"id": "resp_1", "object": "response", "status": status, "output": []}).to_string()
}

fn event(kind: &str, status: &str) -> Chunk {
    let response = response(status);
    Chunk::Data(Bytes::from(format!(
        "event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",\"sequence_number\":0,\"response\":{response}}}\n\n"
    )))
}

fn keep_alive() -> Chunk {
    Chunk::Data(Bytes::from_static(b": keep-alive\n\n"))
}

fn cancelled() -> Step {
    answer(200, response("cancelled"))
}

/// Gives up after a second, and waits for longer than anything may take.
async fn give_up(work: impl Future) {
    assert!(timeout(SECOND, work).await.is_err(), "there was nothing to give up");
    sleep(60 * SECOND).await;
}

/// Exactly one cancellation, by its id; no task is left and no connection is open.
fn stopped(script: &Script) {
    let calls: Vec<_> = script.seen().into_iter().map(|seen| (seen.method, seen.uri)).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[1].0 == "POST" && calls[1].1.ends_with("/responses/resp_1/cancel"), "{calls:?}");
    nothing_left(script, 2);
}

fn nothing_left(script: &Script, bodies: u32) {
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
    assert_eq!(*script.dropped.lock().unwrap(), bodies, "a connection is open");
}

async fn listen(responses: &Responses, request: CreateResponse) {
    let mut stream = responses.stream(request).await.unwrap();
    while stream.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn given_up_before_the_head_of_the_answer() {
    let stream = events(vec![event("created", "in_progress"), Chunk::Hang]);
    let script = Script::new([Step::Late(5 * SECOND, Box::new(stream)), cancelled()]);
    give_up(script.client().responses().stream(turn(true))).await;
    stopped(&script);
    assert_eq!(script.seen()[1].headers["authorization"], "Bearer token-1");
}

#[tokio::test(start_paused = true)]
async fn given_up_between_the_head_and_the_first_event() {
    for first in ["created", "queued", "in_progress"] {
        let late = Chunk::Wait(10 * SECOND);
        let script = Script::new([events(vec![keep_alive(), late, event(first, "queued"), Chunk::Hang]), cancelled()]);
        give_up(listen(&script.client().responses(), turn(true))).await;
        stopped(&script);
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_in_the_middle_of_the_first_event() {
    let Chunk::Data(whole) = event("created", "queued") else { unreachable!() };
    let parts = [Chunk::Data(whole.slice(..40)), Chunk::Wait(3 * SECOND), Chunk::Data(whole.slice(40..)), Chunk::Hang];
    let script = Script::new([events(parts.into()), cancelled()]);
    give_up(listen(&script.client().responses(), turn(true))).await;
    stopped(&script);
}

#[tokio::test(start_paused = true)]
async fn the_answer_as_a_whole_names_the_response_too() {
    let late = |step| Script::new([Step::Late(5 * SECOND, Box::new(step)), cancelled()]);
    let script = late(answer(200, response("queued")));
    give_up(script.client().responses().create(turn(true))).await;
    stopped(&script);
    // A server that ignores `stream`.
    let script = late(answer(200, response("in_progress")));
    give_up(script.client().responses().stream(turn(true))).await;
    stopped(&script);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_fails_in_passing_is_repeated() {
    let stream = events(vec![Chunk::Wait(2 * SECOND), event("created", "queued"), Chunk::Hang]);
    let script = Script::new([stream, answer(503, ""), cancelled()]);
    give_up(listen(&script.client().responses(), turn(true))).await;
    assert_eq!(script.seen().len(), 3);
    nothing_left(&script, 3);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_in_the_background_ends_with_its_connection() {
    let script = Script::new([events(vec![Chunk::Wait(5 * SECOND), event("created", "in_progress"), Chunk::Hang])]);
    assert!(timeout(SECOND, listen(&script.client().responses(), turn(false))).await.is_err());
    nothing_left(&script, 1);
    let script = Script::new([Step::Hang]);
    give_up(script.client().responses().stream(turn(false))).await;
    assert_eq!(script.seen().len(), 1);
    nothing_left(&script, 0);
}

#[tokio::test(start_paused = true)]
async fn once_the_id_is_known_the_caller_decides() {
    let script = Script::new([events(vec![event("created", "in_progress"), Chunk::Hang])]);
    give_up(listen(&script.client().responses(), turn(true))).await;
    assert_eq!(script.seen().len(), 1);
    nothing_left(&script, 1);
}

#[tokio::test(start_paused = true)]
async fn what_never_tells_its_id_is_left_after_the_patience() {
    for (step, bodies) in [
        (Step::Hang, 0),
        (events(vec![Chunk::Hang]), 1),
        (events(vec![keep_alive(), Chunk::Wait(40 * SECOND), event("created", "queued")]), 1),
        (Step::Late(2 * SECOND, Box::new(Step::Fail(TransportErrorKind::Interrupted))), 0),
        (Step::Late(2 * SECOND, Box::new(with(answer(429, ""), "retry-after", "1"))), 1),
        (Step::Late(2 * SECOND, Box::new(answer(401, ""))), 1),
        (Step::Late(2 * SECOND, Box::new(answer(200, "nonsense"))), 1),
        (Step::Late(2 * SECOND, Box::new(answer(200, response("completed")))), 1),
        (events(vec![Chunk::Wait(2 * SECOND), Chunk::Break(TransportErrorKind::Interrupted)]), 1),
        (events(vec![Chunk::Wait(2 * SECOND)]), 1),
        (events(vec![Chunk::Wait(2 * SECOND), event("completed", "completed"), Chunk::Hang]), 1),
        (events(vec![Chunk::Wait(2 * SECOND), Chunk::Data("data: nonsense\n\n".into()), Chunk::Hang]), 1),
    ] {
        let script = Script::new([step]);
        give_up(listen(&script.client().responses(), turn(true))).await;
        assert_eq!(script.seen().len(), 1, "nothing is repeated, and nothing cancelled");
        nothing_left(&script, bodies);
    }
}

#[tokio::test(start_paused = true)]
async fn the_patience_is_thirty_seconds() {
    let script = Script::new([events(vec![Chunk::Hang])]);
    assert!(timeout(SECOND, listen(&script.client().responses(), turn(true))).await.is_err());
    sleep(29 * SECOND).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    sleep(2 * SECOND).await;
    nothing_left(&script, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_a_caller_who_left_before() {
    // Between two attempts.
    let script = Script::new([with(answer(429, ""), "retry-after", "5")]);
    give_up(script.client().responses().stream(turn(true))).await;
    assert_eq!(script.seen().len(), 1);
    nothing_left(&script, 1);
    // Never polled.
    let script = Script::new([]);
    drop(script.client().responses().stream(turn(true)));
    sleep(60 * SECOND).await;
    assert!(script.seen().is_empty());
}

#[test]
fn a_runtime_that_goes_away_takes_the_task_with_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let waiting = || Script::new([events(vec![Chunk::Hang])]);
    let script = waiting();
    let first = runtime();
    first.block_on(async {
        assert!(timeout(SECOND, listen(&script.client().responses(), turn(true))).await.is_err());
    });
    assert_eq!(*script.dropped.lock().unwrap(), 0);
    drop(first);
    assert_eq!(*script.dropped.lock().unwrap(), 1);
    // Dropped where there is no runtime: the connection is closed.
    let script = waiting();
    let stream = runtime().block_on(script.client().responses().stream(turn(true))).unwrap();
    drop(stream);
    assert_eq!((script.seen().len(), *script.dropped.lock().unwrap()), (1, 1));
}

#[tokio::test]
async fn over_a_real_connection_too() {
    let server = MockServer::start().await;
    let Chunk::Data(created) = event("created", "queued") else { unreachable!() };
    let stream = ResponseTemplate::new(200).set_body_raw(created, "text/event-stream");
    Mock::given(method("POST"))
        .and(path("/api/projects/demo/openai/v1/responses"))
        .respond_with(stream.set_delay(SECOND / 2))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/api/projects/demo/openai/v1/responses/resp_1/cancel"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(response("cancelled"), "application/json"))
        .expect(1)
        .mount(&server)
        .await;
    let client = FoundryClient::builder(format!("{}/api/projects/demo", server.uri()))
        .credential(Arc::new(Tokens::default()))
        .transport(Arc::new(ReqwestTransport::new().unwrap()))
        .build()
        .unwrap();
    assert!(timeout(SECOND / 10, client.responses().stream(turn(true))).await.is_err());
    for _ in 0..100 {
        sleep(SECOND / 10).await;
        if server.received_requests().await.unwrap().len() == 2 {
            break;
        }
    }
    server.verify().await;
}
