//! The suite for whoever implements [`TurnQueue`]: call it from a test of your own.
//!
//! It panics at the first promise that is broken. Give the queue a short lease time (a second, say) to keep the test
//! short, or pause tokio's time.
//!
//! ```
//! use std::sync::Arc;
//! use botframework_activity::{MemoryQueueLimits, MemoryTurnQueue, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let limits = MemoryQueueLimits::default().lease(std::time::Duration::from_millis(200));
//! conformance::turn_queue(|| Arc::new(MemoryTurnQueue::new(limits))).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a suite reports by panicking

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Accepted, End, Lane, Lease, NewTurn, QueueErrorKind, TurnId, TurnQueue};

const NOW: Duration = Duration::ZERO;

/// Runs every check of this module, each on a queue of its own that `fresh` makes. The queue must be empty and used by
/// nobody else.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn turn_queue<Q: TurnQueue>(mut fresh: impl FnMut() -> Arc<Q>) {
    a_turn_comes_back_as_it_was_accepted(&*fresh()).await;
    an_id_is_accepted_once(&fresh()).await;
    a_lane_is_in_order_and_one_at_a_time(&*fresh()).await;
    lanes_do_not_wait_for_each_other(&*fresh()).await;
    a_full_lane_refuses_and_forgets(&*fresh()).await;
    progress_survives_hand_backs(&*fresh()).await;
    a_lease_that_ran_out_is_fenced(&*fresh()).await;
    checkpoints_keep_a_lease(&*fresh()).await;
    a_turn_that_rests_holds_its_lane(&*fresh()).await;
    waiting_ends_when_a_turn_arrives(&fresh()).await;
    a_dropped_lease_call_loses_nothing(&fresh()).await;
    many_workers_lose_nothing_and_keep_order(&fresh()).await;
}

fn turn(lane: &str, id: &str) -> NewTurn {
    NewTurn::new(TurnId::new(id), Lane::new(lane), Bytes::from(format!("payload of {id}")))
}

async fn accept(queue: &dyn TurnQueue, turn: NewTurn) -> Accepted {
    queue.accept(turn).await.expect("a queue with room accepts")
}

async fn accept_all(queue: &dyn TurnQueue, lane: &str, ids: &[&str]) {
    for id in ids {
        assert_eq!(accept(queue, turn(lane, id)).await, Accepted::New, "{id} is new");
    }
}

async fn lease(queue: &dyn TurnQueue) -> Option<Lease> {
    queue.lease(NOW).await.expect("a queue can be asked")
}

async fn leased(queue: &dyn TurnQueue, id: &str) -> Lease {
    let lease = lease(queue).await.expect("there is a turn to lease");
    assert_eq!(lease.id().as_str(), id, "this turn comes next");
    lease
}

async fn done(queue: &dyn TurnQueue, lease: Lease) {
    queue.finish(lease, End::Done).await.expect("a lease that is held can be finished");
}

/// Id, lane and payload are kept byte by byte; the first attempt is 1 and has no progress.
///
/// # Panics
///
/// When the promise is broken.
pub async fn a_turn_comes_back_as_it_was_accepted(queue: &dyn TurnQueue) {
    assert!(lease(queue).await.is_none(), "an empty queue has nothing to lease");
    let payload: Bytes = (0..=255_u8).collect::<Vec<_>>().into();
    let lane = "lane: \u{e4} {}\r\n/..*";
    let turn = NewTurn::new(TurnId::new("id: \u{e4} {}\r\n"), Lane::new(lane), payload.clone());
    assert_eq!(accept(queue, turn).await, Accepted::New);
    let lease = leased(queue, "id: \u{e4} {}\r\n").await;
    assert_eq!((lease.lane().as_str(), lease.payload()), (lane, &payload));
    assert_eq!((lease.attempt(), lease.progress()), (1, None));
    assert!(lease.ttl() > Duration::ZERO, "a lease is good for some time");
    done(queue, lease).await;
    assert!(self::lease(queue).await.is_none(), "a finished turn is gone");
}

