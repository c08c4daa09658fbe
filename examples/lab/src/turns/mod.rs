//! Goals of the turn queue: what is accepted once runs once, and in order.

use std::{sync::Arc, time::Duration};

use botframework_activity::{MemoryQueueLimits, MemoryTurnQueue, RedisTurnQueue, TurnQueue};
use entra_auth::{Sealer, Secret};

use crate::{Fault, Options, Setting, processes::Redis};

pub mod dedupe;
pub mod order;

/// Over a Redis of its own instead of in memory.
pub const REDIS: Setting = Setting::flag("redis");

/// A worker's way to the queue that is measured.
pub type Queue = Arc<dyn TurnQueue>;

/// As many ways to one queue as there are replicas. What keeps the queue alive comes with them.
pub type MakeQueues = fn(usize) -> Result<(Vec<Queue>, Option<Redis>), Fault>;

/// The queue that was asked for.
fn asked_for(options: &Options) -> MakeQueues {
    if options.has(&REDIS) { redis } else { memory }
}

/// The queue of the crate, in memory.
///
/// # Errors
///
/// Never.
pub fn memory(replicas: usize) -> Result<(Vec<Queue>, Option<Redis>), Fault> {
    let limits = MemoryQueueLimits::default().turns(1_000_000).bytes(1 << 30).lane(1000);
    let queue = MemoryTurnQueue::new(limits);
    Ok(((0..replicas).map(|_| Arc::new(queue.clone()) as Queue).collect(), None))
}

/// The queue of the crate in a Redis of its own, to which each replica has its own connection.
///
/// # Errors
///
/// When there is no Redis.
pub fn redis(replicas: usize) -> Result<(Vec<Queue>, Option<Redis>), Fault> {
    let redis = Redis::start()?;
    let queues: Result<Vec<Queue>, Fault> = (0..replicas)
        .map(|_| {
            let queue = RedisTurnQueue::builder(Secret::new(redis.url()), Sealer::parse(Redis::KEYS)?)
                .application("lab")
                .turns(1_000_000)
                .lane(1000)
                .bytes(1 << 30)
                .timeouts(Duration::from_secs(2), Duration::from_secs(20))
                .build()?;
            Ok(Arc::new(queue) as Queue)
        })
        .collect();
    Ok((queues?, Some(redis)))
}
