//! The store that several processes share.

mod connection;
mod report;
mod scripts;
mod server;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use self::scripts::{GET, PUT, REMOVE, VERSION_LEN, decode, field_name, partition_name};
pub use self::{
    report::{LossWindow, RedisReport},
    server::{RedisReply, RedisScripts, RedisScriptsBuilder, ScriptCall, ScriptEffect},
};
use super::{Key, Partition, Put, Record, Store, StoreError, StoreErrorKind, Version, When};
use crate::{BuildError, Secret};

/// A [`Store`] in Redis 7.0 or newer (one server, or one primary with replicas; not a cluster), for state that several
/// processes share and that survives their restarts.
///
/// Wrap it in a [`SealedStore`](crate::SealedStore): by itself it hides keys (SHA-256) but not values.
///
/// One hash holds a partition; each operation is one script, so it is atomic, and the server's clock judges times to
/// live. Every key in Redis has an expiry. What a crash or a full server does to records is the server's choice, not
/// this store's: precious namespaces need `maxmemory-policy noeviction` and an append-only file;
/// [`check`](Self::check) warns when they are missing. Redis has one policy for all it holds, so rebuildable records are
/// not dropped either then: writes are refused with `Full`, and a cache goes on without.
///
/// A clone shares the connection. It is made at the first use, comes back by itself, and is bounded in every wait:
/// 500 ms for an answer, 2 s in all. Reads are repeated once when the connection breaks; a write only when it provably
/// did not leave. A write whose answer is lost ends with [`StoreErrorKind::Timeout`].
///
/// ```no_run
/// use entra_auth::{RedisStore, SealedStore, Sealer, Secret};
///
/// # async fn example(url: Secret, keys: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// let redis = RedisStore::builder(url).application("broker").build()?;
/// redis.check().await?;
/// let store = SealedStore::new(redis, Sealer::parse(keys.expose())?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    scripts: RedisScripts,
    application: Arc<str>,
    value_bytes: usize,
}

/// What a [`RedisStore`] is built from.
#[must_use]
pub struct RedisStoreBuilder {
    scripts: RedisScriptsBuilder,
    application: String,
    value_bytes: usize,
}

impl RedisStore {
    /// Starts with the address: `rediss://user:password@host:6380/0`. Plain `redis://` is for loopback addresses, and
    /// `unix:///path` for a socket of this machine.
    pub fn builder(url: impl Into<Secret>) -> RedisStoreBuilder {
        RedisStoreBuilder { scripts: RedisScripts::builder(url), application: String::new(), value_bytes: 1 << 20 }
    }

    /// Asks the server for its version and for the settings on which the store's promises rest, and warns about those
    /// that fall short. For the start of a service.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`: the operator looks at address, login and network. Retry later.
    pub async fn check(&self) -> Result<RedisReport, StoreError> {
        self.scripts.check().await
    }

    fn script(&self, script: &'static str, key: &Key) -> ScriptCall {
        self.scripts.call(script, &[partition_name(&self.application, key.partition())]).bytes(field_name(key))
    }
}

impl RedisStoreBuilder {
    /// Keeps the records of applications that use one server apart. Default: empty.
    pub fn application(mut self, name: impl Into<String>) -> Self {
        self.application = name.into();
        self
    }

