use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fmt,
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    Accepted, End, Lane, Lease, NewTurn, QueueError, QueueErrorKind, TurnId, TurnQueue, queue::LANE_LIMIT,
    record::Progress,
};
use crate::VerifiedActivity;

/// A [`TurnQueue`] in the memory of this process. What it holds is lost with the process.
///
/// [`TurnRunner::in_memory`](crate::TurnRunner::in_memory) puts activities into it as they are: nothing is sealed that
/// never leaves the process. A clone is the same queue.
#[derive(Clone)]
pub struct MemoryTurnQueue(Arc<Shared>);

/// The bounds of a [`MemoryTurnQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryQueueLimits {
    /// Turns in all lanes. Default 10,000.
    pub turns: usize,
    /// Turns in one lane, the running one included. Default 20; a turn may ask for less.
    pub lane: usize,
    /// Bytes of all payloads; an activity that is kept as it is counts with the size of its request. Default 64 MiB.
    pub bytes: usize,
    /// Bytes of one payload or progress. Default 1 MiB.
    pub record: usize,
    /// Names that are remembered to recognise duplicates. Beyond that the oldest are forgotten before their 24 hours
    /// are over. Default 500,000, about 40 MiB when full.
    pub remembered: usize,
    /// For how long a name is remembered. Default 24 h.
    pub dedupe: Duration,
    /// For how long a lease is good without a checkpoint. Default 30 s.
    pub lease: Duration,
}