/// Of many that offer one turn at once, one succeeds; while it waits, while it runs and after it is over.
///
/// # Panics
///
/// When the promise is broken.
pub async fn an_id_is_accepted_once<Q: TurnQueue>(queue: &Arc<Q>) {
    let mut offers = JoinSet::new();
    for n in 0..50 {
        let queue = Arc::clone(queue);
        offers.spawn(async move { accept(&*queue, turn(&format!("lane {}", n % 2), "same")).await });
    }
    let results = offers.join_all().await;
    let new = results.iter().filter(|accepted| **accepted == Accepted::New).count();
    assert_eq!(new, 1, "exactly one offer is new");
    assert!(results.iter().all(|accepted| *accepted != Accepted::LaneFull), "duplicates do not fill a lane");
    let lease = leased(&**queue, "same").await;
    assert_eq!(accept(&**queue, turn("lane 0", "same")).await, Accepted::Duplicate, "while it runs");
    done(&**queue, lease).await;
    assert_eq!(accept(&**queue, turn("lane 0", "same")).await, Accepted::Duplicate, "after it is over");
    assert!(self::lease(&**queue).await.is_none(), "duplicates leave nothing");
}

/// # Panics
///
/// When the promise is broken.
pub async fn a_lane_is_in_order_and_one_at_a_time(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1", "2", "3"]).await;
    for id in ["1", "2", "3"] {
        let lease = leased(queue, id).await;
        assert!(self::lease(queue).await.is_none(), "no second turn of a lane while {id} runs");
        done(queue, lease).await;
    }
}

/// # Panics
///
/// When the promise is broken.
pub async fn lanes_do_not_wait_for_each_other(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["a1", "a2"]).await;
    accept_all(queue, "b", &["b1"]).await;
    accept_all(queue, "c", &["c1"]).await;
    let mut held = Vec::new();
    for id in ["a1", "b1", "c1"] {
        held.push(leased(queue, id).await);
    }
    assert!(lease(queue).await.is_none());
    for lease in held {
        done(queue, lease).await;
    }
    let lease = leased(queue, "a2").await;
    done(queue, lease).await;
}

/// The limit counts the running turn; a refused turn can be offered again later and is new then.
///
/// # Panics
///
/// When the promise is broken.
pub async fn a_full_lane_refuses_and_forgets(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1"]).await;
    let lease = leased(queue, "1").await;
    assert_eq!(accept(queue, turn("a", "2").lane_limit(1)).await, Accepted::LaneFull, "the running turn counts");
    assert_eq!(accept(queue, turn("a", "1").lane_limit(1)).await, Accepted::Duplicate, "a duplicate is told as one");
    assert_eq!(accept(queue, turn("b", "3").lane_limit(1)).await, Accepted::New, "other lanes have room");
    assert_eq!(accept(queue, turn("a", "4").lane_limit(2)).await, Accepted::New);
    assert_eq!(accept(queue, turn("a", "5").lane_limit(2)).await, Accepted::LaneFull, "waiting turns count");
    done(queue, lease).await;
    for id in ["3", "4"] {
        let lease = leased(queue, id).await;
        done(queue, lease).await;
    }
    assert_eq!(accept(queue, turn("a", "2").lane_limit(1)).await, Accepted::New, "a refused turn left no trace");
    for n in 0..19 {
        assert_eq!(accept(queue, turn("a", &format!("more {n}"))).await, Accepted::New, "20 by default");
    }
    assert_eq!(accept(queue, turn("a", "one too many")).await, Accepted::LaneFull);
}

