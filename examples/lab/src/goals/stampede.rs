//! G1: many cold callers of one key.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, MakeSource, Sts, WorldClock, millis, p99},
};

/// How many callers.
pub const CALLERS: Setting = Setting::new("callers", "10000", "500");

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
        let sts = Arc::new(Sts::new(Behaviour::Held, 2000, Random::new(options.seed)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()))?;
        let request = world::request("https://graph.microsoft.com/.default")?;
        let started = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (source, request, started) = (Arc::clone(&source), request.clone(), Arc::clone(&started));
                tokio::spawn(async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    let token = source.get_token(&request).await;
                    (token, Instant::now())
                })
            })
            .collect();
        // The answer comes only when everyone is waiting for it.
        while started.load(Ordering::SeqCst) < callers || sts.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked_before_answer = sts.requests();
        sts.open();
        let (mut tokens, mut done, mut errors) = (HashSet::new(), Vec::new(), 0);
        for task in tasks {
            match task.await? {
                (Ok(token), at) => {
                    tokens.insert(token.expose().to_owned());
                    done.push(at);
                }
                (Err(_), _) => errors += 1,
            }
        }
        let answered = sts.answered().unwrap_or_else(Instant::now);
        let mut added: Vec<Duration> = done.iter().map(|at| at.saturating_duration_since(answered)).collect();
        Ok(Outcome::new(sts.requests(), 1)
            .require("exactly one token request", sts.requests() == 1)
            .require("everyone gets the token", errors == 0 && done.len() == callers)
            .require("everyone gets the same token", tokens.len() == 1)
            .note("callers", callers)
            .note("waiting_when_answered", callers)
            .note("requests_before_answer", asked_before_answer)
            .note("errors", errors)
            .note("added_wait_p99_ms", millis(p99(&mut added))))
    })
}
