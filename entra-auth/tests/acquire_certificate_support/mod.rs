//! What the tests of client authentication share: a token endpoint that counts, throw-away certificates, folders.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{ClientCredential, ConfidentialClient, ManualClock, RetryPolicy, TokenRequest};
use serde_json::{Value, json};
use time::OffsetDateTime;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

pub async fn endpoint(respond: impl Respond + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(respond).mount(&server).await;
    server
}

pub fn client(server: &MockServer, credential: impl Into<ClientCredential>) -> ConfidentialClient {
    ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), credential)
        .authority(format!("{}/entra", server.uri()).parse().unwrap())
        .clock(Arc::new(ManualClock::at(now())))
        .retry(RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(2)))
        .build()
        .unwrap()
}

/// Requests for different resources are not answered from the cache.
pub fn request(resource: u32) -> TokenRequest {
    TokenRequest::new(format!("api://resource-{resource}/.default").parse().unwrap())
}

pub fn success() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "token_type": "Bearer", "expires_in": 3599, "access_token": "t",
    }))
}

pub fn refusal(code: u32) -> ResponseTemplate {
    ResponseTemplate::new(401).set_body_json(json!({
        "error": "invalid_client", "error_description": format!("AADSTS{code}: marker"), "error_codes": [code],
    }))
}

pub async fn forms(server: &MockServer) -> Vec<BTreeMap<String, String>> {
    server.received_requests().await.unwrap().iter().map(form).collect()
}

pub fn form(request: &Request) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter was sent twice");
    map
}

/// Header or claims of an assertion.
pub fn part(assertion: &str, at: usize) -> Value {
    let part = assertion.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The thumbprints with which the requests were signed.
pub async fn thumbprints(server: &MockServer) -> Vec<String> {
    let name = |form: &BTreeMap<String, String>| {
        part(&form["client_assertion"], 0)["x5t#S256"].as_str().unwrap_or("none").to_owned()
    };
    forms(server).await.iter().map(name).collect()
}

pub struct Pair {
    pub key: rcgen::KeyPair,
    pub key_pem: String,
    pub certificate_pem: String,
    pub thumbprint: String,
}

impl Pair {
    pub fn new() -> Self {
        Self::ending(2100)
    }

    pub fn ending(year: i32) -> Self {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        Self {
            key_pem: key.serialize_pem(),
            certificate_pem: certificate.pem(),
            thumbprint: URL_SAFE_NO_PAD.encode(digest),
            key,
        }
    }

    pub fn pem(&self) -> String {
        format!("{}{}", self.key_pem, self.certificate_pem)
    }

    pub fn public_key(&self) -> Vec<u8> {
        rcgen::PublicKeyData::der_bytes(&self.key).to_vec()
    }
}

/// A folder that is gone after the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("acquire-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
