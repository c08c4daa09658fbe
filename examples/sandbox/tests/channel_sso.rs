//! The client's half of single sign-on against a bot that uses the token service the raw way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use channel_bot::{Bot, Scene, encode, scene};
use m365_sandbox::constants::{BOT_APP_ID, GRAPH_CONNECTION, GRAPH_RESOURCE, SSO_RESOURCE, USER_ONE, USER_TWO};
use m365_sandbox::{Consent, Stage};
use serde_json::{Value, json};

const CARD: &str = "application/vnd.microsoft.card.oauth";

/// What the bot remembers between the card and its answer.
#[derive(Default)]
struct Flow {
    parked: Option<Value>,
    done: HashSet<String>,
    failures: usize,
    resource: Option<&'static str>,
}

type Flows = Arc<Mutex<Flow>>;

/// A bot that greets the user by the name in a token of the connection.
async fn greeter(flow: Flow) -> (Scene, Flows) {
    let flows: Flows = Arc::new(Mutex::new(flow));
    let shared = Arc::clone(&flows);
    let scene = scene(move |bot, activity| {
        let flows = Arc::clone(&shared);
        async move {
            match activity["type"].as_str().unwrap() {
                "message" => ask(&bot, &flows, &activity).await,
                "invoke" => invoked(&bot, &flows, &activity).await,
                _ => (200, json!({})),
            }
        }
    })
    .await;
    scene.sandbox.revoke_consent(&Consent::of_admin(BOT_APP_ID, GRAPH_RESOURCE));
    (scene, flows)
}

