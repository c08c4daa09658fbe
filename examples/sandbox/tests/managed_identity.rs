//! The managed identities of the machine: what they may be, and who trusts them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use std::collections::BTreeMap;

use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Sandbox, Signer};
use serde_json::{Value, json};

async fn identity_token(sandbox: &Sandbox, client_id: &str, resource: &str) -> (u16, Value) {
    let url = format!("{}/metadata/identity/oauth2/token", sandbox.base_url());
    let query = [("api-version", "2018-02-01"), ("resource", resource), ("client_id", client_id)];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let response = client().get(format!("{url}?{query}")).header("Metadata", "true").send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn with_assertion(sandbox: &Sandbox, app: &str, assertion: &str) -> (u16, Value) {
    let form = bot_form(&[
        ("client_id", Some(app)),
        ("client_secret", None),
        ("client_assertion_type", Some(ASSERTION_TYPE)),
        ("client_assertion", Some(assertion)),
        ("scope", Some("https://graph.microsoft.com/.default")),
    ]);
    token(sandbox, RESOURCE_TENANT, &form).await
}

#[tokio::test]
async fn a_registration_trusts_one_identity_and_its_tokens_for_the_exchange_alone() {
    let sandbox = sandbox().await;
    let (status, body) = identity_token(&sandbox, MANAGED_IDENTITY_APP_ID, TOKEN_EXCHANGE_RESOURCE).await;
    let good = body["access_token"].as_str().unwrap();
    let claims = payload(good);
    assert_eq!((status, &claims["aud"], &claims["ver"]), (200, &json!(TOKEN_EXCHANGE_RESOURCE), &json!("2.0")));
    assert_eq!(claims["iss"], format!("{}/entra/{RESOURCE_TENANT}/v2.0", sandbox.base_url()));

    let (status, body) = with_assertion(&sandbox, BOT_APP_ID, good).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["appid"], BOT_APP_ID);
    // It may be used again, unlike an assertion with a certificate.
    assert_eq!(with_assertion(&sandbox, BOT_APP_ID, good).await.0, 200);

    refused(&with_assertion(&sandbox, CERT_APP_ID, good).await, 401, "invalid_client", 700_213);
    let (_, elsewhere) = identity_token(&sandbox, MANAGED_IDENTITY_APP_ID, GRAPH_RESOURCE).await;
    let elsewhere = elsewhere["access_token"].as_str().unwrap();
    refused(&with_assertion(&sandbox, BOT_APP_ID, elsewhere).await, 401, "invalid_client", 700_211);
    let changed = |signer: Signer, name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        if name == "scp" {
            claims.as_object_mut().unwrap().remove("idtyp");
        }
        sandbox.sign(signer, &json!({}), &claims)
    };
    for (assertion, code) in [
        (changed(Signer::Forger, "x", json!(1)), 700_211),
        (changed(Signer::Entra, "exp", json!(1)), 700_211),
        (changed(Signer::Entra, "azp", json!(OTHER_APP_ID)), 700_213),
        (changed(Signer::Entra, "scp", json!("user_impersonation")), 700_229),
    ] {
        refused(&with_assertion(&sandbox, BOT_APP_ID, &assertion).await, 401, "invalid_client", code);
    }
}

#[tokio::test]
async fn the_bot_as_an_identity_has_no_registration() {
    let sandbox = Sandbox::builder().bot_as_managed_identity().start().await.unwrap();
    let settings: BTreeMap<_, _> = sandbox.settings().into_iter().collect();
    assert_eq!(settings["AZURE_POD_IDENTITY_AUTHORITY_HOST"], sandbox.base_url());
    assert_eq!((&*settings["BOT_APP_ID"], &*settings["BOT_SSO_APP_ID"]), (BOT_APP_ID, AUTH_APP_ID));
    assert_eq!(settings["BOT_SSO_RESOURCE"], SSO_RESOURCE);
    assert!(!settings.contains_key("BOT_APP_PASSWORD"));

    refused(&token(&sandbox, RESOURCE_TENANT, &bot_form(&[])).await, 400, "unauthorized_client", 700_016);
    let (status, body) = identity_token(&sandbox, BOT_APP_ID, CONNECTOR_RESOURCE).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["appid"], BOT_APP_ID);

    // The sign-in has a registration of its own, which trusts the bot and not the other identity of the machine.
    assert_eq!(payload(&sandbox.sso_token(&USER_ONE))["aud"], AUTH_APP_ID);
    for (identity, status) in [(BOT_APP_ID, 200), (MANAGED_IDENTITY_APP_ID, 401)] {
        let (_, body) = identity_token(&sandbox, identity, TOKEN_EXCHANGE_RESOURCE).await;
        let answer = with_assertion(&sandbox, AUTH_APP_ID, body["access_token"].as_str().unwrap()).await;
        assert_eq!(answer.0, status, "{}", answer.1);
    }
    // Usually the bot is none of the machine's identities.
    assert_eq!(identity_token(&crate::sandbox().await, BOT_APP_ID, CONNECTOR_RESOURCE).await.0, 400);
}
