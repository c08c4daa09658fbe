//! The token cache: hits among many users (`hit`, `hit_assertion`; `hit_all` spreads the lookups over all of them, where
//! every one misses the processor's own caches), a cold stampede, a hit during another key's fetch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a driver stops at the first surprise

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use entra_auth::{
    Body, ClientId, Clock, ConfidentialClient, HttpTransport, OnBehalfOf, Secret, SystemClock, TokenCredential,
    TokenRequest, TransportError, UserToken,
};
use lab::{Watch, number, variable};
use serde_json::{Value, json};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";

/// Answers every token request, after a while.
#[derive(Debug)]
struct Authority {
    delay: Duration,
    requests: AtomicUsize,
}

#[async_trait]
impl HttpTransport for Authority {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        // As long as a token of Graph.
        let token = format!("{number:08}{}", "t".repeat(1992));
        let body = format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#);
        Ok(http::Response::new(Body::from(body)))
    }
}

fn client(delay: Duration) -> (ConfidentialClient, Arc<Authority>) {
    let authority = Arc::new(Authority { delay, requests: AtomicUsize::new(0) });
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .transport(authority.clone())
        .cache_bytes(usize::MAX)
        .build()
        .unwrap();
    (client, authority)
}

/// A user's token, 2 KB long, as it would come out of the validator.
fn user(number: usize) -> UserToken {
    let now = SystemClock.now().unix_timestamp();
    let claims = json!({
        "tid": TENANT, "oid": format!("00000000-0000-0000-0000-{number:012}"), "aud": CLIENT, "ver": "2.0",
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "sub": number.to_string(),
        "iat": now, "nbf": now, "exp": now + 3600, "scp": "access_as_user",
    });
    UserToken::trusted(&claims, format!("{number:012}{}", "a".repeat(2036))).unwrap()
}

fn request() -> TokenRequest {
    TokenRequest::new("https://graph.microsoft.com/User.Read".parse().unwrap())
}

fn on_behalf_of(client: &ConfidentialClient, user: &UserToken) -> OnBehalfOf {
    let id: ClientId = CLIENT.parse().unwrap();
    client.on_behalf_of(user.assertion_for(&id, &[""; 0]).unwrap())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mode = variable("PERF_MODE").unwrap_or_else(|| "hit".to_owned());
    let result = match mode.as_str() {
        "stampede" => stampede().await,
        "blocked" => blocked().await,
        by => hits(by).await,
    };
    println!("{result}");
}

/// As many credentials are kept by the host at a time as the floor keeps keys: the same spread of lookups over the cache,
/// and the same work before each.
const KEPT: usize = 4096;
/// A host has just read and judged the assertion that it hands over: as many as stay near the processor, like the one text
/// that the floor hashes over and over.
const ASSERTIONS: usize = 256;

async fn hits(mode: &str) -> Value {
    let users = number("PERF_USERS", 1000);
    let (client, authority) = client(Duration::ZERO);
    let request = request();
    let before = rss();
    for number in 0..users {
        on_behalf_of(&client, &user(number)).get_token(&request).await.unwrap();
    }
    // Of the cache alone: what a host keeps is the host's.
    let each = rss().saturating_sub(before) * 1024 / users.max(1);
    let kept = match mode {
        "hit_all" => users,
        "hit_assertion" => ASSERTIONS,
        _ => KEPT,
    };
    let tokens: Vec<UserToken> = (0..kept).map(|at| user((at * 7919) % users)).collect();
    let credentials: Vec<OnBehalfOf> = tokens.iter().map(|user| on_behalf_of(&client, user)).collect();
    let (n, warm) = (number("PERF_N", 100_000), number("PERF_WARM", KEPT));
    for at in 0..warm {
        credentials[at % kept].get_token(&request).await.unwrap();
    }
    let sent = authority.requests.load(Ordering::SeqCst);
    let watch = Watch::start();
    if mode == "hit_assertion" {
        for at in 0..n {
            on_behalf_of(&client, &tokens[at % kept]).get_token(&request).await.unwrap();
        }
    } else {
        for at in 0..n {
            credentials[at % kept].get_token(&request).await.unwrap();
        }
    }
    let mut result = watch.stop(n);
    assert_eq!(authority.requests.load(Ordering::SeqCst), sent, "every lookup was a hit");
    result.insert("bytes_per_user".into(), each.into());
    Value::Object(result)
}

async fn stampede() -> Value {
    let callers = number("PERF_CALLERS", 10_000);
    let (client, authority) = client(Duration::from_millis(50));
    let request = TokenRequest::new("https://graph.microsoft.com/.default".parse().unwrap());
    let watch = Watch::start();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (client, request) = (client.clone(), request.clone());
            tokio::spawn(async move { client.get_token(&request).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let mut result = watch.stop(callers);
    result.insert("requests".into(), authority.requests.load(Ordering::SeqCst).into());
    result.insert("rss_kb".into(), rss().into());
    Value::Object(result)
}

async fn blocked() -> Value {
    let rounds = number("PERF_N", 20).min(100);
    let mut waited = Duration::ZERO;
    let watch = Watch::start();
    for _ in 0..rounds {
        let (client, _) = client(Duration::from_millis(50));
        let cached = TokenRequest::new("https://graph.microsoft.com/.default".parse().unwrap());
        client.get_token(&cached).await.unwrap();
        let other = TokenRequest::new("https://vault.azure.net/.default".parse().unwrap());
        let fetch = tokio::spawn({
            let client = client.clone();
            async move { client.get_token(&other).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let start = Instant::now();
        client.get_token(&cached).await.unwrap();
        waited += start.elapsed();
        fetch.await.unwrap().unwrap();
    }
    let mut result = watch.stop(rounds);
    let each = waited.as_secs_f64() * 1000.0 / f64::from(u32::try_from(rounds).unwrap());
    result.insert("blocked_ms".into(), each.into());
    Value::Object(result)
}

/// Resident memory in KiB.
fn rss() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default().to_owned();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
