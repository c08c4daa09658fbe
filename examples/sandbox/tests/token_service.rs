//! The user-token service, field by field, and what it refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core_support::*;
use m365_sandbox::constants::*;
use m365_sandbox::{Consent, Sandbox};
use serde_json::{Value, json};

struct Service {
    sandbox: Sandbox,
    bearer: String,
}

impl Service {
    async fn start() -> Self {
        Self::of(sandbox().await).await
    }

    async fn of(sandbox: Sandbox) -> Self {
        let bearer = bot_token(&sandbox).await;
        Self { sandbox, bearer }
    }

    async fn call(&self, method: &str, path: &str, query: &[(&str, &str)], body: Option<Value>) -> (u16, Value) {
        self.call_as(&self.bearer, method, path, query, body).await
    }

    async fn call_as(
        &self,
        bearer: &str,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> (u16, Value) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{}/tokenservice/api/{path}?{query}", self.sandbox.base_url());
        let mut request = client().request(method.parse().unwrap(), url).bearer_auth(bearer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn exchange(&self, user: &User, connection: &str, token: &str) -> (u16, Value) {
        let query = place(user.mri, connection);
        self.call("POST", "usertoken/exchange", &query, Some(json!({ "token": token }))).await
    }

    async fn get(&self, user: &User, connection: &str) -> (u16, Value) {
        self.call("GET", "usertoken/GetToken", &place(user.mri, connection), None).await
    }
}

fn place<'a>(user: &'a str, connection: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("userId", user), ("connectionName", connection), ("channelId", "msteams")]
}

fn state(user: &str, connection: &str, app: Option<&str>) -> String {
    let mut state = json!({
        "connectionName": connection,
        "conversation": {
            "activityId": "1", "user": {"id": user}, "bot": {"id": format!("28:{BOT_APP_ID}")},
            "conversation": {"id": "a:1"}, "channelId": "msteams", "serviceUrl": "https://smba.trafficmanager.net/amer/"
        },
    });
    if let Some(app) = app {
        state["msAppId"] = json!(app);
    }
    STANDARD.encode(state.to_string())
}

#[tokio::test]
async fn exchange_then_get_then_sign_out() {
    let service = Service::start().await;
    assert_eq!(service.get(&USER_ONE, SERVICE_CONNECTION).await, (404, json!("")));
    let sso = service.sandbox.sso_token(&USER_ONE);
    let (status, body) = service.exchange(&USER_ONE, SERVICE_CONNECTION, &sso).await;
    assert_eq!(status, 200, "{body}");
    let names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["channelId", "connectionName", "token"]);
    assert_eq!(
        (body["channelId"].as_str(), body["connectionName"].as_str()),
        (Some("msteams"), Some(SERVICE_CONNECTION))
    );
    let claims = payload(body["token"].as_str().unwrap());
    assert_eq!((claims["aud"].as_str(), claims["azp"].as_str()), (Some(SSO_APP_ID), Some(BOT_APP_ID)));
    assert_eq!((claims["scp"].as_str(), claims["oid"].as_str()), (Some("access_as_user"), Some(USER_ONE.oid)));
    // The bot itself goes on from there.
    let form = [
        ("grant_type", Some(OBO)),
        ("requested_token_use", Some("on_behalf_of")),
        ("assertion", body["token"].as_str()),
        ("scope", Some("https://graph.microsoft.com/User.Read")),
    ];
    let (status, graph) = token(&service.sandbox, HOME_TENANT, &bot_form(&form)).await;
    assert_eq!(status, 200, "{graph}");
    assert_eq!(payload(graph["access_token"].as_str().unwrap())["name"], "User One");

    assert_eq!(service.get(&USER_ONE, SERVICE_CONNECTION).await, (200, body));
    // Parameter names in another letter case, as one SDK sends them.
    let lower = [("userid", USER_ONE.mri), ("connectionname", SERVICE_CONNECTION), ("channelid", "msteams")];
    assert_eq!(service.call("GET", "usertoken/GetToken", &lower, None).await.0, 200);
    // Other user, other channel, other connection: nothing.
    assert_eq!(service.get(&USER_TWO, SERVICE_CONNECTION).await.0, 404);
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.0, 404);
    let direct_line = [("userId", USER_ONE.mri), ("connectionName", SERVICE_CONNECTION), ("channelId", "directline")];
    assert_eq!(service.call("GET", "usertoken/GetToken", &direct_line, None).await.0, 404);

    let (_, status) = service.call("GET", "usertoken/GetTokenStatus", &[("userId", USER_ONE.mri)], None).await;
    let held: Vec<bool> = status.as_array().unwrap().iter().map(|one| one["hasToken"].as_bool().unwrap()).collect();
    assert_eq!(held, [true, false, false]);
    let include = [("userId", USER_ONE.mri), ("include", GRAPH_CONNECTION)];
    let (_, status) = service.call("GET", "usertoken/GetTokenStatus", &include, None).await;
    assert_eq!(
        status,
        json!([{"channelId": "msteams", "connectionName": GRAPH_CONNECTION, "hasToken": false, "serviceProviderDisplayName": "Azure Active Directory v2"}])
    );

    assert_eq!(service.call("DELETE", "usertoken/SignOut", &[("userId", USER_ONE.mri)], None).await.0, 200);
    assert_eq!(service.get(&USER_ONE, SERVICE_CONNECTION).await.0, 404);
    assert_eq!(service.call("DELETE", "usertoken/SignOut", &[("userId", USER_ONE.mri)], None).await.0, 200);
}

