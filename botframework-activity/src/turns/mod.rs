//! Turns: accepted once, run one after the other in each conversation, answered once.

#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub mod conformance;
mod events;
mod memory;
mod queue;
mod record;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
mod redis;
mod runner;
mod turn;
mod work;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisQueueStats, RedisTurnQueue, RedisTurnQueueBuilder};
pub use self::{
    memory::{MemoryQueueLimits, MemoryTurnQueue},
    queue::{Accepted, End, Lane, Lease, NewTurn, QueueError, QueueErrorKind, TurnId, TurnQueue},
    runner::{Overlap, Received, TurnRunner, TurnRunnerBuilder},
    turn::{HandlerError, Notice, Outcome, Reply, Turn, TurnOver},
};
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use entra_auth::{LossWindow, RedisReport};