/// # Panics
///
/// When the promise is broken.
pub async fn progress_survives_hand_backs(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1", "2"]).await;
    let lease = leased(queue, "1").await;
    queue.checkpoint(&lease, Some(Bytes::from_static(b"one"))).await.expect("a checkpoint");
    queue.checkpoint(&lease, Some(Bytes::from_static(b"two"))).await.expect("a checkpoint");
    queue.checkpoint(&lease, None).await.expect("a checkpoint that only renews");
    queue.finish(lease, End::Again { after: NOW }).await.expect("a hand-back");
    let lease = leased(queue, "1").await;
    assert_eq!(lease.progress().map(|progress| &**progress), Some(&b"two"[..]), "what was stored last");
    assert_eq!(lease.attempt(), 2, "attempts are counted");
    done(queue, lease).await;
    let lease = leased(queue, "2").await;
    assert_eq!((lease.progress(), lease.attempt()), (None, 1), "progress belongs to one turn");
    queue.finish(lease, End::Dead).await.expect("an end for good");
    assert!(self::lease(queue).await.is_none(), "a dead turn is not leased again");
    assert_eq!(accept(queue, turn("a", "2")).await, Accepted::Duplicate, "nor accepted again");
}

/// # Panics
///
/// When the promise is broken.
pub async fn a_lease_that_ran_out_is_fenced(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1", "2"]).await;
    let old = leased(queue, "1").await;
    queue.checkpoint(&old, Some(Bytes::from_static(b"kept"))).await.expect("a checkpoint");
    let ttl = old.ttl();
    assert!(lease(queue).await.is_none(), "the lane is held");
    sleep(ttl + ttl / 4).await;
    let new = leased(queue, "1").await;
    assert_eq!((new.attempt(), new.progress().map(|progress| &**progress)), (2, Some(&b"kept"[..])));
    assert_ne!(old.fence(), new.fence(), "leases can be told apart");
    let error = queue.checkpoint(&old, Some(Bytes::from_static(b"late"))).await.expect_err("a late checkpoint");
    assert_eq!(error.kind(), QueueErrorKind::LeaseLost);
    let error = queue.finish(old, End::Done).await.expect_err("a late end");
    assert_eq!(error.kind(), QueueErrorKind::LeaseLost);
    queue.finish(new, End::Again { after: NOW }).await.expect("the new lease is untouched");
    let lease = leased(queue, "1").await;
    assert_eq!(lease.progress().map(|progress| &**progress), Some(&b"kept"[..]), "the late checkpoint changed nothing");
    done(queue, lease).await;
    let lease = leased(queue, "2").await;
    done(queue, lease).await;
}

/// # Panics
///
/// When the promise is broken.
pub async fn checkpoints_keep_a_lease(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1"]).await;
    let lease = leased(queue, "1").await;
    for _ in 0..6 {
        sleep(lease.ttl() / 2).await;
        queue.checkpoint(&lease, None).await.expect("a lease in time is renewed");
        assert!(self::lease(queue).await.is_none(), "a renewed lease is held");
    }
    done(queue, lease).await;
}

/// # Panics
///
/// When the promise is broken.
pub async fn a_turn_that_rests_holds_its_lane(queue: &dyn TurnQueue) {
    accept_all(queue, "a", &["1", "2"]).await;
    accept_all(queue, "b", &["b1"]).await;
    let lease = leased(queue, "1").await;
    let rest = lease.ttl() / 2;
    queue.finish(lease, End::Again { after: rest }).await.expect("a rest");
    let lease = leased(queue, "b1").await;
    done(queue, lease).await;
    assert!(self::lease(queue).await.is_none(), "the lane rests, later turns do not overtake");
    let started = Instant::now();
    let lease = queue.lease(rest * 20).await.expect("a wait").expect("the turn comes back");
    assert_eq!((lease.id().as_str(), lease.attempt()), ("1", 2));
    let waited = started.elapsed();
    assert!(waited + Duration::from_millis(20) >= rest && waited < rest * 10, "woken in time: {waited:?}");
    done(queue, lease).await;
    let lease = leased(queue, "2").await;
    done(queue, lease).await;
}

