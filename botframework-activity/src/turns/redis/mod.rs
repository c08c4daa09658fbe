//! The queue that several processes share and that survives their crashes.

mod record;
mod scripts;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{
    BuildError, RedisReply, RedisReport, RedisScripts, RedisScriptsBuilder, ScriptCall, ScriptEffect, Sealer, Secret,
    StoreError, StoreErrorKind,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use self::{
    record::{Records, Unreadable},
    scripts::Scripts,
};
use super::{Accepted, End, Lease, NewTurn, QueueError, QueueErrorKind, TurnQueue};

/// A [`TurnQueue`] in Redis 7.0 or newer (one server, or one primary with replicas; not a cluster), shared by all
/// workers of a bot. A turn that was accepted survives the death of any worker; whether it survives the death of the
/// server is the server's setting, which [`RedisTurnQueue::check`] reads.
///
/// Names are stored as hashes; payload, progress and names inside the record are sealed, so all workers need the same
/// keys. Each operation is one script and the server's clock judges all times. A clone is the same queue. The
/// connection is made at the first use and comes back by itself; an operation takes 2 s at most, besides waiting for a
/// turn.
///
/// Give it to [`TurnRunner::durable`](crate::TurnRunner::durable):
///
/// ```no_run
/// use std::sync::Arc;
/// use botframework_activity::{LossWindow, RedisTurnQueue};
/// use entra_auth::{Sealer, Secret};
///
/// # async fn example(url: Secret, keys: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// let queue = RedisTurnQueue::builder(url, Sealer::parse(keys.expose())?).application("broker").build()?;
/// if queue.check().await?.loss != LossWindow::Nothing {
///     eprintln!("turns can be lost with the Redis server");
/// }
/// let queue = Arc::new(queue);
/// # Ok(())
/// # }
/// ```
///
/// A record that cannot be read any more is logged and put to the dead ones (the latest 1,000, for 7 days), so that its
/// conversation goes on. A record of a newer version, or sealed under a key that this worker does not know yet, is left
/// to the other workers for an hour.
#[derive(Clone)]
pub struct RedisTurnQueue(Arc<Inner>);

struct Inner {
    server: RedisScripts,
    records: Records,
    scripts: Scripts,
    prefix: String,
    limits: Limits,
    /// Told when this process makes a lane ready; what others do is found by asking.
    changed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    turns: usize,
    lane: usize,
    bytes: usize,
    record: usize,
    dedupe: Duration,
    lease: Duration,
    poll: Duration,
}

/// How many turns a queue holds, as [`RedisTurnQueue::stats`] counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisQueueStats {
    /// Turns, running ones included.
    pub turns: u64,
    /// Conversations whose next turn waits or rests.
    pub waiting_lanes: u64,
    /// Conversations with a running turn.
    pub running_lanes: u64,
    /// Turns that failed for good and are kept for the operator.
    pub dead: u64,
}

/// What a [`RedisTurnQueue`] is built from.
#[must_use]
pub struct RedisTurnQueueBuilder {
    server: RedisScriptsBuilder,
    sealer: Sealer,
    application: String,
    limits: Limits,
}

/// How many of the dead are kept, and for how long.
const DEAD: u64 = 1000;
const DEAD_FOR: Duration = Duration::from_secs(7 * 86_400);
/// How long a record waits for a worker that can read it.
const UNREADABLE_FOR: Duration = Duration::from_secs(3600);
/// How long its lane rests each time.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);

impl RedisTurnQueue {
    /// Starts with the address, `rediss://user:password@host:6380/0`, and the keys of the records. Plain `redis://` is
    /// for loopback addresses, and `unix:///path` for a socket of this machine.
    pub fn builder(url: impl Into<Secret>, sealer: Sealer) -> RedisTurnQueueBuilder {
        RedisTurnQueueBuilder {
            server: RedisScripts::builder(url),
            sealer,
            application: String::new(),
            limits: Limits {
                turns: 100_000,
                lane: super::queue::LANE_LIMIT,
                bytes: 256 << 20,
                record: 1 << 20,
                dedupe: Duration::from_secs(24 * 3600),
                lease: Duration::from_secs(30),
                poll: Duration::from_millis(100),
            },
        }
    }

