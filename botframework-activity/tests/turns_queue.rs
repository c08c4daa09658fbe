//! Queues: the suite that every implementation runs, and what the runner does when a queue or a lease fails.
#![cfg(all(feature = "turns", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod turns_support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use botframework_activity::{
    Accepted, Activity, End, HandlerError, Lease, MemoryTurnQueue, NewTurn, Outcome, QueueError, QueueErrorKind,
    Received, Turn, TurnQueue, TurnRunner, TurnRunnerBuilder, conformance,
};
use bytes::Bytes;
use entra_auth::{Sealer, TenantPolicy};
use http::Method;
use inbound_support::{FOREIGN, builder};
use tokio::time::{Instant, sleep};
use turns_support::{Channel, Mishap, authenticator, message, seconds, voice};

#[tokio::test(start_paused = true)]
async fn the_memory_queue_keeps_every_promise() {
    conformance::turn_queue(|| Arc::new(MemoryTurnQueue::default())).await;
}

/// Real threads and real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_queue_keeps_order_under_load() {
    conformance::many_workers_lose_nothing_and_keep_order(&Arc::new(MemoryTurnQueue::default())).await;
    conformance::an_id_is_accepted_once(&Arc::new(MemoryTurnQueue::default())).await;
    conformance::a_dropped_lease_call_loses_nothing(&Arc::new(MemoryTurnQueue::default())).await;
}

/// The way of one worker to the queue, which can be cut.
#[derive(Debug, Default)]
struct Link {
    queue: MemoryTurnQueue,
    cut: AtomicBool,
    slow: AtomicBool,
    payloads: Mutex<Vec<Bytes>>,
}

