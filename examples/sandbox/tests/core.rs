//! The machine itself: settings, log, faults, keys, clock, stop and restart, TLS, remote control.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Consent, Fault, Restart, Sandbox};
use serde_json::{Value, json};

const TOKEN: &str = "POST /entra/{tenant}/oauth2/v2.0/token";
const KEYS: &str = "/botframework/v1/.well-known/keys";

async fn keys(sandbox: &Sandbox) -> reqwest::Result<reqwest::Response> {
    client().get(format!("{}{KEYS}", sandbox.base_url())).send().await
}

#[tokio::test]
async fn settings_are_those_of_a_bot() {
    let sandbox = sandbox().await;
    let base = sandbox.base_url();
    let settings: BTreeMap<&str, String> = sandbox.settings().into_iter().collect();
    let expected = BTreeMap::from([
        ("AZURE_TENANT_ID", RESOURCE_TENANT.to_owned()),
        ("AZURE_AUTHORITY_HOST", format!("{base}/entra")),
        ("BOT_APP_ID", BOT_APP_ID.to_owned()),
        ("BOT_APP_PASSWORD", BOT_APP_SECRET.to_owned()),
        ("BOT_OPENID_METADATA_URL", format!("{base}/botframework/v1/.well-known/openidconfiguration")),
        ("BOT_TOKEN_SERVICE_URL", format!("{base}/tokenservice")),
        ("GRAPH_BASE_URL", format!("{base}/graph")),
        ("BOT_CONNECTOR_HOSTS", "127.0.0.1".to_owned()),
        ("BOT_SSO_APP_ID", BOT_APP_ID.to_owned()),
        ("BOT_SSO_RESOURCE", format!("api://botid-{BOT_APP_ID}")),
        ("OAUTH_CONNECTION_NAME", "SERVICE_CONNECTION".to_owned()),
        ("ALLOWED_TENANT_IDS", HOME_TENANT.to_owned()),
        ("FOUNDRY_PROJECT_ENDPOINT", format!("{base}/foundry/api/projects/sandbox")),
        ("FOUNDRY_AGENT_NAME", FOUNDRY_AGENT.to_owned()),
    ]);
    assert_eq!(settings, expected);
    let remote: Value = client().get(format!("{base}/_sandbox/settings")).send().await.unwrap().json().await.unwrap();
    assert_eq!(remote, json!(expected));
}

#[tokio::test]
async fn the_channel_has_its_own_keys_and_token() {
    let sandbox = sandbox().await;
    let url = format!("{}/botframework/v1/.well-known/openidconfiguration", sandbox.base_url());
    let document: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["issuer"], "https://api.botframework.com");
    assert_eq!(document["jwks_uri"], format!("{}{KEYS}", sandbox.base_url()));
    let published: Value = keys(&sandbox).await.unwrap().json().await.unwrap();
    let key = &published["keys"][0];
    assert!(key["endorsements"].as_array().unwrap().contains(&json!("msteams")));
    let token = sandbox.channel_token(BOT_APP_ID, &sandbox.service_url(HOME_TENANT).replace("amer", "AMER"));
    assert_eq!(header(&token), json!({"alg": "RS256", "typ": "JWT", "kid": key["kid"], "x5t": key["x5t"]}));
    let claims = payload(&token);
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "exp", "iss", "nbf", "serviceurl"]);
    assert_eq!(claims["serviceurl"], format!("{}/connector/amer/{HOME_TENANT}/", sandbox.base_url()));
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str()),
        (Some("https://api.botframework.com"), Some(BOT_APP_ID))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 3600);
}

