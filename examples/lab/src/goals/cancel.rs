//! G15: callers who go away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use entra_auth::TokenCredential;
use tokio::{runtime::Handle, time::Instant};

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, MakeSource, Sts, WorldClock, millis},
};

/// How many callers.
pub const CALLERS: Setting = Setting::new("callers", "10000", "500");

/// How long callers keep going away, in milliseconds; the answer comes after that.
const LEAVING: u64 = 200;

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::client)
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeSource) -> Result<Outcome, Fault> {
    let callers = options.number(&CALLERS)?;
    world::real()?.block_on(async {
        let random = Random::new(options.seed);
        let some = leave(callers, 10, &random, make).await?;
        let all = leave(callers, usize::MAX, &random.fork(1), make).await?;
        Ok(Outcome::new(some.requests, 1)
            .require("one request although nine of ten callers go away", some.requests == 1)
            .require("who stays gets the token", some.stayed > 0 && some.served == some.stayed)
            .require("no task is left", some.left_over == 0 && all.left_over == 0)
            .require("one request although all callers go away", all.requests == 1)
            .require("what nobody waited for is there for the next caller", all.next_is_a_hit)
            .note("callers", callers)
            .note("dropped", callers - some.stayed)
            .note("served", some.served)
            .note("left_over_tasks", some.left_over + all.left_over)
            .note("requests_when_all_leave", all.requests)
            .note("tasks_gone_after_ms", millis(some.settled.max(all.settled))))
    })
}

struct Left {
    requests: u64,
    stayed: usize,
    served: usize,
    left_over: usize,
    settled: Duration,
    next_is_a_hit: bool,
}

/// All callers but every `stays`-th go away at random times before the answer comes.
async fn leave(callers: usize, stays: usize, random: &Random, make: MakeSource) -> Result<Left, Fault> {
    let mut random = random.clone();
    let before = Handle::current().metrics().num_alive_tasks();
    let sts = Arc::new(Sts::new(Behaviour::Held, 200, random.fork(2)));
    let source = make(sts.clone(), Arc::new(WorldClock::new()))?;
    let request = world::request("https://graph.microsoft.com/.default")?;
    let started = Arc::new(AtomicUsize::new(0));
    // The first caller, whose request it is, goes away too.
    let tasks: Vec<_> = (0..callers)
        .map(|number| {
            let (source, request, started) = (Arc::clone(&source), request.clone(), Arc::clone(&started));
            let task = tokio::spawn(async move {
                started.fetch_add(1, Ordering::SeqCst);
                source.get_token(&request).await
            });
            let stay = stays != usize::MAX && number % stays == stays - 1;
            (task, (!stay).then(|| Duration::from_millis(random.below(LEAVING))))
        })
        .collect();
    while started.load(Ordering::SeqCst) < callers || sts.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut leaving: Vec<_> = tasks.iter().filter_map(|(task, at)| at.map(|at| (at, task.abort_handle()))).collect();
    leaving.sort_by_key(|(at, _)| *at);
    let start = Instant::now();
    for (at, task) in leaving {
        tokio::time::sleep_until(start + at).await;
        task.abort();
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    sts.open();
    let (mut stayed, mut served) = (0, 0);
    for (task, leaves) in tasks {
        let answer = task.await;
        if leaves.is_none() {
            stayed += 1;
            served += usize::from(matches!(answer, Ok(Ok(_))));
        }
    }
    let end = Instant::now();
    let alive = || Handle::current().metrics().num_alive_tasks().saturating_sub(before);
    while alive() > 0 && end.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (left_over, settled) = (alive(), end.elapsed());
    let requests = sts.requests();
    let next = source.get_token(&request).await.is_ok();
    let next_is_a_hit = next && sts.requests() == requests;
    Ok(Left { requests, stayed, served, left_over, settled, next_is_a_hit })
}
