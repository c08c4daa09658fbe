//! Answers that grow in personal chats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use m365_sandbox::{
    Author, Sandbox,
    constants::{USER_ONE, USER_TWO},
};
use serde_json::{Value, json};
use support::{Broker, chat};
use tokio::time::sleep;

const SLOW: &str = "sandbox:slow-agent What can you do for me?";

/// The entity that says where in a stream an activity stands; the label of what a model wrote stands beside it.
fn stream_info(activity: &Value) -> &Value {
    let entities = activity["entities"].as_array().unwrap();
    entities.iter().find(|entity| entity["type"] == "streaminfo").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_grows_in_a_personal_chat() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    // More than one request a second is refused, as by Teams.
    sandbox.teams().configure(|settings| settings.stream_gap = Some(Duration::from_secs(1)));
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let exchange = chat(&sandbox).say(SLOW).await;
    assert!(exchange.answered, "{}", broker.log());
    let [entry] = &exchange.messages()[..] else { panic!("one message: {:#?}", exchange.replies) };
    let mut shown = 0;
    for (n, piece) in entry.history.iter().enumerate() {
        let info = &piece["entities"][0];
        assert_eq!((&piece["type"], &info["type"]), (&json!("typing"), &json!("streaminfo")));
        assert_eq!(info["streamSequence"], n + 1);
        assert_eq!(info["streamType"], "streaming");
        let text = piece["text"].as_str().unwrap();
        assert!(entry.text().starts_with(text) && text.len() > shown, "{text}");
        shown = text.len();
    }
    assert!(entry.history.len() >= 2, "{:#?}", entry.history);
    let last = stream_info(&entry.activity);
    assert_eq!((&last["streamType"], last.get("streamSequence")), (&json!("final"), None));
    assert_eq!(last["streamId"], entry.id);
    assert!(!entry.streaming && entry.text().contains("sandbox agent"), "{}", entry.text());
    let refused = sandbox.teams().counters();
    assert_eq!(refused.throttled, 0, "never faster than Teams allows");
}

/// `deliveryMode: stream`, as agents and Copilot Studio ask for it. The sandbox reads the events with a reader of its own.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_stream_gets_the_answer_in_the_response() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let exchange = chat(&sandbox).say_with(SLOW, json!({"deliveryMode": "stream"})).await;
    assert!(exchange.answered, "{}", broker.log());
    assert_eq!(exchange.posted.headers["content-type"], "text/event-stream");
    let (last, pieces) = exchange.replies.split_last().unwrap();
    let mut shown = "";
    for (n, piece) in pieces.iter().enumerate() {
        let info = &piece.activity["entities"][0];
        assert_eq!((piece.kind(), &info["type"]), ("typing", &json!("streaminfo")));
        assert_eq!((&info["streamType"], &info["streamSequence"]), (&json!("streaming"), &json!(n + 1)));
        assert!(piece.text().len() > shown.len() && piece.text().starts_with(shown), "{}", piece.text());
        shown = piece.text();
    }
    assert!(pieces.len() >= 5, "ten pieces a second at most, and many in an answer: {}", pieces.len());
    assert_eq!((last.kind(), &stream_info(&last.activity)["streamType"]), ("message", &json!("final")));
    assert!(last.text().starts_with(shown) && last.text().contains("sandbox agent"), "{}", last.text());
    assert_eq!(sandbox.requests("POST /connector/**"), 0, "nothing goes by the connector");
}

/// An invoke has one answer: with `deliveryMode: stream` it is the one event of the response.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoke_that_asks_for_a_stream_gets_one_event() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let unknown = json!({"name": "composeExtension/query", "value": {}});
    let chat = chat(&sandbox);
    assert_eq!(chat.post("invoke", unknown.clone()).await.status, 501);
    let mut streamed = unknown;
    streamed["deliveryMode"] = json!("stream");
    let posted = chat.post("invoke", streamed).await;
    assert_eq!((posted.status, posted.headers["content-type"].to_str().unwrap()), (200, "text/event-stream"));
    let text = std::str::from_utf8(&posted.body).unwrap();
    let data = text.trim_end().strip_prefix("event: invokeResponse\r\ndata: ").unwrap_or_else(|| panic!("{text}"));
    assert_eq!(serde_json::from_str::<Value>(data).unwrap()["status"], 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_gets_typing_and_one_message() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &[]).await;
    let group = sandbox.teams().user(USER_ONE).group("team", &[USER_TWO]);
    let exchange = group.say(SLOW).await;
    let [entry] = &exchange.messages()[..] else { panic!("one message: {:#?}", exchange.replies) };
    assert!(entry.history.is_empty() && entry.text().contains("sandbox agent"));
    let typing = sandbox.teams().counters().typing;
    assert!(typing >= 1, "the user saw that something happens");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_stop_ends_the_answer_and_frees_the_conversation() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let chat = chat(&sandbox);
    let posted = chat.post("message", json!({"text": SLOW})).await;
    assert_eq!(posted.status, 200);
    while !chat.transcript().iter().any(|entry| entry.streaming) {
        sleep(Duration::from_millis(20)).await;
    }
    chat.stop_streams();
    sleep(Duration::from_secs(3)).await;
    // The agent is stopped too, or its conversation would still be busy.
    let next = chat.say("Are you there?").await;
    assert!(next.answered && next.text().contains("Are you there"), "{}\n{}", next.text(), broker.log());
    let answers = chat.transcript();
    let answers = answers.iter().filter(|entry| entry.author == Author::Bot && entry.kind() == "message").count();
    assert_eq!(answers, 1, "nothing more was said to the stopped one");
}
