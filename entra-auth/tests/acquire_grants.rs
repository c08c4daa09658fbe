//! Users sign in by browser: what goes to the browser and over the wire, what is kept, and what a bad answer brings about.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acquire_support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use acquire_support::{CLIENT, Form, NOW, TENANT, World, failure, map, oid, success, world};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AuthorizationAnswer, AuthorizationRequest, Body, ClaimsChallenge, ErrorKind, HttpTransport, MemoryStore, Prompt,
    PublicClient, RetryPolicy, ReturnPath, Secret, SessionKey, SignInSession, SignInStore, SignedIn, TokenCredential,
    TokenRequest, TransportError, TransportErrorKind, Users,
};
use serde_json::{Value, json};
use url::Url;

const REDIRECT: &str = "https://app.example/signed-in";
const WIRE_SCOPES: &str = "offline_access openid profile User.Read";

fn sign_in() -> AuthorizationRequest {
    AuthorizationRequest::new(REDIRECT.parse().unwrap(), "User.Read".parse().unwrap())
}

fn query(url: &Url) -> Form {
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let map: Form = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter stands twice");
    map
}

fn answer(state: &str) -> AuthorizationAnswer {
    AuthorizationAnswer::parse(&format!("code=the%2Fcode&state={state}&session_state=x")).unwrap()
}

/// Answers every grant for one user; the access token counts up.
fn brings_tokens(world: &World, number: u8, nonce: String) {
    let (signer, count) = (world.signer(), AtomicUsize::new(0));
    let refresh = if number == 1 { "refresh-".to_owned() } else { format!("refresh-of-{number}-") };
    world.answers(move |_, form| {
        let count = count.fetch_add(1, Ordering::SeqCst) + 1;
        let extra = match form["grant_type"].as_str() {
            "authorization_code" => json!({"nonce": nonce}),
            _ => json!({}),
        };
        success(
            &format!("access-{count}"),
            &json!({"refresh_token": format!("{refresh}{count}"), "id_token": signer.id_token(number, &extra)}),
        )
    });
}

/// A whole sign-in of one user.
async fn signed_in(world: &World, users: &Users, number: u8) -> SignedIn {
    let (url, session) = users.sign_in(sign_in()).unwrap();
    let query = query(&url);
    brings_tokens(world, number, query["nonce"].clone());
    users.redeem(session, answer(&query["state"])).await.unwrap()
}

#[tokio::test]
async fn the_authorize_url_member_by_member() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let (url, session) = users.sign_in(sign_in()).unwrap();
    assert_eq!(url.path(), format!("/entra/{TENANT}/oauth2/v2.0/authorize"));
    let sent = query(&url);
    let mut expected = map([
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("response_mode", "query"),
        ("scope", WIRE_SCOPES),
        ("code_challenge_method", "S256"),
    ]);
    for random in ["state", "nonce", "code_challenge"] {
        assert_eq!(URL_SAFE_NO_PAD.decode(&sent[random]).unwrap().len(), 32, "{random}: 256 bits");
        expected.insert(random.to_owned(), sent[random].clone());
    }
    assert_eq!(sent, expected);
    assert!(!["s3&cret", "s3%26cret"].iter().any(|secret| url.as_str().contains(secret)), "no secret in a URL");
    let kept: Value = serde_json::from_str(session.to_secret().unwrap().expose()).unwrap();
    assert!(!url.as_str().contains(kept["verifier"].as_str().unwrap()), "no verifier in a URL");
    assert!(!format!("{session:?}").contains(kept["state"].as_str().unwrap()));

    let (other, _) = users.sign_in(sign_in()).unwrap();
    for random in ["state", "nonce", "code_challenge"] {
        assert_ne!(sent[random], query(&other)[random]);
    }
}

