//! Keys as they are published (<https://www.rfc-editor.org/rfc/rfc7517>), each judged by itself and parsed once.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Algorithm, KeyError, KeyErrorKind, TokenError, TokenErrorKind, algorithm::Family};

/// A public key that an issuer signs with. The key material is parsed once, when the document is read.
///
/// The member names are those of Entra's key document,
/// see <https://learn.microsoft.com/entra/identity-platform/signing-key-rollover>.
pub struct SigningKey {
    kid: Box<str>,
    issuer: Option<Box<str>>,
    cloud_instance_name: Option<Box<str>>,
    endorsements: Box<[String]>,
    parsed: Box<[(Algorithm, ParsedPublicKey)]>,
}

impl SigningKey {
    /// `kid`: the id by which a token names its key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `issuer`: whose tokens this key signs, possibly with `{tenantid}` in place of a tenant. Only Entra's version 2
    /// documents say.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// `cloud_instance_name`: the cloud this key belongs to.
    #[must_use]
    pub fn cloud_instance_name(&self) -> Option<&str> {
        self.cloud_instance_name.as_deref()
    }

    /// `endorsements`: the channels this key may speak for (Bot Framework).
    #[must_use]
    pub fn endorsements(&self) -> &[String] {
        &self.endorsements
    }

    /// The algorithms this key may be used with: its `alg`, or RS256 and PS256 for an RSA key without one.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.parsed.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Checks a signature; the key must be one for that algorithm.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let key = self.parsed.iter().find(|(of_key, _)| *of_key == algorithm).map(|(_, key)| key);
        let key = key.ok_or(TokenErrorKind::AlgorithmNotAllowed)?;
        key.verify_sig(message, signature).map_err(|_| TokenErrorKind::BadSignature.into())
    }

    /// A usable key for verifying signatures, or nothing.
    fn from_jwk(json: &str) -> Option<Self> {
        let jwk: Jwk = serde_json::from_str(json).ok()?;
        let for_signatures = jwk.r#use.is_none_or(|usage| usage == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !for_signatures || jwk.kid.is_empty() || jwk.kid.len() > MAX_KID {
            return None;
        }
        let algorithms = match (jwk.alg, &*jwk.kty, jwk.crv.as_deref()) {
            (Some(name), ..) => vec![Algorithm::named(&name)?],
            (None, "RSA", _) => vec![Algorithm::RS256, Algorithm::PS256],
            (None, "EC", Some("P-256")) => vec![Algorithm::ES256],
            (None, "EC", Some("P-384")) => vec![Algorithm::ES384],
            _ => return None,
        };
        let material = match &*jwk.kty {
            "RSA" => Material::rsa(&jwk.n?, &jwk.e?)?,
            "EC" => Material::ec(jwk.crv.as_deref()?, &jwk.x?, &jwk.y?)?,
            _ => return None,
        };
        let parsed = algorithms.into_iter().map(|algorithm| Some((algorithm, material.parse(algorithm)?)));
        Some(Self {
            kid: jwk.kid.into(),
            issuer: jwk.issuer.map(Into::into),
            cloud_instance_name: jwk.cloud_instance_name.map(Into::into),
            endorsements: jwk.endorsements.unwrap_or_default().into(),
            parsed: parsed.collect::<Option<_>>()?,
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("issuer", &self.issuer)
            .field("algorithms", &self.algorithms().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The longest `kid` that is kept or looked for.
pub(super) const MAX_KID: usize = 256;
/// The most keys that are taken from one document.
const MAX_KEYS: usize = 1000;

pub(super) type Keys = HashMap<Box<str>, Arc<SigningKey>>;

/// The usable keys of a document; at least one. Of two keys with one id the first counts.
pub(super) fn parse_jwks(json: &[u8]) -> Result<Keys, KeyError> {
    #[derive(Deserialize)]
    struct Jwks<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }

    let document: Jwks<'_> = serde_json::from_slice(json).map_err(|_| KeyErrorKind::Malformed)?;
    let mut keys = Keys::new();
    for key in document.keys.iter().take(MAX_KEYS).filter_map(|raw| SigningKey::from_jwk(raw.get())) {
        keys.entry(key.kid.clone()).or_insert_with(|| Arc::new(key));
    }
    if keys.is_empty() { Err(KeyErrorKind::Malformed.into()) } else { Ok(keys) }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    issuer: Option<String>,
    cloud_instance_name: Option<String>,
    endorsements: Option<Vec<String>>,
}

enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { crv: Curve, point: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
}

impl Material {
    /// A modulus of 2048 to 8192 bits and an odd exponent from 3 to 2^32.
    fn rsa(n: &str, e: &str) -> Option<Self> {
        const LONGEST: usize = 1400; // 8192 bits in base64, with a zero byte in front
        if n.len() > LONGEST || e.len() > 16 {
            return None;
        }
        let [n, e] = [unsigned(n)?, unsigned(e)?];
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let exponent = (e.len() <= 4).then(|| e.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))?;
        let sound = (2048..=8192).contains(&bits) && is_odd(&n) && is_odd(&e) && exponent >= 3;
        sound.then_some(Self::Rsa { n, e })
    }

    fn ec(crv: &str, x: &str, y: &str) -> Option<Self> {
        let (crv, size) = match crv {
            "P-256" => (Curve::P256, 32),
            "P-384" => (Curve::P384, 48),
            _ => return None,
        };
        let [x, y] = [URL_SAFE_NO_PAD.decode(x).ok()?, URL_SAFE_NO_PAD.decode(y).ok()?];
        let point = [&[4], &*x, &*y].concat();
        (x.len() == size && y.len() == size).then_some(Self::Ec { crv, point })
    }

    fn parse(&self, algorithm: Algorithm) -> Option<ParsedPublicKey> {
        match (self, algorithm.family()) {
            (Self::Rsa { n, e }, Family::Rsa(parameters)) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
            }
            (Self::Ec { crv, point }, Family::Ec(parameters)) => {
                let fits =
                    matches!((crv, algorithm), (Curve::P256, Algorithm::ES256) | (Curve::P384, Algorithm::ES384));
                fits.then(|| ParsedPublicKey::new(parameters, point).ok())?
            }
            _ => None,
        }
    }
}

/// Canonical base64url of an unsigned number, without leading zero bytes.
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes.get(start..)?.to_vec())
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte & 1 == 1)
}
