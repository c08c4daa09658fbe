//! What targets share.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{Body, HttpTransport, ManualClock, TransportError, TransportErrorKind};
use http::{Request, Response, header};
use serde_json::{Value, value::RawValue};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use super::super::lock;
use crate::{Fault, world};

/// A text that seeds carry where secrets stand. It must not appear in any error. No error code looks like it.
pub(super) const CANARY: &str = "canary/secret+of/this+run";

/// Runs futures in simulated time.
pub(super) struct Simulated(Runtime);

impl Simulated {
    pub(super) fn new() -> Result<Self, Fault> {
        Ok(Self(world::paused()?))
    }

    /// Runs a future to its end; an hour is longer than any time-out.
    pub(super) fn run<F: Future>(&self, future: F) -> Result<F::Output, String> {
        self.0
            .block_on(async { tokio::time::timeout(Duration::from_secs(3600), future).await })
            .map_err(|_| "waits for ever".into())
    }
}

pub(super) fn clock() -> Result<Arc<ManualClock>, Fault> {
    Ok(Arc::new(ManualClock::at(OffsetDateTime::from_unix_timestamp(world::EPOCH)?)))
}

/// A number that depends on the input alone, so that an input can be tried again.
pub(super) fn hash(input: &[u8]) -> u64 {
    let sum = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    sum ^ (sum >> 32)
}

/// Answers everything with the same bytes.
#[derive(Debug, Default)]
pub(super) struct Answer {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: Bytes,
    /// For addresses that end like this there is another body.
    special: Option<(String, Bytes)>,
    asked: Vec<String>,
}

impl Answer {
    pub(super) fn set(&self, status: u16, headers: &'static [(&'static str, &'static str)], body: &[u8]) {
        let mut state = lock(&self.state);
        state.status = status;
        state.headers = headers;
        state.body = Bytes::copy_from_slice(body);
        state.asked.clear();
    }

    /// Answers with one of these statuses and a pause, both by this number; returns the status.
    pub(super) fn set_any(&self, number: u64, statuses: &[u16], body: &[u8]) -> u16 {
        let place = |number: u64, of: usize| usize::try_from(number).unwrap_or(0) % of;
        let status = statuses[place(number, statuses.len())];
        let round = number / statuses.len() as u64;
        self.set(status, PAUSES[place(round, PAUSES.len())], body);
        status
    }

    pub(super) fn special(&self, end: &str, body: Vec<u8>) {
        lock(&self.state).special = Some((end.into(), body.into()));
    }

    /// The addresses that were asked since the last [`Answer::set`].
    pub(super) fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }
}

#[async_trait]
impl HttpTransport for Answer {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let mut state = lock(&self.state);
        let address = request.uri().to_string();
        let special = state.special.as_ref().filter(|(end, _)| !address.ends_with(end.as_str())).map(|(_, body)| body);
        let (status, body) = match special {
            Some(body) => (200, body.clone()),
            None => (state.status, state.body.clone()),
        };
        let mut answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in state.headers {
            answer = answer.header(*name, *value);
        }
        state.asked.push(address);
        answer.body(Body::from(body)).map_err(|_| TransportErrorKind::Other.into())
    }
}

/// Headers that ask for a pause, or for nonsense.
const PAUSES: &[&[(&str, &str)]] = &[
    &[],
    &[("retry-after", "1")],
    &[("retry-after", "-5")],
    &[("retry-after", "1e300")],
    &[("retry-after", "NaN")],
    &[("retry-after", "99999999999999999999999")],
    &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")],
    &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")],
    &[("retry-after-ms", "250")],
    &[("retry-after-ms", "inf")],
    &[("x-ms-retry-after-ms", "18446744073709551616")],
    &[("www-authenticate", r#"Bearer error="insufficient_claims", claims="eyJhIjoi""#)],
];

/// The header and payload of a compact token.
pub(super) fn signed_part(token: &[u8]) -> &[u8] {
    let end = token.iter().rposition(|byte| *byte == b'.').unwrap_or(token.len());
    token.get(..end).unwrap_or_default()
}

/// A JSON object that names nothing twice. What is JSON but more than a number can hold reads as null.
pub(super) fn object(json: &[u8]) -> Option<serde_json::Map<String, Value>> {
    struct Pairs(Vec<(String, Box<RawValue>)>);

    impl<'de> serde::Deserialize<'de> for Pairs {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;

            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Pairs;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                    let mut pairs = Vec::new();
                    while let Some(pair) = map.next_entry()? {
                        pairs.push(pair);
                    }
                    Ok(Pairs(pairs))
                }
            }

            deserializer.deserialize_map(Visitor)
        }
    }

    let Pairs(pairs) = serde_json::from_slice(json).ok()?;
    let mut names = HashSet::new();
    let once = pairs.iter().all(|(name, _)| names.insert(name.clone()));
    let value = |raw: &RawValue| serde_json::from_str(raw.get()).unwrap_or_default();
    once.then(|| pairs.iter().map(|(name, raw)| (name.clone(), value(raw))).collect())
}

/// Fails when an error says what only the other side knows.
pub(super) fn silent(error: &(impl std::fmt::Display + std::fmt::Debug)) -> Result<(), String> {
    let text = format!("{error} {error:?}");
    if text.contains(CANARY) { Err("an error quotes what it must not".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_for_the_second_opinion() {
        assert!(object(br#"{"a":1,"a":2}"#).is_none());
        assert!(object(b"[]").is_none() && object(b"{").is_none());
        // Found by fuzzing: JSON, in a claim that no rule reads.
        let read = object(br#"{"a":{"b":-1e400},"c":"d"}"#).unwrap();
        assert_eq!((&read["a"], &read["c"]), (&Value::Null, &"d".into()));
    }
}
