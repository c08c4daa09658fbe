//! The identity of the running request: there in deep code, gone afterwards, and never in another's hands.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    task::{Context, Poll, Waker},
};

use entra_auth::{RequestIdentity, UserToken};
use futures_util::FutureExt;
use serde_json::json;
use validate_support::*;

fn identity(n: u32) -> RequestIdentity {
    UserToken::trusted(&with(user_claims(), &[("oid", json!(oid(n)))]), "raw").unwrap().into()
}

fn oid(n: u32) -> String {
    format!("cccccccc-0000-0000-0000-{n:012}")
}

/// What deep code does: it is handed nothing and asks.
fn who() -> Option<String> {
    RequestIdentity::current().map(|identity| identity.user_key().unwrap().object_id().as_str().to_owned())
}

async fn deep(levels: u32) -> Option<String> {
    tokio::task::yield_now().await;
    if levels == 0 { who() } else { Box::pin(deep(levels - 1)).await }
}

#[tokio::test]
async fn deep_code_reads_it_and_it_is_gone_afterwards() {
    assert_eq!(who(), None);
    assert_eq!(identity(1).scope(deep(20)).await, Some(oid(1)));
    assert_eq!(who(), None);
    identity(1)
        .scope(async {
            assert_eq!(identity(2).scope(deep(3)).await, Some(oid(2)));
            assert_eq!(who(), Some(oid(1)), "the outer one is back");
        })
        .await;
    assert_eq!(who(), None);
}

#[tokio::test]
async fn gone_after_an_error() {
    let failed: Result<(), &str> = identity(1)
        .scope(async {
            deep(2).await.ok_or("absent")?;
            Err("the handler fails")
        })
        .await;
    assert_eq!(failed, Err("the handler fails"));
    assert_eq!(who(), None);
}

#[tokio::test]
async fn gone_after_a_panic() {
    let panicking = identity(1).scope(async {
        assert_eq!(deep(1).await, Some(oid(1)));
        panic!("the handler panics");
    });
    assert!(AssertUnwindSafe(panicking).catch_unwind().await.is_err());
    assert_eq!(who(), None);
    assert_eq!(deep(1).await, None);
}

#[tokio::test]
async fn gone_when_the_request_is_dropped_and_absent_between_its_steps() {
    {
        let mut request = pin!(identity(1).scope(async {
            tokio::task::yield_now().await;
            std::future::pending::<()>().await;
        }));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(matches!(request.as_mut().poll(&mut cx), Poll::Pending));
            assert_eq!(who(), None, "another task may run on this thread now");
        }
    }
    assert_eq!(who(), None);
}

#[tokio::test]
async fn a_spawned_task_has_it_only_when_handed_it() {
    identity(1)
        .scope(async {
            assert_eq!(tokio::spawn(deep(2)).await.unwrap(), None);
            assert_eq!(tokio::task::spawn_blocking(who).await.unwrap(), None);
            let handed = RequestIdentity::current().unwrap();
            assert_eq!(tokio::spawn(handed.scope(deep(2))).await.unwrap(), Some(oid(1)));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_see_their_own() {
    let requests = (0..1000).map(|n| {
        tokio::spawn(async move {
            let seen = identity(n).scope(deep(n % 17)).await;
            (seen == Some(oid(n)), who().is_none())
        })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap(), (true, true));
    }
}

#[test]
fn it_shows_no_person() {
    assert!(!format!("{:?}", identity(1)).contains("cccccccc"));
    assert!(identity(1).app().is_none());
}
