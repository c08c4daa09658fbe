//! When the connector client tries again, and what it reports when it does not. No network; time is paused.
#![cfg(feature = "connector")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use botframework_activity::{
    Activity, ChannelCloud, ConnectorClient, ConnectorErrorCode, ConversationAccount, Delivery, SendAdvice, SendError,
    SendErrorKind, ServiceUrl,
};
use bytes::Bytes;
use entra_auth::{
    AccessToken, Body, Deadline, Error, ErrorKind, HttpTransport, RetryPolicy, TokenCredential, TokenRequest,
    TransportError, TransportErrorKind,
};
use http::{Request, Response, header};
use time::OffsetDateTime;
use tokio::time::Instant;

/// What the service does with one request.
enum Step {
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    Fail(TransportErrorKind),
    Hang,
    /// A head with this status, then the body breaks.
    Cut(u16),
    /// A head with this status, then the body never ends.
    Drip(u16),
}

#[derive(Clone)]
struct Service(Arc<Mutex<State>>);

struct State {
    steps: VecDeque<Step>,
    seen: Vec<Seen>,
}

struct Seen {
    authorization: String,
    at: Instant,
    deadline: Duration,
}

impl Service {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Mutex::new(State { steps: steps.into_iter().collect(), seen: Vec::new() })))
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().seen.len()
    }

    fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap().seen.iter().map(|seen| seen.authorization.clone()).collect()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

struct Broken;

impl futures_core::Stream for Broken {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Err(TransportErrorKind::Interrupted.into())))
    }
}

struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

#[async_trait::async_trait]
impl HttpTransport for Service {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let step = {
            let mut state = self.0.lock().unwrap();
            let now = Instant::now();
            let deadline = request.extensions().get::<Deadline>().expect("every request has a deadline").0;
            state.seen.push(Seen {
                authorization: request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned(),
                at: now,
                deadline: deadline - now,
            });
            state.steps.pop_front().expect("no further request was expected")
        };
        let head = |status: u16| Response::builder().status(status);
        match step {
            Step::Answer(status, headers, body) => {
                let mut response = head(status);
                for (name, value) in headers {
                    response = response.header(*name, *value);
                }
                Ok(response.body(Body::from(body.to_owned())).unwrap())
            }
            Step::Fail(kind) => Err(kind.into()),
            Step::Hang => std::future::pending().await,
            Step::Cut(status) => Ok(head(status).body(Body::stream(Broken)).unwrap()),
            Step::Drip(status) => Ok(head(status).body(Body::stream(Endless)).unwrap()),
        }
    }
}

/// Hands out `t1`, `t2`, … : the next one when the last is rejected.
#[derive(Clone, Debug, Default)]
struct Tokens(Arc<Mutex<TokenState>>);

#[derive(Debug, Default)]
struct TokenState {
    current: u32,
    requests: Vec<TokenRequest>,
    stuck: bool,
    failure: Option<Error>,
}

#[async_trait::async_trait]
impl TokenCredential for Tokens {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let mut state = self.0.lock().unwrap();
        state.requests.push(request.clone());
        if state.requests.len() > 1
            && let Some(error) = &state.failure
        {
            return Err(error.clone());
        }
        let token = |n: u32| AccessToken::new(format!("t{n}"), OffsetDateTime::UNIX_EPOCH).unwrap();
        if state.current == 0 {
            state.current = 1;
        }
        if request.rejected.as_ref().is_some_and(|rejected| rejected.same_as(&token(state.current))) && !state.stuck {
            state.current += 1;
        }
        Ok(token(state.current))
    }
}

fn client(service: &Service, tokens: &Tokens) -> ConnectorClient {
    ConnectorClient::builder(Arc::new(service.clone()), Arc::new(tokens.clone())).build().unwrap()
}

fn place() -> ServiceUrl {
    ServiceUrl::loopback_dev("http://127.0.0.1:9/emea/").unwrap()
}

fn message() -> Activity {
    let mut activity = Activity::message("private words").with_id("m-1");
    activity.conversation = Some(ConversationAccount::new("a:1"));
    activity.reply_to_id = Some("in-1".into());
    activity
}

