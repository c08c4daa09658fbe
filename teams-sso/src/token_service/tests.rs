//! The service field by field, over a socket.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use botframework_activity::{ChannelCloud, VerifiedActivity};
use entra_auth::{AccessToken, Error, ReqwestTransport, Secret, TokenCredential, TokenRequest};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, header},
};

use super::*;
use crate::test_support::{ADA, BOT, TENANT, message, verified};

/// The bot's own tokens: `bot-1`, and `bot-2` when the first is rejected.
#[derive(Debug, Default)]
struct Bot(Mutex<Vec<String>>);

#[async_trait]
impl TokenCredential for Bot {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        self.0.lock().unwrap().push(request.scopes.to_string());
        let token = if request.rejected.is_some() { "bot-2" } else { "bot-1" };
        AccessToken::new(token, OffsetDateTime::UNIX_EPOCH)
    }
}

struct World {
    server: MockServer,
    bot: Arc<Bot>,
    client: TokenServiceClient,
    user: ChannelUser,
    activity: VerifiedActivity,
}

async fn world() -> World {
    let server = MockServer::start().await;
    let bot = Arc::new(Bot::default());
    let client = TokenServiceClient::builder(
        ChannelCloud::Public,
        Arc::clone(&bot) as Arc<dyn TokenCredential>,
        Arc::new(ReqwestTransport::new().unwrap()),
    )
    .base_url(format!("{}/tokenservice/", server.uri()).parse().unwrap())
    .build()
    .unwrap();
    let activity = verified("http://127.0.0.1:1/emea/", &message("http://127.0.0.1:1/emea/", "m-1", "hello"));
    let user = ChannelUser::of(&activity).unwrap();
    World { server, bot, client, user, activity }
}

impl World {
    async fn answers(&self, status: u16, body: &str) {
        let answer = ResponseTemplate::new(status).set_body_raw(body, "application/json");
        Mock::given(any()).respond_with(answer).mount(&self.server).await;
    }

    async fn first_answers(&self, answer: ResponseTemplate) {
        Mock::given(any()).respond_with(answer).up_to_n_times(1).mount(&self.server).await;
    }

    async fn requests(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }

    async fn only_request(&self) -> Request {
        let requests = self.requests().await;
        assert_eq!(requests.len(), 1);
        requests.into_iter().next().unwrap()
    }
}

fn text<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&json!({"alg": "RS256", "kid": "k", "typ": "JWT"})), part(claims))
}

#[tokio::test]
async fn get_token_on_the_wire() {
    let world = world().await;
    let token = jwt(&json!({"exp": 1_800_000_000}));
    let body = json!({"channelId": "msteams", "connectionName": "sso connection", "token": token});
    world.answers(200, &body.to_string()).await;
    let found = world.client.get_token(&world.user, "sso connection").await.unwrap().unwrap();
    assert_eq!(found.access_token().expose(), token);
    assert_eq!(found.access_token().expires_on().unix_timestamp(), 1_800_000_000);
    let request = world.only_request().await;
    assert_eq!(request.method.as_str(), "GET");
    assert_eq!(request.url.path(), "/tokenservice/api/usertoken/GetToken");
    assert_eq!(request.url.query(), Some("userId=29%3Aada&connectionName=sso+connection&channelId=msteams"));
    assert_eq!(text(&request, "authorization"), Some("Bearer bot-1"));
    assert_eq!(text(&request, "accept"), Some("application/json"));
    assert!(request.body.is_empty());
    assert_eq!(*world.bot.0.lock().unwrap(), ["https://api.botframework.com/.default"]);
}

#[tokio::test]
async fn redeem_on_the_wire() {
    let world = world().await;
    world.answers(404, "").await;
    assert!(world.client.redeem(&world.user, "sso", &Secret::new("123456")).await.unwrap().is_none());
    let request = world.only_request().await;
    assert_eq!(request.url.path(), "/tokenservice/api/usertoken/GetToken");
    assert_eq!(request.url.query(), Some("userId=29%3Aada&connectionName=sso&channelId=msteams&code=123456"));
}

