//! Decoding of a Responses stream: frames and typed events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a driver stops at the first surprise

use bytes::Bytes;
use foundry_client::{OutputTextFold, ResponseEvent, SseDecoder, SseLimits};
use lab::{Watch, fixture, number, variable};
use serde_json::Value;

fn main() {
    let stream = fixture("sse/stream.sse");
    let pieces = match variable("PERF_MODE").as_deref() {
        Some("burst") => stream.chunks(16 << 10).map(Bytes::copy_from_slice).collect(),
        _ => one_event_a_piece(&stream),
    };
    let (n, warm) = (number("PERF_N", 100_000), number("PERF_WARM", 4_000));
    let run = |least: usize| {
        let mut events = 0;
        while events < least {
            events += decode(&pieces);
        }
        events
    };
    run(warm);
    let watch = Watch::start();
    let events = run(n);
    let mut result = watch.stop(events);
    result.insert("events".into(), events.into());
    result.insert("bytes".into(), stream.len().into());
    println!("{}", Value::Object(result));
}

fn decode(pieces: &[Bytes]) -> usize {
    let mut decoder = SseDecoder::new(SseLimits::default());
    let mut text = OutputTextFold::new();
    let mut events = 0;
    for piece in pieces {
        decoder.push(piece.clone());
        while let Some(frame) = decoder.next_frame().unwrap() {
            if let Some(event) = ResponseEvent::from_frame(frame).unwrap() {
                text.apply(&event);
            }
            events += 1;
        }
    }
    assert!(!text.is_empty());
    events
}

fn one_event_a_piece(stream: &[u8]) -> Vec<Bytes> {
    let text = std::str::from_utf8(stream).unwrap();
    text.split_inclusive("\n\n").map(|event| Bytes::copy_from_slice(event.as_bytes())).collect()
}
