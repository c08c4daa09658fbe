//! Defects that users of other libraries have met, each of which would fail here: those of getting tokens, as far as no
//! other test of this crate is about them already.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acquire_support;

use std::{fs, path::Path, sync::Arc, time::Duration};

use acquire_support::{CLIENT, Form, TENANT, World, failure, success, world};
use async_trait::async_trait;
use entra_auth::{
    Authority, Body, Cloud, ConfidentialClient, Error, ErrorKind, HttpTransport, RetryPolicy, Secret, TenantId,
    TokenCredential, TokenRequest, TransportError,
};
use serde_json::json;
use wiremock::ResponseTemplate;

fn request(scopes: &str) -> TokenRequest {
    TokenRequest::new(scopes.parse().unwrap())
}

fn once(world: &World) -> ConfidentialClient {
    ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .authority(world.authority.clone())
        .clock(Arc::new(world.clock.clone()))
        .retry(RetryPolicy::new(1, Duration::from_millis(1), Duration::from_millis(1)))
        .build()
        .unwrap()
}

async fn refused(world: &World, number: usize) -> Error {
    once(world).get_token(&request(&format!("api://resource-{number}/.default"))).await.unwrap_err()
}

/// A certificate must not bring a second TLS library along.
#[test]
fn no_build_needs_openssl() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
    for name in ["openssl", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

/// A credential that keeps one token hands it out for whatever is asked next.
#[tokio::test]
async fn a_token_is_for_the_scope_it_was_asked_for() {
    let world = world().await;
    world.answers(|_, form| success(&form["scope"].replace(['/', ':', '.'], "-"), &json!({})));
    let client = world.confidential();
    for _ in 0..2 {
        for (scope, token) in [("api://a/.default", "api---a--default"), ("api://b/.default", "api---b--default")] {
            assert_eq!(client.get_token(&request(scope)).await.unwrap().expose(), token);
        }
    }
    assert_eq!(world.requests().await, 2);
}

/// Answers at once, but for one resource only when it is let go.
#[derive(Debug, Default)]
struct Gate(tokio::sync::Notify);

#[async_trait]
impl HttpTransport for Gate {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let slow = String::from_utf8_lossy(request.body().as_bytes().unwrap()).contains("slow");
        if slow {
            self.0.notified().await;
        }
        let token = if slow { "slow" } else { "fast" };
        let body = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token}).to_string();
        Ok(http::Response::new(Body::from(body)))
    }
}

/// One lock for a whole credential lets a slow resource stop all others.
#[tokio::test]
async fn one_scope_does_not_wait_for_another() {
    let gate = Arc::new(Gate::default());
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .transport(gate.clone())
        .timeouts(Duration::from_secs(60), Duration::from_secs(60))
        .build()
        .unwrap();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.get_token(&request("api://slow/.default")).await })
    };
    tokio::task::yield_now().await;
    for number in 0..20 {
        let token = client.get_token(&request(&format!("api://fast-{number}/.default"))).await.unwrap();
        assert_eq!(token.expose(), "fast");
    }
    assert!(!waiting.is_finished(), "the others were served meanwhile");
    gate.0.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().expose(), "slow");
}

/// Caches in memory that let go of nothing grow with every tenant.
#[tokio::test]
async fn a_full_cache_lets_go_and_asks_again() {
    let world = world().await;
    world.answers(|_, form| success(&format!("{}{}", form["scope"].len(), "x".repeat(1000)), &json!({})));
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .authority(world.authority.clone())
        .cache_bytes(128 << 10)
        .build()
        .unwrap();
    let ask = async |number: usize| {
        let tenant = format!("00000000-0000-0000-0000-{number:012}").parse().unwrap();
        client.get_token(&request("api://a/.default").with_tenant(tenant)).await.unwrap()
    };
    for number in 0..400 {
        ask(number).await;
    }
    for number in 0..400 {
        ask(number).await;
    }
    let requests = world.requests().await;
    assert!(requests > 400 + 200, "128 KiB hold about 100 of 400 tokens: {requests}");
}

/// A page of a proxy hides the status where the error path insists on JSON.
#[tokio::test]
async fn the_status_of_a_strange_answer_is_kept() {
    for (status, kind) in [
        (400, ErrorKind::Protocol),
        (403, ErrorKind::Protocol),
        (407, ErrorKind::Protocol),
        (429, ErrorKind::Throttled),
        (502, ErrorKind::Transient),
        (504, ErrorKind::Transient),
    ] {
        let world = world().await;
        world.answers(move |_, _| ResponseTemplate::new(status).set_body_string("<html>marker</html>"));
        let error = refused(&world, 0).await;
        assert_eq!((error.kind(), error.oauth().unwrap().status), (kind, status));
        assert!(error.to_string().contains(&format!("status {status}")), "{error}");
        assert!(!format!("{error} {error:?}").contains("marker"));
    }
}

