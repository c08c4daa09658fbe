//! The traps of the usual JWT library, each avoided. The library stands beside our validator on the same tokens: where
//! it starts to refuse what it accepts today, the test says so and the note can go.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use entra_auth::{KeyErrorKind, KeyLookup, KeySource, StaticKeys, UnverifiedToken};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    crypto::{CryptoProvider, aws_lc},
};
use serde_json::{Value, json};
use validate_support::*;

static VERIFICATIONS: AtomicUsize = AtomicUsize::new(0);

/// A process-wide provider that counts what comes through it.
fn counting_provider() {
    static PROVIDER: std::sync::LazyLock<CryptoProvider> = std::sync::LazyLock::new(|| {
        let mut provider = aws_lc::DEFAULT_PROVIDER.clone();
        provider.verifier_factory = |algorithm, key| {
            VERIFICATIONS.fetch_add(1, Ordering::SeqCst);
            (aws_lc::DEFAULT_PROVIDER.verifier_factory)(algorithm, key)
        };
        provider
    });
    let _ = PROVIDER.install_default();
}

// Trap 1: the library panics when its process-wide provider is ambiguous or missing. Trap 2: its claim checks let
// through what they must not. One test, because the provider is one for the process.
#[tokio::test]
async fn validation_neither_uses_the_global_provider_nor_the_claim_checks() {
    counting_provider();
    let validator = builder(single()).build().unwrap();
    assert!(validator.validate(&ENTRA.sign(&user_claims())).await.is_ok());
    assert!(validator.validate(&EVIL.sign(&user_claims())).await.is_err());
    assert_eq!(VERIFICATIONS.load(Ordering::SeqCst), 0, "our path does not go through the library");

    let jwk = ENTRA.jwk();
    let key = DecodingKey::from_rsa_components(jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap()).unwrap();
    let mut lax = Validation::new(Algorithm::RS256);
    lax.validate_exp = false; // its clock is the system's
    lax.set_issuer(&[user_claims()["iss"].as_str().unwrap()]);
    lax.set_audience(&[API]);
    lax.set_required_spec_claims(&["tid"]);
    let header = ENTRA.header();
    for (name, header, claims) in [
        ("no aud", header.clone(), without(user_claims(), "aud")),
        ("a number as aud", header.clone(), with(user_claims(), &[("aud", json!(5))])),
        ("no iss", header.clone(), without(user_claims(), "iss")),
        ("iss among others", header.clone(), with(user_claims(), &[("iss", json!(["evil", user_claims()["iss"]]))])),
        ("nbf in the future", header.clone(), with(user_claims(), &[("nbf", json!(NOW + 1_000_000_000))])),
        ("no tid although it is required", header.clone(), without(user_claims(), "tid")),
        ("an unknown crit", with(header.clone(), &[("crit", json!(["x-unknown"]))]), user_claims()),
        ("any typ", with(header.clone(), &[("typ", json!("dpop+jwt"))]), user_claims()),
    ] {
        let token = ENTRA.sign_text(&header.to_string(), &claims.to_string());
        assert!(validator.validate(&token).await.is_err(), "we refuse: {name}");
        let theirs = jsonwebtoken::decode::<Value>(&token, &key, &lax);
        assert!(theirs.is_ok(), "the library has learnt to refuse `{name}`: {theirs:?}");
    }
    assert!(VERIFICATIONS.load(Ordering::SeqCst) > 0, "the counter counts");
}

// Trap 3: the library takes any modulus; a key below 2048 bits must never be used.
#[tokio::test]
async fn small_keys_are_refused_before_they_are_used() {
    let tiny = with(ENTRA.jwk(), &[("n", json!("gAAB"))]);
    assert!(DecodingKey::from_rsa_components("gAAB", "AQAB").is_ok(), "the library takes 24 bits");
    let document = json!({ "keys": [tiny] }).to_string();
    assert_eq!(StaticKeys::from_jwks(document.as_bytes()).unwrap_err().kind(), KeyErrorKind::Malformed);
}

// Trap 4, on this side: a key is parsed when it is read, not at each use.
#[tokio::test]
async fn keys_are_parsed_once() {
    let keys = StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap();
    let first = keys.key(KeyLookup::new("issuer", "entra-1")).await.unwrap();
    let token = ENTRA.sign(&user_claims());
    for _ in 0..3 {
        let token = UnverifiedToken::parse(&token).unwrap();
        let verified = token.verify(&keys, "issuer", &[entra_auth::Algorithm::RS256]).await.unwrap();
        assert!(Arc::ptr_eq(verified.key(), &first));
    }
}
