//! The claims of Entra's access tokens: each is typed or kept.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{sync::Arc, time::Duration};

use entra_auth::{
    AllowedCallers, AppToken, ClientAuthentication, TokenErrorKind, TokenVersion, UserToken, ValidatedToken,
};
use serde_json::{Value, json};
use validate_support::*;

async fn validated(claims: &Value) -> ValidatedToken {
    let validator = builder(single()).app_callers(AllowedCallers::only([CALLER.parse().unwrap()])).build().unwrap();
    validator.validate(&ENTRA.sign(claims)).await.unwrap()
}

async fn user(claims: &Value) -> UserToken {
    validated(claims).await.into_user().unwrap()
}

async fn app(claims: &Value) -> AppToken {
    validated(claims).await.into_app().unwrap()
}

/// The members of a version 2 token for a plain delegated API, as Entra sends them.
fn sample() -> Value {
    json!({
        "aud": format!("api://{API}"),
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW - 60,
        "nbf": NOW - 60,
        "exp": NOW + 4259,
        "aio": "AaQAW/8cAAAA",
        "azp": CALLER,
        "azpacr": "1",
        "name": "John Doe",
        "oid": USER,
        "preferred_username": "john.doe@example.com",
        "rh": "1.AbcA",
        "scp": "user_impersonation",
        "sid": "session",
        "sub": "subject",
        "tid": TENANT,
        "uti": "token-id",
        "ver": "2.0",
        "xms_ftd": "xEyJj",
    })
}

#[tokio::test]
async fn every_claim_of_a_token_has_a_typed_getter_and_stays_as_it_was() {
    let token = user(&sample()).await;
    assert_eq!(token.audience(), format!("api://{API}"));
    assert_eq!(token.issuer(), format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!(token.issued_at().unwrap().unix_timestamp(), NOW - 60);
    assert_eq!(token.not_before().unwrap().unix_timestamp(), NOW - 60);
    assert_eq!(token.expires_on().unix_timestamp(), NOW + 4259);
    assert_eq!(token.internal_claims().aio, Some("AaQAW/8cAAAA"));
    assert_eq!(token.internal_claims().rh, Some("1.AbcA"));
    assert_eq!(token.internal_claims().xms_ftd, Some("xEyJj"));
    assert_eq!(token.caller().unwrap().as_str(), CALLER);
    assert_eq!(token.client_authentication(), Some(ClientAuthentication::Secret));
    assert_eq!(token.untrusted_display().name, Some("John Doe"));
    assert_eq!(token.untrusted_display().username, Some("john.doe@example.com"));
    assert_eq!(token.object_id().as_str(), USER);
    assert_eq!(token.scopes(), ["user_impersonation"]);
    assert_eq!(token.session_id(), Some("session"));
    assert_eq!(token.subject(), Some("subject"));
    assert_eq!(token.tenant().as_str(), TENANT);
    assert_eq!(token.token_id(), Some("token-id"));
    assert_eq!(token.version(), TokenVersion::V2);
    assert!(token.agent().is_none() && token.authentication_contexts().is_empty());

    for (name, value) in members(&sample()) {
        let kept: Value = serde_json::from_str(token.claims().raw(name).unwrap().get()).unwrap();
        assert_eq!(kept, *value, "{name}");
    }
    assert_eq!(token.claims().names().count(), members(&sample()).len());
    assert!(!format!("{:?} {token:?}", token.internal_claims()).contains("AaQ"));
}

#[tokio::test]
async fn a_claim_that_nobody_knows_is_kept() {
    let token = user(&with(sample(), &[("extn.costCenter", json!({"a": [1, 2.50]}))])).await;
    assert_eq!(token.claims().raw("extn.costCenter").unwrap().get(), r#"{"a":[1,2.5]}"#);
}

#[tokio::test]
async fn how_the_application_proved_itself() {
    for (text, expected) in [
        ("0", Some(ClientAuthentication::None)),
        ("1", Some(ClientAuthentication::Secret)),
        ("2", Some(ClientAuthentication::Certificate)),
        ("3", None),
        ("", None),
    ] {
        assert_eq!(user(&with(sample(), &[("azpacr", json!(text))])).await.client_authentication(), expected, "{text}");
        let v1 = with(v1_claims(), &[("appidacr", json!(text)), ("azpacr", json!("2"))]);
        assert_eq!(user(&v1).await.client_authentication(), expected, "version 1 has its own claim");
    }
    assert_eq!(app(&app_claims()).await.client_authentication(), Some(ClientAuthentication::Secret));
}

#[tokio::test]
async fn agents_are_told_apart_and_bad_facets_are_no_facets() {
    let with_facets =
        |facets: &str| with(sample(), &[("xms_par_app_azp", json!(OTHER_TENANT)), ("xms_sub_fct", json!(facets))]);
    for (facets, agent_user) in [
        ("13", true),
        ("11 13", true),
        (" 13\t11 ", true),
        ("11", false),
        ("113", false),
        ("13 x", false),
        ("13,11", false),
        ("", false),
    ] {
        let token = user(&with_facets(facets)).await;
        let agent = token.agent().unwrap();
        assert_eq!((agent.blueprint, agent.is_agent_user), (OTHER_TENANT, agent_user), "{facets}");
    }
    let token = user(&without(with_facets("13"), "xms_par_app_azp")).await;
    assert!(token.agent().is_none(), "the parent makes the agent");

    let lone_slash = with(app_claims(), &[("scp", json!("/")), ("xms_par_app_azp", json!(OTHER_TENANT))]);
    assert_eq!(app(&lone_slash).await.agent().unwrap().blueprint, OTHER_TENANT);
}

#[tokio::test]
async fn authentication_contexts_are_listed() {
    let token = user(&with(sample(), &[("acrs", json!(["c1", "urn:x"]))])).await;
    assert_eq!(token.authentication_contexts(), ["c1", "urn:x"]);
}

#[tokio::test]
async fn a_token_may_be_too_old_for_an_operation() {
    let clock = clock();
    let validator =
        builder(single()).clock(Arc::new(clock.clone())).max_token_age(Duration::from_secs(600)).build().unwrap();
    let token = ENTRA.sign(&sample());
    assert!(validator.validate(&token).await.is_ok());
    clock.step(time::Duration::seconds(600));
    assert!(validator.validate(&token).await.is_ok(), "60 s old at first, and 60 s of leeway");
    clock.step(time::Duration::seconds(1));
    let refused = validator.validate(&token).await.unwrap_err().kind();
    assert_eq!(refused, TokenErrorKind::TooOld, "also when it was accepted before");

    let bare = ENTRA.sign(&without(sample(), "iat"));
    assert_eq!(validator.validate(&bare).await.unwrap_err().kind(), TokenErrorKind::MissingClaim);
    assert!(builder(single()).build().unwrap().validate(&bare).await.is_ok());
}
