//! The port for state that outlives a call: flow state, conversation maps, second-level token cache.

mod key;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "seal")]
mod sealed;
mod table;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(feature = "redis")]
pub use self::redis::{
    LossWindow, RedisReply, RedisReport, RedisScripts, RedisScriptsBuilder, RedisStore, RedisStoreBuilder, ScriptCall,
    ScriptEffect,
};
#[cfg(feature = "seal")]
pub use self::sealed::SealedStore;
pub use self::{
    key::{Key, Namespace, Partition},
    memory::{MemoryLimits, MemoryStore},
    table::{Change, Table, TableError},
};

/// A key-value store with versions and time to live, linearizable per key.
///
/// The contract (the suite behind feature `conformance` checks it): a read sees the last completed write of its key;
/// conditional writes are atomic; the store's own clock judges the time to live; a record of a precious namespace is
/// never evicted while it lives.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The record under a key, if there is a living one.
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// Writes a record that lives for `ttl`, under a condition.
    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError>;

    /// Removes a record, under a condition; `true` when one was removed. `When::Absent` removes nothing.
    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError>;

    /// Removes every record of a partition.
    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError>;
}

#[async_trait]
impl<T: Store + ?Sized> Store for Arc<T> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        (**self).get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        (**self).put(key, value, ttl, when).await
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        (**self).remove(key, when).await
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        (**self).remove_partition(partition).await
    }
}

/// What a key holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The bytes as they were put.
    pub value: Bytes,
    /// Which write they are from.
    pub version: Version,
}

impl fmt::Debug for Record {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("bytes", &self.value.len()).field("version", &self.version).finish()
    }
}

/// Identifies one write of one key. Two writes never share a version, not even with a removal between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Bytes);

impl Version {
    /// Makes a version from the bytes by which a store tells writes apart.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes it was made from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Under which condition a write happens.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// In any case.
    Always,
    /// Only if the key holds nothing: the claim of the first.
    Absent,
    /// Only if the key still holds that write.
    Unchanged(&'a Version),
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It happened; this is its version.
    Stored(Version),
    /// The condition did not hold; nothing was written.
    Conflict,
}

/// Why a store could not do it.
#[derive(Clone)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The store cannot be reached. Retry later; the operator.
    Unavailable,
    /// The store did not answer in time; a write may have happened. Retry later.
    Timeout,
    /// No room for a precious record. Answer 503; the operator gives the store more room.
    Full,
    /// The record is larger than the store takes. Do not retry; the developer.
    TooLarge,
    /// The stored bytes are not what was written: damaged, sealed with an unknown key, or of an unknown format. Do not
    /// retry; the operator.
    Corrupt,
}

impl StoreError {
    /// An error with what caused it. The source must hold no key and no value.
    pub fn new(kind: StoreErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached",
            StoreErrorKind::Timeout => "the store did not answer in time",
            StoreErrorKind::Full => "the store has no room left",
            StoreErrorKind::TooLarge => "the record is larger than the store takes",
            StoreErrorKind::Corrupt => "the stored record is damaged or of an unknown format",
        })
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
