//! What the tests of core and Entra share: a client, token requests, client assertions.

#![allow(dead_code, unreachable_pub)] // each test file uses a part of it

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use m365_sandbox::Sandbox;
use m365_sandbox::constants::{BOT_APP_ID, BOT_APP_SECRET, CONNECTOR_RESOURCE, RESOURCE_TENANT};
use serde_json::{Value, json};

pub const OBO: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that trusts nothing but loopback without TLS.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

pub async fn sandbox() -> Sandbox {
    Sandbox::builder().start().await.unwrap()
}

/// A form body, encoded here.
pub trait Fields {
    fn fields(self, fields: &[(&str, &str)]) -> Self;
}

impl Fields for reqwest::RequestBuilder {
    fn fields(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}

/// Posts a form to the token endpoint of a tenant: status and JSON body.
pub async fn token(sandbox: &Sandbox, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/entra/{tenant}/oauth2/v2.0/token", sandbox.base_url());
    let response = client().post(url).fields(form).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// The fields of a good client-credentials request of the bot, with changes: `None` removes a field.
pub fn bot_form<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("client_id", BOT_APP_ID),
        ("client_secret", BOT_APP_SECRET),
        ("grant_type", "client_credentials"),
        ("scope", "https://api.botframework.com/.default"),
    ];
    for (name, value) in changes {
        form.retain(|(key, _)| key != name);
        form.extend(value.map(|value| (*name, value)));
    }
    form
}

/// A connector token of the bot.
pub async fn bot_token(sandbox: &Sandbox) -> String {
    let (status, body) = token(sandbox, RESOURCE_TENANT, &bot_form(&[])).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["aud"], CONNECTOR_RESOURCE);
    body["access_token"].as_str().unwrap().to_owned()
}

pub fn header(token: &str) -> Value {
    part(token, 0)
}

pub fn payload(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// Asserts one AADSTS refusal and the whole shape of its body.
pub fn refused(answer: &(u16, Value), status: u16, error: &str, code: u64) {
    let (got, body) = answer;
    assert_eq!(
        (*got, body["error"].as_str(), body["error_codes"][0].as_u64()),
        (status, Some(error), Some(code)),
        "{body}"
    );
    let text = body["error_description"].as_str().unwrap();
    assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
    for name in ["trace_id", "correlation_id", "timestamp"] {
        assert!(text.contains(body[name].as_str().unwrap()), "{name} is not in {text}");
    }
    assert!(body["error_uri"].as_str().unwrap().ends_with(&format!("/error?code={code}")));
    assert!(body.get("access_token").is_none());
}

/// Key and leaf certificate of a PEM text.
pub struct Identity {
    key: RsaKeyPair,
    certificate: Vec<u8>,
}

impl Identity {
    pub fn of(pem: &str) -> Self {
        let key = RsaKeyPair::from_pkcs8(&block(pem, "PRIVATE KEY")).unwrap();
        Self { key, certificate: block(pem, "CERTIFICATE") }
    }

    /// A fresh pair with its PEM text, valid in these years.
    pub fn fresh(from: i32, to: i32) -> (Self, String) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let pem = format!("{}{}", pair.serialize_pem(), params.self_signed(&pair).unwrap().pem());
        (Self::of(&pem), pem)
    }

    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate))
    }

    /// A PS256 assertion.
    pub fn assertion(&self, claims: &Value) -> String {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint()});
        self.sign(&RSA_PSS_SHA256, &header, claims)
    }

    /// An RS256 assertion with the legacy SHA-1 thumbprint.
    pub fn legacy_assertion(&self, claims: &Value) -> String {
        let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.certificate);
        let header = json!({"alg": "RS256", "typ": "JWT", "x5t": URL_SAFE_NO_PAD.encode(sha1)});
        self.sign(&RSA_PKCS1_SHA256, &header, claims)
    }

    pub fn sign(&self, encoding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn block(pem: &str, label: &str) -> Vec<u8> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----")).unwrap();
    let (body, _) = rest.split_once("-----END").unwrap();
    STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap()
}

/// The sandbox's time, unix seconds.
pub async fn now(sandbox: &Sandbox) -> i64 {
    let url = format!("{}/_sandbox/clock", sandbox.base_url());
    client().get(url).send().await.unwrap().json::<Value>().await.unwrap()["now"].as_i64().unwrap()
}
