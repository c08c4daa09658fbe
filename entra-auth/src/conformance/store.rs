use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{CorrelationId, Key, Namespace, Partition, Put, Store, Version, When};

const CACHE: Namespace = Namespace::rebuildable("conformance");
const STATE: Namespace = Namespace::precious("conformance");
const HOUR: Duration = Duration::from_secs(3600);

/// Checks the contract of [`Store`] on an implementation. The store may hold other records; the suite uses partitions
/// of its own. Takes about half a second, for the times to live.
///
/// # Panics
///
/// At the first broken promise, with the name of the promise.
pub async fn store(store: Arc<dyn Store>) {
    let run = CorrelationId::random();
    let partition = |name: &str| CACHE.partition([run.as_str(), name]);
    reads_see_writes(&*store, &partition("reads")).await;
    conditions_hold(&*store, &partition("conditions")).await;
    versions_are_never_used_again(&*store, &partition("versions")).await;
    records_die(&*store, &partition("ttl")).await;
    partitions_are_removed_whole(&*store, &partition("one"), &partition("other")).await;
    keys_and_namespaces_do_not_run_into_each_other(&*store, run.as_str()).await;
    one_claim_wins(&store, &partition("claims")).await;
    no_update_is_lost(&store, &partition("updates")).await;
}

async fn put(store: &dyn Store, key: &Key, text: &'static str, when: When<'_>) -> Put {
    store.put(key, Bytes::from_static(text.as_bytes()), HOUR, when).await.expect("a write")
}

async fn stored(store: &dyn Store, key: &Key, text: &'static str, when: When<'_>) -> Version {
    match put(store, key, text, when).await {
        Put::Stored(version) => version,
        Put::Conflict => panic!("the condition of the write holds"),
    }
}

async fn text(store: &dyn Store, key: &Key) -> Option<Bytes> {
    store.get(key).await.expect("a read").map(|record| record.value)
}

async fn reads_see_writes(store: &dyn Store, partition: &Partition) {
    let key = partition.key(["k"]);
    assert_eq!(text(store, &key).await, None, "an unknown key holds nothing");
    let version = stored(store, &key, "one", When::Always).await;
    let record = store.get(&key).await.expect("a read").expect("the record");
    assert_eq!((record.value, record.version), ("one".into(), version), "value and version are those of the write");
    stored(store, &key, "", When::Always).await;
    assert_eq!(text(store, &key).await, Some(Bytes::new()), "an empty value is a value");
    let binary: Bytes = (0..=255_u8).collect::<Vec<_>>().into();
    let put = store.put(&key, binary.clone(), HOUR, When::Always).await.expect("a write");
    assert!(matches!(put, Put::Stored(_)), "any bytes can be written");
    assert_eq!(text(store, &key).await, Some(binary), "bytes come back as they went");
    assert!(store.remove(&key, When::Always).await.expect("a removal"), "a record was removed");
    assert!(!store.remove(&key, When::Always).await.expect("a removal"), "nothing is left to remove");
    assert_eq!(text(store, &key).await, None, "a removed record is gone");
}

async fn conditions_hold(store: &dyn Store, partition: &Partition) {
    let key = partition.key(["k"]);
    let stale = stored(store, &key, "one", When::Absent).await;
    assert_eq!(put(store, &key, "x", When::Absent).await, Put::Conflict, "Absent on a present key");
    let fresh = stored(store, &key, "two", When::Unchanged(&stale)).await;
    assert_eq!(put(store, &key, "x", When::Unchanged(&stale)).await, Put::Conflict, "Unchanged on a changed key");
    assert!(!store.remove(&key, When::Unchanged(&stale)).await.expect("a removal"), "removal of a changed key");
    assert!(!store.remove(&key, When::Absent).await.expect("a removal"), "removal when absent removes nothing");
    assert_eq!(text(store, &key).await, Some("two".into()), "a conflict changes nothing");
    assert!(store.remove(&key, When::Unchanged(&fresh)).await.expect("a removal"), "removal of an unchanged key");
    assert_eq!(put(store, &key, "x", When::Unchanged(&fresh)).await, Put::Conflict, "Unchanged on a removed key");
}

