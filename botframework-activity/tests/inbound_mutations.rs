//! The mutation table of a channel token: each of its five claims and its header in every wrong form.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use entra_auth::TenantPolicy;
use futures_util::FutureExt as _;
use inbound_support::{activity, bearer, builder, claims, header, key, token_of};
use serde_json::{Value, json};

#[tokio::test]
async fn every_member_in_every_form() {
    let authenticator = builder(TenantPolicy::Any).build().unwrap();
    let judge = |header: &str, payload: &str| {
        let token = token_of(header, payload, |input| key("channel").sign(&RSA_PKCS1_SHA256, input));
        // Twice: no verdict changes because the token came before.
        let [first, second] = [(); 2].map(|()| {
            let token = authenticator.authenticate(&bearer(&token)).now_or_never().unwrap();
            token
                .and_then(|token| token.open(activity().to_string().as_bytes()))
                .map_err(|error| error.kind())
                .map(drop)
        });
        assert_eq!(first, second);
        first
    };
    let (good_header, good_claims) = (header("channel"), Value::Object(claims()));
    assert_eq!(judge(&good_header.to_string(), &good_claims.to_string()), Ok(()));
    let mut refused = 0;
    for (base, names, is_header) in [
        (&good_claims, &["serviceurl", "nbf", "exp", "iss", "aud"][..], false),
        (&good_header, &["alg", "kid", "typ", "crit", "jwk", "jku", "x5u", "nonce"], true),
    ] {
        for name in names {
            for (form, text) in forms(base, name) {
                let outcome = match is_header {
                    true => judge(&text, &good_claims.to_string()),
                    false => judge(&good_header.to_string(), &text),
                };
                let may = match (*name, form) {
                    // A moment of 1970 to begin at, a type that is not there, and members that are not there anyway.
                    ("nbf", "number") | ("typ" | "crit" | "jwk" | "jku" | "x5u" | "nonce", "missing") => true,
                    _ => false,
                };
                assert_eq!(outcome.is_ok(), may, "{name} {form}: {outcome:?}");
                refused += usize::from(outcome.is_err());
            }
        }
    }
    println!("refused {refused}");
    assert_eq!(refused, 13 * 8 - 7);
}

fn forms(base: &Value, name: &str) -> Vec<(&'static str, String)> {
    let set = |value: Value| {
        let mut base = base.clone();
        base[name] = value;
        base.to_string()
    };
    let value = base.get(name).cloned().unwrap_or_else(|| json!("x"));
    let without = {
        let mut base = base.clone();
        base.as_object_mut().unwrap().remove(name);
        base.to_string()
    };
    let whole = set(value.clone());
    let twice = format!("{},{}:{value}}}", &whole[..whole.len() - 1], json!(name));
    vec![
        ("missing", without),
        ("null", set(Value::Null)),
        ("number", set(json!(7))),
        ("string", set(json!("x"))),
        ("array", set(json!([value]))),
        ("object", set(json!({ "value": value }))),
        ("duplicated", twice),
        ("1 MiB", set(json!("x".repeat(1 << 20)))),
    ]
}
