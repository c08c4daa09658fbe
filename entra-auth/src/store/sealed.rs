use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Key, Partition, Put, Record, Store, StoreError, When};
use crate::Sealer;

/// A [`Store`] whose values are sealed: whoever holds the store behind it can neither read nor change them, nor move
/// them to another key. A value that does not open ends with [`StoreErrorKind::Corrupt`](crate::StoreErrorKind::Corrupt).
///
/// Keys go through as they are: a store that is shared hashes them by itself. To change the sealing key, put the new
/// one in front ([`Sealer::parse`]): old records still open, new ones are written under it.
///
/// ```
/// use std::time::Duration;
/// use entra_auth::{MemoryStore, Namespace, SealedStore, Sealer, Store, When};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let store = SealedStore::new(MemoryStore::default(), Sealer::ephemeral());
/// let key = Namespace::precious("references").partition(["tenant"]).key(["conversation"]);
/// let put = store.put(&key, "record".into(), Duration::from_secs(60), When::Absent).await?;
/// assert_eq!(store.get(&key).await?.unwrap().value, "record");
/// # Ok::<(), entra_auth::StoreError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SealedStore<S> {
    store: S,
    sealer: Sealer,
}

impl<S: Store> SealedStore<S> {
    /// Seals what goes into `store`. `Arc<dyn Store>` is a store, too.
    pub const fn new(store: S, sealer: Sealer) -> Self {
        Self { store, sealer }
    }

    /// The store behind.
    pub const fn inner(&self) -> &S {
        &self.store
    }
}

#[async_trait]
impl<S: Store> Store for SealedStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let Some(Record { value, version }) = self.store.get(key).await? else {
            return Ok(None);
        };
        let value = self.sealer.open(key, &value)?.into();
        Ok(Some(Record { value, version }))
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        let sealed = self.sealer.seal(key, &value)?.into();
        self.store.put(key, sealed, ttl, when).await
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        self.store.remove(key, when).await
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        self.store.remove_partition(partition).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{MemoryStore, Namespace, StoreErrorKind};

    const TOKENS: Namespace = Namespace::rebuildable("tokens");
    const HOUR: Duration = Duration::from_secs(3600);
    const OLD: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const NEW: &str = "k2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";

    fn key(user: &str) -> Key {
        TOKENS.partition([user]).key(["graph"])
    }

    fn sealed(store: &Arc<MemoryStore>, keys: &[&str]) -> SealedStore<Arc<MemoryStore>> {
        SealedStore::new(store.clone(), Sealer::parse(&keys.join(",")).unwrap())
    }

    #[tokio::test]
    async fn a_moved_entry_fails_to_open() {
        let inner = Arc::new(MemoryStore::default());
        let store = sealed(&inner, &[OLD]);
        let _ = store.put(&key("alice"), "marker".into(), HOUR, When::Always).await.unwrap();
        let raw = inner.get(&key("alice")).await.unwrap().unwrap().value;
        assert!(!raw.windows(6).any(|part| part == b"marker"), "nothing is readable at rest");
        for elsewhere in [key("mallory"), TOKENS.partition(["alice"]).key(["mail"])] {
            let _ = inner.put(&elsewhere, raw.clone(), HOUR, When::Always).await.unwrap();
            assert_eq!(store.get(&elsewhere).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
        let _ = inner.put(&key("alice"), "never sealed".into(), HOUR, When::Always).await.unwrap();
        assert_eq!(store.get(&key("alice")).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn keys_are_rotated_without_losing_records() {
        let inner = Arc::new(MemoryStore::default());
        let (before, during, after) = (sealed(&inner, &[OLD]), sealed(&inner, &[NEW, OLD]), sealed(&inner, &[NEW]));
        let _ = before.put(&key("alice"), "one".into(), HOUR, When::Always).await.unwrap();
        assert_eq!(during.get(&key("alice")).await.unwrap().unwrap().value, "one");
        assert_eq!(after.get(&key("alice")).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
        let _ = during.put(&key("alice"), "two".into(), HOUR, When::Always).await.unwrap();
        assert_eq!(after.get(&key("alice")).await.unwrap().unwrap().value, "two");
        assert_eq!(before.get(&key("alice")).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    }
}
