//! How patiently an identity endpoint is asked again.

use std::time::Duration;

use http::StatusCode;

use super::ManagedIdentitySource;
use crate::RetryPolicy;

/// All attempts together take no longer.
const TOTAL: Duration = Duration::from_secs(20);
/// IMDS says with status 410 that it is being updated, which takes up to 70 s.
const TOTAL_GONE: Duration = Duration::from_secs(80);
const GONE_PAUSE: Duration = Duration::from_secs(10);
const GONE_TIMES: u32 = 7;
/// Beyond this a flight to an identity endpoint is cut off.
pub(super) const LONGEST: Duration = Duration::from_secs(90);

/// The pauses of one token request.
#[derive(Debug)]
pub(super) struct Ladder {
    source: ManagedIdentitySource,
    policy: RetryPolicy,
    faults: u32,
    gone: u32,
}

impl Ladder {
    pub(super) const fn new(source: ManagedIdentitySource) -> Self {
        let policy = RetryPolicy::new(4, Duration::from_secs(1), Duration::from_secs(4));
        Self { source, policy, faults: 0, gone: 0 }
    }

    /// The pause before the next attempt; `None` when there shall be none. `status` is `None` when no answer came, and
    /// `spent` is the time since the first attempt.
    #[inline]
    pub(super) fn next(
        &mut self,
        status: Option<StatusCode>,
        wait: Option<Duration>,
        spent: Duration,
    ) -> Option<Duration> {
        let imds = self.source == ManagedIdentitySource::Imds;
        let pause = match status.map(|status| status.as_u16()) {
            Some(410) if imds => {
                self.gone += 1;
                (self.gone <= GONE_TIMES).then(|| GONE_PAUSE.max(wait.unwrap_or_default()))
            }
            Some(code) if !self.passes(code) => None,
            _ => {
                self.faults += 1;
                let pause = self.policy.delay(self.faults, wait);
                if imds { pause } else { pause.map(|_| Duration::from_secs(1).max(wait.unwrap_or_default())) }
            }
        };
        let total = if self.gone > 0 { TOTAL_GONE } else { TOTAL };
        pause.filter(|pause| spent + *pause < total)
    }

    /// Whether the status speaks of something that passes.
    #[inline]
    const fn passes(&self, status: u16) -> bool {
        match self.source {
            ManagedIdentitySource::Imds => matches!(status, 404 | 408 | 429 | 500..=599),
            _ => matches!(status, 404 | 408 | 429 | 500 | 503 | 504),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(source: ManagedIdentitySource, status: Option<u16>, wait: Option<u64>) -> Vec<Duration> {
        let mut ladder = Ladder::new(source);
        let mut spent = Duration::ZERO;
        let mut all = Vec::new();
        while let Some(pause) =
            ladder.next(status.map(|s| StatusCode::from_u16(s).unwrap()), wait.map(Duration::from_secs), spent)
        {
            spent += pause;
            all.push(pause);
        }
        all
    }

    #[test]
    fn what_passes_is_tried_three_times_more() {
        use ManagedIdentitySource::{AppService, AzureArc, AzureMl, CloudShell, Imds};
        for status in [404, 408, 429, 500, 502, 503, 504, 599] {
            let found = pauses(Imds, Some(status), None);
            assert_eq!(found.len(), 3, "{status}");
            for (pause, bound) in found.iter().zip([1, 2, 4]) {
                assert!(*pause <= Duration::from_secs(bound));
            }
        }
        for source in [AppService, AzureArc, AzureMl, CloudShell] {
            for status in [404, 408, 429, 500, 503, 504] {
                assert_eq!(pauses(source, Some(status), None), [Duration::from_secs(1); 3], "{source} {status}");
                assert_eq!(pauses(source, Some(status), Some(2)), [Duration::from_secs(2); 3]);
            }
            for status in [400, 401, 403, 410, 501, 502] {
                assert!(pauses(source, Some(status), None).is_empty(), "{source} {status}");
            }
            assert_eq!(pauses(source, None, None).len(), 3);
        }
        for status in [200, 302, 400, 401, 403] {
            assert!(pauses(Imds, Some(status), None).is_empty(), "{status}");
        }
        assert!(pauses(Imds, Some(429), Some(60)).is_empty(), "a long wait is for the gate, not for the caller");
    }

    #[test]
    fn an_update_of_imds_is_waited_for() {
        assert_eq!(pauses(ManagedIdentitySource::Imds, Some(410), None), [Duration::from_secs(10); 7]);
    }
}
