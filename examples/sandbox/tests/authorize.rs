//! Browser sign-in as Entra plays it: pages, codes, refusals, device sign-in, sign-out, and Graph behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Consent, Sandbox};
use serde_json::{Value, json};
use url::Url;

// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://localhost:3978/auth/callback";
const SCOPE: &str = "openid profile offline_access https://graph.microsoft.com/User.Read";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn changed<'a>(mut fields: Pairs<'a>, changes: &[(&'a str, Option<&'a str>)]) -> Pairs<'a> {
    for (name, value) in changes {
        fields.retain(|(key, _)| key != name);
        fields.extend(value.map(|value| (*name, value)));
    }
    fields
}

fn asked<'a>(changes: &[(&'a str, Option<&'a str>)]) -> Pairs<'a> {
    let fields = vec![
        ("client_id", WEB_APP_ID),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("scope", SCOPE),
        ("state", "state & more"),
        ("nonce", "nonce-1"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    changed(fields, changes)
}

struct Seen {
    status: u16,
    location: Option<Url>,
    cookie: Option<String>,
    body: String,
}

impl Seen {
    fn member(&self, name: &str) -> Option<String> {
        let pairs = self.location.as_ref()?.query_pairs();
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

async fn seen(request: reqwest::RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (location, cookie) = (text("location"), text("set-cookie"));
    Seen {
        status: response.status().as_u16(),
        location: location.map(|url| Url::parse(&url).unwrap()),
        cookie: cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned()),
        body: response.text().await.unwrap(),
    }
}

fn address(sandbox: &Sandbox, tenant: &str) -> String {
    format!("{}/entra/{tenant}/oauth2/v2.0/authorize", sandbox.base_url())
}

async fn open(sandbox: &Sandbox, tenant: &str, fields: &Pairs<'_>, cookie: Option<&str>) -> Seen {
    let url = Url::parse_with_params(&address(sandbox, tenant), fields).unwrap();
    let request = browser().get(url);
    seen(cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie))).await
}

async fn press(sandbox: &Sandbox, tenant: &str, fields: &Pairs<'_>, more: &[(&str, &str)]) -> Seen {
    let all: Vec<_> = fields.iter().chain(more).copied().collect();
    seen(browser().post(address(sandbox, tenant)).fields(&all)).await
}

/// A code for a user, by the usual request with changes.
async fn code<'a>(sandbox: &Sandbox, tenant: &str, user: &User, changes: &[(&'a str, Option<&'a str>)]) -> String {
    let answer = press(sandbox, tenant, &asked(changes), &[("sandbox_user", user.oid)]).await;
    answer.member("code").unwrap_or_else(|| panic!("{} {}", answer.status, answer.body))
}

fn redemption<'a>(code: &'a str, changes: &[(&'a str, Option<&'a str>)]) -> Pairs<'a> {
    let fields = vec![
        ("grant_type", "authorization_code"),
        ("client_id", WEB_APP_ID),
        ("client_secret", WEB_APP_SECRET),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    changed(fields, changes)
}

fn number(answer: &(u16, Value)) -> i64 {
    assert!(answer.0 >= 400, "{}", answer.1);
    answer.1["error_codes"][0].as_i64().unwrap()
}