#[tokio::test]
async fn not_signed_in_is_no_error() {
    for (status, body) in [
        (404, ""),
        (404, r#"{"channelId":"msteams","connectionName":"sso"}"#),
        (200, r#"{"token":""}"#),
        (200, r#"{"token":null}"#),
        (200, "{}"),
        (204, ""),
        (412, ""),
    ] {
        let world = world().await;
        world.answers(status, body).await;
        assert!(world.client.get_token(&world.user, "sso").await.unwrap().is_none(), "{status} {body}");
        assert_eq!(world.requests().await.len(), 1);
        // An exchange without a token asks for the user's consent.
        let error = world.client.exchange(&world.user, "sso", &Secret::new("t")).await.unwrap_err();
        assert_eq!(error.kind(), TokenServiceErrorKind::ConsentRequired, "{status} {body}");
    }
}

#[tokio::test]
async fn the_end_of_a_token() {
    let soon = || OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
    for (body, end) in [
        (json!({"token": "opaque", "expiration": "2030-03-17T17:46:40Z"}), Some(soon())),
        (json!({"Token": "opaque", "Expiration": "2030-03-17T17:46:40Z"}), Some(soon())),
        (json!({"token": jwt(&json!({"exp": 1_900_000_000})), "expiration": "2020-01-01T00:00:00Z"}), Some(soon())),
        (json!({"token": "opaque", "expiration": "soon"}), None),
        (json!({"token": "opaque"}), None),
        (json!({"token": jwt(&json!({}))}), None),
    ] {
        let world = world().await;
        world.answers(200, &body.to_string()).await;
        let before = now();
        let found = world.client.get_token(&world.user, "sso").await.unwrap().unwrap();
        let stated = found.access_token().expires_on();
        match end {
            Some(end) => assert_eq!(stated, end, "{body}"),
            // Nobody knows: five minutes.
            None => assert!((before..before + time::Duration::minutes(6)).contains(&stated), "{body}"),
        }
    }
}

#[tokio::test]
async fn exchange_on_the_wire() {
    let world = world().await;
    world.answers(200, r#"{"channelId":"msteams","connectionName":"sso","token":"opaque"}"#).await;
    let token = world.client.exchange(&world.user, "sso", &Secret::new("sso\"token")).await.unwrap();
    assert_eq!(token.access_token().expose(), "opaque");
    let request = world.only_request().await;
    assert_eq!(request.method.as_str(), "POST");
    assert_eq!(request.url.path(), "/tokenservice/api/usertoken/exchange");
    assert_eq!(request.url.query(), Some("userId=29%3Aada&connectionName=sso&channelId=msteams"));
    assert_eq!(text(&request, "content-type"), Some("application/json"));
    assert_eq!(text(&request, "authorization"), Some("Bearer bot-1"));
    assert_eq!(std::str::from_utf8(&request.body).unwrap(), r#"{"token":"sso\"token"}"#);
}

#[tokio::test]
async fn refused_exchanges_by_class_and_how_often_they_are_sent() {
    use TokenServiceErrorKind as Kind;
    let consent = r#"{"error":{"code":"ServiceError","message":"Consent Required"}}"#;
    let invalid = r#"{"error":{"code":"BadArgument","message":"secret words"}}"#;
    for (status, body, kind, requests, retryable) in [
        (400, consent, Kind::ConsentRequired, 1, false),
        (400, invalid, Kind::InvalidExchange, 1, false),
        (404, "", Kind::ConsentRequired, 1, false),
        (401, "", Kind::BotCredential, 2, false),
        (403, "", Kind::BotCredential, 1, false),
        (429, "", Kind::Throttled, 2, true),
        // Repeated, a 500 is what a wrong configuration looks like.
        (500, invalid, Kind::BadConnection, 2, false),
        (502, "<html>secret words</html>", Kind::Unavailable, 2, true),
        (503, "", Kind::Unavailable, 2, true),
        (200, "<html>secret words</html>", Kind::Protocol, 2, true),
        (302, "", Kind::Protocol, 1, true),
    ] {
        let world = world().await;
        world.answers(status, body).await;
        let error = world.client.exchange(&world.user, "sso", &Secret::new("secret-token")).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status} {body}");
        assert_eq!(world.requests().await.len(), requests, "{status} {body}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("ada"), "{error:?}");
    }
}

#[tokio::test]
async fn a_passing_fault_passes() {
    for fault in [
        ResponseTemplate::new(503),
        ResponseTemplate::new(500),
        ResponseTemplate::new(429).insert_header("retry-after", "0"),
        ResponseTemplate::new(200).set_body_raw("<html>", "text/html"),
    ] {
        let world = world().await;
        world.first_answers(fault).await;
        world.answers(200, r#"{"token":"opaque"}"#).await;
        assert!(world.client.get_token(&world.user, "sso").await.unwrap().is_some());
        assert_eq!(world.requests().await.len(), 2);
    }
}

#[tokio::test]
async fn what_asks_for_too_much_patience_is_not_repeated() {
    let world = world().await;
    world.first_answers(ResponseTemplate::new(429).insert_header("retry-after", "3")).await;
    let error = world.client.get_token(&world.user, "sso").await.unwrap_err();
    assert_eq!(error.kind(), TokenServiceErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(world.requests().await.len(), 1);
}

/// The code is used up by the first answer, whatever it was.
#[tokio::test]
async fn a_code_is_sent_once() {
    for status in [404, 429, 500, 503] {
        let world = world().await;
        world.answers(status, "").await;
        let _ = world.client.redeem(&world.user, "sso", &Secret::new("123456")).await;
        assert_eq!(world.requests().await.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_revoked_token_of_the_bot_is_replaced_once() {
    let world = world().await;
    Mock::given(header("authorization", "Bearer bot-1"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&world.server)
        .await;
    Mock::given(header("authorization", "Bearer bot-2"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"token": "opaque"})))
        .mount(&world.server)
        .await;
    assert!(world.client.get_token(&world.user, "sso").await.unwrap().is_some());
    assert_eq!(world.requests().await.len(), 2);
}

#[tokio::test]
async fn a_call_ends_at_the_deadline_of_its_caller() {
    let world = world().await;
    let hangs = ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    Mock::given(any()).respond_with(hangs).mount(&world.server).await;
    let started = Instant::now();
    let client = world.client.until(started + Duration::from_millis(200));
    let error = client.exchange(&world.user, "sso", &Secret::new("t")).await.unwrap_err();
    assert_eq!(error.kind(), TokenServiceErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn sign_in_resource_on_the_wire() {
    let world = world().await;
    let link = format!("{}/api/oauth/signin?signin=0", world.server.uri());
    let body = json!({
        "signInLink": link,
        "tokenExchangeResource": {"id": "g-1", "providerId": "p-1", "uri": "api://botid-1"},
        "tokenPostResource": {"sasUrl": format!("{}/api/sas/postToken?hmac=1", world.server.uri())}
    });
    world.answers(200, &body.to_string()).await;
    let resource = world.client.get_sign_in_resource(&world.user, &world.activity, "sso").await.unwrap();
    assert_eq!(resource.link(), link);
    let exchange = resource.token_exchange_resource().unwrap();
    assert_eq!((exchange.id.as_deref(), exchange.uri.as_deref()), (Some("g-1"), Some("api://botid-1")));
    assert_eq!(exchange.provider_id.as_deref(), Some("p-1"));
    assert!(resource.token_post_resource().is_some());
    assert!(!format!("{resource:?}").contains("signin="));

    let request = world.only_request().await;
    assert_eq!(request.method.as_str(), "GET");
    assert_eq!(request.url.path(), "/tokenservice/api/botsignin/GetSignInResource");
    let query = request.url.query().unwrap();
    let state = query.strip_prefix("state=").unwrap();
    assert!(!state.contains(['+', '/', '=']), "standard base64 must be percent-encoded: {state}");
    let (_, state) = request.url.query_pairs().next().unwrap();
    let state: Value = serde_json::from_slice(&STANDARD.decode(&*state).unwrap()).unwrap();
    assert_eq!(
        state,
        json!({
            "connectionName": "sso",
            "conversation": {
                "activityId": "m-1",
                "user": {"id": "29:ada"},
                "bot": {"id": format!("28:{BOT}")},
                "conversation": {"id": "a:1"},
                "channelId": "msteams",
                "serviceUrl": "http://127.0.0.1:1/emea"
            },
            "msAppId": BOT
        })
    );
}

/// With the product in the channel id the service shows a code page and the token can never be fetched.
#[tokio::test]
async fn copilot_is_the_base_channel_everywhere() {
    let world = world().await;
    let mut activity = message("http://127.0.0.1:1/", "m-1", "hello");
    activity["channelId"] = "msteams:COPILOT".into();
    let activity = verified("http://127.0.0.1:1/", &activity);
    let user = ChannelUser::of(&activity).unwrap();
    world.answers(200, &json!({"signInLink": format!("{}/x", world.server.uri())}).to_string()).await;
    let _ = world.client.get_token(&user, "sso").await;
    let resource = world.client.get_sign_in_resource(&user, &activity, "sso").await.unwrap();
    assert!(resource.token_exchange_resource().is_none());
    for request in world.requests().await {
        let query: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        for (name, value) in query {
            let value = match name.as_str() {
                "state" => String::from_utf8(STANDARD.decode(value).unwrap()).unwrap(),
                _ => value,
            };
            assert!(!value.contains("COPILOT"), "{name}={value}");
        }
    }
}

#[tokio::test]
async fn a_resource_is_read_in_either_letter_case_and_only_from_the_service() {
    let world = world().await;
    let link = format!("{}/x", world.server.uri());
    let pascal = json!({
        "SignInLink": link, "TokenExchangeResource": {"Id": "g-1", "ProviderId": "p", "Uri": "api://botid-1"},
        "TokenPostResource": {"SasUrl": "https://evil.example/sas"}
    });
    world.first_answers(ResponseTemplate::new(200).set_body_json(pascal)).await;
    let resource = world.client.get_sign_in_resource(&world.user, &world.activity, "sso").await.unwrap();
    assert_eq!(resource.token_exchange_resource().unwrap().id.as_deref(), Some("g-1"));
    assert!(resource.token_post_resource().is_none(), "a foreign address must not get a token");
    for link in ["https://evil.example/x", "javascript:alert(1)", ""] {
        world.server.reset().await;
        world.answers(200, &json!({"signInLink": link}).to_string()).await;
        let error = world.client.get_sign_in_resource(&world.user, &world.activity, "sso").await.unwrap_err();
        assert_eq!(error.kind(), TokenServiceErrorKind::Protocol);
        assert!(!format!("{error} {error:?}").contains("evil"));
    }
    world.server.reset().await;
    world.answers(400, r#"{"error":{"code":"BadArgument","message":"unknown connection"}}"#).await;
    let error = world.client.get_sign_in_resource(&world.user, &world.activity, "sso").await.unwrap_err();
    assert_eq!(error.kind(), TokenServiceErrorKind::BadConnection);
}

#[tokio::test]
async fn sign_out_on_the_wire() {
    for status in [200, 204, 404] {
        let world = world().await;
        world.answers(status, "").await;
        world.client.sign_out(&world.user, Some("sso")).await.unwrap();
        let request = world.only_request().await;
        assert_eq!(request.method.as_str(), "DELETE");
        assert_eq!(request.url.path(), "/tokenservice/api/usertoken/SignOut");
        assert_eq!(request.url.query(), Some("userId=29%3Aada&connectionName=sso&channelId=msteams"));
    }
    let world = world().await;
    world.answers(200, "").await;
    world.client.sign_out(&world.user, None).await.unwrap();
    assert_eq!(world.only_request().await.url.query(), Some("userId=29%3Aada&channelId=msteams"));
}

#[tokio::test]
async fn tokens_go_to_https_or_this_machine() {
    for (base, good) in [
        ("https://europe.token.botframework.com", true),
        ("http://127.0.0.1:8080/tokenservice", true),
        ("http://token.botframework.com", false),
        ("ftp://token.botframework.com", false),
    ] {
        let transport = Arc::new(ReqwestTransport::new().unwrap());
        let builder = TokenServiceClient::builder(ChannelCloud::Public, Arc::new(Bot::default()), transport);
        assert_eq!(builder.base_url(base.parse().unwrap()).build().is_ok(), good, "{base}");
    }
    for (cloud, base) in [
        (ChannelCloud::Public, "https://token.botframework.com/"),
        (ChannelCloud::Gcc, "https://token.botframework.com/"),
        (ChannelCloud::GccHigh, "https://token.botframework.azure.us/"),
        (ChannelCloud::Dod, "https://token.botframework.azure.us/"),
        (ChannelCloud::China, "https://token.botframework.azure.cn/"),
    ] {
        let transport = Arc::new(ReqwestTransport::new().unwrap());
        let client = TokenServiceClient::builder(cloud, Arc::new(Bot::default()), transport).build().unwrap();
        assert!(format!("{client:?}").contains(base), "{client:?}");
    }
}

#[tokio::test]
async fn only_users_of_a_directory_have_tokens() {
    let activity = message("http://127.0.0.1:1/", "m-1", "hello");
    let user = ChannelUser::of(&verified("http://127.0.0.1:1/", &activity)).unwrap();
    assert_eq!(user.key().object_id().as_str(), ADA);
    assert_eq!(user.key().tenant().as_str(), TENANT);
    assert!(!format!("{user:?}").contains("ada"));
    for (member, value) in [
        ("aadObjectId", Value::Null),
        ("aadObjectId", "not-a-guid".into()),
        ("id", Value::Null),
        ("id", "".into()),
        // A guest: the conversation's tenant is not the user's.
        ("tenantId", "bbbbbbbb-0000-4000-8000-00000000000b".into()),
    ] {
        let mut activity = activity.clone();
        match value {
            Value::Null => drop(activity["from"].as_object_mut().unwrap().remove(member)),
            value => activity["from"][member] = value,
        }
        assert_eq!(ChannelUser::of(&verified("http://127.0.0.1:1/", &activity)), Err(NoUser), "{member}");
    }
}

#[allow(clippy::disallowed_methods)] // compared with the system clock that the client uses
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