impl Default for MemoryQueueLimits {
    fn default() -> Self {
        Self {
            turns: 10_000,
            lane: LANE_LIMIT,
            bytes: 64 << 20,
            record: 1 << 20,
            remembered: 500_000,
            dedupe: Duration::from_secs(24 * 3600),
            lease: Duration::from_secs(30),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        impl MemoryQueueLimits {
            $($(#[$doc])*
            #[must_use]
            pub const fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })+
        }
    };
}

setters! {
    /// Sets how many turns there may be in all lanes.
    turns: usize,
    /// Sets how many turns there may be in one lane.
    lane: usize,
    /// Sets how many bytes all payloads may have.
    bytes: usize,
    /// Sets how many bytes one payload or progress may have.
    record: usize,
    /// Sets how many names are remembered.
    remembered: usize,
    /// Sets for how long a name is remembered.
    dedupe: Duration,
    /// Sets for how long a lease is good without a checkpoint.
    lease: Duration,
}

struct Shared {
    limits: MemoryQueueLimits,
    state: Mutex<State>,
    /// Told when a lane becomes ready or a timer is set.
    changed: Notify,
}

struct State {
    lanes: HashMap<Lane, LaneState>,
    /// Lanes whose first turn can be leased, the longest waiting first.
    ready: VecDeque<Lane>,
    /// When leases run out and rests end. The number tells timers of one instant apart, and old ones from new ones.
    timers: BTreeMap<(Instant, u64), Lane>,
    seen: Seen,
    turns: usize,
    bytes: usize,
    counter: u64,
}

struct LaneState {
    waiting: VecDeque<Entry>,
    head: Head,
}

enum Head {
    /// In `ready`.
    Ready,
    /// Nothing can be leased before the timer.
    Resting,
    Leased {
        entry: Entry,
        fence: u64,
        timer: (Instant, u64),
    },
}

struct Entry {
    id: TurnId,
    payload: Bytes,
    carried: Option<VerifiedActivity>,
    /// The bytes of both.
    size: usize,
    progress: Option<Bytes>,
    noted: Option<Arc<Progress>>,
    attempt: u32,
}

impl MemoryTurnQueue {
    /// A queue with these bounds.
    #[must_use]
    pub fn new(limits: MemoryQueueLimits) -> Self {
        let state = State {
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            seen: Seen::default(),
            turns: 0,
            bytes: 0,
            counter: 0,
        };
        Self(Arc::new(Shared { limits, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// How many turns there are, running ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().turns
    }

    /// Whether there is no turn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A checkpoint that keeps how far a turn is as it is.
    pub(super) fn note(&self, lease: &Lease, progress: &Progress) -> Result<(), QueueError> {
        self.check_size(progress.size())?;
        let progress = Arc::new(progress.clone());
        let until = Instant::now() + self.0.limits.lease;
        self.lock().renew(lease, until, |entry| entry.noted = Some(progress))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is a sound one.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_size(&self, bytes: usize) -> Result<(), QueueError> {
        if bytes > self.0.limits.record { Err(QueueErrorKind::TooLarge.into()) } else { Ok(()) }
    }
}

impl Default for MemoryTurnQueue {
    fn default() -> Self {
        Self::new(MemoryQueueLimits::default())
    }
}

#[async_trait]
impl TurnQueue for MemoryTurnQueue {
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError> {
        self.check_size(turn.size())?;
        let result = self.lock().accept(turn, &self.0.limits, Instant::now());
        if matches!(result, Ok(Accepted::New)) {
            self.0.changed.notify_one();
        }
        result
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        let end = Instant::now() + wait;
        loop {
            // Registered before the state is looked at, so that no change in between is missed.
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let next = {
                let mut state = self.lock();
                state.tick(now);
                if let Some(lease) = state.lease(&self.0.limits, now) {
                    let more = !state.ready.is_empty();
                    drop(state);
                    // Whoever waits looks at the new timer, and at what is left.
                    self.0.changed.notify_waiters();
                    if more {
                        self.0.changed.notify_one();
                    }
                    return Ok(Some(lease));
                }
                state.timers.keys().next().map(|(at, _)| *at)
            };
            if now >= end {
                return Ok(None);
            }
            let _ = timeout_at(next.map_or(end, |next| next.min(end)), changed).await;
        }
    }

    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError> {
        self.check_size(progress.as_ref().map_or(0, Bytes::len))?;
        let until = Instant::now() + self.0.limits.lease;
        self.lock().renew(lease, until, |entry| entry.progress = progress.or_else(|| entry.progress.take()))
    }

    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError> {
        self.lock().finish(&lease, end, Instant::now())?;
        self.0.changed.notify_waiters();
        self.0.changed.notify_one();
        Ok(())
    }
}

impl State {
    fn accept(&mut self, turn: NewTurn, limits: &MemoryQueueLimits, now: Instant) -> Result<Accepted, QueueError> {
        let name = self.seen.name(&turn.id);
        if self.seen.contains(name, now) {
            return Ok(Accepted::Duplicate);
        }
        let in_lane = self.lanes.get(&turn.lane).map_or(0, LaneState::len);
        if in_lane >= turn.lane_limit.min(limits.lane) {
            return Ok(Accepted::LaneFull);
        }
        let size = turn.size();
        let bytes = self.bytes.saturating_add(size);
        if self.turns >= limits.turns || bytes > limits.bytes {
            return Err(QueueErrorKind::Full.into());
        }
        self.turns += 1;
        self.bytes = bytes;
        self.seen.remember(name, now + limits.dedupe, limits.remembered);
        let NewTurn { id, lane: name, payload, carried, .. } = turn;
        let entry = Entry { id, payload, carried, size, progress: None, noted: None, attempt: 0 };
        match self.lanes.get_mut(&name) {
            Some(lane) => lane.waiting.push_back(entry),
            None => {
                self.ready.push_back(name.clone());
                self.lanes.insert(name, LaneState { waiting: VecDeque::from([entry]), head: Head::Ready });
            }
        }
        Ok(Accepted::New)
    }

    /// Hands back what ran out, and wakes lanes whose rest is over.
    fn tick(&mut self, now: Instant) {
        while let Some(first) = self.timers.first_entry() {
            if first.key().0 > now {
                return;
            }
            let lane_name = first.remove();
            let Some(lane) = self.lanes.get_mut(&lane_name) else { continue };
            if let Head::Leased { entry, .. } = std::mem::replace(&mut lane.head, Head::Ready) {
                tracing::warn!(attempt = entry.attempt, "the lease of a turn ran out");
                lane.waiting.push_front(entry);
            }
            self.ready.push_back(lane_name);
        }
    }

    fn lease(&mut self, limits: &MemoryQueueLimits, now: Instant) -> Option<Lease> {
        let name = self.ready.pop_front()?;
        self.counter += 1;
        let fence = self.counter;
        let timer = (now + limits.lease, fence);
        let lane = self.lanes.get_mut(&name)?;
        let mut entry = lane.waiting.pop_front()?;
        entry.attempt += 1;
        let lease =
            Lease::new(entry.id.clone(), name.clone(), entry.payload.clone(), entry.attempt, fence, limits.lease)
                .with_progress(entry.progress.clone())
                .with_own(entry.carried.clone(), entry.noted.clone());
        lane.head = Head::Leased { entry, fence, timer };
        self.timers.insert(timer, name);
        Some(lease)
    }

    fn renew(&mut self, lease: &Lease, until: Instant, keep: impl FnOnce(&mut Entry)) -> Result<(), QueueError> {
        self.tick(Instant::now());
        self.counter += 1;
        let next = (until, self.counter);
        match self.lanes.get_mut(lease.lane()).map(|lane| &mut lane.head) {
            Some(Head::Leased { entry, fence, timer }) if *fence == lease.fence() => {
                keep(entry);
                if let Some(name) = self.timers.remove(timer) {
                    self.timers.insert(next, name);
                }
                *timer = next;
                Ok(())
            }
            _ => Err(QueueErrorKind::LeaseLost.into()),
        }
    }

    fn finish(&mut self, lease: &Lease, end: End, now: Instant) -> Result<(), QueueError> {
        self.tick(now);
        let lane = self.lanes.get_mut(lease.lane()).ok_or(QueueErrorKind::LeaseLost)?;
        match &lane.head {
            Head::Leased { fence, .. } if *fence == lease.fence() => {}
            _ => return Err(QueueErrorKind::LeaseLost.into()),
        }
        let Head::Leased { entry, timer, .. } = std::mem::replace(&mut lane.head, Head::Ready) else {
            return Err(QueueErrorKind::LeaseLost.into());
        };
        self.timers.remove(&timer);
        match end {
            End::Again { after } => {
                lane.waiting.push_front(entry);
                if !after.is_zero() {
                    self.counter += 1;
                    let timer = (now + after, self.counter);
                    lane.head = Head::Resting;
                    self.timers.insert(timer, lease.lane().clone());
                    return Ok(());
                }
            }
            End::Done | End::Dead => {
                self.turns = self.turns.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(entry.size);
            }
        }
        if lane.waiting.is_empty() {
            self.lanes.remove(lease.lane());
        } else {
            self.ready.push_back(lease.lane().clone());
        }
        Ok(())
    }
}

impl LaneState {
    fn len(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.head, Head::Leased { .. }))
    }
}

/// Names of turns, as 128 bits of two keyed hashes: nobody outside can make two names collide.
#[derive(Default)]
struct Seen {
    hashers: [RandomState; 2],
    names: HashSet<u128>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, u128)>,
}

impl Seen {
    fn name(&self, id: &TurnId) -> u128 {
        let [a, b] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(id)));
        a << 64 | b
    }