#[tokio::test]
async fn a_user_signs_in_and_the_code_works_once() {
    let sandbox = sandbox().await;
    let page = open(&sandbox, HOME_TENANT, &asked(&[]), None).await;
    assert_eq!((page.status, page.location.is_none()), (200, true));
    assert!(page.body.contains("Sign in to Sandbox Web App") && page.body.contains(USER_ONE.upn));
    assert!(page.body.contains("value=\"state &amp; more\"") && !page.body.contains(USER_THREE.upn));

    let back = press(&sandbox, HOME_TENANT, &asked(&[]), &[("sandbox_user", USER_ONE.oid)]).await;
    assert_eq!((back.status, back.member("state").as_deref()), (302, Some("state & more")));
    assert!(back.location.as_ref().unwrap().as_str().starts_with(&format!("{REDIRECT}?code=")));
    let code = back.member("code").unwrap();

    let (status, body) = token(&sandbox, HOME_TENANT, &redemption(&code, &[])).await;
    assert_eq!(status, 200, "{body}");
    let id_token = payload(body["id_token"].as_str().unwrap());
    assert_eq!(
        (&id_token["aud"], &id_token["nonce"], &id_token["tid"], &id_token["oid"]),
        (&json!(WEB_APP_ID), &json!("nonce-1"), &json!(HOME_TENANT), &json!(USER_ONE.oid))
    );
    assert_eq!(id_token["iss"], format!("{}/entra/{HOME_TENANT}/v2.0", sandbox.base_url()));
    assert_eq!(id_token["groups"].as_array().unwrap().len(), 2);
    assert!(id_token.get("scp").is_none() && id_token.get("azp").is_none());
    let access = payload(body["access_token"].as_str().unwrap());
    assert_eq!((&access["aud"], &access["scp"]), (&json!(GRAPH_RESOURCE), &json!("User.Read")));
    assert_eq!(number(&token(&sandbox, HOME_TENANT, &redemption(&code, &[])).await), 54005);

    let refresh = body["refresh_token"].as_str().unwrap();
    let service = format!("{SERVICE_RESOURCE}/access_as_user offline_access openid");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", WEB_APP_ID),
        ("client_secret", WEB_APP_SECRET),
        ("refresh_token", refresh),
        ("scope", &service),
    ];
    let (status, body) = token(&sandbox, "organizations", &form).await;
    assert_eq!(status, 200, "{body}");
    assert_ne!(body["refresh_token"], refresh);
    assert_eq!(payload(body["access_token"].as_str().unwrap())["aud"], SERVICE_APP_ID);
    assert!(payload(body["id_token"].as_str().unwrap()).get("nonce").is_none());
}

#[tokio::test]
async fn a_code_is_bound_to_client_redirect_tenant_and_verifier() {
    let sandbox = sandbox().await;
    let good = code(&sandbox, HOME_TENANT, &USER_ONE, &[]).await;
    let other = [("client_id", Some(SERVICE_APP_ID)), ("client_secret", Some(SERVICE_APP_SECRET))];
    for (tenant, changes, expected) in [
        (HOME_TENANT, &other[..], 70000),
        (RESOURCE_TENANT, &[], 700_005),
        ("organizations", &[], 700_005),
        (HOME_TENANT, &[("redirect_uri", Some("http://localhost:3979/auth/callback"))], 500_112),
        (HOME_TENANT, &[("redirect_uri", None)], 900_144),
        (HOME_TENANT, &[("code_verifier", Some(CHALLENGE))], 501_481),
        (HOME_TENANT, &[("code_verifier", None)], 501_481),
        (HOME_TENANT, &[("client_secret", Some("wrong"))], 7_000_215),
        (HOME_TENANT, &[("client_secret", None)], 7_000_218),
        (HOME_TENANT, &[("code", Some("invented"))], 70000),
    ] {
        let answer = token(&sandbox, tenant, &redemption(&good, changes)).await;
        assert_eq!(number(&answer), expected, "{tenant} {changes:?} {}", answer.1);
    }
    // None of these used it up.
    assert_eq!(token(&sandbox, HOME_TENANT, &redemption(&good, &[])).await.0, 200);
    let late = code(&sandbox, HOME_TENANT, &USER_ONE, &[]).await;
    sandbox.advance_clock(601);
    assert_eq!(number(&token(&sandbox, HOME_TENANT, &redemption(&late, &[])).await), 70008);
}