#[tokio::test]
async fn everything_that_can_be_asked_of_a_sign_in() {
    let world = world().await;
    let users = world.public().users(world.id_tokens());
    let claims = ClaimsChallenge::from_json(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#).unwrap();
    let full = sign_in()
        .tenant("contoso.onmicrosoft.com".parse().unwrap())
        .prompt(Prompt::SelectAccount)
        .login_hint("a&b@example.com")
        .domain_hint("example.com")
        .claims(claims.clone())
        .max_age(Duration::from_secs(600))
        .form_post()
        .return_to(ReturnPath::parse("/stories").unwrap());
    let (url, session) = users.sign_in(full).unwrap();
    assert_eq!(url.path(), "/entra/contoso.onmicrosoft.com/oauth2/v2.0/authorize");
    let sent = query(&url);
    for (name, value) in [
        ("prompt", "select_account"),
        ("login_hint", "a&b@example.com"),
        ("domain_hint", "example.com"),
        ("claims", claims.as_str()),
        ("max_age", "600"),
        ("response_mode", "form_post"),
    ] {
        assert_eq!(sent[name], value);
    }
    let session = SignInSession::from_secret(&session.to_secret().unwrap()).unwrap();
    assert_eq!(session.return_to().unwrap().as_str(), "/stories");
    for broken in ["", "{}", r#"{"v":2}"#] {
        assert!(SignInSession::from_secret(&broken.into()).is_none());
    }

    // What a code must never be sent to.
    for (redirect, confidential, public) in [
        ("http://app.example/", false, false),
        ("https://app.example/#f", false, false),
        ("https://u:p@app.example/", false, false),
        ("msal22222222://auth", false, true),
        ("http://localhost:8080/", true, true),
    ] {
        let ask = || AuthorizationRequest::new(redirect.parse().unwrap(), "User.Read".parse().unwrap());
        assert_eq!(users.sign_in(ask()).is_ok(), public, "{redirect}");
        let users = world.confidential().users(world.id_tokens());
        assert_eq!(users.sign_in(ask()).is_ok(), confidential, "{redirect}");
    }
}

#[tokio::test]
async fn the_redemption_member_by_member() {
    let world = world().await;
    for public in [false, true] {
        let users = match public {
            true => world.public().users(world.id_tokens()),
            false => world.confidential().users(world.id_tokens()),
        };
        let (url, session) = users.sign_in(sign_in()).unwrap();
        let sent = query(&url);
        brings_tokens(&world, 1, sent["nonce"].clone());
        let got = users.redeem(session, answer(&sent["state"])).await.unwrap();
        assert_eq!(got.token.expose(), "access-1");
        assert_eq!(got.account.user_key().object_id().as_str(), oid(1));
        assert_eq!(got.account.untrusted_display().username, Some("marker@example.com"));
        assert!(!format!("{got:?} {users:?}").contains("arker"), "{got:?}");

        let last = world.server.received_requests().await.unwrap().pop().unwrap();
        assert_eq!(last.url.path(), format!("/entra/{TENANT}/oauth2/v2.0/token"));
        assert!(!last.headers.contains_key("origin"));
        let mut form = acquire_support::form(&last);
        let verifier = form.remove("code_verifier").unwrap();
        let challenge = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        assert_eq!(URL_SAFE_NO_PAD.encode(challenge), sent["code_challenge"]);
        let mut expected = map([
            ("grant_type", "authorization_code"),
            ("code", "the/code"),
            ("redirect_uri", REDIRECT),
            ("scope", WIRE_SCOPES),
            ("client_id", CLIENT),
        ]);
        if !public {
            expected.insert("client_secret".to_owned(), "s3&cret".to_owned());
        }
        assert_eq!(form, expected);
    }
}

#[tokio::test]
async fn state_single_use() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let store = SignInStore::new(Arc::new(MemoryStore::default()));
    let (url, session) = users.sign_in(sign_in()).unwrap();
    let state = query(&url)["state"].clone();
    store.keep("browser", &session).await.unwrap();
    assert!(store.take("another browser", &answer(&state)).await.unwrap().is_none(), "bound to the browser");
    assert!(store.take("browser", &answer("guess")).await.unwrap().is_none());
    assert!(store.take("browser", &AuthorizationAnswer::parse("code=c").unwrap()).await.unwrap().is_none());
    assert!(store.take("browser", &answer(&state)).await.unwrap().is_some());
    assert!(store.take("browser", &answer(&state)).await.unwrap().is_none(), "single use");
}

