//! G17: a broker that is told to stop in the middle of many turns. New requests are turned away at once, running turns
//! end or go back to Redis, and another process answers them.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use m365_sandbox::{
    Author, Conversation, Fault as Failure, Sandbox, Wait,
    constants::{USER_ONE, USER_TWO},
};
use tokio::{task::JoinSet, time::sleep};

use super::{PLACEHOLDER, Program, RESPONSES, Redis, Replicas, Store};
use crate::{Fault, Options, Outcome, Setting, world};

/// How many turns run.
pub const TURNS: Setting = Setting::new("turns", "500", "60");
/// How long a refusal may take, in milliseconds. The short form runs beside other tests, and has five times the room.
pub const REFUSAL_MS: Setting = Setting::new("refusal-ms", "100", "500");
/// How long the process may take to end, in milliseconds.
pub const STOP_MS: Setting = Setting::new("stop-ms", "25000", "27000");
/// How many seconds are left for the other process to answer what was handed back.
pub const REST: Setting = Setting::new("rest", "90", "90");

/// How the process learns that it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It is asked to stop.
    Term,
    /// It is not asked: no goal holds then.
    Kill,
}

/// Measures the broker.
///
/// # Errors
///
/// When the measurement itself fails, for example without Redis.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, &Program::find(options)?, Signal::Term)
}

/// Measures this program.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, program: &Program, signal: Signal) -> Result<Outcome, Fault> {
    let (turns, rest) = (options.number(&TURNS)?, Duration::from_secs(options.number(&REST)? as u64));
    let (refusal_ms, stop_ms) = (options.number(&REFUSAL_MS)?, options.number(&STOP_MS)?);
    let redis = Redis::start()?;
    world::real()?.block_on(async {
        let sandbox = Sandbox::builder().start().await?;
        // A third takes longer than a stopping process may wait; the others end in time.
        let slow = turns as u64 / 3;
        sandbox.fault(Failure::on(RESPONSES).delay(Duration::from_secs(30)).times(slow));
        sandbox.fault(Failure::on(RESPONSES).delay(Duration::from_secs(3)).skip(slow));
        let replicas = Replicas::start(program, 2, &sandbox, Store::Shared(&redis), &[]).await?;
        let chats = begin(&sandbox, turns).await?;
        let address: SocketAddr = replicas.address(0)?.parse()?;
        let told = Instant::now();
        let mut child = match signal {
            Signal::Term => Some(replicas.terminate(0)?),
            Signal::Kill => {
                replicas.kill(0)?;
                None
            }
        };
        // A thread of its own: what this process does beside it must not be taken for the broker's time.
        let watch = thread::spawn(move || refusals(child.as_mut(), address, told));
        while !watch.is_finished() {
            sleep(Duration::from_millis(20)).await;
        }
        let seen = watch.join().map_err(|_| "the watch panicked")??;
        // What was handed back is answered by the other one, which has slow turns of its own.
        let patience = Instant::now();
        while chats.iter().any(|chat| answers(chat) != (1, 1)) && patience.elapsed() < rest {
            sleep(Duration::from_millis(200)).await;
        }
        let results: Vec<_> = chats.iter().map(answers).collect();
        let lost = results.iter().filter(|(_, good)| *good == 0).count();
        let second = results.iter().filter(|(all, _)| *all > 1).count();
        let millis = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
        Ok(Outcome::new(lost, 0)
            .require("no turn is lost", lost == 0)
            .require("no turn is answered twice", second == 0)
            .require("the process ends with code 0", seen.code == Some(0))
            .require("new requests are turned away", seen.count > 0)
            .require("every refusal comes in time", millis(seen.slowest) <= refusal_ms)
            .require("the process ends in time", millis(seen.ended) <= stop_ms)
            .note("turns", turns)
            .note("lost", lost)
            .note("second_answers", second)
            .note("exit_code", seen.code)
            .note("refusals", seen.count)
            .note("slowest_503_ms", millis(seen.slowest))
            .note("slowest_503_after_ms", millis(seen.slowest_after))
            .note("limit_503_ms", refusal_ms)
            .note("stopped_after_ms", millis(seen.ended))
            .note("limit_stop_ms", stop_ms))
    })
}

/// Starts that many turns, each in a group of its own, and returns when the agent is asked for all of them.
async fn begin(sandbox: &Sandbox, turns: usize) -> Result<Vec<Conversation>, Fault> {
    let wait = Wait { placeholders: vec![PLACEHOLDER.to_owned()], first: Duration::from_millis(10), ..Wait::default() };
    let mut posts = JoinSet::new();
    for n in 0..turns {
        let chat = sandbox.teams().user(USER_ONE).group(&format!("group {n}"), &[USER_TWO]).waiting(wait.clone());
        posts.spawn(async move { (chat.say("Hello there").await.posted.status, chat) });
    }
    let posted = posts.join_all().await;
    if posted.iter().any(|(status, _)| *status != 200) {
        return Err("a message was not taken".into());
    }
    let start = Instant::now();
    while sandbox.requests(RESPONSES) < turns as u64 {
        if start.elapsed() > Duration::from_secs(60) {
            return Err("the turns have not begun".into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(posted.into_iter().map(|(_, chat)| chat).collect())
}

/// How many messages the bot has sent into a chat, and how many of them are the answer.
fn answers(chat: &Conversation) -> (usize, usize) {
    let entries = chat.transcript();
    let messages = entries.iter().filter(|entry| entry.author == Author::Bot && entry.kind() == "message");
    messages
        .fold((0, 0), |(all, good), entry| (all + 1, good + usize::from(entry.text().contains("sandbox help desk"))))
}

/// What a process does that was told to stop.
struct Seen {
    code: Option<i32>,
    count: u64,
    slowest: Duration,
    /// When the slowest refusal was asked for.
    slowest_after: Duration,
    ended: Duration,
}

/// Knocks until the process is over.
fn refusals(mut child: Option<&mut Child>, address: SocketAddr, told: Instant) -> Result<Seen, Fault> {
    let (mut count, mut slowest, mut slowest_after) = (0, Duration::ZERO, Duration::ZERO);
    loop {
        let code = match &mut child {
            None => Some(None),
            Some(child) => child.try_wait()?.map(|status| status.code()),
        };
        if let Some(code) = code {
            return Ok(Seen { code, count, slowest, slowest_after, ended: told.elapsed() });
        }
        if told.elapsed() > Duration::from_secs(60) {
            return Err("the process did not end".into());
        }
        let asked = Instant::now();
        if knock(address).is_ok_and(|status| status == 503) {
            count += 1;
            if asked.elapsed() > slowest {
                (slowest, slowest_after) = (asked.elapsed(), asked - told);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The status of a request over a connection of its own.
fn knock(address: SocketAddr) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"POST /api/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")?;
    // "HTTP/1.1 503"
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    let status = str::from_utf8(&line).ok().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