#[tokio::test]
async fn what_is_wrong_with_the_application_is_shown_and_never_sent_back() {
    let sandbox = sandbox().await;
    for (tenant, changes, expected) in [
        (HOME_TENANT, &[("redirect_uri", Some("http://localhost:3978/auth/callback/"))][..], "AADSTS50011"),
        (HOME_TENANT, &[("redirect_uri", Some("https://localhost:3978/auth/callback"))], "AADSTS50011"),
        (HOME_TENANT, &[("redirect_uri", Some("http://localhost:x/auth/callback"))], "AADSTS50011"),
        (HOME_TENANT, &[("redirect_uri", Some("http://localhost@evil.example/auth/callback"))], "AADSTS50011"),
        (HOME_TENANT, &[("redirect_uri", Some("https://evil.example/<script>"))], "AADSTS50011"),
        (HOME_TENANT, &[("redirect_uri", None)], "AADSTS900144"),
        (HOME_TENANT, &[("client_id", Some("99999999-0000-4000-8000-000000000009"))], "AADSTS700016"),
        ("99999999-0000-4000-8000-000000000009", &[], "AADSTS90002"),
        ("organizations", &[("client_id", Some(OTHER_APP_ID))], "AADSTS50194"),
    ] {
        let page = open(&sandbox, tenant, &asked(changes), None).await;
        assert_eq!((page.status, page.location.is_none()), (400, true), "{changes:?}");
        assert!(page.body.contains(expected) && !page.body.contains("<script>"), "{expected}: {}", page.body);
    }
    let page = press(&sandbox, HOME_TENANT, &asked(&[]), &[("sandbox_user", USER_THREE.oid)]).await;
    assert!(page.location.is_none() && page.body.contains("AADSTS50020"), "{}", page.body);
}

#[tokio::test]
async fn what_is_wrong_with_the_request_is_sent_back_with_the_state() {
    let sandbox = sandbox().await;
    for (changes, error, number) in [
        (("response_type", Some("id_token")), "unsupported_response_type", 700_054),
        (("response_type", None), "invalid_request", 900_144),
        (("response_mode", Some("web_message")), "invalid_request", 90023),
        (("prompt", Some("please")), "invalid_request", 90023),
        (("code_challenge", None), "invalid_request", 900_144),
        (("code_challenge_method", Some("plain")), "invalid_request", 90023),
        (("code_challenge_method", None), "invalid_request", 90023),
        (("scope", None), "invalid_request", 900_144),
        (("scope", Some("openid api://nobody/x")), "invalid_resource", 500_011),
        (("prompt", Some("none")), "login_required", 50058),
    ] {
        let answer = open(&sandbox, HOME_TENANT, &asked(&[changes]), None).await;
        assert_eq!(answer.member("error").as_deref(), Some(error), "{changes:?} {}", answer.body);
        assert!(answer.member("error_description").unwrap().starts_with(&format!("AADSTS{number}: ")), "{changes:?}");
        assert_eq!((answer.member("state").as_deref(), answer.member("code")), (Some("state & more"), None));
    }
    let cancelled = press(&sandbox, HOME_TENANT, &asked(&[]), &[("sandbox_step", "cancel")]).await;
    assert_eq!(cancelled.member("error").as_deref(), Some("access_denied"));
    assert_eq!(cancelled.member("error_subcode").as_deref(), Some("cancel"));
    // A link cannot press the buttons.
    let fields: Pairs<'_> = asked(&[]).into_iter().chain([("sandbox_user", USER_ONE.oid)]).collect();
    assert_eq!(open(&sandbox, HOME_TENANT, &fields, None).await.status, 200);
}

