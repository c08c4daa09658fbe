//! What holds for every token, not only for those somebody thought of.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::sync::LazyLock;

use entra_auth::{AccessTokenValidator, AllowedCallers, StaticKeys, TokenErrorKind, UnverifiedToken, bearer};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use validate_support::*;

static VALIDATOR: LazyLock<AccessTokenValidator> = LazyLock::new(|| {
    let callers = AllowedCallers::only([CALLER.parse().unwrap()]);
    builder(single()).app_callers(callers).remember(0).build().unwrap()
});

/// Fixed keys never wait.
fn judge(token: &str) -> Result<(), TokenErrorKind> {
    VALIDATOR.validate(token).now_or_never().unwrap().map(|_| ()).map_err(|error| error.kind())
}

fn bases() -> [Value; 3] {
    [user_claims(), v1_claims(), app_claims()]
}

/// A value of another type than the given one.
fn other_type(of: &Value) -> impl Strategy<Value = Value> + use<> {
    let of = of.clone();
    let text = of.as_str().unwrap_or("x").to_owned();
    let candidates = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(text),
        json!([]),
        json!([[text]]),
        json!([text, text]),
        json!([null]),
        json!({}),
        json!({"value": of}),
    ];
    let kind = std::mem::discriminant(&of);
    let array = of.is_array();
    let candidates: Vec<Value> = candidates
        .into_iter()
        // An array of strings stays one whatever it holds; only other contents are another type.
        .filter(|value| match array {
            true => !value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            false => std::mem::discriminant(value) != kind,
        })
        .collect();
    prop::sample::select(candidates)
}

fn claim_and_mutation() -> impl Strategy<Value = (Value, String, Value)> {
    prop::sample::select(bases().to_vec()).prop_flat_map(|base| {
        let names: Vec<String> = members(&base).keys().cloned().collect();
        prop::sample::select(names).prop_flat_map(move |name| {
            let base = base.clone();
            other_type(&base[&name]).prop_map(move |value| (base.clone(), name.clone(), value))
        })
    })
}

fn claim_to_repeat() -> impl Strategy<Value = (Value, String, Value)> {
    prop::sample::select(bases().to_vec()).prop_flat_map(|base| {
        let names: Vec<String> = members(&base).keys().cloned().collect();
        (
            Just(base),
            prop::sample::select(names),
            prop::sample::select(vec![json!(null), json!("x"), json!(1), json!([])]),
        )
    })
}

#[test]
fn the_bases_are_good() {
    for base in bases() {
        assert_eq!(judge(&ENTRA.sign(&base)), Ok(()));
    }
}

/// Every claim with every other type, none left to chance.
#[test]
fn every_type_of_every_claim() {
    for base in bases() {
        for (name, value) in members(&base) {
            for wrong in [json!(null), json!(true), json!(1.5), json!([[]]), json!({}), json!(-1)] {
                let outcome = judge(&ENTRA.sign(&with(base.clone(), &[(name, wrong.clone())])));
                assert!(outcome.is_err(), "{name}: {value} -> {wrong}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_claim_of_another_type_is_refused((base, name, value) in claim_and_mutation()) {
        let outcome = judge(&ENTRA.sign(&with(base, &[(&name, value.clone())])));
        prop_assert!(outcome.is_err(), "{}: {}", name, value);
    }

    #[test]
    fn any_member_twice_is_refused((base, name, second) in claim_to_repeat(), first in any::<bool>(), same in any::<bool>()) {
        let second = if same { base[&name].clone() } else { second };
        let repeated = format!("{}:{second}", json!(name));
        let text = base.to_string();
        let inner = &text[1..text.len() - 1];
        let payload = if first { format!("{{{repeated},{inner}}}") } else { format!("{{{inner},{repeated}}}") };
        let token = ENTRA.sign_text(&ENTRA.header().to_string(), &payload);
        prop_assert_eq!(judge(&token), Err(TokenErrorKind::DuplicateMember));
    }

    #[test]
    fn any_header_member_twice_is_refused(name in "alg|kid|typ|x5t", value in "RS256|none|JWT|entra-1") {
        let header = ENTRA.header().to_string();
        let inner = &header[1..header.len() - 1];
        let more = if name == "x5t" { "\"x5t\":1,\"x5t\":2".to_owned() } else { format!("\"{name}\":\"{value}\"") };
        let token = ENTRA.sign_text(&format!("{{{inner},{more}}}"), &user_claims().to_string());
        prop_assert_eq!(judge(&token), Err(TokenErrorKind::DuplicateMember));
    }

    #[test]
    fn any_changed_byte_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        static GOOD: LazyLock<String> = LazyLock::new(|| ENTRA.sign(&user_claims()));
        let at = at.index(GOOD.len());
        let mut forged = GOOD.clone();
        forged.replace_range(at..=at, &to);
        prop_assume!(forged != *GOOD);
        prop_assert!(judge(&forged).is_err());
    }

    #[test]
    fn nothing_panics(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        prop_assert!(judge(&text).is_err());
        prop_assert!(StaticKeys::from_jwks(&bytes).is_err());
        let part = URL_SAFE_NO_PAD.encode(&bytes);
        let thrice = [&*part; 3].join(".");
        prop_assert!(UnverifiedToken::parse(&thrice).is_err());
        let header = URL_SAFE_NO_PAD.encode(ENTRA.header().to_string());
        let _ = UnverifiedToken::parse(&format!("{header}.{part}.{part}"));
        if let Ok(value) = http::HeaderValue::from_bytes(&bytes) {
            let headers = http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
            let _ = bearer(&headers);
        }
    }

    #[test]
    fn key_documents_of_any_shape_do_no_harm(
        member in "kty|kid|use|key_ops|alg|n|e|issuer|endorsements|crv|x|y",
        value in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({})), any::<i64>().prop_map(|n| json!(n)), ".{0,40}".prop_map(|s| json!(s))],
    ) {
        let jwk = with(ENTRA.jwk(), &[(&member, value)]);
        let document = json!({"keys": [jwk, ENTRA.jwk()]}).to_string();
        prop_assert!(StaticKeys::from_jwks(document.as_bytes()).is_ok(), "the good key stays usable");
    }
}
