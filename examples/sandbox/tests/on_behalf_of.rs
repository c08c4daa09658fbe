//! On-Behalf-Of: what the assertion must be, consent, conditions, and what comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use base64::Engine as _;
use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Consent, Sandbox, Signer};
use serde_json::{Value, json};

async fn exchange(sandbox: &Sandbox, tenant: &str, changes: &[(&str, Option<&str>)]) -> (u16, Value) {
    let mut all = vec![
        ("grant_type", Some(OBO)),
        ("requested_token_use", Some("on_behalf_of")),
        ("scope", Some("https://graph.microsoft.com/User.Read openid profile offline_access")),
    ];
    all.extend_from_slice(changes);
    token(sandbox, tenant, &bot_form(&all)).await
}

async fn of(sandbox: &Sandbox, assertion: &str) -> (u16, Value) {
    exchange(sandbox, HOME_TENANT, &[("assertion", Some(assertion))]).await
}

#[tokio::test]
async fn the_sso_token_is_what_teams_sends() {
    let sandbox = sandbox().await;
    let claims = payload(&sandbox.sso_token(&USER_ONE));
    assert_eq!(claims["aud"], BOT_APP_ID);
    assert_eq!(claims["iss"], format!("{}/entra/{HOME_TENANT}/v2.0", sandbox.base_url()));
    assert_eq!((claims["scp"].as_str(), claims["ver"].as_str()), (Some("access_as_user"), Some("2.0")));
    assert_eq!((claims["azp"].as_str(), claims["azpacr"].as_str()), (Some(TEAMS_CLIENT_ID), Some("0")));
    assert_eq!(
        (claims["oid"].as_str(), claims["preferred_username"].as_str()),
        (Some(USER_ONE.oid), Some(USER_ONE.upn))
    );
    assert_eq!((claims["name"].as_str(), claims["tid"].as_str()), (Some("User One"), Some(HOME_TENANT)));
}

#[tokio::test]
async fn exchanges_for_graph_and_refreshes() {
    let sandbox = sandbox().await;
    let sso = sandbox.sso_token(&USER_ONE);
    let (status, body) =
        exchange(&sandbox, HOME_TENANT, &[("assertion", Some(&sso)), ("client_info", Some("1"))]).await;
    assert_eq!(status, 200, "{body}");
    let claims = payload(body["access_token"].as_str().unwrap());
    assert_eq!((claims["aud"].as_str(), claims["appid"].as_str()), (Some(GRAPH_RESOURCE), Some(BOT_APP_ID)));
    assert_eq!((claims["scp"].as_str(), claims["name"].as_str()), (Some("User.Read"), Some("User One")));
    assert_eq!(claims["tid"], HOME_TENANT);
    assert_eq!(body["scope"], "https://graph.microsoft.com/User.Read openid profile");
    let id_token = payload(body["id_token"].as_str().unwrap());
    assert_eq!((id_token["aud"].as_str(), id_token["oid"].as_str()), (Some(BOT_APP_ID), Some(USER_ONE.oid)));
    let info = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body["client_info"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&info).unwrap(), json!({"uid": USER_ONE.oid, "utid": HOME_TENANT}));

    let me = client().get(format!("{}/graph/v1.0/me", sandbox.base_url()));
    let me: Value = me.bearer_auth(body["access_token"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
    assert_eq!(me["displayName"], "User One");

    let refresh = body["refresh_token"].as_str().unwrap();
    let form = |token| {
        bot_form(&[("grant_type", Some("refresh_token")), ("refresh_token", Some(token)), ("scope", Some("User.Read"))])
    };
    assert_eq!(token(&sandbox, HOME_TENANT, &form(refresh)).await.0, 200);
    refused(&token(&sandbox, HOME_TENANT, &form("stolen")).await, 400, "invalid_grant", 70000);
    refused(&token(&sandbox, RESOURCE_TENANT, &form(refresh)).await, 400, "invalid_grant", 70000);
}

#[tokio::test]
async fn the_second_hop_starts_from_the_service_token() {
    let sandbox = sandbox().await;
    let scope = format!("{SERVICE_RESOURCE}/.default");
    let sso = sandbox.sso_token(&USER_TWO);
    let (status, body) = exchange(&sandbox, HOME_TENANT, &[("assertion", Some(&sso)), ("scope", Some(&scope))]).await;
    assert_eq!(status, 200, "{body}");
    let first = body["access_token"].as_str().unwrap();
    assert_eq!((payload(first)["aud"].as_str(), payload(first)["ver"].as_str()), (Some(SERVICE_APP_ID), Some("2.0")));
    assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none());
    // The bot may not present a token of the service; the service may.
    refused(&of(&sandbox, first).await, 400, "invalid_grant", 500_131);
    let service =
        [("assertion", Some(first)), ("client_id", Some(SERVICE_APP_ID)), ("client_secret", Some(SERVICE_APP_SECRET))];
    let (status, body) = exchange(&sandbox, HOME_TENANT, &service).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["oid"], USER_TWO.oid);
}

