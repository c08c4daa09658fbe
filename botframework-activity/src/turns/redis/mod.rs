//! The queue that several processes share and that survives their crashes.

mod connection;
mod record;
mod report;
mod scripts;

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use ::redis::{Client, Cmd, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates, Value, cmd};
use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{BuildError, RedisStore, Sealer, Secret};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};
use url::Url;

pub use self::report::{LossWindow, RedisQueueReport};
use self::{
    connection::{Connection, Repeat},
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
    connection: Connection,
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
    url: Secret,
    sealer: Sealer,
    application: String,
    timeouts: (Duration, Duration),
    limits: Limits,
    roots: Option<Vec<u8>>,
    plain: bool,
}

/// How many of the dead are kept, and for how long.
const DEAD: usize = 1000;
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
            url: url.into(),
            sealer,
            application: String::new(),
            timeouts: (Duration::from_millis(500), Duration::from_secs(2)),
            limits: Limits {
                turns: 100_000,
                lane: super::queue::LANE_LIMIT,
                bytes: 256 << 20,
                record: 1 << 20,
                dedupe: Duration::from_secs(24 * 3600),
                lease: Duration::from_secs(30),
                poll: Duration::from_millis(100),
            },
            roots: None,
            plain: false,
        }
    }

    /// Counts what is in the queue.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`. Retry later.
    pub async fn stats(&self) -> Result<RedisQueueStats, QueueError> {
        let counts = self.0.connection.run(&self.0.script(&self.0.scripts.stats), Repeat::Harmless).await?;
        let Value::Array(counts) = counts else { return Err(QueueErrorKind::Unavailable.into()) };
        let count = |at: usize| match counts.get(at) {
            Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
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
    fn script(&self, script: &str) -> Cmd {
        // EVAL, not EVALSHA: a server that has just restarted needs no second round trip, and the scripts are short.
        let mut command = cmd("EVAL");
        command.arg(script).arg(1).arg(&self.prefix);
        command
    }

    fn check_size(&self, bytes: usize) -> Result<(), QueueError> {
        if bytes > self.limits.record { Err(QueueErrorKind::TooLarge.into()) } else { Ok(()) }
    }

    async fn ask(self: &Arc<Self>) -> Result<Asked, QueueError> {
        loop {
            let mut command = self.script(&self.scripts.lease);
            command.arg(milliseconds(self.limits.lease));
            let items = match self.connection.run(&command, Repeat::Harmful).await? {
                Value::Array(items) => items,
                Value::Int(next) => {
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
        let mut command = self.script(&self.scripts.finish);
        command.arg(lane).arg(fence).arg(end).arg(milliseconds(rest)).arg(DEAD).arg(milliseconds(DEAD_FOR));
        fenced(&self.connection.run(&command, Repeat::Harmless).await?)?;
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
        let mut command = inner.script(&inner.scripts.accept);
        command.arg(Records::turn(&turn.id)).arg(Records::lane(&turn.lane)).arg(record);
        command.arg(turn.lane_limit.min(inner.limits.lane)).arg(inner.limits.turns).arg(inner.limits.bytes);
        command.arg(milliseconds(inner.limits.dedupe).max(1)).arg(&nonce);
        match inner.connection.run(&command, Repeat::Harmless).await? {
            Value::Int(0) => {
                inner.changed.notify_one();
                Ok(Accepted::New)
            }
            Value::Int(1) => Ok(Accepted::Duplicate),
            Value::Int(2) => Ok(Accepted::LaneFull),
            Value::Int(3) => Err(QueueErrorKind::Full.into()),
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
        let mut command = inner.script(&inner.scripts.checkpoint);
        command.arg(Records::lane(lease.lane())).arg(lease.fence()).arg(milliseconds(inner.limits.lease));
        if let Some(progress) = progress {
            inner.check_size(progress.len())?;
            command.arg(inner.records.seal_progress(lease.lane(), lease.id(), &progress)?);
        }
        fenced(&inner.connection.run(&command, Repeat::Harmless).await?)
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
    record: Vec<u8>,
    progress: Vec<u8>,
    attempt: u32,
    fence: u64,
    age: Duration,
}

impl Found {
    fn read(items: Vec<Value>) -> Option<Self> {
        let mut items = items.into_iter();
        let mut bytes = || match items.next()? {
            Value::BulkString(bytes) => Some(bytes),
            Value::Int(number) => Some(number.to_string().into_bytes()),
            _ => None,
        };
        let (lane, turn, record, progress) = (bytes()?, bytes()?, bytes()?, bytes()?);
        let mut number = || String::from_utf8(bytes()?).ok()?.parse::<u64>().ok();
        let (attempt, fence, age) = (number()?, number()?, number()?);
        Some(Self {
            lane: String::from_utf8(lane).ok()?,
            turn: String::from_utf8(turn).ok()?,
            record,
            progress,
            attempt: u32::try_from(attempt).ok()?,
            fence,
            age: Duration::from_millis(age),
        })
    }
}

fn fenced(value: &Value) -> Result<(), QueueError> {
    match value {
        Value::Int(1) => Ok(()),
        Value::Int(0) => Err(QueueErrorKind::LeaseLost.into()),
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
    pub const fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.timeouts = (attempt, total);
        self
    }

    /// The certificates (PEM) that the server's certificate must come from, in place of the machine's own list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Accepts `redis://` to other machines: the login then crosses the network in clear. For networks that encrypt by
    /// themselves.
    pub const fn dangerous_plain_tcp(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Builds the queue. Nothing is sent. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// As `RedisStore` of `entra-auth` says: a malformed address, plain `redis://` to another machine, TLS without a
    /// crypto provider in the process, outside a runtime. The message holds no part of the address.
    pub fn build(self) -> Result<RedisTurnQueue, BuildError> {
        // The rules for addresses are the store's; it sends nothing.
        let mut rules = RedisStore::builder(self.url.clone());
        if self.plain {
            rules = rules.dangerous_plain_tcp();
        }
        rules.build()?;
        let malformed = || BuildError::new("the address of Redis has the form rediss://user:password@host:port/0");
        let url: Url = self.url.expose().parse().map_err(|_| malformed())?;
        let tls = url.scheme() == "rediss";
        let info = url.into_connection_info().map_err(|_| malformed())?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        let client = if tls {
            let certificates = TlsCertificates { client_tls: None, root_cert: self.roots };
            Client::build_with_tls(info, certificates)
                .map_err(|_| BuildError::new("the root certificates for Redis are no PEM certificates"))?
        } else {
            Client::open(info).map_err(|_| malformed())?
        };
        let records = Records::new(self.application, self.sealer);
        Ok(RedisTurnQueue(Arc::new(Inner {
            connection: Connection::new(client, self.timeouts.0, self.timeouts.1)?,
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
