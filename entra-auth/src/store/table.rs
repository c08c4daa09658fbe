use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Key, Partition, Put, Record, Store, StoreError, StoreErrorKind, Version, When};

/// Typed records over a [`Store`]: JSON behind a version byte.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use entra_auth::{Change, MemoryStore, Namespace, Table};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let table: Table<u32> = Table::new(Arc::new(MemoryStore::default()), Duration::from_secs(900));
/// let key = Namespace::precious("counters").partition(["tenant"]).key(["visits"]);
/// let visits = table.update(&key, |old| {
///     let new = old.unwrap_or(0) + 1;
///     (Change::Set(new), new)
/// }).await?;
/// assert_eq!(visits, 1);
/// # Ok::<(), entra_auth::TableError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Table<V> {
    store: Arc<dyn Store>,
    ttl: Duration,
    value: PhantomData<fn() -> V>,
}

/// What an update does with the record it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Leave it as it is.
    Keep,
    /// Write this instead; its time to live starts anew.
    Set(V),
    /// Remove it.
    Remove,
}

/// Why a table could not do it.
#[non_exhaustive]
#[derive(Clone, Debug, thiserror::Error)]
pub enum TableError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others kept changing the record: 16 attempts lost the race. Retry later.
    #[error("the record is changed by too many at once")]
    Contended,
}

/// Format of the bytes: one byte of version, then JSON.
const JSON_V1: u8 = 1;
const ATTEMPTS: usize = 16;

impl<V: Serialize + DeserializeOwned> Table<V> {
    /// A table whose records live for `ttl` after each write.
    pub fn new(store: Arc<dyn Store>, ttl: Duration) -> Self {
        Self { store, ttl, value: PhantomData }
    }

    /// The record under a key.
    ///
    /// # Errors
    ///
    /// Any [`StoreErrorKind`]; `Corrupt` when the bytes are not of this type.
    pub async fn get(&self, key: &Key) -> Result<Option<V>, StoreError> {
        Ok(self.read(key).await?.map(|(value, _)| value))
    }

    /// Writes a record if there is none: `true` for the one caller that is first.
    ///
    /// # Errors
    ///
    /// Any [`StoreErrorKind`].
    pub async fn insert(&self, key: &Key, value: &V) -> Result<bool, StoreError> {
        let put = self.store.put(key, encode(value)?, self.ttl, When::Absent).await?;
        Ok(matches!(put, Put::Stored(_)))
    }

    /// Changes a record by a pure function of what it was, and returns the function's result.
    ///
    /// The function can run several times, since others may change the record meanwhile; the last run counts.
    ///
    /// # Errors
    ///
    /// [`TableError::Contended`] after 16 lost races, or what the store reports.
    pub async fn update<R>(
        &self,
        key: &Key,
        mut change: impl FnMut(Option<V>) -> (Change<V>, R),
    ) -> Result<R, TableError> {
        for _ in 0..ATTEMPTS {
            let (old, version) =
                self.read(key).await?.map_or((None, None), |(value, version)| (Some(value), Some(version)));
            let when = version.as_ref().map_or(When::Absent, When::Unchanged);
            let (change, result) = change(old);
            let done = match change {
                Change::Keep => true,
                Change::Set(value) => {
                    matches!(self.store.put(key, encode(&value)?, self.ttl, when).await?, Put::Stored(_))
                }
                Change::Remove => version.is_none() || self.store.remove(key, when).await?,
            };
            if done {
                return Ok(result);
            }
        }
        Err(TableError::Contended)
    }

    /// Removes a record; `true` when there was one.
    ///
    /// # Errors
    ///
    /// What the store reports.
    pub async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        self.store.remove(key, When::Always).await
    }

    /// Removes every record of a partition.
    ///
    /// # Errors
    ///
    /// What the store reports.
    pub async fn clear(&self, partition: &Partition) -> Result<(), StoreError> {
        self.store.remove_partition(partition).await
    }

    async fn read(&self, key: &Key) -> Result<Option<(V, Version)>, StoreError> {
        let Some(Record { value, version }) = self.store.get(key).await? else {
            return Ok(None);
        };
        let json = value.strip_prefix(&[JSON_V1]).ok_or(StoreErrorKind::Corrupt)?;
        // serde's message can quote the content, so it is not passed on.
        let json = std::str::from_utf8(json).map_err(|_| StoreErrorKind::Corrupt)?;
        let value = serde_json::from_str(json).map_err(|_| StoreErrorKind::Corrupt)?;
        Ok(Some((value, version)))
    }
}

fn encode<V: Serialize>(value: &V) -> Result<Bytes, StoreError> {
    let mut bytes = vec![JSON_V1];
    serde_json::to_writer(&mut bytes, value).map_err(|_| StoreErrorKind::TooLarge)?;
    Ok(bytes.into())
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), ttl: self.ttl, value: PhantomData }
    }
}

impl<V> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("store", &self.store).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, Namespace};

    fn key() -> Key {
        Namespace::precious("t").partition(["p"]).key(["k"])
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn concurrent_updates_lose_nothing() {
        let table: Table<u64> = Table::new(Arc::new(MemoryStore::default()), Duration::from_secs(60));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let table = table.clone();
                tokio::spawn(async move {
                    let mut done = 0;
                    while done < 50 {
                        let update = |old: Option<u64>| (Change::Set(old.unwrap_or(0) + 1), ());
                        match table.update(&key(), update).await {
                            Ok(()) => done += 1,
                            Err(TableError::Contended) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(table.get(&key()).await.unwrap(), Some(400));
    }

    #[tokio::test]
    async fn only_the_first_insert_wins() {
        let table: Table<u64> = Table::new(Arc::new(MemoryStore::default()), Duration::from_secs(60));
        assert!(table.insert(&key(), &1).await.unwrap());
        assert!(!table.insert(&key(), &2).await.unwrap());
        assert_eq!(table.get(&key()).await.unwrap(), Some(1));
        assert!(table.remove(&key()).await.unwrap());
        assert!(table.insert(&key(), &3).await.unwrap());
    }

    #[tokio::test]
    async fn unknown_formats_are_corrupt_not_guessed() {
        let store = Arc::new(MemoryStore::default());
        let table: Table<u64> = Table::new(store.clone(), Duration::from_secs(60));
        for bytes in [&b""[..], b"7", b"\x027", b"\x01\"marker\""] {
            let _ =
                store.put(&key(), Bytes::copy_from_slice(bytes), Duration::from_secs(60), When::Always).await.unwrap();
            let error = table.get(&key()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
            assert!(!format!("{error:?}").contains("marker"));
        }
    }
}
