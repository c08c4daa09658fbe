//! G23: clients that send a byte a second. Each is cut off, and the others notice nothing.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, HOME_TENANT},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Program;
use crate::{
    Fault, Options, Outcome, Setting,
    world::{self, p99},
};

/// How many clients; each takes an open file here and one there.
pub const CLIENTS: Setting = Setting::new("clients", "2000", "200");
/// After how many seconds each must be cut off. The short form runs beside other tests, and has more room.
pub const SECONDS: Setting = Setting::new("seconds", "10", "20");

/// The memory of the server may grow by so many MiB.
const GROWTH: usize = 64;

/// The server that is measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// A token that it lets in.
    pub token: String,
    /// Its process.
    pub process: u32,
}

/// Measures the broker.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check_program(options, &Program::find(options)?)
}

/// Measures this program.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check_program(options: &Options, program: &Program) -> Result<Outcome, Fault> {
    world::real()?.block_on(async {
        let sandbox = Sandbox::builder().start().await?;
        let broker = program.serve(&sandbox, &[], &[]).await?;
        let token = sandbox.channel_token(BOT_APP_ID, &sandbox.service_url(HOME_TENANT));
        check(options, &Target { address: broker.address().parse()?, token, process: broker.id() }).await
    })
}

/// Measures this server. It answers `GET /healthz` with 200 and takes `POST /api/messages`.
///
/// # Errors
///
/// When the measurement itself fails: the server is not there, or this process may not open so many files.
pub async fn check(options: &Options, target: &Target) -> Result<Outcome, Fault> {
    let (clients, limit) = (options.number(&CLIENTS)?, Duration::from_secs(options.number(&SECONDS)? as u64));
    let mut before = healthy(target.address).await?;
    let memory = world::resident_of(target.process);
    // Half of them drip headers, the other half have a good token and drip the body.
    let token = &target.token;
    let heads = [
        "POST /api/messages HTTP/1.1\r\nhost: a\r\nx: ".to_owned(),
        format!(
            "POST /api/messages HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\
             authorization: Bearer {token}\r\n\r\n"
        ),
    ];
    let mut drips = JoinSet::new();
    for (_, head) in (0..clients).zip(heads.iter().cycle()) {
        let (address, head) = (target.address, head.clone());
        drips.spawn(drip(address, head, limit + Duration::from_secs(2)));
    }
    sleep(Duration::from_secs(2)).await;
    let mut during = healthy(target.address).await?;
    let grown = world::resident_of(target.process).saturating_sub(memory) >> 20;
    let times = drips.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let longest = times.into_iter().max().unwrap_or_default();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let ratio = p99(&mut during).as_secs_f64() / p99(&mut before).as_secs_f64().max(1e-9);
    let middle = |times: &[Duration]| times.get(times.len() / 2).copied().unwrap_or_default();
    let calm = middle(&during) < middle(&before) * 4 + Duration::from_millis(20);
    Ok(Outcome::new((longest.as_secs_f64() * 100.0).round() / 100.0, limit.as_secs())
        .require("every slow client is cut off in time", longest <= limit)
        .require("memory grows by at most 64 MiB", grown <= GROWTH)
        // Whole milliseconds of a loopback connection are the machine's; only the long form is alone on it.
        .require("healthy requests' p99 at most doubles", options.short || ratio <= 2.0)
        .require("healthy requests are answered as before", calm)
        .note("clients", clients)
        .note("longest_s", (longest.as_secs_f64() * 100.0).round() / 100.0)
        .note("grown_mib", grown)
        .note("p99_ratio", (ratio * 100.0).round() / 100.0)
        .note("p99_before_us", micros(p99(&mut before)))
        .note("p99_during_us", micros(p99(&mut during))))
}

/// Sends the head and then a byte a second, until an answer or the end of the connection, or until it has had enough.
async fn drip(address: SocketAddr, head: String, patience: Duration) -> std::io::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    let started = Instant::now();
    stream.write_all(head.as_bytes()).await?;
    let mut byte = [0];
    while started.elapsed() < patience {
        if timeout(Duration::from_secs(1), stream.read(&mut byte)).await.is_ok()
            || stream.write_all(b" ").await.is_err()
        {
            break;
        }
    }
    Ok(started.elapsed())
}

/// The times of healthy requests, each over a connection of its own, in order. On a thread of its own: what this process
/// does beside it must not be taken for the server's time.
async fn healthy(address: SocketAddr) -> Result<Vec<Duration>, Fault> {
    tokio::task::spawn_blocking(move || {
        let mut times = Vec::new();
        for _ in 0..400 {
            let started = Instant::now();
            let mut stream = std::net::TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            if !answer.starts_with(b"HTTP/1.1 200") {
                return Err("the server is not healthy".into());
            }
            times.push(started.elapsed());
            thread::sleep(Duration::from_millis(10));
        }
        times.sort_unstable();
        Ok(times)
    })
    .await?
}
