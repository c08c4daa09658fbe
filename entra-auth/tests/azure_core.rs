//! Credentials of this crate in clients of the Azure SDK, and the other way round. The client is
//! `azure_security_keyvault_secrets::SecretClient`; its requests reach the vault of the sandbox, which validates the bearer
//! by rules of its own.
#![cfg(all(
    feature = "azure-core",
    feature = "acquire",
    feature = "validate",
    feature = "reqwest",
    feature = "test-util"
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken as AzureToken, TokenCredential as AzureCredential, TokenRequestOptions},
    error::{Error as AzureError, ErrorKind as AzureErrorKind},
    http::{AsyncRawResponse, Body as AzureBody, ClientOptions, HttpClient, Transport, headers::Headers},
};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use entra_auth::{
    AccessToken, AsAzureCredential, Authority, Body, ClaimsChallenge, ConfidentialClient, Error, ErrorKind,
    FromAzureCredential, HttpTransport, ManagedIdentityCredential, ManagedIdentityId, ReqwestTransport, Scopes, Secret,
    StaticCredential, TokenCredential, TokenRequest, settings::Settings,
};
use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, BOT_APP_SECRET, RESOURCE_TENANT, VAULT_SECRET, VAULT_SECRET_VALUE},
};
use time::{Duration, OffsetDateTime};
use validate_support::*;

const SECRET: &str = "GET /vault/secrets/{name}";

/// Brings the requests of Azure clients, which insist on https and the host of a vault, to a server on loopback.
#[derive(Debug)]
struct Tunnel {
    to: String,
    transport: ReqwestTransport,
}

#[async_trait]
impl HttpClient for Tunnel {
    async fn execute_request(&self, request: &azure_core::http::Request) -> azure_core::Result<AsyncRawResponse> {
        assert_eq!(request.url().scheme(), "https");
        let broken = |error: &dyn std::error::Error| AzureError::with_message(AzureErrorKind::Io, error.to_string());
        let query = request.url().query().unwrap_or_default();
        let mut forwarded = http::Request::builder().method(request.method().as_ref()).uri(format!(
            "{}{}?{query}",
            self.to,
            request.url().path()
        ));
        for (name, value) in request.headers().iter() {
            forwarded = forwarded.header(name.as_str(), value.as_str());
        }
        let body = match request.body() {
            AzureBody::Bytes(bytes) => Body::from(bytes.clone()),
            AzureBody::SeekableStream(_) => panic!("nothing is streamed here"),
        };
        let forwarded = forwarded.body(body).map_err(|error| broken(&error))?;
        let answer = self.transport.send(forwarded).await.map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        let mut headers = Headers::new();
        for (name, value) in &head.headers {
            headers.insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
        }
        let body = body.collect(1 << 20).await.map_err(|error| broken(&error))?;
        Ok(AsyncRawResponse::from_bytes(head.status.as_u16().into(), headers, body))
    }
}

/// An unmodified client of the Azure SDK. It believes that it talks to `contoso.vault.azure.net`.
fn vault(sandbox: &Sandbox, credential: impl TokenCredential) -> SecretClient {
    let tunnel = Tunnel { to: format!("{}/vault", sandbox.base_url()), transport: ReqwestTransport::new().unwrap() };
    let options = SecretClientOptions {
        client_options: ClientOptions { transport: Some(Transport::new(Arc::new(tunnel))), ..Default::default() },
        ..Default::default()
    };
    let credential = Arc::new(AsAzureCredential::new(credential));
    SecretClient::new("https://contoso.vault.azure.net", credential, Some(options)).unwrap()
}

/// The identity of the sandbox's machine, which may read the vault.
fn identity(sandbox: &Sandbox) -> ManagedIdentityCredential {
    let host = sandbox.base_url();
    let settings =
        Settings::from_lookup(move |name: &str| (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| host.clone()));
    ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned).settings(&settings).build().unwrap()
}

/// What the vault answered, request by request.
fn statuses(sandbox: &Sandbox) -> Vec<u16> {
    sandbox.log(SECRET).iter().map(|request| request.status).collect()
}

