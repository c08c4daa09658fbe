//! How fast a conversation may be written to and read from: sliding windows, no I/O.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::answer::Cost;
use crate::ServiceUrl;

/// Where the documented rates of Teams are kept before the service has to enforce them: 7 writes in 1 s, 8 in 2 s, 60 in
/// 30 s and 1,800 in an hour to one conversation, twice that for reads, and 50 calls a second to one tenant.
///
/// A call that comes too early waits, in order, as long as its deadline allows; then it fails as
/// [`Throttled`](crate::SendErrorKind::Throttled) without having been sent. A 429 with `Retry-After` holds back all calls
/// to its conversation. The counts are those of this process: several processes that write to one conversation share the
/// limit without knowing each other.
/// [Rate limiting](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversationRates {
    /// At connectors of Teams, and nowhere else: other channels have other limits. The default.
    #[default]
    Teams,
    /// At every connector, this machine included.
    Everywhere,
    /// Nowhere: the service alone says when it is too much.
    Off,
}

/// The calls of the last hour, by conversation.
#[derive(Debug)]
pub(super) struct Rates {
    kept: ConversationRates,
    lanes: Mutex<Lanes>,
}

/// The conversations that are remembered.
#[derive(Debug, Default)]
struct Lanes {
    by_name: HashMap<Arc<str>, Lane>,
    /// In the order in which they came.
    order: VecDeque<Arc<str>>,
    /// When the quiet ones were looked for last.
    swept: Option<Instant>,
}

/// The times of past and reserved calls, oldest first.
#[derive(Debug, Default)]
struct Lane {
    writes: VecDeque<Instant>,
    reads: VecDeque<Instant>,
    not_before: Option<Instant>,
}

type Window = (usize, Duration);

const WRITES: [Window; 4] = [
    (7, Duration::from_secs(1)),
    (8, Duration::from_secs(2)),
    (60, Duration::from_secs(30)),
    (1800, Duration::from_secs(3600)),
];
const READS: [Window; 4] = [
    (14, Duration::from_secs(1)),
    (16, Duration::from_secs(2)),
    (120, Duration::from_secs(30)),
    (3600, Duration::from_secs(3600)),
];
const TENANT: [Window; 1] = [(50, Duration::from_secs(1))];

/// The most conversations that are remembered; the quiet ones are forgotten first, then the oldest.
const MAX_LANES: usize = 8192;
/// Quiet ones are looked for no more often: that takes a look at all of them.
const SWEEP: Duration = Duration::from_secs(1);
/// A conversation that was quiet for so long may be forgotten: the hour's count is lost with it.
const QUIET: Duration = Duration::from_secs(30);

impl Rates {
    pub(super) fn new(kept: ConversationRates) -> Self {
        Self { kept, lanes: Mutex::default() }
    }

    /// Reserves the next place in a conversation. `None`: now. An error says how long it would have taken.
    pub(super) fn reserve(
        &self,
        at: &ServiceUrl,
        conversation: Option<&str>,
        cost: Cost,
        end: Instant,
    ) -> Result<Option<Instant>, Duration> {
        let Some(id) = conversation.filter(|_| self.keeps(at)) else {
            return Ok(None);
        };
        let now = Instant::now();
        let mut lanes = self.lanes();
        let lane = lanes.lane(&name(at, id), now);
        let earliest = lane.earliest(cost, now);
        take(lane.calls(cost), earliest, now, end)
    }

    /// Reserves the next place among all calls to a tenant, once the conversation's has come.
    pub(super) fn reserve_tenant(&self, at: &ServiceUrl, end: Instant) -> Result<Option<Instant>, Duration> {
        if !self.keeps(at) {
            return Ok(None);
        }
        let now = Instant::now();
        let mut lanes = self.lanes();
        let calls = &mut lanes.lane(at.as_str(), now).writes;
        let earliest = earliest(calls, &TENANT, now);
        take(Some(calls), earliest, now, end)
    }

    /// Nothing goes to this conversation for so long.
    pub(super) fn hold(&self, at: &ServiceUrl, conversation: Option<&str>, wait: Duration) {
        if let Some(id) = conversation.filter(|_| self.keeps(at)) {
            let now = Instant::now();
            self.lanes().lane(&name(at, id), now).not_before = Some(now + wait);
        }
    }

