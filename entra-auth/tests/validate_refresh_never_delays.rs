//! A refresh of the keys runs behind the validations whose key is known.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{sync::Arc, time::Duration};

use entra_auth::{JwksClient, TokenErrorKind};
use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::{advance, sleep};
use validate_support::*;

const METADATA: &str = "https://login.example/tenant/v2.0/.well-known/openid-configuration";
const KEYS: &str = "https://login.example/tenant/keys";
const VALIDATIONS: usize = 1000;

/// Counts the validations that finish while the key document hangs.
#[tokio::test(start_paused = true)]
async fn validate_refresh_never_delays() {
    let script = Script::new();
    script.set(METADATA, Answer::Json(json!({"issuer": "https://login.example/tenant/v2.0", "jwks_uri": KEYS})));
    script.set(KEYS, Answer::Json(ENTRA.jwks()));
    let keys = JwksClient::builder(METADATA.parse().unwrap()).transport(script.clone()).build().unwrap();
    // Nothing is remembered, so that every validation needs the key.
    let validator = builder(single()).keys(Arc::new(keys)).remember(0).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    validator.validate(&token).await.unwrap();
    assert_eq!((script.count("/keys"), script.count("configuration")), (1, 1));

    // The keys are due for a refresh, and the endpoint answers no more.
    advance(Duration::from_secs(67 * 60)).await;
    script.hold();
    let mut finished = 0;
    for n in 0..VALIDATIONS {
        // Ready at the first poll: there is nothing that it waits for.
        let validated = validator.validate(&token).now_or_never();
        finished += usize::from(validated.is_some_and(|outcome| outcome.is_ok()));
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(script.count("/keys"), 2, "one refresh, and it hangs");
    println!(r#"{{"validations": {VALIDATIONS}, "finished_while_refresh_hangs": {finished}, "refreshes": 1}}"#);
    assert_eq!(finished, VALIDATIONS);

    // What needs that refresh waits for it and for nothing else.
    let unknown =
        ENTRA.sign_text(&with(ENTRA.header(), &[("kid", json!("new"))]).to_string(), &user_claims().to_string());
    assert!(validator.validate(&unknown).now_or_never().is_none());
    assert!(validator.validate(&token).now_or_never().unwrap().is_ok());

    // The refresh ends by its own time-out, and known keys never noticed.
    sleep(Duration::from_secs(60)).await;
    assert!(validator.validate(&token).now_or_never().unwrap().is_ok());
    script.release();
    let kind = validator.validate(&unknown).await.unwrap_err().kind();
    assert!(matches!(kind, TokenErrorKind::UnknownKey | TokenErrorKind::KeyGated), "{kind:?}");
}
