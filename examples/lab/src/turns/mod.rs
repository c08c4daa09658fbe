//! Goals of the turn queue: what is accepted once runs once, and in order.

use std::sync::Arc;

use botframework_activity::{MemoryQueueLimits, MemoryTurnQueue, TurnQueue};

pub mod dedupe;
pub mod order;

/// A worker's way to the queue that is measured.
pub type Queue = Arc<dyn TurnQueue>;

/// As many ways to one queue as there are replicas.
pub type MakeQueues = fn(usize) -> Vec<Queue>;

/// The queue of the crate, in memory.
#[must_use]
pub fn memory(replicas: usize) -> Vec<Queue> {
    let limits = MemoryQueueLimits::default().turns(1_000_000).bytes(1 << 30).lane(1000);
    let queue = MemoryTurnQueue::new(limits);
    (0..replicas).map(|_| Arc::new(queue.clone()) as Queue).collect()
}
