//! Turns of real conversations: memory, long answers, faults on the way, a cloud that goes away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use m365_sandbox::{
    Fault, Restart, Sandbox, Wait,
    constants::{USER_ONE, USER_TWO},
};
use support::{Broker, CONVERSATIONS, ITEMS, PLACEHOLDER, RESPONSES, TOKENS, chat};

const APOLOGY: &str = "Sorry, I could not reach the assistant";

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_of_the_first_turn_is_known_in_the_third() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    for text in ["My name is Ada.", "What can you do?"] {
        assert!(chat.say(text).await.answered);
    }
    let third = chat.say("What is my name?").await;
    assert!(third.text().contains("Ada"), "{}", third.text());
    assert_eq!(third.creates(), 1, "one answer");
    // Another user has another conversation: nothing is shared by accident.
    let other = sandbox.teams().user(USER_TWO).conversation().say("What is my name?").await;
    assert!(other.answered && !other.text().contains("Ada"), "{}", other.text());

    assert_eq!(sandbox.requests(CONVERSATIONS), 2, "one conversation each");
    assert_eq!(sandbox.requests(TOKENS), 2, "one token for Foundry, one for the connector");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_mirrors_the_message() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let exchange = chat.say("Hello").await;
    let reply = &exchange.messages()[0].activity;
    let transcript = chat.transcript();
    let message = &transcript.iter().find(|entry| entry.id == exchange.activity_id).unwrap().activity;
    assert_eq!(reply["replyToId"], message["id"]);
    for (ours, theirs) in [("from", "recipient"), ("recipient", "from")] {
        assert_eq!(reply[ours]["id"], message[theirs]["id"], "{ours}");
    }
    assert_eq!(reply["conversation"]["id"], message["conversation"]["id"]);
    assert_eq!(reply["type"], "message");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_is_answered_while_the_agent_hangs() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let changes = [("ACK_THRESHOLD_SECONDS", "1"), ("TURN_TIMEOUT_SECONDS", "4")];
    let broker = Broker::serve(&sandbox, &changes, &[]).await;
    sandbox.fault(Fault::on(RESPONSES).delay(Duration::from_secs(60)));
    let wait = Wait { placeholders: vec![PLACEHOLDER.to_owned()], ..Wait::default() };
    let chat = sandbox.teams().user(USER_ONE).conversation().waiting(wait);
    let exchange = chat.say("Hello").await;
    assert_eq!(exchange.posted.status, 200);
    // The answer takes milliseconds; a second is what the channel is promised.
    assert!(exchange.posted.elapsed < Duration::from_secs(1), "{:?}", exchange.posted.elapsed);
    let entry = exchange.messages()[0];
    assert_eq!(entry.history[0]["text"], PLACEHOLDER, "the placeholder came first");
    assert!(entry.text().contains("took too long"), "{}", entry.text());
    assert_eq!(exchange.creates(), 1, "the apology replaced the placeholder");
    // The conversation is free again.
    sandbox.clear_faults();
    assert!(chat.say("Are you there?").await.text().contains("Are you there?"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_foundry_and_entra_are_apologies_and_the_memory_stays() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let mut broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    chat.say("My name is Ada.").await;
    for fault in [
        Fault::on(RESPONSES).status(500),
        Fault::on(RESPONSES).malformed(),
        Fault::on(RESPONSES).truncate(200),
        Fault::on(RESPONSES).html(502),
        Fault::on(ITEMS).status(500),
    ] {
        sandbox.fault(fault.clone());
        let exchange = chat.say("Hello").await;
        assert!(exchange.text().starts_with(APOLOGY), "{fault:?}: {}", exchange.text());
        assert_eq!(exchange.creates(), 1);
        sandbox.clear_faults();
    }
    assert!(chat.say("What is my name?").await.text().contains("Ada"), "the mapping was kept");
    assert!(broker.is_alive());
    let log = broker.log();
    assert!(!log.contains("Ada"), "the log holds message text: {log}");
    assert!(log.contains("status 500"), "the log says why: {log}");

    let fresh = Sandbox::builder().start().await.unwrap();
    fresh.fault(Fault::on(TOKENS).answer(
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: marker","error_codes":[7000215],"correlation_id":"c-17"}"#,
    ).times(1));
    let mut broker = Broker::serve(&fresh, &[], &[]).await;
    let chat = support::chat(&fresh);
    let exchange = chat.say("Hello").await;
    assert!(exchange.text().starts_with(APOLOGY), "{}", exchange.text());
    let log = broker.log();
    assert!(log.contains("AADSTS7000215") && log.contains("c-17"), "code and correlation id are logged: {log}");
    assert!(!log.contains("marker"), "{log}");
    assert!(broker.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_goes_away_brings_an_apology_and_then_recovery() {
    for restart in [Restart::Kept, Restart::Fresh] {
        let sandbox = Sandbox::builder().start().await.unwrap();
        let broker = Broker::serve(&sandbox, &[], &[]).await;
        let chat = chat(&sandbox);
        assert!(chat.say("My name is Ada.").await.answered);
        // The agent is in the middle of an answer when the cloud goes away.
        sandbox.fault(Fault::on(RESPONSES).delay(Duration::from_secs(30)).times(1));
        let posted = chat.post("message", serde_json::json!({"text": "Hello"})).await;
        assert_eq!(posted.status, 200);
        while sandbox.requests(RESPONSES) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sandbox.stop().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        sandbox.restart(restart).await.unwrap();
        sandbox.clear_faults();
        let chat = support::chat(&sandbox);
        if restart == Restart::Kept {
            // The connector was away too; the apology is delivered when it is back.
            let mut apologies = 0;
            for _ in 0..300 {
                apologies = chat.transcript().iter().filter(|entry| entry.text().starts_with("Sorry")).count();
                if apologies > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(
                apologies,
                1,
                "{:#?}\n{}",
                chat.transcript().iter().map(|entry| entry.text().to_owned()).collect::<Vec<_>>(),
                broker.log()
            );
            assert!(chat.say("What is my name?").await.text().contains("Ada"), "recovered, memory and all");
        } else {
            // A new world knows neither keys nor conversations of the old one.
            let exchange = chat.say("Are you there?").await;
            assert!(exchange.text().contains("Are you there?"), "{:?}\n{}", exchange, broker.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_question_never_reaches_foundry() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    assert!(chat.say("   ").await.text().contains("Write me a question"));
    let picture =
        serde_json::json!({"attachments": [{"contentType": "image/png", "contentUrl": "https://example.com/a.png"}]});
    assert!(chat.say_with("", picture).await.text().contains("could not get"));
    assert_eq!(chat.typing().await.status, 200);
    assert_eq!(chat.react("1", "like").await.status, 200);
    assert_eq!(chat.post("somethingNew", serde_json::json!({})).await.status, 200);
    assert_eq!(chat.invoke("someone/unheardOf", serde_json::json!({})).await.status, 501);
    let action = chat
        .invoke("adaptiveCard/action", serde_json::json!({"action": {"type": "Action.Execute", "verb": "x"}}))
        .await;
    assert_eq!((action.status, action.json().unwrap()["statusCode"].as_u64()), (200, Some(400)));
    assert!(chat.install().await.is_success());
    assert_eq!(sandbox.requests("/foundry/**"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_once_however_often_it_is_delivered() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let first = chat.say("Hello").await;
    assert_eq!(first.creates(), 1);
    let transcript = chat.transcript();
    let message = &transcript.iter().find(|entry| entry.id == first.activity_id).unwrap().activity;
    let headers = http::HeaderMap::from_iter([(http::header::CONTENT_TYPE, "application/json".parse().unwrap())]);
    let wait = Wait { first: Duration::from_millis(300), ..Wait::default() };
    for _ in 0..3 {
        let again = sandbox.teams().send_raw_waiting(headers.clone(), message.to_string().into(), &wait).await;
        assert_eq!(again.posted.status, 200);
    }
    assert!(chat.say("And now?").await.answered);
    assert_eq!(chat.answers_to(&first.activity_id), 1);
    assert_eq!(sandbox.requests(RESPONSES), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_other_tenants_get_a_polite_refusal_and_nothing_else_happens() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[("ALLOWED_TENANT_IDS", "99999999-0000-4000-8000-000000000009")], &[]).await;
    let exchange = chat(&sandbox).say("Hello").await;
    assert!(exchange.text().contains("not available to your organisation"), "{}", exchange.text());
    assert_eq!(sandbox.requests("/foundry/**"), 0);
}
