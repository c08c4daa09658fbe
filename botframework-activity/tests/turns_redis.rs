//! The queue in Redis, against a real one: the contract, what lies in the server, and what happens when something fails.
#![cfg(all(feature = "redis", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod redis_server;
mod turns_support;

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use botframework_activity::{
    Accepted, Activity, End, Lane, Lease, LossWindow, NewTurn, Outcome, QueueErrorKind, RedisTurnQueue,
    RedisTurnQueueBuilder, TurnId, TurnQueue, TurnRunner, conformance,
};
use bytes::Bytes;
use entra_auth::Sealer;
use redis_server::{DURABLE, RedisServer, text};
use tokio::{task::JoinSet, time::sleep};
use turns_support::{Channel, authenticator, message, voice};

const LEASE: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::ZERO;
const WAIT: Duration = Duration::from_secs(10);

fn sealer(id: &str) -> Sealer {
    Sealer::parse(&format!("{id}:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")).unwrap()
}

fn builder(server: &RedisServer) -> RedisTurnQueueBuilder {
    RedisTurnQueue::builder(server.url(), sealer("k")).application("tests").lease(LEASE)
}

fn queue(server: &RedisServer) -> RedisTurnQueue {
    builder(server).build().unwrap()
}

fn turn(lane: &str, id: &str) -> NewTurn {
    NewTurn::new(TurnId::new(id), Lane::new(lane), Bytes::from(format!("payload of {id}")))
}

async fn accept(queue: &RedisTurnQueue, lane: &str, id: &str) {
    assert_eq!(queue.accept(turn(lane, id)).await.unwrap(), Accepted::New, "{id}");
}