#[tokio::test]
async fn each_connection_has_its_own_resource() {
    let service = Service::start().await;
    let sso = service.sandbox.sso_token(&USER_ONE);
    for (connection, audience) in [(SERVICE_API_CONNECTION, SERVICE_APP_ID), (GRAPH_CONNECTION, GRAPH_RESOURCE)] {
        let (_, body) = service.exchange(&USER_ONE, connection, &sso).await;
        assert_eq!(payload(body["token"].as_str().unwrap())["aud"], audience);
    }
    let body = json!({"resourceUrls": ["https://graph.microsoft.com"]});
    let (status, map) = service
        .call("POST", "usertoken/GetAadTokens", &place(USER_ONE.mri, GRAPH_CONNECTION), Some(body.clone()))
        .await;
    assert_eq!(status, 200, "{map}");
    assert_eq!(payload(map["https://graph.microsoft.com"]["token"].as_str().unwrap())["aud"], GRAPH_RESOURCE);
    let none = service.call("POST", "usertoken/GetAadTokens", &place(USER_TWO.mri, GRAPH_CONNECTION), Some(body)).await;
    assert_eq!(none.0, 404);
    let uri = Some(json!({"uri": SERVICE_RESOURCE}));
    let (status, body) = service.call("POST", "usertoken/exchange", &place(USER_ONE.mri, GRAPH_CONNECTION), uri).await;
    assert_eq!((status, payload(body["token"].as_str().unwrap())["aud"].as_str()), (200, Some(SERVICE_APP_ID)));
}

#[tokio::test]
async fn refused_exchanges() {
    let service = Service::start().await;
    let sso = service.sandbox.sso_token(&USER_ONE);
    service.sandbox.revoke_consent(&Consent::of_admin(BOT_APP_ID, GRAPH_RESOURCE));
    let (status, body) = service.exchange(&USER_ONE, GRAPH_CONNECTION, &sso).await;
    assert_eq!(
        (status, &body["error"]["code"], &body["error"]["message"]),
        (400, &json!("ServiceError"), &json!("Consent Required"))
    );
    assert_eq!(body["error"]["innerHttpError"]["statusCode"], 400);
    assert_eq!(body["error"]["innerHttpError"]["body"]["error_codes"], json!([65001]));
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.0, 404);

    let now = now(&service.sandbox).await;
    let mut old = payload(&sso);
    old["exp"] = json!(now - 100);
    let old = service.sandbox.sign(m365_sandbox::Signer::Entra, &json!({}), &old);
    for (token, code) in [(old.as_str(), 500_133), (service.bearer.as_str(), 7_000_114), ("garbage", 50013)] {
        let (status, body) = service.exchange(&USER_ONE, SERVICE_CONNECTION, token).await;
        assert_eq!((status, &body["error"]["innerHttpError"]["body"]["error_codes"][0]), (400, &json!(code)));
        assert_ne!(body["error"]["message"], "Consent Required");
    }
    assert_eq!(service.exchange(&USER_ONE, "unknown", &sso).await.0, 404);
    for missing in ["userId", "connectionName", "channelId"] {
        let query: Vec<_> =
            place(USER_ONE.mri, SERVICE_CONNECTION).into_iter().filter(|(name, _)| *name != missing).collect();
        let (status, body) = service.call("POST", "usertoken/exchange", &query, Some(json!({"token": sso}))).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("BadArgument")), "{missing}");
    }
    let query = place(USER_ONE.mri, SERVICE_CONNECTION);
    assert_eq!(service.call("POST", "usertoken/exchange", &query, Some(json!({}))).await.0, 400);
    assert_eq!(service.call("POST", "usertoken/exchange", &query, None).await.0, 400);
    assert_eq!(service.call("GET", "usertoken/GetToken", &[("userId", "29:x")], None).await.0, 400);
    assert_eq!(service.call("GET", "usertoken/GetTokenStatus", &[], None).await.0, 400);
    assert_eq!(service.call("DELETE", "usertoken/SignOut", &[], None).await.0, 400);
}