    fn keeps(&self, at: &ServiceUrl) -> bool {
        match self.kept {
            ConversationRates::Teams => is_teams(at.host()),
            ConversationRates::Everywhere => true,
            ConversationRates::Off => false,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn lane(&mut self, name: &str, now: Instant) -> &mut Lane {
        if !self.by_name.contains_key(name) {
            self.make_room(now);
            self.order.push_back(name.into());
        }
        // The name is shared with the order when it is new.
        let key = match self.order.back() {
            Some(last) if **last == *name => Arc::clone(last),
            _ => name.into(),
        };
        self.by_name.entry(key).or_default()
    }

    fn make_room(&mut self, now: Instant) {
        if self.by_name.len() < MAX_LANES {
            return;
        }
        if self.swept.is_none_or(|last| last + SWEEP <= now) {
            self.swept = Some(now);
            self.by_name.retain(|_, lane| !lane.is_quiet(now));
            let by_name = &self.by_name;
            self.order.retain(|name| by_name.contains_key(name));
        }
        while self.by_name.len() >= MAX_LANES
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
    }
}

impl Lane {
    fn earliest(&mut self, cost: Cost, now: Instant) -> Instant {
        let from = self.not_before.map_or(now, |held| held.max(now));
        match cost {
            Cost::Write => earliest(&mut self.writes, &WRITES, from),
            Cost::Read => earliest(&mut self.reads, &READS, from),
            Cost::Free => from,
        }
    }

    fn calls(&mut self, cost: Cost) -> Option<&mut VecDeque<Instant>> {
        match cost {
            Cost::Write => Some(&mut self.writes),
            Cost::Read => Some(&mut self.reads),
            Cost::Free => None,
        }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        let last = self.writes.back().max(self.reads.back());
        last.is_none_or(|last| *last + QUIET < now) && self.not_before.is_none_or(|held| held < now)
    }
}

/// Takes the place unless it comes too late.
fn take(
    calls: Option<&mut VecDeque<Instant>>,
    at: Instant,
    now: Instant,
    end: Instant,
) -> Result<Option<Instant>, Duration> {
    if at >= end {
        return Err(at - now);
    }
    if let Some(calls) = calls {
        calls.push_back(at);
    }
    Ok((at > now).then_some(at))
}

/// The earliest time, from `from` on, at which one more call breaks no window. Forgets what no window looks at.
fn earliest(calls: &mut VecDeque<Instant>, windows: &[Window], from: Instant) -> Instant {
    let longest = windows.iter().map(|(_, span)| *span).max().unwrap_or_default();
    while calls.front().is_some_and(|oldest| *oldest + longest <= from) {
        calls.pop_front();
    }
    // Places are given in order: nobody overtakes a call that waits.
    let mut at = calls.back().map_or(from, |last| from.max(*last));
    for (most, span) in windows {
        if let Some(nth) = calls.len().checked_sub(*most).and_then(|n| calls.get(n)) {
            at = at.max(*nth + *span);
        }
    }
    at
}

fn name(at: &ServiceUrl, conversation: &str) -> String {
    format!("{} {conversation}", at.as_str())
}

fn is_teams(host: &str) -> bool {
    host.starts_with("smba.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> ServiceUrl {
        ServiceUrl::loopback_dev("http://127.0.0.1:9/emea/").unwrap()
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(100_000)
    }

    /// The seconds after the first call at which `count` calls may go out.
    fn times(rates: &Rates, cost: Cost, count: usize) -> Vec<f64> {
        let start = Instant::now();
        let reserve = || rates.reserve(&place(), Some("c"), cost, far()).unwrap().unwrap_or(start);
        (0..count).map(|_| (reserve() - start).as_secs_f64()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_is_ever_overfull() {
        for (cost, windows, count) in [(Cost::Write, WRITES, 4000), (Cost::Read, READS, 8000)] {
            let times = times(&Rates::new(ConversationRates::Everywhere), cost, count);
            for (most, span) in windows {
                for pair in times.windows(most + 1) {
                    let (first, last) = (pair[0], pair[most]);
                    assert!(last - first >= span.as_secs_f64() - 1e-9, "{most} in {span:?}: {first} {last}");
                }
            }
            // And none is emptier than it has to be: the last window decides.
            let (most, span) = windows[3];
            assert!((times[most] - span.as_secs_f64()).abs() < 1e-6, "{}", times[most]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn seven_at_once_then_one_after_a_second_and_two() {
        let times = times(&Rates::new(ConversationRates::Everywhere), Cost::Write, 9);
        assert_eq!(times[..7], [0.0; 7]);
        assert_eq!(times[7..], [1.0, 2.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn conversations_do_not_wait_for_each_other_but_a_tenant_has_fifty_a_second() {
        let rates = Rates::new(ConversationRates::Everywhere);
        for id in 0..50 {
            assert_eq!(rates.reserve(&place(), Some(&id.to_string()), Cost::Write, far()), Ok(None));
            assert_eq!(rates.reserve_tenant(&place(), far()), Ok(None));
        }
        let at = rates.reserve_tenant(&place(), far()).unwrap().unwrap();
        assert_eq!(at - Instant::now(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_wait_so_long_takes_no_place() {
        let rates = Rates::new(ConversationRates::Everywhere);
        let soon = Instant::now() + Duration::from_millis(500);
        for _ in 0..7 {
            assert_eq!(rates.reserve(&place(), Some("c"), Cost::Write, soon), Ok(None));
        }
        for _ in 0..3 {
            assert_eq!(rates.reserve(&place(), Some("c"), Cost::Write, soon), Err(Duration::from_secs(1)));
        }
        assert_eq!(rates.reserve(&place(), Some("c"), Cost::Read, soon), Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_holds_its_conversation_back() {
        let rates = Rates::new(ConversationRates::Everywhere);
        rates.hold(&place(), Some("c"), Duration::from_secs(3));
        let at = rates.reserve(&place(), Some("c"), Cost::Read, far()).unwrap().unwrap();
        assert_eq!(at - Instant::now(), Duration::from_secs(3));
        assert_eq!(rates.reserve(&place(), Some("d"), Cost::Free, far()), Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn only_teams_has_the_rates_of_teams() {
        let reserve =
            |rates: &Rates| (0..20).all(|_| rates.reserve(&place(), Some("c"), Cost::Write, far()) == Ok(None));
        assert!(reserve(&Rates::new(ConversationRates::Teams)));
        assert!(reserve(&Rates::new(ConversationRates::Off)));
        assert!(!reserve(&Rates::new(ConversationRates::Everywhere)));
        assert!(is_teams("smba.trafficmanager.net") && is_teams("smba.infra.gcc.teams.microsoft.com"));
        assert!(!is_teams("directline.botframework.com"));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let rates = Rates::new(ConversationRates::Everywhere);
        for id in 0..3 * MAX_LANES {
            let _ = rates.reserve(&place(), Some(&id.to_string()), Cost::Write, far());
            tokio::time::advance(Duration::from_millis(25)).await;
        }
        let lanes = rates.lanes();
        assert!(lanes.by_name.len() <= MAX_LANES && lanes.order.len() == lanes.by_name.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room_and_nobody_looks_at_all_more_than_once_a_second() {
        let rates = Rates::new(ConversationRates::Everywhere);
        let reserve = |id: usize| rates.reserve(&place(), Some(&id.to_string()), Cost::Write, far());
        for id in 0..MAX_LANES {
            assert_eq!(reserve(id), Ok(None));
        }
        let first = Instant::now();
        assert_eq!(reserve(MAX_LANES), Ok(None));
        assert_eq!(rates.lanes().swept, Some(first));
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(reserve(MAX_LANES + 1), Ok(None));
        let has = |id: usize| rates.lanes().by_name.contains_key(&*name(&place(), &id.to_string()));
        assert!(!has(0) && !has(1) && has(2) && has(MAX_LANES + 1));
        assert_eq!(rates.lanes().swept, Some(first), "no second look within the second");
        tokio::time::advance(2 * QUIET).await;
        assert_eq!(reserve(MAX_LANES + 2), Ok(None));
        assert_eq!(rates.lanes().by_name.len(), 1, "the quiet ones are forgotten");
    }
}