async fn leased(queue: &RedisTurnQueue, id: &str) -> Lease {
    let lease = queue.lease(WAIT).await.unwrap().expect("a turn");
    assert_eq!(lease.id().as_str(), id);
    lease
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_contract_is_kept() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let number = AtomicU32::new(0);
    let fresh = || {
        let name = format!("bot {}", number.fetch_add(1, Ordering::Relaxed));
        Arc::new(builder(&server).application(name).build().unwrap())
    };
    conformance::turn_queue(fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_is_over_and_applications_are_apart() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (a, b) = (queue(&server), builder(&server).application("other").dedupe(LEASE).build().unwrap());
    accept(&a, "lane", "1").await;
    accept(&b, "lane", "1").await;
    for queue in [&a, &b] {
        assert_eq!(queue.stats().await.unwrap().turns, 1);
        let lease = leased(queue, "1").await;
        assert_eq!(queue.stats().await.unwrap().running_lanes, 1);
        queue.checkpoint(&lease, Some(Bytes::from_static(b"p"))).await.unwrap();
        queue.finish(lease, End::Done).await.unwrap();
        assert_eq!(queue.stats().await.unwrap(), Default::default());
    }
    sleep(LEASE * 2).await;
    let names = server.names("*").await;
    let left: Vec<_> = names.iter().map(|name| name.split("}:").nth(1).unwrap().split(':').next().unwrap()).collect();
    for name in &left {
        assert!(["seen", "ended", "counter", "turns", "bytes"].contains(name), "{left:?}");
    }
    assert_eq!(left.iter().filter(|name| **name == "seen").count(), 1, "the other one's memory was short: {left:?}");
    assert!(names.iter().all(|name| name.starts_with("bt1:{")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_redis_shows_nothing() {
    let Some(server) = RedisServer::start(DURABLE) else { return };
    let queue = queue(&server);
    let names = ["marker-lane", "marker-id"];
    let turn = NewTurn::new(TurnId::new(names[1]), Lane::new(names[0]), Bytes::from_static(b"marker-payload"));
    assert_eq!(queue.accept(turn).await.unwrap(), Accepted::New);
    let lease = leased(&queue, "marker-id").await;
    queue.checkpoint(&lease, Some(Bytes::from_static(b"marker-progress"))).await.unwrap();
    let _ = server.ask(&[b"SAVE"]).await;
    queue.finish(lease, End::Dead).await.unwrap();
    let mut files = 0;
    let mut folders = vec![server.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            files += u32::from(bytes.len() > 500);
            assert!(!bytes.windows(6).any(|part| part == b"marker"), "{}", path.display());
        }
    }
    assert!(files >= 2, "the snapshot and the append-only file were looked at");
    assert_eq!(queue.stats().await.unwrap().dead, 1);
    assert!(!format!("{queue:?}").contains("marker"));
}

/// One worker loses its lease while it works; everything it does then is refused, through its own connection, too.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_and_a_lease_that_ran_out() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (a, b) = (queue(&server), queue(&server));
    accept(&a, "lane", "1").await;
    accept(&b, "lane", "2").await;
    let old = leased(&a, "1").await;
    a.checkpoint(&old, Some(Bytes::from_static(b"kept"))).await.unwrap();
    let started = Instant::now();
    let new = leased(&b, "1").await;
    let waited = started.elapsed();
    assert!(waited > LEASE / 2 && waited < LEASE * 5, "{waited:?}");
    assert_eq!((new.attempt(), &new.progress().unwrap()[..]), (2, &b"kept"[..]));
    assert!(new.fence() > old.fence());
    let late = a.checkpoint(&old, Some(Bytes::from_static(b"late"))).await.unwrap_err();
    assert_eq!(late.kind(), QueueErrorKind::LeaseLost);
    assert_eq!(a.finish(old, End::Done).await.unwrap_err().kind(), QueueErrorKind::LeaseLost);
    b.finish(new, End::Again { after: NOW }).await.unwrap();
    let again = leased(&a, "1").await;
    assert_eq!(&again.progress().unwrap()[..], b"kept");
    a.finish(again, End::Done).await.unwrap();
    let lease = leased(&b, "2").await;
    b.finish(lease, End::Done).await.unwrap();
    assert_eq!(a.stats().await.unwrap(), Default::default());
}

/// Turns that one process takes in and another one runs; nothing twice, nothing out of order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_share_the_work() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (a, b) = (queue(&server), queue(&server));
    let mut workers = JoinSet::new();
    for queue in [a.clone(), b.clone(), b.clone()] {
        workers.spawn(async move {
            let mut seen = Vec::new();
            while let Some(lease) = queue.lease(Duration::from_secs(2)).await.unwrap() {
                seen.push((lease.lane().as_str().to_owned(), lease.id().as_str().to_owned(), lease.fence()));
                queue.finish(lease, End::Done).await.unwrap();
            }
            seen
        });
    }
    for n in 0..100 {
        let queue = if n % 2 == 0 { &a } else { &b };
        accept(queue, &format!("lane {}", n % 7), &format!("{n:03}")).await;
    }
    let seen = workers.join_all().await;
    assert!(seen.iter().filter(|seen| !seen.is_empty()).count() >= 2, "more than one worked");
    let mut lanes: HashMap<String, Vec<(u64, String)>> = HashMap::new();
    for (lane, id, fence) in seen.into_iter().flatten() {
        lanes.entry(lane).or_default().push((fence, id));
    }
    assert_eq!(lanes.values().map(Vec::len).sum::<usize>(), 100);
    for turns in lanes.values_mut() {
        turns.sort_unstable();
        assert!(turns.is_sorted_by_key(|(_, id)| id.clone()), "{turns:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_loses_nothing_and_is_found_again() {
    let Some(mut server) = RedisServer::start(DURABLE) else { return };
    let queue = builder(&server).lease(Duration::from_secs(30)).build().unwrap();
    accept(&queue, "a", "1").await;
    accept(&queue, "a", "2").await;
    accept(&queue, "b", "3").await;
    let lease = leased(&queue, "1").await;
    queue.checkpoint(&lease, Some(Bytes::from_static(b"half"))).await.unwrap();
    server.kill();
    let started = Instant::now();
    for kind in [
        queue.accept(turn("c", "4")).await.unwrap_err().kind(),
        queue.checkpoint(&lease, None).await.unwrap_err().kind(),
        queue.lease(NOW).await.unwrap_err().kind(),
    ] {
        assert!(matches!(kind, QueueErrorKind::Unavailable | QueueErrorKind::Timeout), "{kind:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "three operations of 2 s each: {:?}", started.elapsed());
    server.run();
    let started = Instant::now();
    while queue.checkpoint(&lease, None).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "never came back");
        sleep(Duration::from_millis(50)).await;
    }
    // The lease is still the same one.
    queue.finish(lease, End::Done).await.unwrap();
    let mut left = Vec::new();
    while let Some(lease) = queue.lease(NOW).await.unwrap() {
        left.push(lease.id().as_str().to_owned());
        queue.finish(lease, End::Done).await.unwrap();
    }
    left.sort_unstable();
    assert!(left.starts_with(&["2".to_owned(), "3".to_owned()]) && left.len() <= 3, "{left:?}");
    assert_eq!(queue.accept(turn("a", "1")).await.unwrap(), Accepted::Duplicate);
}

/// A server that lost its data must not make an old lease look like a new one.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_leases_never_repeat() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let queue = queue(&server);
    accept(&queue, "a", "1").await;
    let old = leased(&queue, "1").await;
    let _ = server.ask(&[b"FLUSHALL"]).await;
    accept(&queue, "a", "1").await;
    let new = leased(&queue, "1").await;
    assert!(new.fence() > old.fence());
    assert_eq!(queue.finish(old, End::Done).await.unwrap_err().kind(), QueueErrorKind::LeaseLost);
    queue.finish(new, End::Done).await.unwrap();
}

/// The answer to `finish` got lost, and it is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_end_is_recognised() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let queue = queue(&server);
    accept(&queue, "a", "1").await;
    let first = leased(&queue, "1").await;
    let same = Lease::new(first.id().clone(), first.lane().clone(), Bytes::new(), 1, first.fence(), LEASE);
    queue.finish(first, End::Done).await.unwrap();
    queue.finish(same, End::Done).await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_question_gives_its_lease_back_at_once() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let queue = builder(&server).lease(Duration::from_secs(3600)).build().unwrap();
    for n in 0..30 {
        let id = n.to_string();
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.lease(WAIT).await.unwrap() }
        });
        sleep(Duration::from_millis(3)).await;
        accept(&queue, &id, &id).await;
        sleep(Duration::from_micros(100 * n)).await;
        waiting.abort();
        let lease = match waiting.await {
            Ok(lease) => lease.expect("a turn"),
            Err(_) => leased(&queue, &id).await,
        };
        assert_eq!(lease.attempt(), 1, "nobody had worked on it");
        queue.finish(lease, End::Done).await.unwrap();
    }
}

