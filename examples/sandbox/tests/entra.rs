//! Discovery, keys, client credentials: what Entra answers, and every refusal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use std::time::Duration;

use base64::Engine as _;
use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Sandbox, Signer};
use serde_json::{Value, json};

async fn get(sandbox: &Sandbox, path: &str) -> (u16, Value) {
    let response = client().get(format!("{}{path}", sandbox.base_url())).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn discovery_of_both_generations() {
    let sandbox = sandbox().await;
    let base = sandbox.base_url();
    let (_, v2) = get(&sandbox, &format!("/entra/{HOME_TENANT}/v2.0/.well-known/openid-configuration")).await;
    assert_eq!(v2["issuer"], format!("{base}/entra/{HOME_TENANT}/v2.0"));
    assert_eq!(v2["token_endpoint"], format!("{base}/entra/{HOME_TENANT}/oauth2/v2.0/token"));
    assert_eq!(v2["jwks_uri"], format!("{base}/entra/{HOME_TENANT}/discovery/v2.0/keys"));
    assert_eq!(v2["id_token_signing_alg_values_supported"], json!(["RS256"]));
    for name in ["common", "organizations"] {
        let (_, document) = get(&sandbox, &format!("/entra/{name}/v2.0/.well-known/openid-configuration")).await;
        assert_eq!(document["issuer"], format!("{base}/entra/{{tenantid}}/v2.0"));
    }
    let (_, v1) = get(&sandbox, &format!("/entra/{HOME_TENANT}/.well-known/openid-configuration")).await;
    assert_eq!(v1["issuer"], format!("https://sts.windows.net/{HOME_TENANT}/"));
    assert_eq!(v1["token_endpoint"], format!("{base}/entra/{HOME_TENANT}/oauth2/token"));
    let unknown =
        get(&sandbox, "/entra/00000000-1111-4000-8000-000000000000/v2.0/.well-known/openid-configuration").await;
    refused(&unknown, 400, "invalid_request", 90002);
}

#[tokio::test]
async fn keys_name_their_issuer_and_rotate() {
    let sandbox = sandbox().await;
    let (_, v2) = get(&sandbox, "/entra/common/discovery/v2.0/keys").await;
    let keys = v2["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert_eq!(
            (key["kty"].as_str(), key["use"].as_str(), key["e"].as_str()),
            (Some("RSA"), Some("sig"), Some("AQAB"))
        );
        assert_eq!(key["kid"], key["x5t"]);
        assert!(key.get("alg").is_none());
        let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap();
        assert_eq!((modulus.len(), modulus[0] >= 0x80), (256, true));
        assert!(key["x5c"][0].as_str().unwrap().starts_with("MII"));
    }
    let base = sandbox.base_url();
    assert_eq!(keys[0]["issuer"], format!("{base}/entra/{{tenantid}}/v2.0"));
    assert_eq!(keys[1]["issuer"], format!("{base}/entra/{MSA_TENANT}/v2.0"));
    let (_, v1) = get(&sandbox, "/entra/common/discovery/keys").await;
    assert!(v1["keys"].as_array().unwrap().iter().all(|key| key.get("issuer").is_none()));

    let old = bot_token(&sandbox).await;
    sandbox.rotate_keys().await.unwrap();
    let new = bot_token(&sandbox).await;
    assert_ne!(header(&old)["kid"], header(&new)["kid"]);
    let published = |keys: &Value, token: &str| {
        keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header(token)["kid"])
    };
    let (_, rotated) = get(&sandbox, "/entra/common/discovery/v2.0/keys").await;
    assert!(published(&rotated, &old) && published(&rotated, &new));
    sandbox.replace_keys().await.unwrap();
    let (_, replaced) = get(&sandbox, "/entra/common/discovery/v2.0/keys").await;
    assert!(!published(&replaced, &old) && !published(&replaced, &new));
}

