//! RSA keys of the issuers, their JWKS documents, and RS256 signing.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use crate::constants::MSA_TENANT;
use crate::der;
use crate::members::set;
use crate::state::lock;

/// Channels every Bot Framework key vouches for.
pub(crate) const ENDORSEMENTS: [&str; 8] =
    ["msteams", "webchat", "directline", "emulator", "email", "skype", "agents", "test"];

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Signer {
    /// Entra v1 and v2 tokens.
    Entra,
    /// The key of personal accounts, published by Entra with a fixed issuer.
    PersonalAccounts,
    /// Bot Framework channel tokens.
    Channel,
    /// A key nobody publishes, with the id of the current Entra key.
    Forger,
}

impl Signer {
    fn ring(self) -> Ring {
        match self {
            Self::Entra | Self::Forger => Ring::Entra,
            Self::PersonalAccounts => Ring::Msa,
            Self::Channel => Ring::Channel,
        }
    }
}

/// The published sets of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Entra v1 and v2 tokens.
    Entra,
    /// Personal accounts.
    Msa,
    /// Bot Framework channel tokens.
    Channel,
}

/// One RSA-2048 key pair with its self-signed certificate.
pub(crate) struct Key {
    pair: RsaKeyPair,
    pub(crate) kid: String,
    modulus: String,
    exponent: String,
    certificate: String,
    public: Vec<u8>,
}

/// The published keys of one issuer. The last one signs.
#[derive(Default)]
struct KeySet {
    entra: Vec<Arc<Key>>,
    msa: Vec<Arc<Key>>,
    channel: Vec<Arc<Key>>,
}

/// All keys of the sandbox.
pub(crate) struct Keys {
    sets: RwLock<KeySet>,
}

impl Keys {
    /// Makes one key for each issuer. Takes some 100 ms of processor time: call it on a blocking thread.
    pub(crate) fn generate() -> io::Result<Self> {
        let (entra, channel) = std::thread::scope(|scope| {
            let entra = scope.spawn(Key::generate);
            let channel = Key::generate();
            (entra.join().unwrap_or_else(|_| Err(failed("RSA key generation"))), channel)
        });
        let set =
            KeySet { entra: vec![Arc::new(entra?)], msa: vec![personal_key()?], channel: vec![Arc::new(channel?)] };
        Ok(Self { sets: RwLock::new(set) })
    }

    /// The key that signs for a ring now.
    pub(crate) fn current(&self, ring: Ring) -> Option<Arc<Key>> {
        self.published(ring).pop()
    }

    /// Every published key of a ring, oldest first.
    pub(crate) fn published(&self, ring: Ring) -> Vec<Arc<Key>> {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        match ring {
            Ring::Entra => sets.entra.clone(),
            Ring::Msa => sets.msa.clone(),
            Ring::Channel => sets.channel.clone(),
        }
    }

    /// Adds a new signing key to the Entra and channel rings. Old keys stay published unless `retire` is set.
    pub(crate) fn rotate(&self, retire: bool) -> io::Result<()> {
        let entra = Arc::new(Key::generate()?);
        let channel = Arc::new(Key::generate()?);
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if retire {
            sets.entra.clear();
            sets.channel.clear();
        }
        sets.entra.push(entra);
        sets.channel.push(channel);
        Ok(())
    }

    /// A signed compact JWT of the ring's current key.
    pub(crate) fn sign(&self, ring: Ring, claims: &Value) -> String {
        self.current(ring).map_or_else(String::new, |key| {
            // Entra v1 and channel tokens name the key twice, as the real ones do.
            let mut header = json!({"typ": "JWT", "alg": "RS256", "kid": key.kid});
            if ring == Ring::Channel || claims.get("ver").and_then(Value::as_str) == Some("1.0") {
                set(&mut header, "x5t", Value::String(key.kid.clone()));
            }
            key.sign(&header, claims)
        })
    }

