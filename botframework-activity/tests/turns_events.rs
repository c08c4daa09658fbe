//! `deliveryMode: stream`: the answers are events of the response. Time is paused.
#![cfg(feature = "turns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod turns_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use botframework_activity::{Activity, Outcome, Received, Reply, ReplyEvents, Turn, TurnRunner};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use turns_support::{Channel, changed, in_memory, seconds, voice};

async fn ask(runner: &TurnRunner, text: &str) -> ReplyEvents {
    let incoming = changed("a:1", "m1", text, json!({ "deliveryMode": "stream" })).await;
    match runner.accept(&incoming).await.unwrap() {
        Received::Events(events) => events,
        other => panic!("{other:?}"),
    }
}

/// Every answer, and after how many milliseconds it came.
async fn read(mut events: ReplyEvents) -> Vec<(u128, Value)> {
    let begun = Instant::now();
    let mut answers = Vec::new();
    while let Some(event) = events.next().await {
        let event = String::from_utf8(event.to_vec()).unwrap();
        let data = event.strip_prefix("event: activity\r\ndata: ").unwrap().strip_suffix("\r\n\r\n").unwrap();
        answers.push((begun.elapsed().as_millis(), serde_json::from_str(data).unwrap()));
    }
    answers
}

fn stream_info(activity: &Value) -> &Value {
    activity["entities"].as_array().unwrap().iter().find(|entity| entity["type"] == "streaminfo").unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_grows_ten_times_a_second_and_ends_with_the_message() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(
        |turn: Turn| async move {
            assert_eq!(turn.reply(), Reply::Inline);
            turn.checkpoint(&1).await.unwrap();
            turn.show(Activity::message("Looking …"));
            sleep(seconds(1)).await;
            let mut text = String::new();
            for number in 0..100 {
                let delta = format!("{number} ");
                turn.push(&delta);
                text.push_str(&delta);
                sleep(Duration::from_millis(10)).await;
            }
            Ok(Outcome::answer(Activity::message(text)))
        },
        voice,
    );
    let answers = read(ask(&runner, "hi").await).await;
    let (last, pieces) = answers.split_last().unwrap();
    assert_eq!(pieces[0].1["text"], "Looking …");
    assert_eq!(stream_info(&pieces[0].1)["streamType"], "informative");
    // A second of text in pieces of at least 100 ms.
    assert!((8..=12).contains(&pieces.len()), "{}", pieces.len());
    assert!(pieces.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 100), "{answers:?}");
    let id = stream_info(&pieces[0].1)["streamId"].as_str().unwrap();
    let mut shown = "";
    for (index, (_, piece)) in pieces.iter().enumerate() {
        let info = stream_info(piece);
        assert_eq!((piece["type"].as_str(), info["streamId"].as_str()), (Some("typing"), Some(id)));
        assert_eq!(info["streamSequence"], index + 1);
        assert_eq!((piece["replyToId"].as_str(), piece["conversation"]["id"].as_str()), (Some("m1"), Some("a:1")));
        if index > 0 {
            let text = piece["text"].as_str().unwrap();
            assert!(text.len() > shown.len() && text.starts_with(shown));
            shown = text;
        }
    }
    let info = stream_info(&last.1);
    assert_eq!((last.1["type"].as_str(), info["streamType"].as_str()), (Some("message"), Some("final")));
    assert_eq!((info["streamId"].as_str(), info.get("streamSequence")), (Some(id), None));
    assert!(last.1["text"].as_str().unwrap().ends_with("99 "));
    assert!(channel.calls().is_empty(), "nothing goes by the connector");
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_turn_is_told_in_the_response() {
    let channel = Channel::new();
    let runner = in_memory(&channel).turn_timeout(seconds(30)).start(
        |turn: Turn| async move {
            match turn.activity().text.as_deref().unwrap_or_default() {
                "silent" => Ok(Outcome::Silent),
                "panic" => panic!("asked to"),
                "fail" => Err("asked to".into()),
                "hang" => std::future::pending().await,
                text => Ok(Outcome::answer(Activity::message(text))),
            }
        },
        voice,
    );
    for (text, expected) in [
        ("hi", Some("hi")),
        ("silent", None),
        ("panic", Some("[panicked]")),
        ("fail", Some("[failed]")),
        ("hang", Some("[timed-out]")),
    ] {
        let answers = read(ask(&runner, text).await).await;
        let texts: Vec<_> = answers.iter().filter_map(|(_, answer)| answer["text"].as_str()).collect();
        assert_eq!(texts, expected.into_iter().collect::<Vec<_>>(), "{text}");
        // A quick answer is a message and no stream.
        assert!(answers.iter().all(|(_, answer)| answer["type"] == "message" && answer.get("entities").is_none()));
    }
    assert!(channel.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_stops_the_handler() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let channel = Channel::new();
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let runner = in_memory(&channel).start(
        move |turn: Turn| {
            let guard = Dropped(Arc::clone(&seen));
            async move {
                turn.push("a beginning");
                std::future::pending::<()>().await;
                drop(guard);
                Ok(Outcome::Silent)
            }
        },
        voice,
    );
    let mut events = ask(&runner, "hi").await;
    assert!(events.next().await.is_some());
    drop(events);
    timeout(seconds(5), async {
        while !dropped.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the handler is given up");
    // The place is free again: the runner can stop.
    timeout(seconds(5), runner.shutdown(seconds(1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_misses_pieces_and_no_answer() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(
        |turn: Turn| async move {
            let mut text = String::new();
            for _ in 0..100 {
                turn.push("word ");
                text.push_str("word ");
                sleep(Duration::from_millis(100)).await;
            }
            Ok(Outcome::answer(Activity::message(text)))
        },
        voice,
    );
    let events = ask(&runner, "hi").await;
    sleep(seconds(20)).await;
    let answers = read(events).await;
    assert!(answers.len() < 30, "what waits is bounded: {}", answers.len());
    let last = &answers.last().unwrap().1;
    assert_eq!((last["type"].as_str(), last["text"].as_str().map(str::len)), (Some("message"), Some(500)));
    assert_eq!(stream_info(last)["streamType"], "final");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_stops_tells_who_waits() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(|_: Turn| std::future::pending(), voice);
    let events = ask(&runner, "hi").await;
    let reading = tokio::spawn(read(events));
    sleep(seconds(1)).await;
    runner.shutdown(seconds(1)).await;
    let answers = reading.await.unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1["text"], "[abandoned]");
}
