//! A token endpoint on loopback, with an issuer that has one key.

#![allow(dead_code, unreachable_pub)] // not every test uses everything

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AccessTokenValidator, Authority, ConfidentialClient, IdTokenValidator, ManualClock, PublicClient, RetryPolicy,
    Secret, StaticKeys, TenantPolicy, UserToken,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
pub const NOW: i64 = 1_800_000_000;

pub type Form = BTreeMap<String, String>;
type Answer = Box<dyn Fn(&str, &Form) -> ResponseTemplate + Send + Sync>;

/// An authority whose answers each test decides.
pub struct World {
    pub server: MockServer,
    pub authority: Authority,
    pub clock: ManualClock,
    pub issuer: String,
    key: Arc<KeyPair>,
    keys: Arc<StaticKeys>,
    answer: Arc<Mutex<Answer>>,
}

pub async fn world() -> World {
    let server = MockServer::start().await;
    let authority: Authority = format!("{}/entra", server.uri()).parse().unwrap();
    let issuer = authority.issuer_v2(&TENANT.parse().unwrap());
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = key.public_key().as_ref();
    let (n, e) = (&der[der.len() - 5 - 256..der.len() - 5], &der[der.len() - 3..]);
    let jwk = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": URL_SAFE_NO_PAD.encode(n),
        "e": URL_SAFE_NO_PAD.encode(e), "issuer": issuer});
    let keys = StaticKeys::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap());
    let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(|_, _| ResponseTemplate::new(500))));
    let respond = {
        let answer = Arc::clone(&answer);
        move |request: &Request| (answer.lock().unwrap())(request.url.path(), &form(request))
    };
    Mock::given(any()).respond_with(respond).mount(&server).await;
    World { server, authority, clock, issuer, key: Arc::new(key), keys: Arc::new(keys), answer }
}

impl World {
    pub fn answers(&self, answer: impl Fn(&str, &Form) -> ResponseTemplate + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    pub fn confidential(&self) -> ConfidentialClient {
        ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s3&cret"))
            .authority(self.authority.clone())
            .clock(Arc::new(self.clock.clone()))
            .retry(RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(2)))
            .timeouts(Duration::from_secs(5), Duration::from_secs(10))
            .build()
            .unwrap()
    }

    pub fn public(&self) -> PublicClient {
        PublicClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap())
            .authority(self.authority.clone())
            .clock(Arc::new(self.clock.clone()))
            .retry(RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(2)))
            .build()
            .unwrap()
    }

    pub fn id_tokens(&self) -> IdTokenValidator {
        let policy = TenantPolicy::Single(TENANT.parse().unwrap());
        IdTokenValidator::builder(self.authority.clone(), CLIENT.parse().unwrap(), policy)
            .keys(self.keys.clone())
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap()
    }

    pub async fn user_token(&self, number: u8, extra: Value) -> UserToken {
        let mut claims = json!({
            "aud": CLIENT, "iss": self.issuer, "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600,
            "tid": TENANT, "oid": oid(number), "sub": format!("s{number}"), "ver": "2.0", "scp": "access_as_user",
            "azp": "33333333-3333-3333-3333-333333333333", "azpacr": "0",
        });
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let policy = TenantPolicy::Single(TENANT.parse().unwrap());
        let validator = AccessTokenValidator::builder(self.authority.clone(), [CLIENT], policy)
            .keys(self.keys.clone())
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap();
        validator.validate(&self.signer().sign(&claims)).await.unwrap().into_user().unwrap()
    }

    pub fn signer(&self) -> Signer {
        Signer { key: Arc::clone(&self.key), issuer: self.issuer.clone() }
    }

    pub async fn forms(&self) -> Vec<Form> {
        self.server.received_requests().await.unwrap().iter().map(form).collect()
    }

    pub async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

pub struct Signer {
    key: Arc<KeyPair>,
    issuer: String,
}

impl Signer {
    pub fn id_token(&self, number: u8, extra: &Value) -> String {
        let mut claims = json!({
            "aud": CLIENT, "iss": self.issuer, "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600,
            "tid": TENANT, "oid": oid(number), "sub": format!("s{number}"), "ver": "2.0",
            "name": "Marker Name", "preferred_username": "marker@example.com",
        });
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.sign(&claims)
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k"});
        let mut jwt =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature).unwrap();
        jwt.push('.');
        jwt.push_str(&URL_SAFE_NO_PAD.encode(signature));
        jwt
    }
}

pub fn oid(number: u8) -> String {
    format!("00000000-0000-0000-0000-0000000000{number:02}")
}

pub fn form(request: &Request) -> Form {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let map: Form = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter was sent twice");
    map
}

pub fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Form {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub fn success(token: &str, more: &Value) -> ResponseTemplate {
    let mut body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ResponseTemplate::new(200).set_body_json(body)
}

pub fn failure(error: &str, code: u32) -> ResponseTemplate {
    let codes: Vec<u32> = (code != 0).then_some(code).into_iter().collect();
    ResponseTemplate::new(400)
        .set_body_json(json!({"error": error, "error_description": "marker", "error_codes": codes}))
}
