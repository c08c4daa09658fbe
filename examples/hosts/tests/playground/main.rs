//! The unmodified Microsoft 365 Agents Playground drives an echo bot that is made of the crates, through the sandbox's
//! signing front, so that the bot runs its whole inbound path. It needs the npm package
//! `@microsoft/m365agentsplayground`, whose program is `agentsplayground`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bot;
mod tool;

use bot::{Bot, Callers};
use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, BOT_APP_SECRET, RESOURCE_TENANT},
};
use serde_json::json;
use tool::Tool;

const CARD: &str = "application/vnd.microsoft.card.adaptive";

/// A sandbox, a bot behind its front, and the tool in front of that.
async fn scene() -> (Sandbox, Bot, Tool) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let bot = Bot::start(&sandbox, Callers::Channel).await;
    sandbox.set_bot_endpoint(&bot.url);
    let tool = Tool::start(&format!("{}/front/api/messages", sandbox.base_url())).await;
    (sandbox, bot, tool)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_updates_streams_typing_and_members() {
    if !tool::is_installed() {
        return;
    }
    let (_sandbox, bot, mut tool) = scene().await;
    let (personal, group) = (tool.personal(), tool.group());

    tool.say(&personal, "good morning").await;
    assert_eq!(tool.message("createMessage").await["text"], "You said: good morning");
    let incoming = bot.got("message").remove(0);
    assert!(!incoming["serviceUrl"].as_str().unwrap().ends_with('/'));
    assert_ne!(incoming["recipient"]["id"], BOT_APP_ID, "the tool's bot has an id of its own");

    // What takes longer is announced, and the answer takes the place of the announcement.
    tool.say(&group, "slow").await;
    let placeholder = tool.message("createMessage").await;
    let answer = tool.message("updateMessage").await;
    assert_eq!((&placeholder["text"], &answer["text"]), (&json!("One moment …"), &json!("Here it is.")));
    assert_eq!(placeholder["messageId"], answer["messageId"]);

    // A personal chat takes a stream: what is being done, then the text as it grows, then the whole.
    tool.say(&personal, "stream").await;
    let first = tool.message("createMessage").await;
    assert_eq!((&first["text"], &first["streamEntity"]["streamType"]), (&json!("Counting …"), &json!("informative")));
    let mut pieces = 0;
    let last = loop {
        let piece = tool.message("updateMessage").await;
        assert_eq!(piece["messageId"], first["messageId"]);
        if piece["streamEntity"]["streamType"] == "final" {
            break piece;
        }
        assert_eq!(piece["streamEntity"]["streamType"], "streaming");
        assert!(bot::COUNT.starts_with(piece["text"].as_str().unwrap().trim()), "{piece}");
        pieces += 1;
    };
    assert!(pieces >= 1 && last["text"] == bot::COUNT, "{pieces} {last}");

    // A group does not: there the announcement is replaced.
    tool.say(&group, "stream").await;
    assert_eq!(tool.message("createMessage").await["text"], "Counting …");
    assert_eq!(tool.message("updateMessage").await["text"], bot::COUNT);

    tool.say(&personal, "typing").await;
    assert_eq!(tool.action("typing").await["actionConversationId"], personal.as_str());
    assert_eq!(tool.message("createMessage").await["text"], "I typed.");

    // The tool knows five users at most, so that a list has one page.
    for (chat, count) in [(&personal, 1), (&group, 6)] {
        tool.say(chat, "who").await;
        let text = tool.message("createMessage").await["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with(&format!("{count} here, you are Alex Wilber")), "{text}");
    }
    assert_eq!(bot.statuses(), [200; 7], "every request was let in and taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_and_injected_activities() {
    if !tool::is_installed() {
        return;
    }
    let (_sandbox, bot, mut tool) = scene().await;
    let personal = tool.personal();

    tool.say(&personal, "card").await;
    let shown = tool.message("createMessage").await;
    let card = &shown["attachments"][0];
    assert_eq!((&card["contentType"], &card["content"]["type"]), (&json!(CARD), &json!("AdaptiveCard")));
    let id = shown["messageId"].as_str().unwrap();
    let action = &card["content"]["actions"][0];
    assert_eq!(action["type"], "Action.Execute");
    let value = json!({
        "action": {"type": action["type"], "verb": action["verb"], "title": action["title"], "data": action["data"]},
        "trigger": "manual",
    });
    let answer = tool.invoke(&personal, "adaptiveCard/action", &value, Some(id)).await.unwrap();
    assert_eq!(answer["type"], CARD);
    assert_eq!(answer["value"]["body"][0]["text"], "Approved: 7");
    // A button that submits writes a message without text.
    tool.submit(&personal, id, &json!({"amount": 8})).await;
    assert_eq!(tool.message("createMessage").await["text"], r#"You sent {"amount":8}"#);

    // Invokes of the tool's own, and any that somebody writes into it.
    let query = json!({"commandId": "search", "parameters": [{"name": "q", "value": "trains"}]});
    let answer = tool.invoke(&personal, "composeExtension/query", &query, None).await.unwrap();
    assert_eq!(answer["composeExtension"]["text"], "Nothing about trains");
    let feedback = json!({"actionName": "feedback", "actionValue": {"reaction": "like", "feedback": "{}"}});
    tool.invoke(&personal, "message/submitAction", &feedback, None).await.unwrap();
    let unknown =
        tool.invoke(&personal, "composeExtension/queryLink", &json!({"url": "https://a.example"}), None).await;
    assert_eq!(unknown.unwrap_err(), 502, "the bot's 501, as the tool reports it");
    for (value, status) in [(json!({"data": {}, "context": {"theme": "dark"}}), 200), (json!("no request"), 400)] {
        let mut invoke = tool.template(&personal, None).await;
        invoke["type"] = json!("invoke");
        invoke["name"] = json!("task/fetch");
        invoke["value"] = value;
        let seen = bot.statuses().len();
        tool.inject(&invoke).await;
        assert_eq!(bot.status_after(seen).await, status);
    }

    // What its menu sends.
    let seen = bot.statuses().len();
    tool.inject(&tool.template(&personal, Some("botAdded")).await).await;
    assert_eq!(tool.message("createMessage").await["text"], "Welcome!");
    assert_eq!(bot.status_after(seen).await, 200);
    for (kind, name) in [
        ("install", "installationUpdate"),
        ("userAdded", "conversationUpdate"),
        ("userRemoved", "conversationUpdate"),
        ("botRemoved", "conversationUpdate"),
        ("uninstall", "installationUpdate"),
    ] {
        let seen = bot.statuses().len();
        let activity = tool.template(&personal, Some(kind)).await;
        tool.inject(&activity).await;
        assert_eq!(bot.status_after(seen).await, 200, "{kind}");
        assert_eq!(bot.got(name).last().unwrap()["id"], activity["id"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_front_nobody_is_let_in() {
    if !tool::is_installed() {
        return;
    }
    let sandbox = Sandbox::builder().start().await.unwrap();
    let bot = Bot::start(&sandbox, Callers::Channel).await;
    let tool = Tool::start(&bot.url).await;
    tool.say(&tool.personal(), "good morning").await;
    assert_eq!(bot.status_after(0).await, 401);
    assert!(bot.got("message").is_empty());
    assert_eq!(bot.tokens(), [None], "without credentials the tool sends no token");
}

/// With `--cid --cs --tid` the tool gets a token of Entra for the bot's own application, and demands one of the channel's
/// from the bot.
#[tokio::test(flavor = "multi_thread")]
async fn with_credentials_the_bots_own_application_is_let_in_by_opt_in_only() {
    if !tool::is_installed() {
        return;
    }
    let sandbox = Sandbox::builder().start().await.unwrap();
    let credentials = ["--cid", BOT_APP_ID, "--cs", BOT_APP_SECRET, "--tid", RESOURCE_TENANT];

    let bot = Bot::start(&sandbox, Callers::Channel).await;
    let tool = Tool::start_with(&bot.url, &credentials, Some(&sandbox)).await;
    tool.say(&tool.personal(), "good morning").await;
    assert_eq!(bot.status_after(0).await, 401, "the channel's part knows no such issuer");
    let claims = bot.claims(0);
    assert_eq!((&claims["aud"], &claims["azp"]), (&json!(BOT_APP_ID), &json!(BOT_APP_ID)));
    assert_eq!((&claims["tid"], claims.get("serviceurl")), (&json!(RESOURCE_TENANT), None));
    drop(tool);

    let bot = Bot::start(&sandbox, Callers::Emulator).await;
    let mut tool = Tool::start_with(&bot.url, &credentials, Some(&sandbox)).await;
    tool.say(&tool.personal(), "good morning").await;
    assert_eq!(bot.status_after(0).await, 200);
    assert_eq!(tool.message("createMessage").await["text"], "You said: good morning");
    drop(tool);

    // Nothing signs the service URL, so it must be on this machine.
    let elsewhere = [&credentials[..], &["--su", "https://smba.trafficmanager.net/teams"]].concat();
    let tool = Tool::start_with(&bot.url, &elsewhere, Some(&sandbox)).await;
    tool.say(&tool.personal(), "good morning").await;
    assert_eq!(bot.status_after(1).await, 403);
}