/// Where only numbers survive, nobody can step up, and support has nothing to search for.
#[tokio::test]
async fn every_member_of_an_error_is_there() {
    let world = world().await;
    world.answers(|_, _| {
        ResponseTemplate::new(400).set_body_json(json!({
            "error": "invalid_grant", "suberror": "basic_action", "error_codes": [50079, 50076],
            "error_description": "AADSTS50079: marker", "timestamp": "2027-01-15 08:00:00Z",
            "trace_id": "trace-1", "correlation_id": "correlation-1", "error_uri": "https://example.com/?marker",
            "claims": r#"{"access_token":{"capolids":{"essential":true,"values":["p"]}}}"#,
        }))
    });
    let error = refused(&world, 0).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InteractionRequired, false));
    let oauth = error.oauth().unwrap();
    assert_eq!((oauth.status, &*oauth.error, oauth.suberror.as_deref()), (400, "invalid_grant", Some("basic_action")));
    assert_eq!(oauth.error_codes, [50079, 50076]);
    assert_eq!(oauth.timestamp.as_deref(), Some("2027-01-15 08:00:00Z"));
    assert_eq!((oauth.trace_id.as_deref(), oauth.correlation_id.as_deref()), (Some("trace-1"), Some("correlation-1")));
    assert_eq!(oauth.description.as_deref(), Some("AADSTS50079: marker"));
    assert!(error.claims_challenge().unwrap().as_str().contains("capolids"));
    assert_eq!(
        error.to_string(),
        "the user must satisfy a further requirement such as MFA (AADSTS50079, status 400, correlation id correlation-1)"
    );
    assert!(!format!("{error:?} {error:#?}").contains("marker"));
}

/// A mock server needs no TLS; nothing else goes without.
#[test]
fn plain_http_is_for_loopback() {
    for good in ["http://127.0.0.1:1/entra", "http://localhost:1", "http://[::1]:1"] {
        assert!(good.parse::<Authority>().is_ok(), "{good}");
    }
    for bad in [
        "http://login.microsoftonline.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
    ] {
        assert!(bad.parse::<Authority>().is_err(), "{bad}");
        assert!(Authority::dangerous().host(bad.parse().unwrap()).is_err(), "{bad}");
    }
}

/// The old host of China is still in other libraries.
#[test]
fn retired_hosts_are_replaced() {
    let china: Authority = "https://login.chinacloudapi.cn".parse().unwrap();
    assert_eq!(china, Cloud::China.into());
    let endpoint = china.token_endpoint(&TENANT.parse().unwrap());
    assert_eq!(endpoint.host_str(), Some("login.partner.microsoftonline.cn"));
}

/// An application's token comes from a tenant; the shared endpoints answer now and then.
#[test]
fn shared_endpoints_are_no_tenants() {
    for name in ["common", "organizations", "consumers", "Common", "ORGANIZATIONS"] {
        assert!(name.parse::<TenantId>().is_err(), "{name}");
    }
}

/// What is behind the codes that most questions are about.
#[tokio::test]
async fn messages_name_the_usual_cause() {
    let world = world().await;
    let codes: [(u32, &str); 7] = [
        (700_016, "a single-tenant bot has its own tenant"),
        (500_131, "its audience must be the app that presents it"),
        (700_213, "to the letter"),
        (7_000_215, "the secret's id was pasted instead of its value"),
        (700_024, "check this machine's clock"),
        (700_027, "check that this certificate is registered"),
        (50196, "look for a missing cache"),
    ];
    world.answers(move |_, form| failure("invalid_request", codes[number(form)].0));
    for (at, (code, cause)) in codes.iter().enumerate() {
        let text = refused(&world, at).await.to_string();
        assert!(text.contains(cause) && text.contains(&format!("AADSTS{code}")), "{text}");
    }
}

/// The number in the scope.
fn number(form: &Form) -> usize {
    form["scope"].trim_start_matches("api://resource-").trim_end_matches("/.default").parse().unwrap()
}

