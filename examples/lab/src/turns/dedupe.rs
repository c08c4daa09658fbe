//! G5: activities that the channel delivers more than once, to several replicas.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use botframework_activity::{Accepted, End, Lane, NewTurn, TurnId};
use tokio::{sync::Mutex, task::JoinSet};

use super::{MakeQueues, asked_for};
use crate::{Fault, Options, Outcome, Random, Setting, world};

/// How many activities.
pub const ACTIVITIES: Setting = Setting::new("activities", "10000", "500");
/// How many replicas take them in.
pub const REPLICAS: Setting = Setting::new("replicas", "3", "3");

/// Measures the queue of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, asked_for(options))
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeQueues) -> Result<Outcome, Fault> {
    let (activities, replicas) = (options.number(&ACTIVITIES)?, options.number(&REPLICAS)?.max(1));
    let mut random = Random::new(options.seed);
    let mut deliveries: Vec<usize> =
        (0..activities).flat_map(|activity| vec![activity; 1 + random.below(5) as usize]).collect();
    for at in (1..deliveries.len()).rev() {
        deliveries.swap(at, random.below(at as u64 + 1) as usize);
    }
    world::real()?.block_on(async {
        let (queues, _redis) = make(replicas)?;
        let sent = Arc::new(AtomicBool::new(false));
        let executed = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
        let mut workers = JoinSet::new();
        for queue in &queues {
            for _ in 0..8 {
                let (queue, executed, sent) = (Arc::clone(queue), Arc::clone(&executed), Arc::clone(&sent));
                workers.spawn(async move {
                    loop {
                        let last = sent.load(Ordering::SeqCst);
                        match queue.lease(Duration::from_millis(500)).await {
                            Ok(Some(lease)) => {
                                *executed.lock().await.entry(lease.id().as_str().to_owned()).or_default() += 1;
                                tokio::task::yield_now().await;
                                // What cannot be stored comes again, and is counted.
                                let _ = queue.finish(lease, End::Done).await;
                            }
                            Ok(None) if last => return,
                            Ok(None) => {}
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    }
                });
            }
        }
        let mut senders = JoinSet::new();
        for (replica, queue) in queues.iter().enumerate() {
            let queue = Arc::clone(queue);
            let mine: Vec<usize> = deliveries.iter().copied().skip(replica).step_by(replicas).collect();
            senders.spawn(async move {
                let mut duplicates = 0_usize;
                for activity in mine {
                    let turn = || {
                        let lane = Lane::new(format!("conversation {}", activity % 997));
                        NewTurn::new(TurnId::new(format!("activity {activity}")), lane, "x").lane_limit(1000)
                    };
                    // The channel sends again what it got no 200 for.
                    let accepted = loop {
                        match queue.accept(turn()).await {
                            Ok(accepted) => break accepted,
                            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                        }
                    };
                    duplicates += usize::from(accepted == Accepted::Duplicate);
                }
                duplicates
            });
        }
        let duplicates: usize = senders.join_all().await.into_iter().sum();
        sent.store(true, Ordering::SeqCst);
        workers.join_all().await;
        let executed = executed.lock().await;
        let twice = executed.values().filter(|times| **times > 1).count();
        let lost = activities - executed.len().min(activities);
        Ok(Outcome::new(twice + lost, 0)
            .require("no turn runs twice", twice == 0)
            .require("no turn is lost", lost == 0)
            .require("every further delivery is a duplicate", duplicates == deliveries.len() - activities)
            .note("activities", activities)
            .note("deliveries", deliveries.len())
            .note("replicas", replicas)
            .note("executed_twice", twice)
            .note("lost", lost))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        processes::Redis,
        turns::{Queue, memory},
    };

    #[test]
    fn the_queue_of_the_crate_holds_and_two_that_know_nothing_of_each_other_do_not() {
        assert!(run(&Options::short()).unwrap().passes());
        let apart: MakeQueues = |replicas| {
            let queues: Result<Vec<Vec<Queue>>, Fault> = (0..replicas).map(|_| Ok(memory(1)?.0)).collect();
            Ok((queues?.into_iter().flatten().collect(), None))
        };
        let outcome = check(&Options::short(), apart).unwrap();
        assert!(outcome.failed().contains(&"no turn runs twice".to_owned()), "{outcome:?}");
    }
    #[test]
    fn the_queue_in_redis_holds_too() {
        if !Redis::is_installed() {
            // Where programs must be there, the tests of the queue itself say so.
            println!("skipped: redis-server not found");
            return;
        }
        let outcome = run(&Options::short().with("redis", "yes")).unwrap();
        assert!(outcome.passes(), "{outcome:?}");
    }
}
