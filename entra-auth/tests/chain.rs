//! Chains of credentials: which link is asked, which is remembered, and what the error says.

#![cfg(all(feature = "acquire", feature = "reqwest"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod local_server;

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use entra_auth::{
    AccessToken, ChainError, ChainedTokenCredential, Clock as _, Error, ErrorKind, ManagedIdentityCredential,
    ManagedIdentityId, ServiceCredentials, SystemClock, TokenCredential, TokenRequest, settings::Settings,
};
use local_server::{LocalServer, answer};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";

fn request() -> TokenRequest {
    TokenRequest::new("https://vault.azure.net/.default".parse().unwrap())
}

/// Fails with its kind a number of times, then has a token.
#[derive(Debug)]
struct Link {
    kind: ErrorKind,
    failures: usize,
    asked: AtomicUsize,
}

impl Link {
    fn new(kind: ErrorKind, failures: usize) -> Arc<Self> {
        Arc::new(Self { kind, failures, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenCredential for Link {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(Error::new(self.kind, "no luck").with_retry_after(Some(Duration::from_secs(7))));
        }
        AccessToken::new("t", SystemClock.now() + time::Duration::hours(1))
    }
}

fn chain(links: [&Arc<Link>; 3]) -> ChainedTokenCredential {
    let names = ["first", "second", "third"];
    let links = names.into_iter().zip(links).map(|(n, link)| (n, Arc::clone(link) as Arc<dyn TokenCredential>));
    ChainedTokenCredential::new(links).unwrap()
}

#[tokio::test]
async fn the_first_link_that_works_is_remembered() {
    let (absent, good, never) =
        (Link::new(ErrorKind::Unsupported, 1), Link::new(ErrorKind::Transport, 0), Link::new(ErrorKind::Transport, 0));
    let chain = chain([&absent, &good, &never]);
    assert_eq!(chain.selected(), None);
    for _ in 0..5 {
        chain.get_token(&request()).await.unwrap();
    }
    assert_eq!(chain.selected(), Some("second"));
    // The first one would work by now, but an application does not change its identity while it runs.
    assert_eq!((absent.asked(), good.asked(), never.asked()), (1, 5, 0));
}

#[tokio::test]
async fn a_link_that_is_there_and_fails_is_not_replaced_by_another_identity() {
    for kind in [
        ErrorKind::ClientCredential,
        ErrorKind::Configuration,
        ErrorKind::Transient,
        ErrorKind::Transport,
        ErrorKind::Throttled,
        ErrorKind::PolicyBlocked,
    ] {
        let (absent, failing, other) =
            (Link::new(ErrorKind::Unsupported, 9), Link::new(kind, 1), Link::new(ErrorKind::Transport, 0));
        let chain = chain([&absent, &failing, &other]);
        let error = chain.get_token(&request()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (kind, Some(Duration::from_secs(7))));
        assert_eq!(other.asked(), 0, "{kind:?}");
        assert_eq!(error.to_string(), "no credential of the chain gave a token: first: no luck; second: no luck");
        // When the fault has passed, the same link is asked again.
        chain.get_token(&request()).await.unwrap();
        assert_eq!(chain.selected(), Some("second"));
    }
}

/// The first request decides which identity is used for ever; what it asks for must not.
#[tokio::test]
async fn a_request_that_a_link_cannot_meet_does_not_choose_the_next() {
    let (able, other) = (Link::new(ErrorKind::Unsupported, 1), Link::new(ErrorKind::Transport, 0));
    let chain = chain([&able, &other, &other]);
    let error = chain.get_token(&request().with_tenant(TENANT.parse().unwrap())).await.unwrap_err();
    assert_eq!((error.kind(), other.asked()), (ErrorKind::Unsupported, 0));
    chain.get_token(&request()).await.unwrap();
    assert_eq!(chain.selected(), Some("first"));
}

#[tokio::test]
async fn when_no_link_is_there_the_error_lists_them_all() {
    let absent = Link::new(ErrorKind::Unsupported, 9);
    let inner: Arc<dyn TokenCredential> = Arc::new(chain([&absent, &absent, &absent]));
    let last = Link::new(ErrorKind::Unsupported, 9);
    let outer = ChainedTokenCredential::new([("chain", inner), ("last", last as Arc<dyn TokenCredential>)]).unwrap();
    let error = outer.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    let source = error.source().unwrap().downcast_ref::<ChainError>().unwrap();
    assert_eq!(source.links().map(|(name, _)| name).collect::<Vec<_>>(), ["chain", "last"]);
    assert!(ChainedTokenCredential::new([]).is_err());
}

#[tokio::test]
async fn services_use_the_environment_first() {
    let success = answer(200, "", r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#);
    let server = LocalServer::start([success]).await;
    let variables = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_CLIENT_SECRET", "s"),
        ("AZURE_AUTHORITY_HOST", &server.url),
    ];
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let chain = ChainedTokenCredential::for_services(&Settings::from_lookup(lookup)).unwrap();
    chain.get_token(&request()).await.unwrap();
    assert_eq!(chain.selected(), Some("environment"));
    let sent = server.only();
    assert_eq!(sent.path(), format!("/{TENANT}/oauth2/v2.0/token"));
    assert!(sent.body.contains("client_secret=s") && sent.body.contains(&format!("client_id={CLIENT}")));
}

#[tokio::test]
async fn services_in_a_pod_use_workload_identity() {
    let success = answer(200, "", r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#);
    let server = LocalServer::start([success]).await;
    let file = std::env::temp_dir().join(format!("entra-auth-chain-{}", std::process::id()));
    std::fs::write(&file, "aa.bb.cc").unwrap();
    let lookup = |name: &str| match name {
        "AZURE_TENANT_ID" => Some(TENANT.to_owned()),
        "AZURE_CLIENT_ID" => Some(CLIENT.to_owned()),
        "AZURE_FEDERATED_TOKEN_FILE" => Some(file.display().to_string()),
        "AZURE_AUTHORITY_HOST" => Some(server.url.clone()),
        _ => None,
    };
    let chain = ChainedTokenCredential::for_services(&Settings::from_lookup(lookup)).unwrap();
    chain.get_token(&request()).await.unwrap();
    assert_eq!(chain.selected(), Some("workload identity"));
    assert!(server.only().body.contains("client_assertion=aa.bb.cc"));
    std::fs::remove_file(&file).unwrap();
    assert!(ChainedTokenCredential::for_services(&Settings::from_lookup(lookup)).is_err(), "half set is an error");
}

#[tokio::test]
async fn services_without_secret_use_managed_identity() {
    let success = answer(200, "", r#"{"token_type":"Bearer","expires_in":"3599","access_token":"t"}"#);
    // The first request looks whether there is an IMDS: without the header, which it refuses.
    let server = LocalServer::start([answer(400, "", "{}"), success]).await;
    let lookup = |name: &str| match name {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST" => Some(server.url.clone()),
        "AZURE_CLIENT_ID" => Some(CLIENT.to_owned()),
        _ => None,
    };
    let chain = ServiceCredentials::default().chain(&Settings::from_lookup(lookup)).unwrap();
    chain.get_token(&request()).await.unwrap();
    assert_eq!(chain.selected(), Some("managed identity"));
    let [probe, sent] = &server.seen()[..] else { panic!("two requests") };
    assert_eq!((probe.header("metadata"), probe.query()), (None, vec![]));
    assert_eq!(sent.header("metadata"), Some("true"));
    assert!(sent.query().contains(&("client_id".to_owned(), CLIENT.to_owned())));
}

#[tokio::test]
async fn outside_azure_the_error_says_what_was_looked_for() {
    // Nobody listens on a port that was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lookup = |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| format!("http://{free}"));
    let chain = ChainedTokenCredential::for_services(&Settings::from_lookup(lookup)).unwrap();
    let error = chain.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for part in [
        "environment:",
        "AZURE_CLIENT_SECRET",
        "workload identity:",
        "AZURE_FEDERATED_TOKEN_FILE",
        "managed identity:",
        "no identity endpoint answered",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    // Without probing, the endpoint is asked itself.
    let plain = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned);
    assert!(plain.settings(&Settings::from_lookup(lookup)).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_absent_imds_costs_one_second() {
    #[derive(Debug)]
    struct Hole;
    #[async_trait]
    impl entra_auth::HttpTransport for Hole {
        async fn send(
            &self,
            _: http::Request<entra_auth::Body>,
        ) -> Result<http::Response<entra_auth::Body>, entra_auth::TransportError> {
            std::future::pending().await
        }
    }
    let chain = ServiceCredentials::default().local_transport(Arc::new(Hole)).chain(&Settings::from_lookup(|_| None));
    let started = tokio::time::Instant::now();
    assert!(chain.unwrap().get_token(&request()).await.is_err());
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[test]
fn a_half_set_or_malformed_environment_is_an_error_that_shows_no_value() {
    for variables in [
        &[("AZURE_CLIENT_SECRET", "marker")][..],
        &[("AZURE_CLIENT_SECRET", "marker"), ("AZURE_TENANT_ID", TENANT)],
        &[("AZURE_CLIENT_SECRET", "marker"), ("AZURE_CLIENT_ID", CLIENT)],
        &[
            ("AZURE_CLIENT_CERTIFICATE_PATH", "/absent/marker.pem"),
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", CLIENT),
        ],
        &[
            ("AZURE_CLIENT_CERTIFICATE_PATH", "/absent/x.pem"),
            ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "marker"),
            ("AZURE_TENANT_ID", TENANT),
            ("AZURE_CLIENT_ID", CLIENT),
        ],
        &[("AZURE_CLIENT_ID", "marker")],
        &[("AZURE_TENANT_ID", "common")],
        &[("AZURE_AUTHORITY_HOST", "https://marker.example")],
        &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://marker.example")],
    ] {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let error = ChainedTokenCredential::for_services(&Settings::from_lookup(lookup)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
}