/// # Panics
///
/// When the promise is broken.
pub async fn waiting_ends_when_a_turn_arrives<Q: TurnQueue>(queue: &Arc<Q>) {
    let waiting = tokio::spawn({
        let queue = Arc::clone(queue);
        async move { queue.lease(Duration::from_secs(60)).await }
    });
    sleep(Duration::from_millis(20)).await;
    accept_all(&**queue, "a", &["1"]).await;
    let lease = timeout(Duration::from_secs(10), waiting).await.expect("woken").expect("no panic").expect("a lease");
    assert_eq!(lease.expect("the turn").id().as_str(), "1");
    let started = Instant::now();
    assert!(queue.lease(Duration::from_millis(50)).await.expect("a wait").is_none());
    assert!(started.elapsed() >= Duration::from_millis(49), "an empty queue is waited for");
}

/// # Panics
///
/// When the promise is broken.
pub async fn a_dropped_lease_call_loses_nothing<Q: TurnQueue>(queue: &Arc<Q>) {
    let mut expected: Vec<String> = (0..20).map(|n| format!("turn {n}")).collect();
    let mut left = Vec::new();
    for id in &expected {
        let waiting = tokio::spawn({
            let queue = Arc::clone(queue);
            async move { queue.lease(Duration::from_secs(60)).await }
        });
        sleep(Duration::from_millis(2)).await;
        assert_eq!(accept(&**queue, turn(id, id)).await, Accepted::New);
        waiting.abort();
        if let Ok(Ok(Some(lease))) = waiting.await {
            left.push(lease.id().as_str().to_owned());
            done(&**queue, lease).await;
        }
    }
    // What a dropped call may have leased comes back when that lease runs out, within a minute.
    for _ in 0..120 {
        if left.len() == expected.len() {
            break;
        }
        if let Ok(Some(lease)) = queue.lease(Duration::from_millis(500)).await {
            left.push(lease.id().as_str().to_owned());
            done(&**queue, lease).await;
        }
    }
    assert!(lease(&**queue).await.is_none(), "a turn was leased that is done");
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected, "every turn was leased once");
}

/// # Panics
///
/// When the promise is broken.
pub async fn many_workers_lose_nothing_and_keep_order<Q: TurnQueue>(queue: &Arc<Q>) {
    const LANES: usize = 20;
    const TURNS: usize = 15;
    let order = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let (queue, order) = (Arc::clone(queue), Arc::clone(&order));
        workers.spawn(async move {
            let mut seen = Vec::new();
            while let Some(lease) = queue.lease(Duration::from_millis(300)).await.expect("a lease") {
                if (seen.len() + worker) % 5 == 0 {
                    queue.checkpoint(&lease, Some(Bytes::from_static(b"p"))).await.expect("a checkpoint");
                    tokio::task::yield_now().await;
                }
                seen.push((
                    lease.lane().as_str().to_owned(),
                    lease.id().as_str().to_owned(),
                    order.fetch_add(1, Ordering::SeqCst),
                ));
                if (seen.len() + worker) % 7 == 0 && lease.attempt() == 1 {
                    seen.pop();
                    queue.finish(lease, End::Again { after: NOW }).await.expect("a hand-back");
                } else {
                    done(&*queue, lease).await;
                }
            }
            seen
        });
    }
    let mut senders = JoinSet::new();
    for lane in 0..LANES {
        let queue = Arc::clone(queue);
        senders.spawn(async move {
            for n in 0..TURNS {
                for _ in 0..=(n % 3) {
                    let _ = accept(&*queue, turn(&format!("lane {lane}"), &format!("{lane}/{n:02}"))).await;
                }
            }
        });
    }
    senders.join_all().await;
    let seen = workers.join_all().await.into_iter().flatten();
    let mut lanes: HashMap<String, Vec<(String, u64)>> = HashMap::new();
    for (lane, id, at) in seen {
        lanes.entry(lane).or_default().push((id, at));
    }
    assert_eq!(lanes.len(), LANES);
    for (lane, mut turns) in lanes {
        assert_eq!(turns.len(), TURNS, "{lane}: every turn once");
        turns.sort_by_key(|(_, at)| *at);
        let ids: Vec<_> = turns.into_iter().map(|(id, _)| id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert!(ids == sorted, "{lane}: in the order of acceptance");
    }
}