/// Changes a field of the only turn in the server.
async fn tamper(server: &RedisServer, field: &[u8], change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let names = server.names("*}:turn:*").await;
    let [name] = &names[..] else { panic!("one turn: {names:?}") };
    let redis::Value::BulkString(value) = server.ask(&[b"HGET", name.as_bytes(), field]).await else {
        panic!("no such field")
    };
    let _ = server.ask(&[b"HSET", name.as_bytes(), field, &change(value)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_put_away_and_the_conversation_goes_on() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let queue = queue(&server);
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let changes: [(&[u8], Change); 4] = [
        (b"r", |mut value| {
            let last = value.len() - 1;
            value[last] ^= 1;
            value
        }),
        (b"r", |_| Vec::new()),
        (b"r", |value| value[..10].to_vec()),
        (b"p", |_| b"\x01\x01".to_vec()),
    ];
    for (n, (field, change)) in changes.into_iter().enumerate() {
        let (bad, good) = (format!("bad {n}"), format!("good {n}"));
        accept(&queue, "a", &bad).await;
        let lease = leased(&queue, &bad).await;
        queue.checkpoint(&lease, Some(Bytes::from_static(b"p"))).await.unwrap();
        queue.finish(lease, End::Again { after: NOW }).await.unwrap();
        tamper(&server, field, change).await;
        accept(&queue, "a", &good).await;
        let lease = leased(&queue, &good).await;
        queue.finish(lease, End::Done).await.unwrap();
        let stats = queue.stats().await.unwrap();
        assert_eq!((stats.turns, stats.dead), (0, n as u64 + 1));
    }
    let dead = server.names("*}:dead").await;
    let redis::Value::Int(ttl) = server.ask(&[b"PTTL", dead[0].as_bytes()]).await else { panic!("a number") };
    assert!(ttl > 6 * 86_400_000, "{ttl}");
}

/// During a rolling upgrade an old worker meets records of the new version: it leaves them to the new ones, and nothing
/// that new ones store beside them gets lost.
#[tokio::test(flavor = "multi_thread")]
async fn versions_work_side_by_side() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let old = queue(&server);
    accept(&old, "a", "1").await;
    let names = server.names("*}:turn:*").await;
    let _ = server.ask(&[b"HSET", names[0].as_bytes(), b"field of version 2", b"x"]).await;
    tamper(&server, b"r", |value| [&[2], &value[1..]].concat()).await;
    accept(&old, "b", "2").await;
    // The old worker goes on with what it can read.
    let lease = leased(&old, "2").await;
    old.finish(lease, End::Done).await.unwrap();
    assert!(old.lease(Duration::from_millis(300)).await.unwrap().is_none());
    let stats = old.stats().await.unwrap();
    assert_eq!((stats.turns, stats.dead), (1, 0), "it is kept for the new worker");
    // The same for keys: the new ones write under a key that the old ones get with their next start.
    let new = RedisTurnQueue::builder(server.url(), sealer("next")).application("tests").lease(LEASE).build().unwrap();
    accept(&new, "c", "3").await;
    assert!(old.lease(Duration::from_millis(300)).await.unwrap().is_none());
    let lease = leased(&new, "3").await;
    assert_eq!(lease.attempt(), 1, "attempts of those who could not read it do not count");
    new.finish(lease, End::Done).await.unwrap();
    // The upgrade is taken back.
    tamper(&server, b"r", |value| [&[1], &value[1..]].concat()).await;
    let lease = leased(&old, "1").await;
    assert_eq!(lease.attempt(), 1);
    old.checkpoint(&lease, Some(Bytes::from_static(b"p"))).await.unwrap();
    assert_eq!(text(server.ask(&[b"HGET", names[0].as_bytes(), b"field of version 2"]).await), "x");
    old.finish(lease, End::Done).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_bounded_in_every_direction() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let small = builder(&server).turns(3).lane(2).record(4).build().unwrap();
    let offer = |lane: &str, id: &str, payload: &'static [u8]| {
        small.accept(NewTurn::new(TurnId::new(id), Lane::new(lane), Bytes::from_static(payload)))
    };
    assert_eq!(offer("a", "0", b"12345").await.unwrap_err().kind(), QueueErrorKind::TooLarge);
    assert_eq!(offer("a", "1", b"1234").await.unwrap(), Accepted::New);
    assert_eq!(offer("a", "2", b"1").await.unwrap(), Accepted::New);
    assert_eq!(offer("a", "3", b"1").await.unwrap(), Accepted::LaneFull);
    assert_eq!(offer("b", "3", b"1").await.unwrap(), Accepted::New, "a refused turn left no trace");
    let full = offer("c", "4", b"1").await.unwrap_err();
    assert_eq!((full.kind(), full.is_retryable()), (QueueErrorKind::Full, true));
    assert_eq!(offer("a", "1", b"1").await.unwrap(), Accepted::Duplicate, "a duplicate is told as one");
    let lease = leased(&small, "1").await;
    let error = small.checkpoint(&lease, Some(Bytes::from_static(b"12345"))).await.unwrap_err();
    assert_eq!(error.kind(), QueueErrorKind::TooLarge);
    small.finish(lease, End::Done).await.unwrap();
    assert_eq!(offer("c", "4", b"1").await.unwrap(), Accepted::New);
    let bytes = builder(&server).application("bytes").bytes(1000).build().unwrap();
    let mut taken = 0;
    while bytes.accept(turn("a", &taken.to_string())).await.is_ok() {
        taken += 1;
    }
    assert!((10..20).contains(&taken), "a record has about 55 bytes: {taken}");
}

