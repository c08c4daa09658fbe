//! G19: nobody ever gets another's token, through the public API, with eviction on.

#![cfg(all(feature = "acquire", feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../src/acquire/isolation_check.rs"]
mod isolation_check;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use entra_auth::{
    Body, ClientId, Clock, ConfidentialClient, HttpTransport, OnBehalfOf, Secret, SystemClock, TokenCredential,
    TokenRequest, TransportError, UserAssertion, UserToken,
};
use isolation_check::{Act, Acts, Owner, SCOPES, TENANTS, USERS};
use serde_json::json;

const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const TASKS: u64 = 8;
const ACTS: usize = 15_000;

fn guid(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

/// Gives out tokens that say who asked for them: by the tenant in the path, the assertion and the scope.
#[derive(Debug, Default)]
struct Authority {
    requests: AtomicUsize,
}

#[async_trait]
impl HttpTransport for Authority {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let tenant: usize = request.uri().path().split('/').nth(1).unwrap()[24..].parse().unwrap();
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(request.body().as_bytes().unwrap()).into_owned().collect();
        let user = form.get("assertion").map_or("app", |text| text.split('.').nth(1).unwrap()).to_owned();
        let scope = form["scope"].trim_end_matches("/.default").trim_start_matches("scope").to_owned();
        // Others come in between.
        tokio::task::yield_now().await;
        let token = format!("t{tenant}.u{user}.s{scope}.{number}{}", "x".repeat(1500));
        let body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token}).to_string();
        Ok(http::Response::new(Body::from(body)))
    }
}

fn assertion(tenant: usize, user: usize) -> UserAssertion {
    let now = SystemClock.now().unix_timestamp();
    // The same object ids in every tenant: only the tenant tells these people apart.
    let claims = json!({
        "tid": guid(tenant), "oid": guid(user), "aud": CLIENT, "ver": "2.0", "sub": user.to_string(),
        "iss": format!("https://login.microsoftonline.com/{}/v2.0", guid(tenant)),
        "iat": now, "nbf": now, "exp": now + 36_000, "scp": "access_as_user",
    });
    let token = UserToken::trusted(&claims, format!("t{tenant}.{user}.x")).unwrap();
    let client: ClientId = CLIENT.parse().unwrap();
    token.assertion_for(&client, &[""; 0]).unwrap()
}

struct World {
    client: ConfidentialClient,
    assertions: Vec<Vec<UserAssertion>>,
    /// Credentials that hosts keep, with what they remember.
    kept: Mutex<HashMap<(usize, usize), OnBehalfOf>>,
    wrong: AtomicUsize,
    asked: AtomicUsize,
}

impl World {
    fn credential(&self, owner: Owner, fresh: bool) -> OnBehalfOf {
        let new = || self.client.on_behalf_of(self.assertions[owner.tenant][owner.user].clone());
        if fresh {
            return new();
        }
        self.kept.lock().unwrap().entry((owner.tenant, owner.user)).or_insert_with(new).clone()
    }

    async fn act(&self, number: usize, act: Act) {
        match act {
            Act::Ask(owner) | Act::Refuse(owner) => {
                let credential = self.credential(owner, number.is_multiple_of(2));
                let request = TokenRequest::new(format!("scope{}", owner.scope).parse().unwrap());
                let mut answer = credential.get_token(&request).await;
                if let (Act::Refuse(_), Ok(token)) = (act, &answer) {
                    answer = credential.get_token(&request.with_rejected(token.clone())).await;
                }
                // Who signs out while asking may be told so.
                let Ok(token) = answer else { return };
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.wrong.fetch_add(usize::from(!owner.owns(token.expose())), Ordering::Relaxed);
                // The application's own token of the same tenant and scope is nobody's.
                if number.is_multiple_of(10) {
                    let scope = format!("scope{}/.default", owner.scope).parse().unwrap();
                    let request = TokenRequest::new(scope).with_tenant(guid(owner.tenant).parse().unwrap());
                    let token = self.client.get_token(&request).await.unwrap();
                    let mark = format!("t{}.uapp.s{}.", owner.tenant, owner.scope);
                    self.wrong.fetch_add(usize::from(!token.expose().starts_with(&mark)), Ordering::Relaxed);
                }
            }
            Act::Leave(owner) => {
                self.client.forget_user(self.assertions[owner.tenant][owner.user].user_key()).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_anothers_token() {
    let authority = Arc::new(Authority::default());
    let client = ConfidentialClient::builder(guid(0).parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .transport(authority.clone())
        // Room for a part of the thousand tokens: eviction is on.
        .cache_bytes(1 << 20)
        .build()
        .unwrap();
    let users = |tenant| (0..USERS).map(|user| assertion(tenant, user)).collect();
    let world = Arc::new(World {
        client,
        assertions: (0..TENANTS).map(users).collect(),
        kept: Mutex::default(),
        wrong: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for (number, act) in Acts(seed).take(ACTS).enumerate() {
                    world.act(number, act).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (asked, requests) = (world.asked.load(Ordering::SeqCst), authority.requests.load(Ordering::SeqCst));
    assert_eq!(world.wrong.load(Ordering::SeqCst), 0);
    assert!(asked >= 100_000, "{asked}");
    // More than one each: tokens were evicted and fetched again. Fewer than asked for: others were found.
    assert!(requests > 10 * TENANTS * USERS * SCOPES && requests < asked, "{requests} of {asked}");
    println!("{asked} answers, {requests} requests, 0 wrong");
}
