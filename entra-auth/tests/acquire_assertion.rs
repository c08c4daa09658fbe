//! Client assertions of others: functions, projected token files, other credentials.

#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acquire_certificate_support;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use acquire_certificate_support::*;
use async_trait::async_trait;
use entra_auth::{
    AccessToken, Assertion, AssertionRequest, ClientAssertion, ConfidentialClient, Error, ErrorKind, TokenCredential,
    TokenRequest, WorkloadIdentity, settings::Settings,
};
use time::Duration;

fn numbered(calls: &Arc<Mutex<Vec<AssertionRequest>>>, reuse: Option<Duration>) -> ClientAssertion {
    let calls = Arc::clone(calls);
    ClientAssertion::from_fn(move |request| {
        let calls = Arc::clone(&calls);
        async move {
            let mut calls = calls.lock().unwrap();
            calls.push(request);
            let jwt = format!("assertion.{}.s", calls.len());
            Ok(reuse.map_or_else(|| Assertion::once(&*jwt), |reuse| Assertion::reusable_until(&*jwt, now() + reuse)))
        }
    })
}

async fn sent(server: &wiremock::MockServer) -> Vec<String> {
    forms(server).await.into_iter().map(|mut form| form.remove("client_assertion").unwrap()).collect()
}

#[tokio::test]
async fn a_function_is_asked_for_each_request() {
    let (calls, server) = (Arc::default(), endpoint(success()).await);
    let client = client(&server, numbered(&calls, None));
    let id = "33333333-3333-3333-3333-333333333333";
    client.get_token(&request(1).with_correlation_id(id.parse().unwrap())).await.unwrap();
    client.get_token(&request(1)).await.unwrap();
    client.get_token(&request(2)).await.unwrap();
    assert_eq!(sent(&server).await, ["assertion.1.s", "assertion.2.s"]);
    let expected = [
        ("client_assertion", "assertion.1.s"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_id", CLIENT),
        ("grant_type", "client_credentials"),
        ("scope", "api://resource-1/.default"),
    ];
    assert_eq!(forms(&server).await[0], expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].client_id.as_str(), CLIENT);
    assert_eq!(calls[0].tenant.as_str(), TENANT);
    assert_eq!(calls[0].token_endpoint.as_str(), format!("{}/entra/{TENANT}/oauth2/v2.0/token", server.uri()));
    assert_eq!(calls[0].correlation_id.as_str(), id);
}

#[tokio::test]
async fn an_assertion_is_used_again_only_as_long_as_its_source_says() {
    let (calls, server) = (Arc::default(), endpoint(success()).await);
    let client = client(&server, numbered(&calls, Some(Duration::seconds(60))));
    client.get_token(&request(1)).await.unwrap();
    client.get_token(&request(2)).await.unwrap();
    let other = "44444444-4444-4444-4444-444444444444";
    client.get_token(&request(1).with_tenant(other.parse().unwrap())).await.unwrap();
    assert_eq!(sent(&server).await, ["assertion.1.s", "assertion.1.s", "assertion.2.s"], "one an endpoint");

    let (calls, server) = (Arc::default(), endpoint(success()).await);
    let over = acquire_certificate_support::client(&server, numbered(&calls, Some(Duration::ZERO)));
    over.get_token(&request(1)).await.unwrap();
    over.get_token(&request(2)).await.unwrap();
    assert_eq!(sent(&server).await, ["assertion.1.s", "assertion.2.s"]);
}

