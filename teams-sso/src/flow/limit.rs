use serde::{Deserialize, Serialize};

/// When cards were shown to one user for one connection. Ends the sign-in loops that users otherwise are caught in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CardLimit {
    shown: Vec<i64>,
}

impl CardLimit {
    /// Cards in one window.
    pub(crate) const CARDS: usize = 2;
    /// The window, in seconds.
    pub(crate) const WINDOW: i64 = 5 * 60;

    /// Counts one more card, if it may be shown at `now` (Unix seconds).
    pub(crate) fn take(mut self, now: i64) -> (Self, bool) {
        // Times in the future come from a clock that was set back; they must not lock the user out for long.
        self.shown.retain(|at| (0..Self::WINDOW).contains(&now.saturating_sub(*at)));
        let free = self.shown.len() < Self::CARDS;
        if free {
            self.shown.push(now);
        }
        (self, free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_in_five_minutes() {
        let mut limit = CardLimit::default();
        for (now, expected) in
            [(0, true), (1, true), (2, false), (299, false), (300, true), (300, false), (301, true), (302, false)]
        {
            let (next, free) = limit.take(now);
            assert_eq!(free, expected, "{now}");
            limit = next;
        }
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let (limit, _) = CardLimit::default().take(10_000);
        let (limit, _) = limit.take(10_000);
        assert!(limit.take(5_000).1);
    }
}
