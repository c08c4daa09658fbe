//! What each identity endpoint of Azure is asked, member by member over raw sockets, and what its answers bring about.

#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod local_server;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use entra_auth::{
    Body, ClaimsChallenge, Clock as _, ErrorKind, HttpTransport, ManagedIdentityCredential, ManagedIdentityId,
    ManagedIdentitySource, ManualClock, ReqwestTransport, SystemClock, TokenCredential as _, TokenRequest,
    TransportError, TransportErrorKind, settings::Settings,
};
use local_server::{LocalServer, answer};
use serde_json::json;
use time::OffsetDateTime;

const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const OBJECT: &str = "33333333-3333-3333-3333-333333333333";
const RESOURCE_ID: &str = "/subscriptions/44444444-4444-4444-4444-444444444444/resourceGroups/rg/providers/\
                           Microsoft.ManagedIdentity/userAssignedIdentities/bot";

fn request() -> TokenRequest {
    TokenRequest::new("https://vault.azure.net/.default".parse().unwrap())
}

fn success() -> String {
    let ends = (SystemClock.now() + time::Duration::hours(24)).unix_timestamp().to_string();
    let body = json!({"access_token": "t", "refresh_token": "", "expires_in": "86399", "expires_on": ends,
        "not_before": "1", "resource": "https://vault.azure.net", "token_type": "Bearer"});
    answer(200, "content-type: application/json\r\n", &body.to_string())
}

fn identity(id: ManagedIdentityId, variables: &[(&str, String)]) -> ManagedIdentityCredential {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    ManagedIdentityCredential::builder(id).settings(&Settings::from_lookup(lookup)).build().unwrap()
}

fn imds(server: &LocalServer) -> Vec<(&'static str, String)> {
    vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.url.clone())]
}

fn app_service(server: &LocalServer) -> Vec<(&'static str, String)> {
    vec![("IDENTITY_ENDPOINT", format!("{}/msi/token", server.url)), ("IDENTITY_HEADER", "marker-header".to_owned())]
}

fn azure_ml(server: &LocalServer) -> Vec<(&'static str, String)> {
    vec![("MSI_ENDPOINT", format!("{}/MSI/auth", server.url)), ("MSI_SECRET", "marker-secret".to_owned())]
}