async fn token_service(
    bot: &Bot,
    method: &str,
    call: &str,
    activity: &Value,
    more: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let user = encode(activity["from"]["id"].as_str().unwrap());
    let url = format!(
        "{}/tokenservice/api/{call}?userId={user}&connectionName={GRAPH_CONNECTION}&channelId=msteams{more}",
        bot.base
    );
    let mut request = bot.client.request(method.parse().unwrap(), url).bearer_auth(bot.token().await);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn ask(bot: &Bot, flows: &Flows, activity: &Value) -> (u16, Value) {
    let state = json!({ "connectionName": GRAPH_CONNECTION, "msAppId": BOT_APP_ID,
        "conversation": { "user": activity["from"], "bot": activity["recipient"], "conversation": activity["conversation"], "channelId": "msteams" } });
    let state = format!("&state={}", encode(&STANDARD.encode(state.to_string())));
    let (status, answer) =
        token_service(bot, "GET", "usertoken/GetTokenOrSignInResource", activity, &state, None).await;
    assert_eq!(status, 200, "{answer}");
    if let Some(token) = answer["tokenResponse"]["token"].as_str() {
        bot.reply(activity, greeting(token)).await;
        return (200, json!({}));
    }
    let resource = &answer["signInResource"];
    let mut exchange = resource["tokenExchangeResource"].clone();
    if let Some(wrong) = flows.lock().unwrap().resource {
        exchange["uri"] = json!(wrong);
    }
    flows.lock().unwrap().parked = Some(activity.clone());
    let card = json!({ "text": "Please sign in", "connectionName": GRAPH_CONNECTION, "tokenExchangeResource": exchange,
        "buttons": [{ "type": "signin", "title": "Sign in", "value": resource["signInLink"] }] });
    bot.reply(activity, json!({ "type": "message", "attachments": [{ "contentType": CARD, "content": card }] })).await;
    (200, json!({}))
}

async fn invoked(bot: &Bot, flows: &Flows, activity: &Value) -> (u16, Value) {
    let value = &activity["value"];
    let (status, answer) = match activity["name"].as_str().unwrap() {
        "signin/tokenExchange" => {
            let fails = std::mem::replace(&mut flows.lock().unwrap().failures, 0);
            if fails > 0 {
                flows.lock().unwrap().failures = fails - 1;
                return (500, json!({}));
            }
            token_service(bot, "POST", "usertoken/exchange", activity, "", Some(json!({ "token": value["token"] })))
                .await
        }
        "signin/verifyState" if value["state"] == "CancelledByUser" => return (200, json!({})),
        "signin/verifyState" => {
            let code = format!("&code={}", value["state"].as_str().unwrap());
            token_service(bot, "GET", "usertoken/GetToken", activity, &code, None).await
        }
        _ => return (200, json!({})),
    };
    let Some(token) = answer["token"].as_str() else {
        let missing = if activity["name"] == "signin/verifyState" { 404 } else { 412 };
        return (
            missing,
            json!({ "id": value["id"], "connectionName": GRAPH_CONNECTION, "failureDetail": "not signed in" }),
        );
    };
    assert_eq!(status, 200);
    let id = value["id"].as_str().or_else(|| value["state"].as_str()).unwrap().to_owned();
    if flows.lock().unwrap().done.insert(id) {
        let parked = flows.lock().unwrap().parked.take().unwrap();
        let (bot, answer) = (bot.clone(), greeting(token));
        tokio::spawn(async move { bot.reply(&parked, answer).await });
    }
    (200, json!({ "id": value["id"], "connectionName": GRAPH_CONNECTION }))
}

fn greeting(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    json!({ "type": "message", "text": format!("Hello {}", claims["name"].as_str().unwrap()) })
}

fn consented(scene: &Scene) {
    scene.sandbox.grant_consent(&Consent::of_user(USER_ONE.oid, BOT_APP_ID, GRAPH_RESOURCE));
}

#[tokio::test]
async fn three_devices_sign_in_silently_and_one_answer_comes() {
    let (scene, _) = greeter(Flow::default()).await;
    consented(&scene);
    let user = scene.teams.user(USER_ONE);
    user.set_devices(3);
    let chat = user.conversation();
    let exchange = chat.say("who am I?").await;
    assert_eq!(exchange.messages().last().unwrap().text(), "Hello User One");
    let sign_in = exchange.sign_in.unwrap();
    assert_eq!(
        (sign_in.stage, sign_in.connection.as_str(), sign_in.steps.len()),
        (Stage::Completed, GRAPH_CONNECTION, 3)
    );
    assert!(sign_in.steps.iter().all(|step| step.posted.status == 200));
    let invokes = scene.bot.got("invoke");
    let ids: HashSet<&str> = invokes.iter().map(|invoke| invoke["value"]["id"].as_str().unwrap()).collect();
    assert_eq!((invokes.len(), ids.len()), (3, 1), "the same exchange id from every device");
    assert_ne!(invokes[0]["id"], invokes[1]["id"]);
    let token = invokes[0]["value"]["token"].as_str().unwrap();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(
        (&claims["aud"], &claims["scp"], &claims["oid"]),
        (&json!(BOT_APP_ID), &json!("access_as_user"), &json!(USER_ONE.oid))
    );
    let greetings = chat.transcript().iter().filter(|entry| entry.text() == "Hello User One").count();
    assert_eq!(greetings, 1);
    assert_eq!(chat.say("again").await.text(), "Hello User One", "the token service remembers");
}

#[tokio::test]
async fn without_consent_the_card_is_shown_and_a_code_completes() {
    let (scene, _) = greeter(Flow::default()).await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let exchange = chat.say("who am I?").await;
    let sign_in = exchange.sign_in.as_ref().unwrap();
    assert!(exchange.answered && exchange.text().is_empty());
    assert_eq!((sign_in.stage, sign_in.steps[0].posted.status), (Stage::CardShown, 412));
    assert_eq!(sign_in.steps[0].posted.json().unwrap()["failureDetail"], "not signed in");
    let wrong = chat.enter_code("000000").await;
    assert_eq!((wrong.posted.status, chat.sign_in().unwrap().stage), (404, Stage::CardShown));
    let done = chat.consent().await.unwrap();
    assert_eq!((done.posted.status, done.text().as_str()), (200, "Hello User One"));
    assert_eq!(chat.sign_in().unwrap().stage, Stage::Completed);
    let state = scene.bot.got("invoke").pop().unwrap()["value"]["state"].as_str().unwrap().to_owned();
    assert!(state.len() == 6 && state.bytes().all(|byte| byte.is_ascii_digit()));
}

#[tokio::test]
async fn consent_in_the_window_repeats_the_same_exchange() {
    let (scene, _) = greeter(Flow::default()).await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let first = chat.say("who am I?").await.sign_in.unwrap();
    let done = chat.consent_and_retry().await.unwrap();
    assert_eq!((done.posted.status, done.text().as_str()), (200, "Hello User One"));
    let last = scene.bot.got("invoke").pop().unwrap();
    assert_eq!(last["value"]["id"].as_str(), first.exchange_id.as_deref());
}

#[tokio::test]
async fn the_user_cancels_and_the_client_reports() {
    let (scene, _) = greeter(Flow::default()).await;
    let chat = scene.teams.user(USER_ONE).conversation();
    chat.say("who am I?").await;
    let wait = m365_sandbox::Wait { first: std::time::Duration::from_millis(100), ..m365_sandbox::Wait::default() };
    let cancelled = chat.waiting(wait).cancel().await;
    assert_eq!((cancelled.posted.status, chat.sign_in().unwrap().stage), (200, Stage::Cancelled));
    assert_eq!(scene.bot.got("invoke").pop().unwrap()["value"], json!({ "state": "CancelledByUser" }));
    chat.fail_sign_in("installedappnotfound", "App not installed").await;
    let last = scene.bot.got("invoke").pop().unwrap();
    assert_eq!((&last["name"], &last["value"]["code"]), (&json!("signin/failure"), &json!("installedappnotfound")));
    assert_eq!(chat.sign_in().unwrap().stage, Stage::Failed);
}

#[tokio::test]
async fn a_wrong_resource_is_reported_and_nothing_is_exchanged() {
    let (scene, _) = greeter(Flow { resource: Some("api://botid-someone-else"), ..Flow::default() }).await;
    consented(&scene);
    let exchange = scene.teams.user(USER_ONE).conversation().say("who am I?").await;
    assert_eq!(exchange.sign_in.unwrap().stage, Stage::Failed);
    let invokes = scene.bot.got("invoke");
    assert_eq!((invokes.len(), &invokes[0]["value"]["code"]), (1, &json!("resourcematchfailed")));
    assert_ne!(SSO_RESOURCE, "api://botid-someone-else");
}

#[tokio::test]
async fn an_invoke_answered_500_is_sent_again() {
    let (scene, _) = greeter(Flow { failures: 2, ..Flow::default() }).await;
    consented(&scene);
    let exchange = scene.teams.user(USER_ONE).conversation().say("who am I?").await;
    assert_eq!(exchange.messages().last().unwrap().text(), "Hello User One");
    let invokes = scene.bot.got("invoke");
    assert_eq!(invokes.len(), 3);
    assert_eq!(invokes[0], invokes[2], "the same activity again");
}

#[tokio::test]
async fn channels_and_loud_clients_do_not_sign_in_silently() {
    let (scene, _) = greeter(Flow::default()).await;
    consented(&scene);
    let channel = scene.teams.user(USER_ONE).channel("Team", "General", &[USER_TWO]);
    let exchange = channel.say("who am I?").await;
    assert_eq!(exchange.sign_in.unwrap().stage, Stage::CardShown);
    let user = scene.teams.user(USER_ONE);
    user.set_silent_sign_in(false);
    assert_eq!(user.conversation().say("who am I?").await.sign_in.unwrap().stage, Stage::CardShown);
    assert!(scene.bot.got("invoke").is_empty());
}
