//! What the runner promises: no lost turn, no second answer, no conversation that hangs.
#![cfg(feature = "turns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod turns_support;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use botframework_activity::{
    Accepted, Activity, MemoryQueueLimits, MemoryTurnQueue, Notice, Outcome, Overlap, QueueErrorKind, Received, Reply,
    Turn, TurnRunner, VerifiedActivity,
};
use entra_auth::TenantPolicy;
use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};
use turns_support::{Channel, Mishap, changed, in_memory, in_memory_over, message, seconds, voice};

/// Answers after that many seconds with the text it was sent.
fn echo_after(
    wait: u64,
) -> impl Fn(Turn) -> std::pin::Pin<Box<dyn Future<Output = Result<Outcome, botframework_activity::HandlerError>> + Send>>
+ Send
+ Sync
+ 'static {
    move |turn: Turn| {
        Box::pin(async move {
            sleep(seconds(wait)).await;
            Ok(Outcome::answer(Activity::message(turn.activity().text.clone().unwrap())))
        })
    }
}

/// Hangs for `hang`, panics for `panic`, fails for `fail`, is silent for `silent`, else echoes.
async fn moody(turn: Turn) -> Result<Outcome, botframework_activity::HandlerError> {
    match turn.activity().text.as_deref() {
        Some("hang") => std::future::pending().await,
        Some("panic") => panic!("a handler panics"),
        Some("fail") => Err("upstream said 503".into()),
        Some("silent") => Ok(Outcome::Silent),
        Some("park") => Ok(Outcome::Parked),
        Some(text) => Ok(Outcome::answer(Activity::message(text))),
        None => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_the_only_message() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(echo_after(9), voice);
    let incoming = message("a:1", "m1", "hello").await;
    assert!(matches!(runner.accept(&incoming).await.unwrap(), Received::Queued));
    sleep(seconds(100)).await;
    let calls = channel.calls();
    assert_eq!(channel.story(), ["POST hello"]);
    assert_eq!(calls[0].path, "/amer/aaaaaaaa-0000-4000-8000-00000000000A/v3/conversations/a%3A1/activities/m1");
    let body = &calls[0].body;
    assert_eq!(body["replyToId"], "m1");
    assert_eq!(body["from"], json!(incoming.recipient));
    assert_eq!(body["recipient"], json!(incoming.from));
    assert_eq!(body["conversation"], json!(incoming.conversation));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_replaces_the_placeholder() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(echo_after(15), voice);
    let _ = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
    sleep(seconds(100)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT hello"]);
    let calls = channel.calls();
    assert_eq!(calls.iter().map(|call| call.at.round()).collect::<Vec<_>>(), [10.0, 15.0]);
    assert!(calls[1].path.ends_with("/activities/sent-1"), "{}", calls[1].path);
    assert_eq!(calls[1].body["id"], "sent-1");
}

#[tokio::test(start_paused = true)]
async fn without_a_threshold_the_answer_is_waited_for() {
    let channel = Channel::new();
    let runner = in_memory(&channel).ack_threshold(None).start(echo_after(200), voice);
    let _ = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
    sleep(seconds(300)).await;
    assert_eq!(channel.story(), ["POST hello"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_overtakes_its_placeholder_waits_for_it() {
    let channel = Channel::new();
    channel.mishap(Method::POST, Mishap::Slow(10));
    let runner = in_memory(&channel).start(echo_after(12), voice);
    let _ = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
    sleep(seconds(100)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT hello"]);
    assert_eq!(channel.calls()[1].at.round(), 20.0);
}

#[tokio::test]
async fn the_request_is_answered_while_every_handler_hangs() {
    let channel = Channel::new();
    let runner = in_memory(&channel).concurrency(8).start(|_| std::future::pending(), voice);
    let mut slowest = Duration::ZERO;
    for n in 0..200 {
        let incoming = message(&format!("a:{}", n % 50), &format!("m{n}"), "hello").await;
        let started = Instant::now();
        assert!(matches!(runner.accept(&incoming).await.unwrap(), Received::Queued));
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert!(channel.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whatever_a_handler_does_the_conversation_goes_on() {
    for (text, apology) in [("hang", "[timed-out]"), ("panic", "[panicked]"), ("fail", "[failed]")] {
        let channel = Channel::new();
        let runner = in_memory(&channel).turn_timeout(seconds(60)).ack_threshold(None).start(moody, voice);
        let _ = runner.accept(&message("a:1", "m1", text).await).await.unwrap();
        let _ = runner.accept(&message("a:1", "m2", "next").await).await.unwrap();
        sleep(seconds(100)).await;
        assert_eq!(channel.story(), [format!("POST {apology}"), "POST next".into()], "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_apology_takes_the_place_of_the_placeholder() {
    let channel = Channel::new();
    let runner = in_memory(&channel).turn_timeout(seconds(60)).start(moody, voice);
    let _ = runner.accept(&message("a:1", "m1", "hang").await).await.unwrap();
    sleep(seconds(100)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT [timed-out]"]);
}

#[tokio::test(start_paused = true)]
async fn the_reason_reaches_the_voice() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(moody, |notice, _: &VerifiedActivity| match notice {
        Notice::Failed(error) => Some(Activity::message(format!("because {error}"))),
        _ => None,
    });
    let _ = runner.accept(&message("a:1", "m1", "fail").await).await.unwrap();
    let _ = runner.accept(&message("a:1", "m2", "panic").await).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(channel.story(), ["POST because upstream said 503"], "and a voice that says nothing sends nothing");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_activity_is_answered_once() {
    let channel = Channel::new();
    let runs = Arc::new(AtomicU32::new(0));
    let runner = in_memory(&channel).start(
        {
            let runs = Arc::clone(&runs);
            move |_| {
                runs.fetch_add(1, Ordering::SeqCst);
                async { Ok(Outcome::answer(Activity::message("once"))) }
            }
        },
        voice,
    );
    let mut queued = 0;
    for round in 0..5 {
        let received = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
        queued += u32::from(matches!(received, Received::Queued));
        sleep(seconds(round * 3600)).await;
    }
    assert_eq!((queued, runs.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(channel.story(), ["POST once"]);
    let _ = runner.accept(&message("a:2", "m1", "hello").await).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2, "another conversation may use the same id");
    sleep(seconds(24 * 3600)).await;
    let again = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
    assert!(matches!(again, Received::Queued), "a day later it is forgotten");
}

#[tokio::test(start_paused = true)]
async fn one_conversation_in_order_many_at_once() {
    const CONVERSATIONS: usize = 30;
    const TURNS: usize = 5;
    let channel = Channel::new();
    let running: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let runner = in_memory(&channel).start(
        move |turn: Turn| {
            let running = Arc::clone(&running);
            async move {
                let conversation = turn.activity().conversation_id().unwrap().to_owned();
                let overlap = running.lock().unwrap().insert(conversation.clone(), 1);
                assert_eq!(overlap, None, "two turns of one conversation");
                sleep(seconds(1)).await;
                running.lock().unwrap().remove(&conversation);
                Ok(Outcome::answer(Activity::message(turn.activity().text.clone().unwrap())))
            }
        },
        voice,
    );
    for n in 0..TURNS {
        for conversation in 0..CONVERSATIONS {
            let incoming =
                message(&format!("a:{conversation}"), &format!("m{n}"), &format!("{conversation}/{n}")).await;
            let _ = runner.accept(&incoming).await.unwrap();
        }
    }
    sleep(seconds(60)).await;
    let calls = channel.calls();
    assert_eq!(calls.len(), CONVERSATIONS * TURNS);
    let last = calls.last().unwrap().at;
    assert!(last < TURNS as f64 + 1.0, "conversations waited for each other: {last} s");
    for conversation in 0..CONVERSATIONS {
        let prefix = format!("{conversation}/");
        let texts: Vec<_> =
            calls.iter().map(turns_support::Call::text).filter(|text| text.starts_with(&prefix)).collect();
        assert_eq!(texts, (0..TURNS).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>());
    }
}

/// The activity waits in this process as it is; it is judged all the same.
#[tokio::test(start_paused = true)]
async fn what_the_policy_does_not_allow_any_more_is_not_run() {
    let elsewhere = TenantPolicy::Single("bbbbbbbb-0000-4000-8000-00000000000b".parse().unwrap());
    for (tenants, expected) in [(elsewhere, vec![]), (TenantPolicy::Any, vec!["POST hello"])] {
        let (channel, queue) = (Channel::new(), MemoryTurnQueue::default());
        let policy = inbound_support::builder(tenants).build().unwrap().policy().clone();
        let runner = TurnRunner::in_memory(queue.clone(), policy, channel.connector()).start(moody, voice);
        let _ = runner.accept(&message("a:1", "m1", "hello").await).await.unwrap();
        sleep(seconds(100)).await;
        assert_eq!(channel.story(), expected);
        assert!(queue.is_empty());
    }
}

/// What waits counts with the bytes it was read from, sealed or not.
#[tokio::test(start_paused = true)]
async fn what_waits_in_memory_is_bounded_by_its_bytes() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::new(MemoryQueueLimits::default().bytes(30_000));
    let runner = in_memory_over(&queue, &channel).start(moody, voice);
    let _ = runner.accept(&message("a:1", "m1", "hang").await).await.unwrap();
    let long = "x".repeat(20_000);
    let _ = runner.accept(&message("a:1", "m2", &long).await).await.unwrap();
    let refused = runner.accept(&message("a:1", "m3", &long).await).await.unwrap_err();
    assert_eq!(refused.kind(), QueueErrorKind::Full);
    let small = in_memory_over(&MemoryTurnQueue::new(MemoryQueueLimits::default().record(1000)), &channel);
    let refused = small.start(moody, voice).accept(&message("a:1", "m1", &long).await).await.unwrap_err();
    assert_eq!(refused.kind(), QueueErrorKind::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_busy_conversation_can_refuse() {
    let channel = Channel::new();
    let runner = in_memory(&channel).overlap(Overlap::Reject).start(echo_after(5), voice);
    assert!(matches!(runner.accept(&message("a:1", "m1", "one").await).await.unwrap(), Received::Queued));
    sleep(seconds(1)).await;
    assert!(matches!(runner.accept(&message("a:1", "m2", "two").await).await.unwrap(), Received::Busy));
    assert!(matches!(runner.accept(&message("a:1", "m1", "one").await).await.unwrap(), Received::Duplicate));
    assert!(matches!(runner.accept(&message("a:2", "m2", "three").await).await.unwrap(), Received::Queued));
    sleep(seconds(20)).await;
    assert_eq!(channel.story(), ["POST [busy]", "POST one", "POST three"]);
    assert!(matches!(runner.accept(&message("a:1", "m2", "two").await).await.unwrap(), Received::Queued));
}

#[tokio::test(start_paused = true)]
async fn twenty_wait_and_no_more() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(echo_after(1), voice);
    let mut outcomes = Vec::new();
    for n in 0..22 {
        outcomes.push(matches!(
            runner.accept(&message("a:1", &format!("m{n}"), "x").await).await.unwrap(),
            Received::Queued
        ));
    }
    assert_eq!(outcomes.iter().filter(|queued| **queued).count(), 20);
    sleep(seconds(60)).await;
    assert_eq!(channel.story().iter().filter(|call| *call == "POST x").count(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_parked_turn_frees_the_conversation_and_is_resumed_once() {
    let channel = Channel::new();
    let runner = in_memory(&channel).overlap(Overlap::Reject).start(moody, voice);
    let _ = runner.accept(&message("a:1", "m1", "park").await).await.unwrap();
    sleep(seconds(1)).await;
    let _ = runner.accept(&message("a:1", "m2", "hang").await).await.unwrap();
    sleep(seconds(1)).await;
    let parked = message("a:1", "m1", "resumed").await;
    assert_eq!(runner.resume("flow-1", &parked).await.unwrap(), Accepted::New, "even while another turn runs");
    assert_eq!(runner.resume("flow-1", &parked).await.unwrap(), Accepted::Duplicate);
    sleep(seconds(600)).await;
    assert_eq!(runner.resume("flow-1", &parked).await.unwrap(), Accepted::Duplicate, "a re-sent invoke much later");
    assert_eq!(channel.story(), ["POST [working]", "PUT [timed-out]", "POST resumed"]);
    assert_eq!(channel.calls()[2].body["replyToId"], "m1");
}

#[tokio::test(start_paused = true)]
async fn silence_takes_the_placeholder_away() {
    let channel = Channel::new();
    let runner = in_memory(&channel).ack_threshold(Some(Duration::ZERO)).start(
        |_| async {
            sleep(seconds(1)).await;
            Ok(Outcome::Silent)
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(10)).await;
    assert_eq!(channel.story(), ["POST [working]", "DELETE "]);
    assert!(channel.calls()[1].path.ends_with("/activities/sent-1"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_unknown_fate_is_not_repeated() {
    for mishap in [Mishap::Status(500), Mishap::Status(502), Mishap::Status(504), Mishap::Interrupted] {
        let channel = Channel::new();
        channel.mishap(Method::POST, mishap);
        let runner = in_memory(&channel).start(moody, voice);
        let _ = runner.accept(&message("a:1", "m1", "answer").await).await.unwrap();
        let _ = runner.accept(&message("a:1", "m2", "next").await).await.unwrap();
        sleep(seconds(600)).await;
        assert_eq!(channel.story(), ["POST answer", "POST next"], "{mishap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_not_sent_is_sent_later_and_the_handler_runs_once() {
    let channel = Channel::new();
    (0..7).for_each(|_| channel.mishap(Method::POST, Mishap::NotSent));
    let runs = Arc::new(AtomicU32::new(0));
    let runner = in_memory(&channel).start(
        {
            let runs = Arc::clone(&runs);
            move |_| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move { Ok(Outcome::answer(Activity::message(format!("answer {run}")))) }
            }
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(600)).await;
    assert_eq!(channel.story(), ["POST answer 0"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_of_unknown_fate_is_repeated() {
    let channel = Channel::new();
    channel.mishap(Method::PUT, Mishap::Interrupted);
    channel.mishap(Method::PUT, Mishap::Status(500));
    let runner = in_memory(&channel).start(echo_after(15), voice);
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(600)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT x", "PUT x", "PUT x"], "the same message each time");
}

/// The connector client gives up after five attempts; the turn does not.
#[tokio::test(start_paused = true)]
async fn an_update_that_fails_for_long_is_delivered_later() {
    let channel = Channel::new();
    (0..7).for_each(|_| channel.mishap(Method::PUT, Mishap::Status(503)));
    let runs = Arc::new(AtomicU32::new(0));
    let runner = in_memory(&channel).start(
        {
            let runs = Arc::clone(&runs);
            move |_| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    sleep(seconds(15)).await;
                    Ok(Outcome::answer(Activity::message(format!("answer {run}"))))
                }
            }
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(900)).await;
    let story = channel.story();
    assert_eq!((story.len(), runs.load(Ordering::SeqCst)), (1 + 8, 1), "{story:?}");
    assert!(story.iter().skip(1).all(|call| call == "PUT answer 0"), "{story:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_stays_down_does_not_hold_the_conversation() {
    let channel = Channel::new();
    (0..15).for_each(|_| channel.mishap(Method::PUT, Mishap::Status(503)));
    let runner = in_memory(&channel).start(echo_after(15), voice);
    let _ = runner.accept(&message("a:1", "m1", "lost").await).await.unwrap();
    let _ = runner.accept(&message("a:1", "m2", "next").await).await.unwrap();
    sleep(seconds(3600)).await;
    let story = channel.story();
    assert_eq!(story.iter().filter(|call| *call == "PUT lost").count(), 15, "three times five attempts: {story:?}");
    assert_eq!(story.last().map(String::as_str), Some("PUT next"), "{story:?}");
}

/// The process was stopped for longer than its lease: what comes due at once must not be sent.
#[tokio::test(start_paused = true)]
async fn a_worker_that_slept_too_long_sends_nothing() {
    let channel = Channel::new();
    let runner = in_memory(&channel).ack_threshold(Some(seconds(35))).start(echo_after(100), voice);
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(1)).await;
    tokio::time::advance(seconds(60)).await;
    sleep(seconds(300)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT x"]);
    assert!(channel.calls()[0].at > 90.0, "the second attempt began at its beginning");
}

#[tokio::test(start_paused = true)]
async fn without_a_placeholder_to_replace_the_answer_is_a_message() {
    for (method, mishap, story) in [
        (Method::PUT, Mishap::Status(404), &["POST [working]", "PUT x", "POST x"][..]),
        (Method::PUT, Mishap::Status(405), &["POST [working]", "PUT x", "POST x"]),
        (Method::POST, Mishap::NoId, &["POST [working]", "POST x"]),
        (Method::POST, Mishap::Status(500), &["POST [working]", "POST x"]),
    ] {
        let channel = Channel::new();
        channel.mishap(method, mishap);
        let runner = in_memory(&channel).start(echo_after(15), voice);
        let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
        sleep(seconds(600)).await;
        assert_eq!(channel.story(), story, "{mishap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn expected_replies_are_the_response() {
    let channel = Channel::new();
    let runner = in_memory(&channel).turn_timeout(seconds(30)).start(
        |turn: Turn| async move {
            assert_eq!(turn.reply(), Reply::Inline);
            turn.show(Activity::message("not seen"));
            turn.checkpoint(&1).await.unwrap();
            sleep(seconds(12)).await;
            moody(turn).await
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
        let incoming = changed("a:1", "m1", text, json!({ "deliveryMode": "expectReplies" })).await;
        let Received::Replies(replies) = runner.accept(&incoming).await.unwrap() else { panic!("inline: {text}") };
        let texts: Vec<_> = replies.activities.iter().filter_map(|reply| reply.text.as_deref()).collect();
        assert_eq!(texts, expected.into_iter().collect::<Vec<_>>());
        if let Some(reply) = replies.activities.first() {
            assert_eq!(reply.reply_to_id.as_deref(), Some("m1"));
            assert_eq!(reply.recipient, incoming.from);
        }
    }
    assert!(channel.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn invokes_are_not_queued() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(moody, voice);
    let invoke = changed("a:1", "m1", "x", json!({ "type": "invoke", "name": "signin/verifyState" })).await;
    assert_eq!(runner.accept(&invoke).await.unwrap_err().kind(), QueueErrorKind::NotATurn);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_becomes_the_placeholder() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(
        |turn: Turn| async move {
            turn.show(Activity::message("step 0"));
            sleep(seconds(9)).await;
            for n in 1..=20 {
                turn.show(Activity::message(format!("step {n}")));
                sleep(Duration::from_millis(500)).await;
            }
            Ok(Outcome::answer(Activity::message("done")))
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(60)).await;
    let story = channel.story();
    assert_eq!(story.first().map(String::as_str), Some("POST step 2"), "{story:?}");
    assert_eq!(story.last().map(String::as_str), Some("PUT done"), "{story:?}");
    let updates = story.len() - 2;
    assert!((3..=5).contains(&updates), "one in two seconds: {story:?}");
    assert!(channel.calls().iter().skip(1).all(|call| call.path.ends_with("/activities/sent-1")));
}

#[tokio::test(start_paused = true)]
async fn progress_is_there_at_the_next_attempt() {
    let channel = Channel::new();
    let runner = in_memory(&channel).start(
        |turn: Turn| async move {
            match (turn.attempt(), turn.progress::<(String, u64)>()) {
                (1, None) => {
                    turn.checkpoint(&("response-1", 41)).await?;
                    turn.checkpoint(&("response-1", 42)).await?;
                    Ok(Outcome::Again { after: seconds(3) })
                }
                (2, Some((response, sequence))) => {
                    Ok(Outcome::answer(Activity::message(format!("{response} from {sequence}"))))
                }
                other => panic!("{other:?}"),
            }
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(60)).await;
    assert_eq!(channel.story(), ["POST response-1 from 42"]);
    assert_eq!(channel.calls()[0].at.round(), 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_never_ends_is_given_up() {
    let channel = Channel::new();
    let runs = Arc::new(AtomicU32::new(0));
    let runner = in_memory(&channel).start(
        {
            let runs = Arc::clone(&runs);
            move |_| {
                runs.fetch_add(1, Ordering::SeqCst);
                async { Ok(Outcome::Again { after: seconds(1) }) }
            }
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(60)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    assert_eq!(channel.story(), ["POST [abandoned]"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_started_learns_that_it_is_over() {
    let channel = Channel::new();
    let [told, dropped] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let runner = in_memory(&channel).turn_timeout(seconds(5)).start(
        {
            let (told, dropped) = (Arc::clone(&told), Arc::clone(&dropped));
            move |turn: Turn| {
                let (told, flag) = (Arc::clone(&told), Flag(Arc::clone(&dropped)));
                async move {
                    let _flag = flag;
                    assert!(!turn.is_cancelled());
                    tokio::spawn({
                        let turn = turn.clone();
                        async move {
                            turn.cancelled().await;
                            assert!(turn.is_cancelled());
                            assert!(turn.checkpoint(&1).await.is_err());
                            told.store(true, Ordering::SeqCst);
                        }
                    });
                    std::future::pending().await
                }
            }
        },
        voice,
    );
    let _ = runner.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(4)).await;
    assert!(!told.load(Ordering::SeqCst) && !dropped.load(Ordering::SeqCst));
    sleep(seconds(2)).await;
    assert!(told.load(Ordering::SeqCst) && dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_runner_finishes_what_it_has() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let runner = in_memory_over(&queue, &channel).concurrency(1).start(echo_after(5), voice);
    for n in 0..3 {
        let _ = runner.accept(&message(&format!("a:{n}"), "m1", &format!("answer {n}")).await).await.unwrap();
    }
    let started = Instant::now();
    let stopping = tokio::spawn({
        let runner = runner.clone();
        async move { runner.shutdown(seconds(25)).await }
    });
    sleep(Duration::from_millis(10)).await;
    let error = runner.accept(&message("a:9", "m1", "too late").await).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (QueueErrorKind::Unavailable, true));
    stopping.await.unwrap();
    assert_eq!(channel.story(), ["POST answer 0", "POST answer 1", "POST answer 2"]);
    assert!(started.elapsed() < seconds(17), "{:?}", started.elapsed());
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_stopping_process_would_lose_gets_an_apology() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let runner = in_memory_over(&queue, &channel).concurrency(2).turn_timeout(seconds(3600)).start(moody, voice);
    for n in 0..5 {
        let _ = runner.accept(&message(&format!("a:{n}"), "m1", "hang").await).await.unwrap();
    }
    sleep(seconds(1)).await;
    let started = Instant::now();
    runner.shutdown(seconds(5)).await;
    assert!(started.elapsed() < seconds(7), "{:?}", started.elapsed());
    assert_eq!(channel.story(), vec!["POST [abandoned]"; 5]);
    assert!(queue.is_empty());
}
