//! The vault and the managed identity that may use it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Renewal, Sandbox, Signer};
use serde_json::{Value, json};

async fn identity(sandbox: &Sandbox, query: &str, metadata: bool) -> (u16, Value) {
    let url = format!("{}/metadata/identity/oauth2/token?{query}", sandbox.base_url());
    let request = client().get(url);
    let request = if metadata { request.header("Metadata", "true") } else { request };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn vault_token(sandbox: &Sandbox) -> String {
    let (_, body) = identity(sandbox, "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net", true).await;
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_machine_has_an_identity() {
    let sandbox = sandbox().await;
    let good = "api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
    let (status, body) = identity(&sandbox, good, true).await;
    assert_eq!(status, 200, "{body}");
    assert!(["expires_in", "expires_on", "not_before"].iter().all(|name| body[name].is_string()), "{body}");
    let claims = payload(body["access_token"].as_str().unwrap());
    assert_eq!((&claims["aud"], &claims["tid"]), (&json!(VAULT_RESOURCE), &json!(RESOURCE_TENANT)));
    assert_eq!(claims["appid"], MANAGED_IDENTITY_APP_ID);
    let own = format!("{good}&client_id={MANAGED_IDENTITY_APP_ID}");
    assert_eq!(identity(&sandbox, &own, true).await.0, 200);
    for (query, metadata) in [
        (good.to_owned(), false),
        ("resource=https%3A%2F%2Fvault.azure.net".to_owned(), true),
        ("api-version=2018-02-01".to_owned(), true),
        ("api-version=2018-02-01&resource=https%3A%2F%2Fnobody.example".to_owned(), true),
        (format!("{good}&client_id={BOT_APP_ID}"), true),
    ] {
        assert_eq!(identity(&sandbox, &query, metadata).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn the_vault_shows_the_certificate_and_signs_digests() {
    let sandbox = sandbox().await;
    let token = vault_token(&sandbox).await;
    let url = format!("{}/vault/certificates/{VAULT_CERTIFICATE}?api-version=7.4", sandbox.base_url());
    let bundle: Value = client().get(url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    let der = STANDARD.decode(bundle["cer"].as_str().unwrap()).unwrap();
    assert!(sandbox.certificate_pem().replace('\n', "").contains(&STANDARD.encode(&der)));
    let key = bundle["kid"].as_str().unwrap();
    assert!(bundle["id"].as_str().unwrap().ends_with(key.rsplit('/').next().unwrap()));

    // The public key is in the certificate as it is: the last BIT STRING before the signature holds it.
    let modulus = der.windows(4).position(|window| window == [0x30, 0x82, 0x01, 0x0a]).unwrap();
    let public = &der[modulus..modulus + 4 + 0x010a];
    let hash = digest(&SHA256, b"to be signed");
    for (alg, verification) in [
        ("PS256", &RSA_PSS_2048_8192_SHA256 as &'static dyn aws_lc_rs::signature::VerificationAlgorithm),
        ("RS256", &RSA_PKCS1_2048_8192_SHA256),
    ] {
        let body = json!({"alg": alg, "value": URL_SAFE_NO_PAD.encode(hash)});
        let request = client().post(format!("{key}/sign?api-version=7.4")).bearer_auth(&token).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let signature = URL_SAFE_NO_PAD.decode(answer["value"].as_str().unwrap()).unwrap();
        assert_eq!(answer["kid"], key);
        assert!(UnparsedPublicKey::new(verification, public).verify(b"to be signed", &signature).is_ok(), "{alg}");
    }
    for body in
        [json!({"alg": "PS256", "value": "AAAA"}), json!({"alg": "ES256", "value": URL_SAFE_NO_PAD.encode(hash)})]
    {
        let request = client().post(format!("{key}/sign?api-version=7.4")).bearer_auth(&token).json(&body);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 400, "{body}");
    }
}

#[tokio::test]
async fn the_vault_lets_in_its_identity_alone() {
    let sandbox = sandbox().await;
    let base = format!("{}/vault/certificates", sandbox.base_url());
    let get = async |path: &str, token: Option<&str>| {
        let request = client().get(format!("{base}/{path}"));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.unwrap();
        let challenge = response.headers().contains_key("www-authenticate");
        let status = response.status().as_u16();
        (status, challenge, response.json::<Value>().await.unwrap()["error"]["code"].clone())
    };
    let good = vault_token(&sandbox).await;
    let bot = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("scope", Some("https://vault.azure.net/.default"))])).await;
    let bot = bot.1["access_token"].as_str().unwrap().to_owned();
    let elsewhere = bot_token(&sandbox).await;
    let path = format!("{VAULT_CERTIFICATE}?api-version=7.4");
    assert_eq!(get(&path, None).await, (401, true, json!("Unauthorized")));
    assert_eq!(get(&path, Some(&elsewhere)).await, (401, true, json!("Unauthorized")));
    assert_eq!(get(&path, Some(&bot)).await, (403, false, json!("Forbidden")));
    assert_eq!(get("nothing?api-version=7.4", Some(&good)).await, (404, false, json!("CertificateNotFound")));
    assert_eq!(get(VAULT_CERTIFICATE, Some(&good)).await.0, 400);
    assert_eq!(get(&path, Some(&good)).await.0, 200);
}

#[tokio::test]
async fn the_vault_gives_its_secret_to_its_identity_alone() {
    let sandbox = sandbox().await;
    let base = format!("{}/vault/secrets", sandbox.base_url());
    let get = async |path: &str, token: Option<&str>| {
        let request = client().get(format!("{base}/{path}"));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.unwrap();
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), challenge, response.json::<Value>().await.unwrap())
    };
    let good = vault_token(&sandbox).await;
    // The form without a version ends with a slash when an Azure SDK asks.
    for path in ["story?api-version=7.6", "story/?api-version=7.6"] {
        let (status, _, body) = get(path, Some(&good)).await;
        assert_eq!((status, body["value"].as_str()), (200, Some(VAULT_SECRET_VALUE)), "{body}");
        assert_eq!(body["attributes"]["enabled"], true);
        assert!(body["attributes"]["created"].is_i64() && body["attributes"]["updated"].is_i64());
        let id = body["id"].as_str().unwrap().strip_prefix(&base).unwrap();
        let (status, _, same) = get(&format!("{}?api-version=7.6", id.trim_start_matches('/')), Some(&good)).await;
        assert_eq!((status, &same["id"]), (200, &body["id"]));
    }
    for path in ["nothing?api-version=7.6", "story/0?api-version=7.6"] {
        let (status, _, body) = get(path, Some(&good)).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("SecretNotFound")), "{path}");
    }
    assert_eq!(get("story", Some(&good)).await.0, 400, "a version of the API must be named");

    let path = "story?api-version=7.6";
    let elsewhere = bot_token(&sandbox).await;
    for token in [None, Some("no-token"), Some(&*elsewhere)] {
        let (status, challenge, body) = get(path, token).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("Unauthorized")));
        let expected = format!(
            "Bearer authorization=\"{}/entra/{RESOURCE_TENANT}\", resource=\"https://vault.azure.net\"",
            sandbox.base_url()
        );
        assert_eq!(challenge.as_deref(), Some(&*expected));
    }
    // A good token of an app that has no role here, and one of a user.
    let bot = token(&sandbox, RESOURCE_TENANT, &bot_form(&[("scope", Some("https://vault.azure.net/.default"))])).await;
    let mut claims = payload(&good);
    let claims_of_user = claims.as_object_mut().unwrap();
    claims_of_user.remove("idtyp");
    claims_of_user.insert("scp".to_owned(), json!("user_impersonation"));
    let user = sandbox.sign(Signer::Entra, &json!({}), &claims);
    for token in [bot.1["access_token"].as_str().unwrap(), &user] {
        let (status, challenge, body) = get(path, Some(token)).await;
        assert_eq!((status, challenge, &body["error"]["code"]), (403, None, &json!("Forbidden")));
    }
}