#[tokio::test]
async fn client_credentials_with_a_secret() {
    let sandbox = sandbox().await;
    let (status, body) = token(&sandbox, RESOURCE_TENANT, &bot_form(&[])).await;
    assert_eq!(status, 200);
    let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_in", "ext_expires_in", "token_type"]);
    assert_eq!((body["expires_in"].as_u64(), body["token_type"].as_str()), (Some(3599), Some("Bearer")));
    let claims = payload(body["access_token"].as_str().unwrap());
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{RESOURCE_TENANT}/"));
    assert_eq!(
        (&claims["aud"], &claims["appid"], &claims["tid"]),
        (&json!(CONNECTOR_RESOURCE), &json!(BOT_APP_ID), &json!(RESOURCE_TENANT))
    );
    assert_eq!(
        (claims["idtyp"].as_str(), claims["appidacr"].as_str(), claims["ver"].as_str()),
        (Some("app"), Some("1"), Some("1.0"))
    );
    assert_eq!(claims["oid"], claims["sub"]);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 3600);
    assert!(claims.get("scp").is_none());

    let service = format!("{SERVICE_RESOURCE}/.default openid offline_access profile");
    let (status, body) = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("scope", Some(&service))])).await;
    assert_eq!(status, 200);
    let claims = payload(body["access_token"].as_str().unwrap());
    assert_eq!(
        (claims["ver"].as_str(), claims["azp"].as_str(), claims["aud"].as_str()),
        (Some("2.0"), Some(BOT_APP_ID), Some(SERVICE_APP_ID))
    );
    assert_eq!(claims["iss"], format!("{}/entra/{RESOURCE_TENANT}/v2.0", sandbox.base_url()));
    assert!(body.get("refresh_token").is_none() && body.get("id_token").is_none());
}

#[tokio::test]
async fn basic_authentication_and_the_v1_endpoint() {
    let sandbox = sandbox().await;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let url = format!("{}/entra/{RESOURCE_TENANT}/oauth2/token", sandbox.base_url());
    let form = [("grant_type", "client_credentials"), ("resource", "https://ai.azure.com")];
    let request = client().post(url).basic_auth(encode(BOT_APP_ID), Some(encode(BOT_APP_SECRET))).fields(&form);
    let body: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["expires_in"], "3599", "{body}");
    assert_eq!(body["resource"], FOUNDRY_RESOURCE);
    assert_eq!(payload(body["access_token"].as_str().unwrap())["aud"], FOUNDRY_RESOURCE);
}

#[tokio::test]
async fn ttl_refresh_in_and_capabilities() {
    let sandbox = Sandbox::builder()
        .app_token_ttl(Duration::from_secs(86_400))
        .refresh_in(Duration::from_secs(43_200))
        .start()
        .await
        .unwrap();
    let claims = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    let (_, body) = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("claims", Some(claims))])).await;
    assert_eq!((body["expires_in"].as_u64(), body["refresh_in"].as_u64()), (Some(86_399), Some(43_200)));
    assert_eq!(payload(body["access_token"].as_str().unwrap())["xms_cc"], json!(["cp1"]));
    let bad = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("claims", Some("{"))])).await;
    refused(&bad, 400, "invalid_request", 90023);
}

#[tokio::test]
async fn the_correlation_id_comes_back() {
    let sandbox = sandbox().await;
    let url = format!("{}/entra/{RESOURCE_TENANT}/oauth2/v2.0/token", sandbox.base_url());
    let id = "0a0a0a0a-0000-4000-8000-0000000000aa";
    let request = client().post(url).header("client-request-id", id).header("return-client-request-id", "true");
    let response = request.fields(&bot_form(&[("scope", None)])).send().await.unwrap();
    assert_eq!(response.headers()["client-request-id"], id);
    assert_eq!(response.headers()["cache-control"], "no-store, no-cache");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["correlation_id"], id);
    refused(&(400, body), 400, "invalid_request", 900144);
}