    /// Asks the server for its version and for the settings on which the promise "no turn is lost" rests, and warns
    /// about those that fall short. For the start of a service.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: the operator looks at address, login and network. Retry later.
    pub async fn check(&self) -> Result<RedisReport, QueueError> {
        self.0.server.check().await.map_err(of_store)
    }

    /// Counts what is in the queue.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`. Retry later.
    pub async fn stats(&self) -> Result<RedisQueueStats, QueueError> {
        let counts = self.0.run(self.0.script(&self.0.scripts.stats), ScriptEffect::Reads).await?;
        let RedisReply::List(counts) = counts else { return Err(QueueErrorKind::Unavailable.into()) };
        let count = |at: usize| match counts.get(at) {
            Some(RedisReply::Number(number)) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        Ok(RedisQueueStats { turns: count(0), waiting_lanes: count(1), running_lanes: count(2), dead: count(3) })
    }

    /// One question. It runs in a task of its own: when nobody waits for its answer any more, a lease that was given
    /// goes back at once instead of running out.
    async fn ask(&self) -> Result<Asked, QueueError> {
        let (answer, asked) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Whoever asked may be gone, now or before they have read it: the answer itself sees to the lease.
            let _ = answer.send(inner.ask().await);
        });
        asked.await.unwrap_or_else(|_| Err(QueueErrorKind::Unavailable.into()))
    }
}

/// A lease on its way to whoever asked. One that nobody takes goes back.
struct Given {
    lease: Option<Box<Lease>>,
    inner: Arc<Inner>,
}

impl Given {
    fn take(mut self) -> Option<Lease> {
        self.lease.take().map(|lease| *lease)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let (Some(lease), Ok(runtime)) = (self.lease.take(), Handle::try_current()) {
            let inner = Arc::clone(&self.inner);
            runtime.spawn(async move {
                let _ = inner.end(&lease, "undo", Duration::ZERO).await;
            });
        }
    }
}

/// What came of a question for work.
enum Asked {
    Leased(Given),
    /// Nothing now; something may be there after that time.
    Nothing(Option<Duration>),
}

impl Inner {
    fn script(&self, script: &str) -> ScriptCall {
        self.server.call(script, &[&self.prefix])
    }

    async fn run(&self, call: ScriptCall, effect: ScriptEffect) -> Result<RedisReply, QueueError> {
        call.run(effect).await.map_err(of_store)
    }

    fn check_size(&self, bytes: usize) -> Result<(), QueueError> {
        if bytes > self.limits.record { Err(QueueErrorKind::TooLarge.into()) } else { Ok(()) }
    }

    async fn ask(self: &Arc<Self>) -> Result<Asked, QueueError> {
        loop {
            let call = self.script(&self.scripts.lease).number(milliseconds(self.limits.lease));
            let items = match self.run(call, ScriptEffect::Once).await? {
                RedisReply::List(items) => items,
                RedisReply::Number(next) => {
                    return Ok(Asked::Nothing(u64::try_from(next).ok().map(Duration::from_millis)));
                }
                _ => return Err(QueueErrorKind::Unavailable.into()),
            };
            let Some(found) = Found::read(items) else { return Err(QueueErrorKind::Unavailable.into()) };
            match self.open(&found) {
                Ok(lease) => {
                    return Ok(Asked::Leased(Given { lease: Some(Box::new(lease)), inner: Arc::clone(self) }));
                }
                Err(Unreadable::Here) if found.age < UNREADABLE_FOR => {
                    tracing::warn!("a turn that this worker cannot read is left to the others");
                    self.end_named(&found.lane, found.fence, "undo", UNREADABLE_PAUSE).await?;
                }
                Err(_) => {
                    tracing::error!("a turn cannot be read; it is put to the dead ones and its conversation goes on");
                    self.end_named(&found.lane, found.fence, "dead", Duration::ZERO).await?;
                }
            }
        }
    }

