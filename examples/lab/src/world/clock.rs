use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use entra_auth::Clock;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::EPOCH;

/// The wall clock of a machine: it goes with tokio's time, and it can be set wrong.
pub struct WorldClock {
    start: Instant,
    offset: AtomicI64,
}

impl WorldClock {
    /// A clock that is right. Make it inside the runtime whose time it follows.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), offset: AtomicI64::new(0) }
    }

    /// Seconds since 1970 as they really are.
    #[must_use]
    pub fn true_now(&self) -> i64 {
        EPOCH + i64::try_from(self.start.elapsed().as_secs()).unwrap_or(i64::MAX - EPOCH)
    }

    /// Seconds since 1970 as this machine believes.
    #[must_use]
    pub fn believed_now(&self) -> i64 {
        self.true_now() + self.offset.load(Ordering::SeqCst)
    }

    /// How long the world exists.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sets the clock ahead of the truth, or behind it.
    pub fn set_offset(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::SeqCst);
    }
}

impl Default for WorldClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for WorldClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.believed_now()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Debug for WorldClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorldClock")
    }
}
