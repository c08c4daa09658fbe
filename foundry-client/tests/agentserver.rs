//! Our client against the Responses server that hosted agents run (PyPI `azure-ai-agentserver-responses`), on loopback.
#![cfg(feature = "tools")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod programs;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use entra_auth::{Body, HttpTransport, ReqwestTransport, TransportError, TransportErrorKind};
use foundry_client::tools::{ToolError, ToolFunction, ToolLoop, ToolSet};
use foundry_client::{
    CreateResponse, Decision, ErrorKind, EventKind, FoundryClient, IncompleteReason, Item, ListItems, Polling,
    Resource, ResponseStatus, Target,
};
use futures_util::StreamExt;
use programs::{Running, free_port, python, script};

struct Server {
    client: FoundryClient,
    url: String,
    _process: Running,
}

fn client(url: &str, transport: Arc<dyn HttpTransport>) -> FoundryClient {
    let builder = FoundryClient::builder(url).target(Target::Base).api_key("local").transport(transport);
    builder.build().unwrap()
}

async fn server() -> Option<Server> {
    let python = python()?;
    let port = free_port();
    let home = std::env::temp_dir().join(format!("foundry-agentserver-{port}"));
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(python);
    command.arg(script("agentserver.py")).arg(port.to_string()).env("HOME", &home).current_dir(&home);
    let process = Running::start(&mut command);
    let url = format!("http://127.0.0.1:{port}");
    let transport = Arc::new(ReqwestTransport::new().unwrap());
    let start = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(120), "the server did not start");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Some(Server { client: client(&url, transport), url, _process: process })
}

fn say(text: &str) -> CreateResponse {
    CreateResponse::new().text(text)
}

/// One test, for one server: it takes seconds to start.
#[tokio::test]
async fn hosted_agents_are_understood() {
    let Some(server) = server().await else { return };
    let whole = tokio::time::timeout(Duration::from_secs(300), async {
        answers(&server.client).await;
        streams(&server.client).await;
        background(&server.client).await;
        resumes(&server).await;
        refusals(&server.client).await;
        tools(&server.client).await;
    });
    whole.await.expect("in time");
}

async fn answers(client: &FoundryClient) {
    let responses = client.responses();
    let text = responses.create(say("hello")).await.unwrap();
    assert_eq!((text.output_text().as_str(), &text.status), ("You said: hello", &ResponseStatus::COMPLETED));
    assert!(text.problems().is_empty() && text.agent_session_id.is_some());
    assert!(text.output.iter().all(|item| item.problem().is_none()));

    let call = responses.create(say("call")).await.unwrap();
    let Item::FunctionCall(call) = &call.output[0] else { panic!("{call:?}") };
    assert_eq!((call.name.as_str(), call.arguments.as_str()), ("get_weather", r#"{"city":"Ghent"}"#));

    let cut = responses.create(say("incomplete")).await.unwrap();
    assert_eq!(
        (&cut.status, cut.incomplete_reason),
        (&ResponseStatus::INCOMPLETE, Some(IncompleteReason::MAX_OUTPUT_TOKENS))
    );
    assert_eq!(responses.create(say("failed")).await.unwrap_err().kind(), ErrorKind::Throttled);
    let crash = responses.create(say("crash")).await.unwrap_err();
    assert_eq!((crash.kind(), crash.code()), (ErrorKind::ResponseFailed, Some("server_error")));

    let ask = responses.create(say("approve")).await.unwrap();
    let asked = &ask.approval_requests()[0];
    assert_eq!((asked.server_label.as_str(), asked.tool.as_str()), ("jira", "create"));
    let answer = CreateResponse::new().previous_response_id(&ask.id).item(asked.decide(Decision::Approve));
    assert_eq!(responses.create(answer).await.unwrap().status, ResponseStatus::COMPLETED);
}

async fn streams(client: &FoundryClient) {
    let responses = client.responses();
    for (what, last, text) in [
        ("steps", EventKind::COMPLETED, "one two three "),
        ("call", EventKind::COMPLETED, ""),
        ("incomplete", EventKind::INCOMPLETE, "half an answer"),
    ] {
        let mut stream = responses.stream(say(what)).await.unwrap();
        assert!(stream.agent_session_id().is_some());
        let mut kinds = Vec::new();
        let mut next = 0;
        while let Some(event) = stream.next().await {
            let event = event.unwrap();
            assert_eq!((event.problem(), event.sequence_number()), (None, Some(next)), "{what}");
            next += 1;
            kinds.push(event.kind());
        }
        assert_eq!((kinds.first(), kinds.last()), (Some(&EventKind::CREATED), Some(&last)), "{what}");
        assert_eq!(stream.output_text(), text);
    }
    for (what, kind) in [("failed", ErrorKind::Throttled), ("crash", ErrorKind::ResponseFailed)] {
        let error = responses.stream(say(what)).await.unwrap().finish().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}");
        assert!(!format!("{error} {error:?}").contains("slow down"));
    }
    // The server sends comments in the pauses.
    let mut stream = responses.stream(say("slow")).await.unwrap();
    let mut deltas = 0;
    while let Some(event) = stream.next().await {
        deltas += usize::from(event.unwrap().output_text_delta().is_some());
    }
    assert_eq!((deltas, stream.output_text().as_str()), (6, "one two three four five six "));
}

async fn background(client: &FoundryClient) {
    let responses = client.responses();
    let queued = responses.create(say("steps").background(true)).await.unwrap();
    assert!(queued.status.is_pending(), "{:?}", queued.status);
    let polling = Polling::default().every(Duration::from_millis(100)).at_most(Duration::from_secs(60));
    let done = responses.wait(&queued.id, polling).await.unwrap();
    assert_eq!((done.output_text().as_str(), done.id.as_str()), ("one two three ", queued.id.as_str()));
    let input = responses.input_items(&queued.id, &ListItems::new()).await.unwrap();
    assert_eq!(input.data[0].as_message().unwrap().text(), "steps");

    let late = responses.cancel(&queued.id).await.unwrap_err();
    assert_eq!((late.kind(), late.status()), (ErrorKind::InvalidRequest, Some(400)));
    let slow = responses.create(say("slow").background(true)).await.unwrap();
    let cancelled = responses.cancel(&slow.id).await.unwrap();
    assert_eq!(cancelled.status, ResponseStatus::CANCELLED);
    assert_eq!(responses.wait(&slow.id, polling).await.unwrap().status, ResponseStatus::CANCELLED);

    let gone = responses.delete(&queued.id).await.unwrap();
    assert!(gone.deleted && gone.id == queued.id);
    let error = responses.get(&queued.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Resource::Response));
}

