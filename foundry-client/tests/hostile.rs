//! Damaged and hostile input: bodies, streams and errors with bytes changed, cut and repeated. Nothing panics, nothing is
//! shown, and what reads is written back as it came.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Chunk, Script, Step, events};
use entra_auth::RetryPolicy;
use foundry_client::agents::{Agent, AgentDefinition, AgentEndpoint};
use foundry_client::tool::Tool;
use foundry_client::{CreateResponse, Item, Page, RawJson, Response, ResponseEvent, SseDecoder};
use proptest::prelude::*;
use serde_json::Value;

fn fixtures(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Damage {
    Put(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    let parts =
        ["null", "[]", "{}", "\"", "\\u0000", "\\ud800", "1e999", "-0", ",", "\n\ndata: ", "\r", "\u{feff}", "【】"];
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Put(at, byte)),
        index().prop_map(Damage::Cut),
        (index(), index()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (index(), prop::sample::select(parts.to_vec())).prop_map(|(at, part)| Damage::Insert(at, part)),
    ]
}

fn apply(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match damage {
            Damage::Put(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(length)),
            Damage::Repeat(from, to) => {
                let (a, b) = (from.index(length), to.index(length));
                let part = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.splice(a.min(b)..a.min(b), part);
            }
            Damage::Insert(at, part) => {
                let at = at.index(length);
                bytes.splice(at..at, part.bytes());
            }
        }
    }
    bytes
}

/// Everything a body could be read as.
fn read(bytes: &[u8]) {
    if let Ok(response) = serde_json::from_slice::<Response>(bytes) {
        let _ = (response.output_text(), response.answer_text(), response.refusal(), response.citations());
        let _ = (response.approval_requests(), response.consent_requests(), response.output_json::<Value>());
        for item in &response.output {
            assert_eq!(serde_json::to_string(item).unwrap(), item.raw().as_str());
            let _ = item.as_message().map(|message| message.content.iter().for_each(marked));
        }
    }
    let _ = serde_json::from_slice::<Page<Item>>(bytes);
    let _ = serde_json::from_slice::<Agent>(bytes);
    let _ = serde_json::from_slice::<AgentDefinition>(bytes);
    let _ = serde_json::from_slice::<AgentEndpoint>(bytes);
    if let Ok(raw) = RawJson::from_bytes(bytes.to_vec().into()) {
        let _ = Tool::from_raw(raw).raw();
    }
}

fn marked(part: &foundry_client::Content) {
    if let foundry_client::Content::OutputText(text) = part {
        let _ = text.with_marks();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_bodies_are_read_or_refused(which in any::<prop::sample::Index>(), damages in prop::collection::vec(damage(), 0..6)) {
        let all = fixtures("bodies", "json");
        let fixture: Value = serde_json::from_slice(&all[which.index(all.len())]).unwrap();
        let whole = fixture["body"].to_string().into_bytes();
        let bytes = apply(whole, &damages);
        read(&bytes);
    }

    #[test]
    fn damaged_answers_are_errors_that_show_nothing(
        which in any::<prop::sample::Index>(),
        status in prop::sample::select(vec![200_u16, 302, 400, 401, 403, 404, 409, 424, 429, 500, 503]),
        damages in prop::collection::vec(damage(), 0..6),
    ) {
        let all = fixtures("bodies", "json");
        let fixture: Value = serde_json::from_slice(&all[which.index(all.len())]).unwrap();
        let bytes = apply(fixture["body"].to_string().into_bytes(), &damages);
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let again = |bytes: Vec<u8>| Step::Answer { status, headers: headers.clone(), chunks: vec![Chunk::Data(bytes.into())] };
        let script = Script::new([again(bytes.clone()), again(bytes)]);
        let client = script.builder().retry(RetryPolicy::never()).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let result = runtime.block_on(client.responses().create(CreateResponse::new().agent("a").text("x")));
        if let Err(error) = result {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("marker"), "shown");
            let _ = (error.missing_role(), error.missing_feature(), error.conversation_fault());
        }
    }

    #[test]
    fn damaged_streams_end(which in any::<prop::sample::Index>(), size in 1_usize..400, damages in prop::collection::vec(damage(), 0..6)) {
        let all = fixtures("streams", "sse");
        let bytes = apply(all[which.index(all.len())].clone(), &damages);
        let mut decoder = SseDecoder::default();
        for piece in bytes.chunks(size) {
            decoder.push(piece.to_vec().into());
            while let Ok(Some(frame)) = decoder.next_frame() {
                if let Ok(Some(event)) = ResponseEvent::from_frame(frame) {
                    let _ = (event.kind(), event.problem(), event.response().map(Response::output_text));
                }
            }
        }
        let chunks = bytes.chunks(size).map(|piece| Chunk::Data(piece.to_vec().into())).collect();
        let script = Script::new([events(chunks)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut stream = script.client().responses().stream(CreateResponse::new().agent("a").text("x")).await.unwrap();
            let mut last = Ok(());
            while let Some(event) = stream.next().await {
                last = event.map(drop);
            }
            // Complete, or told.
            let ended = stream.finish().await.is_ok();
            assert!(ended || last.is_err(), "a silent end");
        });
    }
}