#[tokio::test]
async fn a_kept_assertion_that_is_refused_is_renewed_at_once_and_once() {
    let (calls, count) = (Arc::default(), AtomicU32::new(0));
    let server = endpoint(move |_: &wiremock::Request| match count.fetch_add(1, Ordering::SeqCst) {
        1 | 3.. => refusal(700_024),
        _ => success(),
    })
    .await;
    let client = client(&server, numbered(&calls, Some(Duration::hours(1))));
    client.get_token(&request(1)).await.unwrap();
    client.get_token(&request(2)).await.unwrap();
    assert_eq!(sent(&server).await, ["assertion.1.s", "assertion.1.s", "assertion.2.s"]);
    let error = client.get_token(&request(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert_eq!(sent(&server).await[3..], ["assertion.2.s", "assertion.3.s"]);
}

#[tokio::test]
async fn a_fresh_assertion_that_is_refused_is_not_repeated() {
    let (calls, server) = (Arc::default(), endpoint(refusal(700_024)).await);
    client(&server, numbered(&calls, None)).get_token(&request(1)).await.unwrap_err();
    assert_eq!(sent(&server).await.len(), 1);
}

#[tokio::test]
async fn errors_and_empty_assertions_send_nothing() {
    let server = endpoint(success()).await;
    let failing = ClientAssertion::from_fn(|_| async { Err(Error::new(ErrorKind::Transient, "the issuer sleeps")) });
    let error = client(&server, failing).get_token(&request(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Transient, "the issuer sleeps"));
    let empty = ClientAssertion::from_fn(|_| async { Ok(Assertion::once("")) });
    let error = client(&server, empty).get_token(&request(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(forms(&server).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_named() {
    let never = ClientAssertion::from_fn(|_| std::future::pending());
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), never).build().unwrap();
    let error = client.get_token(&request(1)).await.unwrap_err();
    assert!(error.to_string().contains("did not answer in 8 s"), "{error}");
}

#[tokio::test]
async fn a_token_file_is_read_for_each_request() {
    let folder = Folder::new();
    let path = folder.write("token", "header.one.signature\n");
    let server = endpoint(success()).await;
    let client = client(&server, ClientAssertion::from_file(&path).unwrap());
    client.get_token(&request(1)).await.unwrap();
    fs::write(&path, "header.two.signature").unwrap();
    client.get_token(&request(2)).await.unwrap();
    fs::remove_file(&path).unwrap();
    let error = client.get_token(&request(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    assert!(error.to_string().contains("does not exist; check path and mount"), "{error}");
    assert_eq!(sent(&server).await, ["header.one.signature", "header.two.signature"], "unchanged but for white space");
}

#[tokio::test]
async fn a_token_file_renewed_during_a_refusal_is_tried_once_more() {
    let folder = Folder::new();
    let path = folder.write("token", "header.one.signature");
    let (file, count) = (path.clone(), AtomicU32::new(0));
    let server = endpoint(move |_: &wiremock::Request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => {
            fs::write(&file, "header.two.signature").unwrap();
            refusal(700_024)
        }
        _ => success(),
    })
    .await;
    client(&server, ClientAssertion::from_file(&path).unwrap()).get_token(&request(1)).await.unwrap();
    assert_eq!(sent(&server).await, ["header.one.signature", "header.two.signature"]);
}

#[test]
fn assertion_file_rules() {
    let folder = Folder::new();
    for (path, expected) in [
        (folder.path("missing"), "does not exist; check path and mount"),
        (folder.path(""), "no regular file"),
        (folder.write("empty", ""), "is empty"),
        (folder.write("large", vec![b'x'; (16 << 10) + 1]), "larger than 16384 bytes"),
        (folder.write("secret", "marker"), "holds no JWT"),
        (folder.write("spaces", "mar ker.b.c"), "holds no JWT"),
        (folder.write("binary", [0xff, b'.', b'.']), "holds no JWT"),
    ] {
        let error = ClientAssertion::from_file(path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("mar"), "{error:?}");
    }
    let most = format!("a.{}.c", "b".repeat((16 << 10) - 4));
    assert!(ClientAssertion::from_file(folder.write("most", most)).is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn links_stay_in_their_mount() {
    use std::os::unix::fs::symlink;
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    // What a projected volume looks like, and how it swaps.
    for (version, token) in [("..1", "header.one.signature"), ("..2", "header.two.signature")] {
        fs::create_dir(folder.path(version)).unwrap();
        fs::write(folder.path(version).join("token"), token).unwrap();
    }
    symlink("..1", folder.path("..data")).unwrap();
    symlink("..data/token", folder.path("token")).unwrap();
    let server = endpoint(success()).await;
    let client = client(&server, ClientAssertion::from_file(folder.path("token")).unwrap());
    client.get_token(&request(1)).await.unwrap();
    symlink("..2", folder.path("..new")).unwrap();
    fs::rename(folder.path("..new"), folder.path("..data")).unwrap();
    client.get_token(&request(2)).await.unwrap();
    // Somebody puts a link to another audience's token in its place.
    let foreign = elsewhere.write("token", "header.foreign.signature");
    fs::remove_file(folder.path("token")).unwrap();
    symlink(&foreign, folder.path("token")).unwrap();
    let error = client.get_token(&request(3)).await.unwrap_err();
    assert!(error.to_string().contains("leads out of its own folder"), "{error}");
    assert_eq!(sent(&server).await, ["header.one.signature", "header.two.signature"]);
    // A pipe without a writer would block whoever opens it.
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = ClientAssertion::from_file(pipe).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[tokio::test]
async fn workload_identity_from_settings() {
    let folder = Folder::new();
    let path = folder.write("token", "header.one.signature");
    let server = endpoint(success()).await;
    let authority = format!("{}/entra/", server.uri());
    let mut settings = Settings::from_lookup(|name: &str| match name {
        "AZURE_TENANT_ID" => Some(TENANT.to_owned()),
        "AZURE_CLIENT_ID" => Some(CLIENT.to_owned()),
        "AZURE_FEDERATED_TOKEN_FILE" => Some(path.display().to_string()),
        "AZURE_AUTHORITY_HOST" => Some(authority.clone()),
        _ => None,
    });
    let identity = WorkloadIdentity::from_settings(&mut settings);
    let client = settings.finish(|| identity).unwrap().client().build().unwrap();
    client.get_token(&request(1)).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests[0].url.path(), format!("/entra/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(form(&requests[0])["client_id"], CLIENT);
    assert_eq!(sent(&server).await, ["header.one.signature"]);

    let mut settings = Settings::from_lookup(|name: &str| {
        (name == "AZURE_FEDERATED_TOKEN_FILE").then(|| folder.path("missing").display().to_string())
    });
    assert!(WorkloadIdentity::from_settings(&mut settings).is_none());
    let error = settings.finish(|| Some(())).unwrap_err().to_string();
    for expected in
        ["AZURE_TENANT_ID is not set", "AZURE_CLIENT_ID is not set", "AZURE_FEDERATED_TOKEN_FILE: the token file"]
    {
        assert!(error.contains(expected), "{error}");
    }
}

/// A managed identity.
#[derive(Debug, Default)]
struct Other {
    requests: Mutex<Vec<TokenRequest>>,
}

#[async_trait]
impl TokenCredential for Other {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        self.requests.lock().unwrap().push(request.clone());
        let generation = if request.rejected.is_some() { "second" } else { "first" };
        AccessToken::new(format!("mi.{generation}.marker"), now() + Duration::hours(1))
    }
}

#[tokio::test]
async fn another_credential_is_a_federated_credential() {
    let (other, count) = (Arc::new(Other::default()), AtomicU32::new(0));
    let server = endpoint(move |_: &wiremock::Request| match count.fetch_add(1, Ordering::SeqCst) {
        0 => refusal(700_024),
        _ => success(),
    })
    .await;
    let assertion = ClientAssertion::from_credential(Arc::clone(&other) as Arc<dyn TokenCredential>);
    client(&server, assertion.clone()).get_token(&request(1)).await.unwrap();
    assert_eq!(sent(&server).await, ["mi.first.marker", "mi.second.marker"]);
    let foreign = "api://AzureADTokenExchangeUSGov/.default";
    let assertion =
        ClientAssertion::from_credential_for(Arc::clone(&other) as Arc<dyn TokenCredential>, foreign.parse().unwrap());
    client(&server, assertion.clone()).get_token(&request(2)).await.unwrap();
    let requests = other.requests.lock().unwrap();
    let scopes: Vec<_> = requests.iter().map(|request| request.scopes.to_string()).collect();
    let public = "api://AzureADTokenExchange/.default";
    assert_eq!(scopes, [public, public, foreign]);
    assert_eq!(requests[1].rejected.as_ref().unwrap().expose(), "mi.first.marker");
    drop(requests);
    let shown = format!("{:?} {assertion:?}", Assertion::once("marker"));
    assert!(!shown.contains("marker"), "{shown}");
}