#[tokio::test]
async fn refusals_of_the_request() {
    let sandbox = sandbox().await;
    for (tenant, error, code) in [
        ("00000000-1111-4000-8000-000000000000", "invalid_request", 90002),
        ("botframework.com", "invalid_request", 90002),
        ("common", "invalid_request", 9_001_023),
        ("consumers", "invalid_request", 9_001_023),
        ("organizations", "invalid_request", 50059),
    ] {
        refused(&token(&sandbox, tenant, &bot_form(&[])).await, 400, error, code);
    }
    for missing in ["grant_type", "client_id", "scope"] {
        let answer = token(&sandbox, RESOURCE_TENANT, &bot_form(&[(missing, None)])).await;
        refused(&answer, 400, "invalid_request", 900144);
        assert!(answer.1["error_description"].as_str().unwrap().contains(&format!("'{missing}'")));
    }
    type Change = (&'static str, Option<&'static str>);
    let cases: [(Change, u16, &str, u64); 12] = [
        (("grant_type", Some("password")), 400, "unsupported_grant_type", 70003),
        (("client_id", Some("99999999-0000-4000-8000-000000000000")), 400, "unauthorized_client", 700016),
        (("client_secret", Some("wrong")), 401, "invalid_client", 7_000_215),
        (("client_secret", Some(BOT_EXPIRED_SECRET)), 401, "invalid_client", 7_000_222),
        (("client_secret", None), 401, "invalid_client", 7_000_218),
        (("scope", Some("https://api.botframework.com")), 400, "invalid_scope", 70011),
        (("scope", Some("https://graph.microsoft.com/User.Read")), 400, "invalid_scope", 70011),
        (("scope", Some("openid offline_access")), 400, "invalid_scope", 28002),
        (
            ("scope", Some("https://ai.azure.com/.default https://graph.microsoft.com/.default")),
            400,
            "invalid_scope",
            700022,
        ),
        (
            ("scope", Some("https://ai.azure.com/.default https://ai.azure.com/user_impersonation")),
            400,
            "invalid_scope",
            70011,
        ),
        (("scope", Some("api://nobody/.default")), 400, "invalid_resource", 500_011),
        (("scope", Some("HTTPS://API.BOTFRAMEWORK.COM/.default")), 400, "invalid_resource", 500_011),
    ];
    for (change, status, error, code) in cases {
        refused(&token(&sandbox, RESOURCE_TENANT, &bot_form(&[change])).await, status, error, code);
    }
    // A secret that lost its encoding on the way: `+` became a space.
    let broken = BOT_APP_SECRET.replace('+', " ");
    let answer = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("client_secret", Some(&broken))])).await;
    refused(&answer, 401, "invalid_client", 7_000_215);
    // Registered in the other tenant only.
    let other = bot_form(&[("client_id", Some(OTHER_APP_ID)), ("client_secret", Some(OTHER_APP_SECRET))]);
    assert_eq!(token(&sandbox, RESOURCE_TENANT, &other).await.0, 200);
    refused(&token(&sandbox, HOME_TENANT, &other).await, 400, "unauthorized_client", 700016);
}

#[tokio::test]
async fn refusals_of_the_body() {
    let sandbox = sandbox().await;
    let url = format!("{}/entra/{RESOURCE_TENANT}/oauth2/v2.0/token", sandbox.base_url());
    let fields: Value = bot_form(&[]).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let json = client().post(&url).json(&fields).send().await.unwrap();
    refused(&(json.status().as_u16(), json.json().await.unwrap()), 400, "invalid_request", 900144);
    let mut twice = bot_form(&[]);
    twice.push(("scope", "https://ai.azure.com/.default"));
    refused(&token(&sandbox, RESOURCE_TENANT, &twice).await, 400, "invalid_request", 9_002_313);
    assert_eq!(client().get(&url).send().await.unwrap().status().as_u16(), 405);
}

fn assertion_claims(sandbox: &Sandbox, now: i64, app: &str) -> Value {
    json!({
        "aud": format!("{}/entra/{RESOURCE_TENANT}/oauth2/v2.0/token", sandbox.base_url()),
        "iss": app, "sub": app, "jti": format!("{now}-{app}"), "nbf": now, "iat": now, "exp": now + 600,
    })
}

