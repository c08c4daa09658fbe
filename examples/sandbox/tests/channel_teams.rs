//! The Teams user: what the bot receives, field by field, and what the user sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use channel_bot::{echo, scene};
use m365_sandbox::constants::{BOT_APP_ID, HOME_TENANT, USER_ONE, USER_TWO};
use m365_sandbox::{Failure, Wait};
use serde_json::{Value, json};

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_is_signed_as_captured() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let exchange = chat.say("a < b").await;
    assert_eq!((exchange.posted.status, exchange.answered, exchange.text().as_str()), (200, true, "echo: a < b"));
    let headers = scene.bot.headers().remove(0);
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("user-agent"), "Microsoft-SkypeBotApi (Microsoft-BotFramework/3.0)");
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
    assert_eq!((header("x-ms-conversation-id").as_str(), header("x-ms-tenant-id").as_str()), (chat.id(), HOME_TENANT));
    assert!(header("ms-cv").contains(".1.1"));
    let token = header("authorization").strip_prefix("Bearer ").unwrap().to_owned();
    let (head, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((head["alg"].as_str(), head["typ"].as_str(), &head["kid"]), (Some("RS256"), Some("JWT"), &head["x5t"]));
    let service_url = scene.sandbox.service_url(HOME_TENANT);
    assert_eq!(service_url, format!("{}/connector/amer/{HOME_TENANT}/", scene.sandbox.base_url()));
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["aud", "exp", "iss", "nbf", "serviceurl"], "exactly the five captured claims");
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str()),
        (Some("https://api.botframework.com"), Some(BOT_APP_ID))
    );
    assert_eq!(claims["serviceurl"], service_url.to_lowercase());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 3600);
    let keys: Value = scene
        .bot
        .client
        .get(format!("{}/botframework/v1/.well-known/keys", scene.bot.base))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == head["kid"]).unwrap();
    assert!(key["endorsements"].as_array().unwrap().contains(&json!("msteams")));
    let activity = scene.bot.got("message").remove(0);
    assert_eq!((&activity["serviceUrl"], &activity["channelId"]), (&json!(service_url), &json!("msteams")));
    assert_eq!(activity["from"], json!({ "id": USER_ONE.mri, "name": USER_ONE.name, "aadObjectId": USER_ONE.oid }));
    assert_eq!(activity["recipient"]["id"], format!("28:{BOT_APP_ID}"));
    assert_eq!(
        activity["conversation"],
        json!({ "id": chat.id(), "conversationType": "personal", "tenantId": HOME_TENANT })
    );
    assert_eq!(activity["attachments"][0]["content"], "<p>a &lt; b</p>");
    assert_eq!(activity["channelData"]["tenant"]["id"], HOME_TENANT);
}

#[tokio::test]
async fn a_placeholder_is_not_the_answer() {
    let scene = scene(|bot, activity| async move {
        tokio::spawn(async move {
            bot.reply(&activity, json!({ "type": "typing" })).await;
            let id = bot.reply(&activity, json!({ "type": "message", "text": "One moment" })).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            bot.update(&activity, &id, "42").await;
        });
        (202, json!({}))
    })
    .await;
    let wait = Wait { placeholders: vec!["One moment".to_owned()], ..Wait::default() };
    let exchange = scene.teams.user(USER_ONE).conversation().waiting(wait).say("what?").await;
    assert_eq!((exchange.posted.status, exchange.text().as_str(), exchange.creates()), (202, "42", 1));
    assert_eq!(exchange.replies.last().unwrap().history[0]["text"], "One moment");
    assert!(exchange.posted.elapsed < exchange.elapsed && exchange.elapsed >= Duration::from_millis(500));
}

#[tokio::test]
async fn waiting_ends() {
    let silent = scene(|_, _| async { (200, json!({})) }).await;
    let wait = Wait { first: Duration::from_millis(200), ..Wait::default() };
    let exchange = silent.teams.user(USER_ONE).conversation().waiting(wait).say("hello?").await;
    assert_eq!((exchange.posted.status, exchange.answered, exchange.replies.len()), (200, false, 0));

    let hanging = scene(|_, _| async { std::future::pending().await }).await;
    let wait = Wait { post: Duration::from_millis(200), ..Wait::default() };
    let posted = hanging.teams.user(USER_ONE).conversation().waiting(wait).say("hello?").await.posted;
    assert_eq!((posted.status, posted.failure), (0, Some(Failure::Timeout)));
    assert!(posted.elapsed >= Duration::from_millis(200));

    hanging.sandbox.set_bot_endpoint("http://10.0.0.1:80/api/messages");
    let posted = hanging.teams.user(USER_ONE).conversation().say("hello?").await.posted;
    assert_eq!(posted.failure, Some(Failure::NoEndpoint), "only loopback is posted to");

    let refusing = scene(|_, _| async { (401, json!({ "error": "no" })) }).await;
    let exchange = refusing.teams.user(USER_ONE).conversation().say("hello?").await;
    assert_eq!((exchange.posted.status, exchange.posted.json()), (401, Some(json!({ "error": "no" }))));
}

