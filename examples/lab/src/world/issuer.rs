use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{Authority, Body, HttpTransport, TransportError, TransportErrorKind};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{API, CALLER, TENANT};
use crate::Fault;

/// A private key and the id under which it is published.
#[derive(Debug)]
pub struct Signer {
    pair: KeyPair,
    /// The key's id.
    pub kid: String,
}

impl Signer {
    /// A fresh RSA key of 2048 bits.
    ///
    /// # Errors
    ///
    /// When none can be made.
    pub fn new(kid: impl Into<String>) -> Result<Self, Fault> {
        Ok(Self { pair: KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key")?, kid: kid.into() })
    }

    /// The public key as Entra publishes it.
    #[must_use]
    pub fn jwk(&self) -> Value {
        // RSAPublicKey of PKCS #1 ends with 256 bytes of modulus and, behind a tag and a length, 3 bytes of exponent.
        let der = self.pair.public_key().as_ref();
        let (rest, exponent) = der.split_at(der.len().saturating_sub(3));
        let modulus = rest.get(rest.len().saturating_sub(258)..rest.len().saturating_sub(2)).unwrap_or_default();
        let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": n, "e": e})
    }

    /// A key document with this key alone.
    #[must_use]
    pub fn jwks(&self) -> Vec<u8> {
        json!({ "keys": [self.jwk()] }).to_string().into_bytes()
    }

    /// The key document of the Bot Framework, in which the key is endorsed for Teams.
    #[must_use]
    pub fn channel_jwks(&self) -> Vec<u8> {
        let mut jwk = self.jwk();
        if let Some(jwk) = jwk.as_object_mut() {
            jwk.insert("endorsements".into(), json!(["msteams"]));
        }
        json!({ "keys": [jwk] }).to_string().into_bytes()
    }

    /// A token with these claims.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub fn sign(&self, claims: &Value) -> Result<String, Fault> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.kid});
        self.sign_input(&format!("{}.{}", base64(&header.to_string()), base64(&claims.to_string())))
    }

    /// A token with exactly this text before the signature.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub fn sign_input(&self, input: &str) -> Result<String, Fault> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature);
        signed.map_err(|_| "the key does not sign")?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

pub(crate) fn base64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The claims of a good version 2 token of a user, issued now and good for `life` seconds. `number` tells tokens and
/// users apart.
#[must_use]
pub fn user_claims(now: i64, life: i64, number: u64) -> Value {
    json!({
        "aud": API, "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"), "iat": now, "nbf": now,
        "exp": now + life, "azp": CALLER, "azpacr": "1", "idtyp": "user",
        "oid": format!("cccccccc-0000-0000-0000-{:012}", number % 1000), "scp": "access_as_user",
        "sub": format!("s{number}"), "tid": TENANT, "uti": number.to_string(), "ver": "2.0",
        "xms_cc": ["CP1"],
    })
}

/// What a [`Publisher`] does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Answers at once.
    AtOnce,
    /// Answers with this status.
    Status(u16),
    /// The connection is refused.
    Refuses,
    /// Never answers.
    Hangs,
}

/// Publishes discovery document and keys of [`TENANT`].
#[derive(Debug)]
pub struct Publisher {
    start: Instant,
    state: Mutex<State>,
    key_requests: AtomicU64,
    other_requests: AtomicU64,
}

#[derive(Debug)]
struct State {
    answers: Answers,
    published: Vec<Value>,
    /// Which key ids good answers had, and when.
    served: Vec<(Duration, Vec<String>)>,
}

impl Publisher {
    /// Publishes these keys. Make it inside the runtime whose time it follows.
    #[must_use]
    pub fn new(keys: &[&Signer]) -> Self {
        let published = keys.iter().map(|key| key.jwk()).collect();
        let state = State { answers: Answers::AtOnce, published, served: Vec::new() };
        let [key_requests, other_requests] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self { start: Instant::now(), state: Mutex::new(state), key_requests, other_requests }
    }

    /// From now on it does this.
    pub fn set(&self, answers: Answers) {
        self.lock().answers = answers;
    }

    /// Publishes one more key.
    pub fn publish(&self, key: &Signer) {
        self.lock().published.push(key.jwk());
    }

    /// Takes a key out of the document.
    pub fn remove(&self, kid: &str) {
        self.lock().published.retain(|key| key.get("kid").and_then(Value::as_str) != Some(kid));
    }

    /// Whether a key is in the document.
    #[must_use]
    pub fn publishes(&self, kid: &str) -> bool {
        self.lock().published.iter().any(|key| key.get("kid").and_then(Value::as_str) == Some(kid))
    }

    /// How often the key document was asked for.
    #[must_use]
    pub fn key_requests(&self) -> u64 {
        self.key_requests.load(Ordering::SeqCst)
    }

    /// How often anything else was asked for.
    #[must_use]
    pub fn other_requests(&self) -> u64 {
        self.other_requests.load(Ordering::SeqCst)
    }

    /// When good documents without that key were served since `removed`.
    #[must_use]
    pub fn served_without(&self, kid: &str, removed: Duration) -> Vec<Duration> {
        let state = self.lock();
        let without = state.served.iter().filter(|(at, kids)| *at >= removed && !kids.iter().any(|of| of == kid));
        without.map(|(at, _)| *at).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn document(&self, path: &str) -> String {
        let base = Authority::default().url().to_string();
        if path.ends_with("/keys") {
            let mut state = self.lock();
            let kid = |key: &Value| key.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
            let kids = state.published.iter().map(kid).collect();
            let at = self.start.elapsed();
            state.served.push((at, kids));
            return json!({ "keys": state.published }).to_string();
        }
        json!({
            "issuer": format!("{base}{TENANT}/v2.0"),
            "jwks_uri": format!("{base}{TENANT}/discovery/v2.0/keys"),
        })
        .to_string()
    }
}

#[async_trait]
impl HttpTransport for Publisher {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let path = request.uri().path();
        let counter = if path.ends_with("/keys") { &self.key_requests } else { &self.other_requests };
        counter.fetch_add(1, Ordering::SeqCst);
        let answers = self.lock().answers;
        match answers {
            Answers::AtOnce => Ok(Response::new(Body::from(self.document(path)))),
            Answers::Status(status) => {
                Response::builder().status(status).body(Body::empty()).map_err(|_| TransportErrorKind::Other.into())
            }
            Answers::Refuses => Err(TransportErrorKind::NotSent.into()),
            Answers::Hangs => std::future::pending().await,
        }
    }
}

/// The keys that sign now, and the document that names them.
#[derive(Debug)]
pub struct Issuer {
    /// The document.
    pub publisher: std::sync::Arc<Publisher>,
    /// The key that signs.
    pub signer: Signer,
}

impl Issuer {
    /// An issuer with one key.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub fn new() -> Result<Self, Fault> {
        let signer = Signer::new("key-1")?;
        Ok(Self { publisher: std::sync::Arc::new(Publisher::new(&[&signer])), signer })
    }
}