#[tokio::test]
async fn a_key_vault_client_reaches_its_vault_with_our_bearer() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let vault = vault(&sandbox, identity(&sandbox));
    for _ in 0..3 {
        let secret = vault.get_secret(VAULT_SECRET, None).await.unwrap().into_model().unwrap();
        assert_eq!(secret.value.as_deref(), Some(VAULT_SECRET_VALUE));
    }
    // Only the first request is refused, which the client sends without a token to learn where to get one.
    assert_eq!(statuses(&sandbox), [401, 200, 200, 200]);
    let asked = sandbox.log("GET /metadata/identity/oauth2/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].parameter("resource"), Some("https://vault.azure.net"));
}

#[tokio::test]
async fn what_the_vault_answers_reaches_the_caller() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let error = vault(&sandbox, identity(&sandbox)).get_secret("nothing", None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(azure_core::http::StatusCode::NotFound));

    // Entra gives this application a token for the vault, but the vault gives it nothing.
    let authority: Authority = format!("{}/entra", sandbox.base_url()).parse().unwrap();
    let bot = ConfidentialClient::builder(
        RESOURCE_TENANT.parse().unwrap(),
        BOT_APP_ID.parse().unwrap(),
        Secret::new(BOT_APP_SECRET),
    )
    .authority(authority)
    .build()
    .unwrap();
    let error = vault(&sandbox, bot).get_secret(VAULT_SECRET, None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(azure_core::http::StatusCode::Forbidden));
    let form = &sandbox.log("POST /entra/{tenant}/oauth2/v2.0/token")[0];
    assert_eq!(form.field("scope"), Some("https://vault.azure.net/.default"));
}

/// Gets tokens for something else than it is asked for.
#[derive(Debug)]
struct Misled(ManagedIdentityCredential);

#[async_trait]
impl TokenCredential for Misled {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        self.0.get_token(&TokenRequest::new("https://ai.azure.com/.default".parse().unwrap())).await
    }
}

#[tokio::test]
async fn a_bearer_that_the_vault_does_not_accept_is_refused() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let forged = StaticCredential::new("forged").unwrap();
    let error = vault(&sandbox, forged).get_secret(VAULT_SECRET, None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(azure_core::http::StatusCode::Unauthorized));
    let misled = Misled(identity(&sandbox));
    let error = vault(&sandbox, misled).get_secret(VAULT_SECRET, None).await.unwrap_err();
    assert_eq!(error.http_status(), Some(azure_core::http::StatusCode::Unauthorized));
    assert!(statuses(&sandbox).len() >= 4 && statuses(&sandbox).iter().all(|status| *status == 401));
}

/// Writes down what is wanted and gives a fixed answer.
#[derive(Debug)]
struct Ours {
    wanted: Mutex<Vec<TokenRequest>>,
    answer: Result<AccessToken, Error>,
}

#[async_trait]
impl TokenCredential for Ours {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        self.wanted.lock().unwrap().push(request.clone());
        self.answer.clone()
    }
}

fn end() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).unwrap() + Duration::hours(1)
}

#[tokio::test]
async fn scopes_tenant_and_end_go_through() {
    let ours = Arc::new(Ours { wanted: Mutex::default(), answer: AccessToken::new("t1", end()) });
    let azure = AsAzureCredential::new(Arc::clone(&ours));
    let token = azure.get_token(&["https://vault.azure.net/.default"], None).await.unwrap();
    assert_eq!((token.token.secret(), token.expires_on), ("t1", end()));
    azure.with_tenant(OTHER_TENANT.parse().unwrap()).get_token(&["a", "b"], None).await.unwrap();
    let wanted = ours.wanted.lock().unwrap();
    assert_eq!(wanted[0].scopes.as_str(), "https://vault.azure.net/.default");
    assert!(wanted[0].tenant.is_none() && wanted[0].claims.is_none());
    assert_eq!(wanted[1].scopes.as_str(), "a b");
    assert_eq!(wanted[1].tenant.as_ref().unwrap().as_str(), OTHER_TENANT);
}