    fn open(&self, found: &Found) -> Result<Lease, Unreadable> {
        let (lane, id, payload) = self.records.open(&found.lane, &found.turn, &found.record)?;
        let progress = match &*found.progress {
            [] => None,
            stored => Some(self.records.open_progress(&found.lane, &found.turn, stored)?),
        };
        let lease = Lease::new(id, lane, payload, found.attempt, found.fence, self.limits.lease);
        Ok(lease.with_progress(progress))
    }

    async fn end(&self, lease: &Lease, end: &str, rest: Duration) -> Result<(), QueueError> {
        self.end_named(&Records::lane(lease.lane()), lease.fence(), end, rest).await
    }

    async fn end_named(&self, lane: &str, fence: u64, end: &str, rest: Duration) -> Result<(), QueueError> {
        let call = self.script(&self.scripts.finish).bytes(lane).number(fence).bytes(end).number(milliseconds(rest));
        let call = call.number(DEAD).number(milliseconds(DEAD_FOR));
        fenced(&self.run(call, ScriptEffect::Repeatable).await?)?;
        self.changed.notify_waiters();
        self.changed.notify_one();
        Ok(())
    }
}

#[async_trait]
impl TurnQueue for RedisTurnQueue {
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError> {
        let inner = &*self.0;
        inner.check_size(turn.payload.len())?;
        let record = inner.records.seal(&turn.lane, &turn.id, &turn.payload)?;
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| QueueErrorKind::Unavailable)?;
        let limits = [turn.lane_limit.min(inner.limits.lane), inner.limits.turns, inner.limits.bytes];
        let call = inner.script(&inner.scripts.accept);
        let call = call.bytes(Records::turn(&turn.id)).bytes(Records::lane(&turn.lane)).bytes(record);
        let call = limits.into_iter().fold(call, |call, limit| call.number(u64::try_from(limit).unwrap_or(u64::MAX)));
        let call = call.number(milliseconds(inner.limits.dedupe).max(1)).bytes(nonce);
        match inner.run(call, ScriptEffect::Repeatable).await? {
            RedisReply::Number(0) => {
                inner.changed.notify_one();
                Ok(Accepted::New)
            }
            RedisReply::Number(1) => Ok(Accepted::Duplicate),
            RedisReply::Number(2) => Ok(Accepted::LaneFull),
            RedisReply::Number(3) => Err(QueueErrorKind::Full.into()),
            _ => Err(QueueErrorKind::Unavailable.into()),
        }
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        let end = Instant::now() + wait;
        loop {
            // Registered before the queue is asked, so that no change in between is missed.
            let mut changed = pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let next = match self.ask().await? {
                Asked::Leased(given) => {
                    // There may be more for whoever else waits.
                    self.0.changed.notify_one();
                    return Ok(given.take());
                }
                Asked::Nothing(next) => next.unwrap_or(self.0.limits.poll).min(self.0.limits.poll),
            };
            let now = Instant::now();
            if now >= end {
                return Ok(None);
            }
            let _ = timeout_at((now + next).min(end), changed).await;
        }
    }

    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError> {
        let inner = &*self.0;
        let call = inner.script(&inner.scripts.checkpoint).bytes(Records::lane(lease.lane())).number(lease.fence());
        let mut call = call.number(milliseconds(inner.limits.lease));
        if let Some(progress) = progress {
            inner.check_size(progress.len())?;
            call = call.bytes(inner.records.seal_progress(lease.lane(), lease.id(), &progress)?);
        }
        fenced(&inner.run(call, ScriptEffect::Repeatable).await?)
    }

    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError> {
        match end {
            End::Done => self.0.end(&lease, "done", Duration::ZERO).await,
            End::Dead => self.0.end(&lease, "dead", Duration::ZERO).await,
            End::Again { after } => self.0.end(&lease, "again", after).await,
        }
    }
}

/// A lease as the script tells it.
struct Found {
    lane: String,
    turn: String,
    record: Bytes,
    progress: Bytes,
    attempt: u32,
    fence: u64,
    age: Duration,
}

