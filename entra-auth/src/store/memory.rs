use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Key, Partition, Put, Record, Store, StoreError, StoreErrorKind, Version, When};

/// A bounded store in the memory of this process. A restart loses what it holds.
///
/// When room is short, dead records go first, then the rebuildable ones that would die soonest; precious records stay,
/// and a write that finds no room is refused with [`StoreErrorKind::Full`].
#[derive(Default)]
pub struct MemoryStore {
    limits: MemoryLimits,
    state: Mutex<State>,
}

/// How much a [`MemoryStore`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimits {
    /// Bytes in all, keys and values with an allowance of 128 bytes a record. Default 64 MiB.
    pub total_bytes: usize,
    /// Bytes of one value. Default 1 MiB.
    pub value_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { total_bytes: 64 << 20, value_bytes: 1 << 20 }
    }
}

impl MemoryLimits {
    /// Sets the bytes in all.
    #[must_use]
    pub const fn total_bytes(mut self, bytes: usize) -> Self {
        self.total_bytes = bytes;
        self
    }

    /// Sets the bytes of one value.
    #[must_use]
    pub const fn value_bytes(mut self, bytes: usize) -> Self {
        self.value_bytes = bytes;
        self
    }
}

#[derive(Default)]
struct State {
    partitions: HashMap<Partition, HashMap<Box<str>, Entry>>,
    /// By time of death, then write number: what to drop first.
    deaths: BTreeMap<(Instant, u64), Key>,
    bytes: usize,
    writes: u64,
}

struct Entry {
    value: Bytes,
    write: u64,
    dies: Instant,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    #[inline]
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.state().living(key).map(|entry| Record { value: entry.value.clone(), version: entry.version() }))
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        let mut state = self.state();
        if !state.holds(key, when) {
            return Ok(Put::Conflict);
        }
        if value.len() > self.limits.value_bytes {
            return Err(StoreErrorKind::TooLarge.into());
        }
        let new = cost(key.partition(), key.name(), &value);
        let old = state.living(key).map_or(0, |entry| cost(key.partition(), key.name(), &entry.value));
        if !state.make_room(new.saturating_sub(old), self.limits.total_bytes, key) {
            return Err(StoreErrorKind::Full.into());
        }
        state.forget(key);
        state.writes += 1;
        let now = Instant::now();
        // Far beyond any real time to live, and still an instant that can be computed.
        let dies = now.checked_add(ttl).unwrap_or_else(|| now + Duration::from_secs(86_400 * 3650));
        let entry = Entry { value, write: state.writes, dies };
        let version = entry.version();
        state.bytes += new;
        state.deaths.insert((dies, entry.write), key.clone());
        state.partitions.entry(key.partition().clone()).or_default().insert(key.name().into(), entry);
        Ok(Put::Stored(version))
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        let mut state = self.state();
        let remove = state.living(key).is_some() && state.holds(key, when);
        if remove {
            state.forget(key);
        }
        Ok(remove)
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        let mut state = self.state();
        for (name, entry) in state.partitions.remove(partition).unwrap_or_default() {
            state.deaths.remove(&(entry.dies, entry.write));
            state.bytes = state.bytes.saturating_sub(cost(partition, &name, &entry.value));
        }
        Ok(())
    }
}

impl State {
    fn living(&self, key: &Key) -> Option<&Entry> {
        self.partitions.get(key.partition())?.get(key.name()).filter(|entry| entry.dies > Instant::now())
    }

    fn holds(&self, key: &Key, when: When<'_>) -> bool {
        match (when, self.living(key)) {
            (When::Always, _) | (When::Absent, None) => true,
            (When::Absent, Some(_)) | (When::Unchanged(_), None) => false,
            (When::Unchanged(version), Some(entry)) => entry.version() == *version,
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(partition) = self.partitions.get_mut(key.partition()) else {
            return;
        };
        if let Some(entry) = partition.remove(key.name()) {
            self.bytes = self.bytes.saturating_sub(cost(key.partition(), key.name(), &entry.value));
            self.deaths.remove(&(entry.dies, entry.write));
        }
        if partition.is_empty() {
            self.partitions.remove(key.partition());
        }
    }

    /// Drops the dead, then rebuildable records, until `more` bytes fit. The record about to be replaced is spared.
    fn make_room(&mut self, more: usize, limit: usize, spare: &Key) -> bool {
        let now = Instant::now();
        while let Some(first) = self.deaths.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            self.forget(&key);
        }
        while self.bytes + more > limit {
            let next = self.deaths.values().find(|key| !key.partition().namespace().is_precious() && *key != spare);
            let Some(key) = next.cloned() else {
                return false;
            };
            self.forget(&key);
        }
        true
    }
}

impl Entry {
    fn version(&self) -> Version {
        Version::new(self.write.to_be_bytes().to_vec())
    }
}

fn cost(partition: &Partition, name: &str, value: &Bytes) -> usize {
    128 + partition.id().len() + name.len() + value.len()
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStore").field("records", &state.deaths.len()).field("bytes", &state.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    const CACHE: Namespace = Namespace::rebuildable("cache");
    const TURNS: Namespace = Namespace::precious("turns");
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(namespace: Namespace, name: &str) -> Key {
        namespace.partition(["p"]).key([name])
    }

    #[tokio::test(start_paused = true)]
    async fn rebuildable_records_make_room_and_precious_ones_never_do() {
        let store = MemoryStore::new(MemoryLimits::default().total_bytes(2048));
        let value = Bytes::from(vec![0; 300]);
        for n in 0..50 {
            let put = store.put(&key(CACHE, &n.to_string()), value.clone(), HOUR, When::Always).await;
            assert!(matches!(put, Ok(Put::Stored(_))));
        }
        let mut stored = 0;
        let full = loop {
            match store.put(&key(TURNS, &stored.to_string()), value.clone(), HOUR, When::Always).await {
                Ok(_) => stored += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), StoreErrorKind::Full);
        assert!(stored >= 3, "rebuildable records had to give way, {stored} fit");
        for n in 0..stored {
            assert!(store.get(&key(TURNS, &n.to_string())).await.unwrap().is_some());
        }
        // Replacing a precious record by one of the same size needs no room.
        assert!(store.put(&key(TURNS, "0"), value.clone(), HOUR, When::Always).await.is_ok());
        // The dead make room.
        tokio::time::advance(HOUR).await;
        assert!(store.put(&key(TURNS, "new"), value, HOUR, When::Always).await.is_ok());
        assert!(format!("{store:?}").contains("records: 1"), "{store:?}");
    }

    #[tokio::test]
    async fn removing_partitions_gives_all_bytes_back() {
        let store = MemoryStore::default();
        for n in 0..20 {
            let name = n.to_string();
            let _ = store.put(&key(CACHE, &name), Bytes::from(name.clone()), HOUR, When::Always).await.unwrap();
        }
        store.remove_partition(&CACHE.partition(["p"])).await.unwrap();
        assert_eq!(format!("{store:?}"), "MemoryStore { records: 0, bytes: 0 }");
    }

    #[tokio::test]
    async fn too_large_a_value_is_refused() {
        let store = MemoryStore::new(MemoryLimits::default().value_bytes(10));
        let error = store.put(&key(CACHE, "a"), Bytes::from(vec![0; 11]), HOUR, When::Always).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::TooLarge);
    }
}
