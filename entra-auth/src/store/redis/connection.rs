//! One connection that comes back, with bounds on every wait and an error for every outcome.

use std::{
    error::Error as StdError,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::{Instant, timeout_at};

use super::server::ScriptEffect;
use crate::{BuildError, StoreError, StoreErrorKind};

/// A peer that is silent this often in a row is dialled anew: its connection may lead nowhere, and TCP alone would
/// notice after minutes.
const SILENT: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Connection {
    client: Client,
    config: ConnectionManagerConfig,
    manager: Mutex<ConnectionManager>,
    silent: AtomicU32,
    total: Duration,
}

impl Connection {
    pub(super) fn new(client: Client, attempt: Duration, total: Duration) -> Result<Self, BuildError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BuildError::new("what uses Redis is built inside a tokio runtime"));
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(attempt))
            .set_min_delay(PAUSE)
            .set_max_delay(Duration::from_secs(1))
            .set_number_of_retries(1)
            .set_pipeline_buffer_size(1024);
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())
            .map_err(|_| BuildError::new("the Redis client refuses its settings"))?;
        Ok(Self { client, config, manager: Mutex::new(manager), silent: AtomicU32::new(0), total })
    }

    /// Sends a command and waits for its answer: 2 attempts at most, within the bound of all together.
    pub(super) async fn run(&self, command: &Cmd, effect: ScriptEffect) -> Result<Value, StoreError> {
        let deadline = Instant::now() + self.total;
        let mut repeated = false;
        loop {
            let mut manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let fault = match timeout_at(deadline, command.query_async::<Value>(&mut manager)).await {
                Ok(Ok(value)) => {
                    self.silent.store(0, Ordering::Relaxed);
                    return Ok(value);
                }
                Ok(Err(error)) => Fault::of(&error, effect),
                Err(_) => Fault { kind: StoreErrorKind::Timeout, ..Fault::new(Trouble::Silent, effect) },
            };
            self.mend(&fault);
            if repeated || !fault.again || Instant::now() + PAUSE >= deadline {
                return Err(fault.into());
            }
            repeated = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A connection that failed by its own fault is redialled by the manager; this is for what it overlooks.
    fn mend(&self, fault: &Fault) {
        let redial = match fault.trouble {
            Trouble::Silent => self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT,
            Trouble::Refused => true,
            Trouble::Broken | Trouble::Answer => false,
        };
        if !redial {
            return;
        }
        self.silent.store(0, Ordering::Relaxed);
        if let Ok(fresh) = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone()) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

/// What went wrong, without any text of the server's.
#[derive(Debug)]
struct Fault {
    trouble: Trouble,
    kind: StoreErrorKind,
    /// The server's error code, such as `NOAUTH`.
    code: Option<Box<str>>,
    /// Whether the command may be sent again.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// No answer in time.
    Silent,
    /// The connection broke, or there is none.
    Broken,
    /// The server does not let us in.
    Refused,
    /// The server answered with an error.
    Answer,
}

impl Fault {
    const fn new(trouble: Trouble, effect: ScriptEffect) -> Self {
        // A write whose answer is lost may have happened: the caller is told so by the kind.
        let kind = match effect {
            ScriptEffect::Reads => StoreErrorKind::Unavailable,
            ScriptEffect::Repeatable | ScriptEffect::Once => StoreErrorKind::Timeout,
        };
        Self { trouble, kind, code: None, again: false }
    }

    fn of(error: &RedisError, effect: ScriptEffect) -> Self {
        if error.is_timeout() {
            return Self { kind: StoreErrorKind::Timeout, ..Self::new(Trouble::Silent, effect) };
        }
        if error.is_connection_refusal() {
            let broken = Self::new(Trouble::Broken, effect);
            return Self { kind: StoreErrorKind::Unavailable, again: true, ..broken };
        }
        if error.is_io_error() {
            return Self { again: effect != ScriptEffect::Once, ..Self::new(Trouble::Broken, effect) };
        }
        let code =
            error.code().map(|code| code.chars().filter(char::is_ascii_uppercase).take(20).collect::<Box<str>>());
        let (trouble, kind) = match (error.kind(), code.as_deref()) {
            (_, Some("OOM")) => (Trouble::Answer, StoreErrorKind::Full),
            (_, Some("WRONGTYPE")) => (Trouble::Answer, StoreErrorKind::Corrupt),
            (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
            | (ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported, _)
            | (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => (Trouble::Refused, StoreErrorKind::Unavailable),
            _ => (Trouble::Answer, StoreErrorKind::Unavailable),
        };
        Self { trouble, kind, code, again: false }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind, fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, self.trouble) {
            (Some(code), _) => write!(f, "redis answered {code}"),
            (None, Trouble::Silent) => f.write_str("redis is silent"),
            (None, Trouble::Broken) => f.write_str("no connection to redis"),
            (None, Trouble::Refused) => f.write_str("redis refuses the login"),
            (None, Trouble::Answer) => f.write_str("redis answered with an error"),
        }
    }
}

impl StdError for Fault {}
