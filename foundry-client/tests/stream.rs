//! Streams: whole, cut at every byte, silent, too large, failed; the text is right or there is an error.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Chunk, PROJECT, Script, Tokens, answer, events, sse};
use entra_auth::{ReqwestTransport, TransportErrorKind};
use foundry_client::{
    CreateResponse, Delivery, Error, ErrorKind, FoundryClient, Limits, ResponseEvent, ResponseStream, SseLimits,
};
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HELLO: &str = include_str!("fixtures/streams/prompt_agent.sse");

fn turn() -> CreateResponse {
    CreateResponse::new().agent("helpdesk").conversation("conv_1").text("hello")
}

async fn open(script: &Script) -> ResponseStream {
    script.client().responses().stream(turn()).await.unwrap()
}

async fn drain(stream: &mut ResponseStream) -> (Vec<ResponseEvent>, Option<Error>) {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "an error is the end");
                return (events, Some(error));
            }
        }
    }
    (events, None)
}

#[tokio::test(start_paused = true)]
async fn the_request_asks_for_a_stream() {
    let script = Script::new([sse(HELLO, 4_096)]);
    let stream = open(&script).await;
    let seen = &script.seen()[0];
    assert_eq!(seen.uri, format!("{PROJECT}/openai/v1/responses"));
    assert_eq!(seen.headers["accept"], "text/event-stream, application/json");
    assert_eq!(seen.json()["stream"], true);
    let response = stream.finish().await.unwrap();
    assert_eq!(response.output_text(), "Hello, wörld 😀");
    assert_eq!(response.usage.unwrap().total_tokens, 21);
}