async fn with_assertion(sandbox: &Sandbox, app: &str, assertion: &str) -> (u16, Value) {
    let form = [
        ("client_id", app),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("grant_type", "client_credentials"),
        ("scope", "https://ai.azure.com/.default"),
    ];
    token(sandbox, RESOURCE_TENANT, &form).await
}

#[tokio::test]
async fn client_assertions() {
    let sandbox = sandbox().await;
    let identity = Identity::of(&sandbox.certificate_pem());
    let now = now(&sandbox).await;
    let good = assertion_claims(&sandbox, now, CERT_APP_ID);
    let assertion = identity.assertion(&good);
    let (status, body) = with_assertion(&sandbox, CERT_APP_ID, &assertion).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["appidacr"], "2");
    // The bot may use the same certificate.
    let bot = identity.assertion(&assertion_claims(&sandbox, now, BOT_APP_ID));
    assert_eq!(with_assertion(&sandbox, BOT_APP_ID, &bot).await.0, 200);
    // The same assertion again.
    refused(&with_assertion(&sandbox, CERT_APP_ID, &assertion).await, 401, "invalid_client", 50012);

    let mut count = 0;
    let mut changed = |name: &str, value: Value| {
        count += 1;
        let mut claims = good.clone();
        claims["jti"] = json!(format!("case-{count}"));
        claims[name] = value;
        claims
    };
    let legacy = identity.legacy_assertion(&changed("iat", json!(now)));
    assert_eq!(with_assertion(&sandbox, CERT_APP_ID, &legacy).await.0, 200);
    let floats = identity.assertion(&changed("exp", json!(now as f64 + 599.5)));
    assert_eq!(with_assertion(&sandbox, CERT_APP_ID, &floats).await.0, 200);

    for (claims, status, error, code) in [
        (changed("iss", json!(BOT_APP_ID)), 401, "invalid_client", 50012),
        (changed("sub", json!(BOT_APP_ID)), 401, "invalid_client", 50012),
        (
            changed("aud", json!(format!("{}/entra/{HOME_TENANT}/oauth2/v2.0/token", sandbox.base_url()))),
            401,
            "invalid_client",
            50012,
        ),
        (changed("exp", json!(now - 301)), 401, "invalid_client", 700024),
        (changed("nbf", json!(now + 1200)), 401, "invalid_client", 700024),
        (changed("exp", Value::Null), 400, "invalid_request", 50027),
        (changed("jti", Value::Null), 400, "invalid_request", 50027),
    ] {
        refused(&with_assertion(&sandbox, CERT_APP_ID, &identity.assertion(&claims)).await, status, error, code);
    }
    refused(&with_assertion(&sandbox, CERT_APP_ID, "not-a-token").await, 400, "invalid_request", 50027);

    // Signed by another key under the registered thumbprint, and by a certificate nobody registered.
    let (stranger, _) = Identity::fresh(2020, 2090);
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": identity.thumbprint()});
    let forged = stranger.sign(&aws_lc_rs::signature::RSA_PSS_SHA256, &header, &changed("iat", json!(now)));
    refused(&with_assertion(&sandbox, CERT_APP_ID, &forged).await, 401, "invalid_client", 700027);
    let unknown = stranger.assertion(&changed("iat", json!(now)));
    refused(&with_assertion(&sandbox, CERT_APP_ID, &unknown).await, 401, "invalid_client", 700027);
    let plain = json!({"alg": "none", "x5t#S256": identity.thumbprint()});
    let none = identity.sign(&aws_lc_rs::signature::RSA_PSS_SHA256, &plain, &changed("iat", json!(now)));
    refused(&with_assertion(&sandbox, CERT_APP_ID, &none).await, 400, "invalid_request", 50027);
}