/// Redis has no memory left: new turns are refused, those inside can end.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_refuses_new_turns_and_lets_the_others_end() {
    let Some(server) = RedisServer::start(&["--maxmemory-policy", "noeviction"]) else { return };
    let queue = queue(&server);
    accept(&queue, "a", "1").await;
    accept(&queue, "a", "2").await;
    let _ = server.ask(&[b"CONFIG", b"SET", b"maxmemory", b"1000000"]).await;
    let error = queue.accept(turn("b", "3")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (QueueErrorKind::Full, true));
    for id in ["1", "2"] {
        let lease = leased(&queue, id).await;
        queue.checkpoint(&lease, Some(Bytes::from_static(b"p"))).await.unwrap();
        queue.finish(lease, End::Done).await.unwrap();
    }
    let _ = server.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]).await;
    accept(&queue, "b", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_what_a_crash_loses() {
    for (arguments, evicts, loss) in [
        (DURABLE, false, LossWindow::Nothing),
        (&["--appendonly", "yes"][..], false, LossWindow::Last(Duration::from_secs(1))),
        (&["--appendonly", "yes", "--appendfsync", "no"], false, LossWindow::Everything),
        (&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], true, LossWindow::Everything),
        (&["--rename-command", "CONFIG", "", "--appendonly", "yes"], false, LossWindow::Unknown),
    ] {
        let Some(server) = RedisServer::start(arguments) else { return };
        let report = queue(&server).check().await.unwrap();
        assert_eq!((report.supported, report.evicts, report.loss), (true, evicts, loss), "{arguments:?}");
    }
    let nowhere = RedisTurnQueue::builder("redis://127.0.0.1:1", sealer("k")).build().unwrap();
    assert_eq!(nowhere.check().await.unwrap_err().kind(), QueueErrorKind::Unavailable);
}