/// Cuts the body of the first stream after some bytes.
#[derive(Debug)]
struct Cuts {
    inner: ReqwestTransport,
    left: std::sync::atomic::AtomicUsize,
    after: usize,
}

#[async_trait]
impl HttpTransport for Cuts {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let response = self.inner.send(request).await?;
        let stream = response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream");
        let cuts = std::sync::atomic::Ordering::SeqCst;
        if !stream || self.left.fetch_update(cuts, cuts, |left| left.checked_sub(1)).is_err() {
            return Ok(response);
        }
        let mut room = self.after;
        Ok(response.map(|body| {
            Body::stream(body.map(move |chunk| {
                let chunk = chunk?;
                match room.checked_sub(chunk.len()) {
                    Some(rest) => room = rest,
                    None => return Err(TransportErrorKind::Interrupted.into()),
                }
                Ok(chunk)
            }))
        }))
    }
}

async fn resumes(server: &Server) {
    // By hand: the events behind the fourth.
    let responses = server.client.responses();
    let mut first = responses.stream(say("steps").background(true)).await.unwrap();
    let mut all = Vec::new();
    while let Some(event) = first.next().await {
        all.push(event.unwrap().sequence_number().unwrap());
    }
    let id = first.response_id().unwrap().to_owned();
    let mut again = responses.resume(&id, Some(4)).await.unwrap();
    let mut rest = Vec::new();
    while let Some(event) = again.next().await {
        rest.push(event.unwrap().sequence_number().unwrap());
    }
    assert_eq!(rest, all.iter().copied().filter(|number| *number > 4).collect::<Vec<_>>());
    assert_eq!(again.output_text(), "one two three ");
    // By itself: the connection breaks, the caller sees every event once.
    for after in [700, 2_000, 3_000] {
        let inner = ReqwestTransport::new().unwrap();
        let broken = client(&server.url, Arc::new(Cuts { inner, left: 1.into(), after }));
        let mut stream = broken.responses().stream(say("steps").background(true)).await.unwrap();
        let mut seen = Vec::new();
        while let Some(event) = stream.next().await {
            seen.push(event.unwrap().sequence_number().unwrap());
        }
        assert_eq!((seen, stream.output_text().as_str()), (all.clone(), "one two three "), "cut after {after}");
    }
    // Not in the background: the break is told, with how far it came.
    let inner = ReqwestTransport::new().unwrap();
    let broken = client(&server.url, Arc::new(Cuts { inner, left: 1.into(), after: 2_000 }));
    let error = broken.responses().stream(say("steps")).await.unwrap().finish().await.unwrap_err();
    assert_eq!((error.kind(), error.last_sequence_number().is_some()), (ErrorKind::Transport, true));
    // A response that cannot be streamed again.
    let plain = responses.create(say("hello")).await.unwrap();
    let error = responses.resume(&plain.id, None).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.response_id()),
        (ErrorKind::InvalidRequest, Some(400), Some(plain.id.as_str()))
    );
}

async fn refusals(client: &FoundryClient) {
    let responses = client.responses();
    let malformed = responses.get("conv_made_by_hand").await.unwrap_err();
    assert_eq!((malformed.kind(), malformed.code()), (ErrorKind::InvalidRequest, Some("invalid_parameters")));
    let both = say("x").other("input", serde_json::json!(5)).other("temperature", serde_json::json!("warm"));
    let schema = responses.create(both).await.unwrap_err();
    assert_eq!((schema.kind(), schema.status()), (ErrorKind::InvalidRequest, Some(400)), "{schema:?}");
    let unstored = responses.create(say("x").background(true).store(false)).await.unwrap_err();
    assert_eq!(unstored.kind(), ErrorKind::InvalidRequest);
    let gone =
        responses.create(say("x").previous_response_id("caresp_0000000000000000000000000000000000000000000000000"));
    let gone = gone.await.unwrap_err();
    assert!(matches!(gone.kind(), ErrorKind::NotFound(_) | ErrorKind::InvalidRequest), "{gone:?}");
    assert!(gone.request_ids().service.is_some() && !gone.body().is_empty());
}

async fn tools(client: &FoundryClient) {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Where {
        city: String,
    }
    let weather = ToolFunction::typed("get_weather", "The weather", async |place: Where| {
        Ok::<_, ToolError>(format!("rain in {}", place.city))
    });
    let functions = ToolSet::new().with(weather.unwrap());
    let outcome = ToolLoop::new(client, &functions).run(say("call")).await.unwrap();
    assert_eq!(outcome.response.output_text(), "You said: the function said rain in Ghent");
    assert_eq!((outcome.rounds, outcome.runs.len()), (2, 1));
}
