//! Every recorded form of an answer, read through the client. Texts of errors hold the word "marker".
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use common::{Script, Step, Tokens, sse};
use entra_auth::{Body, HttpTransport, RetryPolicy, TransportError, TransportErrorKind};
use foundry_client::{
    CreateResponse, Delivery, Error, ErrorKind, FoundryClient, Item, Response, ResponseEvent, SseDecoder,
};
use serde_json::Value;

fn files(folder: &str, extension: &str) -> Vec<(String, PathBuf)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}

fn turn() -> CreateResponse {
    CreateResponse::new().agent("helpdesk").conversation("conv_1").text("hello")
}

fn check_items(name: &str, expect: &Value, response: &Response) {
    if let Some(items) = expect["items"].as_array() {
        let kinds: Vec<_> = response.output.iter().map(|item| Value::from(item.kind().as_str())).collect();
        assert_eq!(&kinds, items, "{name}");
    }
}

fn check_error(name: &str, expect: &Value, kind: &str, error: &Error) {
    assert_eq!(error.kind().as_str(), kind, "{name}");
    assert_eq!(error.code(), expect["code"].as_str(), "{name}");
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains("marker"), "{name}: {shown}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        assert!(!format!("{error} {error:?}").contains("marker"), "{name}");
        source = error.source();
    }
}

#[tokio::test(start_paused = true)]
async fn every_body_gets_its_meaning() {
    let files = files("bodies", "json");
    assert!(files.len() >= 60, "{} bodies", files.len());
    for (name, path) in files {
        let fixture: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let body = match &fixture["body"] {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let headers = fixture["headers"].as_object().unwrap();
        let headers = headers.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned()));
        let step = Step::Answer {
            status: u16::try_from(fixture["status"].as_u64().unwrap()).unwrap(),
            headers: headers.collect(),
            chunks: vec![common::Chunk::Data(body.into())],
        };
        let script = Script::new([step]);
        let credential = Arc::new(Tokens { fixed: true, ..Tokens::default() });
        let client = script.builder().credential(credential).retry(RetryPolicy::never()).build().unwrap();
        let result = client.responses().create(turn()).await;
        let expect = &fixture["expect"];
        if let Some(kind) = expect["kind"].as_str() {
            let error = result.expect_err(&name);
            check_error(&name, expect, kind, &error);
            if let Some(resource) = expect["resource"].as_str() {
                let ErrorKind::NotFound(found) = error.kind() else { panic!("{name}") };
                assert_eq!(format!("{found:?}"), resource, "{name}");
            }
            if let Some(id) = expect["request_id"].as_str() {
                assert!(error.to_string().contains(id), "{name}: {error}");
            }
            for (member, found) in [("param", error.param()), ("source", error.error_source())] {
                assert!(expect[member].is_null() || expect[member].as_str() == found, "{name} {member}");
            }
            continue;
        }
        let response = result.expect(&name);
        assert_eq!(response.output_text(), expect["text"].as_str().unwrap(), "{name}");
        assert_eq!(response.refusal(), expect["refusal"].as_str(), "{name}");
        let problems: Vec<_> =
            expect["problems"].as_array().into_iter().flatten().map(|p| p.as_str().unwrap()).collect();
        assert_eq!(response.problems(), problems, "{name}");
        check_items(&name, expect, &response);
    }
}

#[tokio::test(start_paused = true)]
async fn every_stream_gets_its_meaning_in_any_chunks() {
    let files = files("streams", "sse");
    assert!(files.len() >= 40, "{} streams", files.len());
    for (name, path) in files {
        let text = fs::read_to_string(&path).unwrap();
        let expect: Value = serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
        for size in [1, 7, 64, 1_000_000] {
            let script = Script::new([sse(&text, size)]);
            let mut stream = script.client().responses().stream(turn()).await.unwrap();
            let (mut events, mut error) = (Vec::new(), None);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => events.push(event),
                    Err(found) => error = Some(found),
                }
            }
            assert_eq!(stream.output_text(), expect["text"].as_str().unwrap(), "{name}");
            assert_eq!(events.len() as u64, expect["events"].as_u64().unwrap(), "{name}");
            let unknown = events.iter().filter(|event| event.problem().is_some()).count();
            assert_eq!(unknown as u64, expect["unknown"].as_u64().unwrap(), "{name}");
            match (expect["end"].as_str().unwrap(), error) {
                ("ok", None) => check_items(&name, &expect, events.last().and_then(ResponseEvent::response).unwrap()),
                ("ok", Some(error)) => panic!("{name}: {error}"),
                (kind, error) => check_error(&name, &expect, kind, &error.expect(&name)),
            }
        }
    }
}