#[tokio::test]
async fn the_log_keeps_fields_and_hides_bearers() {
    let sandbox = sandbox().await;
    bot_token(&sandbox).await;
    bot_token(&sandbox).await;
    assert_eq!((sandbox.requests(TOKEN), sandbox.requests("**"), sandbox.requests("GET /**")), (2, 2, 0));
    let [first, _] = sandbox.log(TOKEN).try_into().unwrap();
    assert_eq!(first.path, format!("/entra/{RESOURCE_TENANT}/oauth2/v2.0/token"));
    assert_eq!((first.field("client_secret"), first.status), (Some(BOT_APP_SECRET), 200));
    assert_eq!(first.header("content-type"), Some("application/x-www-form-urlencoded"));
    let url = format!("{}/foundry/api/projects/sandbox/x?A=b%20c", sandbox.base_url());
    client().post(url).bearer_auth("secret").json(&json!({"k": [1]})).send().await.unwrap();
    let [entry] = sandbox.log("/foundry/**").try_into().unwrap();
    assert_eq!((entry.header("authorization"), entry.parameter("a")), (Some("***"), Some("b c")));
    assert_eq!((entry.json, entry.status), (Some(json!({"k": [1]})), 401));
    sandbox.clear_log();
    assert_eq!((sandbox.requests("**"), sandbox.log("**").len()), (0, 0));
}

#[tokio::test]
async fn scripted_answers() {
    let sandbox = sandbox().await;
    sandbox.fault(Fault::on(KEYS).answer(503, r#"{"error":"busy"}"#).header("Retry-After", "7").times(1));
    let busy = keys(&sandbox).await.unwrap();
    assert_eq!((busy.status().as_u16(), busy.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(busy.json::<Value>().await.unwrap(), json!({"error": "busy"}));
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 200);

    sandbox.fault(Fault::on(KEYS).html(502).times(1));
    let page = keys(&sandbox).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().starts_with("<html>"));

    sandbox.fault(Fault::on(KEYS).malformed().times(1));
    let broken = keys(&sandbox).await.unwrap();
    assert_eq!(
        (broken.status().as_u16(), broken.headers()["content-type"].to_str().unwrap()),
        (200, "application/json; charset=utf-8")
    );
    assert!(serde_json::from_str::<Value>(&broken.text().await.unwrap()).is_err());

    sandbox.fault(Fault::on(KEYS).delay(Duration::from_millis(300)).times(1));
    let begun = Instant::now();
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));

    sandbox.fault(Fault::on(KEYS).status(500));
    assert_eq!([keys(&sandbox).await.unwrap().status(), keys(&sandbox).await.unwrap().status()], [500, 500]);
    sandbox.clear_faults();
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn broken_connections() {
    let sandbox = sandbox().await;
    let whole = keys(&sandbox).await.unwrap().bytes().await.unwrap();

    sandbox.fault(Fault::on(KEYS).truncate(100).times(1));
    let mut cut = keys(&sandbox).await.unwrap();
    assert_eq!(cut.content_length(), Some(whole.len() as u64));
    let mut got = Vec::new();
    let end = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "the body must not look whole");
    assert_eq!(got, whole[..100]);

    sandbox.fault(Fault::on(KEYS).stall(10).times(1));
    let mut stalled = keys(&sandbox).await.unwrap();
    assert_eq!(stalled.chunk().await.unwrap().unwrap().len(), 10);
    assert!(tokio::time::timeout(Duration::from_millis(300), stalled.chunk()).await.is_err());

    sandbox.fault(Fault::on(KEYS).hang().times(1));
    assert!(tokio::time::timeout(Duration::from_millis(300), keys(&sandbox)).await.is_err());

    sandbox.fault(Fault::on(KEYS).reset().times(1));
    assert!(keys(&sandbox).await.is_err());

    // The work is done, the answer is lost.
    sandbox.fault(Fault::on("POST /entra/{t}/oauth2/v2.0/token").lose_answer().times(1));
    let url = format!("{}/entra/{RESOURCE_TENANT}/oauth2/v2.0/token", sandbox.base_url());
    assert!(client().post(url).fields(&bot_form(&[])).send().await.is_err());
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn stop_closes_port_and_connections_and_restart_brings_them_back() {
    let sandbox = sandbox().await;
    let client = client();
    let url = format!("{}{KEYS}", sandbox.base_url());
    sandbox.fault(Fault::on(KEYS).hang().times(1));
    let waiting = tokio::spawn(client.get(&url).send());
    while sandbox.requests(KEYS) == 0 {
        tokio::task::yield_now().await;
    }
    sandbox.stop().await;
    let cut = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("the connection was left open");
    assert!(cut.unwrap().is_err());
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
    let address = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let taken = std::net::TcpListener::bind(&address).expect("the port is free");
    assert!(sandbox.restart(Restart::Kept).await.is_err(), "the port is taken");
    drop(taken);

    sandbox.grant_consent(&Consent::of_admin(SERVICE_APP_ID, BOT_APP_ID));
    sandbox.restart(Restart::Kept).await.unwrap();
    let kept: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(sandbox.requests(KEYS), 2);
    let sso = sandbox.sso_token(&USER_ONE);

    sandbox.restart(Restart::Fresh).await.unwrap();
    assert_eq!(sandbox.requests(KEYS), 0);
    let fresh: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_ne!(kept, fresh);
    assert_eq!(format!("{}{KEYS}", sandbox.base_url()), url);
    let form = [
        ("grant_type", Some(OBO)),
        ("requested_token_use", Some("on_behalf_of")),
        ("assertion", Some(sso.as_str())),
        ("scope", Some("User.Read")),
    ];
    refused(&token(&sandbox, HOME_TENANT, &bot_form(&form)).await, 400, "invalid_grant", 50013);
}

#[tokio::test]
async fn tls_with_its_own_authority() {
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    let base = sandbox.base_url();
    assert!(base.starts_with("https://localhost:"));
    let pem = std::fs::read(sandbox.ca_file().unwrap()).unwrap();
    let trusted = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let url = format!("{base}/entra/common/v2.0/.well-known/openid-configuration");
    let document: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["issuer"], format!("{base}/entra/{{tenantid}}/v2.0"));
    let settings: BTreeMap<&str, String> = sandbox.settings().into_iter().collect();
    assert_eq!(settings["BOT_CONNECTOR_HOSTS"], "localhost");
    assert!(core_support::client().get(&url).send().await.is_err(), "nobody else trusts it");
    let file = sandbox.ca_file().unwrap().to_owned();
    drop(sandbox);
    assert!(!file.exists());
}

