//! The test vectors of Project Wycheproof, against the way from a published key to a verdict.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wycheproof::{HashFunction, Mgf, TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::{
    Algorithm, SigningKey, TokenError, TokenErrorKind,
    algorithm::Family,
    header::Header,
    jwk::parse_jwks,
    token::{Parts, decode},
};
use crate::{KeyError, KeyErrorKind};

/// How many vectors were accepted and refused, and how many had no usable key.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    accepted: usize,
    refused: usize,
    unusable: usize,
}

/// Name, message, signature, verdict.
type Vector<'a> = (String, &'a [u8], &'a [u8], TestResult);

impl Tally {
    /// The vectors of one key, if it is one that can be used.
    fn group<'a>(&mut self, key: Option<&SigningKey>, algorithm: Algorithm, vectors: impl Iterator<Item = Vector<'a>>) {
        match key {
            Some(key) => vectors.for_each(|vector| self.vector(key, algorithm, vector)),
            None => self.unusable += vectors.count(),
        }
    }

    /// Every vector has its verdict; what is `acceptable` must be refused as well unless it is named.
    fn vector(&mut self, key: &SigningKey, algorithm: Algorithm, vector: Vector<'_>) {
        let (name, message, signature, expected) = vector;
        let outcome = key.verify(algorithm, message, None, signature);
        let digest = aws_lc_rs::digest::digest(algorithm.digest(), message);
        assert_eq!(outcome.is_ok(), key.verify(algorithm, message, Some(&digest), signature).is_ok(), "{name}");
        match expected {
            TestResult::Valid => assert!(outcome.is_ok(), "{name}"),
            TestResult::Invalid | TestResult::Acceptable => {
                assert_eq!(outcome.as_ref().unwrap_err().kind(), TokenErrorKind::BadSignature, "{name}");
            }
        }
        if outcome.is_ok() { self.accepted += 1 } else { self.refused += 1 }
    }
}

fn key(mut jwk: Value, algorithm: Algorithm) -> Option<Arc<SigningKey>> {
    jwk["kid"] = json!("k");
    jwk["alg"] = json!(algorithm.as_str());
    let keys = parse_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).ok()?;
    keys.get("k").cloned()
}

fn rsa_key(n: &[u8], e: &[u8], algorithm: Algorithm) -> Option<Arc<SigningKey>> {
    let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
    key(json!({"kty": "RSA", "n": n, "e": e}), algorithm)
}

#[test]
fn rsa_pkcs1() {
    let mut tally = Tally::default();
    for set in rsa_pkcs1_verify::TestName::all() {
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            let algorithm = match group.hash {
                HashFunction::Sha2_256 => Algorithm::RS256,
                HashFunction::Sha2_384 => Algorithm::RS384,
                HashFunction::Sha2_512 => Algorithm::RS512,
                _ => continue,
            };
            let key = rsa_key(group.key.n.as_ref(), group.key.e.as_ref(), algorithm);
            let vectors = group.tests.iter().map(|test| {
                let name = format!("{set:?} {} {}", test.tc_id, test.comment);
                (name, test.msg.as_ref(), test.sig.as_ref(), test.result)
            });
            tally.group(key.as_deref(), algorithm, vectors);
        }
    }
    println!("{tally:?}");
    assert_eq!(tally, Tally { accepted: 89, refused: 3017, unusable: 0 });
}

#[test]
fn rsa_pss() {
    let mut tally = Tally::default();
    for set in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            // What JWS means by PS256: MGF1 with the same hash, and a salt as long as it.
            let algorithm = match (group.hash, group.mgf_hash, group.salt_size) {
                (HashFunction::Sha2_256, Some(HashFunction::Sha2_256), 32) => Algorithm::PS256,
                (HashFunction::Sha2_384, Some(HashFunction::Sha2_384), 48) => Algorithm::PS384,
                (HashFunction::Sha2_512, Some(HashFunction::Sha2_512), 64) => Algorithm::PS512,
                _ => continue,
            };
            if !matches!(group.mgf, Mgf::Mgf1) {
                continue;
            }
            let key = rsa_key(group.key.n.as_ref(), group.key.e.as_ref(), algorithm);
            let vectors = group.tests.iter().map(|test| {
                let name = format!("{set:?} {} {}", test.tc_id, test.comment);
                (name, test.msg.as_ref(), test.sig.as_ref(), test.result)
            });
            tally.group(key.as_deref(), algorithm, vectors);
        }
    }
    println!("{tally:?}");
    assert!(tally.accepted > 300 && tally.refused > 150 && tally.unusable == 0, "{tally:?}");
}

