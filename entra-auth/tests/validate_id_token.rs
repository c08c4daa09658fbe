//! Id tokens: which are accepted for a sign-in, and by which rule the others are refused.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{sync::Arc, time::Duration};

use entra_auth::{
    AccessToken, Authority, IdToken, IdTokenValidator, IdTokenValidatorBuilder, Secret, StaticKeys, TenantPolicy,
    TokenErrorKind,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use validate_support::*;

const NONCE: &str = "n-0S6_WzA2Mj-n-0S6_WzA2Mj";
const CODE: &str = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";

/// The claims of a good id token from the authorization endpoint.
fn id_claims() -> Value {
    json!({
        "aud": API,
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW - 60,
        "nbf": NOW - 60,
        "exp": NOW + 3600,
        "auth_time": NOW - 120,
        "aio": "opaque",
        "c_hash": "LDktKdoQak3Pk0cnXxCltA",
        "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        "groups": ["dddddddd-0000-0000-0000-00000000000d"],
        "login_hint": "O.opaque",
        "name": "Ada Example",
        "nonce": NONCE,
        "oid": USER,
        "preferred_username": "ada@contoso.example",
        "rh": "0.AAA.",
        "roles": ["Reader"],
        "sid": "session",
        "sub": "pairwise-subject",
        "tid": TENANT,
        "uti": "token-id",
        "ver": "2.0",
    })
}

fn id_builder(policy: TenantPolicy) -> IdTokenValidatorBuilder {
    IdTokenValidator::builder(Authority::default(), API.parse().unwrap(), policy)
        .clock(Arc::new(clock()))
        .keys(Arc::new(StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap()))
}

async fn judge(validator: &IdTokenValidator, token: &str) -> Result<IdToken, TokenErrorKind> {
    validator.validate(token, &Secret::new(NONCE)).await.map_err(|error| error.kind())
}

async fn verdict(claims: &Value) -> Result<IdToken, TokenErrorKind> {
    judge(&id_builder(single()).build().unwrap(), &ENTRA.sign(claims)).await
}

#[tokio::test]
async fn a_good_id_token_says_who_signed_in() {
    let token = verdict(&id_claims()).await.unwrap();
    assert_eq!(token.tenant().as_str(), TENANT);
    assert_eq!(token.object_id().as_str(), USER);
    assert_eq!(token.user_key().tenant(), token.tenant());
    assert_eq!(token.user_key().object_id(), token.object_id());
    assert_eq!(token.subject(), "pairwise-subject");
    assert_eq!(token.issued_at().unix_timestamp(), NOW - 60);
    assert_eq!(token.authenticated_at().unwrap().unix_timestamp(), NOW - 120);
    assert_eq!(token.expires_on().unix_timestamp(), NOW + 3600);
    assert_eq!(token.roles(), ["Reader"]);
    assert_eq!(token.groups().unwrap(), ["dddddddd-0000-0000-0000-00000000000d"]);
    assert!(!token.has_more_groups());
    assert_eq!(token.session_id(), Some("session"));
    assert_eq!(token.login_hint(), Some("O.opaque"));
    assert_eq!(token.untrusted_display().name, Some("Ada Example"));
    assert_eq!(token.untrusted_display().username, Some("ada@contoso.example"));
    assert_eq!(token.claims().required_string("rh").unwrap(), "0.AAA.");
    assert_eq!(token.raw().expose(), ENTRA.sign(&id_claims()));
    assert!(!format!("{token:#?}").contains("Ada"));
}

#[tokio::test]
async fn the_nonce_is_the_one_that_was_sent() {
    let validator = id_builder(single()).build().unwrap();
    let good = ENTRA.sign(&id_claims());
    for sent in ["", "other", &NONCE[1..], &NONCE[..NONCE.len() - 1], &NONCE.to_uppercase(), &format!("{NONCE}x")] {
        let refused = validator.validate(&good, &Secret::new(sent)).await.unwrap_err().kind();
        assert_eq!(refused, TokenErrorKind::NonceMismatch, "{sent}");
    }
    let bare = without(id_claims(), "nonce");
    assert_eq!(verdict(&bare).await.unwrap_err(), TokenErrorKind::NonceMismatch, "one was sent, so one must be there");
    assert!(validator.validate_without_nonce(&ENTRA.sign(&bare)).await.is_ok());
    assert_eq!(
        validator.validate_without_nonce(&good).await.unwrap_err().kind(),
        TokenErrorKind::NonceMismatch,
        "a token of a browser's sign-in is no token of another grant"
    );
    let empty = ENTRA.sign(&with(id_claims(), &[("nonce", json!(""))]));
    assert_eq!(
        validator.validate(&empty, &Secret::new("")).await.unwrap_err().kind(),
        TokenErrorKind::NonceMismatch,
        "two empty ones are no proof"
    );
    for wrong in [json!(null), json!(5), json!([NONCE])] {
        let claims = with(id_claims(), &[("nonce", wrong.clone())]);
        assert_eq!(verdict(&claims).await.unwrap_err(), TokenErrorKind::MalformedClaim, "{wrong}");
    }
}

#[tokio::test]
async fn the_audience_is_this_client_and_azp_agrees() {
    let foreign = TokenErrorKind::AudienceMismatch;
    for (aud, azp, expected) in [
        (json!(API), None, Ok(())),
        (json!(API.to_uppercase()), None, Ok(())),
        (json!([API]), None, Ok(())),
        (json!(API), Some(API), Ok(())),
        (json!([API, CALLER]), Some(API), Ok(())),
        (json!([API, CALLER]), None, Err(foreign)),
        (json!([API, CALLER]), Some(CALLER), Err(foreign)),
        (json!(API), Some(CALLER), Err(foreign)),
        (json!(CALLER), None, Err(foreign)),
        (json!(CALLER), Some(API), Err(foreign)),
        (json!([CALLER]), Some(API), Err(foreign)),
        (json!([]), None, Err(foreign)),
        (json!(""), None, Err(foreign)),
        (json!(format!("api://{API}")), None, Err(foreign)),
        (json!(null), None, Err(TokenErrorKind::MalformedClaim)),
        (json!([API, 5]), Some(API), Err(TokenErrorKind::MalformedClaim)),
        (json!({ "a": API }), None, Err(TokenErrorKind::MalformedClaim)),
    ] {
        let mut claims = with(id_claims(), &[("aud", aud.clone())]);
        if let Some(azp) = azp {
            claims["azp"] = json!(azp);
        }
        assert_eq!(verdict(&claims).await.map(drop), expected, "{aud} {azp:?}");
    }
    assert_eq!(verdict(&without(id_claims(), "aud")).await.unwrap_err(), TokenErrorKind::MissingClaim);
}

#[tokio::test]
async fn times_are_judged() {
    for (name, value, expected) in [
        ("exp", json!(NOW - 61), TokenErrorKind::Expired),
        ("exp", json!(NOW + 26 * 3600), TokenErrorKind::LifetimeTooLong),
        ("nbf", json!(NOW + 61), TokenErrorKind::NotYetValid),
        ("iat", json!(NOW + 61), TokenErrorKind::NotYetValid),
        ("iat", json!(0), TokenErrorKind::LifetimeTooLong),
        ("iat", json!("now"), TokenErrorKind::MalformedClaim),
        ("auth_time", json!("now"), TokenErrorKind::MalformedClaim),
    ] {
        let claims = with(id_claims(), &[(name, value.clone())]);
        assert_eq!(verdict(&claims).await.unwrap_err(), expected, "{name} {value}");
    }
    for name in ["exp", "iat", "sub", "oid", "tid", "iss"] {
        assert_eq!(verdict(&without(id_claims(), name)).await.unwrap_err(), TokenErrorKind::MissingClaim, "{name}");
    }
}

#[tokio::test]
async fn an_old_sign_in_is_refused_when_the_application_says_so() {
    let validator = id_builder(single()).max_sign_in_age(Duration::from_secs(300)).build().unwrap();
    for (auth_time, expected) in [
        (Some(NOW - 120), Ok(())),
        (Some(NOW - 360), Ok(())),
        (Some(NOW - 361), Err(TokenErrorKind::TooOld)),
        (Some(NOW + 61), Err(TokenErrorKind::NotYetValid)),
        (None, Err(TokenErrorKind::MissingClaim)),
    ] {
        let claims = match auth_time {
            Some(time) => with(id_claims(), &[("auth_time", json!(time))]),
            None => without(id_claims(), "auth_time"),
        };
        assert_eq!(judge(&validator, &ENTRA.sign(&claims)).await.map(drop), expected, "{auth_time:?}");
    }
}

#[tokio::test]
async fn issuer_tenant_and_key_belong_together() {
    let issuer = |tenant: &str| json!(format!("https://login.microsoftonline.com/{tenant}/v2.0"));
    for (changes, expected) in [
        (vec![("iss", issuer(OTHER_TENANT)), ("tid", json!(OTHER_TENANT))], TokenErrorKind::TenantNotAllowed),
        (vec![("iss", issuer(OTHER_TENANT))], TokenErrorKind::IssuerMismatch),
        (vec![("iss", json!("https://login.microsoftonline.com/{tenantid}/v2.0"))], TokenErrorKind::IssuerMismatch),
        (
            vec![("iss", json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0/")))],
            TokenErrorKind::IssuerMismatch,
        ),
        (
            vec![("iss", json!(format!("https://sts.windows.net/{TENANT}/"))), ("ver", json!("1.0"))],
            TokenErrorKind::IssuerMismatch,
        ),
        (vec![("ver", json!("1.0"))], TokenErrorKind::IssuerMismatch),
        (vec![("tid", json!("contoso.com"))], TokenErrorKind::MalformedClaim),
    ] {
        assert_eq!(verdict(&with(id_claims(), &changes)).await.unwrap_err(), expected, "{changes:?}");
    }
    let forged = judge(&id_builder(single()).build().unwrap(), &EVIL.sign(&id_claims())).await;
    assert_eq!(forged.unwrap_err(), TokenErrorKind::BadSignature);

    let mut of_another = ENTRA.jwk();
    of_another["issuer"] = issuer(OTHER_TENANT);
    let keys = StaticKeys::from_jwks(json!({ "keys": [of_another] }).to_string().as_bytes()).unwrap();
    let validator = id_builder(single()).keys(Arc::new(keys)).build().unwrap();
    let refused = judge(&validator, &ENTRA.sign(&id_claims())).await.unwrap_err();
    assert_eq!(refused, TokenErrorKind::KeyIssuerMismatch);
}

#[tokio::test]
async fn an_open_policy_keeps_personal_accounts_out() {
    let personal = with(
        id_claims(),
        &[("tid", json!(PERSONAL)), ("iss", json!(format!("https://login.microsoftonline.com/{PERSONAL}/v2.0")))],
    );
    let token = ENTRA.sign(&personal);
    let organizations = id_builder(TenantPolicy::AnyOrganization).build().unwrap();
    assert_eq!(judge(&organizations, &token).await.unwrap_err(), TokenErrorKind::TenantNotAllowed);
    assert!(judge(&id_builder(TenantPolicy::Any).build().unwrap(), &token).await.is_ok());
    assert!(id_builder(TenantPolicy::allow([])).build().is_err());
}

#[tokio::test]
async fn an_access_token_is_no_id_token() {
    // An application that is client and API at once gets access tokens with the same audience, issuer and key.
    let own = with(user_claims(), &[("azp", json!(API))]);
    let validator = id_builder(single()).build().unwrap();
    for claims in [own.clone(), user_claims(), app_claims(), with(own, &[("nonce", json!(NONCE))])] {
        let token = ENTRA.sign(&claims);
        assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::TypeNotAllowed);
        let refused = validator.validate_without_nonce(&token).await.unwrap_err().kind();
        assert_eq!(refused, TokenErrorKind::TypeNotAllowed);
    }
    let own_app = without(without(with(app_claims(), &[("azp", json!(API))]), "idtyp"), "azpacr");
    assert_eq!(
        judge(&validator, &ENTRA.sign(&own_app)).await.unwrap_err(),
        TokenErrorKind::NonceMismatch,
        "a token of the application itself is from no sign-in"
    );
}

#[tokio::test]
async fn an_id_token_is_no_access_token() {
    let refused = builder(single()).build().unwrap().validate(&ENTRA.sign(&id_claims())).await.unwrap_err();
    assert_eq!(refused.kind(), TokenErrorKind::NotAUserToken);
}

#[tokio::test]
async fn code_and_access_token_of_the_same_answer() {
    let token = verdict(&id_claims()).await.unwrap();
    let access = |text: &str| AccessToken::new(text, OffsetDateTime::UNIX_EPOCH).unwrap();
    let good = access("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
    assert!(token.check_code(&Secret::new(CODE)).is_ok());
    assert!(token.check_access_token(&good).is_ok());
    let wrong = TokenErrorKind::HashMismatch;
    assert_eq!(token.check_code(&Secret::new(&CODE[1..])).unwrap_err().kind(), wrong);
    assert_eq!(token.check_access_token(&access("other")).unwrap_err().kind(), wrong);

    let bare = verdict(&without(without(id_claims(), "c_hash"), "at_hash")).await.unwrap();
    assert!(bare.check_code(&Secret::new("any")).is_ok(), "the token endpoint sends neither");
    assert!(bare.check_access_token(&access("any")).is_ok());
}

#[tokio::test]
async fn every_claim_of_a_wrong_type_is_refused() {
    for name in members(&id_claims()).keys() {
        for wrong in [json!(null), json!({"a": 1}), json!(true), json!([[1]])] {
            let claims = with(id_claims(), &[(name, wrong.clone())]);
            let refused = verdict(&claims).await.expect_err(name);
            assert_eq!(refused, TokenErrorKind::MalformedClaim, "{name}: {wrong}");
        }
    }
}
