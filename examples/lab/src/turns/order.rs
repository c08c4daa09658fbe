//! G6: turns of many conversations, with handlers that take their time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use botframework_activity::{End, Lane, NewTurn, TurnId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{MakeQueues, Queue, REDIS, asked_for};
use crate::{Fault, Options, Outcome, Random, Setting, world};

/// How many conversations.
pub const CONVERSATIONS: Setting = Setting::new("conversations", "1000", "50");
/// How many turns each has.
pub const TURNS: Setting = Setting::new("turns", "20", "10");

/// What a conversation has seen.
#[derive(Default)]
struct Seen {
    running: bool,
    next: usize,
    overlaps: u32,
    reorders: u32,
}

/// Measures the queue of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, asked_for(options))
}

/// Measures whatever `make` makes. What is measured is who waits for whom: in memory time is simulated. Over Redis it is
/// real, and each turn takes up to two seconds.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeQueues) -> Result<Outcome, Fault> {
    let (conversations, turns) = (options.number(&CONVERSATIONS)?, options.number(&TURNS)?);
    let mut random = Random::new(options.seed);
    let delays: Vec<Vec<Duration>> = (0..conversations)
        .map(|_| (0..turns).map(|_| Duration::from_millis(1 + random.below(2000))).collect())
        .collect();
    let longest: Duration = delays.iter().map(|delays| delays.iter().sum()).max().unwrap_or_default();
    let runtime = if options.has(&REDIS) { world::real()? } else { world::paused()? };
    runtime.block_on(async {
        let (queues, _redis) = make(3)?;
        accept(&queues, conversations, turns).await?;
        let work = Arc::new(Work { seen: Mutex::default(), delays, missing: AtomicUsize::new(conversations * turns) });
        let started = Instant::now();
        let mut replicas = JoinSet::new();
        for queue in queues {
            replicas.spawn(replica(queue, Arc::clone(&work)));
        }
        let wall = replicas.join_all().await.into_iter().max().map_or(Duration::ZERO, |end| end - started);
        let seen = work.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (overlaps, reorders): (u32, u32) =
            seen.values().fold((0, 0), |(o, r), seen| (o + seen.overlaps, r + seen.reorders));
        let done: usize = seen.values().map(|seen| seen.next).sum();
        let ratio = wall.as_secs_f64() / longest.as_secs_f64().max(f64::EPSILON);
        Ok(Outcome::new(overlaps + reorders, 0)
            .require("turns of a conversation never overlap", overlaps == 0)
            .require("turns of a conversation keep their order", reorders == 0)
            .require("every turn runs", done == conversations * turns)
            .require("conversations run side by side: at most 1.2x the longest one", ratio <= 1.2)
            .note("turns", done)
            .note("overlaps", overlaps)
            .note("reorders", reorders)
            .note("queue", if options.has(&REDIS) { "redis" } else { "memory" })
            .note("wall_of_longest", (ratio * 1000.0).round() / 1000.0))
    })
}

/// Puts all turns in: those of a conversation one after the other, conversations side by side.
async fn accept(queues: &[Queue], conversations: usize, turns: usize) -> Result<(), Fault> {
    const SENDERS: usize = 16;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let queue = Arc::clone(queues.get(sender % queues.len().max(1)).ok_or("no queue")?);
        senders.spawn(async move {
            for turn in 0..turns {
                for conversation in (sender..conversations).step_by(SENDERS) {
                    let id = TurnId::new(format!("{conversation}/{turn}"));
                    let turn = NewTurn::new(id, Lane::new(format!("{conversation}")), "x").lane_limit(1000);
                    let _ = queue.accept(turn).await?;
                }
            }
            Ok::<(), botframework_activity::QueueError>(())
        });
    }
    Ok(senders.join_all().await.into_iter().collect::<Result<(), _>>()?)
}

/// What the replicas share.
struct Work {
    seen: Mutex<HashMap<String, Seen>>,
    delays: Vec<Vec<Duration>>,
    /// Turns that have not ended.
    missing: AtomicUsize,
}