#[test]
fn ecdsa_in_the_form_of_jws() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    let mut tally = Tally::default();
    for (set, crv, algorithm) in
        [(EcdsaSecp256r1Sha256P1363, "P-256", Algorithm::ES256), (EcdsaSecp384r1Sha384P1363, "P-384", Algorithm::ES384)]
    {
        assert!(matches!(algorithm.family(), Family::Ec(_)));
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            let point: &[u8] = group.key.key.as_ref();
            let (x, y) = point[1..].split_at(point.len() / 2);
            let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
            let key = key(json!({"kty": "EC", "crv": crv, "x": x, "y": y}), algorithm);
            let vectors = group.tests.iter().map(|test| {
                let name = format!("{set:?} {} {}", test.tc_id, test.comment);
                (name, test.msg.as_ref(), test.sig.as_ref(), test.result)
            });
            tally.group(key.as_deref(), algorithm, vectors);
        }
    }
    println!("{tally:?}");
    assert!(tally.accepted > 300 && tally.refused > 150 && tally.unusable == 0, "{tally:?}");
}

/// Checks form, header and signature, whatever the payload is.
fn accepts(jws: &str, jwks: &Value) -> Result<(), TokenError> {
    let parts = Parts::split(jws)?;
    let header = Header::parse(parts.header)?;
    let (_payload, signature) = (decode(parts.payload)?, decode(parts.signature)?);
    let keys = parse_jwks(jwks.to_string().as_bytes())?;
    let key = keys.get(&header.kid).ok_or(KeyErrorKind::Unknown).map_err(KeyError::from)?;
    key.verify(header.algorithm, parts.signing_input.as_bytes(), None, &signature)
}

/// Goal G14: all 401 vectors of JSON Web Signature, and the flags that say what is wrong with them.
#[test]
fn json_web_signatures() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wycheproof/json_web_signature_test.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut good, mut bad) = (0, 0);
    let mut refused_by_flag = BTreeMap::<String, usize>::new();
    for group in file["testGroups"].as_array().unwrap() {
        let key = if group["public"].is_object() { &group["public"] } else { &group["private"] };
        let jwks = json!({ "keys": [key] });
        // HMAC does not exist here, and ES521 is no registered name.
        let ours = key["alg"].as_str().is_some_and(|name| Algorithm::named(name).is_some());
        for test in group["tests"].as_array().unwrap() {
            let outcome = accepts(test["jws"].as_str().unwrap(), &jwks);
            // RFC 7520 figure 20 uses a key for another algorithm than its `alg` says. We do not.
            let expected = ours && test["result"] == "valid" && test["comment"] != "Figure20";
            assert_eq!(outcome.is_ok(), expected, "{}: {} {outcome:?}", test["tcId"], test["comment"]);
            let flags = test["flags"].as_array().unwrap().iter().map(|flag| flag.as_str().unwrap().to_owned());
            match outcome {
                Ok(()) => good += 1,
                Err(error) => {
                    bad += 1;
                    for flag in flags {
                        if flag == "AlgIsNone" {
                            assert_eq!(error.kind(), TokenErrorKind::AlgorithmNotAllowed);
                        }
                        *refused_by_flag.entry(flag).or_default() += 1;
                    }
                }
            }
        }
    }
    println!("accepted {good}, refused {bad}: {refused_by_flag:?}");
    assert_eq!((good, bad), (32, 369));
    for (flag, count) in [("ModifiedPadding", 213), ("ModifiedSignature", 45), ("WrongPrimitive", 10), ("AlgIsNone", 4)]
    {
        assert_eq!(refused_by_flag.get(flag), Some(&count), "{flag}: none of them is accepted");
    }
}
