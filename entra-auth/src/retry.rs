use std::time::Duration;

use http::HeaderMap;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// How often and how patiently something is tried again: full jitter, `uniform(0, min(cap, base * 2^n))`.
///
/// *Which* failures are repeated is decided by each client, for each request; this is only about counts and delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included. Default 3.
    pub attempts: u32,
    /// Upper bound of the first delay. Default 500 ms.
    pub base: Duration,
    /// Upper bound of any delay that we choose. Default 4 s.
    pub cap: Duration,
    /// The longest `Retry-After` that is waited for; a longer one ends the attempts. Default 10 s.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new(3, Duration::from_millis(500), Duration::from_secs(4))
    }
}

impl RetryPolicy {
    /// A policy with the default patience of 10 s.
    #[must_use]
    pub const fn new(attempts: u32, base: Duration, cap: Duration) -> Self {
        Self { attempts, base, cap, patience: Duration::from_secs(10) }
    }

    /// One attempt, no more.
    #[must_use]
    pub const fn never() -> Self {
        Self::new(1, Duration::ZERO, Duration::ZERO)
    }

    /// Sets the longest `Retry-After` that is waited for.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long to wait after attempt number `attempt` (from 1) failed; `None` when no attempt is left or the other
    /// side asks for more patience than we have.
    #[must_use]
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        match retry_after {
            Some(wait) => (wait <= self.patience).then_some(wait),
            None => {
                let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
                let bound = self.base.saturating_mul(factor).min(self.cap);
                Some(bound.mul_f64(crate::random::weak_fraction()))
            }
        }
    }
}

/// The wait that a response asks for, in any of its forms: `retry-after-ms`, `x-ms-retry-after-ms`, or `Retry-After`
/// as seconds or as an HTTP date. At most one hour; a date in the past is zero.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    const MAX: Duration = Duration::from_secs(3600);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let millis = |name| text(name).and_then(number);
    let millis = millis("retry-after-ms").or_else(|| millis("x-ms-retry-after-ms"));
    let millis = millis.map(|ms| Duration::from_secs_f64((ms / 1000.0).min(MAX.as_secs_f64())));
    millis.or_else(|| {
        let text = text("retry-after")?;
        let wait = match number(text) {
            Some(seconds) => Duration::from_secs_f64(seconds.min(MAX.as_secs_f64())),
            None => {
                let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
                Duration::try_from(at - now).unwrap_or_default()
            }
        };
        Some(wait.min(MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_retry_after() {
        let now = OffsetDateTime::parse("Sun, 22 Nov 2026 10:00:00 GMT", &Rfc2822).unwrap();
        for (name, value, expected) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", "1.5", Some(1_500)),
            ("retry-after", "Sun, 22 Nov 2026 10:00:09 GMT", Some(9_000)),
            ("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("retry-after", "99999999999", Some(3_600_000)),
            ("retry-after", "1e308", Some(3_600_000)),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "soon", None),
            ("retry-after-ms", "250", Some(250)),
            ("x-ms-retry-after-ms", "12", Some(12)),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_millis), "{name}: {value}");
        }
    }

    #[test]
    fn delays_grow_stay_bounded_and_end() {
        let policy = RetryPolicy::new(5, Duration::from_millis(100), Duration::from_millis(300));
        for _ in 0..200 {
            for (attempt, bound) in [(1, 100), (2, 200), (3, 300), (4, 300)] {
                assert!(policy.delay(attempt, None).unwrap() <= Duration::from_millis(bound));
            }
        }
        assert_eq!(policy.delay(5, None), None);
        assert_eq!(policy.delay(1, Some(Duration::from_secs(11))), None);
        assert_eq!(policy.delay(1, Some(Duration::from_secs(10))), Some(Duration::from_secs(10)));
        assert_eq!(RetryPolicy::never().delay(1, None), None);
    }
}
