//! Validation of one channel token: the first inbound step, keys at hand.
//!
//! `cold` validates every token in turn and remembers none. `seen` is one token again and again, remembered as by default.
//! `PERF_REMEMBER` sets how many tokens are remembered: with fewer than there are, `cold` shows what it costs to look for
//! each, validate it and remember it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)] // a driver stops at the first surprise

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use botframework_activity::{ChannelAuthenticator, ChannelKeys};
use entra_auth::{StaticKeys, TenantPolicy};
use http::{HeaderMap, header::AUTHORIZATION};
use lab::{Watch, fixture, number, variable};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let expect: Value = serde_json::from_slice(&fixture("auth/expect.json")).unwrap();
    let text = |name: &str| expect[name].as_str().unwrap().to_owned();
    let tokens = String::from_utf8(fixture("auth/tokens.txt")).unwrap();
    let headers: Vec<HeaderMap> = tokens.lines().map(header).collect();
    let seen = variable("PERF_MODE").as_deref() == Some("seen");

    let keys = StaticKeys::from_jwks(&fixture("auth/jwks.json")).unwrap();
    let tenants = TenantPolicy::Single(text("tenant").parse().unwrap());
    let keys = ChannelKeys::source(Arc::new(keys));
    let builder = ChannelAuthenticator::builder(text("app_id").parse().unwrap(), tenants, keys);
    let remember = number("PERF_REMEMBER", if seen { 4096 } else { 0 });
    let authenticator = builder.remember(remember).build().unwrap();

    let (n, warm) = (number("PERF_N", 20_000), number("PERF_WARM", 1000));
    let pick = |at: usize| &headers[if seen { 0 } else { at % headers.len() }];
    for at in 0..warm {
        authenticator.authenticate(pick(at)).await.unwrap();
    }
    let watch = Watch::start();
    for at in 0..n {
        authenticator.authenticate(pick(warm + at)).await.unwrap();
    }
    let mut result = watch.stop(n);

    let counted = 50_u32;
    let mut allocations = allocation_counter::AllocationInfo::default();
    for at in 0..counted {
        allocations += allocation_counter::measure(|| {
            // Keys at hand never wait.
            let mut validation = pin!(authenticator.authenticate(pick(warm + n + at as usize)));
            let Poll::Ready(token) = validation.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("a validation waits although its key is at hand")
            };
            token.unwrap();
        });
    }
    result.insert("allocs".into(), per_operation(allocations.count_total, counted));
    result.insert("alloc_bytes".into(), per_operation(allocations.bytes_total, counted));

    let activity = json!({
        "type": "message", "id": "1", "channelId": text("channel"), "serviceUrl": text("service_url"),
        "from": {"id": "29:1"}, "recipient": {"id": format!("28:{}", text("app_id"))},
        "conversation": {"id": "a:1", "tenantId": text("tenant")},
    });
    let mut accepted = Vec::new();
    for line in String::from_utf8(fixture("auth/bad.jsonl")).unwrap().lines() {
        let bad: Value = serde_json::from_str(line).unwrap();
        let headers = header(bad["token"].as_str().unwrap());
        // Twice: what was refused once is not remembered as anything else.
        for _ in 0..2 {
            if let Ok(token) = authenticator.authenticate(&headers).await
                && token.open(activity.to_string().as_bytes()).is_ok()
            {
                accepted.push(bad["name"].clone());
            }
        }
    }
    // The good token with the same activity passes both steps, so a refusal above is about the token.
    let good = authenticator.authenticate(&headers[0]).await.unwrap();
    good.open(activity.to_string().as_bytes()).unwrap();
    result.insert("accepted_bad".into(), accepted.into());
    println!("{}", Value::Object(result));
}

fn header(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn per_operation(sum: u64, operations: u32) -> Value {
    json!(f64::from(u32::try_from(sum).unwrap()) / f64::from(operations))
}
