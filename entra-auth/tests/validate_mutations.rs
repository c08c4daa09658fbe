//! The mutation tables: every deciding claim and every header member, in every wrong form, for every kind of token. What
//! may still be accepted is listed; everything else is refused.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use entra_auth::{AccessTokenValidator, AllowedCallers, TokenErrorKind};
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use validate_support::*;

/// The forms of the tables.
const FORMS: [&str; 8] = ["missing", "null", "number", "string", "array", "object", "duplicated", "1 MiB"];

/// A JSON object with one member brought into a form.
fn mutated(base: &Value, name: &str, form: &str) -> String {
    let set = |value: Value| with(base.clone(), &[(name, value)]).to_string();
    match form {
        "missing" => {
            let mut base = base.clone();
            base.as_object_mut().unwrap().remove(name);
            base.to_string()
        }
        "null" => set(Value::Null),
        "number" => set(json!(7)),
        "string" => set(json!("x")),
        "array" => set(json!([base[name]])),
        "object" => set(json!({ "value": base[name] })),
        "duplicated" => {
            let text = base.to_string();
            let first = if base.get(name).is_some() { String::new() } else { format!(",{}:1", json!(name)) };
            format!("{}{first},{}:{}}}", &text[..text.len() - 1], json!(name), base.get(name).unwrap_or(&Value::Null))
        }
        "1 MiB" => set(json!("x".repeat(1 << 20))),
        other => panic!("{other}"),
    }
}

/// A name, good claims, the claims this kind has besides the common ones, and what of theirs does no harm.
type Kind = (&'static str, Value, &'static [&'static str], &'static [(&'static str, &'static str)]);

fn validator() -> AccessTokenValidator {
    let callers = AllowedCallers::only([CALLER.parse().unwrap()]);
    builder(single()).app_callers(callers).build().unwrap()
}

fn judge(validator: &AccessTokenValidator, token: &str) -> Result<(), TokenErrorKind> {
    // Twice: no verdict changes because the token came before.
    let once = || validator.validate(token).now_or_never().unwrap().map(drop).map_err(|error| error.kind());
    let (first, second) = (once(), once());
    assert_eq!(first, second);
    first
}

#[test]
fn claims_of_every_kind_of_token() {
    let validator = validator();
    let common = ["iss", "aud", "exp", "nbf", "iat", "tid", "oid", "sub", "ver", "roles", "idtyp"];
    // These may be absent; a subject and a scope may be any text; an audience may be an array of one.
    let harmless = [
        ("nbf", "missing"),
        ("iat", "missing"),
        ("sub", "missing"),
        ("ver", "missing"),
        ("roles", "missing"),
        ("sub", "string"),
        ("aud", "array"),
        ("nbf", "number"), // a moment of 1970
    ];
    let kinds: [Kind; 3] = [
        (
            "version 2, user",
            user_claims(),
            &["scp", "azp"],
            &[("idtyp", "missing"), ("azp", "missing"), ("scp", "string")],
        ),
        (
            "version 1, user",
            v1_claims(),
            &["scp", "appid"],
            &[("idtyp", "missing"), ("appid", "missing"), ("scp", "string")],
        ),
        ("application", app_claims(), &["azp"], &[]),
    ];
    let (mut accepted, mut refused) = (0, 0);
    for (kind, base, own, harmless_here) in kinds {
        assert_eq!(judge(&validator, &ENTRA.sign(&base)), Ok(()), "{kind}");
        for name in common.iter().chain(own) {
            for form in FORMS {
                let token = ENTRA.sign_text(&ENTRA.header().to_string(), &mutated(&base, name, form));
                let outcome = judge(&validator, &token);
                let may = harmless.contains(&(*name, form)) || harmless_here.contains(&(*name, form));
                assert_eq!(outcome.is_ok(), may, "{kind}: {name} {form}: {outcome:?}");
                match (form, &outcome) {
                    ("duplicated", _) => assert_eq!(outcome, Err(TokenErrorKind::DuplicateMember), "{name}"),
                    ("1 MiB", _) => assert_eq!(outcome, Err(TokenErrorKind::TokenTooLarge), "{name}"),
                    ("null" | "object", _) => assert_eq!(outcome, Err(TokenErrorKind::MalformedClaim), "{name}"),
                    _ => {}
                }
                if outcome.is_ok() { accepted += 1 } else { refused += 1 }
            }
        }
    }
    println!("accepted {accepted}, refused {refused}");
    assert_eq!(accepted + refused, (13 + 13 + 12) * 8);
}

#[test]
fn members_of_the_header() {
    let validator = validator();
    let payload = user_claims().to_string();
    let base = with(ENTRA.header(), &[("x5t", json!("thumbprint"))]);
    let (mut accepted, mut refused) = (0, 0);
    // What Entra writes.
    for name in ["alg", "kid", "typ", "x5t"] {
        for form in FORMS {
            let outcome = judge(&validator, &ENTRA.sign_text(&mutated(&base, name, form), &payload));
            let expected = match (name, form) {
                (_, "duplicated") => Err(TokenErrorKind::DuplicateMember),
                (_, "1 MiB") => Err(TokenErrorKind::TokenTooLarge),
                // It says nothing that is needed, and is never read.
                ("x5t", _) | ("typ", "missing") => Ok(()),
                ("alg", _) => Err(TokenErrorKind::AlgorithmNotAllowed),
                ("typ", _) => Err(TokenErrorKind::TypeNotAllowed),
                ("kid", "string") => Err(TokenErrorKind::UnknownKey),
                ("kid", _) => Err(TokenErrorKind::MissingKeyId),
                _ => unreachable!(),
            };
            assert_eq!(outcome, expected, "{name} {form}");
            if outcome.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    // What it does not write: whatever the form, it is refused or never looked at.
    for (name, rule) in [
        ("crit", Some(TokenErrorKind::CriticalHeader)),
        ("nonce", Some(TokenErrorKind::NotForThisApi)),
        ("jwk", None),
        ("jku", None),
        ("x5u", None),
        ("x5c", None),
        ("enc", None),
        ("zip", None),
        ("b64", None),
        ("cty", None),
    ] {
        for form in FORMS {
            let outcome = judge(&validator, &ENTRA.sign_text(&mutated(&base, name, form), &payload));
            let expected = match (form, rule) {
                ("missing", _) => Ok(()),
                ("duplicated", _) => Err(TokenErrorKind::DuplicateMember),
                ("1 MiB", _) => Err(TokenErrorKind::TokenTooLarge),
                (_, Some(rule)) => Err(rule),
                (_, None) => Ok(()),
            };
            assert_eq!(outcome, expected, "{name} {form}");
            if outcome.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    println!("accepted {accepted}, refused {refused}");
    assert_eq!(accepted + refused, (4 + 10) * 8);
}