impl Link {
    fn to(queue: &MemoryTurnQueue) -> Arc<Self> {
        Arc::new(Self { queue: queue.clone(), ..Self::default() })
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    async fn check(&self) -> Result<(), QueueError> {
        if self.slow.load(Ordering::SeqCst) {
            sleep(seconds(3600)).await;
        }
        if self.cut.load(Ordering::SeqCst) { Err(QueueErrorKind::Unavailable.into()) } else { Ok(()) }
    }
}

#[async_trait]
impl TurnQueue for Link {
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError> {
        self.check().await?;
        self.payloads.lock().unwrap().push(turn.payload.clone());
        self.queue.accept(turn).await
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        self.check().await?;
        self.queue.lease(wait).await
    }

    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError> {
        self.check().await?;
        self.payloads.lock().unwrap().extend(progress.clone());
        self.queue.checkpoint(lease, progress).await
    }

    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError> {
        self.check().await?;
        self.queue.finish(lease, end).await
    }
}

fn durable(link: &Arc<Link>, sealer: &Sealer, channel: &Arc<Channel>) -> TurnRunnerBuilder {
    let queue = Arc::clone(link) as Arc<dyn TurnQueue>;
    TurnRunner::durable(queue, sealer.clone(), authenticator().policy().clone(), channel.connector())
}

/// A handler that takes that long and names its worker.
fn worker(
    name: &'static str,
    wait: u64,
    runs: &Arc<AtomicU32>,
) -> impl Fn(Turn) -> std::pin::Pin<Box<dyn Future<Output = Result<Outcome, HandlerError>> + Send>> + Send + Sync + 'static
{
    let runs = Arc::clone(runs);
    move |_| {
        runs.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            sleep(seconds(wait)).await;
            Ok(Outcome::answer(Activity::message(format!("answer of {name}"))))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_durable_turn_begins_with_its_placeholder() {
    let (channel, runs) = (Channel::new(), Arc::default());
    let link = Link::to(&MemoryTurnQueue::default());
    let runner = durable(&link, &Sealer::ephemeral(), &channel).start(worker("a", 0, &runs), voice);
    let _ = runner.accept(&message("a:1", "m1", "secret text").await).await.unwrap();
    sleep(seconds(60)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT answer of a"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_learns_nothing() {
    let (channel, runs) = (Channel::new(), Arc::default());
    let link = Link::to(&MemoryTurnQueue::default());
    let runner = durable(&link, &Sealer::ephemeral(), &channel).start(worker("a", 5, &runs), voice);
    let _ = runner.accept(&message("a:1", "m1", "secret text").await).await.unwrap();
    sleep(seconds(60)).await;
    let payloads = link.payloads.lock().unwrap();
    assert!(payloads.len() >= 3, "{}", payloads.len());
    for payload in payloads.iter() {
        let text = String::from_utf8_lossy(payload);
        for word in ["secret", "answer", "29:user", "smba", "sent-1"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

/// The worker cannot renew its lease. It stops before its next send, and the other one answers in the same place.
#[tokio::test(start_paused = true)]
async fn who_loses_the_lease_sends_nothing_more() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let [runs_a, runs_b] = [(); 2].map(|()| Arc::<AtomicU32>::default());
    let link_a = Link::to(&queue);
    let a = durable(&link_a, &sealer, &channel).start(worker("a", 40, &runs_a), voice);
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(5)).await;
    assert_eq!(channel.story(), ["POST [working]"]);
    link_a.cut();
    let _b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 20, &runs_b), voice);
    sleep(seconds(600)).await;
    assert_eq!((runs_a.load(Ordering::SeqCst), runs_b.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(channel.story(), ["POST [working]", "PUT answer of b"], "one placeholder, one answer");
    assert!(channel.calls()[1].at >= 50.0);
}

/// The worker dies between sending the placeholder and storing its id: one orphan, and still one answer.
#[tokio::test(start_paused = true)]
async fn a_placeholder_that_nobody_knows_is_the_only_leftover() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let runs = Arc::default();
    let link_a = Link::to(&queue);
    channel.mishap(Method::POST, Mishap::Slow(2));
    let a = durable(&link_a, &sealer, &channel).start(worker("a", 100, &runs), voice);
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(1)).await;
    link_a.cut();
    let _b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 5, &runs), voice);
    sleep(seconds(600)).await;
    assert_eq!(channel.story(), ["POST [working]", "POST [working]", "PUT answer of b"]);
    assert!(channel.calls()[2].path.ends_with("/activities/sent-2"));
}

/// The worker has delivered the answer and cannot say so: the next one delivers the same text to the same place.
#[tokio::test(start_paused = true)]
async fn an_answer_is_delivered_again_without_another_run() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let [runs_a, runs_b] = [(); 2].map(|()| Arc::<AtomicU32>::default());
    let link_a = Link::to(&queue);
    channel.mishap(Method::PUT, Mishap::Slow(2));
    let a = durable(&link_a, &sealer, &channel).start(worker("a", 5, &runs_a), voice);
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(6)).await;
    link_a.cut();
    let _b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 5, &runs_b), voice);
    sleep(seconds(600)).await;
    assert_eq!(channel.story(), ["POST [working]", "PUT answer of a", "PUT answer of a"]);
    assert_eq!((runs_a.load(Ordering::SeqCst), runs_b.load(Ordering::SeqCst)), (1, 0));
}