async fn versions_are_never_used_again(store: &dyn Store, partition: &Partition) {
    let key = partition.key(["k"]);
    let mut versions = Vec::new();
    for _ in 0..20 {
        versions.push(stored(store, &key, "same", When::Always).await.as_bytes().to_vec());
        store.remove(&key, When::Always).await.expect("a removal");
    }
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 20, "versions differ even for the same value and across removals");
}

async fn records_die(store: &dyn Store, partition: &Partition) {
    let (short, long) = (partition.key(["short"]), partition.key(["long"]));
    let life = Duration::from_millis(200);
    let put = store.put(&short, "v".into(), life, When::Always).await.expect("a write");
    stored(store, &long, "v", When::Always).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(text(store, &short).await, None, "a record dies at the end of its time");
    assert_eq!(text(store, &long).await, Some("v".into()), "its neighbour lives on");
    if let Put::Stored(version) = put {
        let again = store.put(&short, "x".into(), HOUR, When::Unchanged(&version)).await.expect("a write");
        assert_eq!(again, Put::Conflict, "a dead record is absent");
    }
    assert!(!store.remove(&short, When::Always).await.expect("a removal"), "a dead record cannot be removed");
    stored(store, &short, "new", When::Absent).await;
}

async fn partitions_are_removed_whole(store: &dyn Store, one: &Partition, other: &Partition) {
    for name in ["a", "b", "c"] {
        stored(store, &one.key([name]), "v", When::Always).await;
        stored(store, &other.key([name]), "v", When::Always).await;
    }
    store.remove_partition(one).await.expect("a removal");
    store.remove_partition(one).await.expect("removing an empty partition is no error");
    for name in ["a", "b", "c"] {
        assert_eq!(text(store, &one.key([name])).await, None, "every record of the partition is gone");
        assert_eq!(text(store, &other.key([name])).await, Some("v".into()), "other partitions are untouched");
    }
}

async fn keys_and_namespaces_do_not_run_into_each_other(store: &dyn Store, run: &str) {
    let keys = [
        CACHE.partition([run, "ab"]).key(["c"]),
        CACHE.partition([run, "a"]).key(["bc"]),
        CACHE.partition([run, "a", "b"]).key(["c"]),
        CACHE.partition([run, "a"]).key(["b", "c"]),
        STATE.partition([run, "ab"]).key(["c"]),
        CACHE.partition([run, "a"]).key(["b:c\0\n*?[é"]),
    ];
    for (key, value) in keys.iter().zip(["0", "1", "2", "3", "4", "5"]) {
        stored(store, key, value, When::Absent).await;
    }
    for (key, value) in keys.iter().zip(["0", "1", "2", "3", "4", "5"]) {
        assert_eq!(text(store, key).await, Some(value.into()), "keys of different parts are different keys");
    }
}

async fn one_claim_wins(store: &Arc<dyn Store>, partition: &Partition) {
    let key = partition.key(["k"]);
    let claims: Vec<_> = (0..32)
        .map(|_| {
            let (store, key) = (Arc::clone(store), key.clone());
            tokio::spawn(async move { store.put(&key, "v".into(), HOUR, When::Absent).await.expect("a write") })
        })
        .collect();
    let mut wins = 0;
    for claim in claims {
        wins += usize::from(matches!(claim.await.expect("a claim"), Put::Stored(_)));
    }
    assert_eq!(wins, 1, "of many claims of one key exactly one wins");
}

async fn no_update_is_lost(store: &Arc<dyn Store>, partition: &Partition) {
    let key = partition.key(["k"]);
    let put = store.put(&key, "".into(), HOUR, When::Always).await.expect("a write");
    assert!(matches!(put, Put::Stored(_)), "a plain write happens");
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (store, key) = (Arc::clone(store), key.clone());
            tokio::spawn(async move {
                for _ in 0..5 {
                    loop {
                        let record = store.get(&key).await.expect("a read").expect("the record");
                        let longer = [&record.value[..], b"x"].concat();
                        let when = When::Unchanged(&record.version);
                        if store.put(&key, longer.into(), HOUR, when).await.expect("a write") != Put::Conflict {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    assert_eq!(text(&**store, &key).await.map(|value| value.len()), Some(40), "no compare-and-swap is lost");
}
