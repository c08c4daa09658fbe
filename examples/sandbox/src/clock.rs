//! The sandbox's own clock: real time plus an offset that tests move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time with an adjustable offset. Everything that mints or judges a token asks it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    /// Seconds since 1970.
    #[allow(clippy::disallowed_methods)] // the one place of this crate that reads the machine's time
    pub(crate) fn now(&self) -> i64 {
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX));
        real.saturating_add(self.offset.load(Ordering::SeqCst))
    }

    /// Moves the clock, also backwards.
    pub(crate) fn advance(&self, seconds: i64) {
        self.offset.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The form Entra writes into error bodies: `2026-01-01 00:00:00Z`.
    pub(crate) fn entra_timestamp(&self) -> String {
        let (year, month, day, hour, minute, second) = self.parts();
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
    }

    /// RFC 3339 with milliseconds, the form of activity timestamps.
    pub(crate) fn rfc3339(&self) -> String {
        let (year, month, day, hour, minute, second) = self.parts();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
    }

    fn parts(&self) -> (i32, u8, u8, u8, u8, u8) {
        let at = time::OffsetDateTime::from_unix_timestamp(self.now()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        (at.year(), at.month() as u8, at.day(), at.hour(), at.minute(), at.second())
    }
}
