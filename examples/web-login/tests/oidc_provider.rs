//! The same sign-in against an authorization server of other people: npm `oidc-provider`, in the form of Entra.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::{process::Stdio, time::Duration};

use entra_auth::{
    Authority, AuthorizationAnswer, AuthorizationRequest, ConfidentialClient, ErrorKind, IdTokenValidator, Prompt,
    Scopes, Secret, SignInSession, TenantId, TenantPolicy, TokenCredential, TokenErrorKind, TokenRequest, Users,
};
use support::{Application, Browser, Page, command, script};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
};
use url::Url;

const TENANT: &str = "77777777-0000-4000-8000-000000000007";
const CLIENT: &str = "88888888-0000-4000-8000-000000000008";
const SECRET: &str = "a public & test + value";
const REDIRECT: &str = "http://localhost:3978/auth/callback";

/// The server. Killed when dropped.
struct Provider {
    _child: Child,
    authority: Authority,
}

impl Provider {
    /// `None`, after a line that says so, when the package is missing.
    async fn start(redirect: &str) -> Option<Self> {
        let mut command = script("provider.mjs", &[TENANT, CLIENT, SECRET, redirect])?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the provider has not started");
                if let Some(port) = line.strip_prefix("listening ") {
                    break port.parse::<u16>().unwrap();
                }
            }
        };
        let port = tokio::time::timeout(Duration::from_secs(60), port).await.expect("in time");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { _child: child, authority: format!("http://127.0.0.1:{port}").parse().unwrap() })
    }

    fn users(&self, tenant: &str) -> Users {
        let tenant: TenantId = tenant.parse().unwrap();
        let client = ConfidentialClient::builder(tenant.clone(), CLIENT.parse().unwrap(), Secret::new(SECRET))
            .authority(self.authority.clone())
            .build()
            .unwrap();
        let policy = TenantPolicy::Single(tenant);
        let validator = IdTokenValidator::builder(self.authority.clone(), CLIENT.parse().unwrap(), policy);
        client.users(validator.build().unwrap())
    }
}

/// Fills in the provider's own forms, login and consent, until it sends the browser back.
async fn walk(browser: &mut Browser, start: Url, back: &str, login: &str) -> Url {
    let mut page: Page = browser.get(start).await;
    for _ in 0..12 {
        page = match page.location() {
            Some(next) if next.as_str().starts_with(back) => return next,
            Some(next) => browser.get(next).await,
            None => {
                assert_eq!(page.status, 200, "{}", page.body);
                let (_, rest) = page.body.split_once("action=\"").expect("a form");
                let action = page.url.join(rest.split('"').next().unwrap()).unwrap();
                let prompt = page.hidden("prompt").expect("a prompt");
                let fields = [("prompt", prompt.as_str()), ("login", login), ("password", "any")];
                let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
                browser.post(action, &fields).await
            }
        };
    }
    panic!("the provider never sent the browser back")
}

/// This server gives refresh tokens only to those who ask the user every time.
fn request() -> AuthorizationRequest {
    AuthorizationRequest::new(REDIRECT.parse().unwrap(), "User.Read".parse().unwrap()).prompt(Prompt::Consent)
}

async fn answer(browser: &mut Browser, users: &Users, login: &str) -> (SignInSession, Url) {
    let (url, session) = users.sign_in(request()).unwrap();
    (session, walk(browser, url, REDIRECT, login).await)
}

fn parsed(url: &Url) -> AuthorizationAnswer {
    AuthorizationAnswer::parse(url.query().unwrap()).unwrap()
}

