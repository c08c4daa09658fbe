//! One token at a time: which are accepted, and by which rule the others are refused. Numbers in names are the rows of
//! the threat model.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AccessTokenValidator, AllowedCallers, AppToken, Authority, Cloud, StaticKeys, TenantPolicy, TokenErrorKind,
    TokenVersion, UnverifiedToken, UserAssertion, UserToken, ValidatedToken,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use serde_json::{Value, json};
use validate_support::*;

async fn judge(validator: &AccessTokenValidator, token: &str) -> Result<ValidatedToken, TokenErrorKind> {
    validator.validate(token).await.map_err(|error| error.kind())
}

/// What a validator for one tenant says to these claims, well signed.
async fn verdict(claims: &Value) -> Result<ValidatedToken, TokenErrorKind> {
    let validator = builder(single()).app_callers(AllowedCallers::only([CALLER.parse().unwrap()])).build().unwrap();
    judge(&validator, &ENTRA.sign(claims)).await
}

async fn refused(claims: &Value) -> TokenErrorKind {
    verdict(claims).await.expect_err(&claims.to_string())
}

async fn refused_text(header: &str, payload: &str) -> TokenErrorKind {
    let validator = builder(single()).build().unwrap();
    judge(&validator, &ENTRA.sign_text(header, payload)).await.expect_err(header)
}

#[tokio::test]
async fn a_good_user_token_says_who_and_what() {
    let user = verdict(&user_claims()).await.unwrap().into_user().unwrap();
    assert_eq!(user.tenant().as_str(), TENANT);
    assert_eq!(user.object_id().as_str(), USER);
    assert_eq!(user.user_key().tenant(), user.tenant());
    assert_eq!(user.user_key().object_id(), user.object_id());
    assert_eq!(user.subject(), Some("pairwise-subject"));
    assert_eq!(user.audience(), API);
    assert_eq!(user.caller().unwrap().as_str(), CALLER);
    assert_eq!(user.version(), TokenVersion::V2);
    assert_eq!(user.expires_on().unix_timestamp(), NOW + 3600);
    assert_eq!(user.scopes(), ["access_as_user", "Files.Read"]);
    assert_eq!(user.roles(), ["Reader"]);
    assert_eq!(user.groups().unwrap(), ["dddddddd-0000-0000-0000-00000000000d"]);
    assert!(!user.has_more_groups());
    assert!(user.accepts_claims_challenges());
    assert_eq!(user.token_id(), Some("token-id"));
    assert_eq!(user.untrusted_display().name, Some("Ada Example"));
    assert_eq!(user.untrusted_display().username, Some("ada@contoso.example"));
    assert_eq!(user.claims().required_string("rh").unwrap(), "0.AAA.");
    assert_eq!(user.raw().expose(), ENTRA.sign(&user_claims()));
}

#[tokio::test]
async fn version_1_tokens_have_their_own_issuer_and_caller() {
    let user = verdict(&v1_claims()).await.unwrap().into_user().unwrap();
    assert_eq!(user.version(), TokenVersion::V1);
    assert_eq!(user.caller().unwrap().as_str(), CALLER);
    assert_eq!(user.untrusted_display().username, Some("ada@contoso.example"));
    for (change, expected) in [
        (("ver", json!("2.0")), TokenErrorKind::IssuerMismatch),
        (("ver", json!("3.0")), TokenErrorKind::IssuerMismatch),
        (("ver", json!(1.0)), TokenErrorKind::MalformedClaim),
        (("iss", json!(format!("https://sts.windows.net/{TENANT}"))), TokenErrorKind::IssuerMismatch),
        (("iss", json!(format!("https://sts.windows.net/{OTHER_TENANT}/"))), TokenErrorKind::IssuerMismatch),
    ] {
        assert_eq!(refused(&with(v1_claims(), std::slice::from_ref(&change))).await, expected, "{change:?}");
    }
    assert!(verdict(&without(v1_claims(), "ver")).await.is_ok(), "the issuer tells the version");
}

