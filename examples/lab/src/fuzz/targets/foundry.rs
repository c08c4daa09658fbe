//! What Foundry sends.

use std::sync::Arc;

use bytes::Bytes;
use entra_auth::{RetryPolicy, StaticCredential};
use foundry_client::{
    Annotation, Content, CreateResponse, FoundryClient, Item, OutputTextFold, RawJson, Response, ResponseEvent,
    SseDecoder, SseFrame, SseLimits,
};

use super::{
    super::{Harness, Seen, corpus, mutate},
    support::{Answer, CANARY, Simulated, clock, hash, silent},
};
use crate::{Fault, Random};

struct Stream {
    seeds: Vec<Vec<u8>>,
}

pub(super) fn make_stream(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    Ok(Box::new(Stream { seeds: corpus::files("foundry-client/tests/fixtures/streams", "sse")? }))
}

impl Harness for Stream {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = base.to_vec();
        match random.below(3) {
            0 => mutate::json(random, &mut input, other),
            _ => mutate::bytes(random, &mut input, other),
        }
        input
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let whole = frames(&[input]);
        let mut random = Random::new(hash(input));
        let (mut pieces, mut rest) = (Vec::new(), input);
        while !rest.is_empty() {
            let size = if random.once_in(3) { 1 } else { 1 + random.index(200) };
            let (piece, next) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = next;
        }
        if frames(&pieces) != whole {
            return Err("a stream reads differently when it comes in other pieces".into());
        }
        let (frames, failed) = whole;
        let mut text = OutputTextFold::new();
        let (mut typed, mut unknown, mut bad) = (0, 0, 0);
        for (event, data) in frames {
            match ResponseEvent::from_frame(SseFrame::new(event.as_deref(), data)) {
                Ok(Some(event)) => {
                    text.apply(&event);
                    let _ = (event.kind(), event.is_terminal(), event.output_text_delta());
                    event.response().map(read_response);
                    if event.problem().is_some() { unknown += 1 } else { typed += 1 }
                }
                Ok(None) => {}
                Err(_) => bad += 1,
            }
        }
        let class = format!("{failed} {} {} {}", typed.min(3), unknown.min(3), bad.min(3));
        Ok(Seen { accepted: typed > 0, class })
    }
}

type Frames = (Vec<(Option<String>, Bytes)>, bool);

fn frames(pieces: &[&[u8]]) -> Frames {
    let mut decoder = SseDecoder::new(SseLimits::default());
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push((frame.event().map(str::to_owned), frame.data().clone())),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

struct Body {
    seeds: Vec<Vec<u8>>,
}

pub(super) fn make_response(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    Ok(Box::new(Body { seeds: corpus::foundry_bodies()? }))
}

impl Harness for Body {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let raw = RawJson::from_bytes(Bytes::copy_from_slice(input));
        if let Ok(raw) = &raw {
            let _ = Item::from_raw(raw.clone()).problem();
            let _ = Content::from_raw(raw.clone()).problem();
            let _ = Annotation::from_raw(raw.clone()).problem();
        }
        match serde_json::from_slice::<Response>(input) {
            Ok(response) => {
                if raw.is_err() {
                    return Err("a response out of something that is no JSON".into());
                }
                read_response(&response);
                let problems = response.problems().len().min(2);
                Ok(Seen::accepted(format!("{:?} {} {problems}", response.status, response.output.len().min(3))))
            }
            Err(_) => Ok(Seen::refused(if raw.is_ok() { "no response" } else { "no JSON" })),
        }
    }
}

fn read_response(response: &Response) {
    let _ = (response.output_text(), response.answer_text(), response.refusal(), response.is_content_filtered());
    for item in &response.output {
        let _ = (item.id(), item.kind(), item.agent_reference(), item.problem());
        item.as_message().map(foundry_client::item::Message::text);
    }
}

struct Answers {
    runtime: Simulated,
    answer: Arc<Answer>,
    client: FoundryClient,
    seeds: Vec<Vec<u8>>,
}

pub(super) fn make_answer(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let answer = Arc::new(Answer::default());
    let client = FoundryClient::builder("https://account.services.ai.azure.com/api/projects/project")
        .credential(Arc::new(StaticCredential::new("token")?))
        .transport(answer.clone())
        .retry(RetryPolicy::never())
        .clock(clock()?)
        .build()?;
    let mut seeds = corpus::foundry_bodies()?;
    seeds.push(
        format!(r#"{{"error":{{"code":"invalid_prompt","message":"{CANARY}","param":"input","type":"x"}}}}"#)
            .into_bytes(),
    );
    seeds.push(b"<html>gateway</html>".to_vec());
    seeds.push(Vec::new());
    Ok(Box::new(Answers { runtime: Simulated::new()?, answer, client, seeds }))
}

impl Harness for Answers {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let number = hash(input);
        let status = self.answer.set_any(
            number,
            &[200, 200, 400, 401, 403, 404, 408, 409, 412, 422, 424, 429, 500, 502, 503, 504],
            input,
        );
        let request = CreateResponse::new().agent("helpdesk").text("hello");
        match self.runtime.run(self.client.responses().create(request))? {
            Ok(_) if status != 200 => Err(format!("a response out of an answer with status {status}")),
            Ok(response) => {
                read_response(&response);
                Ok(Seen::accepted(format!("{:?}", response.status)))
            }
            Err(error) => {
                silent(&error)?;
                Ok(Seen::refused(format!("{status} {:?} {:?}", error.kind(), error.delivery())))
            }
        }
    }
}