#[tokio::test]
async fn only_the_bot_of_the_resource_tenant_may_call() {
    let service = Service::start().await;
    let sandbox = &service.sandbox;
    let issue = async |tenant: &str, changes: &[(&str, Option<&str>)]| {
        let (status, body) = token(sandbox, tenant, &bot_form(changes)).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    };
    let other = [("client_id", Some(OTHER_APP_ID)), ("client_secret", Some(OTHER_APP_SECRET))];
    for (why, bearer, expected) in [
        ("the user's tenant", issue(HOME_TENANT, &[]).await, 401),
        ("another audience", issue(RESOURCE_TENANT, &[("scope", Some("https://ai.azure.com/.default"))]).await, 401),
        ("another app", issue(RESOURCE_TENANT, &other).await, 403),
        ("a user's token", sandbox.sso_token(&USER_ONE), 401),
        ("a channel token", sandbox.channel_token(BOT_APP_ID, &sandbox.service_url(HOME_TENANT)), 401),
        ("garbage", "x".to_owned(), 401),
    ] {
        let paths = [
            ("GET", "usertoken/GetToken"),
            ("POST", "usertoken/exchange"),
            ("POST", "usertoken/GetAadTokens"),
            ("GET", "usertoken/GetTokenOrSignInResource"),
            ("DELETE", "usertoken/SignOut"),
            ("GET", "usertoken/GetTokenStatus"),
            ("GET", "botsignin/GetSignInUrl"),
            ("GET", "botsignin/GetSignInResource"),
        ];
        for (method, path) in paths {
            let (status, _) =
                service.call_as(&bearer, method, path, &place(USER_ONE.mri, SERVICE_CONNECTION), None).await;
            assert_eq!(status, expected, "{why} at {path}");
        }
    }
    let url = format!("{}/tokenservice/api/usertoken/GetTokenStatus?userId=29:x", sandbox.base_url());
    let response = client().get(url).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["www-authenticate"].to_str().unwrap()), (401, "Bearer"));
}

#[tokio::test]
async fn sign_in_resource_and_magic_code() {
    let service = Service::start().await;
    let given = state(USER_ONE.mri, GRAPH_CONNECTION, Some(BOT_APP_ID));
    let (status, resource) = service.call("GET", "botsignin/GetSignInResource", &[("state", &given)], None).await;
    assert_eq!(status, 200, "{resource}");
    let link = resource["signInLink"].as_str().unwrap();
    assert!(link.starts_with(&format!("{}/tokenservice/api/oauth/signin?signin=", service.sandbox.base_url())));
    assert_eq!(resource["tokenExchangeResource"]["uri"], SSO_RESOURCE);
    assert_eq!(resource["tokenExchangeResource"]["providerId"], "30dd229c-58e3-4a48-bdfd-91ec48eb906c");
    assert_eq!(resource["tokenExchangeResource"]["id"].as_str().unwrap().len(), 36);
    assert!(resource["tokenPostResource"]["sasUrl"].as_str().unwrap().contains("/api/sas/postToken?expiry="));
    let (_, plain) = service.call("GET", "botsignin/GetSignInUrl", &[("state", &given)], None).await;
    assert!(plain.as_str().unwrap().contains("/api/oauth/signin?signin="));

    let page = client().get(link).header("accept", "application/json").send().await.unwrap();
    let code = page.json::<Value>().await.unwrap()["code"].as_str().unwrap().to_owned();
    assert_eq!(client().get(link).send().await.unwrap().status().as_u16(), 404, "a link works once");
    let with = |user: &'static str, code: String| {
        let service = &service;
        async move {
            let mut query = place(user, GRAPH_CONNECTION);
            query.push(("code", &code));
            service.call("GET", "usertoken/GetToken", &query, None).await
        }
    };
    assert_eq!(with(USER_ONE.mri, "000000x".to_owned()).await.0, 404);
    assert_eq!(with(USER_TWO.mri, code.clone()).await.0, 404, "a code belongs to its user");
    let (status, body) = with(USER_ONE.mri, code.clone()).await;
    assert_eq!((status, payload(body["token"].as_str().unwrap())["oid"].as_str()), (200, Some(USER_ONE.oid)));
    assert_eq!(with(USER_ONE.mri, code).await.0, 404, "a code works once");
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.0, 200);
}

