//! The store in Redis, against a real one: the contract, what lies in the server, and what happens when it fails.

use std::{
    error::Error as _,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use entra_auth::{
    Key, LossWindow, Namespace, Put, RedisStore, SealedStore, Sealer, Store, StoreError, StoreErrorKind, Version, When,
    conformance,
};

use super::redis_server::RedisServer;

const FLOWS: Namespace = Namespace::precious("flows");
const HOUR: Duration = Duration::from_secs(3600);

fn key(name: &str) -> Key {
    FLOWS.partition(["marker-tenant", "marker-user"]).key([name])
}

async fn put(store: &dyn Store, name: &str, value: &[u8]) -> Result<Put, StoreError> {
    store.put(&key(name), Bytes::copy_from_slice(value), HOUR, When::Always).await
}

async fn value(store: &dyn Store, name: &str) -> Option<Bytes> {
    store.get(&key(name)).await.unwrap().map(|record| record.value)
}

/// Asks until an operation succeeds; how long it took. Every failure on the way is one of the typed ones.
async fn recovers(store: &RedisStore) -> Duration {
    let start = Instant::now();
    while let Err(error) = store.get(&key("a")).await {
        assert!(matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "never came back: {error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    let Some(server) = RedisServer::start(&[]) else { return };
    conformance::store(Arc::new(server.store())).await;
    conformance::store(Arc::new(SealedStore::new(server.store(), Sealer::ephemeral()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_has_a_ttl_and_nothing_can_be_read() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = SealedStore::new(server.store(), Sealer::ephemeral());
    for name in ["marker-one", "marker-two"] {
        let _ = put(&store, name, b"marker-value").await.unwrap();
    }
    let _ = store
        .put(&FLOWS.partition(["marker-other"]).key(["x"]), "marker".into(), HOUR * 2, When::Absent)
        .await
        .unwrap();
    let redis::Value::Array(names) = server.command(&["KEYS", "*"]).await else { panic!("a list") };
    assert_eq!(names.len(), 2, "a partition is one key");
    for name in names {
        let redis::Value::BulkString(name) = name else { panic!("a name") };
        let name = String::from_utf8(name).unwrap();
        let redis::Value::Int(ttl) = server.command(&["PTTL", &name]).await else { panic!("a number") };
        assert!(ttl > 3_590_000 && ttl <= 7_200_000, "{ttl}");
        assert_eq!(server.command(&["TYPE", &name]).await, redis::Value::SimpleString("hash".into()));
        let all = format!("{name}{:?}", server.command(&["HGETALL", &name]).await);
        let redis::Value::Array(fields) = server.command(&["HGETALL", &name]).await else { panic!("a list") };
        for field in fields {
            let redis::Value::BulkString(bytes) = field else { panic!("bytes") };
            assert!(!bytes.windows(6).any(|part| part == b"marker"), "{all}");
        }
        assert!(!all.contains("marker"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_swept_by_those_who_write_and_the_last_takes_the_key_along() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = server.store();
    let short = Duration::from_millis(400);
    for n in 0..100 {
        let _ = store.put(&key(&format!("dead{n}")), "v".into(), short, When::Always).await.unwrap();
    }
    let _ = put(&store, "living", b"v").await.unwrap();
    tokio::time::sleep(short * 2).await;
    for _ in 0..200 {
        let _ = put(&store, "living", b"v").await.unwrap();
    }
    let name = only_key(&server).await;
    let redis::Value::Int(length) = server.command(&["HLEN", &name]).await else { panic!("a number") };
    assert!(length < 40, "{length} of 101 records are left, one lives");
    assert!(store.remove(&key("living"), When::Always).await.unwrap());
    let again = FLOWS.partition(["p"]).key(["k"]);
    let _ = store.put(&again, "v".into(), short, When::Always).await.unwrap();
    store.remove_partition(key("living").partition()).await.unwrap();
    tokio::time::sleep(short * 2).await;
    assert_eq!(server.command(&["DBSIZE"]).await, redis::Value::Int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_life_never_shortens_that_of_the_neighbours() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = server.store();
    let _ = put(&store, "long", b"v").await.unwrap();
    let _ = store.put(&key("short"), "v".into(), Duration::from_millis(100), When::Always).await.unwrap();
    let _ = store.put(&key("none"), "v".into(), Duration::ZERO, When::Always).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(value(&store, "short").await, None);
    assert_eq!(value(&store, "none").await, None);
    assert_eq!(value(&store, "long").await, Some("v".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_after_a_kill_and_says_what_is_wrong_meanwhile() {
    let Some(mut server) = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let store = server.store();
    let _ = put(&store, "a", b"kept").await.unwrap();
    for round in 0..2 {
        server.kill();
        for _ in 0..5 {
            let start = Instant::now();
            let read = store.get(&key("a")).await.unwrap_err();
            assert!(matches!(read.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{read:?}");
            let write = put(&store, "a", b"lost").await.unwrap_err();
            assert!(matches!(write.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Timeout), "{write:?}");
            assert!(start.elapsed() < Duration::from_secs(20), "two operations of 2 s each: {:?}", start.elapsed());
        }
        let start = Instant::now();
        assert_eq!(put(&store, "a", b"x").await.unwrap_err().kind(), StoreErrorKind::Unavailable, "it never left");
        assert!(start.elapsed() < Duration::from_secs(10));
        server.run();
        let took = recovers(&store).await;
        assert!(took < Duration::from_secs(10), "round {round}: {took:?}");
        assert_eq!(value(&store, "a").await, Some("kept".into()), "what was written before the kill is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_starts_before_its_server_finds_it_later() {
    let Some(mut server) = RedisServer::start(&[]) else { return };
    server.kill();
    let store = server.store();
    assert_eq!(store.get(&key("a")).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(store.check().await.is_err());
    server.run();
    recovers(&store).await;
    assert!(store.check().await.unwrap().supported);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_holds_nobody_up() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = server.store();
    let _ = put(&store, "a", b"v").await.unwrap();
    server.signal("STOP");
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(store.get(&key("a")).await.unwrap_err().kind(), StoreErrorKind::Timeout);
        assert!(start.elapsed() < Duration::from_secs(10), "bounded by 2 s: {:?}", start.elapsed());
    }
    assert_eq!(put(&store, "a", b"w").await.unwrap_err().kind(), StoreErrorKind::Timeout, "it may have happened");
    server.signal("CONT");
    recovers(&store).await;
    assert_eq!(value(&store, "b").await, None, "answers are never taken for those of another question");
    assert!(value(&store, "a").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_and_still_lets_read_and_remove() {
    let Some(server) = RedisServer::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]) else { return };
    let store = server.store();
    let chunk = vec![7_u8; 100_000];
    let mut stored = 0;
    let error = loop {
        match put(&store, &stored.to_string(), &chunk).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "3 MB never fill up");
    };
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    for n in 0..stored {
        assert!(value(&store, &n.to_string()).await.is_some(), "{n} was dropped");
    }
    for n in 0..stored {
        assert!(store.remove(&key(&n.to_string()), When::Always).await.unwrap());
    }
    assert!(put(&store, "again", b"v").await.is_ok(), "room is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes_and_large_values_are_named() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let store = server.builder().value_bytes(10).build().unwrap();
    assert_eq!(put(&store, "a", &[0; 11]).await.unwrap_err().kind(), StoreErrorKind::TooLarge);
    let _ = put(&store, "a", &[0; 10]).await.unwrap();
    let strange = Version::new("of another store".as_bytes()[..7].to_vec());
    assert_eq!(store.put(&key("a"), "x".into(), HOUR, When::Unchanged(&strange)).await.unwrap(), Put::Conflict);
    assert!(!store.remove(&key("a"), When::Unchanged(&strange)).await.unwrap());

    let name = only_key(&server).await;
    server.command(&["SET", &name, "marker"]).await;
    let error = store.get(&key("a")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.source().unwrap().to_string().contains("WRONGTYPE"));
    assert!(!format!("{error:?} {error}").contains("marker"));
    assert_eq!(put(&store, "a", b"x").await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_is_an_error_that_ends_when_it_is_mended() {
    let Some(server) = RedisServer::start(&["--requirepass", "marker-one"]) else { return };
    let url = |password: &str| server.url().replace("redis://", &format!("redis://:{password}@"));
    let good = RedisStore::builder(url("marker-one")).build().unwrap();
    let bad = RedisStore::builder(url("marker-two")).build().unwrap();
    assert_eq!(value(&good, "a").await, None);
    for store in [&bad, &server.store()] {
        let error = store.get(&key("a")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(!format!("{error:?} {store:?} {}", error.source().unwrap()).contains("marker"));
    }
    let client = redis::Client::open(url("marker-one")).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("requirepass").arg("marker-two");
    command.exec_async(&mut connection).await.unwrap();
    recovers(&bad).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_do_not_see_each_other() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let one = server.builder().application("one").build().unwrap();
    let two = server.builder().application("two").build().unwrap();
    let _ = put(&one, "a", b"v").await.unwrap();
    assert_eq!(value(&two, "a").await, None);
    two.remove_partition(key("a").partition()).await.unwrap();
    assert_eq!(value(&one, "a").await, Some("v".into()));
    // The connection is another, the records are the same.
    assert_eq!(value(&server.builder().application("one").build().unwrap(), "a").await, Some("v".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_tells_what_a_crash_loses() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let report = server.store().check().await.unwrap();
    assert_eq!((report.supported, report.evicts, report.loss), (true, false, LossWindow::Everything));
    let aof = ["--appendonly", "yes", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(server) = RedisServer::start(&aof) else { return };
    let report = server.store().check().await.unwrap();
    assert_eq!((report.evicts, report.loss), (true, LossWindow::Last(Duration::from_secs(1))));
    server.command(&["CONFIG", "SET", "appendfsync", "always"]).await;
    assert_eq!(server.store().check().await.unwrap().loss, LossWindow::Nothing);
    // As on managed servers.
    server.command(&["ACL", "SETUSER", "default", "-config"]).await;
    assert_eq!(server.store().check().await.unwrap().loss, LossWindow::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_the_servers_certificate_decides() {
    let Some(plain) = RedisServer::start(&[]) else { return };
    let tls = |server: &RedisServer| format!("rediss://localhost:{}", server.port());
    assert!(RedisStore::builder(tls(&plain)).build().is_err(), "no crypto provider: an error, not a panic");
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, private) = (plain.folder().join("c.pem"), plain.folder().join("k.pem"));
    fs::write(&certificate, certified.cert.pem()).unwrap();
    fs::write(&private, certified.signing_key.serialize_pem()).unwrap();
    let (certificate, private) = (certificate.to_str().unwrap(), private.to_str().unwrap());

    // A server without TLS is never spoken to in clear.
    let store = RedisStore::builder(tls(&plain)).root_certificates(certified.cert.pem()).build().unwrap();
    assert!(put(&store, "a", b"v").await.is_err());
    assert_eq!(plain.command(&["DBSIZE"]).await, redis::Value::Int(0));

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = ["--tls-port", &free, "--tls-cert-file", certificate, "--tls-key-file", private];
    let Some(_server) = RedisServer::start(&[&arguments[..], &["--tls-auth-clients", "no"]].concat()) else { return };
    let url = format!("rediss://localhost:{free}");
    let store = RedisStore::builder(url.clone()).root_certificates(certified.cert.pem()).build().unwrap();
    let _ = put(&store, "a", b"v").await.unwrap();
    assert_eq!(value(&store, "a").await, Some("v".into()));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let stranger = RedisStore::builder(url.clone()).root_certificates(other.cert.pem()).build().unwrap();
    assert!(stranger.get(&key("a")).await.is_err(), "not from the given roots");
    let by_address = RedisStore::builder(url.replace("localhost", "127.0.0.1")).root_certificates(certified.cert.pem());
    assert!(by_address.build().unwrap().get(&key("a")).await.is_err(), "another name than the certificate's");
}

async fn only_key(server: &RedisServer) -> String {
    let redis::Value::Array(names) = server.command(&["KEYS", "*"]).await else { panic!("a list") };
    let [redis::Value::BulkString(name)] = &names[..] else { panic!("one key") };
    String::from_utf8(name.clone()).unwrap()
}