#[tokio::test]
async fn answers_that_belong_to_another_sign_in_send_nothing() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let issuer =
        |issuer: &str| format!("&iss={}", url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect::<String>());
    for (state, more, late, kind) in [
        ("x", String::new(), 0, ErrorKind::Reauthenticate),
        ("", String::new(), 0, ErrorKind::Reauthenticate),
        ("own", String::new(), 601, ErrorKind::Reauthenticate),
        ("own", issuer("https://evil.example"), 0, ErrorKind::Protocol),
        ("own", issuer(&world.issuer.replace("1111-", "1112-")), 0, ErrorKind::Protocol),
    ] {
        let (url, session) = users.sign_in(sign_in()).unwrap();
        let state = state.replace("own", &query(&url)["state"]);
        let answer = AuthorizationAnswer::parse(&format!("code=marker&state={state}{more}")).unwrap();
        world.clock.step(time::Duration::seconds(late));
        let error = users.redeem(session, answer).await.unwrap_err();
        world.clock.step(time::Duration::seconds(-late));
        assert_eq!(error.kind(), kind, "{state}{more}");
        assert!(!format!("{error} {error:?}").contains("marker"));
    }
    // An error from elsewhere does not count either.
    let (_, session) = users.sign_in(sign_in()).unwrap();
    let answer = AuthorizationAnswer::parse("error=access_denied&state=x").unwrap();
    assert_eq!(users.redeem(session, answer).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    assert_eq!(world.requests().await, 0);

    // The right issuer passes, whichever way its tenant was named.
    for tenant in [TENANT, "contoso.onmicrosoft.com"] {
        for (issuer, good) in [(issuer(&world.issuer), true), (issuer("https://evil.example/v2.0"), false)] {
            let (url, session) = users.sign_in(sign_in().tenant(tenant.parse().unwrap())).unwrap();
            let sent = query(&url);
            brings_tokens(&world, 1, sent["nonce"].clone());
            let answer = AuthorizationAnswer::parse(&format!("code=c&state={}{issuer}", sent["state"])).unwrap();
            assert_eq!(users.redeem(session, answer).await.is_ok(), good, "{tenant} {issuer}");
        }
    }
}