/// Names and data of the frames of a stream that arrives in these pieces.
fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Option<String>, Vec<u8>)> {
    let mut decoder = SseDecoder::default();
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece.to_vec().into());
        while let Some(frame) = decoder.next_frame().unwrap() {
            found.push((frame.event().map(str::to_owned), frame.data().to_vec()));
        }
    }
    found
}

#[test]
fn every_stream_reads_alike_with_every_border_line_end_mark_and_comment() {
    for (name, path) in files("streams", "sse") {
        let text = fs::read_to_string(&path).unwrap();
        let expected = frames([text.as_bytes()]);
        assert!(!expected.is_empty(), "{name}");
        for border in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(border);
            assert_eq!(frames([head, tail]), expected, "{name}: a border at {border}");
        }
        assert_eq!(frames(text.as_bytes().chunks(1)), expected, "{name}: byte by byte");
        if text.contains('\r') {
            continue;
        }
        let marked = format!("\u{feff}{text}");
        let commented = text.replace("\n\n", "\n: a comment\n\n: keep-alive\n\n");
        for variant in [marked, commented] {
            for line_end in ["\n", "\r\n", "\r"] {
                let variant = variant.replace('\n', line_end);
                for size in [1, 2, 3, 16, variant.len()] {
                    let found = frames(variant.as_bytes().chunks(size));
                    assert_eq!(found, expected, "{name}: {line_end:?} in pieces of {size}");
                }
            }
        }
    }
}

/// A stream cut at any byte ends in an error unless its terminal event was complete.
#[test]
fn a_stream_cut_at_any_byte_has_no_terminal_event_before_its_last_frame() {
    for (name, path) in files("streams", "sse") {
        let text = fs::read(&path).unwrap();
        let ends = |frames: &mut SseDecoder| {
            let mut ended = false;
            while let Some(frame) = frames.next_frame().unwrap() {
                match ResponseEvent::from_frame(frame) {
                    Ok(Some(event)) => ended |= event.is_terminal(),
                    Ok(None) | Err(_) => return None,
                }
            }
            Some(ended)
        };
        let mut decoder = SseDecoder::default();
        let mut first = None;
        for (at, byte) in text.iter().enumerate() {
            decoder.push(vec![*byte].into());
            match ends(&mut decoder) {
                None => break,
                Some(true) => {
                    first = Some(at);
                    break;
                }
                Some(false) => {}
            }
        }
        // The terminal event counts from its blank line on, no byte earlier.
        if let Some(at) = first {
            assert!(matches!(text[at], b'\n' | b'\r') && matches!(text[at - 1], b'\n' | b'\r'), "{name}: at {at}");
        }
    }
}

/// Where the frames of a stream end, up to the one that decides its outcome; that is how much of it has to be there. A byte
/// more than there is when nothing ever decides.
fn frame_ends(text: &[u8]) -> (Vec<usize>, usize) {
    let mut decoder = SseDecoder::default();
    let mut ends = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        decoder.push(vec![*byte].into());
        while let Some(frame) = decoder.next_frame().unwrap() {
            match ResponseEvent::from_frame(frame) {
                Ok(Some(event)) if !event.is_terminal() => ends.push(at + 1),
                _ => return (ends, at + 1),
            }
        }
    }
    (ends, text.len() + 1)
}

/// Answers every request with these bytes, and then with their end or with a broken connection.
#[derive(Debug)]
struct Cut {
    piece: Mutex<Bytes>,
    breaks: bool,
}

#[async_trait]
impl HttpTransport for Cut {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let piece = self.piece.lock().unwrap().clone();
        let body = if self.breaks {
            let end = Err(TransportErrorKind::Interrupted.into());
            Body::stream(futures_util::stream::iter([Ok(piece), end]))
        } else {
            Body::from(piece)
        };
        Ok(http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
    }
}