#[tokio::test]
async fn the_certificate_is_renewed_in_versions_and_its_chain_is_a_secret_without_key() {
    let sandbox = sandbox().await;
    let token = vault_token(&sandbox).await;
    let base = format!("{}/vault", sandbox.base_url());
    let get = async |path: &str| {
        let request = client().get(format!("{base}/{path}?api-version=7.4")).bearer_auth(&token);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let sign = async |kid: &str| {
        let body = json!({"alg": "PS256", "value": URL_SAFE_NO_PAD.encode(digest(&SHA256, b"x"))});
        let request = client().post(format!("{kid}/sign?api-version=7.4")).bearer_auth(&token).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let newest = format!("certificates/{VAULT_CERTIFICATE}");
    let first = get(&newest).await;
    assert_eq!(first["policy"]["issuer"]["name"], "Self");
    let pem = sandbox.renew_vault_certificate(Renewal::Issued).await.unwrap();
    let second = get(&newest).await;
    assert_ne!(first["id"], second["id"]);
    assert!(pem.replace('\n', "").contains(second["cer"].as_str().unwrap()));
    let old = get(first["id"].as_str().unwrap().strip_prefix(&format!("{base}/")).unwrap()).await;
    assert_eq!(old["cer"], first["cer"], "old versions stay");

    for (bundle, certificates) in [(&first, 1), (&second, 2)] {
        let secret = get(bundle["sid"].as_str().unwrap().strip_prefix(&format!("{base}/")).unwrap()).await;
        let value = secret["value"].as_str().unwrap();
        assert_eq!(value.matches("BEGIN CERTIFICATE").count(), certificates);
        assert!(!value.contains("PRIVATE KEY"));
        assert!(value.replace('\n', "").contains(bundle["cer"].as_str().unwrap()));
        assert_eq!((&secret["contentType"], &secret["kid"]), (&json!("application/x-pem-file"), &bundle["kid"]));
    }
    let (old, new) = (first["kid"].as_str().unwrap(), second["kid"].as_str().unwrap());
    assert_eq!((sign(old).await.0, sign(new).await.0), (200, 200));
    sandbox.disable_old_vault_keys();
    let (status, refusal) = sign(old).await;
    assert_eq!((status, &refusal["error"]["innererror"]["code"]), (403, &json!("KeyDisabled")));
    assert_eq!(sign(new).await.0, 200);
}
