//! G6: turns of many conversations, with handlers that take their time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use botframework_activity::{End, Lane, NewTurn, TurnId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{MakeQueues, memory};
use crate::{Fault, Options, Outcome, Random, Setting};

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
    check(options, memory)
}

/// Measures whatever `make` makes. Time is simulated: what is measured is who waits for whom.
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(async {
        let queues = make(3);
        let lane = |n: usize| Lane::new(format!("{n}"));
        for turn in 0..turns {
            for conversation in 0..conversations {
                let id = TurnId::new(format!("{conversation}/{turn}"));
                let queue = queues.get(conversation % queues.len()).ok_or("no queue")?;
                let _ = queue.accept(NewTurn::new(id, lane(conversation), "x").lane_limit(1000)).await?;
            }
        }
        let seen = Arc::new(Mutex::new(HashMap::<String, Seen>::new()));
        let (delays, started) = (Arc::new(delays), Instant::now());
        let mut workers = JoinSet::new();
        for worker in 0..conversations {
            let queue = Arc::clone(queues.get(worker % queues.len()).ok_or("no queue")?);
            let (seen, delays) = (Arc::clone(&seen), Arc::clone(&delays));
            workers.spawn(async move {
                while let Ok(Some(lease)) = queue.lease(Duration::from_secs(5)).await {
                    let name = lease.lane().as_str().to_owned();
                    let turn: usize =
                        lease.id().as_str().rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or_default();
                    let delay = name.parse::<usize>().ok().and_then(|n| delays.get(n)?.get(turn).copied());
                    enter(&seen, &name, turn);
                    sleep(delay.unwrap_or_default()).await;
                    seen.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().running = false;
                    if queue.finish(lease, End::Done).await.is_err() {
                        break;
                    }
                }
                // The last wait for work is no part of the work.
                Instant::now() - Duration::from_secs(5)
            });
        }
        let wall = workers.join_all().await.into_iter().max().map_or(Duration::ZERO, |end| end - started);
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
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
            .note("wall_of_longest", (ratio * 1000.0).round() / 1000.0))
    })
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
    use crate::turns::Queue;

    #[test]
    fn the_queue_of_the_crate_holds() {
        let outcome = run(&Options::short()).unwrap();
        assert!(outcome.passes(), "{outcome:?}");
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
            let queues = memory(replicas);
            queues.into_iter().map(|queue| Arc::new(Loose(queue)) as Queue).collect()
        };
        let outcome = check(&Options::short(), loose).unwrap();
        assert!(outcome.failed().contains(&"turns of a conversation never overlap".to_owned()), "{outcome:?}");
    }
}
