//! Clients that send a byte a second: each is cut off, and the others notice nothing.
//!
//! `SLOW_CLIENTS=2000 cargo test --release -p broker --test slow_clients -- --nocapture` is the long form; it needs as
//! many open files, twice (`ulimit -n 8192`).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, HOME_TENANT},
};
use serde_json::json;
use support::Broker;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

fn number(name: &str, default: usize) -> usize {
    #[allow(clippy::disallowed_methods)] // how much the test asks for is decided outside
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Resident memory of a process, KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The times of healthy requests, in order.
async fn healthy(url: &str) -> Vec<Duration> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut times = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
        times.push(started.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_sends_a_byte_a_second_is_cut_off_and_harms_nobody() {
    let clients = number("SLOW_CLIENTS", 200);
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    let address = broker.url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let health = format!("http://{address}/healthz");
    let before = healthy(&health).await;
    let memory = resident(broker.id());
    let token = sandbox.channel_token(BOT_APP_ID, &sandbox.service_url(HOME_TENANT));
    // Half of them drip headers, the other half have a good token and drip the body.
    let heads = [
        "POST /api/messages HTTP/1.1\r\nhost: a\r\nx: ".to_owned(),
        format!(
            "POST /api/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\
             authorization: Bearer {token}\r\n\r\n"
        ),
    ];
    let mut drips = JoinSet::new();
    for n in 0..clients {
        let (address, head) = (address.clone(), heads[n % 2].clone());
        drips.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let started = Instant::now();
            let mut byte = [0];
            while started.elapsed() < Duration::from_secs(60) {
                // An answer or the end of the connection: it is over.
                if timeout(Duration::from_secs(1), stream.read(&mut byte)).await.is_ok()
                    || stream.write_all(b" ").await.is_err()
                {
                    break;
                }
            }
            started.elapsed()
        });
    }
    sleep(Duration::from_secs(2)).await;
    let during = healthy(&health).await;
    let grown = resident(broker.id()).saturating_sub(memory) / 1024;
    let longest = drips.join_all().await.into_iter().max().unwrap();
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100].as_micros() as u64;
    let median = |times: &[Duration]| times[times.len() / 2];
    // Times are printed. What is gated has room for a busy machine.
    let pass = longest < Duration::from_secs(20)
        && grown <= 64
        && median(&during) < median(&before) * 4 + Duration::from_millis(20);
    let value = json!({
        "clients": clients, "longest_s": longest.as_secs_f64(), "grown_mib": grown,
        "p99_before_us": p99(&before), "p99_during_us": p99(&during),
    });
    println!("{}", json!({"goal": "G23", "value": value, "limit": {"longest_s": 10, "grown_mib": 64}, "pass": pass}));
    assert!(pass);
}