#[tokio::test]
async fn a_cloud_without_a_known_version_1_issuer_needs_it_spelled_out() {
    let china =
        |claims: &Value| with(claims.clone(), &[("iss", json!(format!("https://sts.chinacloudapi.cn/{TENANT}/")))]);
    let base = || {
        AccessTokenValidator::builder(Authority::from(Cloud::China), [format!("api://{API}")], single())
            .clock(Arc::new(clock()))
            .keys(Arc::new(StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap()))
    };
    let token = ENTRA.sign(&china(&v1_claims()));
    assert_eq!(judge(&base().build().unwrap(), &token).await.unwrap_err(), TokenErrorKind::IssuerMismatch);
    let told = base().v1_issuer("https://sts.chinacloudapi.cn/{tenantid}/").build().unwrap();
    assert!(judge(&told, &token).await.is_ok());
    assert_eq!(judge(&told, &ENTRA.sign(&v1_claims())).await.unwrap_err(), TokenErrorKind::IssuerMismatch);
    for bad in [
        "https://sts.chinacloudapi.cn/",
        "http://sts.example/{tenantid}/",
        "{tenantid}",
        "https://{tenantid}/{tenantid}",
    ] {
        assert!(base().v1_issuer(bad).build().is_err(), "{bad}");
    }
}

// Row 1
#[tokio::test]
async fn alg_none_in_any_case() {
    for n in 0..16_u32 {
        let name: String = "none"
            .chars()
            .enumerate()
            .map(|(at, c)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let header = json!({"alg": name, "kid": ENTRA.kid, "typ": "JWT"}).to_string();
        let signed = ENTRA.sign_text(&header, &user_claims().to_string());
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        for token in [&signed, &unsigned] {
            let kind = UnverifiedToken::parse(token).unwrap_err().kind();
            assert_eq!(kind, TokenErrorKind::AlgorithmNotAllowed, "{name}");
        }
    }
}

// Row 2
#[tokio::test]
async fn algorithms_are_not_confused() {
    let payload = user_claims().to_string();
    let header = |alg: Value| json!({"alg": alg, "kid": ENTRA.kid, "typ": "JWT"}).to_string();
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header(json!("HS256"))), URL_SAFE_NO_PAD.encode(&payload));
    let keys = Arc::new(Counting::new(StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap()));
    let validator = builder(single()).keys(keys.clone()).build().unwrap();
    for secret in [ENTRA.public_bytes(), ENTRA.jwk().to_string().into_bytes(), Vec::new()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input.as_bytes());
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::AlgorithmNotAllowed);
    }
    for alg in ["HS384", "HS512", "rs256", "RS256 ", "", "EdDSA", "ES512", "RSA-OAEP", "dir"] {
        let token = ENTRA.sign_text(&header(json!(alg)), &payload);
        assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::AlgorithmNotAllowed, "{alg}");
    }
    for alg in [json!(null), json!(5), json!(["RS256"]), json!({"alg": "RS256"})] {
        let token = ENTRA.sign_text(&header(alg), &payload);
        assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::AlgorithmNotAllowed);
    }
    // The key could, and the signature is good: Entra does not sign access tokens so.
    let pss = ENTRA.sign_pss(&header(json!("PS256")), &payload);
    assert_eq!(judge(&validator, &pss).await.unwrap_err(), TokenErrorKind::AlgorithmNotAllowed);
    assert_eq!(keys.count(), 0, "judged before any lookup");
    // Labelled as another algorithm than it was signed with.
    let mislabelled = ENTRA.sign_pss(&header(json!("RS256")), &payload);
    assert_eq!(judge(&validator, &mislabelled).await.unwrap_err(), TokenErrorKind::BadSignature);
    let mut pinned = ENTRA.jwk();
    pinned["alg"] = json!("PS256");
    let pinned = StaticKeys::from_jwks(json!({ "keys": [pinned] }).to_string().as_bytes()).unwrap();
    let validator = builder(single()).keys(Arc::new(pinned)).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::AlgorithmNotAllowed);
}

// Row 3
#[tokio::test]
async fn header_supplied_keys_are_ignored() {
    let script = Script::new();
    let payload = user_claims().to_string();
    let members = [
        ("jwk", EVIL.jwk()),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("evil")),
    ];
    let header = members.iter().fold(ENTRA.header(), |header, (name, value)| with(header, &[(name, value.clone())]));
    let validator = builder(single()).transport(script.clone()).build().unwrap();
    let forged = EVIL.sign_text(&header.to_string(), &payload);
    assert_eq!(judge(&validator, &forged).await.unwrap_err(), TokenErrorKind::BadSignature);
    let good = ENTRA.sign_text(&header.to_string(), &payload);
    assert!(judge(&validator, &good).await.is_ok());
    assert!(script.requests().is_empty());
}