    /// A JWT of any claims; `header` is merged over the usual one, null removes a member.
    pub(crate) fn sign_with(&self, signer: Signer, header: &Value, claims: &Value) -> String {
        let Some(published) = self.current(signer.ring()) else { return String::new() };
        let mut whole = json!({"typ": "JWT", "alg": "RS256", "kid": published.kid});
        for (name, value) in header.as_object().into_iter().flatten() {
            match (value, whole.as_object_mut()) {
                (Value::Null, Some(members)) => drop(members.remove(name)),
                (value, _) => set(&mut whole, name, value.clone()),
            }
        }
        if signer == Signer::Forger {
            return Key::generate().map_or_else(|_| String::new(), |unpublished| unpublished.sign(&whole, claims));
        }
        published.sign(&whole, claims)
    }

    /// The key with this id, from any of the rings.
    pub(crate) fn find(&self, rings: &[Ring], kid: &str) -> Option<(Ring, Arc<Key>)> {
        rings
            .iter()
            .find_map(|ring| self.published(*ring).into_iter().find(|key| key.kid == kid).map(|key| (*ring, key)))
    }

    /// Entra JWKS. `v2` adds the issuer of each key: the tenant template, and a fixed one for personal accounts.
    pub(crate) fn entra_jwks(&self, authority: &str, v2: bool) -> Value {
        let mut keys = Vec::new();
        for (ring, tenant) in [(Ring::Entra, "{tenantid}"), (Ring::Msa, MSA_TENANT)] {
            for key in self.published(ring) {
                let mut jwk = key.jwk();
                if v2 {
                    set(&mut jwk, "issuer", json!(format!("{authority}/{tenant}/v2.0")));
                    set(&mut jwk, "cloud_instance_name", json!("microsoftonline.com"));
                }
                keys.push(jwk);
            }
        }
        json!({ "keys": keys })
    }

    /// Bot Framework JWKS with endorsements.
    pub(crate) fn channel_jwks(&self) -> Value {
        let keys: Vec<Value> = self
            .published(Ring::Channel)
            .iter()
            .map(|key| {
                let mut jwk = key.jwk();
                set(&mut jwk, "endorsements", json!(ENDORSEMENTS));
                jwk
            })
            .collect();
        json!({ "keys": keys })
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Key {
    /// A fresh RSA-2048 pair; its id is the thumbprint of its certificate, as with Entra.
    pub(crate) fn generate() -> io::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failed("RSA key generation"))?;
        let public = pair.public_key().as_ref().to_vec();
        let (modulus, exponent) = der::rsa_public_key(&public).ok_or_else(|| failed("RSA public key"))?;
        let (modulus, exponent) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
        let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| failed("RSA key encoding"))?;
        let certificate = self_signed(pkcs8.as_ref(), "accounts.accesscontrol.windows.net")?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let kid = URL_SAFE_NO_PAD.encode(digest.as_ref());
        Ok(Self { pair, kid, modulus, exponent, certificate: STANDARD.encode(&certificate), public })
    }

    /// Signs any header and claims, so that tests can build a token that is wrong in one place only.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        match self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature) {
            Ok(()) => format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)),
            Err(_) => String::new(),
        }
    }

    /// Whether this key made the signature.
    pub(crate) fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public).verify(input, signature).is_ok()
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid,
            "n": self.modulus, "e": self.exponent, "x5c": [self.certificate],
        })
    }
}

/// The key of personal accounts. It never rotates, so one for the whole process saves time.
fn personal_key() -> io::Result<Arc<Key>> {
    static KEY: Mutex<Option<Arc<Key>>> = Mutex::new(None);
    let mut key = lock(&KEY);
    if let Some(key) = &*key {
        return Ok(Arc::clone(key));
    }
    let made = Arc::new(Key::generate()?);
    *key = Some(Arc::clone(&made));
    Ok(made)
}

/// A self-signed certificate (DER) for a PKCS#8 RSA key.
pub(crate) fn self_signed(pkcs8: &[u8], name: &str) -> io::Result<Vec<u8>> {
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &rcgen::PKCS_RSA_SHA256)
        .map_err(io::Error::other)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    Ok(params.self_signed(&pair).map_err(io::Error::other)?.der().to_vec())
}

fn failed(what: &str) -> io::Error {
    io::Error::other(format!("{what} failed"))
}
