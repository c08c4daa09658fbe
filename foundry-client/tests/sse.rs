//! The line splitter against an independent one, and one test for each defect known from other splitters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::convert::Infallible;

use foundry_client::{SseCounters, SseDecoder, SseError, SseLimits};
use futures_util::StreamExt;
use proptest::prelude::*;
use sse_stream::SseStream;

type Frames = Vec<(Option<String>, String)>;

fn ours(chunks: &[&[u8]]) -> (Frames, SseCounters) {
    let mut decoder = SseDecoder::default();
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.push(chunk.to_vec().into());
        while let Some(frame) = decoder.next_frame().unwrap() {
            let data = String::from_utf8(frame.data().to_vec()).unwrap();
            frames.push((frame.event().map(str::to_owned), data));
        }
    }
    (frames, decoder.counters())
}

fn oracle(input: &[u8]) -> Frames {
    let body = futures_util::stream::iter([Ok::<_, Infallible>(bytes::Bytes::copy_from_slice(input))]);
    let blocks = SseStream::from_bytes_stream(body).map(|block| block.unwrap());
    let blocks: Vec<_> = futures_util::FutureExt::now_or_never(blocks.collect()).unwrap();
    let frame = |block: sse_stream::Sse| Some((block.event.filter(|name| !name.is_empty()), block.data?));
    blocks.into_iter().filter_map(frame).collect()
}

fn cut<'a>(input: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, tail) = rest.split_at((*size).min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

fn streams() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "data: ",
        "data:",
        "data",
        "event: ",
        "event:",
        "event",
        "id: 1",
        "retry: 5",
        ":",
        ": keep-alive",
        "foo: bar",
        "dataX: 1",
        " ",
        "a",
        "{\"x\":1}",
        "é",
        "😀",
        "\u{feff}",
        "\0",
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\r\r",
        "\r\n\r\n",
    ]);
    (any::<bool>(), prop::collection::vec(piece, 0..60)).prop_map(|(bom, pieces)| {
        let mut text = String::from(if bom { "\u{feff}" } else { "" });
        text.extend(pieces);
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_stream_in_any_chunks_reads_like_the_oracle(text in streams(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let expected = oracle(text.as_bytes());
        prop_assert_eq!(&ours(&[text.as_bytes()]).0, &expected);
        prop_assert_eq!(&ours(&cut(text.as_bytes(), &sizes)).0, &expected);
        prop_assert_eq!(&ours(&cut(text.as_bytes(), &[1])).0, &expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..400), size in 1_usize..50) {
        let mut decoder = SseDecoder::new(SseLimits::default().line(64).event(96));
        'all: for chunk in input.chunks(size) {
            decoder.push(chunk.to_vec().into());
            loop {
                match decoder.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }
}

const MIXED: &str =
    "\u{feff}: hi\r\nevent: é😀\rdata: {\"a\":\"ü\"}\r\n\r\ndata: 1\ndata: 2\n\n:\n\nevent: x\r\rdata:3\r\n\r\n";

#[test]
fn every_split_into_three_chunks_reads_the_same() {
    let input = MIXED.as_bytes();
    let expected = oracle(input);
    assert_eq!(expected.len(), 3);
    for first in 0..=input.len() {
        for second in first..=input.len() {
            let chunks = [&input[..first], &input[first..second], &input[second..]];
            assert_eq!(ours(&chunks).0, expected, "split at {first} and {second}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped_once_and_only_at_the_start() {
    let input = "\u{feff}data: a\n\n\u{feff}data: b\n\ndata: \u{feff}c\n\n".as_bytes();
    let expected = vec![(None, "a".to_owned()), (None, "\u{feff}c".to_owned())];
    for size in 1..input.len() {
        assert_eq!(ours(&cut(input, &[size])).0, expected);
    }
}

#[test]
fn carriage_returns_alone_end_lines() {
    let input = b"event: a\rdata: 1\r\revent: b\rdata: 2\r\r";
    let expected = vec![(Some("a".to_owned()), "1".to_owned()), (Some("b".to_owned()), "2".to_owned())];
    for size in 1..input.len() {
        assert_eq!(ours(&cut(input, &[size])).0, expected);
    }
}

#[test]
fn an_unfinished_last_frame_is_not_dispatched() {
    for input in ["data: a", "data: a\n", "event: x\n"] {
        let mut decoder = SseDecoder::default();
        decoder.push(input.as_bytes().to_vec().into());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.has_partial(), "{input}");
    }
}

#[test]
fn work_for_a_burst_is_linear_in_its_bytes() {
    let burst = |events: usize| {
        let text = "event: response.output_text.delta\ndata: {\"type\":\"x\",\"delta\":\"abc\"}\n\n".repeat(events);
        let (frames, counters) = ours(&cut(text.as_bytes(), &[1 << 20]));
        assert_eq!(frames.len(), events);
        (counters, text.len() as u64)
    };
    let (small, _) = burst(5_000);
    let (large, bytes) = burst(50_000);
    assert!(large.scanned <= 2 * bytes, "{large:?}");
    // Only the line on each chunk border is copied.
    assert!(large.copied <= 5 * 100, "{large:?}");
    assert!(large.scanned <= small.scanned * 10 + 1_000, "{small:?} {large:?}");
}

#[test]
fn work_for_one_large_event_is_linear_in_its_bytes() {
    let large = |size: usize| {
        let text = format!("data: {}\n\n", "x".repeat(size - 8));
        let (frames, counters) = ours(&cut(text.as_bytes(), &[1_024]));
        assert_eq!(frames[0].1.len(), size - 8);
        counters
    };
    let (one, four) = (large(1 << 20), large(4 << 20));
    assert!(four.scanned <= (4 << 20) + 4_096 * 2, "{four:?}");
    assert!(four.copied <= 3 * (4 << 20), "{four:?}");
    assert!(four.copied <= 5 * one.copied && four.scanned <= 5 * one.scanned, "{one:?} {four:?}");
}

#[test]
fn work_for_many_data_lines_is_linear() {
    let many = |lines: usize| {
        let text = "data: 0123456789\n".repeat(lines) + "\n";
        let (frames, counters) = ours(&[text.as_bytes()]);
        assert_eq!(frames[0].1.len(), lines * 11 - 1);
        counters.copied
    };
    assert!(many(100_000) <= 11 * many(10_000));
}

#[test]
fn a_stream_without_line_ends_or_blank_lines_is_stopped() {
    let mut decoder = SseDecoder::new(SseLimits::default().line(1_000).event(5_000));
    let mut error = None;
    for _ in 0..10 {
        decoder.push(vec![b'x'; 300].into());
        error = error.or_else(|| decoder.next_frame().err());
    }
    assert_eq!(error, Some(SseError::LineTooLong(1_000)));

    let mut decoder = SseDecoder::new(SseLimits::default().line(1_000).event(5_000));
    let mut error = None;
    for _ in 0..100 {
        decoder.push(format!("data: {}\n", "x".repeat(200)).into());
        error = error.or_else(|| decoder.next_frame().err());
    }
    assert_eq!(error, Some(SseError::EventTooLong(5_000)));
}

#[test]
fn comments_count_as_life() {
    let mut decoder = SseDecoder::default();
    decoder.push(": keep-alive\n\n".into());
    assert_eq!(decoder.next_frame(), Ok(None));
    assert_eq!(decoder.counters().lines, 2);
}