#[tokio::test]
async fn refused_states() {
    let service = Service::start().await;
    let user_less = STANDARD.encode(json!({"connectionName": GRAPH_CONNECTION}).to_string());
    let product = STANDARD.encode(
        json!({"connectionName": GRAPH_CONNECTION, "msAppId": BOT_APP_ID, "conversation": {"user": {"id": "29:x"}, "channelId": "msteams:copilot"}}).to_string(),
    );
    for (why, given) in [
        ("not base64", "{}".to_owned()),
        ("unknown connection", state("29:x", "unknown", Some(BOT_APP_ID))),
        ("another bot", state("29:x", GRAPH_CONNECTION, Some(OTHER_APP_ID))),
        ("no user", user_less),
        ("a product channel", product),
    ] {
        let (status, body) = service.call("GET", "botsignin/GetSignInResource", &[("state", &given)], None).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("BadArgument")), "{why}");
    }
    assert_eq!(service.call("GET", "botsignin/GetSignInResource", &[], None).await.0, 400);
    let without_app = state("29:x", GRAPH_CONNECTION, None);
    let (status, body) = service.call("GET", "botsignin/GetSignInResource", &[("state", &without_app)], None).await;
    assert!(status == 200 && body.get("tokenExchangeResource").is_none());
    // Members in another letter case, as one SDK sends them.
    let pascal = STANDARD.encode(
        json!({"ConnectionName": GRAPH_CONNECTION, "MsAppId": BOT_APP_ID, "Conversation": {"User": {"Id": "29:x"}}})
            .to_string(),
    );
    assert_eq!(service.call("GET", "botsignin/GetSignInResource", &[("state", &pascal)], None).await.0, 200);
}

#[tokio::test]
async fn one_round_trip_for_both() {
    let service = Service::start().await;
    let given = state(USER_ONE.mri, SERVICE_CONNECTION, Some(BOT_APP_ID));
    let mut query = place(USER_ONE.mri, SERVICE_CONNECTION);
    query.push(("state", &given));
    let (status, body) = service.call("GET", "usertoken/GetTokenOrSignInResource", &query, None).await;
    assert_eq!(status, 200, "{body}");
    assert!(body["signInResource"]["signInLink"].is_string() && body.get("tokenResponse").is_none());
    service.exchange(&USER_ONE, SERVICE_CONNECTION, &service.sandbox.sso_token(&USER_ONE)).await;
    let (_, body) = service.call("GET", "usertoken/GetTokenOrSignInResource", &query, None).await;
    assert!(body["tokenResponse"]["token"].is_string() && body.get("signInResource").is_none());
}

#[tokio::test]
async fn tokens_are_renewed_until_consent_ends() {
    let sandbox = Sandbox::builder().user_token_ttl(Duration::from_secs(600)).start().await.unwrap();
    let service = Service::of(sandbox).await;
    let sso = service.sandbox.sso_token(&USER_ONE);
    let (_, first) = service.exchange(&USER_ONE, GRAPH_CONNECTION, &sso).await;
    service.sandbox.advance_clock(200);
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.1, first);
    service.sandbox.advance_clock(200);
    let (_, second) = service.get(&USER_ONE, GRAPH_CONNECTION).await;
    assert_ne!(first["token"], second["token"]);
    service.sandbox.revoke_consent(&Consent::of_admin(BOT_APP_ID, GRAPH_RESOURCE));
    service.sandbox.advance_clock(500);
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.1, second, "it still works");
    service.sandbox.advance_clock(200);
    assert_eq!(service.get(&USER_ONE, GRAPH_CONNECTION).await.0, 404);
}
