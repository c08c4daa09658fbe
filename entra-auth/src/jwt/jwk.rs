//! Keys as they are published (<https://www.rfc-editor.org/rfc/rfc7517>), each judged by itself and parsed once.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    digest::{self, Digest},
    signature::{ParsedPublicKey, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::value::RawValue;

use super::{Algorithm, KeyError, KeyErrorKind, TokenError, TokenErrorKind, algorithm::Family, token::sha256};
use crate::document::{self, Document, Unreadable};

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
    /// SHA-256 of the JWK as it was sent.
    fingerprint: [u8; 32],
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

    /// Whether this is the very same key with the very same members.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Checks a signature; the key must be one for that algorithm. A digest of the message that is at hand already saves
    /// making it again, if it is one of the algorithm's kind.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        digest: Option<&Digest>,
        signature: &[u8],
    ) -> Result<(), TokenError> {
        let key = self.parsed.iter().find(|(of_key, _)| *of_key == algorithm).map(|(_, key)| key);
        let key = key.ok_or(TokenErrorKind::AlgorithmNotAllowed)?;
        // Handing the digest over is quicker than handing the message over, by as much as it costs to prepare for either.
        let at_hand = digest.filter(|digest| digest.algorithm() == algorithm.digest()).copied();
        let digest = at_hand.unwrap_or_else(|| digest::digest(algorithm.digest(), message));
        key.verify_digest_sig(&digest, signature).map_err(|_| TokenErrorKind::BadSignature.into())
    }

    /// A usable key for verifying signatures, or nothing.
    fn from_jwk(json: &str) -> Option<Self> {
        let jwk = Jwk::read(json).ok()?;
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
        let mut parsed = Vec::with_capacity(algorithms.len());
        for algorithm in algorithms {
            parsed.push((algorithm, material.parse(algorithm)?));
        }
        Some(Self {
            kid: jwk.kid.into(),
            issuer: jwk.issuer.map(Into::into),
            cloud_instance_name: jwk.cloud_instance_name.map(Into::into),
            endorsements: jwk.endorsements.unwrap_or_default().into(),
            parsed: parsed.into(),
            fingerprint: sha256(json),
        })
    }
}

impl fmt::Debug for SigningKey {
    #[inline]
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
    let list = Document::read(json).and_then(|document| document.required("keys"));
    let list: Vec<&RawValue> = list.map_err(|_| KeyErrorKind::Malformed)?;
    let mut keys = Keys::new();
    for raw in list.into_iter().take(MAX_KEYS) {
        if let Some(key) = SigningKey::from_jwk(raw.get())
            && !keys.contains_key(&key.kid)
        {
            keys.insert(key.kid.clone(), Arc::new(key));
        }
    }
    if keys.is_empty() { Err(KeyErrorKind::Malformed.into()) } else { Ok(keys) }
}

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