async fn send(steps: impl IntoIterator<Item = Step>) -> (Result<Option<String>, SendError>, Service) {
    let service = Service::new(steps);
    let result = client(&service, &Tokens::default()).send(&place(), &message()).await;
    (result.map(|sent| sent.id().map(str::to_owned)), service)
}

async fn update(steps: impl IntoIterator<Item = Step>) -> (Result<(), SendError>, Service) {
    let service = Service::new(steps);
    let result = client(&service, &Tokens::default()).update(&place(), &message()).await;
    (result.map(|_| ()), service)
}

const DONE: Step = Step::Answer(200, &[], r#"{"id":"m-2"}"#);

#[tokio::test(start_paused = true)]
async fn a_send_is_repeated_when_nothing_was_sent() {
    for first in [
        Step::Fail(TransportErrorKind::NotSent),
        Step::Answer(412, &[], r#"{"error":{"code":"PreconditionFailed"}}"#),
        Step::Answer(429, &[], ""),
        Step::Answer(429, &[("retry-after", "2")], ""),
        Step::Answer(503, &[("retry-after", "2")], ""),
    ] {
        let (result, service) = send([first, DONE]).await;
        assert_eq!(result.unwrap().as_deref(), Some("m-2"));
        assert_eq!(service.count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_send_is_never_repeated() {
    for (step, kind) in [
        (Step::Fail(TransportErrorKind::Timeout), SendErrorKind::Timeout),
        (Step::Fail(TransportErrorKind::Interrupted), SendErrorKind::Interrupted),
        (Step::Hang, SendErrorKind::Timeout),
        (Step::Cut(201), SendErrorKind::Interrupted),
        (Step::Drip(200), SendErrorKind::Timeout),
        (Step::Answer(500, &[], ""), SendErrorKind::Service),
        (Step::Answer(500, &[("retry-after", "1")], ""), SendErrorKind::Service),
        (Step::Answer(502, &[], "<html>private words</html>"), SendErrorKind::Service),
        (Step::Answer(503, &[], ""), SendErrorKind::Service),
        (Step::Answer(504, &[("retry-after", "1")], ""), SendErrorKind::Service),
        (Step::Answer(200, &[], "<html>private words</html>"), SendErrorKind::Protocol),
    ] {
        let (result, service) = send([step]).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Ambiguous), "{error}");
        assert_eq!((error.is_retryable(), error.advice()), (false, SendAdvice::Reconcile), "{error}");
        assert_eq!(service.count(), 1);
        assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_send_is_not_repeated_and_had_no_effect() {
    for (status, code, kind, advice) in [
        (400, "BadArgument", SendErrorKind::Refused, SendAdvice::Fix),
        (403, "ConversationBlockedByUser", SendErrorKind::Blocked, SendAdvice::WaitForUser),
        (403, "BotNotInConversationRoster", SendErrorKind::NotInstalled, SendAdvice::WaitForInstall),
        (403, "InvalidBotApiHost", SendErrorKind::WrongHost, SendAdvice::SwitchHost),
        (404, "ConversationNotFound", SendErrorKind::NotFound, SendAdvice::DropReference),
        (413, "MessageSizeTooBig", SendErrorKind::TooLarge, SendAdvice::Shrink),
    ] {
        let body: &'static str = format!(r#"{{"error":{{"code":"{code}","message":"private words"}}}}"#).leak();
        let (result, service) = send([Step::Answer(status, &[("x-ms-request-id", "r-1")], body)]).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery(), error.advice()), (kind, Delivery::NotSent, advice));
        assert_eq!(error.code(), Some(&ConnectorErrorCode::from(code)));
        assert_eq!((error.status(), error.request_id()), (Some(status), Some("r-1")));
        assert_eq!(service.count(), 1);
        assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_is_repeated_after_every_passing_failure() {
    for first in [
        Step::Fail(TransportErrorKind::NotSent),
        Step::Fail(TransportErrorKind::Timeout),
        Step::Fail(TransportErrorKind::Interrupted),
        Step::Hang,
        Step::Answer(408, &[], ""),
        Step::Answer(412, &[], ""),
        Step::Answer(429, &[], ""),
        Step::Answer(500, &[], ""),
        Step::Answer(502, &[], ""),
        Step::Answer(503, &[], ""),
        Step::Answer(504, &[], ""),
    ] {
        let (result, service) = update([first, DONE]).await;
        result.unwrap();
        assert_eq!(service.count(), 2);
    }
    let (result, service) = update([Step::Cut(200)]).await;
    result.unwrap();
    assert_eq!(service.count(), 1, "the status says that it was done");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_after_doubt_stays_in_doubt() {
    let (result, _) = update([Step::Fail(TransportErrorKind::Interrupted), Step::Answer(404, &[], ""), DONE]).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::NotFound, Delivery::Ambiguous));
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_finds_nothing_after_doubt_is_done() {
    for (steps, kind) in [
        (vec![Step::Fail(TransportErrorKind::Timeout), Step::Answer(404, &[], "")], None),
        (vec![Step::Answer(404, &[], "")], Some(SendErrorKind::NotFound)),
        (vec![Step::Answer(412, &[], ""), Step::Answer(404, &[], "")], Some(SendErrorKind::NotFound)),
    ] {
        let service = Service::new(steps);
        let result = client(&service, &Tokens::default()).delete(&place(), "a:1", "m-1").await;
        assert_eq!(result.err().map(|error| error.kind()), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end_and_the_last_failure_is_told() {
    let steps = std::iter::repeat_with(|| Step::Answer(429, &[], "")).take(5);
    let (result, service) = send(steps).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), service.count()), (SendErrorKind::Throttled, 5));
    assert_eq!(error.advice(), SendAdvice::Retry);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_and_too_long_a_wait_is_told() {
    let (result, service) = send([Step::Answer(429, &[("retry-after", "7")], ""), DONE]).await;
    result.unwrap();
    {
        let state = service.0.lock().unwrap();
        assert_eq!((state.seen[1].at - state.seen[0].at).as_secs(), 7);
    }

    let (result, service) = send([Step::Answer(429, &[("retry-after", "31")], "")]).await;
    let error = result.unwrap_err();
    assert_eq!((error.retry_after(), service.count()), (Some(Duration::from_secs(31)), 1));
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_bounds_attempts_waits_and_the_token() {
    let start = Instant::now();
    let service = Service::new(std::iter::repeat_with(|| Step::Hang).take(4));
    let error = client(&service, &Tokens::default()).update(&place(), &message()).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Timeout);
    assert!(start.elapsed() <= Duration::from_secs(61), "{:?}", start.elapsed());
    for seen in &service.0.lock().unwrap().seen {
        assert!(seen.deadline <= Duration::from_secs(15), "{:?}", seen.deadline);
    }

    let service = Service::new([Step::Answer(429, &[("retry-after", "5")], "")]);
    let patient = ConnectorClient::builder(Arc::new(service.clone()), Arc::new(Tokens::default()))
        .deadline(Duration::from_secs(4))
        .build()
        .unwrap();
    let start = Instant::now();
    assert_eq!(patient.send(&place(), &message()).await.unwrap_err().kind(), SendErrorKind::Throttled);
    assert!(start.elapsed() < Duration::from_secs(1), "a wait beyond the deadline is not begun");

    #[derive(Debug)]
    struct Never;
    #[async_trait::async_trait]
    impl TokenCredential for Never {
        async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
            std::future::pending().await
        }
    }
    let connector = ConnectorClient::builder(Arc::new(Service::new([])), Arc::new(Never)).build().unwrap();
    let error = connector.send(&place(), &message()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Timeout, Delivery::NotSent));
}

const DENIED: Step = Step::Answer(401, &[], "");

#[tokio::test(start_paused = true)]
async fn a_401_is_answered_once_with_another_token() {
    let service = Service::new([DENIED, DONE]);
    let tokens = Tokens::default();
    client(&service, &tokens).send(&place(), &message()).await.unwrap();
    assert_eq!(service.tokens(), ["Bearer t1", "Bearer t2"]);
    let requests = std::mem::take(&mut tokens.0.lock().unwrap().requests);
    assert!(requests[0].rejected.is_none());
    assert_eq!(requests[1].rejected.as_ref().unwrap().expose(), "t1");

    let service = Service::new([DENIED, DENIED]);
    let error = client(&service, &Tokens::default()).send(&place(), &message()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Unauthorized, Delivery::NotSent));
    assert_eq!((service.count(), error.advice()), (2, SendAdvice::Fix));
}

#[tokio::test(start_paused = true)]
async fn the_token_after_a_401_is_kept_for_later_attempts() {
    let service = Service::new([DENIED, Step::Answer(412, &[], ""), Step::Answer(429, &[], ""), DONE]);
    let tokens = Tokens::default();
    client(&service, &tokens).send(&place(), &message()).await.unwrap();
    assert_eq!(service.tokens(), ["Bearer t1", "Bearer t2", "Bearer t2", "Bearer t2"]);
    assert_eq!(tokens.0.lock().unwrap().requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_not_sent_again() {
    let service = Service::new([DENIED]);
    let tokens = Tokens::default();
    tokens.0.lock().unwrap().stuck = true;
    let error = client(&service, &tokens).send(&place(), &message()).await.unwrap_err();
    assert_eq!((error.kind(), service.count()), (SendErrorKind::Unauthorized, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_renewal_tells_what_helps() {
    for (failure, kind) in [
        (ErrorKind::Transient, SendErrorKind::Token),
        (ErrorKind::Unsupported, SendErrorKind::Unauthorized),
        (ErrorKind::ClientCredential, SendErrorKind::Unauthorized),
    ] {
        let tokens = Tokens::default();
        tokens.0.lock().unwrap().failure = Some(Error::new(failure, "no"));
        let error = client(&Service::new([DENIED]), &tokens).send(&place(), &message()).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::NotSent), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claims_challenge_reaches_the_credential() {
    // {"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}
    let service = Service::new([
        Step::Answer(
            401,
            &[(
                "www-authenticate",
                r#"Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ==""#,
            )],
            "",
        ),
        DONE,
    ]);
    let tokens = Tokens::default();
    client(&service, &tokens).send(&place(), &message()).await.unwrap();
    let requests = tokens.0.lock().unwrap();
    assert!(requests.requests[1].claims.as_ref().unwrap().as_str().contains("1604106651"));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_asked_for_the_scope_of_the_cloud() {
    for (cloud, scope) in [
        (ChannelCloud::Public, "https://api.botframework.com/.default"),
        (ChannelCloud::GccHigh, "https://api.botframework.us/.default"),
        (ChannelCloud::China, "https://api.botframework.azure.cn/.default"),
    ] {
        let tokens = Tokens::default();
        let connector = ConnectorClient::builder(Arc::new(Service::new([DONE])), Arc::new(tokens.clone()))
            .cloud(cloud)
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        connector.send(&place(), &message()).await.unwrap();
        assert_eq!(tokens.0.lock().unwrap().requests[0].scopes.as_str(), scope);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_makes_no_request() {
    let connector = client(&Service::new([]), &Tokens::default());
    let at = place();
    let nowhere = Activity::message("x");
    let mut up = message();
    up.conversation = Some(ConversationAccount::new(".."));
    let mut no_target = message();
    no_target.reply_to_id = None;
    no_target.id = None;
    let mut long = message();
    long.id = Some("x".repeat(1025));
    let mut shadow = message();
    shadow.extra.insert("text", botframework_activity::RawJson::from_text("1").unwrap());
    for result in [
        connector.send(&at, &nowhere).await,
        connector.send(&at, &up).await,
        connector.reply(&at, &no_target).await,
        connector.update(&at, &no_target).await,
        connector.update(&at, &long).await,
        connector.send(&at, &shadow).await,
        connector.delete(&at, "", "m-1").await.map(|()| unreachable!()),
        connector.delete(&at, "a:1", "..").await.map(|()| unreachable!()),
    ] {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Invalid, Delivery::NotSent));
    }
}