#[tokio::test]
async fn the_clock_moves_every_check() {
    let sandbox = sandbox().await;
    let bearer = bot_token(&sandbox).await;
    let status = async || {
        let url = format!("{}/tokenservice/api/usertoken/GetTokenStatus?userId=29:x", sandbox.base_url());
        client().get(url).bearer_auth(&bearer).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status().await, 200);
    sandbox.advance_clock(3600);
    assert_eq!(status().await, 200, "skew");
    sandbox.advance_clock(61);
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn everything_by_remote_control() {
    let sandbox = sandbox().await;
    let base = sandbox.base_url();
    let send = async |method: &str, path: &str, body: Value| {
        let request = client().request(method.parse().unwrap(), format!("{base}/_sandbox/{path}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    };
    let fault = json!({"route": KEYS, "kind": {"status": {"status": 418, "body": ""}}, "times": 1});
    assert_eq!(send("POST", "faults", fault).await.0, 204);
    assert_eq!(send("GET", "faults", Value::Null).await.1[0]["times"], 1);
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 418);
    assert_eq!(send("POST", "faults", json!({"route": KEYS, "kind": "explode"})).await.0, 422);
    assert_eq!(send("POST", "faults", json!({"route": KEYS, "kind": "hang"})).await.0, 204);
    assert_eq!(send("DELETE", "faults", Value::Null).await.0, 204);
    assert_eq!(keys(&sandbox).await.unwrap().status().as_u16(), 200);

    let (_, log) = send("GET", "requests?route=/botframework/**", Value::Null).await;
    assert_eq!((log["count"].as_u64(), log["requests"][0]["status"].as_u64()), (Some(2), Some(418)));
    assert_eq!(send("DELETE", "requests", Value::Null).await.0, 204);
    assert_eq!(send("GET", "requests", Value::Null).await.1["count"], 0);

    let before: Value = keys(&sandbox).await.unwrap().json().await.unwrap();
    assert_eq!(send("POST", "keys/rotate?retire=true", Value::Null).await.0, 204);
    let after: Value = keys(&sandbox).await.unwrap().json().await.unwrap();
    assert_eq!(after["keys"].as_array().unwrap().len(), 1);
    assert_ne!(before, after);

    let (_, sso) = send("POST", "sso-token", json!({"user": USER_ONE.oid})).await;
    assert_eq!(send("POST", "sso-token", json!({"user": "nobody"})).await.0, 400);
    let form = [
        ("grant_type", Some(OBO)),
        ("requested_token_use", Some("on_behalf_of")),
        ("assertion", sso["token"].as_str()),
        ("scope", Some("User.Read")),
    ];
    let code = async || token(&sandbox, HOME_TENANT, &bot_form(&form)).await.1["error_codes"][0].as_u64();
    let consent = json!({"client": BOT_APP_ID, "resource": GRAPH_RESOURCE});
    assert_eq!(code().await, None);
    assert_eq!(send("DELETE", "consent", consent.clone()).await.0, 204);
    assert_eq!(code().await, Some(65001));
    assert_eq!(send("POST", "consent", consent).await.0, 204);
    assert_eq!(send("POST", "mfa", json!({"user": USER_ONE.oid, "required": true})).await.0, 204);
    assert_eq!(code().await, Some(50076));
    assert_eq!(send("POST", "mfa", json!({"user": USER_ONE.oid, "required": false})).await.0, 204);
    let (_, then) = send("GET", "clock", Value::Null).await;
    let (_, later) = send("POST", "clock", json!({"advance": 7200})).await;
    assert!(later["now"].as_i64().unwrap() - then["now"].as_i64().unwrap() >= 7200);
    assert_eq!(code().await, Some(500_133));

    let (_, signed) =
        send("POST", "sign", json!({"signer": "channel", "header": {"x5t": "y"}, "claims": {"iss": "x"}})).await;
    let signed = signed["token"].as_str().unwrap();
    assert_eq!((payload(signed), header(signed)["x5t"].as_str()), (json!({"iss": "x"}), Some("y")));

    let (_, pem) = send("GET", "certificates", Value::Null).await;
    assert_eq!(pem.as_str().unwrap(), sandbox.certificate_pem());
    let register = |app: &str| json!({"app": app, "pem": pem});
    assert_eq!(send("POST", "certificates", register(SERVICE_APP_ID)).await.0, 204);
    assert_eq!(send("POST", "certificates", register("nobody")).await.0, 400);
    assert_eq!(send("POST", "bot", json!({"endpoint": "http://127.0.0.1:1/api/messages"})).await.0, 204);
}

#[tokio::test]
async fn a_connector_token_of_the_users_tenant_opens_neither_connector_nor_project() {
    let sandbox = sandbox().await;
    let issue = async |tenant: &str, scope: &str| {
        let (_, body) = token(&sandbox, tenant, &bot_form(&[("scope", Some(scope))])).await;
        body["access_token"].as_str().unwrap().to_owned()
    };
    let connector = format!("{}v3/conversations/a%3A1/activities", sandbox.service_url(HOME_TENANT));
    let project = format!("{}/foundry/api/projects/sandbox/openai/v1/conversations", sandbox.base_url());
    let status = async |url: &str, bearer: String| {
        client().post(url).bearer_auth(bearer).json(&json!({"type": "message"})).send().await.unwrap().status().as_u16()
    };
    let (bot, ai) = ("https://api.botframework.com/.default", "https://ai.azure.com/.default");
    assert_eq!(status(&connector, issue(HOME_TENANT, bot).await).await, 401);
    assert_eq!(status(&connector, issue(RESOURCE_TENANT, ai).await).await, 401);
    assert_ne!(status(&connector, issue(RESOURCE_TENANT, bot).await).await, 401);
    assert_eq!(status(&project, issue(HOME_TENANT, ai).await).await, 401);
    assert_eq!(status(&project, issue(RESOURCE_TENANT, bot).await).await, 401);
    assert_ne!(status(&project, issue(RESOURCE_TENANT, ai).await).await, 401);
}
