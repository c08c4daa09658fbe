//! Keys over time and over the network: how often they are fetched, what is believed, when they are gone.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use entra_auth::{
    Authority, JwksClient, KeyErrorKind, KeyLookup, KeySource, StaticKeys, TenantKeys, TenantPolicy, TokenErrorKind,
    TransportErrorKind,
};
use futures_util::{FutureExt as _, future::join_all};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use validate_support::*;

const METADATA: &str = "https://login.example/tenant/v2.0/.well-known/openid-configuration";
const KEYS: &str = "https://login.example/tenant/keys";
const ISSUER: &str = "https://login.example/tenant/v2.0";
const MINUTE: Duration = Duration::from_secs(60);

fn metadata() -> Value {
    json!({"issuer": ISSUER, "jwks_uri": KEYS})
}

fn jwks(kids: &[&str]) -> Value {
    let keys: Vec<_> = kids.iter().map(|kid| with(ENTRA.jwk(), &[("kid", json!(kid))])).collect();
    json!({ "keys": keys })
}

fn script(kids: &[&str]) -> Arc<Script> {
    let script = Script::new();
    script.set(METADATA, Answer::Json(metadata()));
    script.set(KEYS, Answer::Json(jwks(kids)));
    script
}

fn client(script: &Arc<Script>) -> JwksClient {
    JwksClient::builder(METADATA.parse().unwrap())
        .transport(script.clone())
        .clock(Arc::new(clock()))
        .expected_issuer(ISSUER)
        .build()
        .unwrap()
}

async fn ask(client: &impl KeySource, kid: &str) -> Result<(), KeyErrorKind> {
    client.key(KeyLookup::new(ISSUER, kid)).await.map(|key| assert_eq!(key.kid(), kid)).map_err(|error| error.kind())
}

async fn settle() {
    // Paused time stands still while there is anything to do; this lets tasks in the background end.
    sleep(Duration::from_millis(1)).await;
}

// Row 17
#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_kids_make_one_fetch_in_five_minutes() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    assert_eq!((script.count("/keys"), script.count("configuration")), (1, 1));
    let kids: Vec<String> = (0..1000).map(|n| format!("random-{n}")).collect();
    for outcome in join_all(kids.iter().map(|kid| ask(&client, kid))).await {
        assert!(matches!(outcome, Err(KeyErrorKind::Unknown | KeyErrorKind::Gated)), "{outcome:?}");
    }
    for kid in &kids {
        assert!(ask(&client, kid).await.is_err());
    }
    assert_eq!(script.count("/keys"), 2, "the first load and one more");
    assert_eq!(script.count("configuration"), 1, "the metadata are known");
    advance(4 * MINUTE).await;
    assert_eq!(ask(&client, "new").await, Err(KeyErrorKind::Gated));
    assert_eq!(script.count("/keys"), 2);
    advance(MINUTE).await;
    assert_eq!(ask(&client, "new").await, Err(KeyErrorKind::Unknown));
    assert_eq!(script.count("/keys"), 3);
    assert_eq!(ask(&client, "a").await, Ok(()), "a good key never suffers");
}

// Row 17, goal G3
#[tokio::test(start_paused = true)]
async fn an_hour_of_flood_makes_twelve_fetches() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    for second in 0..53 * 60 {
        assert!(ask(&client, &format!("random-{second}")).await.is_err());
        advance(Duration::from_secs(1)).await;
    }
    assert!(script.count("/keys") <= 12, "{}", script.count("/keys"));
}

