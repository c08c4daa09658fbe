//! Answers that grow: what the runner and `TeamsStream` send, when, and what they make of refusals.
#![cfg(feature = "turns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod turns_support;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use botframework_activity::{
    Activity, MemoryTurnQueue, Outcome, Reply, TeamsStream, Turn, TurnQueue, TurnRunner, TurnRunnerBuilder,
};
use entra_auth::Sealer;
use futures_core::Stream;
use http::Method;
use serde_json::json;
use tokio::time::{Sleep, sleep};
use turns_support::{Channel, Mishap, authenticator, changed, in_memory, message, seconds, voice};

const OVER: &str = "Content stream finished due to exceeded streaming time.";
const STOP: &str = "Content stream was canceled by user.";
const NOT_ALLOWED: &str = "Content stream is not allowed";
const COMPLETED: &str = "Content stream is not allowed on an already completed streamed message";
const TOO_LARGE: &str = "Message size too large";
const NOT_CONTAINED: &str = "Request streamed content should contain the previously streamed content";

/// `a0 a1 a2 …`, one each time.
struct Words {
    every: Duration,
    left: u32,
    next: Pin<Box<Sleep>>,
    dropped: Arc<AtomicBool>,
}

fn words(count: u32, every: Duration) -> Words {
    Words { every, left: count, next: Box::pin(sleep(every)), dropped: Arc::default() }
}

impl Stream for Words {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.next.as_mut().poll(cx));
        self.left -= 1;
        let every = self.every;
        self.next = Box::pin(sleep(every));
        Poll::Ready(Some(Ok(format!("a{} ", self.left))))
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

async fn personal(id: &str) -> botframework_activity::VerifiedActivity {
    changed("a:1", id, "hi", json!({"conversation": {"id": "a:1", "conversationType": "personal"}})).await
}

/// A runner whose handler says `count` words, one every so often.
fn talking(builder: TurnRunnerBuilder, count: u32, every: Duration) -> TurnRunner {
    builder.streaming(true).start(
        move |turn: Turn| async move {
            let text = turn.stream(words(count, every)).await?;
            Ok(Outcome::answer(Activity::message(text)))
        },
        voice,
    )
}

fn durable(queue: &MemoryTurnQueue, sealer: &Sealer, channel: &Arc<Channel>) -> TurnRunnerBuilder {
    let queue: Arc<dyn TurnQueue> = Arc::new(queue.clone());
    TurnRunner::durable(queue, sealer.clone(), authenticator().policy().clone(), channel.connector())
}

/// `streamType`, or the method for what is no part of a stream; then the text.
fn story(channel: &Channel) -> Vec<String> {
    let calls = channel.calls();
    let named = calls.iter().map(|call| {
        let entities = call.body["entities"].as_array();
        let info = entities.and_then(|all| all.iter().find(|entity| entity["type"] == "streaminfo"));
        let kind = info.map_or_else(|| call.method.to_string(), |info| info["streamType"].as_str().unwrap().to_owned());
        format!("{kind} {}", call.text())
    });
    named.collect()
}

#[tokio::test(start_paused = true)]
async fn an_answer_grows_at_the_pace_of_teams() {
    let channel = Channel::new();
    let runner = talking(in_memory(&channel), 8, Duration::from_millis(500));
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    sleep(seconds(20)).await;
    let story = story(&channel);
    assert!(story.len() >= 3, "{story:?}");
    let (last, pieces) = story.split_last().unwrap();
    assert_eq!(last, "final a7 a6 a5 a4 a3 a2 a1 a0 ");
    for pair in pieces.windows(2) {
        assert!(pair[0].starts_with("streaming a7 ") && pair[1].starts_with(&pair[0]) && pair[1].len() > pair[0].len());
    }
    let calls = channel.calls();
    let gaps: Vec<f64> = calls.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(gaps[..gaps.len() - 1].iter().all(|gap| *gap >= 1.5), "{gaps:?}");
    assert!(*gaps.last().unwrap() >= 1.0, "{gaps:?}");
    let first = &calls[0].body;
    assert_eq!(first["entities"][0], json!({"type": "streaminfo", "streamType": "streaming", "streamSequence": 1}));
    assert_eq!((&first["type"], &first["replyToId"]), (&json!("typing"), &json!("m1")));
    assert!(calls.iter().all(|call| call.path.ends_with("/v3/conversations/a%3A1/activities")), "{calls:#?}");
    let last = &calls.last().unwrap().body;
    assert_eq!((&last["type"], &last["id"]), (&json!("message"), &json!("sent-1")));
    assert_eq!(last["entities"][0], json!({"type": "streaminfo", "streamId": "sent-1", "streamType": "final"}));
}