impl Jwk {
    fn read(json: &str) -> Result<Self, Unreadable> {
        let jwk: Document<'_> = document::read(json)?;
        Ok(Self {
            kty: jwk.required("kty")?,
            kid: jwk.required("kid")?,
            r#use: jwk.optional("use")?,
            key_ops: jwk.optional("key_ops")?,
            alg: jwk.optional("alg")?,
            n: jwk.optional("n")?,
            e: jwk.optional("e")?,
            crv: jwk.optional("crv")?,
            x: jwk.optional("x")?,
            y: jwk.optional("y")?,
            issuer: jwk.optional("issuer")?,
            cloud_instance_name: jwk.optional("cloud_instance_name")?,
            endorsements: jwk.optional("endorsements")?,
        })
    }
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

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::{
        rsa::KeyPair as RsaKeyPair,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::{Value, json};

    use super::*;

    /// Fresh P-256 keys of these ids.
    pub(in crate::jwt) fn ec_keys(kids: &[&str]) -> Keys {
        let jwks: Vec<_> = kids.iter().map(|kid| ec_jwk(kid)).collect();
        parse_jwks(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
    }

    fn ec_jwk(kid: &str) -> Value {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    fn rsa_jwk() -> Value {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let [n, e] =
            [public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero()];
        json!({"kty": "RSA", "use": "sig", "kid": "k", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)})
    }

    fn usable(jwk: &Value) -> bool {
        SigningKey::from_jwk(&jwk.to_string()).is_some()
    }

    #[test]
    fn unusable_keys_are_skipped() {
        let good = rsa_jwk();
        assert!(usable(&good));
        let number = |bytes: Vec<u8>| json!(URL_SAFE_NO_PAD.encode(bytes));
        let size = |bits: usize| number([&[0x80][..], &vec![0x55; bits / 8 - 1]].concat());
        for (member, value) in [
            ("kty", json!("oct")),
            ("kty", json!("OKP")),
            ("kty", json!("EC")),
            ("kty", json!("rsa")),
            ("kty", json!(null)),
            ("kid", json!(null)),
            ("kid", json!("")),
            ("kid", json!("k".repeat(257))),
            ("kid", json!(5)),
            ("use", json!("enc")),
            ("use", json!("SIG")),
            ("key_ops", json!(["encrypt"])),
            ("key_ops", json!([])),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("ES256")),
            ("alg", json!(5)),
            ("n", json!(null)),
            ("n", json!("")),
            ("n", json!("AQAB")),
            ("n", json!("!!!!")),
            ("n", size(1024)),
            ("n", size(2040)),
            ("n", size(8200)),
            ("n", json!("A".repeat(1 << 20))),
            ("n", number([&[0xff; 255][..], &[0xfe]].concat())),
            ("e", json!(null)),
            ("e", number(vec![1])),
            ("e", number(vec![2])),
            ("e", number(vec![1, 0, 0])),
            ("e", number(vec![1, 0, 0, 0, 1])),
            ("e", number(vec![0])),
            ("issuer", json!(5)),
            ("cloud_instance_name", json!([])),
            ("endorsements", json!("msteams")),
            ("endorsements", json!([5])),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert!(!usable(&bad), "{member}: {:.80}", bad[member]);
        }
    }

    #[test]
    fn curves_and_points() {
        let good = ec_jwk("k");
        assert!(usable(&good));
        for (member, value) in [
            ("crv", json!("P-384")),
            ("crv", json!("P-521")),
            ("crv", json!("secp256k1")),
            ("crv", json!(null)),
            ("alg", json!("ES384")),
            ("alg", json!("RS256")),
            ("x", good["y"].clone()),
            ("x", json!("AA")),
            ("y", json!(URL_SAFE_NO_PAD.encode([0; 32]))),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert!(!usable(&bad), "{member}");
        }
    }

    #[test]
    fn the_key_fixes_the_algorithms() {
        let mut jwk = rsa_jwk();
        let algorithms = |jwk: &Value| SigningKey::from_jwk(&jwk.to_string()).unwrap().algorithms().collect::<Vec<_>>();
        assert_eq!(algorithms(&jwk), [Algorithm::RS256, Algorithm::PS256]);
        jwk["alg"] = json!("PS512");
        assert_eq!(algorithms(&jwk), [Algorithm::PS512]);
        assert_eq!(algorithms(&ec_jwk("k")), [Algorithm::ES256]);
    }

    #[test]
    fn leading_zeros_and_unknown_members_do_no_harm() {
        let mut jwk = rsa_jwk();
        let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        jwk["n"] = json!(URL_SAFE_NO_PAD.encode([&[0][..], &n].concat()));
        jwk["x5c"] = json!(["MII"]);
        jwk["issuer"] = json!(null);
        assert!(usable(&jwk));
    }

    #[test]
    fn documents_without_a_usable_key_are_failures() {
        let mut weak = rsa_jwk();
        weak["use"] = json!("enc");
        for json in [
            String::new(),
            "[]".into(),
            "{}".into(),
            r#"{"keys":[]}"#.into(),
            r#"{"keys":{}}"#.into(),
            r#"{"keys":[null,1,"x",[]]}"#.into(),
            json!({ "keys": [weak] }).to_string(),
        ] {
            assert_eq!(parse_jwks(json.as_bytes()).unwrap_err().kind(), KeyErrorKind::Malformed, "{json:.80}");
        }
        let mixed = json!({ "keys": [weak, 5, rsa_jwk()] }).to_string();
        assert_eq!(parse_jwks(mixed.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn of_two_keys_with_one_id_the_first_counts() {
        let [first, second] = [ec_jwk("k"), ec_jwk("k")];
        let keys = parse_jwks(json!({ "keys": [first, second] }).to_string().as_bytes()).unwrap();
        assert_eq!(keys["k"].fingerprint, sha256(&first.to_string()));
    }
}
