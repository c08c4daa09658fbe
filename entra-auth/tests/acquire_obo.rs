//! On-Behalf-Of: what goes over the wire, and whose token comes back.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AccessTokenValidator, Authority, ConfidentialClient, ErrorKind, ManualClock, RetryPolicy, Secret, StaticKeys,
    TenantPolicy, TokenCredential, TokenErrorKind, TokenRequest, UserToken,
};
use serde_json::json;
use time::OffsetDateTime;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const NOW: i64 = 1_800_000_000;

/// An issuer with one key, a client and a clock, all pointed at one loopback authority.
struct World {
    server: MockServer,
    key: KeyPair,
    validator: AccessTokenValidator,
    client: ConfidentialClient,
    clock: ManualClock,
    issuer: String,
}

async fn world() -> World {
    let server = MockServer::start().await;
    let authority: Authority = format!("{}/entra", server.uri()).parse().unwrap();
    let issuer = authority.issuer_v2(&TENANT.parse().unwrap());
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let (n, e) = modulus_and_exponent(key.public_key().as_ref());
    let jwk = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e), "issuer": issuer});
    let keys = StaticKeys::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap());
    let validator =
        AccessTokenValidator::builder(authority.clone(), [CLIENT], TenantPolicy::Single(TENANT.parse().unwrap()))
            .keys(Arc::new(keys))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .authority(authority)
        .clock(Arc::new(clock.clone()))
        .retry(RetryPolicy::never())
        .timeouts(Duration::from_secs(2), Duration::from_secs(5))
        .build()
        .unwrap();
    World { server, key, validator, client, clock, issuer }
}

/// The two integers of a PKCS#1 public key, without the sign byte.
fn modulus_and_exponent(der: &[u8]) -> (&[u8], &[u8]) {
    let e_at = der.len() - 3;
    let n = &der[e_at - 2 - 256..e_at - 2];
    (n, &der[e_at..])
}

impl World {
    async fn user(&self, number: u8, lifetime: i64) -> UserToken {
        let token = self.mint(number, lifetime);
        self.validator.validate(&token).await.unwrap().into_user().unwrap()
    }

    fn mint(&self, number: u8, lifetime: i64) -> String {
        let user = format!("00000000-0000-0000-0000-0000000000{number:02}");
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k"});
        let claims = json!({
            "aud": CLIENT, "iss": self.issuer, "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + lifetime,
            "tid": TENANT, "oid": user, "sub": format!("s{number}"), "ver": "2.0", "scp": "access_as_user",
            "azp": "33333333-3333-3333-3333-333333333333", "azpacr": "0",
        });
        let mut jwt =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature).unwrap();
        jwt.push('.');
        jwt.push_str(&URL_SAFE_NO_PAD.encode(signature));
        jwt
    }

    /// Answers every exchange with a token that names the assertion it was made from.
    async fn exchanging(&self) {
        let respond = |request: &Request| {
            let assertion = form(request).remove("assertion").unwrap();
            let mark = assertion.rsplit('.').next().unwrap()[..16].to_owned();
            ResponseTemplate::new(200).set_body_json(json!({
                "token_type": "Bearer", "expires_in": 3599, "scope": "User.Read", "access_token": mark,
            }))
        };
        Mock::given(any()).respond_with(respond).mount(&self.server).await;
    }

    async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

fn form(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn graph() -> TokenRequest {
    TokenRequest::new("https://graph.microsoft.com/User.Read".parse().unwrap())
}

#[tokio::test]
async fn the_exchange_member_by_member() {
    let world = world().await;
    world.exchanging().await;
    let user = world.user(1, 3000).await;
    let assertion = user.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
    world.client.on_behalf_of(assertion).get_token(&graph()).await.unwrap();
    let requests = world.server.received_requests().await.unwrap();
    assert_eq!(requests[0].url.path(), format!("/entra/{TENANT}/oauth2/v2.0/token"), "the tenant of the assertion");
    let raw = world.mint(1, 3000);
    let expected = [
        ("assertion", raw.as_str()),
        ("client_id", CLIENT),
        ("client_secret", "s"),
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("requested_token_use", "on_behalf_of"),
        ("scope", "https://graph.microsoft.com/User.Read"),
    ];
    assert_eq!(form(&requests[0]), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn users_never_share_and_one_assertion_is_exchanged_once() {
    let world = world().await;
    world.exchanging().await;
    let mut tokens = Vec::new();
    for round in 0..3 {
        for number in 1..=5 {
            let user = world.user(number, 3000).await;
            let assertion = user.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
            let token = world.client.on_behalf_of(assertion).get_token(&graph()).await.unwrap();
            let raw = world.mint(number, 3000);
            assert_eq!(
                token.expose(),
                &raw.rsplit('.').next().unwrap()[..16],
                "round {round}: a token of another user"
            );
            tokens.push(token.expose().to_owned());
        }
    }
    assert_eq!(world.requests().await, 5, "fifteen calls, five users");
    // Another assertion of the same user is another entry: it may stand for another sign-in.
    let other = world.user(1, 2999).await.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
    world.client.on_behalf_of(other).get_token(&graph()).await.unwrap();
    assert_eq!(world.requests().await, 6);
}

#[tokio::test]
async fn no_token_outlives_its_assertion() {
    let world = world().await;
    world.exchanging().await;
    let assertion = world.user(1, 600).await.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
    let credential = world.client.on_behalf_of(assertion);
    let token = credential.get_token(&graph()).await.unwrap();
    assert_eq!(token.expires_on().unix_timestamp(), NOW + 600, "capped by the assertion, not by expires_in");
    world.clock.step(time::Duration::seconds(601));
    let error = credential.get_token(&graph()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reauthenticate);
    assert_eq!(world.requests().await, 1, "an assertion that has ended is not sent");
}

#[tokio::test]
async fn a_refused_user_is_told_so_and_loses_the_cached_token() {
    let world = world().await;
    world.exchanging().await;
    let assertion = world.user(1, 3000).await.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
    let credential = world.client.on_behalf_of(assertion);
    let token = credential.get_token(&graph()).await.unwrap();
    world.server.reset().await;
    let body = json!({
        "error": "interaction_required", "error_codes": [50076], "suberror": "basic_action",
        "claims": r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#,
    });
    Mock::given(any()).respond_with(ResponseTemplate::new(400).set_body_json(body)).mount(&world.server).await;
    let error = credential.get_token(&graph().with_rejected(token)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionRequired);
    assert!(error.claims_challenge().is_some(), "the challenge is for the user's next sign-in");
    let error = credential.get_token(&graph()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionRequired, "the old token is gone");
}

#[tokio::test]
async fn tokens_for_others_are_no_assertions_and_other_tenants_are_refused() {
    let world = world().await;
    let user = world.user(1, 3000).await;
    let other = "99999999-9999-9999-9999-999999999999".parse().unwrap();
    assert_eq!(user.assertion_for(&other, &["api://x"]).unwrap_err().kind(), TokenErrorKind::AudienceMismatch);
    let assertion = user.assertion_for(world.client.client_id(), &["api://app"]).unwrap();
    let elsewhere = graph().with_tenant("44444444-4444-4444-4444-444444444444".parse().unwrap());
    let error = world.client.on_behalf_of(assertion).get_token(&elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(world.requests().await, 0);
}