fn ids() -> [(ManagedIdentityId, &'static str); 4] {
    [
        (ManagedIdentityId::SystemAssigned, ""),
        (ManagedIdentityId::ClientId(CLIENT.parse().unwrap()), CLIENT),
        (ManagedIdentityId::ObjectId(OBJECT.parse().unwrap()), OBJECT),
        (ManagedIdentityId::ResourceId(RESOURCE_ID.to_owned()), RESOURCE_ID),
    ]
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn imds_field_by_field() {
    for ((id, value), selector) in ids().into_iter().zip(["", "client_id", "object_id", "msi_res_id"]) {
        let server = LocalServer::start([success()]).await;
        let identity = identity(id, &imds(&server));
        assert_eq!(identity.source(), ManagedIdentitySource::Imds);
        let token = identity.get_token(&request()).await.unwrap();
        assert_eq!(token.expose(), "t");
        let sent = server.only();
        assert_eq!((sent.method(), sent.path()), ("GET", "/metadata/identity/oauth2/token"));
        let mut expected = vec![("api-version", "2018-02-01"), ("resource", "https://vault.azure.net")];
        if !selector.is_empty() {
            expected.push((selector, value));
        }
        assert_eq!(sent.query(), pairs(&expected));
        assert_eq!(sent.header("metadata"), Some("true"));
        for foreign in ["authorization", "secret", "x-identity-header", "x-forwarded-for"] {
            assert_eq!(sent.header(foreign), None);
        }
    }
}

#[tokio::test]
async fn app_service_and_container_apps_field_by_field() {
    for ((id, value), selector) in ids().into_iter().zip(["", "client_id", "object_id", "mi_res_id"]) {
        // No `expires_in`, and the end as a number: Container Apps.
        let ends = (SystemClock.now() + time::Duration::hours(1)).unix_timestamp();
        let body = json!({"access_token": "t", "expires_on": ends, "token_type": "Bearer", "client_id": CLIENT});
        let server = LocalServer::start([answer(200, "", &body.to_string())]).await;
        let identity = identity(id, &app_service(&server));
        assert_eq!(identity.source(), ManagedIdentitySource::AppService);
        let token = identity.get_token(&request()).await.unwrap();
        assert_eq!(token.expires_on().unix_timestamp(), ends);
        let sent = server.only();
        assert_eq!((sent.method(), sent.path()), ("GET", "/msi/token"));
        let mut expected = vec![("api-version", "2019-08-01"), ("resource", "https://vault.azure.net")];
        if !selector.is_empty() {
            expected.push((selector, value));
        }
        assert_eq!(sent.query(), pairs(&expected));
        assert_eq!(sent.header("x-identity-header"), Some("marker-header"));
        assert_eq!((sent.header("metadata"), sent.header("secret")), (None, None));
    }
}

#[tokio::test]
async fn azure_ml_field_by_field() {
    for (id, selected) in [(ids()[0].0.clone(), None), (ids()[1].0.clone(), Some(("clientid", CLIENT)))] {
        let server = LocalServer::start([success()]).await;
        let identity = identity(id, &azure_ml(&server));
        assert_eq!(identity.source(), ManagedIdentitySource::AzureMl);
        identity.get_token(&request()).await.unwrap();
        let sent = server.only();
        assert_eq!((sent.method(), sent.path()), ("GET", "/MSI/auth"));
        let mut expected = vec![("api-version", "2017-09-01"), ("resource", "https://vault.azure.net")];
        expected.extend(selected);
        assert_eq!(sent.query(), pairs(&expected));
        assert_eq!(sent.header("secret"), Some("marker-secret"));
        assert_eq!(sent.header("metadata"), None);
    }
}

#[tokio::test]
async fn cloud_shell_field_by_field() {
    let server = LocalServer::start([success()]).await;
    let variables = [("MSI_ENDPOINT", format!("{}/oauth2/token", server.url))];
    let identity = identity(ManagedIdentityId::SystemAssigned, &variables);
    assert_eq!(identity.source(), ManagedIdentitySource::CloudShell);
    identity.get_token(&request()).await.unwrap();
    let sent = server.only();
    assert_eq!(sent.line, "POST /oauth2/token HTTP/1.1");
    assert_eq!(sent.body, "resource=https%3A%2F%2Fvault.azure.net");
    assert_eq!(sent.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(sent.header("metadata"), Some("true"));
}

struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("entra-auth-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("challenge.key"), "marker-key").unwrap();
        Self(directory)
    }

    fn challenge(&self, file: &str) -> String {
        answer(401, &format!("WWW-Authenticate: Basic realm={}/{file}\r\n", self.0.display()), "")
    }

    fn identity(&self, id: ManagedIdentityId, server: &LocalServer) -> ManagedIdentityCredential {
        let url = format!("{}/metadata/identity/oauth2/token", server.url);
        let lookup = |name: &str| match name {
            "IDENTITY_ENDPOINT" => Some(url.clone()),
            "IMDS_ENDPOINT" => Some("http://localhost:40342".to_owned()),
            _ => None,
        };
        let builder = ManagedIdentityCredential::builder(id).settings(&Settings::from_lookup(lookup));
        builder.arc_key_directory(&self.0).build().unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn azure_arc_field_by_field() {
    let keys = Keys::new("arc-fields");
    let server = LocalServer::start([keys.challenge("challenge.key"), success()]).await;
    let identity = keys.identity(ManagedIdentityId::SystemAssigned, &server);
    assert_eq!(identity.source(), ManagedIdentitySource::AzureArc);
    identity.get_token(&request()).await.unwrap();
    let [first, second] = &server.seen()[..] else { panic!("two requests") };
    for sent in [first, second] {
        assert_eq!((sent.method(), sent.path()), ("GET", "/metadata/identity/oauth2/token"));
        let expected = [("api-version", "2020-06-01"), ("resource", "https://vault.azure.net")];
        assert_eq!(sent.query(), pairs(&expected));
        assert_eq!(sent.header("metadata"), Some("true"));
    }
    assert_eq!(first.header("authorization"), None);
    assert_eq!(second.header("authorization"), Some("Basic marker-key"));
}

#[tokio::test]
async fn azure_arc_reads_no_other_file_and_trusts_no_token_without_challenge() {
    let keys = Keys::new("arc-files");
    std::fs::write(keys.0.join("huge.key"), "k".repeat(5000)).unwrap();
    for first in [
        keys.challenge("../challenge.key"),
        keys.challenge("challenge.txt"),
        keys.challenge("huge.key"),
        keys.challenge("absent.key"),
        answer(401, "WWW-Authenticate: Basic realm=/etc/passwd\r\n", ""),
        answer(401, "", ""),
        success(),
    ] {
        let server = LocalServer::start([first.clone(), success()]).await;
        let error = keys.identity(ManagedIdentityId::SystemAssigned, &server).get_token(&request()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Configuration), "{first}");
        assert!(!format!("{error} {error:?}").contains("marker"));
        assert_eq!(server.seen().len(), 1, "{first}");
    }
}

/// Old agents ignore the selector and hand out the token of the system identity.
#[tokio::test]
async fn azure_arc_must_repeat_the_identity_that_was_asked_for() {
    let keys = Keys::new("arc-echo");
    for ((id, value), member) in ids().into_iter().zip(["", "client_id", "object_id", "msi_res_id"]).skip(1) {
        for (echo, good) in [(Some(value.to_ascii_uppercase()), true), (Some("other".to_owned()), false), (None, false)]
        {
            let mut body = json!({"access_token": "t", "expires_in": "3600", "token_type": "Bearer"});
            if let Some(echo) = echo {
                body[member] = json!(echo);
            }
            let server =
                LocalServer::start([keys.challenge("challenge.key"), answer(200, "", &body.to_string())]).await;
            let result = keys.identity(id.clone(), &server).get_token(&request()).await;
            assert_eq!(result.is_ok(), good, "{member} {body}");
            assert!(server.seen()[1].query().contains(&(member.to_owned(), value.to_owned())));
        }
    }
}

#[tokio::test]
async fn what_a_platform_does_not_know_is_an_error_and_never_ignored() {
    let server = LocalServer::start([success()]).await;
    let shell = vec![("MSI_ENDPOINT", format!("{}/oauth2/token", server.url))];
    for (variables, good) in [(shell, [false, false, false]), (azure_ml(&server), [true, false, false])] {
        for ((id, _), good) in ids().into_iter().skip(1).zip(good) {
            let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
            let built = ManagedIdentityCredential::builder(id).settings(&Settings::from_lookup(lookup)).build();
            assert_eq!(built.is_ok(), good, "{built:?}");
        }
    }
    for bad in ["", "bot", "/subscriptions/x", "https://evil.example/subscriptions/"] {
        let id = ManagedIdentityId::ResourceId(bad.to_owned());
        assert!(ManagedIdentityCredential::builder(id).settings(&Settings::from_lookup(|_| None)).build().is_err());
    }
    let identity = identity(ManagedIdentityId::SystemAssigned, &imds(&server));
    let tenant = request().with_tenant("11111111-1111-1111-1111-111111111111".parse().unwrap());
    let claims = request().with_claims(ClaimsChallenge::from_json(r#"{"access_token":{}}"#).unwrap());
    for request in [tenant, claims] {
        assert_eq!(identity.get_token(&request).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let two = TokenRequest::new("a/.default b/.default".parse().unwrap());
    assert_eq!(identity.get_token(&two).await.unwrap_err().kind(), ErrorKind::Configuration);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn app_service_learns_which_token_was_refused() {
    let server = LocalServer::start([success()]).await;
    let variables = app_service(&server);
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
    let identity = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned)
        .settings(&Settings::from_lookup(lookup))
        .handles_claims_challenges()
        .build()
        .unwrap();
    let token = identity.get_token(&request()).await.unwrap();
    identity.get_token(&request()).await.unwrap();
    identity.get_token(&request().with_rejected(token)).await.unwrap();
    let claims = ClaimsChallenge::from_json(r#"{"access_token":{}}"#).unwrap();
    identity.get_token(&request().with_claims(claims)).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3, "the second call is a hit");
    // SHA-256 of "t".
    const HASH: &str = "e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8";
    let hash = |seen: &local_server::Seen| {
        let query = seen.query();
        query.iter().find(|(name, _)| name == "token_sha256_to_refresh").map(|(_, value)| value.clone())
    };
    assert_eq!(hash(&seen[0]), None);
    assert_eq!(hash(&seen[1]).as_deref(), Some(HASH));
    assert_eq!(hash(&seen[2]).as_deref(), Some(HASH));
    for sent in seen {
        assert!(sent.query().contains(&("xms_cc".to_owned(), "cp1".to_owned())));
    }
}

#[tokio::test]
async fn a_redirect_is_an_error_and_nothing_follows_it() {
    let elsewhere = LocalServer::start([success()]).await;
    for status in [301, 302, 307, 308] {
        let server = LocalServer::start([answer(status, &format!("location: {}/x\r\n", elsewhere.url), "")]).await;
        let identity = identity(ManagedIdentityId::SystemAssigned, &app_service(&server));
        assert_eq!(identity.get_token(&request()).await.unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(server.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn refusals_are_final_and_say_who_must_act() {
    for (status, body, kind) in [
        (
            400,
            r#"{"error":"invalid_request","error_description":"Identity not found marker"}"#,
            ErrorKind::Configuration,
        ),
        (403, "forbidden", ErrorKind::Configuration),
        (
            403,
            "connecting to 169.254.169.254:80: dial tcp: A socket operation was attempted to an unreachable network.",
            ErrorKind::Unsupported,
        ),
        (200, "<html>marker</html>", ErrorKind::Protocol),
        (200, "{}", ErrorKind::Protocol),
    ] {
        let server = LocalServer::start([answer(status, "", body)]).await;
        let identity = identity(ManagedIdentityId::SystemAssigned, &imds(&server));
        let error = identity.get_token(&request()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
        assert!(!format!("{error} {error:?}").contains("marker"));
        identity.get_token(&request()).await.unwrap_err();
        assert_eq!(server.seen().len(), 1, "the failure is remembered for a moment");
    }
    let server = LocalServer::start([answer(200, "", &"x".repeat(70_000))]).await;
    let error = identity(ManagedIdentityId::SystemAssigned, &imds(&server)).get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn many_callers_make_one_request() {
    let server = LocalServer::start([success()]).await;
    let identity = identity(ManagedIdentityId::SystemAssigned, &imds(&server));
    let callers: Vec<_> = (0..500)
        .map(|_| {
            let identity = identity.clone();
            tokio::spawn(async move { identity.get_token(&request()).await.unwrap() })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    server.only();
}

/// Answers from a list, without a socket, so that time can be paused.
#[derive(Debug)]
struct Script {
    answers: Mutex<Vec<Option<u16>>>,
    sent: Mutex<usize>,
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        *self.sent.lock().unwrap() += 1;
        let next = {
            let mut answers = self.answers.lock().unwrap();
            if answers.len() > 1 { answers.remove(0) } else { answers[0] }
        };
        match next {
            None => Err(TransportErrorKind::NotSent.into()),
            Some(0) => std::future::pending().await,
            Some(status) => {
                let body = if status == 200 { r#"{"access_token":"t","expires_in":"86400"}"# } else { "" };
                Ok(http::Response::builder().status(status).body(body.to_owned().into()).unwrap())
            }
        }
    }
}

async fn scripted(answers: &[Option<u16>], app_service: bool) -> (Result<(), ErrorKind>, usize, Duration) {
    let script = Arc::new(Script { answers: Mutex::new(answers.to_vec()), sent: Mutex::new(0) });
    let lookup = move |name: &str| match name {
        "IDENTITY_ENDPOINT" => app_service.then(|| "http://127.0.0.1:1/msi".to_owned()),
        "IDENTITY_HEADER" => app_service.then(|| "h".to_owned()),
        _ => None,
    };
    let identity = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned)
        .settings(&Settings::from_lookup(lookup))
        .transport(Arc::clone(&script) as Arc<dyn HttpTransport>)
        .build()
        .unwrap();
    let started = tokio::time::Instant::now();
    let result = identity.get_token(&request()).await.map(drop).map_err(|error| error.kind());
    let sent = *script.sent.lock().unwrap();
    (result, sent, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let seconds = Duration::from_secs;
    for status in [404, 408, 429, 500, 503] {
        let (result, sent, _) = scripted(&[Some(status), Some(status), Some(status), Some(200)], false).await;
        assert_eq!((result, sent), (Ok(()), 4), "{status}");
    }
    let (result, sent, spent) = scripted(&[Some(503)], false).await;
    assert_eq!((result, sent), (Err(ErrorKind::Transient), 4));
    assert!(spent <= seconds(7), "{spent:?}");
    let (result, sent, spent) = scripted(&[None], true).await;
    assert_eq!((result, sent, spent), (Err(ErrorKind::Transport), 4, seconds(3)));
    // An endpoint that hangs: 3 s an attempt, 20 s in all.
    let (result, sent, spent) = scripted(&[Some(0)], false).await;
    assert_eq!((result, sent), (Err(ErrorKind::Transport), 4));
    assert!(spent <= seconds(20), "{spent:?}");
    for status in [400, 401, 403] {
        let (result, sent, _) = scripted(&[Some(status)], false).await;
        assert_eq!((result, sent), (Err(ErrorKind::Configuration), 1), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn imds_under_update_is_waited_for_up_to_seventy_seconds() {
    let gone = [Some(410); 7];
    let (result, sent, spent) = scripted(&[&gone[..], &[Some(200)]].concat(), false).await;
    assert_eq!((result, sent, spent.as_secs()), (Ok(()), 8, 70));
    let (result, sent, spent) = scripted(&[Some(410)], false).await;
    assert_eq!((result, sent, spent.as_secs()), (Err(ErrorKind::Transient), 8, 70));
    let (result, sent, _) = scripted(&[Some(410)], true).await;
    assert_eq!((result, sent), (Err(ErrorKind::Transient), 1), "only IMDS means an update by it");
}

#[tokio::test(start_paused = true)]
async fn a_day_long_token_is_refreshed_half_way_behind_the_callers_back() {
    let script = Arc::new(Script { answers: Mutex::new(vec![Some(200)]), sent: Mutex::new(0) });
    let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap());
    let identity = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned)
        .settings(&Settings::from_lookup(|_| None))
        .transport(Arc::clone(&script) as Arc<dyn HttpTransport>)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    for (advance, requests) in [(0, 1), (38_000, 1), (5_300, 2), (30_000, 2)] {
        clock.step(time::Duration::seconds(advance));
        identity.get_token(&request()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(*script.sent.lock().unwrap(), requests, "{advance}");
    }
}

/// Threat row 38. The variables are set for a second process, since a process cannot safely change its own.
#[tokio::test]
async fn imds_ignores_proxy_env() {
    const CHILD: &str = "ENTRA_AUTH_TEST_IMDS";
    if let Some(url) = Settings::from_env().lookup(CHILD) {
        let lookup = |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| url.clone());
        let builder = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned);
        builder.settings(&Settings::from_lookup(lookup)).build().unwrap().get_token(&request()).await.unwrap();
        // The trap works: a transport that obeys the environment falls into it.
        let obedient = ReqwestTransport::new().unwrap();
        let request = http::Request::get("http://169.254.169.254/").body(Body::empty()).unwrap();
        assert_eq!(obedient.send(request).await.unwrap().status(), 418);
        return;
    }
    let imds = LocalServer::start([success()]).await;
    let proxy = LocalServer::start([answer(418, "", "")]).await;
    let (imds_url, proxy_url) = (imds.url.clone(), proxy.url.clone());
    let status = tokio::task::spawn_blocking(move || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "imds_ignores_proxy_env"])
            .env(CHILD, imds_url)
            .env("HTTP_PROXY", &proxy_url)
            .env("http_proxy", &proxy_url)
            .env("ALL_PROXY", &proxy_url)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    imds.only();
    assert_eq!(proxy.seen().len(), 1);
}