#[tokio::test]
async fn code_pkce_nonce_issuer_and_refresh_agree_with_another_server() {
    let Some(provider) = Provider::start(REDIRECT).await else { return };
    let users = provider.users(TENANT);
    let mut browser = Browser::default();
    let (session, back) = answer(&mut browser, &users, "ada").await;
    // It names its issuer in the answer (RFC 9207), and the issuer is checked.
    assert!(back.query_pairs().any(|(name, value)| name == "iss" && value.ends_with(&format!("/{TENANT}/v2.0"))));
    let signed_in = users.redeem(session, parsed(&back)).await.unwrap();
    assert_eq!(signed_in.account.untrusted_display().name, Some("Somebody ada"));
    assert_eq!(signed_in.account.user_key().tenant().as_str(), TENANT);
    signed_in.id_token.check_access_token(&signed_in.token).unwrap();

    // Silently from here on: cached, then by refresh token, which the server rotates.
    let credential = users.credential(signed_in.account.user_key());
    let ask = async |scope: &str| credential.get_token(&TokenRequest::new(scope.parse::<Scopes>().unwrap())).await;
    assert!(ask("User.Read").await.unwrap().same_as(&signed_in.token));
    let second = ask("openid User.Read Mail.Read").await;
    // More than the user agreed on is not to be had without them.
    assert!(second.is_err(), "{second:?}");
    let renewed = TokenRequest::new("User.Read".parse().unwrap()).with_rejected(signed_in.token.clone());
    let renewed = credential.get_token(&renewed).await.unwrap();
    assert!(!renewed.same_as(&signed_in.token));
    users.sign_out(signed_in.account.user_key()).await.unwrap();
    assert_eq!(ask("User.Read").await.unwrap_err().kind(), ErrorKind::Reauthenticate);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_one_of_the_two() {
    let Some(provider) = Provider::start(REDIRECT).await else { return };
    let users = provider.users(TENANT);
    let mut browser = Browser::default();
    let secret = |session: &SignInSession| session.to_secret().unwrap();
    let changed = |text: &Secret, member: &str, value: &str| {
        let mut kept: serde_json::Value = serde_json::from_str(text.expose()).unwrap();
        kept[member] = value.into();
        SignInSession::from_secret(&kept.to_string().into()).unwrap()
    };

    // The server knows the verifier's challenge.
    let (session, back) = answer(&mut browser, &users, "ada").await;
    let wrong = changed(&secret(&session), "verifier", &"A".repeat(43));
    let error = users.redeem(wrong, parsed(&back)).await.unwrap_err();
    assert_eq!(error.oauth().unwrap().error, "invalid_grant");

    // We know the nonce.
    let (session, back) = answer(&mut browser, &users, "ada").await;
    let error = users.redeem(changed(&secret(&session), "nonce", "another"), parsed(&back)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<entra_auth::TokenError>().unwrap();
    assert_eq!(cause.kind(), TokenErrorKind::NonceMismatch);

    // A code works once.
    let (session, back) = answer(&mut browser, &users, "ada").await;
    let copy = SignInSession::from_secret(&secret(&session)).unwrap();
    users.redeem(session, parsed(&back)).await.unwrap();
    assert_eq!(users.redeem(copy, parsed(&back)).await.unwrap_err().oauth().unwrap().error, "invalid_grant");

    // An answer of another issuer is not believed, and its code goes nowhere.
    let (session, back) = answer(&mut browser, &users, "ada").await;
    let mut foreign = back.clone();
    let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
    foreign.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| match name.as_str() {
        "iss" => (name.as_str(), "https://evil.example/v2.0"),
        _ => (name.as_str(), value.as_str()),
    }));
    let error = users.redeem(session, parsed(&foreign)).await.unwrap_err();
    assert_eq!((error.kind(), error.oauth().is_none()), (ErrorKind::Protocol, true));
}

#[tokio::test]
async fn the_application_signs_its_users_in_there() {
    // The port is part of what the provider compares, so it is chosen first.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redirect = format!("http://localhost:{port}/auth/callback");
    let Some(provider) = Provider::start(&redirect).await else { return };
    let settings = [
        ("PORT", port.to_string()),
        ("AZURE_TENANT_ID", TENANT.to_owned()),
        ("AZURE_AUTHORITY_HOST", provider.authority.url().to_string()),
        ("WEB_CLIENT_ID", CLIENT.to_owned()),
        ("WEB_CLIENT_SECRET", SECRET.to_owned()),
        ("SERVICE_CLIENT_ID", CLIENT.to_owned()),
        ("SERVICE_CLIENT_SECRET", SECRET.to_owned()),
        ("SERVICE_API_SCOPE", "User.Read".to_owned()),
    ];
    let application = Application::start(command(&settings, &["--serve"])).await;
    let mut browser = Browser::default();
    let begun = browser.get(application.url("/login?return_to=/")).await.location().unwrap();
    let back = walk(&mut browser, begun, &redirect, "grace").await;
    let home = browser.open(back.clone()).await;
    assert!(home.body.contains("signed in as <strong>Somebody grace</strong>"), "{}", home.body);
    assert_eq!(browser.get(back).await.status, 400, "a replayed callback");
}