#[tokio::test]
async fn refusals_of_the_assertion() {
    let sandbox = sandbox().await;
    let now = now(&sandbox).await;
    let good = payload(&sandbox.sso_token(&USER_ONE));
    let sign = |change: (&str, Value)| {
        let mut claims = good.clone();
        claims[change.0] = change.1;
        sandbox.sign(Signer::Entra, &json!({}), &claims)
    };
    assert_eq!(of(&sandbox, &sign(("iat", json!(now)))).await.0, 200);
    let app_only =
        token(&sandbox, HOME_TENANT, &bot_form(&[("scope", Some(&format!("{SSO_RESOURCE}/.default")))])).await;
    let cases = [
        ("app-only", app_only.1["access_token"].as_str().unwrap().to_owned(), 7_000_114),
        ("no scopes: an id_token", sign(("scp", json!(""))), 240_002),
        ("other audience", sign(("aud", json!(SERVICE_APP_ID))), 500_131),
        ("upper-case audience URI", sign(("aud", json!(SSO_RESOURCE.to_uppercase()))), 500_131),
        ("expired", sign(("exp", json!(now - 61))), 500_133),
        ("not yet valid", sign(("nbf", json!(now + 900))), 500_133),
        ("no expiry", sign(("exp", Value::Null)), 50013),
        ("foreign issuer", sign(("iss", json!("https://login.example/v2.0"))), 50013),
        ("tenant and issuer disagree", sign(("tid", json!(RESOURCE_TENANT))), 50013),
        ("unknown user", sign(("oid", json!("33333333-0000-4000-8000-000000000003"))), 50020),
        ("unpublished key", sandbox.sign(Signer::Forger, &json!({}), &good), 50013),
        ("unknown key", sandbox.sign(Signer::Entra, &json!({"kid": "x"}), &good), 50013),
        ("personal key", sandbox.sign(Signer::PersonalAccounts, &json!({}), &good), 50013),
        ("channel key", sandbox.sign(Signer::Channel, &json!({}), &good), 50013),
        ("not a token", "garbage".to_owned(), 50013),
    ];
    for (why, assertion, code) in cases {
        let answer = of(&sandbox, &assertion).await;
        assert_eq!(answer.1["error_codes"][0], code, "{why}: {}", answer.1);
        refused(&answer, 400, "invalid_grant", code);
    }
    // The bot's home tenant does not know the user.
    let elsewhere = exchange(&sandbox, RESOURCE_TENANT, &[("assertion", Some(&sandbox.sso_token(&USER_ONE)))]).await;
    refused(&elsewhere, 400, "invalid_grant", 50020);
    let common = exchange(&sandbox, "common", &[("assertion", Some(&sandbox.sso_token(&USER_ONE)))]).await;
    refused(&common, 400, "invalid_request", 9_001_023);
}

#[tokio::test]
async fn refusals_of_the_request() {
    let sandbox = sandbox().await;
    let sso = sandbox.sso_token(&USER_ONE);
    let with = |name, value| exchange_with(&sandbox, &sso, name, value);
    refused(&exchange(&sandbox, HOME_TENANT, &[]).await, 400, "invalid_request", 900144);
    refused(&with("requested_token_use", None).await, 400, "invalid_request", 900144);
    refused(&with("requested_token_use", Some("other")).await, 400, "invalid_request", 90023);
    refused(&with("scope", Some("openid")).await, 400, "invalid_scope", 28002);
    refused(&with("scope", Some("Mail.Send")).await, 400, "invalid_scope", 70011);
    refused(
        &with("scope", Some("User.Read https://ai.azure.com/user_impersonation")).await,
        400,
        "invalid_scope",
        700022,
    );
    refused(&with("scope", Some("api://nobody/x")).await, 400, "invalid_resource", 500_011);
    refused(&with("client_secret", Some("wrong")).await, 401, "invalid_client", 7_000_215);
}

async fn exchange_with(sandbox: &Sandbox, sso: &str, name: &str, value: Option<&str>) -> (u16, Value) {
    exchange(sandbox, HOME_TENANT, &[("assertion", Some(sso)), (name, value)]).await
}

#[tokio::test]
async fn consent_is_asked_for_and_given() {
    let sandbox = sandbox().await;
    let sso = sandbox.sso_token(&USER_ONE);
    sandbox.revoke_consent(&Consent::of_admin(BOT_APP_ID, GRAPH_RESOURCE));
    let answer = of(&sandbox, &sso).await;
    refused(&answer, 400, "invalid_grant", 65001);
    assert_eq!(answer.1["suberror"], "consent_required");
    // Another user's consent does not help; one's own does.
    sandbox.grant_consent(&Consent::of_user(USER_TWO.oid, BOT_APP_ID, GRAPH_RESOURCE));
    assert_eq!(of(&sandbox, &sso).await.0, 400);
    sandbox.grant_consent(&Consent::of_user(USER_ONE.oid, BOT_APP_ID, GRAPH_APP_ID));
    assert_eq!(of(&sandbox, &sso).await.0, 200);
    sandbox.revoke_consent(&Consent::of_user(USER_ONE.oid, BOT_APP_ID, GRAPH_RESOURCE));
    assert_eq!(of(&sandbox, &sso).await.0, 400);
    assert_eq!(of(&sandbox, &sandbox.sso_token(&USER_TWO)).await.0, 200);
}

#[tokio::test]
async fn a_condition_answers_with_a_claims_challenge() {
    let sandbox = sandbox().await;
    let sso = sandbox.sso_token(&USER_ONE);
    sandbox.require_mfa(&USER_ONE, true);
    let answer = of(&sandbox, &sso).await;
    refused(&answer, 400, "interaction_required", 50076);
    assert_eq!(answer.1["suberror"], "basic_action");
    let claims: Value = serde_json::from_str(answer.1["claims"].as_str().unwrap()).unwrap();
    assert!(claims["access_token"]["capolids"]["values"][0].is_string());
    sandbox.require_mfa(&USER_ONE, false);
    assert_eq!(of(&sandbox, &sso).await.0, 200);
}