// Row 4, and the rest of the header
#[tokio::test]
async fn header_mutations() {
    let payload = user_claims().to_string();
    for (change, expected) in [
        (("crit", json!(["exp"])), TokenErrorKind::CriticalHeader),
        (("crit", json!([])), TokenErrorKind::CriticalHeader),
        (("crit", json!(null)), TokenErrorKind::CriticalHeader),
        (("typ", json!("dpop+jwt")), TokenErrorKind::TypeNotAllowed),
        (("typ", json!("logout+jwt")), TokenErrorKind::TypeNotAllowed),
        (("typ", json!("id+jwt")), TokenErrorKind::TypeNotAllowed),
        (("typ", json!("")), TokenErrorKind::TypeNotAllowed),
        (("typ", json!(null)), TokenErrorKind::TypeNotAllowed),
        (("typ", json!(["JWT"])), TokenErrorKind::TypeNotAllowed),
        (("kid", json!("")), TokenErrorKind::MissingKeyId),
        (("kid", json!(null)), TokenErrorKind::MissingKeyId),
        (("kid", json!(1)), TokenErrorKind::MissingKeyId),
        (("kid", json!(["entra-1"])), TokenErrorKind::MissingKeyId),
        (("kid", json!("k".repeat(257))), TokenErrorKind::MissingKeyId),
        (("kid", json!("ENTRA-1")), TokenErrorKind::UnknownKey),
        (("kid", json!("../entra-1")), TokenErrorKind::UnknownKey),
        (("nonce", json!("graph")), TokenErrorKind::NotForThisApi),
    ] {
        let header = with(ENTRA.header(), std::slice::from_ref(&change)).to_string();
        assert_eq!(refused_text(&header, &payload).await, expected, "{change:?}");
    }
    assert_eq!(refused_text(r#"{"alg":"RS256"}"#, &payload).await, TokenErrorKind::MissingKeyId);
    assert_eq!(refused_text(r#"{"kid":"entra-1"}"#, &payload).await, TokenErrorKind::AlgorithmNotAllowed);
    assert_eq!(refused_text("[]", &payload).await, TokenErrorKind::MalformedToken);
    let twice = r#"{"alg":"none","alg":"RS256","kid":"entra-1"}"#;
    assert_eq!(refused_text(twice, &payload).await, TokenErrorKind::DuplicateMember);
    let cased = r#"{"ALG":"none","alg":"RS256","kid":"entra-1"}"#;
    assert_eq!(refused_text(cased, &payload).await, TokenErrorKind::DuplicateMember);
    let validator = builder(single()).build().unwrap();
    for header in
        [r#"{"alg":"RS256","kid":"entra-1"}"#, r#"{"alg":"RS256","kid":"entra-1","typ":"at+jwt","zip":"DEF"}"#]
    {
        assert!(judge(&validator, &ENTRA.sign_text(header, &payload)).await.is_ok(), "{header}");
    }
}

// Row 5
#[tokio::test]
async fn id_token_is_not_access_token() {
    let mut claims = without(without(user_claims(), "scp"), "idtyp");
    claims["nonce"] = json!("n");
    assert_eq!(refused(&claims).await, TokenErrorKind::NotAUserToken);
}

// Row 6, 7, 9: everything a lax parser lets through
#[tokio::test]
async fn claim_mutations() {
    let iss = user_claims()["iss"].clone();
    for (name, value, expected) in [
        ("iss", json!(5), TokenErrorKind::MalformedClaim),
        ("iss", json!(null), TokenErrorKind::MalformedClaim),
        ("iss", json!([iss]), TokenErrorKind::MalformedClaim),
        ("iss", json!(["https://evil.example", iss]), TokenErrorKind::MalformedClaim),
        ("iss", json!({"0": iss}), TokenErrorKind::MalformedClaim),
        ("iss", json!(""), TokenErrorKind::IssuerMismatch),
        ("iss", json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0/")), TokenErrorKind::IssuerMismatch),
        ("iss", json!(format!("https://LOGIN.microsoftonline.com/{TENANT}/v2.0")), TokenErrorKind::IssuerMismatch),
        ("iss", json!(format!("http://login.microsoftonline.com/{TENANT}/v2.0")), TokenErrorKind::IssuerMismatch),
        ("iss", json!(format!("https://login.microsoftonline.us/{TENANT}/v2.0")), TokenErrorKind::IssuerMismatch),
        (
            "iss",
            json!(format!("https://login.microsoftonline.com.evil.example/{TENANT}/v2.0")),
            TokenErrorKind::IssuerMismatch,
        ),
        ("iss", json!(format!(" https://login.microsoftonline.com/{TENANT}/v2.0")), TokenErrorKind::IssuerMismatch),
        ("iss", json!("https://login.microsoftonline.com/{tenantid}/v2.0"), TokenErrorKind::IssuerMismatch),
        ("aud", json!(5), TokenErrorKind::MalformedClaim),
        ("aud", json!(null), TokenErrorKind::MalformedClaim),
        ("aud", json!({}), TokenErrorKind::MalformedClaim),
        ("aud", json!([]), TokenErrorKind::MalformedClaim),
        ("aud", json!([API, "https://graph.microsoft.com"]), TokenErrorKind::MalformedClaim),
        ("aud", json!([API, API]), TokenErrorKind::MalformedClaim),
        ("aud", json!([[API]]), TokenErrorKind::MalformedClaim),
        ("aud", json!(""), TokenErrorKind::AudienceMismatch),
        ("aud", json!(CALLER), TokenErrorKind::AudienceMismatch),
        ("aud", json!("https://graph.microsoft.com"), TokenErrorKind::AudienceMismatch),
        ("aud", json!(format!("API://{API}")), TokenErrorKind::AudienceMismatch),
        ("aud", json!(format!("{API} ")), TokenErrorKind::AudienceMismatch),
        ("exp", json!("1795343600"), TokenErrorKind::MalformedClaim),
        ("exp", json!(null), TokenErrorKind::MalformedClaim),
        ("exp", json!([NOW + 60]), TokenErrorKind::MalformedClaim),
        ("exp", json!(-1), TokenErrorKind::MalformedClaim),
        ("exp", json!(1_795_343_600.5), TokenErrorKind::MalformedClaim),
        ("exp", json!(u64::MAX), TokenErrorKind::MalformedClaim),
        ("exp", json!(1e300), TokenErrorKind::MalformedClaim),
        ("exp", json!(1_u64 << 33), TokenErrorKind::MalformedClaim),
        ("exp", json!((1_u64 << 33) - 1), TokenErrorKind::LifetimeTooLong),
        ("exp", json!(NOW - 60 + 25 * 3600 + 1), TokenErrorKind::LifetimeTooLong),
        ("exp", json!(0), TokenErrorKind::Expired),
        ("nbf", json!("0"), TokenErrorKind::MalformedClaim),
        ("nbf", json!(null), TokenErrorKind::MalformedClaim),
        ("nbf", json!(NOW + 3000), TokenErrorKind::NotYetValid),
        ("iat", json!(NOW + 3000), TokenErrorKind::NotYetValid),
        ("iat", json!(true), TokenErrorKind::MalformedClaim),
        ("tid", json!(null), TokenErrorKind::MalformedClaim),
        ("tid", json!([TENANT]), TokenErrorKind::MalformedClaim),
        ("tid", json!(""), TokenErrorKind::MalformedClaim),
        ("tid", json!("contoso.com"), TokenErrorKind::MalformedClaim),
        ("tid", json!("common"), TokenErrorKind::MalformedClaim),
        ("tid", json!("../../evil"), TokenErrorKind::MalformedClaim),
        ("oid", json!(null), TokenErrorKind::MalformedClaim),
        ("oid", json!("ada@contoso.example"), TokenErrorKind::MalformedClaim),
        ("oid", json!([USER]), TokenErrorKind::MalformedClaim),
        ("sub", json!(5), TokenErrorKind::MalformedClaim),
        ("scp", json!(["access_as_user"]), TokenErrorKind::MalformedClaim),
        ("scp", json!(null), TokenErrorKind::MalformedClaim),
        ("roles", json!("Reader"), TokenErrorKind::MalformedClaim),
        ("roles", json!([5]), TokenErrorKind::MalformedClaim),
        ("groups", json!({}), TokenErrorKind::MalformedClaim),
        ("idtyp", json!("device"), TokenErrorKind::MalformedClaim),
        ("idtyp", json!(["user"]), TokenErrorKind::MalformedClaim),
        ("azp", json!("not-a-guid"), TokenErrorKind::MalformedClaim),
        ("ver", json!(2.0), TokenErrorKind::MalformedClaim),
        ("ver", json!("1.0"), TokenErrorKind::IssuerMismatch),
        ("actor", json!("eyJ"), TokenErrorKind::ActorNotAllowed),
        ("actortoken", json!({}), TokenErrorKind::ActorNotAllowed),
    ] {
        assert_eq!(refused(&with(user_claims(), &[(name, value.clone())])).await, expected, "{name}: {value}");
    }
    for name in ["iss", "aud", "exp", "tid", "oid"] {
        assert_eq!(refused(&without(user_claims(), name)).await, TokenErrorKind::MissingClaim, "{name}");
    }
    for name in ["nbf", "iat", "sub", "azp", "roles", "idtyp", "ver"] {
        assert!(verdict(&without(user_claims(), name)).await.is_ok(), "{name} may be absent");
    }
    let one = with(user_claims(), &[("aud", json!([API]))]);
    assert!(verdict(&one).await.is_ok(), "an array of one audience");
    let upper = with(user_claims(), &[("aud", json!(API.to_uppercase()))]);
    assert!(verdict(&upper).await.is_ok(), "a GUID in any letter case");
}

// Row 8
#[tokio::test]
async fn duplicate_members() {
    let payload = user_claims().to_string();
    let open = payload.strip_suffix('}').unwrap();
    for more in [
        format!(r#","tid":"{OTHER_TENANT}""#),
        format!(r#","tid":"{TENANT}""#),
        format!(r#","TID":"{OTHER_TENANT}""#),
        format!(r#","\u0074id":"{OTHER_TENANT}""#),
        r#","unknown":1,"unknown":1"#.to_owned(),
    ] {
        let kind = refused_text(&ENTRA.header().to_string(), &format!("{open}{more}}}")).await;
        assert_eq!(kind, TokenErrorKind::DuplicateMember, "{more}");
    }
}

// Row 10
#[tokio::test]
async fn clock_skew_boundaries() {
    for (leeway, effective) in [(0, 0), (60, 60), (300, 300), (3600, 300)] {
        let validator = builder(single()).leeway(Duration::from_secs(leeway)).build().unwrap();
        let base = without(without(user_claims(), "iat"), "nbf");
        for (change, expected) in [
            (("exp", NOW - effective + 1), Ok(())),
            (("exp", NOW - effective), Err(TokenErrorKind::Expired)),
            (("nbf", NOW + effective), Ok(())),
            (("nbf", NOW + effective + 1), Err(TokenErrorKind::NotYetValid)),
        ] {
            let token = ENTRA.sign(&with(base.clone(), &[(change.0, json!(change.1))]));
            assert_eq!(judge(&validator, &token).await.map(|_| ()), expected, "{leeway}: {change:?}");
        }
    }
}

// Row 11
#[tokio::test]
async fn foreign_tenant_rejected() {
    let of = |tenant: &str| {
        with(
            user_claims(),
            &[("tid", json!(tenant)), ("iss", json!(format!("https://login.microsoftonline.com/{tenant}/v2.0")))],
        )
    };
    let list = || TenantPolicy::allow([TENANT.parse().unwrap(), OTHER_TENANT.parse().unwrap()]);
    for (policy, expected) in [
        (single(), [true, false, false]),
        (list(), [true, true, false]),
        (TenantPolicy::AnyOrganization, [true, true, false]),
        (TenantPolicy::Any, [true, true, true]),
    ] {
        let validator = builder(policy).build().unwrap();
        for (tenant, expected) in [TENANT, OTHER_TENANT, PERSONAL].into_iter().zip(expected) {
            let outcome = validator.validate(&ENTRA.sign(&of(tenant))).await;
            assert_eq!(outcome.is_ok(), expected, "{tenant}");
            if let Err(error) = outcome {
                assert_eq!((error.kind(), error.status()), (TokenErrorKind::TenantNotAllowed, StatusCode::FORBIDDEN));
            }
        }
    }
}

// Row 11
#[tokio::test]
async fn iss_tid_mismatch_rejected() {
    let validator = builder(TenantPolicy::Any).build().unwrap();
    for (tid, iss) in [
        (TENANT, format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0")),
        (OTHER_TENANT, format!("https://login.microsoftonline.com/{TENANT}/v2.0")),
        (TENANT, format!("https://sts.windows.net/{OTHER_TENANT}/")),
        (TENANT, format!("https://login.microsoftonline.com/{OTHER_TENANT}/{TENANT}/v2.0")),
        (TENANT, format!("https://login.microsoftonline.com/{TENANT}/{OTHER_TENANT}/v2.0")),
        (TENANT, "https://login.microsoftonline.com/common/v2.0".to_owned()),
    ] {
        let claims = with(user_claims(), &[("tid", json!(tid)), ("iss", json!(iss))]);
        let kind = judge(&validator, &ENTRA.sign(&claims)).await.unwrap_err();
        assert_eq!(kind, TokenErrorKind::IssuerMismatch, "{tid} {iss}");
    }
}

// Row 12
#[tokio::test]
async fn key_issuer_mismatch_rejected() {
    let v2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    for (issuer, cloud, expected) in [
        (Some(v2("{tenantid}")), None, Ok(())),
        (Some(v2(TENANT)), Some("microsoftonline.com"), Ok(())),
        (None, None, Ok(())),
        (Some(v2(PERSONAL)), None, Err(TokenErrorKind::KeyIssuerMismatch)),
        (Some(v2(OTHER_TENANT)), None, Err(TokenErrorKind::KeyIssuerMismatch)),
        (Some("https://login.microsoftonline.us/{tenantid}/v2.0".into()), None, Err(TokenErrorKind::KeyIssuerMismatch)),
        (Some(String::new()), None, Err(TokenErrorKind::KeyIssuerMismatch)),
        (Some(v2("{tenantid}")), Some("microsoftonline.us"), Err(TokenErrorKind::CloudMismatch)),
        (None, Some("partner.microsoftonline.cn"), Err(TokenErrorKind::CloudMismatch)),
    ] {
        let mut jwk = ENTRA.jwk();
        jwk["issuer"] = json!(issuer);
        jwk["cloud_instance_name"] = json!(cloud);
        let keys = StaticKeys::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
        let validator = builder(single()).keys(Arc::new(keys)).build().unwrap();
        for claims in [user_claims(), v1_claims()] {
            let outcome = judge(&validator, &ENTRA.sign(&claims)).await.map(|_| ());
            assert_eq!(outcome, expected, "{issuer:?} {cloud:?}");
        }
    }
}

// Row 14
#[tokio::test]
async fn app_token_as_user_rejected() {
    let app = verdict(&app_claims()).await.unwrap();
    assert!(matches!(app, ValidatedToken::App(_)));
    assert_eq!(app.clone().into_user().unwrap_err().kind(), TokenErrorKind::NotAUserToken);
    assert_eq!(app.into_app().unwrap().roles(), ["Jobs.Run"]);
    let user = verdict(&user_claims()).await.unwrap();
    assert_eq!(user.into_app().unwrap_err().kind(), TokenErrorKind::NotAnAppToken);
    for (scp, idtyp, expected) in [
        (json!("access_as_user"), json!("app"), TokenErrorKind::MalformedClaim),
        (json!(""), json!("user"), TokenErrorKind::NotAUserToken),
        (json!("  "), json!("user"), TokenErrorKind::NotAUserToken),
        (json!("/"), json!("user"), TokenErrorKind::NotAUserToken),
    ] {
        let claims = with(user_claims(), &[("scp", scp.clone()), ("idtyp", idtyp)]);
        assert_eq!(refused(&claims).await, expected, "{scp}");
    }
    for scp in ["", "/"] {
        let agent = with(app_claims(), &[("scp", json!(scp))]);
        assert!(verdict(&agent).await.unwrap().into_app().is_ok(), "an agent's app token");
    }
}

#[tokio::test]
async fn app_tokens_without_idtyp_are_inferred_only_on_request() {
    let claims = without(app_claims(), "idtyp");
    assert_eq!(refused(&claims).await, TokenErrorKind::NotAUserToken);
    let callers = AllowedCallers::only([CALLER.parse().unwrap()]);
    let validator = builder(single()).app_callers(callers).infer_app_tokens().build().unwrap();
    assert!(judge(&validator, &ENTRA.sign(&claims)).await.unwrap().into_app().is_ok());
    let pairwise = with(claims, &[("sub", json!("pairwise-subject"))]);
    assert_eq!(judge(&validator, &ENTRA.sign(&pairwise)).await.unwrap_err(), TokenErrorKind::NotAUserToken);
}

// Row 15
#[tokio::test]
async fn foreign_caller_rejected() {
    let foreign = with(app_claims(), &[("azp", json!("ffffffff-0000-0000-0000-00000000000f"))]);
    assert_eq!(refused(&foreign).await, TokenErrorKind::CallerNotAllowed);
    assert_eq!(refused(&without(app_claims(), "azp")).await, TokenErrorKind::CallerNotAllowed);
    let v1_claim = with(without(app_claims(), "azp"), &[("appid", json!(CALLER))]);
    assert_eq!(refused(&v1_claim).await, TokenErrorKind::CallerNotAllowed, "not the caller claim of this version");

    let nobody = builder(single()).build().unwrap();
    let token = ENTRA.sign(&app_claims());
    assert_eq!(judge(&nobody, &token).await.unwrap_err(), TokenErrorKind::CallerNotAllowed, "the default");

    let any = builder(single()).app_callers(AllowedCallers::Any).build().unwrap();
    assert!(judge(&any, &ENTRA.sign(&foreign)).await.is_ok());
    let without_role = with(foreign, &[("roles", json!([]))]);
    assert_eq!(judge(&any, &ENTRA.sign(&without_role)).await.unwrap_err(), TokenErrorKind::MissingRole);

    let strict = builder(single()).user_callers(AllowedCallers::only([])).build().unwrap();
    assert_eq!(judge(&strict, &ENTRA.sign(&user_claims())).await.unwrap_err(), TokenErrorKind::CallerNotAllowed);
}

// Row 16
#[tokio::test]
async fn scope_required() {
    let user = verdict(&user_claims()).await.unwrap().into_user().unwrap();
    assert!(user.require_scope("access_as_user").is_ok());
    for scope in ["Access_As_User", "access", "access_as_user Files.Read", "", "admin"] {
        let error = user.require_scope(scope).unwrap_err();
        assert_eq!((error.kind(), error.status()), (TokenErrorKind::MissingScope, StatusCode::FORBIDDEN), "{scope}");
    }
    assert!(user.require_role("Reader").is_ok());
    assert_eq!(user.require_role("reader").unwrap_err().kind(), TokenErrorKind::MissingRole);
}

// Row 21
#[tokio::test]
async fn oversize_tokens_and_deep_payloads() {
    let validator = builder(single()).build().unwrap();
    for token in ["a".repeat(10 << 20), ".".repeat(1_000_000), format!("{}.e30.AA", "e".repeat(16 << 10))] {
        assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::TokenTooLarge);
    }
    let payload = user_claims().to_string();
    let open = payload.strip_suffix('}').unwrap();
    let deep = format!("{open},\"deep\":{}{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(refused_text(&ENTRA.header().to_string(), &deep).await, TokenErrorKind::MalformedToken);
}

// Row 22
#[tokio::test]
async fn jwe_rejected() {
    let validator = builder(single()).build().unwrap();
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF","kid":"entra-1"}"#);
    let token = format!("{header}.AAAA.AAAA.AAAA.AAAA");
    assert_eq!(judge(&validator, &token).await.unwrap_err(), TokenErrorKind::MalformedToken);
    let signed = ENTRA.sign(&user_claims());
    for token in ["", ".", "..", "...", "a.b", &format!("{signed}."), &format!(".{signed}"), &format!("{signed}.AA")] {
        assert_eq!(judge(&validator, token).await.unwrap_err(), TokenErrorKind::MalformedToken, "{token:.20}");
    }
}

// Row 23
#[tokio::test]
async fn base64_has_one_form() {
    let validator = builder(single()).build().unwrap();
    let good = ENTRA.sign(&user_claims());
    let parts: Vec<&str> = good.split('.').collect();
    let join = |at: usize, part: String| {
        let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        parts[at] = part;
        parts.join(".")
    };
    for (at, part) in parts.iter().copied().enumerate() {
        let standard = part.replace('-', "+").replace('_', "/");
        let mut variants = vec![
            format!("{part}="),
            format!("{part}=="),
            format!(" {part}"),
            format!("{part} "),
            format!("{part}\n"),
            format!("{part}A"),
            format!("{}\r\n{}", &part[..4], &part[4..]),
            format!("{}%41{}", &part[..4], &part[5..]),
        ];
        variants.extend((standard != part).then_some(standard));
        for variant in variants {
            let kind = judge(&validator, &join(at, variant)).await.unwrap_err();
            assert!(matches!(kind, TokenErrorKind::MalformedToken | TokenErrorKind::BadSignature), "{kind:?}");
        }
    }
    // 256 bytes leave four unused bits in the last letter: all fifteen other letters would decode to the same bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (start, last) = parts[2].split_at(parts[2].len() - 1);
    let index = alphabet.find(last).unwrap();
    assert_eq!(index % 16, 0);
    for twin in &alphabet[index + 1..index + 16].chars().collect::<Vec<_>>() {
        let kind = judge(&validator, &join(2, format!("{start}{twin}"))).await.unwrap_err();
        assert_eq!(kind, TokenErrorKind::MalformedToken);
    }
}

// Row 25
static_assertions::assert_not_impl_any!(UserToken: PartialEq, Into<String>, AsRef<str>, std::fmt::Display);
static_assertions::assert_not_impl_any!(AppToken: PartialEq, Into<String>, AsRef<str>, std::fmt::Display);
static_assertions::assert_not_impl_any!(UserAssertion: PartialEq, Into<String>, AsRef<str>, std::fmt::Display);
static_assertions::assert_impl_all!(AccessTokenValidator: Send, Sync, Clone);

#[tokio::test]
async fn assertions_come_only_from_tokens_for_this_client() {
    let client = API.parse().unwrap();
    let v2 = verdict(&user_claims()).await.unwrap().into_user().unwrap();
    let assertion = v2.assertion_for::<&str>(&client, &[]).unwrap();
    assert_eq!(assertion.user_key(), &v2.user_key());
    assert_eq!(assertion.expires_on(), v2.expires_on());
    let v1 = verdict(&v1_claims()).await.unwrap().into_user().unwrap();
    let uri = format!("api://{API}");
    assert!(v1.assertion_for(&client, &[&uri]).is_ok());
    for uris in [&[][..], &["api://other"], &[uri.to_uppercase().as_str()]] {
        assert_eq!(v1.assertion_for(&client, uris).unwrap_err().kind(), TokenErrorKind::AudienceMismatch);
    }
    let other = CALLER.parse().unwrap();
    assert_eq!(v2.assertion_for(&other, &["api://x"]).unwrap_err().kind(), TokenErrorKind::AudienceMismatch);
}

#[tokio::test]
async fn the_header_way_in() {
    let validator = builder(single()).build().unwrap();
    let mut headers = HeaderMap::new();
    let missing = validator.authenticate(&headers).await.unwrap_err();
    assert_eq!((missing.kind(), missing.status()), (TokenErrorKind::MissingToken, StatusCode::UNAUTHORIZED));
    assert_eq!(missing.www_authenticate(), "Bearer");
    let value = format!("Bearer {}", ENTRA.sign(&user_claims()));
    headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
    assert!(validator.authenticate(&headers).await.is_ok());
    let forged = format!("Bearer {}", EVIL.sign(&user_claims()));
    headers.insert(AUTHORIZATION, HeaderValue::try_from(forged).unwrap());
    let error = validator.authenticate(&headers).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (TokenErrorKind::BadSignature, StatusCode::UNAUTHORIZED));
    assert_eq!(error.www_authenticate(), "Bearer error=\"invalid_token\"");
}

#[tokio::test]
async fn nothing_of_a_token_is_shown() {
    let validator = builder(single()).build().unwrap();
    let token = ENTRA.sign(&user_claims());
    let user = judge(&validator, &token).await.unwrap().into_user().unwrap();
    let assertion = user.assertion_for::<&str>(&API.parse().unwrap(), &[]).unwrap();
    let error = validator.validate(&token[..token.len() - 8]).await.unwrap_err();
    let text = format!("{user:#?} {assertion:#?} {:?} {:?} {error} {error:?}", user.claims(), user.untrusted_display());
    let signature = token.rsplit_once('.').unwrap().1;
    for secret in ["Ada", "ada@", USER, "pairwise", "access_as_user", &signature[..20], &token[..20]] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn builders_refuse_what_can_never_work() {
    let make = |audiences: &[&str], policy| {
        AccessTokenValidator::builder(Authority::default(), audiences.iter().copied(), policy).build()
    };
    assert!(make(&[API], single()).is_ok());
    assert!(make(&[], single()).is_err());
    assert!(make(&[API, " "], single()).is_err());
    assert!(make(&[API], TenantPolicy::allow([])).is_err());
    assert!(make(&[API], TenantPolicy::Single("contoso.com".parse().unwrap())).is_err());
}

#[test]
fn trusted_tokens_for_tests() {
    let user = UserToken::trusted(&user_claims(), "raw").unwrap();
    assert_eq!(user.object_id().as_str(), USER);
    assert_eq!(UserToken::trusted(&app_claims(), "raw").unwrap_err().kind(), TokenErrorKind::NotAUserToken);
    assert_eq!(UserToken::trusted(&json!({}), "raw").unwrap_err().kind(), TokenErrorKind::MissingClaim);
}

#[tokio::test]
async fn group_overage() {
    for claims in [
        with(without(user_claims(), "groups"), &[("_claim_names", json!({"groups": "src1"}))]),
        with(without(user_claims(), "groups"), &[("hasgroups", json!(true))]),
    ] {
        let user = verdict(&claims).await.unwrap().into_user().unwrap();
        assert!(user.groups().is_none() && user.has_more_groups());
    }
}