#[tokio::test]
async fn a_session_answers_without_a_question_unless_one_is_wanted() {
    let sandbox = sandbox().await;
    let first = press(&sandbox, HOME_TENANT, &asked(&[]), &[("sandbox_user", USER_ONE.oid)]).await;
    let cookie = first.cookie.unwrap();
    let again = async |change| open(&sandbox, HOME_TENANT, &asked(&[change]), Some(&cookie)).await;
    for silent in [("prompt", Some("none")), ("prompt", None), ("login_hint", Some(USER_ONE.upn))] {
        assert!(again(silent).await.member("code").is_some(), "{silent:?}");
    }
    for asking in [("prompt", Some("login")), ("prompt", Some("select_account")), ("login_hint", Some(USER_TWO.upn))] {
        let page = again(asking).await;
        assert!(page.location.is_none() && page.body.contains(USER_TWO.upn), "{asking:?}");
    }
    assert!(!again(("login_hint", Some(USER_TWO.upn))).await.body.contains(USER_ONE.upn));
    assert!(again(("prompt", Some("consent"))).await.body.contains("asks for permissions"));

    let logout = format!("{}/entra/{HOME_TENANT}/oauth2/v2.0/logout", sandbox.base_url());
    let evil = format!("{logout}?post_logout_redirect_uri=https://evil.example/");
    let page = seen(browser().get(evil).header("cookie", &cookie)).await;
    assert_eq!((page.status, page.location.is_none()), (200, true));
    let back = format!("{logout}?post_logout_redirect_uri=http://localhost:3978/");
    assert_eq!(seen(browser().get(back)).await.location.unwrap().as_str(), "http://localhost:3978/");
    assert_eq!(again(("prompt", Some("none"))).await.member("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn consent_and_a_second_factor_are_asked_for() {
    let sandbox = sandbox().await;
    sandbox.revoke_consent(&Consent::of_admin(WEB_APP_ID, GRAPH_APP_ID));
    let user = ("sandbox_user", USER_TWO.oid);
    let page = press(&sandbox, HOME_TENANT, &asked(&[]), &[user]).await;
    assert!(page.body.contains("asks for permissions") && page.body.contains(GRAPH_RESOURCE), "{}", page.body);
    let declined = press(&sandbox, HOME_TENANT, &asked(&[]), &[user, ("sandbox_step", "cancel")]).await;
    assert!(declined.member("error_description").unwrap().starts_with("AADSTS65004"));
    let accepted = press(&sandbox, HOME_TENANT, &asked(&[]), &[user, ("sandbox_step", "accept")]).await;
    let code = accepted.member("code").unwrap();
    assert_eq!(token(&sandbox, HOME_TENANT, &redemption(&code, &[])).await.0, 200);
    let cookie = accepted.cookie.unwrap();

    sandbox.revoke_consent(&Consent::of_admin(WEB_APP_ID, GRAPH_APP_ID));
    let silent = open(&sandbox, HOME_TENANT, &asked(&[("prompt", Some("none"))]), Some(&cookie)).await;
    assert_eq!(silent.member("error").as_deref(), Some("consent_required"));
    sandbox.grant_consent(&Consent::of_admin(WEB_APP_ID, GRAPH_APP_ID));
    sandbox.require_mfa(&USER_TWO, true);
    let silent = open(&sandbox, HOME_TENANT, &asked(&[("prompt", Some("none"))]), Some(&cookie)).await;
    assert_eq!(silent.member("error").as_deref(), Some("interaction_required"));
    assert!(press(&sandbox, HOME_TENANT, &asked(&[]), &[user]).await.body.contains("Approve the sign-in"));
    let approved = press(&sandbox, HOME_TENANT, &asked(&[]), &[user, ("sandbox_step", "approve")]).await;
    assert_eq!(token(&sandbox, HOME_TENANT, &redemption(&approved.member("code").unwrap(), &[])).await.0, 200);
}

#[tokio::test]
async fn on_paths_for_all_tenants_the_users_own_counts() {
    let sandbox = sandbox().await;
    for path in ["organizations", "common"] {
        for (user, tenant) in [(&USER_ONE, HOME_TENANT), (&USER_THREE, RESOURCE_TENANT)] {
            let code = code(&sandbox, path, user, &[]).await;
            let (status, body) = token(&sandbox, path, &redemption(&code, &[])).await;
            assert_eq!(status, 200, "{body}");
            let id_token = payload(body["id_token"].as_str().unwrap());
            assert_eq!(id_token["tid"], tenant);
            assert_eq!(id_token["iss"], format!("{}/entra/{tenant}/v2.0", sandbox.base_url()));
        }
    }
    let (status, body) = token(&sandbox, "organizations", &bot_form(&[])).await;
    assert_eq!((status, body["error_codes"][0].as_i64()), (400, Some(50059)));
}

#[tokio::test]
async fn the_answer_comes_by_form_or_fragment_too() {
    let sandbox = sandbox().await;
    let user = [("sandbox_user", USER_ONE.oid)];
    let form = press(&sandbox, HOME_TENANT, &asked(&[("response_mode", Some("form_post"))]), &user).await;
    assert!(form.body.contains(&format!("action=\"{REDIRECT}\"")) && form.body.contains("name=\"code\""));
    let fragment = press(&sandbox, HOME_TENANT, &asked(&[("response_mode", Some("fragment"))]), &user).await;
    assert!(fragment.location.unwrap().fragment().unwrap().starts_with("code="));
    sandbox.register_redirect_uri(WEB_APP_ID, "https://app.example/back?x=1").unwrap();
    let query =
        press(&sandbox, HOME_TENANT, &asked(&[("redirect_uri", Some("https://app.example/back?x=1"))]), &user).await;
    assert!(query.location.unwrap().as_str().starts_with("https://app.example/back?x=1&code="));
    assert!(sandbox.register_redirect_uri("nobody", "https://app.example/").is_err());
}

async fn start_device(sandbox: &Sandbox) -> Value {
    let url = format!("{}/entra/organizations/oauth2/v2.0/devicecode", sandbox.base_url());
    let form = [("client_id", CLI_APP_ID), ("scope", SCOPE)];
    browser().post(url).fields(&form).send().await.unwrap().json().await.unwrap()
}

async fn poll(sandbox: &Sandbox, started: &Value) -> (u16, Value) {
    let code = started["device_code"].as_str().unwrap();
    token(sandbox, "organizations", &[("grant_type", DEVICE), ("client_id", CLI_APP_ID), ("device_code", code)]).await
}

async fn enter(started: &Value, more: &[(&str, &str)]) -> Seen {
    let fields: Vec<_> = [("code", started["user_code"].as_str().unwrap())].iter().chain(more).copied().collect();
    seen(browser().post(started["verification_uri"].as_str().unwrap()).fields(&fields)).await
}

#[tokio::test]
async fn a_device_is_signed_in_from_a_browser_elsewhere() {
    let sandbox = sandbox().await;
    let started = start_device(&sandbox).await;
    assert!(started["message"].as_str().unwrap().contains(started["user_code"].as_str().unwrap()));
    assert_eq!((started["expires_in"].as_i64(), started["interval"].as_i64()), (Some(900), Some(1)));
    assert!(seen(browser().get(started["verification_uri"].as_str().unwrap())).await.body.contains("Enter the code"));
    let (status, body) = poll(&sandbox, &started).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("authorization_pending")));
    assert!(enter(&started, &[]).await.body.contains("Are you trying to sign in to Sandbox Command Line?"));
    assert!(enter(&started, &[("user", USER_ONE.oid)]).await.body.contains("You have signed in"));
    let (status, body) = poll(&sandbox, &started).await;
    assert_eq!((status, body["token_type"].as_str()), (200, Some("Bearer")), "{body}");
    assert_eq!(payload(body["id_token"].as_str().unwrap())["tid"], HOME_TENANT);
    assert_eq!(number(&poll(&sandbox, &started).await), 54005);
    assert_eq!(enter(&started, &[]).await.status, 400);

    let declined = start_device(&sandbox).await;
    assert!(enter(&declined, &[("step", "cancel")]).await.body.contains("Not signed in"));
    assert_eq!(poll(&sandbox, &declined).await.1["error"], "authorization_declined");
    assert_eq!(poll(&sandbox, &json!({"device_code": "invented"})).await.1["error"], "bad_verification_code");
    let late = start_device(&sandbox).await;
    sandbox.advance_clock(901);
    assert_eq!(poll(&sandbox, &late).await.1["error"], "expired_token");
    let form = [("grant_type", DEVICE), ("client_id", CLI_APP_ID), ("client_secret", "x"), ("device_code", "y")];
    assert_eq!(number(&token(&sandbox, "organizations", &form).await), 700_025);
}