/// `nonce_single_use`, and everything else that makes an id token no proof of this sign-in.
#[tokio::test]
async fn without_a_good_id_token_nobody_has_signed_in() {
    let world = world().await;
    let other = "99999999-9999-9999-9999-999999999999";
    for (name, extra, kind) in [
        ("nonce of another sign-in", json!({"nonce": "another"}), ErrorKind::Protocol),
        ("no nonce", json!({"nonce": null}), ErrorKind::Protocol),
        ("for another client", json!({"aud": other}), ErrorKind::Protocol),
        ("of another tenant", json!({"tid": other}), ErrorKind::Protocol),
        ("of another issuer", json!({"iss": "https://evil.example"}), ErrorKind::Protocol),
        ("expired", json!({"exp": NOW - 3600, "iat": NOW - 7200, "nbf": NOW - 7200}), ErrorKind::Protocol),
        ("an access token", json!({"scp": "access_as_user"}), ErrorKind::Protocol),
        ("without a user", json!({"oid": null}), ErrorKind::Protocol),
    ] {
        let users = world.confidential().users(world.id_tokens());
        let (url, session) = users.sign_in(sign_in()).unwrap();
        let sent = query(&url);
        let signer = world.signer();
        let nonce = sent["nonce"].clone();
        world.answers(move |_, _| {
            let mut claims = json!({"nonce": nonce});
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            success("access", &json!({"refresh_token": "refresh", "id_token": signer.id_token(1, &claims)}))
        });
        let error = users.redeem(session, answer(&sent["state"])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}");
        assert!(users.accounts().is_empty(), "{name}");
    }
    for (name, template) in [
        ("none", success("access", &json!({"refresh_token": "refresh"}))),
        ("no JWT", success("access", &json!({"id_token": "a.b.c"}))),
        ("unsigned", success("access", &json!({"id_token": "eyJhbGciOiJub25lIn0.e30."}))),
        ("no access token", wiremock::ResponseTemplate::new(200).set_body_json(json!({"id_token": "a.b.c"}))),
        ("HTML", wiremock::ResponseTemplate::new(200).set_body_string("<html>marker</html>")),
        ("a redirect", wiremock::ResponseTemplate::new(307).insert_header("location", "https://evil.example/")),
    ] {
        let users = world.confidential().users(world.id_tokens());
        let (url, session) = users.sign_in(sign_in()).unwrap();
        world.answers(move |_, _| template.clone());
        let error = users.redeem(session, answer(&query(&url)["state"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{name}");
        assert!(users.accounts().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn refusals_of_a_code_are_typed_and_not_repeated() {
    let world = world().await;
    for (status, error, code, kind) in [
        (400, "invalid_grant", 54005, ErrorKind::Reauthenticate),
        (400, "invalid_grant", 70008, ErrorKind::Reauthenticate),
        (400, "invalid_grant", 501_481, ErrorKind::Configuration),
        (401, "invalid_client", 7_000_215, ErrorKind::ClientCredential),
        (503, "temporarily_unavailable", 0, ErrorKind::Transient),
        (429, "", 0, ErrorKind::Throttled),
        (500, "", 0, ErrorKind::Transient),
    ] {
        let users = world.confidential().users(world.id_tokens());
        let (url, session) = users.sign_in(sign_in()).unwrap();
        let before = world.requests().await;
        world.answers(move |_, _| {
            wiremock::ResponseTemplate::new(status).set_body_json(json!({"error": error, "error_codes": [code]}))
        });
        let error = users.redeem(session, answer(&query(&url)["state"])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
        assert_eq!(world.requests().await - before, 1, "a code is sent once, status {status}");
    }
}

/// Fails in a given way, and counts.
#[derive(Debug)]
struct Broken(TransportErrorKind, Arc<AtomicUsize>);

#[async_trait]
impl HttpTransport for Broken {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Err(TransportError::new(self.0, std::io::Error::other("broken")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_is_sent_again_only_when_no_byte_left() {
    let world = world().await;
    for (kind, sends) in [
        (TransportErrorKind::NotSent, 3),
        (TransportErrorKind::Timeout, 1),
        (TransportErrorKind::Interrupted, 1),
        (TransportErrorKind::Other, 1),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let client = PublicClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap())
            .authority(world.authority.clone())
            .clock(Arc::new(world.clock.clone()))
            .transport(Arc::new(Broken(kind, Arc::clone(&count))))
            .retry(RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(2)))
            .build()
            .unwrap();
        let users = client.users(world.id_tokens());
        let (url, session) = users.sign_in(sign_in()).unwrap();
        let error = users.redeem(session, answer(&query(&url)["state"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport);
        assert_eq!(count.load(Ordering::SeqCst), sends, "{kind:?}");
    }
}

#[tokio::test]
async fn a_known_user_gets_tokens_without_being_asked() {
    let world = world().await;
    let client = world.confidential();
    let users = client.users(world.id_tokens());
    let first = signed_in(&world, &users, 1).await;
    let credential = users.credential(first.account.user_key());

    // The scopes of the sign-in cost nothing more, however they are written.
    for scopes in ["User.Read", "user.read openid", "offline_access User.Read profile"] {
        let token = credential.get_token(&TokenRequest::new(scopes.parse().unwrap())).await.unwrap();
        assert_eq!(token.expose(), "access-1", "{scopes}");
    }
    assert_eq!(world.requests().await, 1);

    // Other scopes come by refresh token, once.
    for _ in 0..2 {
        let token = credential.get_token(&TokenRequest::new("Mail.Read".parse().unwrap())).await.unwrap();
        assert_eq!(token.expose(), "access-2");
    }
    let forms = world.forms().await;
    assert_eq!(forms.len(), 2);
    assert_eq!(
        forms[1],
        map([
            ("grant_type", "refresh_token"),
            ("refresh_token", "refresh-1"),
            ("scope", "Mail.Read offline_access openid profile"),
            ("client_id", CLIENT),
            ("client_secret", "s3&cret"),
        ])
    );
    // The refresh token that came back took the place of the old one.
    credential.get_token(&TokenRequest::new("Files.Read".parse().unwrap())).await.unwrap();
    assert_eq!(world.forms().await[2]["refresh_token"], "refresh-2");
    // None coming back leaves the old one.
    world.answers(|_, _| success("access", &json!({})));
    for scope in ["A.Read", "B.Read"] {
        credential.get_token(&TokenRequest::new(scope.parse().unwrap())).await.unwrap();
        assert_eq!(world.forms().await.last().unwrap()["refresh_token"], "refresh-3");
    }

    // A challenge bypasses the cache and goes along.
    let claims = ClaimsChallenge::from_json(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#).unwrap();
    let request = TokenRequest::new("User.Read".parse().unwrap()).with_claims(claims.clone());
    credential.get_token(&request).await.unwrap();
    assert_eq!(world.forms().await.last().unwrap()["claims"], claims.as_str());

    // What a credential of one user cannot do.
    let foreign = TokenRequest::new("User.Read".parse().unwrap())
        .with_tenant("99999999-9999-9999-9999-999999999999".parse().unwrap());
    assert_eq!(credential.get_token(&foreign).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let nothing = TokenRequest::new("openid profile".parse().unwrap());
    assert_eq!(credential.get_token(&nothing).await.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn users_do_not_get_each_others_tokens() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let [one, two] = [signed_in(&world, &users, 1).await, signed_in(&world, &users, 2).await];
    world.answers(|_, form| success(&format!("for-{}", form["refresh_token"]), &json!({})));
    let request = TokenRequest::new("Mail.Read".parse().unwrap());
    for _ in 0..2 {
        for (user, token) in [(&one, "for-refresh-1"), (&two, "for-refresh-of-2-1")] {
            let credential = users.credential(user.account.user_key());
            assert_eq!(credential.get_token(&request).await.unwrap().expose(), token);
        }
    }
    assert_eq!(world.requests().await, 4);
    let mut known: Vec<String> =
        users.accounts().iter().map(|account| account.user_key().object_id().to_string()).collect();
    known.sort();
    assert_eq!(known, [oid(1), oid(2)]);
}

#[tokio::test]
async fn sign_out_removes_all_entries() {
    let world = world().await;
    let client = world.confidential();
    let users = client.users(world.id_tokens());
    let [one, two] = [signed_in(&world, &users, 1).await, signed_in(&world, &users, 2).await];
    let assertion = world.user_token(1, json!({})).await.assertion_for(client.client_id(), &[""; 0]).unwrap();
    let key = SessionKey::random().unwrap();
    let scopes = "User.Read".parse().unwrap();
    client.start_long_running(&assertion, &key, &scopes).await.unwrap();
    let request = TokenRequest::new(scopes);
    client.on_behalf_of(assertion.clone()).get_token(&request).await.unwrap();

    let user = one.account.user_key();
    users.sign_out(user).await.unwrap();
    assert!(users.account(user).is_none());
    assert_eq!(users.accounts().len(), 1);
    let before = world.requests().await;
    for gone in [users.credential(user), client.long_running(user, &key)] {
        assert_eq!(gone.get_token(&request).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    }
    assert_eq!(world.requests().await, before, "nothing is asked for somebody who left");
    users.credential(two.account.user_key()).get_token(&request).await.unwrap();
    assert_eq!(world.requests().await, before, "the other user's tokens are still there");
    client.on_behalf_of(assertion).get_token(&request).await.unwrap();
    assert_eq!(world.requests().await, before + 1, "the exchanged token was forgotten");

    // Who comes back starts afresh.
    let again = signed_in(&world, &users, 1).await;
    let token = users.credential(user).get_token(&request).await.unwrap();
    assert!(token.same_as(&again.token));
    assert!(users.sign_out_url(None).as_str().ends_with("/oauth2/v2.0/logout"));
    let back: Url = "https://app.example/bye?a=b".parse().unwrap();
    assert_eq!(query(&users.sign_out_url(Some(&back)))["post_logout_redirect_uri"], back.as_str());
}

/// A fetch that began before the sign-out must not bring the user back when it lands.
#[tokio::test]
async fn what_arrives_after_the_sign_out_is_dropped() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let first = signed_in(&world, &users, 1).await;
    let user = first.account.user_key().clone();
    let signer = world.signer();
    world.answers(move |_, _| {
        let more = json!({"refresh_token": "late", "id_token": signer.id_token(1, &json!({}))});
        success("late", &more).set_delay(Duration::from_millis(300))
    });
    let request = TokenRequest::new("Mail.Read".parse().unwrap());
    let waiting = tokio::spawn({
        let (credential, request) = (users.credential(&user), request.clone());
        async move { credential.get_token(&request).await }
    });
    while world.requests().await < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    users.sign_out(&user).await.unwrap();
    // Signed in again while the old fetch is still out: it must not board that flight, nor find its token later.
    let again = users.clone();
    let back = tokio::spawn(async move { again.adopt("own".into(), &"User.Read".parse().unwrap()).await });
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Reauthenticate);
    back.await.unwrap().unwrap();
    world.answers(|_, _| success("fresh", &json!({})));
    assert_eq!(users.credential(&user).get_token(&request).await.unwrap().expose(), "fresh");
}

#[tokio::test]
async fn a_dead_refresh_token_is_not_sent_again_but_a_missing_consent_keeps_it() {
    let world = world().await;
    let users = world.confidential().users(world.id_tokens());
    let first = signed_in(&world, &users, 1).await;
    let user = first.account.user_key();
    let credential = users.credential(user);
    let ask = |scope: &str| TokenRequest::new(scope.parse().unwrap());

    world.answers(|_, _| failure("invalid_grant", 65001));
    let error = credential.get_token(&ask("Mail.Read")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConsentRequired);
    assert!(users.account(user).is_some());

    world.answers(|_, _| failure("temporarily_unavailable", 90033));
    assert_eq!(credential.get_token(&ask("Files.Read")).await.unwrap_err().kind(), ErrorKind::Transient);
    assert!(users.account(user).is_some());

    world.answers(|_, _| failure("invalid_grant", 700_082));
    let error = credential.get_token(&ask("Chat.Read")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reauthenticate);
    assert!(!format!("{error} {error:?}").contains("marker"));
    assert!(users.account(user).is_none());
    let before = world.requests().await;
    assert_eq!(credential.get_token(&ask("Chat.Read")).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    assert_eq!(world.requests().await, before);

    // A new sign-in mends it at once: no remembered failure stands in the way.
    signed_in(&world, &users, 1).await;
    for scope in ["Chat.Read", "Mail.Read"] {
        credential.get_token(&ask(scope)).await.unwrap();
    }
}

#[tokio::test]
async fn a_refresh_token_from_elsewhere() {
    let world = world().await;
    let users = world.public().users(world.id_tokens());
    let signer = world.signer();
    world.answers(move |_, _| success("access", &json!({"id_token": signer.id_token(3, &json!({}))})));
    let got = users.adopt("from+elsewhere".into(), &"User.Read".parse().unwrap()).await.unwrap();
    assert_eq!(
        world.forms().await[0],
        map([
            ("grant_type", "refresh_token"),
            ("refresh_token", "from+elsewhere"),
            ("scope", WIRE_SCOPES),
            ("client_id", CLIENT)
        ])
    );
    // No new one came back: the old one stays.
    users.credential(got.account.user_key()).get_token(&TokenRequest::new("B.Read".parse().unwrap())).await.unwrap();
    assert_eq!(world.forms().await[1]["refresh_token"], "from+elsewhere");
}

fn device(interval: u64, expires: u64) -> wiremock::ResponseTemplate {
    wiremock::ResponseTemplate::new(200).set_body_json(json!({
        "device_code": "marker-device", "user_code": "ABCD1234", "verification_uri": "https://microsoft.com/devicelogin",
        "expires_in": expires, "interval": interval, "message": "To sign in, …",
    }))
}

/// Answers of the token endpoint one after the other; the last one stays.
fn polls(world: &World, start: wiremock::ResponseTemplate, answers: Vec<wiremock::ResponseTemplate>) {
    let left = Mutex::new(answers);
    world.answers(move |path, _| {
        if path.ends_with("/devicecode") {
            return start.clone();
        }
        let mut left = left.lock().unwrap();
        if left.len() > 1 { left.remove(0) } else { left[0].clone() }
    });
}

#[tokio::test]
async fn device_code_member_by_member() {
    let world = world().await;
    let users = world.public().users(world.id_tokens());
    let done = success("access", &json!({"refresh_token": "r", "id_token": world.signer().id_token(4, &json!({}))}));
    polls(&world, device(1, 900), vec![failure("authorization_pending", 70016), done]);
    let code = users.device_code(&"User.Read".parse().unwrap()).await.unwrap();
    assert_eq!((code.user_code(), code.verification_uri().as_str()), ("ABCD1234", "https://microsoft.com/devicelogin"));
    assert!(code.message().is_some() && code.remaining() > Duration::from_secs(890));
    assert!(!format!("{code:?}").contains("marker") && !format!("{code:?}").contains("ABCD"));
    let started = std::time::Instant::now();
    let got = users.wait_for(code).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(2), "polls keep the interval");
    assert_eq!(got.account.user_key().object_id().as_str(), oid(4));
    assert!(users.account(got.account.user_key()).is_some());

    let requests = world.server.received_requests().await.unwrap();
    assert_eq!(requests[0].url.path(), format!("/entra/{TENANT}/oauth2/v2.0/devicecode"));
    assert_eq!(acquire_support::form(&requests[0]), map([("client_id", CLIENT), ("scope", WIRE_SCOPES)]));
    for poll in &requests[1..] {
        assert_eq!(
            acquire_support::form(poll),
            map([
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", "marker-device"),
                ("scope", WIRE_SCOPES),
                ("client_id", CLIENT),
            ])
        );
    }
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn ends_of_a_device_sign_in() {
    let world = world().await;
    for (error, code, kind) in [
        ("authorization_declined", 0, ErrorKind::ConsentRequired),
        ("access_denied", 0, ErrorKind::ConsentRequired),
        ("expired_token", 0, ErrorKind::Reauthenticate),
        ("code_expired", 70019, ErrorKind::Reauthenticate),
        ("bad_verification_code", 70018, ErrorKind::Configuration),
        ("invalid_client", 7_000_218, ErrorKind::Configuration),
    ] {
        let users = world.public().users(world.id_tokens());
        polls(&world, device(1, 900), vec![failure(error, code)]);
        let started = users.device_code(&"User.Read".parse().unwrap()).await.unwrap();
        let before = world.requests().await;
        let error = users.wait_for(started).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!format!("{error} {error:?}").contains("marker"));
        assert_eq!(world.requests().await, before + 1);
    }
    // A code that ends while the user still looks for their glasses.
    let users = world.public().users(world.id_tokens());
    polls(&world, device(1, 2), vec![failure("authorization_pending", 70016)]);
    let started = users.device_code(&"User.Read".parse().unwrap()).await.unwrap();
    assert_eq!(users.wait_for(started).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
}

#[tokio::test]
async fn device_polls_slow_down_when_told_and_stop_when_dropped() {
    let world = world().await;
    let users = world.public().users(world.id_tokens());
    polls(&world, device(1, 900), vec![failure("slow_down", 0), failure("authorization_pending", 70016)]);
    let code = users.device_code(&"User.Read".parse().unwrap()).await.unwrap();
    let waiting = tokio::spawn({
        let users = users.clone();
        async move { users.wait_for(code).await }
    });
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert_eq!(world.requests().await, 2, "one second, then six");
    waiting.abort();
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(world.requests().await, 2, "whoever stops waiting stops polling");
}

/// Starts a device sign-in, and then breaks every connection.
#[derive(Debug)]
struct Starts(u64, Arc<AtomicUsize>);

#[async_trait]
impl HttpTransport for Starts {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        if request.uri().path().ends_with("/token") {
            return Err(TransportError::new(TransportErrorKind::Interrupted, std::io::Error::other("broken")));
        }
        let body = json!({"device_code": "d", "user_code": "U", "verification_uri": "https://a.example/",
            "expires_in": 900, "interval": self.0});
        Ok(http::Response::new(Body::from(body.to_string())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_network_is_waited_out_until_the_code_ends() {
    let world = world().await;
    for (interval, most) in [(1, 30), (5, 25), (61, 15), (3600, 1)] {
        let count = Arc::new(AtomicUsize::new(0));
        let client = PublicClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap())
            .clock(Arc::new(world.clock.clone()))
            .transport(Arc::new(Starts(interval, Arc::clone(&count))))
            .build()
            .unwrap();
        let users = client.users(world.id_tokens());
        let code = users.device_code(&"User.Read".parse().unwrap()).await.unwrap();
        let started = tokio::time::Instant::now();
        assert_eq!(users.wait_for(code).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
        assert_eq!(started.elapsed().as_secs(), 900, "interval {interval}");
        let polls = count.load(Ordering::SeqCst);
        assert!(polls <= most, "interval {interval}: {polls} requests; the pause must grow");
    }
}

#[tokio::test]
async fn what_is_no_device_code() {
    let world = world().await;
    let users = world.public().users(world.id_tokens());
    let good =
        json!({"device_code": "marker", "user_code": "A", "verification_uri": "https://a.example/", "expires_in": 900});
    for (name, value) in [
        ("device_code", json!("")),
        ("device_code", json!(null)),
        ("user_code", json!("")),
        ("user_code", json!("a\nb")),
        ("user_code", json!("a".repeat(65))),
        ("verification_uri", json!("http://a.example/")),
        ("verification_uri", json!("javascript:alert(1)")),
        ("expires_in", json!(-1)),
        ("expires_in", json!("soon")),
        ("interval", json!(0)),
        ("interval", json!(-5)),
        ("interval", json!(1_000_000)),
    ] {
        let mut body = good.clone();
        body[name] = value;
        world.answers(move |_, _| wiremock::ResponseTemplate::new(200).set_body_json(&body));
        let error = users.device_code(&"User.Read".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}");
        assert!(!format!("{error} {error:?}").contains("marker"));
    }
    world.answers(|_, _| failure("unauthorized_client", 700_016));
    let error = users.device_code(&"User.Read".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    world.answers(|_, _| wiremock::ResponseTemplate::new(200).set_body_string("<html>"));
    assert_eq!(users.device_code(&"a".parse().unwrap()).await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn long_running_processes_outlive_the_assertion_and_each_other() {
    let world = world().await;
    let client = world.confidential();
    let token = world.user_token(1, json!({})).await;
    let assertion = token.assertion_for(client.client_id(), &[""; 0]).unwrap();
    let count = AtomicUsize::new(0);
    world.answers(move |_, form| {
        let count = count.fetch_add(1, Ordering::SeqCst) + 1;
        match form["grant_type"].as_str() {
            "refresh_token" => success(&format!("by-{}", form["refresh_token"]), &json!({})),
            _ => success(&format!("first-{count}"), &json!({"refresh_token": format!("r{count}")})),
        }
    });
    let [one, two] = [SessionKey::random().unwrap(), SessionKey::new("two")];
    assert!(!format!("{one:?}").contains(one.secret().expose()));
    let scopes = "User.Read".parse().unwrap();
    for key in [&one, &two] {
        client.start_long_running(&assertion, key, &scopes).await.unwrap();
    }
    assert_eq!(
        world.forms().await[0],
        map([
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("requested_token_use", "on_behalf_of"),
            ("scope", WIRE_SCOPES),
            ("assertion", token.raw().expose()),
            ("client_id", CLIENT),
            ("client_secret", "s3&cret"),
        ])
    );
    let user = assertion.user_key().clone();
    let request = TokenRequest::new(scopes);
    let ask = async |key: &SessionKey| {
        client.long_running(&user, key).get_token(&request).await.map(|token| token.expose().to_owned())
    };
    assert_eq!([ask(&one).await.unwrap(), ask(&two).await.unwrap()], ["first-1", "first-2"]);
    assert_eq!(world.requests().await, 2);

    let other = world.user_token(2, json!({})).await.user_key();
    // Hours after the assertion ended.
    world.clock.step(time::Duration::seconds(20_000));
    assert_eq!([ask(&one).await.unwrap(), ask(&two).await.unwrap()], ["by-r1", "by-r2"]);
    let late = client.start_long_running(&assertion, &one, &"A.Read".parse().unwrap()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Reauthenticate);

    assert!(client.stop_long_running(&user, &one));
    assert!(!client.stop_long_running(&user, &one));
    assert_eq!(ask(&one).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    assert_eq!(ask(&two).await.unwrap(), "by-r2");
    assert_eq!(ask(&SessionKey::new("guess")).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
    let stolen = client.long_running(&other, &two).get_token(&request).await.unwrap_err();
    assert_eq!(stolen.kind(), ErrorKind::Reauthenticate, "a key is good for its user alone");
    client.forget_user(&user).await.unwrap();
    assert_eq!(ask(&two).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
}

#[tokio::test]
async fn a_long_running_process_needs_a_refresh_token() {
    let world = world().await;
    let client = world.confidential();
    let assertion = world.user_token(1, json!({})).await.assertion_for(client.client_id(), &[""; 0]).unwrap();
    world.answers(|_, _| success("t", &json!({})));
    let key = SessionKey::new(Secret::new("k"));
    let error = client.start_long_running(&assertion, &key, &"User.Read".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    let request = TokenRequest::new("User.Read".parse().unwrap());
    let unknown = client.long_running(assertion.user_key(), &key).get_token(&request).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Reauthenticate);
}