    /// The bound of one answer and of a whole operation. Default: 500 ms and 2 s.
    pub fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.scripts = self.scripts.timeouts(attempt, total);
        self
    }

    /// Bytes of one value. Default: 1 MiB. A larger one is refused with [`StoreErrorKind::TooLarge`].
    pub const fn value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = bytes;
        self
    }

    /// The certificates (PEM) that the server's certificate must come from, in place of the machine's own list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.scripts = self.scripts.root_certificates(pem);
        self
    }

    /// Accepts `redis://` to other machines: login and records then cross the network in clear. For networks that
    /// encrypt by themselves.
    pub fn dangerous_plain_tcp(mut self) -> Self {
        self.scripts = self.scripts.dangerous_plain_tcp();
        self
    }

    /// Builds the store. Nothing is sent. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the address is malformed, is plain `redis://` to another machine, or asks for TLS without checks; when TLS
    /// is wanted and the process has no default crypto provider
    /// (`rustls::crypto::aws_lc_rs::default_provider().install_default()` at the top of `main`); outside a runtime.
    /// The message holds no part of the address.
    pub fn build(self) -> Result<RedisStore, BuildError> {
        let scripts = self.scripts.build()?;
        Ok(RedisStore { scripts, application: self.application.into(), value_bytes: self.value_bytes })
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        match self.script(GET, key).run(ScriptEffect::Reads).await? {
            RedisReply::Nil => Ok(None),
            RedisReply::Bytes(field) => Ok(Some(decode(&field)?)),
            _ => Err(StoreErrorKind::Corrupt.into()),
        }
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        if value.len() > self.value_bytes {
            return Err(StoreErrorKind::TooLarge.into());
        }
        let Some(condition) = condition(when) else { return Ok(Put::Conflict) };
        let mut version = [0; VERSION_LEN];
        aws_lc_rs::rand::fill(&mut version).map_err(|_| StoreErrorKind::Unavailable)?;
        let call = self.script(PUT, key).bytes(condition).number(milliseconds(ttl)).bytes(version).bytes(value);
        match yes(&call.run(ScriptEffect::Once).await?)? {
            true => Ok(Put::Stored(Version::new(version.to_vec()))),
            false => Ok(Put::Conflict),
        }
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        let Some(condition) = condition(when).filter(|_| !matches!(when, When::Absent)) else { return Ok(false) };
        yes(&self.script(REMOVE, key).bytes(condition).run(ScriptEffect::Once).await?)
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        let name = partition_name(&self.application, partition);
        self.scripts.command("UNLINK", &[&name], ScriptEffect::Once).await.map(drop)
    }
}

/// The condition as the scripts read it; `None` when it can never hold, as for a version of another store.
fn condition(when: When<'_>) -> Option<&[u8]> {
    match when {
        When::Always => Some(b"*"),
        When::Absent => Some(b"-"),
        When::Unchanged(version) => Some(version.as_bytes()).filter(|version| version.len() == VERSION_LEN),
    }
}

fn yes(reply: &RedisReply) -> Result<bool, StoreError> {
    match reply {
        RedisReply::Number(number) => Ok(*number == 1),
        _ => Err(StoreErrorKind::Corrupt.into()),
    }
}

/// Rounded up, and ten years at most, so that times of death keep their 15 digits.
fn milliseconds(ttl: Duration) -> u64 {
    const MAX: u64 = 10 * 365 * 86_400_000;
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(MAX).min(MAX)
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("application", &self.application).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("application", &self.application).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_checked_before_anything_is_sent() {
        for (url, good) in [
            ("redis://127.0.0.1:6379", true),
            ("redis://user:marker@localhost/3", true),
            ("redis://[::1]:6379", true),
            ("unix:///run/redis.sock", true),
            ("redis://cache.example.com", false),
            ("redis://127.0.0.1.example.com", false),
            ("redis://10.0.0.1", false),
            ("rediss://marker@cache.example.com/#insecure", false),
            ("http://127.0.0.1", false),
            ("redis://127.0.0.1/marker", false),
            ("marker", false),
            ("", false),
        ] {
            let built = RedisStore::builder(url).build();
            assert_eq!(built.is_ok(), good, "{url}");
            assert!(!format!("{built:?}").contains("marker"), "{url}");
        }
        assert!(RedisStore::builder("redis://10.0.0.1").dangerous_plain_tcp().build().is_ok());
    }

    #[test]
    fn outside_a_runtime_it_is_an_error() {
        assert!(RedisStore::builder("redis://127.0.0.1").build().is_err());
    }

    #[test]
    fn times_to_live_round_up_and_are_bounded() {
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(milliseconds(Duration::MAX), 315_360_000_000);
    }
}
