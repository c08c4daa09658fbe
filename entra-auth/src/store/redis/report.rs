use std::time::Duration;

use redis::Value;

use super::server::{RedisScripts, ScriptEffect};
use crate::{StoreError, StoreErrorKind};

/// What a Redis server can promise, as its own settings say; see [`RedisScripts::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisReport {
    /// Whether it is Redis 7.0 or newer, which is needed.
    pub supported: bool,
    /// Whether it drops records when memory is short: then even precious ones can be lost. `maxmemory-policy
    /// noeviction` prevents it.
    pub evicts: bool,
    /// Which of the latest writes a crash of the server loses.
    pub loss: LossWindow,
}

/// Which writes a crash of a Redis server loses. A failover to a replica loses what was not yet replicated in any case.
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

impl RedisScripts {
    /// Asks the server for its version and for the settings on which promises rest, and warns about those that fall
    /// short. For the start of a service.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: the operator looks at address, login and network. Retry later.
    pub async fn check(&self) -> Result<RedisReport, StoreError> {
        let info = text(self.command("INFO", &["everything"], ScriptEffect::Reads).await?)?;
        // Managed servers forbid CONFIG; then the sync policy stays unknown.
        let config = self.command("CONFIG", &["GET", "appendfsync"], ScriptEffect::Reads).await;
        let report = RedisReport::read(&info, config.ok().and_then(sync_policy).as_deref());
        report.warn();
        Ok(report)
    }
}

impl RedisReport {
    fn read(info: &str, sync_policy: Option<&str>) -> Self {
        let value =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let major = value("redis_version").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let bounded = value("maxmemory").is_some_and(|bytes| bytes != "0");
        let loss = match (value("aof_enabled"), sync_policy) {
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
            tracing::warn!(name: "entra.store.redis", "the Redis server is older than 7.0: it cannot be used");
        }
        if self.evicts {
            tracing::warn!(
                name: "entra.store.redis",
                "the Redis server evicts records when memory is short, precious ones too; set maxmemory-policy noeviction"
            );
        }
        match self.loss {
            LossWindow::Nothing => {}
            LossWindow::Last(window) => tracing::warn!(
                name: "entra.store.redis",
                loss_window_s = window.as_secs(),
                "a crash of the Redis server loses the writes of its last second; set appendfsync always"
            ),
            LossWindow::Everything => tracing::warn!(
                name: "entra.store.redis",
                "a crash of the Redis server can lose every write; set appendonly yes and appendfsync always"
            ),
            LossWindow::Unknown => tracing::warn!(
                name: "entra.store.redis",
                "the Redis server does not tell which writes its crash would lose"
            ),
        }
    }
}

fn text(value: Value) -> Result<String, StoreErrorKind> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| StoreErrorKind::Corrupt),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text),
        _ => Err(StoreErrorKind::Corrupt),
    }
}

/// The answer is a map in RESP3 and a list in RESP2.
fn sync_policy(value: Value) -> Option<String> {
    let last = match value {
        Value::Map(pairs) => pairs.into_iter().next()?.1,
        Value::Array(items) => items.into_iter().nth(1)?,
        _ => return None,
    };
    text(last).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_read_from_the_servers_own_words() {
        let info = |version: &str, memory: &str, policy: &str, aof: &str| {
            format!(
                "# Server\r\nredis_version:{version}\r\nmaxmemory:{memory}\r\nmaxmemory_human:x\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n"
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
            assert_eq!(RedisReport::read(&info, sync), RedisReport { supported, evicts, loss }, "{info}");
        }
    }
}