/// What the client says to one stream at each place where it can be cut.
async fn cut_everywhere(name: &str, text: Bytes, breaks: bool) -> usize {
    let all = text.len();
    let (ends, decided) = frame_ends(&text);
    let cut = Arc::new(Cut { piece: Mutex::default(), breaks });
    let builder = FoundryClient::builder(common::PROJECT).credential(Arc::new(Tokens::default()));
    let client = builder.transport(Arc::clone(&cut) as Arc<dyn HttpTransport>).build().unwrap();
    let outcome = async |piece: Bytes| {
        *cut.piece.lock().unwrap() = piece;
        let stream = client.responses().stream(turn()).await.unwrap();
        let result = stream.finish().await.map_err(|error| (error.kind(), error.delivery()));
        result.map(|response| response.output_text())
    };
    let whole = outcome(text.clone()).await;
    let lost = if breaks { ErrorKind::Transport } else { ErrorKind::Truncated };
    for at in 0..all {
        let expected = if at < decided { Err((lost, Delivery::Ambiguous)) } else { whole.clone() };
        // Inside a frame the frames between the first one and this one say nothing more: where they end, all are sent.
        let begins = ends.iter().rev().find(|end| **end <= at).copied();
        let piece = match begins.filter(|begins| *begins < at && at < decided) {
            Some(begins) => [&text[..ends[0]], &text[begins..at]].concat().into(),
            None => text.slice(..at),
        };
        assert_eq!(outcome(piece).await, expected, "{name}: cut at {at} of {all}");
    }
    all
}

#[test]
fn every_stream_that_is_cut_at_any_byte_is_an_error_unless_its_outcome_was_known() {
    let streams: Vec<_> =
        files("streams", "sse").into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect();
    let next = AtomicUsize::new(0);
    let cuts = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
                let runtime = runtime.unwrap();
                while let Some((name, text)) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // An end and a broken connection are told apart in one place, which one stream shows.
                    for breaks in [false, true].into_iter().take(if name == "prompt_agent" { 2 } else { 1 }) {
                        let done = runtime.block_on(cut_everywhere(name, text.clone().into(), breaks));
                        cuts.fetch_add(done, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(cuts.into_inner() > streams.iter().map(|(_, text)| text.len()).sum());
}

#[test]
fn typed_items_read_field_by_field() {
    let item = |json: Value| serde_json::from_value::<Item>(json).unwrap();
    let Item::FunctionCall(call) = item(serde_json::json!({"type": "function_call", "call_id": "c", "name": "n",
        "arguments": "{}", "status": "completed", "namespace": "ns"}))
    else {
        panic!()
    };
    assert_eq!((call.call_id.as_str(), call.name.as_str(), call.arguments.as_str()), ("c", "n", "{}"));
    assert_eq!((call.status.unwrap().as_str(), call.namespace.as_deref()), ("completed", Some("ns")));
    let Item::McpCall(call) = item(serde_json::json!({"type": "mcp_call", "server_label": "s", "name": "n",
        "arguments": "{}", "output": null, "error": "old form", "approval_request_id": "mcpr_1"}))
    else {
        panic!()
    };
    assert_eq!((call.error.unwrap().as_str(), call.approval_request_id.as_deref()), ("\"old form\"", Some("mcpr_1")));
    let Item::McpApprovalRequest(ask) = item(serde_json::json!({"type": "mcp_approval_request", "id": "mcpr_1",
        "server_label": "s", "name": "n", "arguments": "{\"a\":1}"}))
    else {
        panic!()
    };
    assert_eq!((ask.server_label.as_str(), ask.name.as_str(), ask.arguments.as_str()), ("s", "n", "{\"a\":1}"));
    let Item::WorkflowAction(step) = item(serde_json::json!({"type": "workflow_action", "kind": "k", "action_id": "a",
        "parent_action_id": "p", "previous_action_id": "q", "status": "cancelled"}))
    else {
        panic!()
    };
    assert_eq!((step.action_kind.as_deref(), step.action_id.as_str()), (Some("k"), "a"));
    assert_eq!((step.parent_action_id.as_deref(), step.previous_action_id.as_deref()), (Some("p"), Some("q")));
    let Item::ToolOutput(output) = item(serde_json::json!({"type": "openapi_call_output", "call_id": "c", "name": "n",
        "output": {"a": 1}}))
    else {
        panic!()
    };
    assert_eq!((output.call_id.as_deref(), output.output.unwrap().as_str()), (Some("c"), "{\"a\":1}"));
    let Item::Reasoning(reasoning) = item(serde_json::json!({"type": "reasoning", "summary":
        [{"type": "summary_text", "text": "hm"}], "content": null}))
    else {
        panic!()
    };
    assert_eq!((reasoning.summary.len(), reasoning.content.len()), (1, 0));
    let Item::Message(easy) = item(serde_json::json!({"type": "message", "role": "user", "content": "plain"})) else {
        panic!()
    };
    assert_eq!(easy.text(), "plain");
}