#[tokio::test]
async fn registered_certificates_and_their_validity() {
    let sandbox = sandbox().await;
    let now = now(&sandbox).await;
    for (from, to, expected) in [(2020, 2090, None), (2001, 2002, Some(1_000_502))] {
        let (identity, pem) = Identity::fresh(from, to);
        sandbox.register_certificate(SERVICE_APP_ID, &pem).unwrap();
        let mut claims = assertion_claims(&sandbox, now, SERVICE_APP_ID);
        claims["jti"] = json!(format!("{from}"));
        let answer = with_assertion(&sandbox, SERVICE_APP_ID, &identity.assertion(&claims)).await;
        match expected {
            None => assert_eq!(answer.0, 200),
            Some(code) => refused(&answer, 401, "invalid_client", code),
        }
    }
    assert!(sandbox.register_certificate("nobody", &sandbox.certificate_pem()).is_err());
    assert!(sandbox.register_certificate(BOT_APP_ID, "no pem").is_err());
}

#[tokio::test]
async fn graph_names_the_user_and_refuses_the_rest() {
    let sandbox = sandbox().await;
    let me = format!("{}/graph/v1.0/me", sandbox.base_url());
    let ask = |token: String| {
        let request = client().get(&me).bearer_auth(token);
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    };
    let now = now(&sandbox).await;
    let good = json!({
        "aud": GRAPH_RESOURCE, "iss": format!("https://sts.windows.net/{HOME_TENANT}/"), "tid": HOME_TENANT, "ver": "1.0",
        "appid": BOT_APP_ID, "oid": USER_TWO.oid, "scp": "User.Read", "nbf": now, "exp": now + 600,
    });
    let sign = |signer: Signer, header: Value, change: (&str, Value)| {
        let mut claims = good.clone();
        claims[change.0] = change.1;
        sandbox.sign(signer, &header, &claims)
    };
    let unchanged = || ("iat", json!(now));
    let (status, body) = ask(sign(Signer::Entra, json!({}), unchanged())).await;
    assert_eq!((status, &body["displayName"], &body["id"]), (200, &json!("User Two"), &json!(USER_TWO.oid)));

    for (why, token, expected) in [
        ("audience", sign(Signer::Entra, json!({}), ("aud", json!(FOUNDRY_RESOURCE))), 401),
        ("expired", sign(Signer::Entra, json!({}), ("exp", json!(now - 120))), 401),
        ("not yet", sign(Signer::Entra, json!({}), ("nbf", json!(now + 900))), 401),
        ("no expiry", sign(Signer::Entra, json!({}), ("exp", Value::Null)), 401),
        ("issuer of another tenant", sign(Signer::Entra, json!({}), ("tid", json!(RESOURCE_TENANT))), 401),
        ("issuer", sign(Signer::Entra, json!({}), ("iss", json!("https://sts.windows.net/x/"))), 401),
        ("version", sign(Signer::Entra, json!({}), ("ver", json!("2.0"))), 401),
        ("personal key", sign(Signer::PersonalAccounts, json!({}), unchanged()), 401),
        ("channel key", sign(Signer::Channel, json!({}), unchanged()), 401),
        ("unpublished key", sign(Signer::Forger, json!({}), unchanged()), 401),
        ("unknown kid", sign(Signer::Entra, json!({"kid": "x"}), unchanged()), 401),
        ("no kid", sign(Signer::Entra, json!({"kid": null}), unchanged()), 401),
        ("alg", sign(Signer::Entra, json!({"alg": "none"}), unchanged()), 401),
        ("jku", sign(Signer::Entra, json!({"jku": "http://127.0.0.1/"}), unchanged()), 401),
        ("no User.Read", sign(Signer::Entra, json!({}), ("scp", json!("Files.Read"))), 403),
        ("unknown user", sign(Signer::Entra, json!({}), ("oid", json!("nobody"))), 404),
        ("not a token", "abc".to_owned(), 401),
    ] {
        let (status, body) = ask(token).await;
        assert_eq!(status, expected, "{why}: {body}");
        assert!(body["error"]["code"].is_string(), "{why}");
    }
    let scope = bot_form(&[("scope", Some("https://graph.microsoft.com/.default"))]);
    let (_, body) = token(&sandbox, RESOURCE_TENANT, &scope).await;
    assert_eq!(ask(body["access_token"].as_str().unwrap().to_owned()).await.0, 400, "app-only");
}