/// The same without a placeholder: a message that may have arrived is not sent again.
#[tokio::test(start_paused = true)]
async fn a_message_that_may_have_arrived_is_not_sent_again() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let runs = Arc::default();
    let link_a = Link::to(&queue);
    let a = durable(&link_a, &sealer, &channel).start(worker("a", 5, &runs), |_, _| None);
    channel.mishap(Method::POST, Mishap::Slow(2));
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(6)).await;
    link_a.cut();
    let b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 5, &runs), |_, _| None);
    sleep(seconds(600)).await;
    assert_eq!(channel.story(), ["POST answer of a"]);
    let _ = b.accept(&message("a:1", "m2", "y").await).await.unwrap();
    sleep(seconds(60)).await;
    assert_eq!(channel.story(), ["POST answer of a", "POST answer of b"], "the conversation goes on");
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_keeps_its_lease() {
    let (channel, runs) = (Channel::new(), Arc::default());
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let a = durable(&Link::to(&queue), &sealer, &channel)
        .turn_timeout(seconds(7200))
        .start(worker("a", 3600, &runs), voice);
    let _b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 1, &runs), voice);
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    sleep(seconds(4000)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(channel.story().len(), 2, "{:?}", channel.story());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_worker_hands_back() {
    let channel = Channel::new();
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let runs = Arc::default();
    let a = durable(&Link::to(&queue), &sealer, &channel).start(worker("a", 1000, &runs), voice);
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    let _ = a.accept(&message("a:1", "m2", "y").await).await.unwrap();
    sleep(seconds(1)).await;
    let started = Instant::now();
    a.shutdown(seconds(5)).await;
    assert!(started.elapsed() < seconds(6), "{:?}", started.elapsed());
    assert_eq!(queue.len(), 2, "nothing is lost");
    assert_eq!(channel.story(), ["POST [working]"], "and nobody hears of it");
    let _b = durable(&Link::to(&queue), &sealer, &channel).start(worker("b", 5, &runs), voice);
    sleep(seconds(20)).await;
    let story = channel.story();
    assert_eq!(story, ["POST [working]", "PUT answer of b", "POST [working]", "PUT answer of b"]);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_a_503_in_time() {
    let (channel, runs) = (Channel::new(), Arc::default());
    let link = Link::to(&MemoryTurnQueue::default());
    let runner = durable(&link, &Sealer::ephemeral(), &channel).start(worker("a", 1, &runs), voice);
    let incoming = message("a:1", "m1", "x").await;
    link.cut();
    let error = runner.accept(&incoming).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (QueueErrorKind::Unavailable, true));
    link.slow.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let error = runner.accept(&incoming).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (QueueErrorKind::Timeout, true));
    assert!(started.elapsed() <= Duration::from_millis(2100), "{:?}", started.elapsed());
    link.slow.store(false, Ordering::SeqCst);
    link.cut.store(false, Ordering::SeqCst);
    assert!(matches!(runner.accept(&incoming).await.unwrap(), Received::Queued), "the channel sends it again");
    sleep(seconds(7200)).await;
    assert_eq!(channel.story().last().map(String::as_str), Some("PUT answer of a"));
}

/// Records that this bot did not seal, or that it would not accept today, end without a word.
#[tokio::test(start_paused = true)]
async fn records_are_judged_before_they_run() {
    let (channel, runs) = (Channel::new(), Arc::default());
    let queue = MemoryTurnQueue::default();
    let sealer = Sealer::ephemeral();
    let link = Link::to(&queue);
    link.cut();
    let idle = durable(&Link::to(&queue), &sealer, &channel).start(worker("a", 1, &runs), voice);
    idle.shutdown(Duration::ZERO).await;
    let foreign = builder(TenantPolicy::Single(FOREIGN.parse().unwrap())).build().unwrap();
    for (key, policy) in [(Sealer::ephemeral(), authenticator()), (sealer.clone(), foreign)] {
        let sender = durable(&link, &sealer, &channel).start(worker("none", 1, &runs), voice);
        link.cut.store(false, Ordering::SeqCst);
        let incoming = message("a:1", &format!("m{}", queue.len()), "x").await;
        // Only accepts: its own dispatcher pauses for a second after the cut.
        let _ = sender.accept(&incoming).await.unwrap();
        link.cut();
        let other: Arc<dyn TurnQueue> = Arc::new(queue.clone());
        let runner = TurnRunner::durable(other, key, policy.policy().clone(), channel.connector())
            .start(worker("b", 1, &runs), voice);
        sleep(seconds(60)).await;
        assert!(queue.is_empty());
        runner.shutdown(Duration::ZERO).await;
        sender.shutdown(Duration::ZERO).await;
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    assert!(channel.calls().is_empty(), "{:?}", channel.story());
}
