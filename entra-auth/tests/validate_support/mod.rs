//! What the tests of validation share: keys, tokens, a scripted transport.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use entra_auth::{
    AccessTokenValidator, AccessTokenValidatorBuilder, Authority, Body, HttpTransport, KeyError, KeyLookup, KeySource,
    ManualClock, SigningKey, StaticKeys, TenantPolicy, TransportError, TransportErrorKind,
};
use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::Semaphore;

pub const NOW: i64 = 1_795_340_000;
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
pub const OTHER_TENANT: &str = "99999999-9999-9999-9999-999999999999";
pub const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
pub const API: &str = "aaaaaaaa-0000-0000-0000-00000000000a";
pub const CALLER: &str = "bbbbbbbb-0000-0000-0000-00000000000b";
pub const USER: &str = "cccccccc-0000-0000-0000-00000000000c";

/// A private key and the id it is published under.
pub struct Signer {
    pair: KeyPair,
    pub kid: String,
}

impl Signer {
    pub fn new(kid: &str) -> Self {
        Self { pair: KeyPair::generate(KeySize::Rsa2048).unwrap(), kid: kid.into() }
    }

    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero());
        json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": n, "e": e})
    }

    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// A token with exactly these texts as header and payload.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        self.sign_with(&RSA_PKCS1_SHA256, header, payload)
    }

    pub fn sign_pss(&self, header: &str, payload: &str) -> String {
        self.sign_with(&RSA_PSS_SHA256, header, payload)
    }

    fn sign_with(&self, padding: &'static dyn RsaEncoding, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(padding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }

    pub fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "RS256", "kid": self.kid})
    }

    /// The public key as DER, what an HMAC confusion attack would use as a secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }
}

/// The key that Entra publishes in these tests.
pub static ENTRA: LazyLock<Signer> = LazyLock::new(|| Signer::new("entra-1"));
/// A key of somebody else.
pub static EVIL: LazyLock<Signer> = LazyLock::new(|| Signer::new("entra-1"));

/// The claims of a good version 2 token of a user.
pub fn user_claims() -> Value {
    json!({
        "aud": API,
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW - 60,
        "nbf": NOW - 60,
        "exp": NOW + 3600,
        "azp": CALLER,
        "azpacr": "1",
        "groups": ["dddddddd-0000-0000-0000-00000000000d"],
        "idtyp": "user",
        "name": "Ada Example",
        "oid": USER,
        "preferred_username": "ada@contoso.example",
        "rh": "0.AAA.",
        "roles": ["Reader"],
        "scp": "access_as_user Files.Read",
        "sub": "pairwise-subject",
        "tid": TENANT,
        "uti": "token-id",
        "ver": "2.0",
        "wids": ["eeeeeeee-0000-0000-0000-00000000000e"],
        "xms_cc": ["CP1"],
    })
}

/// The claims of a good version 2 token of an application.
pub fn app_claims() -> Value {
    let mut claims = user_claims();
    for name in ["scp", "groups", "name", "preferred_username", "wids"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    with(claims, &[("idtyp", json!("app")), ("sub", json!(USER)), ("roles", json!(["Jobs.Run"]))])
}

/// The claims of a good version 1 token of a user.
pub fn v1_claims() -> Value {
    let mut claims = user_claims();
    for name in ["azp", "azpacr", "preferred_username"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    with(
        claims,
        &[
            ("aud", json!(format!("api://{API}"))),
            ("iss", json!(format!("https://sts.windows.net/{TENANT}/"))),
            ("appid", json!(CALLER)),
            ("appidacr", json!("1")),
            ("unique_name", json!("ada@contoso.example")),
            ("ver", json!("1.0")),
        ],
    )
}

pub fn with(mut claims: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

pub fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

pub fn members(claims: &Value) -> &Map<String, Value> {
    claims.as_object().unwrap()
}

pub fn clock() -> ManualClock {
    ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap())
}

pub fn builder(policy: TenantPolicy) -> AccessTokenValidatorBuilder {
    AccessTokenValidator::builder(Authority::default(), [API.to_owned(), format!("api://{API}")], policy)
        .clock(Arc::new(clock()))
        .keys(Arc::new(StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap()))
}

pub fn single() -> TenantPolicy {
    TenantPolicy::Single(TENANT.parse().unwrap())
}

/// Counts what is asked of another key source.
#[derive(Debug)]
pub struct Counting<K> {
    pub keys: K,
    pub lookups: AtomicUsize,
}

impl<K> Counting<K> {
    pub const fn new(keys: K) -> Self {
        Self { keys, lookups: AtomicUsize::new(0) }
    }

    pub fn count(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl<K: KeySource> KeySource for Counting<K> {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        self.keys.revision()
    }
}

/// A transport that answers from a script and keeps a list of what was asked for.
#[derive(Debug)]
pub struct Script {
    answers: Mutex<HashMap<String, Answer>>,
    requests: Mutex<Vec<String>>,
    /// Every answer takes a permit; without one it waits.
    permits: Semaphore,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Json(Value),
    Bytes(StatusCode, Bytes),
    Headers(StatusCode, &'static str, String),
    Fails(TransportErrorKind),
    Hangs,
    Panics,
}

impl Script {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::default(),
            requests: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    pub fn set(&self, url: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(url.into(), answer);
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests went to addresses that end like this.
    pub fn count(&self, end: &str) -> usize {
        self.requests().iter().filter(|url| url.ends_with(end)).count()
    }

    /// Holds all answers back.
    pub fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn release(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS - self.permits.available_permits());
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let url = request.uri().to_string();
        self.requests.lock().unwrap().push(url.clone());
        drop(self.permits.acquire().await.unwrap());
        let answer = self.answers.lock().unwrap().get(&url).cloned();
        let answer = answer.unwrap_or_else(|| Answer::Bytes(StatusCode::NOT_FOUND, Bytes::new()));
        let (builder, body) = match answer {
            Answer::Json(value) => (Response::builder(), Bytes::from(value.to_string())),
            Answer::Bytes(status, body) => (Response::builder().status(status), body),
            Answer::Headers(status, name, value) => {
                (Response::builder().status(status).header(name, value), Bytes::new())
            }
            Answer::Fails(kind) => return Err(kind.into()),
            Answer::Hangs => std::future::pending().await,
            Answer::Panics => panic!("the transport panics"),
        };
        Ok(builder.body(Body::from(body)).unwrap())
    }
}