/// Leases turns one after the other and runs them side by side, as the runner does. Returns when its last one ended.
async fn replica(queue: Queue, work: Arc<Work>) -> Instant {
    let mut turns = JoinSet::new();
    let mut quiet = 0;
    while work.missing.load(Ordering::SeqCst) > 0 && quiet < 100 {
        let Ok(Some(lease)) = queue.lease(Duration::from_millis(100)).await else {
            // Ten seconds without a turn: what is missing does not come any more.
            quiet += 1;
            continue;
        };
        quiet = 0;
        let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
        turns.spawn(async move {
            let name = lease.lane().as_str().to_owned();
            let turn: usize = lease.id().as_str().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or_default();
            let delay = name.parse::<usize>().ok().and_then(|n| work.delays.get(n)?.get(turn).copied());
            enter(&work.seen, &name, turn);
            sleep(delay.unwrap_or_default()).await;
            work.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().running = false;
            work.missing.fetch_sub(1, Ordering::SeqCst);
            let _ = queue.finish(lease, End::Done).await;
            Instant::now()
        });
    }
    turns.join_all().await.into_iter().max().unwrap_or_else(Instant::now)
}

fn enter(seen: &Mutex<HashMap<String, Seen>>, name: &str, turn: usize) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = seen.entry(name.to_owned()).or_default();
    seen.overlaps += u32::from(seen.running);
    seen.reorders += u32::from(turn != seen.next);
    seen.running = true;
    seen.next += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{processes::Redis, turns::memory};

    #[test]
    fn the_queue_of_the_crate_holds() {
        let outcome = run(&Options::short()).unwrap();
        assert!(outcome.passes(), "{outcome:?}");
    }

    #[test]
    fn the_queue_in_redis_holds_too() {
        if !Redis::is_installed() {
            // Where programs must be there, the tests of the queue itself say so.
            println!("skipped: redis-server not found");
            return;
        }
        let options = Options::short().with("redis", "yes").with("turns", "2").with("conversations", "20");
        let outcome = run(&options).unwrap();
        // Real time on a busy machine: who waits for whom is measured by the long form.
        let failed: Vec<_> = outcome.failed().iter().filter(|failed| !failed.contains("side by side")).collect();
        assert!(failed.is_empty(), "{outcome:?}");
    }

    /// A lane a turn: nothing holds the turns of a conversation together.
    #[derive(Debug)]
    struct Loose(Queue);

    #[async_trait::async_trait]
    impl botframework_activity::TurnQueue for Loose {
        async fn accept(
            &self,
            mut turn: NewTurn,
        ) -> Result<botframework_activity::Accepted, botframework_activity::QueueError> {
            turn.lane = Lane::new(turn.id.as_str());
            self.0.accept(turn).await
        }

        async fn lease(
            &self,
            wait: Duration,
        ) -> Result<Option<botframework_activity::Lease>, botframework_activity::QueueError> {
            let Some(lease) = self.0.lease(wait).await? else { return Ok(None) };
            let conversation = lease.id().as_str().split('/').next().unwrap_or_default().to_owned();
            let (id, payload) = (lease.id().clone(), lease.payload().clone());
            let (attempt, fence, ttl) = (lease.attempt(), lease.fence(), lease.ttl());
            self.0.finish(lease, End::Done).await?;
            Ok(Some(botframework_activity::Lease::new(id, Lane::new(conversation), payload, attempt, fence, ttl)))
        }

        async fn checkpoint(
            &self,
            _: &botframework_activity::Lease,
            _: Option<bytes::Bytes>,
        ) -> Result<(), botframework_activity::QueueError> {
            Ok(())
        }

        async fn finish(
            &self,
            _: botframework_activity::Lease,
            _: End,
        ) -> Result<(), botframework_activity::QueueError> {
            Ok(())
        }
    }

    #[test]
    fn a_queue_without_lanes_is_caught() {
        let loose: MakeQueues = |replicas| {
            let (queues, none) = memory(replicas)?;
            Ok((queues.into_iter().map(|queue| Arc::new(Loose(queue)) as Queue).collect(), none))
        };
        let outcome = check(&Options::short(), loose).unwrap();
        assert!(outcome.failed().contains(&"turns of a conversation never overlap".to_owned()), "{outcome:?}");
    }
}