/// The reference of error codes, class by class.
const REFERENCE: [(ErrorKind, &[u32]); 8] = [
    (ErrorKind::Transient, &[70016, 90006, 90012, 90024, 90033, 90090, 50033, 50087]),
    (
        ErrorKind::Reauthenticate,
        &[
            16000, 500_133, 50014, 50020, 50034, 51004, 50055, 50144, 50058, 50089, 50126, 50132, 50133, 50173, 54005,
            70000, 70008, 700_082, 700_084, 70019, 70043,
        ],
    ),
    (ErrorKind::ConsentRequired, &[65001, 65004, 90094, 90095]),
    (ErrorKind::InteractionRequired, &[50072, 50079, 50074, 50076, 50078, 50097, 50158]),
    (
        ErrorKind::Configuration,
        &[
            28002, 28003, 50001, 500_011, 50011, 50013, 500_131, 500_207, 50027, 50049, 50059, 90019, 501_481, 50194,
            65005, 650_052, 650_056, 650_057, 70001, 7_000_112, 700_011, 700_016, 7_000_218, 700_025, 700_022, 700_023,
            700_030, 70011, 70018, 70021, 700_211, 700_213, 7_002_137, 7_002_138, 700_229, 7_000_114, 82014, 90002,
            90014, 900_144, 90023, 9_002_313, 90038, 9_001_023, 90124, 90130, 900_382, 900_432, 100_007, 240_002,
            392_189, 392_200,
        ],
    ),
    (
        ErrorKind::ClientCredential,
        &[50012, 500_181, 70002, 7_000_215, 7_000_222, 700_024, 700_027, 7_000_274, 7_000_214, 7_000_277, 1_000_502],
    ),
    (ErrorKind::Throttled, &[50196, 90055]),
    (
        ErrorKind::PolicyBlocked,
        &[50005, 500_212, 500_213, 50057, 50105, 50129, 53000, 53001, 53002, 50131, 53003, 530_032, 53004],
    ),
];

#[tokio::test]
async fn every_code_of_the_reference_says_who_must_act() {
    let world = world().await;
    let all: Vec<(u32, ErrorKind)> =
        REFERENCE.iter().flat_map(|(kind, codes)| codes.iter().map(|code| (*code, *kind))).collect();
    assert_eq!(all.len(), 118);
    let codes = all.clone();
    world.answers(move |_, form| failure("invalid_request", codes[number(form)].0));
    let client = once(&world);
    for (at, (code, kind)) in all.iter().enumerate() {
        let error = client.get_token(&request(&format!("api://resource-{at}/.default"))).await.unwrap_err();
        assert_eq!(error.kind(), *kind, "AADSTS{code}: {error}");
        assert_eq!(error.oauth().unwrap().error_codes, [*code]);
        assert_eq!(error.is_retryable(), matches!(kind, ErrorKind::Transient | ErrorKind::Throttled), "AADSTS{code}");
        assert!(error.to_string().len() > 20, "{error}");
    }
}

/// Numbers may change: one that nobody knows is judged by the words, and never fails to be read.
#[tokio::test]
async fn unknown_codes_are_judged_by_the_words() {
    for (error, suberror, kind) in [
        ("invalid_grant", None, ErrorKind::Reauthenticate),
        ("invalid_grant", Some("consent_required"), ErrorKind::ConsentRequired),
        ("invalid_grant", Some("basic_action"), ErrorKind::InteractionRequired),
        ("invalid_grant", Some("additional_action"), ErrorKind::InteractionRequired),
        ("invalid_grant", Some("message_only"), ErrorKind::InteractionRequired),
        ("invalid_grant", Some("user_password_expired"), ErrorKind::Reauthenticate),
        ("invalid_grant", Some("bad_token"), ErrorKind::Reauthenticate),
        ("invalid_grant", Some("client_mismatch"), ErrorKind::PolicyBlocked),
        ("invalid_grant", Some("protection_policy_required"), ErrorKind::PolicyBlocked),
        ("interaction_required", None, ErrorKind::InteractionRequired),
        ("login_required", None, ErrorKind::Reauthenticate),
        ("consent_required", None, ErrorKind::ConsentRequired),
        ("invalid_client", None, ErrorKind::ClientCredential),
        ("temporarily_unavailable", None, ErrorKind::Transient),
        ("server_error", None, ErrorKind::Transient),
        ("a_new_word", None, ErrorKind::Configuration),
    ] {
        let world = world().await;
        world.answers(move |_, _| {
            ResponseTemplate::new(400)
                .set_body_json(json!({"error": error, "suberror": suberror, "error_codes": [4_000_000_001_u32]}))
        });
        assert_eq!(refused(&world, 0).await.kind(), kind, "{error} {suberror:?}");
    }
}