#[tokio::test]
async fn addresses_are_checked_and_never_shown() {
    for (url, good) in [
        ("redis://127.0.0.1:6379/2", true),
        ("redis://:marker@cache.example.com", false),
        ("marker", false),
        ("rediss://marker@cache.example.com/#insecure", false),
    ] {
        let built = RedisTurnQueue::builder(url, sealer("k")).build();
        assert_eq!(built.is_ok(), good, "{url}");
        assert!(!format!("{built:?}").contains("marker"), "{url}");
    }
}

/// The runner over the queue: the worker is cut off mid-turn, another process answers in the same place.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_goes_on_in_another_process() {
    let Some(server) = RedisServer::start(DURABLE) else { return };
    let channel = Channel::new();
    let start = |name: &'static str, wait: Duration| {
        let queue: Arc<dyn TurnQueue> = Arc::new(queue(&server));
        TurnRunner::durable(queue, sealer("k"), authenticator().policy().clone(), channel.connector()).start(
            move |turn| async move {
                if turn.progress::<u32>().is_none() {
                    turn.checkpoint(&1).await?;
                }
                sleep(wait).await;
                Ok(Outcome::answer(Activity::message(format!("answer of {name}"))))
            },
            voice,
        )
    };
    let a = start("a", Duration::from_secs(3600));
    let _ = a.accept(&message("a:1", "m1", "x").await).await.unwrap();
    let begun = Instant::now();
    while channel.story().is_empty() {
        assert!(begun.elapsed() < WAIT);
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(200)).await;
    let b = start("b", Duration::from_millis(10));
    a.shutdown(Duration::from_millis(100)).await;
    while channel.story().len() < 2 {
        assert!(begun.elapsed() < WAIT * 3, "{:?}", channel.story());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(channel.story(), ["POST [working]", "PUT answer of b"]);
    b.shutdown(WAIT).await;
    assert_eq!(queue(&server).stats().await.unwrap(), Default::default());
}
