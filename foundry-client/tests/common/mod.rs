//! A scripted transport and credential: no sockets, paused time.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{
    AccessToken, Body, Error as TokenError, ErrorKind as TokenErrorKind, HttpTransport, TokenCredential, TokenRequest,
    TransportError, TransportErrorKind,
};
use foundry_client::{FoundryClient, FoundryClientBuilder};
use time::OffsetDateTime;

pub const PROJECT: &str = "https://acme.services.ai.azure.com/api/projects/demo";

pub enum Step {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        chunks: Vec<Chunk>,
    },
    Fail(TransportErrorKind),
    Hang,
    /// The same, after this time.
    Late(Duration, Box<Self>),
}

#[derive(Clone)]
pub enum Chunk {
    Data(Bytes),
    Wait(Duration),
    Break(TransportErrorKind),
    Hang,
}

pub fn answer(status: u16, body: impl Into<Bytes>) -> Step {
    Step::Answer {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        chunks: vec![Chunk::Data(body.into())],
    }
}

pub fn with(step: Step, name: &str, value: &str) -> Step {
    match step {
        Step::Answer { status, mut headers, chunks } => {
            headers.push((name.into(), value.into()));
            Step::Answer { status, headers, chunks }
        }
        other => other,
    }
}

pub fn events(chunks: Vec<Chunk>) -> Step {
    let headers = vec![("content-type".into(), "text/event-stream; charset=utf-8".into())];
    Step::Answer { status: 200, headers, chunks }
}

pub fn sse(text: &str, chunk: usize) -> Step {
    events(text.as_bytes().chunks(chunk.max(1)).map(|part| Chunk::Data(Bytes::copy_from_slice(part))).collect())
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub at: tokio::time::Instant,
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
pub struct Script {
    steps: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub dropped: Arc<Mutex<u32>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let script = Self::default();
        script.steps.lock().unwrap().extend(steps);
        script
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn builder(&self) -> FoundryClientBuilder {
        FoundryClient::builder(PROJECT).credential(Arc::new(Tokens::default())).transport(Arc::new(self.clone()))
    }

    pub fn client(&self) -> FoundryClient {
        self.builder().build().unwrap()
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        self.seen.lock().unwrap().push(Seen {
            method: head.method.to_string(),
            uri: head.uri.to_string(),
            headers: head.headers,
            body: body.as_bytes().cloned().unwrap_or_default(),
            at: tokio::time::Instant::now(),
        });
        let mut step = self.steps.lock().unwrap().pop_front().expect("a request the script does not foresee");
        while let Step::Late(time, late) = step {
            tokio::time::sleep(time).await;
            step = *late;
        }
        match step {
            Step::Late(..) => unreachable!("the loop ends with another step"),
            Step::Fail(kind) => Err(kind.into()),
            Step::Hang => std::future::pending().await,
            Step::Answer { status, headers, chunks } => {
                let mut response = http::Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                let guard = Dropped(Arc::clone(&self.dropped));
                let body = futures_util::stream::unfold((VecDeque::from(chunks), guard), next);
                Ok(response.body(Body::stream(body)).unwrap())
            }
        }
    }
}

struct Dropped(Arc<Mutex<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

type Rest = (VecDeque<Chunk>, Dropped);

async fn next((mut chunks, guard): Rest) -> Option<(Result<Bytes, TransportError>, Rest)> {
    loop {
        match chunks.pop_front()? {
            Chunk::Data(data) => return Some((Ok(data), (chunks, guard))),
            Chunk::Wait(time) => tokio::time::sleep(time).await,
            Chunk::Break(kind) => return Some((Err(kind.into()), (chunks, guard))),
            Chunk::Hang => std::future::pending().await,
        }
    }
}

/// Makes `token-1`, and another one whenever the last was rejected or claims are asked for.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    pub made: Arc<Mutex<u32>>,
    pub requests: Arc<Mutex<Vec<TokenRequest>>>,
    pub fixed: bool,
    pub fails: Option<TokenErrorKind>,
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.requests.lock().unwrap().push(request.clone());
        if let Some(kind) = self.fails {
            return Err(TokenError::new(kind, "no token"));
        }
        let mut made = self.made.lock().unwrap();
        if *made == 0 || (!self.fixed && (request.rejected.is_some() || request.claims.is_some())) {
            *made += 1;
        }
        AccessToken::new(format!("token-{made}"), OffsetDateTime::UNIX_EPOCH)
    }
}