async fn app_token(sandbox: &Sandbox, tenant: &str, id: &str, secret: &str) -> String {
    let changes = [
        ("client_id", Some(id)),
        ("client_secret", Some(secret)),
        ("scope", Some("https://graph.microsoft.com/.default")),
    ];
    let (status, body) = token(sandbox, tenant, &bot_form(&changes)).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn graph_knows_attributes_and_groups_of_the_tenant() {
    let sandbox = sandbox().await;
    let graph = format!("{}/graph/v1.0", sandbox.base_url());
    let token_ = app_token(&sandbox, HOME_TENANT, WEB_APP_ID, WEB_APP_SECRET).await;
    let get = async |url: String, token: &str| {
        let response = browser().get(url).bearer_auth(token).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let (_, user) = get(format!("{graph}/users/{}?$select=jobTitle,id", USER_ONE.oid), &token_).await;
    assert_eq!((&user["jobTitle"], &user["id"]), (&json!("Storyteller"), &json!(USER_ONE.oid)));
    assert!(user.get("displayName").is_none());
    assert_eq!(get(format!("{graph}/users/{}", USER_THREE.oid), &token_).await.0, 404);

    let url = format!("{graph}/users/{}/getMemberObjects", USER_TWO.oid);
    let first = browser().post(&url).bearer_auth(&token_).json(&json!({"securityEnabledOnly": true}));
    let mut page: Value = first.send().await.unwrap().json().await.unwrap();
    let mut found = page["value"].as_array().unwrap().len();
    while let Some(next) = page["@odata.nextLink"].as_str() {
        page = get(next.to_owned(), &token_).await.1;
        found += page["value"].as_array().unwrap().len();
    }
    assert_eq!(found, 232);
    let empty = browser().post(&url).bearer_auth(&token_).json(&json!({})).send().await.unwrap();
    assert_eq!(empty.status().as_u16(), 400);
    let ids = json!({"ids": [page["value"][0]], "types": ["group"]});
    let names = browser().post(format!("{graph}/directoryObjects/getByIds")).bearer_auth(&token_).json(&ids);
    let names: Value = names.send().await.unwrap().json().await.unwrap();
    assert!(names["value"][0]["displayName"].as_str().unwrap().starts_with("Project "));

    let code = code(&sandbox, HOME_TENANT, &USER_TWO, &[]).await;
    let (_, body) = token(&sandbox, HOME_TENANT, &redemption(&code, &[])).await;
    let id_token = payload(body["id_token"].as_str().unwrap());
    assert!(id_token.get("groups").is_none() && id_token["_claim_names"]["groups"] == "src1");
    let delegated = body["access_token"].as_str().unwrap();
    assert_eq!(get(format!("{graph}/users/{}", USER_TWO.oid), delegated).await.0, 403);
    assert_eq!(get(format!("{graph}/me/drive/root:/story.txt:/content"), delegated).await.0, 403);
}

#[tokio::test]
async fn a_document_belongs_to_one_user_and_its_address_takes_no_token() {
    let sandbox = sandbox().await;
    let graph = format!("{}/graph/v1.0", sandbox.base_url());
    let scope = [("scope", Some("openid https://graph.microsoft.com/Files.Read"))];
    let mut stories = Vec::new();
    for user in [&USER_ONE, &USER_TWO] {
        let code = code(&sandbox, HOME_TENANT, user, &scope).await;
        let (_, body) = token(&sandbox, HOME_TENANT, &redemption(&code, &[])).await;
        let bearer = body["access_token"].as_str().unwrap();
        let found = seen(browser().get(format!("{graph}/me/drive/root:/story.txt:/content")).bearer_auth(bearer)).await;
        let address = found.location.unwrap();
        assert_eq!(found.status, 302);
        assert_eq!(seen(browser().get(address.clone()).bearer_auth(bearer)).await.status, 401);
        stories.push(seen(browser().get(address)).await.body);
        let other = seen(browser().get(format!("{graph}/me/drive/root:/other.txt:/content")).bearer_auth(bearer)).await;
        assert_eq!(other.status, 404);
    }
    assert!(stories[0].contains(USER_ONE.name) && stories[1].contains(USER_TWO.name) && stories[0] != stories[1]);
}