#[tokio::test(start_paused = true)]
async fn a_quick_answer_is_one_message_and_says_so_to_the_handler() {
    let channel = Channel::new();
    let runner = in_memory(&channel).streaming(true).start(
        |turn: Turn| async move {
            turn.push("yes");
            Ok(Outcome::answer(Activity::message(format!("{:?}", turn.reply()))))
        },
        voice,
    );
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    let group = json!({"conversation": {"id": "19:g", "conversationType": "groupChat"}});
    let _ = runner.accept(&changed("19:g", "m2", "hi", group).await).await.unwrap();
    sleep(seconds(20)).await;
    let mut story = story(&channel);
    story.retain(|line| line != "POST ");
    story.sort_unstable();
    assert_eq!(story, [format!("POST {:?}", Reply::Message), format!("POST {:?}", Reply::Stream)]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_streamed_there_is_typing_and_one_message() {
    let channel = Channel::new();
    let runner = talking(in_memory(&channel).ack_threshold(None), 20, Duration::from_millis(500));
    let group = json!({"conversation": {"id": "19:g", "conversationType": "groupChat"}});
    let _ = runner.accept(&changed("19:g", "m1", "hi", group).await).await.unwrap();
    sleep(seconds(30)).await;
    let calls = channel.calls();
    let (typing, messages): (Vec<_>, Vec<_>) = calls.iter().partition(|call| call.body["type"] == "typing");
    assert_eq!(messages.len(), 1);
    assert!((2..=4).contains(&typing.len()), "10 s, one every 4 s: {}", typing.len());
    assert!(typing.iter().all(|call| call.text().is_empty() && call.body.get("entities").is_none()));
}

#[tokio::test(start_paused = true)]
async fn after_110_seconds_the_message_is_updated_in_place() {
    let channel = Channel::new();
    let runner = talking(in_memory(&channel), 140, seconds(1));
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    sleep(seconds(200)).await;
    let calls = channel.calls();
    let story = story(&channel);
    let last_piece = story.iter().rposition(|line| line.starts_with("streaming")).unwrap();
    assert!(calls[last_piece].at - calls[0].at < 110.0);
    assert!(story[last_piece + 1].starts_with("final a139"), "the stream is closed in time");
    assert!(calls[last_piece + 1].at - calls[0].at <= 115.0);
    let updates = &calls[last_piece + 2..];
    assert!(updates.len() > 5);
    for call in updates {
        assert_eq!((&call.method, call.body["type"].as_str()), (&Method::PUT, Some("message")));
        assert!(call.path.ends_with("/activities/sent-1"));
        assert!(call.body.get("entities").is_none() && call.body.get("channelData").is_none());
    }
    assert!(updates.last().unwrap().text().ends_with("a0 "));
}

/// What follows a refusal of the second piece.
async fn refused(mishap: Mishap, skip: usize) -> (Vec<String>, Arc<Channel>) {
    let channel = Channel::new();
    let runner = talking(in_memory(&channel).ack_threshold(None), 8, seconds(1));
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    while channel.calls().len() < skip {
        sleep(Duration::from_millis(10)).await;
    }
    channel.mishap(Method::POST, mishap);
    sleep(seconds(60)).await;
    let mut story = story(&channel);
    story.drain(..=skip);
    (story, channel)
}

const ALL: &str = "a7 a6 a5 a4 a3 a2 a1 a0 ";

#[tokio::test(start_paused = true)]
async fn the_six_refusals() {
    // The service has ended the stream: its message is updated, no second one is made.
    for refusal in [OVER, COMPLETED, NOT_ALLOWED] {
        let (story, channel) = refused(Mishap::Stream(refusal), 1).await;
        assert_eq!(story.last().unwrap(), &format!("PUT {ALL}"), "{refusal}");
        assert!(story.iter().all(|line| line.starts_with("PUT")), "{story:?}");
        assert!(channel.calls().last().unwrap().path.ends_with("/activities/sent-1"));
    }
    // The user wants no more.
    let (story, _) = refused(Mishap::Stream(STOP), 1).await;
    assert!(story.is_empty(), "{story:?}");
    // A stream that never began is one message.
    let (story, _) = refused(Mishap::Stream(NOT_ALLOWED), 0).await;
    assert_eq!(story.iter().filter(|line| *line != "POST ").collect::<Vec<_>>(), [&format!("POST {ALL}")]);
    // What was shown is closed, then corrected.
    let (story, _) = refused(Mishap::Stream(NOT_CONTAINED), 1).await;
    assert_eq!(story, ["final a7 ".to_owned(), format!("PUT {ALL}")]);
    // What fits stays, the rest is a message.
    let (story, _) = refused(Mishap::Stream(TOO_LARGE), 1).await;
    assert_eq!(story, ["final a7 ", "POST a6 a5 a4 a3 a2 a1 a0 "]);
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_fails_is_made_up_for() {
    for mishap in [Mishap::Status(500), Mishap::Interrupted] {
        let (story, _) = refused(mishap, 1).await;
        assert_eq!(story.last().unwrap(), &format!("final {ALL}"));
        assert!(story.iter().any(|line| line.starts_with("streaming")), "{story:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_users_stop_cancels_what_makes_the_words() {
    let channel = Channel::new();
    let dropped = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&dropped);
    let runner = in_memory(&channel).streaming(true).start(
        move |turn: Turn| {
            let mut deltas = words(100, seconds(1));
            deltas.dropped = Arc::clone(&seen);
            async move { Ok(Outcome::answer(Activity::message(turn.stream(deltas).await?))) }
        },
        voice,
    );
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    sleep(seconds(5)).await;
    dropped.store(false, Ordering::SeqCst);
    channel.mishap(Method::POST, Mishap::Stream(STOP));
    sleep(seconds(5)).await;
    assert!(dropped.load(Ordering::SeqCst));
    let calls = channel.calls().len();
    sleep(seconds(300)).await;
    assert_eq!(channel.calls().len(), calls, "not another word");
    let _ = runner.accept(&personal("m2").await).await.unwrap();
    sleep(seconds(5)).await;
    assert!(channel.calls().len() > calls, "the conversation goes on");
}

#[tokio::test(start_paused = true)]
async fn a_durable_stream_begins_with_words_or_says_that_it_works() {
    let (channel, queue, sealer) = (Channel::new(), MemoryTurnQueue::default(), Sealer::ephemeral());
    let runner = talking(durable(&queue, &sealer, &channel), 3, seconds(3));
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    sleep(seconds(30)).await;
    let story = story(&channel);
    assert_eq!(story.first().unwrap(), "informative [working]");
    assert_eq!(story.last().unwrap(), "final a2 a1 a0 ");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_durable_answer_without_words_on_the_way_takes_the_safe_way() {
    let (channel, queue, sealer) = (Channel::new(), MemoryTurnQueue::default(), Sealer::ephemeral());
    let runner = talking(durable(&queue, &sealer, &channel), 1, Duration::from_millis(10));
    let _ = runner.accept(&personal("m1").await).await.unwrap();
    sleep(seconds(30)).await;
    assert_eq!(story(&channel), ["POST [working]", "PUT a0 "]);
}

/// The worker is cut off in the middle of a stream; the next one gives the same message its final form.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_cut_off_is_finished_by_the_next_worker() {
    for (refusal, end) in [(None, "final b0 "), (Some(NOT_CONTAINED), "PUT b0 "), (Some(OVER), "PUT b0 ")] {
        let (channel, queue, sealer) = (Channel::new(), MemoryTurnQueue::default(), Sealer::ephemeral());
        let a = talking(durable(&queue, &sealer, &channel), 1000, seconds(1));
        let _ = a.accept(&personal("m1").await).await.unwrap();
        sleep(seconds(5)).await;
        a.shutdown(Duration::ZERO).await;
        let before = channel.calls().len();
        assert!(before >= 2);
        if let Some(refusal) = refusal {
            channel.mishap(Method::POST, Mishap::Stream(refusal));
        }
        let b = durable(&queue, &sealer, &channel).streaming(true).start(
            |turn: Turn| async move {
                turn.push("b0 ");
                sleep(seconds(5)).await;
                Ok(Outcome::answer(Activity::message("b0 ")))
            },
            voice,
        );
        sleep(seconds(60)).await;
        let story = story(&channel);
        assert_eq!(story.last().unwrap(), end, "{story:?}");
        assert_eq!(story.len(), before + 1 + usize::from(refusal.is_some()), "{story:?}");
        assert_eq!(channel.calls().last().unwrap().body["id"], "sent-1", "the same message");
        b.shutdown(seconds(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_runner() {
    let channel = Channel::new();
    let mut stream = TeamsStream::new(channel.connector(), personal("m1").await);
    stream.inform("Searching").await;
    let streamed = stream
        .answer(words(6, seconds(1)), |text, failed| {
            assert!(failed.is_none());
            Activity::message(text).with_channel_data(&json!({"feedbackLoop": {"type": "default"}})).unwrap()
        })
        .await
        .unwrap();
    assert_eq!((streamed.id(), streamed.is_stopped()), (Some("sent-1"), false));
    let story = story(&channel);
    assert_eq!(story.first().unwrap(), "informative Searching");
    assert_eq!(story.last().unwrap(), "final a5 a4 a3 a2 a1 a0 ");
    assert_eq!(channel.calls().last().unwrap().body["channelData"]["feedbackLoop"]["type"], "default");

    let channel = Channel::new();
    let deltas = words(50, seconds(1));
    let dropped = Arc::clone(&deltas.dropped);
    let task = tokio::spawn(
        TeamsStream::new(channel.connector(), personal("m2").await)
            .answer(deltas, |text, _: Option<Infallible>| Activity::message(text)),
    );
    sleep(seconds(4)).await;
    channel.mishap(Method::POST, Mishap::Stream(STOP));
    let streamed = task.await.unwrap().unwrap();
    assert!(streamed.is_stopped() && dropped.load(Ordering::SeqCst));

    let channel = Channel::new();
    let quick = TeamsStream::new(channel.connector(), message("19:g", "m3", "x").await);
    let sent = quick.answer(words(1, seconds(0)), |text, _: Option<Infallible>| Activity::message(text)).await.unwrap();
    assert!(!sent.is_stopped());
    assert_eq!(channel.calls().last().unwrap().text(), "a0 ");
}
