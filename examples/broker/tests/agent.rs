//! What an agent can do beside text: it sees pictures and files, names its sources, asks for approval and for a sign-in,
//! and goes on when a stream breaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use lab::processes::Redis;
use m365_sandbox::{
    Author, Conversation, Entry, Exchange, Fault, Sandbox,
    constants::{USER_ONE, USER_TWO},
};
use serde_json::{Value, json};
use support::{Broker, CONVERSATIONS, ITEMS, PLACEHOLDER, RESPONSES, chat, redis};
use tokio::time::sleep;

const PICTURE: &str = "GET /connector/{region}/{tenant}/v3/attachments/{attachment}/views/{view}";
const DOCUMENT: &str = "GET /documents/{document}";
const RESUMED: &str = "GET /foundry/api/projects/{project}/openai/v1/responses/{id}";
const CANCELLED: &str = "POST /foundry/api/projects/{project}/openai/v1/responses/{id}/cancel";
const CARD: &str = "application/vnd.microsoft.card.adaptive";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and no more";
const APPROVAL: &str = "sandbox:approval-agent Search for me";

/// The buttons of the newest card in a chat, with the id of its message.
fn buttons(chat: &Conversation) -> (String, Vec<Value>) {
    let transcript = chat.transcript();
    let entry = transcript.iter().rev().find(|entry| entry.card(CARD).is_some()).expect("a card");
    (entry.id.clone(), entry.card(CARD).unwrap()["actions"].as_array().unwrap().clone())
}

/// Presses a button of the newest card as this user, in this conversation.
async fn press(asked: &Conversation, presser: &Conversation, title: &str) -> Exchange {
    let (card, buttons) = buttons(asked);
    let button = buttons.iter().find(|button| button["title"] == title).unwrap_or_else(|| panic!("{buttons:?}"));
    presser.submit(&card, button["data"].clone()).await
}

/// The one entity that carries label and citations.
fn info(entry: &Entry) -> Value {
    let entities = entry.activity["entities"].as_array().cloned().unwrap_or_default();
    let mut infos = entities.into_iter().filter(|entity| entity["type"] == "https://schema.org/Message");
    let info = infos.next().unwrap_or_default();
    assert!(infos.next().is_none(), "one entity has all of it");
    info
}

