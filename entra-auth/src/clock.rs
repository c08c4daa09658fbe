use std::{fmt::Debug, time::SystemTime};

use time::OffsetDateTime;

/// Wall-clock time, for decisions about validity only: is a token, an assertion, a key still good.
///
/// Waiting, time-outs, retry gates and time to live use [`tokio::time`], which tests can pause.
///
/// A clock goes on: the token cache reads its own age once per second of the clock, so under one that stands still, which
/// only tests have, a token that is taken from it ends by this clock alone.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> OffsetDateTime;

    /// The current time in whole seconds since 1970, for those who ask millions of times and need no date.
    fn unix_seconds(&self) -> i64 {
        self.now().unix_timestamp()
    }
}

impl<T: Clock + ?Sized> Clock for std::sync::Arc<T> {
    fn now(&self) -> OffsetDateTime {
        (**self).now()
    }

    fn unix_seconds(&self) -> i64 {
        (**self).unix_seconds()
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that may ask the system
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    #[allow(clippy::disallowed_methods)] // and here
    fn unix_seconds(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or_else(|_| self.now().unix_timestamp(), |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to; clones share their time.
///
/// ```
/// # use entra_auth::{Clock, ManualClock};
/// # use time::{Duration, OffsetDateTime};
/// let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
/// clock.step(Duration::seconds(5));
/// assert_eq!(clock.now().unix_timestamp(), 5);
/// ```
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
#[derive(Clone, Debug)]
pub struct ManualClock(std::sync::Arc<std::sync::Mutex<OffsetDateTime>>);

#[cfg(feature = "test-util")]
impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: OffsetDateTime) -> Self {
        Self(std::sync::Arc::new(std::sync::Mutex::new(now)))
    }

    /// Moves only the wall clock, backwards too: what a clock jump looks like.
    pub fn step(&self, by: time::Duration) {
        *self.lock() += by;
    }

    /// Moves the wall clock and the paused tokio time together.
    ///
    /// # Panics
    ///
    /// When tokio's time is not paused (`#[tokio::test(start_paused = true)]`).
    pub async fn advance(&self, by: std::time::Duration) {
        *self.lock() += by;
        tokio::time::advance(by).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OffsetDateTime> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(feature = "test-util")]
impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.lock()
    }
}
