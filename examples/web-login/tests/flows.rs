//! Sign-in, pages, story API and sign-out, over HTTP: what works, and what does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use m365_sandbox::{Consent, Sandbox, constants::*};
use serde_json::Value;
use support::{Application, Browser, TOKENS, command};

async fn world(changes: &[(&'static str, &str)]) -> (Sandbox, Application) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let application = Application::serve(&sandbox, changes).await;
    (sandbox, application)
}

#[tokio::test]
async fn a_user_signs_in_and_sees_claims_groups_attributes_and_the_story() {
    let (sandbox, application) = world(&[]).await;
    let mut browser = Browser::default();
    let start = browser.open(application.url("/")).await;
    assert!(start.body.contains("href=\"/login?return_to=/me\"") && !start.body.contains("/logout"));

    let me = browser.sign_in(&application, &USER_ONE, "/me").await;
    assert_eq!((me.status, me.url.path()), (200, "/me"));
    for shown in
        [USER_ONE.oid, HOME_TENANT, USER_ONE.upn, "preferred_username", "Story readers", "All staff", "Storyteller"]
    {
        assert!(me.body.contains(shown), "{shown} is not in {}", me.body);
    }
    assert!(me.body.contains("<span id=\"group-count\">2</span> groups, from the id token"), "{}", me.body);
    assert_eq!(sandbox.requests("/graph/v1.0/users/{id}/getMemberObjects"), 0);
    assert!(!me.body.contains("eyJ"), "a token is on the page");

    let story = browser.open(application.url("/story")).await;
    assert!(story.body.contains("Once upon a time User One"), "{}", story.body);
    let api = browser.open(application.url("/api/story")).await;
    let json: Value = serde_json::from_str(&api.body).unwrap();
    assert!(json["story"].as_str().unwrap().starts_with("Once upon a time User One"));
    // The document was read with a token of the user that the story API exchanged.
    let exchanged = sandbox.log(TOKENS).iter().filter(|entry| entry.field("assertion").is_some()).count();
    assert_eq!(exchanged, 1);

    // The cookie: sealed, bounded, out of reach for scripts, without a token.
    let cookie = browser.cookie("session").unwrap();
    assert!(!cookie.contains("eyJ") && cookie.len() < 400, "{cookie}");
    let log = application.log();
    for secret in ["eyJ", WEB_APP_SECRET, SERVICE_APP_SECRET, "code=", cookie, USER_ONE.upn, "Once upon"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn answers_and_cookies_say_how_browsers_must_treat_them() {
    let (sandbox, application) = world(&[]).await;
    let mut browser = Browser::default();
    let callback = browser.answer(application.url("/login"), ("sandbox_user", USER_ONE.oid)).await;
    let login = browser.get(application.url("/login")).await;
    let back = browser.get(callback).await;
    for (page, name) in [(&login, "sign-in="), (&back, "session=")] {
        let cookie = page.header("set-cookie");
        assert!(cookie.starts_with(name), "{cookie}");
        assert!(
            ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age="].iter().all(|part| cookie.contains(part)),
            "{cookie}"
        );
    }
    let authority = sandbox.base_url();
    for path in ["/", "/me", "/story", "/api/story", "/style.css", "/nowhere", "/login"] {
        let page = browser.get(application.url(path)).await;
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(policy.contains(&format!("form-action 'self' {authority};")), "{policy}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    // Behind https the cookies belong to this host alone. It announces the public address, so the port is chosen here.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let changes = [("WEB_BASE_URL", "https://app.example"), ("PORT", port.as_str())];
    let public = Application::serve(&sandbox, &changes).await;
    assert_eq!(public.base.as_str(), "https://app.example/");
    let login = Browser::default().get(format!("http://127.0.0.1:{port}/login").parse().unwrap()).await;
    let cookie = login.header("set-cookie");
    assert!(cookie.starts_with("__Host-sign-in=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(login.header("strict-transport-security").starts_with("max-age="));
    let redirect =
        login.location().unwrap().query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect, "https://app.example/auth/callback");
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let (_sandbox, application) = world(&[("WEB_SESSION_SECONDS", "2")]).await;
    let mut browser = Browser::default();
    browser.sign_in(&application, &USER_ONE, "/me").await;
    assert_eq!(browser.get(application.url("/api/story")).await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    assert_eq!(browser.get(application.url("/api/story")).await.status, 401);
    assert_eq!(browser.get(application.url("/me")).await.location().unwrap().path(), "/login");
}

#[tokio::test]
async fn users_see_their_own_stories_only() {
    let (_sandbox, application) = world(&[]).await;
    let (mut one, mut two) = (Browser::default(), Browser::default());
    assert!(one.sign_in(&application, &USER_ONE, "/story").await.body.contains("time User One found a printer"));
    let story = two.sign_in(&application, &USER_TWO, "/story").await;
    assert!(story.body.contains("time User Two was in so many groups") && !story.body.contains("User One"));
    for (browser, own, other) in [(&mut one, "User One", "User Two"), (&mut two, "User Two", "User One")] {
        for path in ["/story", "/api/story"] {
            let page = browser.open(application.url(path)).await;
            assert!(page.body.contains(own) && !page.body.contains(other), "{path}: {}", page.body);
        }
    }
    // A cookie that was changed anywhere is none.
    let key = ("localhost".to_owned(), "session".to_owned());
    let good = one.cookies[&key].clone();
    for at in [0, good.len() / 2, good.len() - 2] {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        one.cookies.insert(key.clone(), String::from_utf8(changed).unwrap());
        let page = one.get(application.url("/api/story")).await;
        assert_eq!(page.status, 401, "{at}");
    }
    // Who signs in over another's session gets a session of their own; the other one is over.
    one.cookies.insert(key.clone(), good.clone());
    one.cookies.retain(|(host, _), _| host == "localhost");
    assert!(one.sign_in(&application, &USER_TWO, "/story").await.body.contains("User Two"));
    one.cookies.insert(key, good);
    assert_eq!(one.get(application.url("/api/story")).await.status, 401);
}

#[tokio::test]
async fn a_user_of_many_groups_is_looked_up_in_graph() {
    let (sandbox, application) = world(&[]).await;
    let me = Browser::default().sign_in(&application, &USER_TWO, "/me").await;
    assert!(me.body.contains("<span id=\"group-count\">232</span> groups, too many for the token"), "{}", me.body);
    assert!(me.body.contains("and 212 more"));
    assert_eq!(sandbox.requests("POST /graph/v1.0/users/{id}/getMemberObjects"), 1);
    assert_eq!(sandbox.requests("GET /graph/v1.0/users/{id}/getMemberObjects"), 2);
    // Graph that fails takes its part of the page along, and no more.
    sandbox.fault(m365_sandbox::Fault::on("/graph/**").status(403));
    let mut browser = Browser::default();
    let me = browser.sign_in(&application, &USER_TWO, "/me").await;
    assert!(me.body.contains("Graph does not let the application read this") && me.body.contains(USER_TWO.upn));
}

#[tokio::test]
async fn only_the_browser_that_began_a_sign_in_ends_it_and_once() {
    let (sandbox, application) = world(&[]).await;
    let (mut victim, mut attacker) = (Browser::default(), Browser::default());
    let callback = attacker.answer(application.url("/login"), ("sandbox_user", USER_TWO.oid)).await;
    let sent = sandbox.requests(TOKENS);

    // The attacker's answer in the victim's browser would sign the victim in as the attacker.
    for begun in [false, true] {
        if begun {
            victim.get(application.url("/login")).await;
        }
        let page = victim.get(callback.clone()).await;
        assert_eq!(page.status, 400, "{}", page.body);
        assert!(page.body.contains("That is not your sign-in") && victim.cookie("session").is_none());
    }
    // A state that was made up, none at all, a member twice.
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let state = callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    for query in [
        format!("code={code}&state=invented"),
        format!("code={code}"),
        format!("code={code}&code={code}&state={state}"),
        String::new(),
    ] {
        let page = attacker.get(application.url(&format!("/auth/callback?{query}"))).await;
        assert_eq!(page.status, 400, "{query}");
    }
    assert_eq!(sandbox.requests(TOKENS), sent, "a code went out");

    // Its own browser may, once. A repeat is refused and sends nothing.
    assert_eq!(attacker.get(callback.clone()).await.status, 303);
    let sent = sandbox.requests(TOKENS);
    let again = attacker.get(callback).await;
    assert_eq!((again.status, sandbox.requests(TOKENS)), (400, sent));
    assert!(!again.body.contains(&code), "{}", again.body);
}

#[tokio::test]
async fn whoever_cancels_sees_a_kind_page() {
    let (_sandbox, application) = world(&[]).await;
    let mut browser = Browser::default();
    let callback = browser.answer(application.url("/login"), ("sandbox_step", "cancel")).await;
    let page = browser.get(callback).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("No harm done") && !page.body.contains("AADSTS"), "{}", page.body);
    assert!(browser.cookie("session").is_none());
}

#[tokio::test]
async fn a_sign_in_leads_nowhere_else() {
    let (_sandbox, application) = world(&[]).await;
    for (wanted, path) in [
        ("/story", "/story"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/%5Cevil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let page = Browser::default().sign_in(&application, &USER_ONE, wanted).await;
        assert_eq!((page.url.host_str(), page.url.path()), (Some("localhost"), path), "{wanted}");
    }
}

#[tokio::test]
async fn a_sign_out_needs_the_form_and_forgets_everything() {
    let (sandbox, application) = world(&[]).await;
    let (mut browser, mut second) = (Browser::default(), Browser::default());
    let me = browser.sign_in(&application, &USER_ONE, "/me").await;
    second.sign_in(&application, &USER_ONE, "/story").await;
    let other = Browser::default().sign_in(&application, &USER_TWO, "/me").await;
    for csrf in [None, Some(String::new()), Some("guess".to_owned()), other.hidden("csrf")] {
        let fields: Vec<_> = csrf.into_iter().map(|csrf| ("csrf".to_owned(), csrf)).collect();
        assert_eq!(browser.post(application.url("/logout"), &fields).await.status, 403, "{fields:?}");
    }
    assert_eq!(browser.get(application.url("/logout")).await.status, 405);
    assert_eq!(browser.get(application.url("/api/story")).await.status, 200, "still signed in");

    let old = browser.cookie("session").unwrap().clone();
    let csrf = [("csrf".to_owned(), me.hidden("csrf").unwrap())];
    let gone = browser.post(application.url("/logout"), &csrf).await;
    let entra = gone.location().unwrap();
    assert!(entra.as_str().starts_with(&format!("{}/entra/{HOME_TENANT}/oauth2/v2.0/logout?", sandbox.base_url())));
    assert!(browser.cookie("session").is_none());
    let home = browser.open(entra).await;
    assert!(home.url.path() == "/" && home.body.contains("Sign in"), "{}", home.url);
    // Neither the old cookie nor another browser of the user is signed in, and Entra asks who comes.
    browser.cookies.insert(("localhost".to_owned(), "session".to_owned()), old);
    for browser in [&mut browser, &mut second] {
        assert_eq!(browser.get(application.url("/api/story")).await.status, 401);
        assert_eq!(browser.get(application.url("/me")).await.location().unwrap().path(), "/login");
    }
    browser.cookies.retain(|(_, name), _| name != "session");
    assert!(browser.open(application.url("/me")).await.body.contains("Sign in to Sandbox Web App"));
}

#[tokio::test]
async fn tenants_are_let_in_by_name() {
    let both = format!("{HOME_TENANT},{RESOURCE_TENANT}");
    let (_sandbox, application) = world(&[("ALLOWED_TENANT_IDS", &both)]).await;
    let login = Browser::default().get(application.url("/login")).await.location().unwrap();
    assert!(login.path().ends_with("/organizations/oauth2/v2.0/authorize"), "{login}");
    let mut browser = Browser::default();
    let me = browser.sign_in(&application, &USER_THREE, "/me").await;
    assert!(me.body.contains(RESOURCE_TENANT) && me.body.contains("Engineer"), "{}", me.body);
    assert!(browser.open(application.url("/story")).await.body.contains("came from another tenant"));

    let other = format!("{HOME_TENANT},99999999-0000-4000-8000-000000000009");
    let (sandbox, application) = world(&[("ALLOWED_TENANT_IDS", &other)]).await;
    let mut browser = Browser::default();
    let page = browser.sign_in(&application, &USER_THREE, "/me").await;
    assert_eq!(page.status, 403);
    assert!(page.body.contains("You cannot sign in here") && browser.cookie("session").is_none());
    assert!(Browser::default().sign_in(&application, &USER_ONE, "/story").await.body.contains("User One"));
    assert_eq!(sandbox.log(TOKENS).iter().filter(|entry| entry.field("assertion").is_some()).count(), 1);

    let (_sandbox, application) = world(&[("ALLOWED_TENANT_IDS", "*")]).await;
    assert!(application.log().contains("warning: ALLOWED_TENANT_IDS is *"), "{}", application.log());
    assert_eq!(Browser::default().sign_in(&application, &USER_THREE, "/me").await.status, 200);
}

async fn token(sandbox: &Sandbox, tenant: &str, fields: &[(&str, &str)]) -> String {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let url = format!("{}/entra/{tenant}/oauth2/v2.0/token", sandbox.base_url());
    let request = support::client().post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test]
async fn the_api_judges_tokens_of_any_caller() {
    let (sandbox, application) = world(&[]).await;
    let ask = async |token: Option<&str>| {
        let request = support::client().get(application.url("/api/story"));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let answer = request.send().await.unwrap();
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge, answer.text().await.unwrap())
    };
    let now = sandbox.sso_token(&USER_ONE);
    let claims: Value = {
        use base64::Engine as _;
        let part = now.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let signed = |changes: &[(&str, Value)]| {
        let mut claims = claims.clone();
        claims["aud"] = SERVICE_APP_ID.into();
        changes.iter().for_each(|(name, value)| claims[*name] = value.clone());
        sandbox.sign(m365_sandbox::Signer::Entra, &Value::Null, &claims)
    };
    let (status, _, body) = ask(Some(&signed(&[]))).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("User One"));
    let app = token(
        &sandbox,
        HOME_TENANT,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", WEB_APP_ID),
            ("client_secret", WEB_APP_SECRET),
            ("scope", &format!("{SERVICE_RESOURCE}/.default")),
        ],
    )
    .await;
    for (name, token, expected) in [
        ("none", None, 401),
        ("for another API", Some(now), 401),
        ("no token at all", Some("invented".to_owned()), 401),
        ("expired", Some(signed(&[("exp", 1_000_000_000.into())])), 401),
        ("of another scope", Some(signed(&[("scp", "other".into())])), 403),
        ("of another tenant", Some(signed(&[("tid", RESOURCE_TENANT.into())])), 403),
        ("of an application", Some(app), 403),
    ] {
        let (status, challenge, body) = ask(token.as_deref()).await;
        assert_eq!(status, expected, "{name} {body}");
        assert!(challenge.is_some_and(|challenge| challenge.starts_with("Bearer")) && body.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_second_factor_is_asked_for_where_it_is_needed() {
    let (sandbox, application) = world(&[]).await;
    let mut browser = Browser::default();
    browser.sign_in(&application, &USER_ONE, "/me").await;
    sandbox.require_mfa(&USER_ONE, true);
    let login = browser.get(application.url("/story")).await.location().unwrap();
    assert_eq!(login.path(), "/login");
    let authorize = browser.get(login.clone()).await.location().unwrap();
    let claims = authorize.query_pairs().find(|(name, _)| name == "claims").unwrap().1.into_owned();
    assert!(claims.contains("capolids"), "{claims}");
    let back = browser.answer(login, ("sandbox_step", "approve")).await;
    assert!(browser.open(back).await.body.contains("User One found a printer"));

    // What no sign-in mends ends on a page, not in a circle.
    sandbox.revoke_consent(&Consent::of_admin(SERVICE_APP_ID, GRAPH_APP_ID));
    let mut second = Browser::default();
    let page = second.sign_in(&application, &USER_TWO, "/story").await;
    assert_eq!((page.status, page.url.path()), (502, "/story"));
    assert!(page.body.contains("No story"), "{}", page.body);
}

#[tokio::test]
async fn settings_decide_between_sandbox_and_reality() {
    let run = async |variables: &[(&str, String)], arguments: &[&str]| {
        let mut command = command(variables, arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    for (variables, arguments, expected) in [
        (vec![("WEB_CLIENT_ID", WEB_APP_ID.to_owned())], &[][..], "WEB_CLIENT_SECRET is not set"),
        (vec![("BIND", "0.0.0.0".to_owned())], &[], "loopback address only"),
        (vec![], &["--serve"], "AZURE_TENANT_ID is not set"),
        (vec![("PORT", "x".to_owned())], &[], "PORT is malformed"),
    ] {
        let output = run(&variables, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let sandbox = Sandbox::builder().start().await.unwrap();
    let output = run(&support::settings(&sandbox, &[]), &[]).await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("add --serve"));
    // Without settings: a cloud of its own, and users of both tenants.
    let alone = Application::start(command(&[("PORT", "0".to_owned())], &[])).await;
    let mut browser = Browser::default();
    assert!(browser.get(alone.url("/healthz")).await.body.contains("\"mode\":\"sandbox\""));
    assert!(browser.sign_in(&alone, &USER_THREE, "/story").await.body.contains("User Three"));
}