impl Found {
    fn read(items: Vec<RedisReply>) -> Option<Self> {
        let mut items = items.into_iter();
        let mut bytes = || match items.next()? {
            RedisReply::Bytes(bytes) => Some(bytes),
            RedisReply::Number(number) => Some(number.to_string().into()),
            _ => None,
        };
        let text = |bytes: Bytes| String::from_utf8(bytes.into()).ok();
        let (lane, turn, record, progress) = (bytes()?, bytes()?, bytes()?, bytes()?);
        let mut number = || text(bytes()?)?.parse::<u64>().ok();
        let (attempt, fence, age) = (number()?, number()?, number()?);
        Some(Self {
            lane: text(lane)?,
            turn: text(turn)?,
            record,
            progress,
            attempt: u32::try_from(attempt).ok()?,
            fence,
            age: Duration::from_millis(age),
        })
    }
}

/// What failed at the server is the server's, whatever the store would call it.
fn of_store(error: StoreError) -> QueueError {
    let kind = match error.kind() {
        StoreErrorKind::Timeout => QueueErrorKind::Timeout,
        StoreErrorKind::Full => QueueErrorKind::Full,
        _ => QueueErrorKind::Unavailable,
    };
    QueueError::new(kind, error)
}

fn fenced(reply: &RedisReply) -> Result<(), QueueError> {
    match reply {
        RedisReply::Number(1) => Ok(()),
        RedisReply::Number(0) => Err(QueueErrorKind::LeaseLost.into()),
        _ => Err(QueueErrorKind::Unavailable.into()),
    }
}

/// Rounded up, and ten years at most.
fn milliseconds(time: Duration) -> u64 {
    const MAX: u64 = 10 * 365 * 86_400_000;
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(MAX).min(MAX)
}

macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        impl RedisTurnQueueBuilder {
            $($(#[$doc])*
            pub const fn $field(mut self, $field: $type) -> Self {
                self.limits.$field = $field;
                self
            })+
        }
    };
}

setters! {
    /// Sets how many turns there may be in all lanes. Default 100,000; beyond that [`QueueErrorKind::Full`].
    turns: usize,
    /// Sets how many turns there may be in one lane, the running one included. Default 20; a turn may ask for less.
    lane: usize,
    /// Sets how many bytes all records may have. Default 256 MiB; beyond that [`QueueErrorKind::Full`].
    bytes: usize,
    /// Sets how many bytes one payload or progress may have. Default 1 MiB; beyond that [`QueueErrorKind::TooLarge`].
    record: usize,
    /// Sets for how long duplicates are recognised. Default 24 h.
    dedupe: Duration,
    /// Sets for how long a lease is good without a checkpoint. Default 30 s.
    lease: Duration,
    /// Sets how often a worker without work asks for turns that other processes accepted. Default 100 ms.
    poll: Duration,
}

impl RedisTurnQueueBuilder {
    /// Keeps the turns of bots that use one server apart. Default: empty.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = name.into();
        self
    }

    /// Sets the bound of one answer and of a whole operation. Default: 500 ms and 2 s.
    pub fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.server = self.server.timeouts(attempt, total);
        self
    }

    /// The certificates (PEM) that the server's certificate must come from, in place of the machine's own list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.server = self.server.root_certificates(pem);
        self
    }

    /// Accepts `redis://` to other machines: the login then crosses the network in clear. For networks that encrypt by
    /// themselves.
    pub fn dangerous_plain_tcp(mut self) -> Self {
        self.server = self.server.dangerous_plain_tcp();
        self
    }

    /// Builds the queue. Nothing is sent. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`RedisScripts`] of `entra-auth` says: a malformed address, plain `redis://` to another machine, TLS without a
    /// crypto provider in the process, outside a runtime. The message holds no part of the address.
    pub fn build(self) -> Result<RedisTurnQueue, BuildError> {
        let records = Records::new(self.application, self.sealer);
        Ok(RedisTurnQueue(Arc::new(Inner {
            server: self.server.build()?,
            prefix: records.prefix(),
            records,
            scripts: Scripts::new(),
            limits: self.limits,
            changed: Notify::new(),
        })))
    }
}

impl fmt::Debug for RedisTurnQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTurnQueue").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisTurnQueueBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisTurnQueueBuilder")
            .field("application", &self.application)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
