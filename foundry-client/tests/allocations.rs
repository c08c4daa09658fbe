//! What an event of a stream costs in memory: counted, because a time on a shared machine proves little.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::alloc::System;

use bytes::Bytes;
use foundry_client::{OutputTextFold, ResponseEvent, SseDecoder};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EVENTS: usize = 2_000;

fn delta(number: usize) -> String {
    format!(
        "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\
         \"item_id\":\"msg_0123456789abcdef0123456789abcdef\",\"output_index\":0,\"content_index\":0,\"delta\":\" word\",\
         \"logprobs\":[],\"obfuscation\":\"abcdefgh\"}}\n\n"
    )
}

fn pieces(size: Option<usize>) -> Vec<Bytes> {
    let events: Vec<String> = (0..EVENTS).map(delta).collect();
    match size {
        None => events.into_iter().map(Bytes::from).collect(),
        Some(size) => events.concat().into_bytes().chunks(size).map(Bytes::copy_from_slice).collect(),
    }
}

/// Feeds the pieces, gives each event to `take`, and counts allocations and reallocations.
fn count(pieces: Vec<Bytes>, mut take: impl FnMut(&ResponseEvent)) -> usize {
    let mut decoder = SseDecoder::default();
    let region = Region::new(ALLOCATOR);
    let mut events = 0;
    for piece in pieces {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame().unwrap() {
            take(&ResponseEvent::from_frame(frame).unwrap().unwrap());
            events += 1;
        }
    }
    let change = region.change();
    assert_eq!(events, EVENTS);
    change.allocations + change.reallocations
}

/// One test: the counter is that of the process.
#[test]
fn deltas_cost_no_memory_of_their_own() {
    let mut buffer = String::with_capacity(EVENTS * 16);
    let appended = |buffer: &mut String, size| {
        buffer.clear();
        count(pieces(size), |event| buffer.push_str(event.output_text_delta().unwrap()))
    };
    // In one piece nothing at all is allocated but the piece's own reference count.
    let whole = appended(&mut buffer, Some(usize::MAX));
    assert!(whole <= 2, "{whole} allocations for {EVENTS} events in one piece");
    assert_eq!(buffer.len(), EVENTS * " word".len());
    // Alone: the reference count of its piece, which the transport made.
    let alone = appended(&mut buffer, None);
    assert!(alone <= EVENTS, "{alone} allocations for {EVENTS} events alone");
    // In bursts: a few for each piece, for the event that two pieces share.
    let burst = appended(&mut buffer, Some(16 << 10));
    let bound = pieces(Some(16 << 10)).len() * 8;
    assert!(burst <= bound, "{burst} allocations for {EVENTS} events in bursts, at most {bound}");
    // With our own fold: its text grows, and that is all.
    let mut fold = OutputTextFold::new();
    let folded = count(pieces(None), |event| fold.apply(event));
    assert!(folded <= 2 * EVENTS, "{folded} allocations for {EVENTS} events with the fold");
    println!(
        "allocations an event: alone {}, bursts {}, whole {}, with the fold {}",
        per(alone),
        per(burst),
        per(whole),
        per(folded)
    );
}

fn per(count: usize) -> String {
    format!("{}.{:03}", count / EVENTS, count % EVENTS * 1_000 / EVENTS)
}