#[tokio::test(start_paused = true)]
async fn every_chunk_size_gives_the_same_events() {
    let mut expected = None;
    for size in (1..64).chain([100, 1_000, 100_000]) {
        let script = Script::new([sse(HELLO, size)]);
        let mut stream = open(&script).await;
        let (events, error) = drain(&mut stream).await;
        assert!(error.is_none());
        assert_eq!(stream.output_text(), "Hello, wörld 😀");
        assert_eq!((stream.response_id(), stream.last_sequence_number()), (Some("resp_1"), Some(11)));
        let kinds: Vec<_> = events.iter().map(ResponseEvent::kind).collect();
        assert_eq!(*expected.get_or_insert_with(|| kinds.clone()), kinds, "chunks of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_cut_at_any_byte_is_an_error_unless_its_end_was_seen() {
    let input = HELLO.as_bytes();
    let last = input.len() - 1;
    for cut in 0..=input.len() {
        for breaks in [false, true] {
            let mut chunks = vec![Chunk::Data(Bytes::copy_from_slice(&input[..cut]))];
            if breaks {
                chunks.push(Chunk::Break(TransportErrorKind::Interrupted));
            }
            let script = Script::new([events(chunks)]);
            let mut stream = open(&script).await;
            let (_, error) = drain(&mut stream).await;
            if cut > last {
                assert!(error.is_none(), "cut at {cut}");
                continue;
            }
            let error = error.unwrap_or_else(|| panic!("a silent end at {cut}"));
            let kind = if breaks { ErrorKind::Transport } else { ErrorKind::Truncated };
            assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Ambiguous), "cut at {cut}");
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_says_how_far_the_stream_came() {
    let script = Script::new([sse(&HELLO[..HELLO.find("event: response.output_text.done").unwrap()], 10)]);
    let mut stream = open(&script).await;
    let (_, error) = drain(&mut stream).await;
    let error = error.unwrap();
    assert_eq!((error.response_id(), error.last_sequence_number()), (Some("resp_1"), Some(7)));
    assert_eq!(stream.output_text(), "Hello, wörld 😀");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream_and_comments_end_silence() {
    let mut chunks = vec![Chunk::Data(Bytes::from(HELLO[..200].to_owned()))];
    for _ in 0..20 {
        chunks.extend([Chunk::Wait(Duration::from_secs(50)), Chunk::Data(Bytes::from_static(b": keep-alive\n\n"))]);
    }
    chunks.push(Chunk::Hang);
    let head = HELLO.find("\n\n").unwrap() + 2;
    chunks[0] = Chunk::Data(Bytes::from(HELLO[..head].to_owned()));
    let script = Script::new([events(chunks)]);
    let client = script.builder().limits(Limits::default().total(Duration::from_secs(5_000))).build().unwrap();
    let mut stream = client.responses().stream(turn()).await.unwrap();
    let start = tokio::time::Instant::now();
    let (events, error) = drain(&mut stream).await;
    assert_eq!((events.len(), error.unwrap().kind()), (1, ErrorKind::Timeout));
    let lasted = start.elapsed().as_secs();
    assert!((1_055..=1_065).contains(&lasted), "{lasted}");
}

#[tokio::test(start_paused = true)]
async fn single_bytes_do_not_end_a_silence() {
    let drip = std::iter::repeat_n([Chunk::Data(Bytes::from_static(b"x")), Chunk::Wait(Duration::from_secs(1))], 500);
    let script = Script::new([events(drip.flatten().collect())]);
    let start = tokio::time::Instant::now();
    let (_, error) = drain(&mut open(&script).await).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() <= Duration::from_secs(62));
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_a_total_deadline() {
    let life =
        std::iter::repeat_n([Chunk::Data(Bytes::from_static(b":\n")), Chunk::Wait(Duration::from_secs(15))], 500);
    let script = Script::new([events(life.flatten().collect())]);
    let start = tokio::time::Instant::now();
    let (_, error) = drain(&mut open(&script).await).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Timeout);
    assert!((600..=601).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_comes_is_a_timeout() {
    let script = Script::new([common::Step::Hang]);
    let error = script.client().responses().stream(turn()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Ambiguous));
}

#[tokio::test(start_paused = true)]
async fn caps_on_lines_events_and_the_whole() {
    let limits = Limits::default().sse(SseLimits::default().line(1_000).event(1_500)).stream(10_000);
    for text in ["x".repeat(1_001), format!("data: {}\n", "y".repeat(800)).repeat(2), ":\n".repeat(6_000)] {
        let script = Script::new([sse(&text, 100)]);
        let client = script.builder().limits(limits).build().unwrap();
        let mut stream = client.responses().stream(turn()).await.unwrap();
        let (_, error) = drain(&mut stream).await;
        assert_eq!(error.unwrap().kind(), ErrorKind::TooLarge);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_drops_the_body() {
    let script = Script::new([events(vec![Chunk::Hang])]);
    let stream = open(&script).await;
    assert_eq!(*script.dropped.lock().unwrap(), 0);
    drop(stream);
    assert_eq!(*script.dropped.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_already_seen_is_skipped() {
    let first = HELLO.find("event: response.output_text.delta").unwrap();
    let second = first + HELLO[first..].find("\n\n").unwrap() + 2;
    let doubled = format!("{}{}{}", &HELLO[..second], &HELLO[first..second], &HELLO[second..]);
    let script = Script::new([sse(&doubled[..doubled.find("event: response.output_text.done").unwrap()], 50)]);
    let mut stream = open(&script).await;
    let _ = drain(&mut stream).await;
    assert_eq!(stream.output_text(), "Hello, wörld 😀");
}

#[tokio::test(start_paused = true)]
async fn bytes_after_the_terminal_event_change_nothing_and_cost_little_time() {
    for tail in [Chunk::Data(Bytes::from_static(b"data: {\"type\":\"error\",\"message\":\"x\"}\n\n")), Chunk::Hang] {
        let script = Script::new([events(vec![Chunk::Data(Bytes::from_static(HELLO.as_bytes())), tail])]);
        let start = tokio::time::Instant::now();
        assert!(open(&script).await.finish().await.is_ok());
        assert!(start.elapsed() <= Duration::from_millis(150));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_stream_gives_a_stream_of_one_event() {
    let body = r#"{"id":"r","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]}"#;
    let script = Script::new([answer(200, body)]);
    let mut stream = open(&script).await;
    let (events, error) = drain(&mut stream).await;
    assert_eq!((events.len(), error.is_none(), stream.output_text().as_str()), (1, true, "hi"));

    let script = Script::new([answer(200, r#"{"id":"r","status":"failed","error":{"code":"server_error"}}"#)]);
    let (events, error) = drain(&mut open(&script).await).await;
    assert_eq!((events.len(), error.unwrap().kind()), (1, ErrorKind::ResponseFailed));

    for body in [r#"{"id":"r","status":"queued"}"#, "{}", "<html>"] {
        let script = Script::new([answer(200, body)]);
        let error = script.client().responses().stream(turn()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Protocol, Delivery::Ambiguous), "{body}");
    }
    let page = common::with(events_page(), "x", "y");
    let error = Script::new([page]).client().responses().stream(turn()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

fn events_page() -> common::Step {
    let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
    common::Step::Answer { status: 200, headers, chunks: vec![] }
}

#[tokio::test(start_paused = true)]
async fn it_is_a_stream_for_others_too() {
    let script = Script::new([sse(HELLO, 100)]);
    let stream = open(&script).await;
    let events: Vec<_> = StreamExt::collect(stream).await;
    assert!(events.len() == 12 && events.iter().all(Result::is_ok));
}

/// A server that answers one request with these pieces, a flush each, and then does as told.
async fn serve(pieces: Vec<Vec<u8>>, then: Then) -> (FoundryClient, tokio::task::JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        read_request(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for piece in pieces {
            let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
            if socket.write_all(&framed).await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        match then {
            Then::End => socket.write_all(b"0\r\n\r\n").await.is_ok(),
            Then::Cut => true,
            // True when the client hangs up.
            Then::Hang => matches!(socket.read(&mut [0]).await, Ok(0) | Err(_)),
        }
    });
    let client = FoundryClient::builder(format!("http://{address}/api/projects/demo"))
        .credential(Arc::new(Tokens::default()))
        .transport(Arc::new(ReqwestTransport::new().unwrap()))
        .limits(Limits::default().idle(Duration::from_millis(800)))
        .build()
        .unwrap();
    (client, server)
}

enum Then {
    End,
    Cut,
    Hang,
}

async fn read_request(socket: &mut TcpStream) {
    let mut all = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = socket.read(&mut buffer).await.unwrap();
        all.extend_from_slice(&buffer[..read]);
        // The body is JSON and ends with the last brace.
        if all.windows(4).any(|end| end == b"\r\n\r\n") && all.ends_with(b"}") {
            return;
        }
    }
}

#[tokio::test]
async fn over_a_socket_in_small_pieces() {
    let pieces = HELLO.as_bytes().chunks(7).map(<[u8]>::to_vec).collect();
    let (client, server) = serve(pieces, Then::End).await;
    let response = client.responses().stream(turn()).await.unwrap().finish().await.unwrap();
    assert_eq!(response.output_text(), "Hello, wörld 😀");
    assert!(server.await.unwrap());
}

#[tokio::test]
async fn over_a_socket_that_is_cut() {
    for (length, then) in [(HELLO.len() / 2, Then::Cut), (HELLO.len() / 2, Then::End), (0, Then::Cut)] {
        let pieces = HELLO.as_bytes()[..length].chunks(300).map(<[u8]>::to_vec).collect();
        let kind = if matches!(then, Then::End) { ErrorKind::Truncated } else { ErrorKind::Transport };
        let (client, _server) = serve(pieces, then).await;
        let error = client.responses().stream(turn()).await.unwrap().finish().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Ambiguous));
    }
}

#[tokio::test]
async fn over_a_socket_that_falls_silent() {
    let (client, server) = serve(vec![HELLO.as_bytes()[..300].to_vec()], Then::Hang).await;
    let error = client.responses().stream(turn()).await.unwrap().finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(server.await.unwrap(), "the connection was closed");
}

#[tokio::test]
async fn dropping_hangs_up() {
    let (client, server) = serve(vec![HELLO.as_bytes()[..300].to_vec()], Then::Hang).await;
    let mut stream = client.responses().stream(turn()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    assert!(tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap());
}