#[tokio::test]
async fn our_errors_are_inside_theirs_and_come_back_whole() {
    let failure = Error::new(ErrorKind::ConsentRequired, "nobody has consented");
    let ours = Ours { wanted: Mutex::default(), answer: Err(failure) };
    let azure = AsAzureCredential::new(ours);
    let error = azure.get_token(&["a"], None).await.unwrap_err();
    assert!(matches!(error.kind(), AzureErrorKind::Credential));
    assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::ConsentRequired);

    let there_and_back = FromAzureCredential::new(Arc::new(azure.clone()));
    let error = there_and_back.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConsentRequired);

    for scopes in [&[][..], &[""], &["a\nb"]] {
        let error = azure.get_token(scopes, None).await.unwrap_err();
        assert_eq!(error.downcast_ref::<Error>().unwrap().kind(), ErrorKind::Configuration, "{scopes:?}");
    }
}

/// A credential of the Azure SDK that writes down its scopes.
#[derive(Debug, Default)]
struct Theirs {
    scopes: Mutex<Vec<String>>,
    fails: Option<fn() -> AzureError>,
}

#[async_trait]
impl AzureCredential for Theirs {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AzureToken> {
        self.scopes.lock().unwrap().push(scopes.join("|"));
        match self.fails {
            Some(error) => Err(error()),
            None => Ok(AzureToken::new("theirs", end())),
        }
    }
}

fn request() -> TokenRequest {
    TokenRequest::new(Scopes::new(["https://graph.microsoft.com/.default"]).unwrap())
}

fn from(theirs: &Arc<Theirs>) -> FromAzureCredential {
    FromAzureCredential::new(Arc::clone(theirs) as Arc<dyn AzureCredential>).with_clock(Arc::new(clock()))
}

#[tokio::test]
async fn their_credential_gets_tokens_for_us_and_refuses_what_it_cannot_do() {
    let theirs = Arc::new(Theirs::default());
    let credential = from(&theirs);
    let token = credential.get_token(&request()).await.unwrap();
    assert_eq!((token.expose(), token.expires_on()), ("theirs", end()));
    assert_eq!(*theirs.scopes.lock().unwrap(), ["https://graph.microsoft.com/.default"]);

    let challenge = ClaimsChallenge::from_json(r#"{"access_token":{}}"#).unwrap();
    let impossible = [
        request().with_claims(challenge),
        request().with_tenant(TENANT.parse().unwrap()),
        request().with_rejected(token.clone()),
    ];
    for request in impossible {
        assert_eq!(credential.get_token(&request).await.unwrap_err().kind(), ErrorKind::Unsupported, "{request:?}");
    }
    assert_eq!(theirs.scopes.lock().unwrap().len(), 2, "claims and tenants are refused before asking");
    let other = AccessToken::new("older", end()).unwrap();
    assert!(credential.get_token(&request().with_rejected(other)).await.is_ok(), "a newer one replaces a refused one");

    let late = clock();
    late.step(Duration::hours(1));
    let ended = from(&theirs).with_clock(Arc::new(late)).get_token(&request()).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Protocol, "a token that has ended is none");
}

#[tokio::test]
async fn their_errors_keep_kind_and_code_and_lose_the_text() {
    type Case = (fn() -> AzureError, ErrorKind, &'static [u32]);
    let cases: [Case; 6] = [
        (
            || AzureError::with_message(AzureErrorKind::Credential, "AADSTS7000215: marker ada@contoso.example"),
            ErrorKind::Configuration,
            &[7000215],
        ),
        (|| AzureError::with_message(AzureErrorKind::Io, "marker"), ErrorKind::Transport, &[]),
        (|| http_error(429), ErrorKind::Throttled, &[]),
        (|| http_error(503), ErrorKind::Transient, &[]),
        (|| http_error(401), ErrorKind::Configuration, &[]),
        (|| AzureError::with_message(AzureErrorKind::DataConversion, "marker AADSTS"), ErrorKind::Protocol, &[]),
    ];
    for (fails, kind, codes) in cases {
        let theirs = Arc::new(Theirs { scopes: Mutex::default(), fails: Some(fails) });
        let error = from(&theirs).get_token(&request()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.oauth().map_or(&[][..], |oauth| &oauth.error_codes), codes);
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
}

fn http_error(status: u16) -> AzureError {
    let kind = AzureErrorKind::HttpResponse {
        status: status.into(),
        error_code: Some("marker".to_owned()),
        raw_response: None,
    };
    AzureError::with_message(kind, "marker")
}
