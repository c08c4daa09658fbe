//! How many requests really leave, counted at the socket.

#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use entra_auth::{
    Authority, Body, ConfidentialClient, ErrorKind, HttpTransport, ManualClock, RetryPolicy, Secret, TokenCredential,
    TokenRequest, TransportError,
};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};

const CALLERS: usize = 10_000;

/// A token endpoint on a bare socket: it counts what arrives, and answers when the gate is opened.
struct Endpoint {
    authority: Authority,
    requests: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
}

async fn endpoint(status: &'static str, body: &'static str) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let (gate, opened) = watch::channel(false);
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (counter, mut opened) = (Arc::clone(&counter), opened.clone());
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                let mut filled = 0;
                loop {
                    match socket.read(&mut buffer[filled..]).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => filled += read,
                    }
                    if !complete(&buffer[..filled]) {
                        continue;
                    }
                    filled = 0;
                    let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                    let body = body.replace('#', &number.to_string());
                    opened.wait_for(|open| *open).await.unwrap();
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                    );
                    socket.write_all(head.as_bytes()).await.unwrap();
                    socket.write_all(body.as_bytes()).await.unwrap();
                }
            });
        }
    });
    Endpoint { authority, requests, gate }
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    body.len() >= length
}

/// `#` stands for the number of the request.
const GOOD: &str = r##"{"token_type":"Bearer","expires_in":3599,"access_token":"t#"}"##;

fn builder(authority: Authority) -> entra_auth::ConfidentialClientBuilder {
    ConfidentialClient::builder(
        "11111111-1111-1111-1111-111111111111".parse().unwrap(),
        "22222222-2222-2222-2222-222222222222".parse().unwrap(),
        Secret::new("s"),
    )
    .authority(authority)
    .retry(RetryPolicy::new(3, Duration::from_millis(5), Duration::from_millis(10)))
    .timeouts(Duration::from_secs(60), Duration::from_secs(60))
}

fn request() -> TokenRequest {
    TokenRequest::new("https://api.botframework.com/.default".parse().unwrap())
}

/// Starts all callers, waits until a request has arrived, and gives every caller the chance to join.
async fn callers(
    client: &ConfidentialClient,
    endpoint: &Endpoint,
) -> Vec<tokio::task::JoinHandle<Result<entra_auth::AccessToken, entra_auth::Error>>> {
    let started = Arc::new(AtomicUsize::new(0));
    let tasks = (0..CALLERS)
        .map(|_| {
            let (client, started) = (client.clone(), Arc::clone(&started));
            tokio::spawn(async move {
                started.fetch_add(1, Ordering::SeqCst);
                client.get_token(&request()).await
            })
        })
        .collect();
    while started.load(Ordering::SeqCst) < CALLERS || endpoint.requests.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cold_callers_make_one_request() {
    let endpoint = endpoint("200 OK", GOOD).await;
    let client = builder(endpoint.authority.clone()).build().unwrap();
    let tasks = callers(&client, &endpoint).await;
    endpoint.gate.send_replace(true);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().expose(), "t1");
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_most_callers_changes_nothing() {
    let endpoint = endpoint("200 OK", GOOD).await;
    let client = builder(endpoint.authority.clone()).build().unwrap();
    let mut tasks = callers(&client, &endpoint).await;
    let stay = tasks.split_off(CALLERS / 10 * 9);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    endpoint.gate.send_replace(true);
    for task in stay {
        assert_eq!(task.await.unwrap().unwrap().expose(), "t1");
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_fault_is_one_flight_of_three_attempts() {
    let endpoint = endpoint("503 Service Unavailable", "").await;
    let client = builder(endpoint.authority.clone()).build().unwrap();
    let tasks = callers(&client, &endpoint).await;
    endpoint.gate.send_replace(true);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Transient);
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_one_attempt() {
    let endpoint = endpoint("401 Unauthorized", r#"{"error":"invalid_client","error_codes":[7000215]}"#).await;
    let client = builder(endpoint.authority.clone()).build().unwrap();
    let tasks = callers(&client, &endpoint).await;
    endpoint.gate.send_replace(true);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::ClientCredential);
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
}

/// Passes on to a real transport, then panics: the request has been counted at the socket.
#[derive(Debug)]
struct Panicking(Arc<dyn HttpTransport>);

#[async_trait]
impl HttpTransport for Panicking {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let _ = self.0.send(request).await;
        panic!("the loader panics")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_loader_is_one_request_and_an_error_for_all() {
    let endpoint = endpoint("200 OK", GOOD).await;
    let real = Arc::new(entra_auth::ReqwestTransport::new().unwrap());
    let client = builder(endpoint.authority.clone()).transport(Arc::new(Panicking(real))).build().unwrap();
    let tasks = callers(&client, &endpoint).await;
    endpoint.gate.send_replace(true);
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Transport);
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_refusals_of_one_token_make_one_request() {
    let endpoint = endpoint("200 OK", GOOD).await;
    endpoint.gate.send_replace(true);
    let client = builder(endpoint.authority.clone()).build().unwrap();
    let old = client.get_token(&request()).await.unwrap();
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (client, request) = (client.clone(), request().with_rejected(old.clone()));
            tokio::spawn(async move { client.get_token(&request).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().expose(), "t2");
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_its_soft_window_is_served_while_one_refresh_runs() {
    let endpoint = endpoint("200 OK", GOOD).await;
    endpoint.gate.send_replace(true);
    let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
    let client = builder(endpoint.authority.clone()).clock(Arc::new(clock.clone())).build().unwrap();
    client.get_token(&request()).await.unwrap();
    endpoint.gate.send_replace(false);
    clock.step(time::Duration::seconds(3500));
    for _ in 0..1000 {
        // The refresh hangs at the endpoint; nobody waits for it.
        assert_eq!(client.get_token(&request()).await.unwrap().expose(), "t1");
    }
    while endpoint.requests.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 2, "one refresh, not a thousand");
    endpoint.gate.send_replace(true);
    // Once the refresh has landed, the new token is fresh and nothing more is asked for.
    while client.get_token(&request()).await.unwrap().expires_on().unix_timestamp() < 7000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(endpoint.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_never_served_when_refreshing_fails() {
    let endpoint = endpoint("200 OK", GOOD).await;
    endpoint.gate.send_replace(true);
    let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
    let client = builder(endpoint.authority.clone()).clock(Arc::new(clock.clone())).build().unwrap();
    let first = client.get_token(&request()).await.unwrap();
    endpoint.gate.send_replace(false);
    clock.step(time::Duration::seconds(3580));
    let waiting = tokio::time::timeout(Duration::from_millis(200), client.get_token(&request())).await;
    assert!(waiting.is_err(), "in its last 30 s a token is waited for, not served: {first:?}");
}
