use std::time::Duration;

use redis::{Value, cmd};

use super::{RedisStore, connection::Repeat};
use crate::{StoreError, StoreErrorKind};

/// What a Redis server can promise, as its own settings say; see [`RedisStore::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisReport {
    /// Whether it is Redis 7.0 or newer, which this store needs.
    pub supported: bool,
    /// Whether it drops records when memory is short: then even precious ones can be lost. `maxmemory-policy
    /// noeviction` prevents it.
    pub evicts: bool,
    /// How much of the latest writes a crash of the server loses. Zero with `appendfsync always`; 1 s with `everysec`;
    /// 30 s, the habit of Linux, with `no`. `None` when there is no append-only file (everything since the last
    /// snapshot) or the server does not tell. A failover to a replica loses what was not yet replicated in any case.
    pub loss_window: Option<Duration>,
}

impl RedisStore {
    /// Asks the server for its version and for the settings on which the store's promises rest, and warns about those
    /// that fall short. For the start of a service.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: the operator looks at address, login and network. Retry later.
    pub async fn check(&self) -> Result<RedisReport, StoreError> {
        let info = text(self.connection.run(cmd("INFO").arg("everything"), Repeat::Harmless).await?)?;
        // Managed servers forbid CONFIG; then the sync policy stays unknown.
        let config = self.connection.run(cmd("CONFIG").arg("GET").arg("appendfsync"), Repeat::Harmless).await;
        let report = RedisReport::read(&info, config.ok().and_then(sync_policy).as_deref());
        if !report.supported {
            tracing::warn!(name: "entra.store.redis", "the Redis server is older than 7.0: writes will fail");
        }
        if report.evicts {
            tracing::warn!(
                name: "entra.store.redis",
                "the Redis server evicts records when memory is short, precious ones too; set maxmemory-policy noeviction"
            );
        }
        match report.loss_window {
            Some(Duration::ZERO) => {}
            Some(window) => tracing::warn!(
                name: "entra.store.redis",
                loss_window_s = window.as_secs(),
                "a crash of the Redis server loses the latest writes"
            ),
            None => tracing::warn!(
                name: "entra.store.redis",
                "a crash of the Redis server can lose every write since its last snapshot; turn on its append-only file"
            ),
        }
        Ok(report)
    }
}

impl RedisReport {
    fn read(info: &str, sync_policy: Option<&str>) -> Self {
        let value =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let major = value("redis_version").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let bounded = value("maxmemory").is_some_and(|bytes| bytes != "0");
        let loss_window = match (value("aof_enabled"), sync_policy) {
            (Some("1"), Some("always")) => Some(Duration::ZERO),
            (Some("1"), Some("everysec")) => Some(Duration::from_secs(1)),
            (Some("1"), Some("no")) => Some(Duration::from_secs(30)),
            _ => None,
        };
        Self {
            supported: major.is_some_and(|major| major >= 7),
            evicts: bounded && value("maxmemory_policy") != Some("noeviction"),
            loss_window,
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
        let second = Some(Duration::from_secs(1));
        for (info, sync, supported, evicts, loss_window) in [
            (info("7.0.15", "0", "noeviction", "1"), Some("always"), true, false, Some(Duration::ZERO)),
            (info("7.0.15", "1000", "noeviction", "1"), Some("everysec"), true, false, second),
            (info("8.2.1", "1000", "allkeys-lru", "1"), Some("no"), true, true, Some(Duration::from_secs(30))),
            (info("6.2.7", "0", "allkeys-lru", "0"), Some("always"), false, false, None),
            (info("7.0.15", "1000", "volatile-ttl", "1"), None, true, true, None),
            (String::new(), None, false, false, None),
        ] {
            assert_eq!(RedisReport::read(&info, sync), RedisReport { supported, evicts, loss_window }, "{info}");
        }
    }
}