    fn contains(&mut self, name: u128, now: Instant) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        self.names.contains(&name)
    }

    fn remember(&mut self, name: u128, until: Instant, most: usize) {
        if self.names.len() >= most {
            self.forget_oldest();
        }
        self.names.insert(name);
        self.order.push_back((until, name));
    }

    fn forget_oldest(&mut self) {
        if let Some((_, name)) = self.order.pop_front() {
            self.names.remove(&name);
        }
    }
}

impl fmt::Debug for MemoryTurnQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryTurnQueue")
            .field("turns", &state.turns)
            .field("lanes", &state.lanes.len())
            .field("bytes", &state.bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(lane: &str, id: &str) -> NewTurn {
        NewTurn::new(TurnId::new(id), Lane::new(lane), Bytes::from(id.to_owned()))
    }

    async fn accept(queue: &MemoryTurnQueue, lane: &str, id: &str) -> Result<Accepted, QueueErrorKind> {
        queue.accept(turn(lane, id)).await.map_err(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_in_every_direction() {
        let limits = MemoryQueueLimits::default().turns(3).bytes(8).record(4).remembered(2);
        let queue = MemoryTurnQueue::new(limits);
        assert_eq!(accept(&queue, "a", "12345").await, Err(QueueErrorKind::TooLarge));
        assert_eq!(accept(&queue, "a", "1234").await, Ok(Accepted::New));
        assert_eq!(accept(&queue, "b", "5678").await, Ok(Accepted::New));
        assert_eq!(accept(&queue, "c", "9").await, Err(QueueErrorKind::Full), "no bytes left");
        let lease = queue.lease(Duration::ZERO).await.unwrap().unwrap();
        let error = queue.checkpoint(&lease, Some(Bytes::from_static(b"12345"))).await.unwrap_err();
        assert_eq!(error.kind(), QueueErrorKind::TooLarge);
        queue.finish(lease, End::Done).await.unwrap();
        assert_eq!(accept(&queue, "c", "9").await, Ok(Accepted::New));
        assert_eq!(accept(&queue, "d", "0").await, Ok(Accepted::New));
        assert_eq!(accept(&queue, "e", "x").await, Err(QueueErrorKind::Full), "no turns left");
        assert_eq!(queue.lock().seen.names.len(), 2);
        assert_eq!(queue.lock().seen.order.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_what_is_over() {
        let queue = MemoryTurnQueue::default();
        for n in 0..100 {
            assert_eq!(accept(&queue, &format!("lane {}", n % 7), &n.to_string()).await, Ok(Accepted::New));
        }
        while let Some(lease) = queue.lease(Duration::ZERO).await.unwrap() {
            queue.finish(lease, if queue.len() % 2 == 0 { End::Done } else { End::Dead }).await.unwrap();
        }
        assert_eq!(format!("{queue:?}"), "MemoryTurnQueue { turns: 0, lanes: 0, bytes: 0 }");
        let state = queue.lock();
        assert!(state.ready.is_empty() && state.timers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_sees_leases_run_out() {
        let queue = MemoryTurnQueue::default();
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.lease(Duration::from_secs(3600)).await.unwrap().unwrap().attempt() }
        });
        tokio::task::yield_now().await;
        assert_eq!(accept(&queue, "a", "1").await, Ok(Accepted::New));
        let second = queue.lease(Duration::from_secs(3600));
        let started = Instant::now();
        let attempts = (waiter.await.unwrap(), second.await.unwrap().unwrap().attempt());
        assert!(matches!(attempts, (1, 2) | (2, 1)), "{attempts:?}");
        assert_eq!(started.elapsed().as_secs(), 30);
    }
}
