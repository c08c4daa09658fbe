//! Additional parameters of a request, and sign-ins that meet a renewed credential.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acquire_support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use acquire_support::{CLIENT, NOW, TENANT, failure, success, world};
use entra_auth::{
    Assertion, ClientAssertion, ConfidentialClient, ErrorKind, RetryPolicy, StaticCredential, TokenCredential,
    TokenRequest,
};
use serde_json::json;

fn request(scope: &str) -> TokenRequest {
    TokenRequest::new(scope.parse().unwrap())
}

#[tokio::test]
async fn parameters_are_sent_and_keep_tokens_apart() {
    let world = world().await;
    let count = AtomicUsize::new(0);
    world.answers(move |_, _| success(&format!("t{}", count.fetch_add(1, Ordering::SeqCst)), &json!({})));
    let client = world.confidential();
    let user = world.user_token(1, json!({})).await;
    let user = client.on_behalf_of(user.assertion_for(client.client_id(), &["api://app"]).unwrap());
    let agent = client.agent("44444444-4444-4444-4444-444444444444".parse().unwrap());
    let credentials: [(&dyn TokenCredential, &str); 3] =
        [(&client, "https://g/.default"), (&user, "User.Read"), (&agent, "https://g/.default")];
    for (credential, scope) in credentials {
        let plain = credential.get_token(&request(scope)).await.unwrap();
        let one = request(scope).with_parameter("dc", "one & two").unwrap();
        let other = request(scope).with_parameter("dc", "other").unwrap();
        let token = credential.get_token(&one).await.unwrap();
        assert_eq!(world.forms().await.last().unwrap().get("dc").map(String::as_str), Some("one & two"));
        assert!(!token.same_as(&plain));
        assert!(!credential.get_token(&other).await.unwrap().same_as(&token));
        let sent = world.requests().await;
        assert!(credential.get_token(&one).await.unwrap().same_as(&token), "each is kept");
        assert!(credential.get_token(&request(scope)).await.unwrap().same_as(&plain));
        assert_eq!(world.requests().await, sent);
    }
}

#[tokio::test]
async fn who_cannot_send_parameters_says_so() {
    let request = request("a/.default").with_parameter("dc", "x").unwrap();
    let error = StaticCredential::new("t").unwrap().get_token(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// What works once is sent again when the client's own credential was refused and another one is there: the refusal has
/// used nothing up.
#[tokio::test]
async fn a_sign_in_meets_a_renewed_credential_and_goes_on() {
    let world = world().await;
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let source = ClientAssertion::from_fn(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let until = time::OffsetDateTime::from_unix_timestamp(NOW + 3000).unwrap();
        async move { Ok(Assertion::reusable_until(format!("assertion.{number}.s"), until)) }
    });
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), source)
        .authority(world.authority.clone())
        .clock(Arc::new(world.clock.clone()))
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let users = client.users(world.id_tokens());
    let signer = world.signer();
    // The first one is made and kept here.
    world.answers(|_, _| success("app", &json!({})));
    client.get_token(&request("https://g/.default")).await.unwrap();
    world.answers(move |_, form| match form["client_assertion"].as_str() {
        "assertion.1.s" => {
            let id_token = signer.id_token(1, &json!({}));
            success("user", &json!({"refresh_token": "new", "id_token": id_token}))
        }
        _ => failure("invalid_client", 700_024),
    });
    let scopes = "User.Read".parse().unwrap();
    let signed_in = users.adopt("from elsewhere".into(), &scopes).await.unwrap();
    assert_eq!(signed_in.token.expose(), "user");
    let sent: Vec<_> = world.forms().await.into_iter().map(|form| form["client_assertion"].clone()).collect();
    assert_eq!(sent, ["assertion.0.s", "assertion.0.s", "assertion.1.s"]);
    // Refused for good: one renewal, no more.
    world.answers(|_, _| failure("invalid_client", 700_024));
    let error = users.adopt("from elsewhere".into(), &scopes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert_eq!(world.requests().await, 5);
    // Another refusal is not about the credential.
    world.answers(|_, _| failure("invalid_grant", 70_008));
    assert_eq!(users.adopt("old".into(), &scopes).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    assert_eq!(world.requests().await, 6);
}