/// What approval responses the agent has got.
fn decisions(sandbox: &Sandbox) -> Vec<Value> {
    let bodies = sandbox.log(RESPONSES).into_iter().filter_map(|request| request.json);
    bodies.filter_map(|body| body["input"].as_array().cloned()).flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_documents_reach_the_agent() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let attachments = json!([
        {"contentType": "text/html", "content": "<p>What is this?</p>"},
        chat.picture("image/png", PNG),
        chat.document("report.pdf", &b"%PDF-1.7 and no more"[..]),
        chat.document("notes.txt", &b"My badge number is 4711."[..]),
    ]);
    let exchange = chat.say_with("What is this?", json!({ "attachments": attachments })).await;
    let text = exchange.text();
    assert!(text.contains(&format!("a picture (image/png, {} bytes)", PNG.len())), "{text}\n{}", broker.log());
    assert!(text.contains("the file report.pdf (application/pdf, 20 bytes)"), "{text}");
    assert!(text.contains("4711"), "the text of the file counts as words: {text}");
    // The picture wants the bot's token, the document none: its address is the permission.
    let authorized = |route: &str| {
        let log = sandbox.log(route);
        log.iter().map(|request| (request.status, request.header("authorization").is_some())).collect::<Vec<_>>()
    };
    assert_eq!(authorized(PICTURE), [(200, true)]);
    assert_eq!(authorized(DOCUMENT), [(200, false), (200, false)]);
    assert_eq!(sandbox.requests(ITEMS), 1);
    // A message without words is one too.
    let picture = json!({"attachments": [chat.picture("image/png", PNG)]});
    assert!(chat.say_with("", picture).await.text().contains("I see a picture"), "{}", broker.log());
    assert!(!broker.log().contains("tempauth") && !broker.log().contains("4711"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_cannot_read_is_declined_and_the_rest_goes_on() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let mut gone = chat.document("gone.pdf", &b"%PDF"[..]);
    gone["content"]["downloadUrl"] = format!("{}/documents/none?tempauth=x", sandbox.base_url()).into();
    let mut evil = chat.picture("image/png", PNG);
    evil["contentUrl"] = "https://evil.example/v3/attachments/1/views/original".into();
    evil["name"] = "evil.png".into();
    let attachments = json!([
        chat.document("film.mp4", &b"\0\0"[..]),
        gone,
        evil,
        chat.document("huge.txt", vec![b'x'; 9 << 20]),
        chat.document("one.txt", &b"The cellar is locked."[..]),
        chat.document("sixth.txt", &b"never fetched"[..]),
    ]);
    let exchange = chat.say_with("Where?", json!({ "attachments": attachments })).await;
    let text = exchange.text();
    assert!(text.contains("The cellar is locked"), "{text}\n{}", broker.log());
    for words in ["but not: film.mp4.", "I could not get: gone.pdf, evil.png.", "128 KB of text): huge.txt, sixth.txt."]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(sandbox.requests(DOCUMENT), 3, "neither the film nor the sixth was asked for");
    assert_eq!(exchange.creates(), 1);
    // With nothing left there is nothing to ask the agent.
    let before = sandbox.requests("/foundry/**");
    let film = json!({"attachments": [chat.document("film.mp4", &b"\0\0"[..])]});
    assert!(chat.say_with("", film).await.text().contains("film.mp4"));
    let card = json!({"attachments": [{"contentType": CARD, "content": {"type": "AdaptiveCard"}}]});
    assert!(chat.say_with("", card).await.text().contains("but not: file."));
    assert_eq!(sandbox.requests("/foundry/**"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_become_citations() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    for conversation in [chat(&sandbox), sandbox.teams().user(USER_ONE).group("team", &[USER_TWO])] {
        let exchange = conversation.say("sandbox:citation-agent Where is it written?").await;
        let [entry] = &exchange.messages()[..] else { panic!("one message: {:#?}", exchange.replies) };
        assert_eq!(entry.text(), "The guide says so [1] and the file agrees [2].");
        for piece in &entry.history {
            assert!(!piece["text"].as_str().unwrap_or_default().contains('【'), "no raw mark was shown");
        }
        let info = info(entry);
        assert_eq!(info["additionalType"], json!(["AIGeneratedContent"]));
        let claims: Vec<_> = info["citation"]
            .as_array()
            .unwrap()
            .iter()
            .map(|claim| {
                let shown = &claim["appearance"];
                (claim["position"].as_u64().unwrap(), shown["name"].as_str().unwrap(), shown["url"].as_str())
            })
            .collect();
        assert_eq!(claims, [(1, "Guide", Some("https://docs.example/guide")), (2, "handbook.pdf", None)]);
    }
    // What a model wrote is labelled, sources or not; what the bot says itself is not.
    let chat = chat(&sandbox);
    assert_eq!(info(chat.say("Hello").await.messages()[0])["additionalType"], json!(["AIGeneratedContent"]));
    assert_eq!(info(chat.say(" ").await.messages()[0]), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_waits_for_the_users_approval() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    for (title, answer, approve) in
        [("Approve", "The search found 1 ticket.", true), ("Deny", "because you did not approve it", false)]
    {
        sandbox.clear_log();
        let chat = chat(&sandbox);
        let asked = chat.say(APPROVAL).await;
        assert!(asked.answered && !asked.text().is_empty(), "{}", broker.log());
        let card = asked.messages()[0].card(CARD).expect("a card").to_string();
        for shown in ["search_tickets", "tickets", r#"{\"query\":\"sandbox\"}"#, "For "] {
            assert!(card.contains(shown), "{shown}: {card}");
        }
        let decided = press(&chat, &chat, title).await;
        assert!(decided.text().contains(answer), "{}\n{}", decided.text(), broker.log());
        let [decision] = &decisions(&sandbox)[..] else { panic!("one decision") };
        assert_eq!((&decision["type"], &decision["approve"]), (&json!("mcp_approval_response"), &json!(approve)));
        // The button works once.
        for title in ["Approve", "Deny"] {
            assert!(press(&chat, &chat, title).await.text().contains("no longer open"), "{title}");
        }
        assert_eq!(decisions(&sandbox).len(), 1);
        // The conversation goes on.
        assert!(chat.say("Are you there?").await.text().contains("Are you there?"));
    }
    assert_eq!(sandbox.requests(CONVERSATIONS), 0, "the log was cleared: one conversation for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_for_somebody_else() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let teams = sandbox.teams();
    let group = teams.user(USER_ONE).group("team", &[USER_TWO]);
    let second = teams.user(USER_TWO).group("team", &[USER_ONE]);
    assert!(group.say(APPROVAL).await.answered, "{}", broker.log());
    for title in ["Approve", "Deny"] {
        let refused = press(&group, &second, title).await;
        assert!(refused.text().contains("Only the person"), "{}\n{}", refused.text(), broker.log());
    }
    // Neither does it help to take the button elsewhere, nor to make one.
    let elsewhere = teams.user(USER_TWO).conversation();
    assert!(press(&group, &elsewhere, "Approve").await.text().contains("no longer open"));
    let own = teams.user(USER_ONE).conversation();
    assert!(press(&group, &own, "Approve").await.text().contains("no longer open"), "bound to the conversation");
    let forged = json!({"broker": {"question": "mcpr_none", "choice": "approve"}});
    assert!(second.submit("1", forged).await.text().contains("no longer open"));
    let odd = json!({"broker": {"question": "x".repeat(100_000), "choice": "approve"}});
    assert!(second.submit("1", odd).await.text().contains("Write me a question"), "no button of ours");
    assert_eq!(decisions(&sandbox).len(), 0);
    // The one who was asked still can.
    assert!(press(&group, &group, "Approve").await.text().contains("1 ticket"), "{}", broker.log());
    assert_eq!(decisions(&sandbox).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_did_not_arrive_can_be_given_again() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    assert!(chat.say(APPROVAL).await.answered);
    sandbox.fault(Fault::on(RESPONSES).status(500));
    assert!(press(&chat, &chat, "Approve").await.text().starts_with("Sorry"));
    sandbox.clear_faults();
    assert!(press(&chat, &chat, "Approve").await.text().contains("1 ticket"), "{}", broker.log());
}

/// Settings for state that outlives the process.
fn shared(redis: &Redis) -> [(&'static str, String); 3] {
    let lease = ("TURN_LEASE_SECONDS", "2".to_owned());
    [("REDIS_URL", redis.url()), ("STORE_ENCRYPTION_KEY", Redis::KEYS.to_owned()), lease]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_outlives_the_process_that_asked_it() {
    let Some(redis) = redis() else { return };
    let sandbox = Sandbox::builder().start().await.unwrap();
    let settings = shared(&redis);
    let changes = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let first = Broker::serve(&sandbox, &changes, &[]).await;
    let group = sandbox.teams().user(USER_ONE).group("team", &[USER_TWO]);
    assert!(group.say(APPROVAL).await.answered, "{}", first.log());
    drop(first);
    let second = Broker::serve(&sandbox, &changes, &[]).await;
    let other = sandbox.teams().user(USER_TWO).group("team", &[USER_ONE]);
    assert!(press(&group, &other, "Approve").await.text().contains("Only the person"), "{}", second.log());
    assert!(press(&group, &group, "Approve").await.text().contains("1 ticket"), "{}", second.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_a_dead_process_began_is_heard_by_the_next_one() {
    let Some(redis) = redis() else { return };
    let sandbox = Sandbox::builder().start().await.unwrap();
    let settings = shared(&redis);
    let changes = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let first = Broker::serve(&sandbox, &changes, &[]).await;
    let chat = chat(&sandbox);
    let posted = chat.post("message", json!({"text": "sandbox:slow-agent My name is Ada"})).await;
    assert_eq!(posted.status, 200);
    // The answer grows, so its response is known; then the process dies.
    let streams = |chat: &Conversation| chat.transcript().iter().any(|entry| entry.streaming);
    for _ in 0..200 {
        if streams(&chat) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(streams(&chat), "{}", first.log());
    drop(first);
    let second = Broker::serve(&sandbox, &changes, &[]).await;
    let said = |chat: &Conversation| {
        let entries = chat.transcript();
        let mine = entries.iter().filter(|entry| entry.author == Author::Bot && !entry.streaming);
        mine.filter(|entry| entry.text().contains("Noted: “My name is Ada”")).count()
    };
    for _ in 0..400 {
        if said(&chat) > 0 {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(said(&chat), 1, "{}", second.log());
    assert_eq!((sandbox.requests(RESPONSES), sandbox.requests(ITEMS)), (1, 1), "the agent was asked once");
    assert!(sandbox.requests(RESUMED) >= 1 && sandbox.requests(CANCELLED) == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_for_the_agent_is_a_link_and_then_the_message_is_sent_again() {
    for agent in ["consent-agent", "consent-completed-agent"] {
        let sandbox = Sandbox::builder().start().await.unwrap();
        let broker = Broker::serve(&sandbox, &[], &[]).await;
        let teams = sandbox.teams();
        let group = teams.user(USER_ONE).group("team", &[USER_TWO]);
        let asked = group.say(&format!("sandbox:{agent} What is in my calendar?")).await;
        let card = asked.messages()[0].card(CARD).expect("a card").clone();
        assert_eq!(card["actions"][0]["type"], "Action.OpenUrl", "{}", broker.log());
        assert!(card["actions"][0]["url"].as_str().unwrap().starts_with("https://logic-apis.consent.azure-apim.net/"));
        let second = teams.user(USER_TWO).group("team", &[USER_ONE]);
        assert!(press(&group, &second, "Continue").await.text().contains("Only the person"));
        let after = press(&group, &group, "Continue").await;
        assert!(after.text().contains("I can reach your calendar now"), "{}\n{}", after.text(), broker.log());
        let items = sandbox.log(ITEMS);
        assert_eq!(items.len(), 2);
        let content = |n: usize| items[n].json.as_ref().unwrap()["items"][0]["content"].clone();
        assert_eq!(content(0), content(1), "what the user said is said again");
        assert!(press(&group, &group, "Continue").await.text().contains("no longer open"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_goes_on_where_it_broke() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let exchange = chat.say("sandbox:dropped-agent My name is Ada").await;
    assert!(exchange.text().contains("Noted: “My name is Ada”"), "{}\n{}", exchange.text(), broker.log());
    assert_eq!((sandbox.requests(RESPONSES), exchange.creates()), (1, 1), "the agent was asked once");
    let [resumed] = &sandbox.log(RESUMED)[..] else { panic!("resumed once") };
    assert!(resumed.parameter("starting_after").unwrap().parse::<u64>().unwrap() > 1);
    // The same with a connection that is cut by something between.
    sandbox.clear_log();
    sandbox.fault(Fault::on(RESPONSES).truncate(3_000).times(1));
    let exchange = chat.say("What is my name?").await;
    assert!(exchange.text().contains("Ada"), "{}\n{}", exchange.text(), broker.log());
    assert_eq!((sandbox.requests(RESPONSES), sandbox.requests(RESUMED)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waiting_means_that_the_agent_is_stopped() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let changes = [("ACK_THRESHOLD_SECONDS", "1"), ("TURN_TIMEOUT_SECONDS", "3")];
    let broker = Broker::serve(&sandbox, &changes, &[]).await;
    let chat = chat(&sandbox);
    let exchange = chat.say("sandbox:hang-agent Hello").await;
    assert!(exchange.text().contains("took too long"), "{}", broker.log());
    for _ in 0..100 {
        if sandbox.log(CANCELLED).iter().any(|request| request.status == 200) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sandbox.requests(CANCELLED), 1, "{}", broker.log());
    assert!(chat.say("Are you there?").await.text().contains("Are you there?"), "the conversation is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_with_half_a_tool_call_is_copied_without_it() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    assert!(chat.say("My name is Ada.").await.answered);
    // The agent calls a function of an application that is not here; the call stays without an output.
    assert!(chat.say("sandbox:function-agent What is the weather?").await.answered);
    let exchange = chat.say("What is my name?").await;
    assert!(exchange.text().contains("Ada"), "the memory was kept: {}\n{}", exchange.text(), broker.log());
    assert_eq!(sandbox.requests(CONVERSATIONS), 2);
    assert!(chat.say("And who am I?").await.text().contains("Ada"));
    assert_eq!(sandbox.requests(CONVERSATIONS), 2, "once");
    let placeholders = chat.transcript().iter().filter(|entry| entry.author == Author::Bot).count();
    assert_eq!(placeholders, 4, "one message each, {PLACEHOLDER}");
}