#[tokio::test]
async fn users_and_chats_are_kept_apart() {
    let scene = echo().await;
    let (one, two) = (scene.teams.user(USER_ONE).conversation(), scene.teams.user(USER_TWO).conversation());
    let (first, second) = tokio::join!(one.say("from one"), two.say("from two"));
    assert_eq!((first.text().as_str(), second.text().as_str()), ("echo: from one", "echo: from two"));
    let again = one.say("again").await;
    assert_eq!(again.text(), "echo: again", "only the answer to this message");
    assert_eq!((one.transcript().len(), two.transcript().len()), (4, 2));
    assert_eq!(scene.teams.counters().creates, 3);
    let both = tokio::join!(one.say("a"), one.say("b"));
    assert_eq!((both.0.text().as_str(), both.1.text().as_str()), ("echo: a", "echo: b"));
}

#[tokio::test]
async fn channels_and_groups_mention_the_bot() {
    let scene = echo().await;
    let channel = scene.teams.user(USER_ONE).channel("Team", "General", &[USER_TWO]);
    let root = channel.say("hi").await;
    let activity = scene.bot.got("message").remove(0);
    assert_eq!(activity["text"], "<at>Sandbox Bot</at> hi");
    assert_eq!(activity["entities"][0]["mentioned"]["id"], format!("28:{BOT_APP_ID}"));
    assert_eq!(activity["conversation"]["id"], format!("{};messageid={}", channel.id(), root.activity_id));
    assert_eq!(
        (&activity["conversation"]["isGroup"], &activity["channelData"]["channel"]["id"]),
        (&json!(true), &json!(channel.id()))
    );
    channel.in_thread(&root.activity_id).say("and?").await;
    assert_eq!(scene.bot.got("message")[1]["conversation"]["id"], activity["conversation"]["id"]);
    assert_eq!(root.text(), "echo: <at>Sandbox Bot</at> hi");
}

#[tokio::test]
async fn everything_else_a_user_does() {
    let scene = echo().await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let said = chat.say("tpyo").await;
    let answer = said.messages()[0].id.clone();
    assert_eq!(chat.edit(&said.activity_id, "typo").await.status, 200);
    assert_eq!(chat.transcript()[0].text(), "typo");
    assert_eq!(chat.delete(&said.activity_id).await.status, 200);
    assert!(chat.transcript()[0].deleted);
    chat.undelete(&said.activity_id, "typo").await;
    chat.react(&answer, "like").await;
    chat.unreact(&answer, "like").await;
    chat.typing().await;
    chat.install().await;
    chat.event_named("application/vnd.microsoft.readReceipt", json!({ "lastReadMessageId": answer })).await;
    let submitted = chat.submit(&answer, json!({ "choice": 1 })).await;
    assert_eq!(submitted.text(), "echo: ");
    let invoked = chat.invoke("task/fetch", json!({ "data": {} })).await;
    assert_eq!((invoked.status, invoked.json()), (200, Some(json!({}))));
    let team = scene.teams.user(USER_ONE).channel("Team", "General", &[]);
    team.add_member(USER_TWO).await;
    team.team_event("channelRenamed").await;
    team.remove_member(USER_TWO).await;
    let bot = &scene.bot;
    let updates = bot.got("messageUpdate");
    assert_eq!(
        (&updates[0]["id"], &updates[0]["channelData"]["eventType"]),
        (&json!(said.activity_id), &json!("editMessage"))
    );
    assert_eq!(updates[1]["channelData"]["eventType"], "undeleteMessage");
    assert_eq!(bot.got("messageDelete")[0]["channelData"]["eventType"], "softDeleteMessage");
    let reactions = bot.got("messageReaction");
    assert_eq!(
        (&reactions[0]["reactionsAdded"][0]["type"], &reactions[1]["reactionsRemoved"][0]["type"]),
        (&json!("like"), &json!("like"))
    );
    let changes = bot.got("conversationUpdate");
    assert_eq!(changes[0]["membersAdded"][0]["id"], format!("28:{BOT_APP_ID}"));
    assert_eq!(
        (&changes[1]["channelData"]["eventType"], &changes[2]["channelData"]["eventType"]),
        (&json!("teamMemberAdded"), &json!("channelRenamed"))
    );
    assert_eq!(changes[3]["membersRemoved"][0]["id"], USER_TWO.mri);
    assert_eq!((bot.got("installationUpdate")[0]["action"].as_str(), bot.got("typing").len()), (Some("add"), 1));
    let invoke = bot.got("invoke").remove(0);
    assert!(invoke["id"].as_str().unwrap().starts_with("f:") && invoke["name"] == "task/fetch");
    chat.uninstall().await;
    let gone = chat.waiting(Wait { first: Duration::from_millis(100), ..Wait::default() }).say("anyone?").await;
    assert!(!gone.answered, "the connector refuses a removed bot");
}

#[tokio::test]
async fn answers_inside_the_response_appear_in_the_chat() {
    let scene = scene(|_, activity| async move {
        assert_eq!(activity["deliveryMode"], "expectReplies");
        (200, json!({ "activities": [{ "type": "typing" }, { "type": "message", "text": "inline" }] }))
    })
    .await;
    let chat = scene.teams.user(USER_ONE).conversation();
    let exchange = chat.say_with("hi", json!({ "deliveryMode": "expectReplies" })).await;
    assert_eq!((exchange.text().as_str(), exchange.answered, exchange.replies.len()), ("inline", true, 2));
    assert_eq!((chat.answers_to(&exchange.activity_id), scene.teams.counters().creates), (1, 0));
}