// The same, counted at a real socket.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_thousand_tokens_counted_at_the_socket() {
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

    let server = MockServer::start().await;
    let authority: Authority = server.uri().parse().unwrap();
    let tenant = TENANT.parse().unwrap();
    let issuer = authority.issuer_v2(&tenant);
    let document = json!({"issuer": issuer, "jwks_uri": format!("{}/keys", server.uri())});
    let answer = |value: &Value| ResponseTemplate::new(200).set_body_json(value);
    Mock::given(path("/keys")).respond_with(answer(&ENTRA.jwks())).mount(&server).await;
    let metadata = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    Mock::given(path(metadata)).respond_with(answer(&document)).mount(&server).await;

    let validator =
        entra_auth::AccessTokenValidator::builder(authority, [API], single()).clock(Arc::new(clock())).build().unwrap();
    let claims = with(user_claims(), &[("iss", json!(issuer))]);
    let good = ENTRA.sign(&claims);
    assert!(validator.validate(&good).await.is_ok());
    let tail = good.split_once('.').unwrap().1;
    let forged = |n: usize| {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": format!("random-{n}")}).to_string();
        format!("{}.{tail}", URL_SAFE_NO_PAD.encode(header))
    };
    let tokens: Vec<String> = (0..1000).map(forged).collect();
    for outcome in join_all(tokens.iter().map(|token| validator.validate(token))).await {
        let kind = outcome.unwrap_err().kind();
        assert!(matches!(kind, TokenErrorKind::UnknownKey | TokenErrorKind::KeyGated), "{kind:?}");
    }
    let requests = server.received_requests().await.unwrap();
    let fetches = requests.iter().filter(|request| request.url.path() == "/keys").count();
    assert_eq!(fetches, 2, "the first load and one more");
    assert!(validator.validate(&good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_first_load_is_shared_and_survives_those_who_leave() {
    let script = script(&["a"]);
    let client = client(&script);
    script.hold();
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, "a").await })
        })
        .collect();
    tokio::task::yield_now().await;
    callers.iter().take(900).for_each(tokio::task::JoinHandle::abort);
    script.release();
    for caller in callers.into_iter().skip(900) {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert_eq!(script.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_never_delays_a_known_key() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    advance(67 * MINUTE).await;
    script.hold();
    for _ in 0..100 {
        // Ready at the first poll, although no answer can come.
        assert_eq!(ask(&client, "a").now_or_never(), Some(Ok(())));
        tokio::task::yield_now().await;
    }
    assert_eq!(script.count("/keys"), 2, "one refresh is under way behind it");
    script.set(KEYS, Answer::Json(jwks(&["a", "b"])));
    script.release();
    settle().await;
    assert_eq!(ask(&client, "b").now_or_never(), Some(Ok(())), "it arrived");
    assert_eq!(script.count("/keys"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_is_found_at_once() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    script.set(KEYS, Answer::Json(jwks(&["a", "b"])));
    let outcomes = join_all((0..500).map(|_| ask(&client, "b"))).await;
    assert!(outcomes.iter().all(Result::is_ok), "no false refusal");
    assert_eq!(script.count("/keys"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_parsed_key_is_kept_over_refreshes() {
    let script = script(&["a"]);
    let client = client(&script);
    let lookup = || client.key(KeyLookup::new(ISSUER, "a"));
    let first = lookup().await.unwrap();
    assert!(Arc::ptr_eq(&first, &lookup().await.unwrap()));
    advance(67 * MINUTE).await;
    lookup().await.unwrap();
    settle().await;
    assert_eq!(script.count("/keys"), 2);
    assert!(Arc::ptr_eq(&first, &lookup().await.unwrap()));
    assert_eq!(client.revision(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_gone_after_two_documents_and_the_revision_tells() {
    let script = script(&["a", "b"]);
    let client = client(&script);
    assert_eq!(ask(&client, "b").await, Ok(()));
    script.set(KEYS, Answer::Json(jwks(&["a"])));
    for expected in [Ok(()), Err(KeyErrorKind::Unknown)] {
        advance(6 * MINUTE).await;
        assert_eq!(ask(&client, "random").await, Err(KeyErrorKind::Unknown));
        let revision = client.revision();
        assert_eq!(revision, u64::from(expected.is_err()));
        if expected.is_ok() {
            assert_eq!(ask(&client, "b").await, expected);
        }
    }
    script.set(KEYS, Answer::Fails(TransportErrorKind::NotSent));
    advance(6 * MINUTE).await;
    assert!(ask(&client, "b").await.is_err(), "failures bring nothing back");
    assert_eq!(ask(&client, "a").await, Ok(()));
}

// Row 24
#[tokio::test(start_paused = true)]
async fn key_removal_invalidates_remembered_tokens() {
    let script = script(&["entra-1", "other"]);
    let keys = Arc::new(Counting::new(client(&script)));
    let clock = clock();
    let validator = builder(single()).keys(keys.clone()).clock(Arc::new(clock.clone())).build().unwrap();
    let token = ENTRA.sign(&with(user_claims(), &[("exp", json!(NOW + 86_000))]));
    for _ in 0..10 {
        assert!(validator.validate(&token).await.is_ok());
    }
    assert_eq!(keys.count(), 1, "the others were remembered");

    advance(5 * MINUTE).await;
    script.set(KEYS, Answer::Json(jwks(&["other"])));
    assert_eq!(ask(&keys.keys, "random").await, Err(KeyErrorKind::Unknown));
    advance(MINUTE).await;
    assert!(validator.validate(&token).await.is_ok(), "one document without the key is not enough");
    assert_eq!(keys.count(), 2, "five minutes at most");
    advance(4 * MINUTE).await;
    assert!(validator.validate(&token).await.is_ok());
    assert_eq!(keys.count(), 2, "still remembered");
    assert_eq!(ask(&keys.keys, "random").await, Err(KeyErrorKind::Unknown));
    let kind = validator.validate(&token).await.unwrap_err().kind();
    assert!(matches!(kind, TokenErrorKind::UnknownKey | TokenErrorKind::KeyGated), "{kind:?}");
}

// Row 24
#[tokio::test(start_paused = true)]
async fn remembered_tokens_end_when_they_end() {
    let clock = clock();
    let keys = Arc::new(Counting::new(StaticKeys::from_jwks(ENTRA.jwks().to_string().as_bytes()).unwrap()));
    let make = |remember| {
        builder(single()).keys(keys.clone()).clock(Arc::new(clock.clone())).remember(remember).build().unwrap()
    };
    let (remembers, forgets) = (make(2), make(0));
    let token = ENTRA.sign(&with(user_claims(), &[("exp", json!(NOW + 30))]));
    for _ in 0..3 {
        assert!(remembers.validate(&token).await.is_ok());
        assert!(forgets.validate(&token).await.is_ok());
    }
    assert_eq!(keys.count(), 1 + 3);
    clock.step(time::Duration::seconds(30 + 60));
    assert_eq!(remembers.validate(&token).await.unwrap_err().kind(), TokenErrorKind::Expired);
    clock.step(time::Duration::seconds(-300));
    assert_eq!(remembers.validate(&token).await.unwrap_err().kind(), TokenErrorKind::NotYetValid, "a clock that jumps");
    clock.step(time::Duration::seconds(210));
    for n in 0..20 {
        let token = ENTRA.sign(&with(user_claims(), &[("uti", json!(n.to_string()))]));
        assert!(remembers.validate(&token).await.is_ok(), "bounded, still right");
    }
    // A token that differs in one bit is another token.
    let mut forged = ENTRA.sign(&user_claims());
    assert!(remembers.validate(&forged).await.is_ok());
    let swapped = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(swapped);
    assert!(remembers.validate(&forged).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn keys_are_served_for_a_day_without_the_issuer() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    script.set(METADATA, Answer::Fails(TransportErrorKind::NotSent));
    script.set(KEYS, Answer::Fails(TransportErrorKind::NotSent));
    for _ in 0..23 {
        advance(60 * MINUTE).await;
        assert_eq!(ask(&client, "a").now_or_never(), Some(Ok(())));
        settle().await;
    }
    advance(60 * MINUTE).await;
    assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unavailable));
    let requests = script.requests().len();
    for _ in 0..100 {
        assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unavailable));
    }
    assert_eq!(script.requests().len(), requests, "the failure is remembered");
    script.set(METADATA, Answer::Json(metadata()));
    script.set(KEYS, Answer::Json(jwks(&["a"])));
    advance(MINUTE).await;
    assert_eq!(ask(&client, "a").await, Ok(()), "recovers by itself");
}

#[tokio::test(start_paused = true)]
async fn retries_by_the_table() {
    for (answer, requests) in [
        (Answer::Fails(TransportErrorKind::NotSent), 2),
        (Answer::Fails(TransportErrorKind::Timeout), 2),
        (Answer::Fails(TransportErrorKind::Interrupted), 2),
        (Answer::Fails(TransportErrorKind::TooLarge), 1),
        (Answer::Fails(TransportErrorKind::Other), 1),
        (Answer::Bytes(StatusCode::REQUEST_TIMEOUT, Bytes::new()), 2),
        (Answer::Bytes(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()), 2),
        (Answer::Bytes(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()), 2),
        (Answer::Headers(StatusCode::TOO_MANY_REQUESTS, "retry-after", "1".into()), 2),
        (Answer::Headers(StatusCode::TOO_MANY_REQUESTS, "retry-after", "3600".into()), 1),
        (Answer::Bytes(StatusCode::NOT_FOUND, Bytes::new()), 1),
        (Answer::Bytes(StatusCode::BAD_REQUEST, Bytes::new()), 1),
        (Answer::Bytes(StatusCode::UNAUTHORIZED, Bytes::new()), 1),
        (Answer::Bytes(StatusCode::NO_CONTENT, Bytes::new()), 1),
        (Answer::Hangs, 2),
    ] {
        for url in [METADATA, KEYS] {
            let script = script(&["a"]);
            script.set(url, answer.clone());
            let before = tokio::time::Instant::now();
            assert_eq!(ask(&client(&script), "a").await, Err(KeyErrorKind::Unavailable), "{answer:?}");
            assert!(before.elapsed() <= Duration::from_secs(11), "{answer:?}");
            assert_eq!(script.requests().iter().filter(|asked| *asked == url).count(), requests, "{answer:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_are_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let script = script(&["a"]);
        let moved = Answer::Headers(StatusCode::from_u16(status).unwrap(), "location", KEYS.into());
        script.set(METADATA, moved);
        assert_eq!(ask(&client(&script), "a").await, Err(KeyErrorKind::Unavailable));
        assert_eq!(script.requests(), [METADATA]);
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_obeyed() {
    let script = script(&["a"]);
    script.set(METADATA, Answer::Headers(StatusCode::TOO_MANY_REQUESTS, "retry-after", "600".into()));
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unavailable));
    advance(9 * MINUTE).await;
    assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unavailable));
    assert_eq!(script.requests().len(), 1);
    script.set(METADATA, Answer::Json(metadata()));
    advance(MINUTE).await;
    assert_eq!(ask(&client, "a").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_transport_is_an_error_and_no_end() {
    let script = script(&["a"]);
    script.set(METADATA, Answer::Panics);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unavailable));
    script.set(METADATA, Answer::Json(metadata()));
    advance(MINUTE).await;
    assert_eq!(ask(&client, "a").await, Ok(()));
}

// Row 19
#[tokio::test(start_paused = true)]
async fn metadata_foreign_jwks_uri_rejected() {
    for (jwks_uri, good) in [
        (KEYS, true),
        ("https://keys.example/keys", true),
        ("https://KEYS.example/keys", true),
        ("https://keys.example:8443/keys", false),
        ("http://keys.example/keys", false),
        ("http://login.example/tenant/keys", false),
        ("https://login.example:444/tenant/keys", false),
        ("https://login.example.evil.example/keys", false),
        ("https://evil.example/login.example/keys", false),
        ("https://login.example@evil.example/keys", false),
        ("https://user:password@login.example/keys", false),
        ("http://127.0.0.1/keys", false),
        ("http://169.254.169.254/metadata", false),
        ("file:///etc/passwd", false),
        ("/tenant/keys", false),
        ("", false),
    ] {
        let script = Script::new();
        script.set(METADATA, Answer::Json(with(metadata(), &[("jwks_uri", json!(jwks_uri))])));
        for url in [KEYS, "https://keys.example/keys"] {
            script.set(url, Answer::Json(jwks(&["a"])));
        }
        let client = JwksClient::builder(METADATA.parse().unwrap())
            .transport(script.clone())
            .allowed_hosts(["Keys.Example"])
            .build()
            .unwrap();
        let outcome = ask(&client, "a").await;
        assert_eq!(outcome, if good { Ok(()) } else { Err(KeyErrorKind::Malformed) }, "{jwks_uri}");
        assert_eq!(script.requests().len(), if good { 2 } else { 1 }, "{jwks_uri}: nothing was asked of it");
    }
}

// Row 19
#[tokio::test(start_paused = true)]
async fn metadata_are_judged_before_they_are_believed() {
    for document in [
        with(metadata(), &[("issuer", json!("https://evil.example/v2.0"))]),
        with(metadata(), &[("issuer", json!(format!("{ISSUER}/")))]),
        without(metadata(), "issuer"),
        without(metadata(), "jwks_uri"),
        with(metadata(), &[("jwks_uri", json!([KEYS]))]),
        json!([]),
        json!("metadata"),
    ] {
        let script = script(&["a"]);
        script.set(METADATA, Answer::Json(document.clone()));
        assert_eq!(ask(&client(&script), "a").await, Err(KeyErrorKind::Malformed), "{document}");
        assert_eq!(script.requests().len(), 1, "{document}");
    }
    for url in ["http://login.example/", "ftp://login.example/", "https://user@login.example/", "data:,x"] {
        assert!(JwksClient::builder(url.parse().unwrap()).transport(Script::new()).build().is_err(), "{url}");
    }
}

// Row 20
#[tokio::test(start_paused = true)]
async fn a_bad_document_changes_nothing() {
    let script = script(&["a"]);
    let client = client(&script);
    assert_eq!(ask(&client, "a").await, Ok(()));
    let weak = json!({"keys": [with(ENTRA.jwk(), &[("use", json!("enc"))])]});
    let huge = Bytes::from(vec![b' '; (1 << 20) + 1]);
    for bad in [
        Answer::Json(json!({"keys": []})),
        Answer::Json(weak),
        Answer::Json(json!([])),
        Answer::Bytes(StatusCode::OK, Bytes::from_static(b"<html>")),
        Answer::Bytes(StatusCode::OK, huge),
    ] {
        script.set(KEYS, bad.clone());
        advance(70 * MINUTE).await;
        let before = script.count("/keys");
        assert_eq!(ask(&client, "a").await, Ok(()));
        settle().await;
        assert_eq!(script.count("/keys"), before + 1, "{bad:?}");
        assert_eq!((ask(&client, "a").await, client.revision()), (Ok(()), 0), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_another_cloud_are_skipped() {
    let script = script(&["a"]);
    script.set(METADATA, Answer::Json(with(metadata(), &[("cloud_instance_name", json!("microsoftonline.com"))])));
    let mut keys = jwks(&["a", "b"]);
    keys["keys"][0]["cloud_instance_name"] = json!("microsoftonline.us");
    script.set(KEYS, Answer::Json(keys));
    let client = client(&script);
    assert_eq!(ask(&client, "b").await, Ok(()));
    assert_eq!(ask(&client, "a").await, Err(KeyErrorKind::Unknown));
}

/// A cloud that answers for every tenant.
fn cloud(tenants: &[String], script: &Script) {
    for tenant in tenants {
        let base = format!("https://login.microsoftonline.com/{tenant}");
        let issuer = match tenant.as_str() {
            "organizations" | "common" => "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
            _ => format!("{base}/v2.0"),
        };
        let document = json!({"issuer": issuer, "jwks_uri": format!("{base}/discovery/v2.0/keys")});
        script.set(&format!("{base}/v2.0/.well-known/openid-configuration"), Answer::Json(document));
        script.set(&format!("{base}/discovery/v2.0/keys"), Answer::Json(jwks(&["a"])));
    }
}

fn tenant(n: usize) -> String {
    format!("{n:08x}-0000-0000-0000-000000000000")
}

fn issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

async fn ask_for(keys: &TenantKeys, issuer: &str, kid: &str) -> Result<(), KeyErrorKind> {
    keys.key(KeyLookup::new(issuer, kid)).await.map(|_| ()).map_err(|error| error.kind())
}

// Row 18
#[tokio::test(start_paused = true)]
async fn random_tid_flood_makes_zero_requests() {
    let two = || TenantPolicy::allow([TENANT.parse().unwrap(), OTHER_TENANT.parse().unwrap()]);
    for policy in [single(), two()] {
        let script = Script::new();
        let validator = entra_auth::AccessTokenValidator::builder(Authority::default(), [API], policy)
            .clock(Arc::new(clock()))
            .transport(script.clone())
            .build()
            .unwrap();
        for n in 0..1000 {
            let claims = with(user_claims(), &[("tid", json!(tenant(n))), ("iss", json!(issuer(&tenant(n))))]);
            let kind = validator.validate(&ENTRA.sign(&claims)).await.unwrap_err().kind();
            assert_eq!(kind, TokenErrorKind::TenantNotAllowed);
        }
        assert!(script.requests().is_empty());
    }
    for policy in [TenantPolicy::AnyOrganization, TenantPolicy::Any] {
        let script = Script::new();
        cloud(&["organizations".into(), "common".into()], &script);
        let keys = TenantKeys::builder(Authority::default(), policy).transport(script.clone()).build().unwrap();
        assert_eq!(ask_for(&keys, &issuer(TENANT), "a").await, Ok(()));
        assert_eq!(script.requests().len(), 2);
        for n in 0..1000 {
            assert_eq!(ask_for(&keys, &issuer(&tenant(n)), "a").await, Ok(()));
        }
        assert_eq!(script.requests().len(), 2, "one document serves everyone");
    }
}

#[tokio::test(start_paused = true)]
async fn each_allowed_tenant_has_keys_of_its_own() {
    let tenants: Vec<String> = (0..3).map(tenant).collect();
    let script = Script::new();
    cloud(&tenants, &script);
    let policy = TenantPolicy::allow(tenants.iter().map(|tenant| tenant.parse().unwrap()));
    let keys = TenantKeys::builder(Authority::default(), policy).transport(script.clone()).build().unwrap();
    for tenant in &tenants {
        for _ in 0..5 {
            assert_eq!(ask_for(&keys, &issuer(tenant), "a").await, Ok(()));
        }
    }
    assert_eq!(ask_for(&keys, &format!("https://sts.windows.net/{}/", tenants[0]), "a").await, Ok(()));
    assert_eq!(script.requests().len(), 6);
    for foreign in [issuer(&tenant(7)), "https://evil.example/".into(), String::new()] {
        assert_eq!(ask_for(&keys, &foreign, "a").await, Err(KeyErrorKind::Unknown));
    }
    assert_eq!(script.requests().len(), 6);
}

// Row 18
#[tokio::test(start_paused = true)]
async fn tenants_are_bounded_and_do_not_thrash() {
    let tenants: Vec<String> = (0..40).map(tenant).collect();
    let script = Script::new();
    cloud(&tenants, &script);
    let policy = TenantPolicy::allow(tenants.iter().map(|tenant| tenant.parse().unwrap()));
    let keys =
        TenantKeys::builder(Authority::default(), policy).transport(script.clone()).capacity(10).build().unwrap();
    let mut revisions = vec![keys.revision()];
    let mut refused = 0;
    for tenant in &tenants {
        advance(Duration::from_millis(10)).await;
        refused += usize::from(ask_for(&keys, &issuer(tenant), "a").await == Err(KeyErrorKind::Gated));
        revisions.push(keys.revision());
    }
    assert_eq!((script.count("/keys"), refused), (20, 20), "ten at first, ten more in the minute");
    assert!(revisions.is_sorted());
    assert_eq!(revisions.last(), Some(&10), "each that made room counts");
    assert!(ask_for(&keys, &issuer(&tenants[19]), "a").await.is_ok(), "those in use are kept");
    advance(MINUTE).await;
    assert!(ask_for(&keys, &issuer(&tenants[39]), "a").await.is_ok());
}
