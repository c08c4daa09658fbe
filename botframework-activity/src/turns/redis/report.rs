use std::time::Duration;

use ::redis::{Value, cmd};

use super::{RedisTurnQueue, connection::Repeat};
use crate::{QueueError, QueueErrorKind};

/// What a Redis server can promise to a queue, as its own settings say; see [`RedisTurnQueue::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisQueueReport {
    /// Whether it is Redis 7.0 or newer, which the queue needs.
    pub supported: bool,
    /// Whether it drops records when memory is short: then turns can be lost, and lost ones be run again.
    /// `maxmemory-policy noeviction` prevents it.
    pub evicts: bool,
    /// What a crash of the server loses.
    pub loss: LossWindow,
}

/// Which accepted turns a crash of the Redis server loses. A failover to a replica loses what was not yet replicated in
/// any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossWindow {
    /// None: `appendonly yes` and `appendfsync always`.
    Nothing,
    /// Those of about this time: `appendfsync everysec` is one second.
    Last(Duration),
    /// Any of them: `appendfsync no`, or no append-only file at all.
    Everything,
    /// The server does not tell, as managed servers do.
    Unknown,
}

impl RedisTurnQueue {
    /// Asks the server for its version and for the settings on which the promise "no turn is lost" rests, and warns
    /// about those that fall short. For the start of a service.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: the operator looks at address, login and network. Retry later.
    pub async fn check(&self) -> Result<RedisQueueReport, QueueError> {
        let connection = &self.0.connection;
        let info = text(connection.run(cmd("INFO").arg("everything"), Repeat::Harmless).await?);
        let info = info.ok_or(QueueErrorKind::Unavailable)?;
        // Managed servers forbid CONFIG; then the policy stays unknown.
        let config = connection.run(cmd("CONFIG").arg("GET").arg("appendfsync"), Repeat::Harmless).await;
        let report = RedisQueueReport::read(&info, config.ok().and_then(first_value).as_deref());
        report.warn();
        Ok(report)
    }
}

impl RedisQueueReport {
    fn read(info: &str, appendfsync: Option<&str>) -> Self {
        let value =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let major = value("redis_version").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let bounded = value("maxmemory").is_some_and(|bytes| bytes != "0");
        let loss = match (value("aof_enabled"), appendfsync) {
            (Some("0"), _) | (Some("1"), Some("no")) => LossWindow::Everything,
            (Some("1"), Some("always")) => LossWindow::Nothing,
            (Some("1"), Some("everysec")) => LossWindow::Last(Duration::from_secs(1)),
            _ => LossWindow::Unknown,
        };
        Self {
            supported: major.is_some_and(|major| major >= 7),
            evicts: bounded && value("maxmemory_policy") != Some("noeviction"),
            loss,
        }
    }

    fn warn(&self) {
        if !self.supported {
            tracing::warn!("the Redis server is older than 7.0: the turn queue does not work");
        }
        if self.evicts {
            tracing::warn!("the Redis server evicts turns when memory is short; set maxmemory-policy noeviction");
        }
        match self.loss {
            LossWindow::Nothing => {}
            LossWindow::Last(window) => tracing::warn!(
                loss_window_s = window.as_secs(),
                "a crash of the Redis server loses the turns of its last second; set appendfsync always"
            ),
            LossWindow::Everything => tracing::warn!(
                "a crash of the Redis server can lose every turn; set appendonly yes and appendfsync always"
            ),
            LossWindow::Unknown => {
                tracing::warn!("the Redis server does not tell which turns its crash would lose");
            }
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// The answer of CONFIG GET is a map in version 3 of the protocol and a list in version 2.
fn first_value(value: Value) -> Option<String> {
    match value {
        Value::Map(pairs) => text(pairs.into_iter().next()?.1),
        Value::Array(items) => text(items.into_iter().nth(1)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_read_from_the_servers_own_words() {
        let info = |version: &str, memory: &str, policy: &str, aof: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\nmaxmemory:{memory}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n"
            )
        };
        let second = LossWindow::Last(Duration::from_secs(1));
        for (info, sync, supported, evicts, loss) in [
            (info("7.0.15", "0", "noeviction", "1"), Some("always"), true, false, LossWindow::Nothing),
            (info("7.0.15", "1000", "noeviction", "1"), Some("everysec"), true, false, second),
            (info("8.2.1", "1000", "allkeys-lru", "1"), Some("no"), true, true, LossWindow::Everything),
            (info("6.2.7", "0", "allkeys-lru", "0"), Some("always"), false, false, LossWindow::Everything),
            (info("7.0.15", "1000", "volatile-ttl", "1"), None, true, true, LossWindow::Unknown),
            (String::new(), None, false, false, LossWindow::Unknown),
        ] {
            assert_eq!(RedisQueueReport::read(&info, sync), RedisQueueReport { supported, evicts, loss }, "{info}");
        }
    }
}
