//! Hostile input for whatever parses bytes from outside.
//!
//! One row of [`TARGETS`] for each parser: seeds, a mutator that knows the form of its input, and a body that goes through
//! public entry points and says what must never happen. There is no coverage feedback on stable; an input that ends in an
//! outcome not seen before joins the corpus instead, so that mutations pile up where something new happens.
//!
//! To add a target, implement [`Harness`] and add a row.
#![allow(clippy::indexing_slicing)] // into JSON values, and where the length is known

mod corpus;
pub mod mutate;
mod runner;
mod targets;

use std::{sync::Mutex, thread, time::Duration};

pub use runner::{Harness, Report, Seen, run_target};
use serde_json::{Map, Value};
pub use targets::TARGETS;

use crate::{Fault, Options, Outcome, Random, Setting, world};

/// Which target; `all` for every one.
pub const TARGET: Setting = Setting::new("target", "all", "all");
/// How many inputs a target.
pub const ITERS: Setting = Setting::new("iters", "2000000", "1500");
/// How many targets at the same time; 0 for as many as there are processors.
pub const THREADS: Setting = Setting::new("threads", "0", "0");

/// No input may take longer.
pub const HANG: Duration = Duration::from_millis(100);
/// The memory of the process may grow by no more.
const GROWTH: usize = 64 << 20;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As on the command line.
    pub name: &'static str,
    /// What is judged.
    pub about: &'static str,
    /// Makes it ready. Called on the thread that runs it.
    pub make: fn(&mut Random) -> Result<Box<dyn Harness>, Fault>,
}

/// Runs the targets that were asked for.
///
/// # Errors
///
/// When there is no such target, or one cannot be made ready.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, TARGETS)
}

/// Runs targets of this table.
///
/// # Errors
///
/// As [`run`].
pub fn check(options: &Options, table: &[Target]) -> Result<Outcome, Fault> {
    let wanted = options.text(&TARGET);
    let mut targets: Vec<Target> =
        table.iter().filter(|target| wanted == "all" || target.name == wanted).copied().collect();
    if targets.is_empty() {
        let names: Vec<&str> = table.iter().map(|target| target.name).collect();
        return Err(format!("there is no target {wanted}; there are: all {}", names.join(" ")).into());
    }
    let iters = options.number(&ITERS)?;
    let threads = match options.number(&THREADS)? {
        0 => thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let start = world::resident();
    targets.reverse();
    let (queue, reports) = (Mutex::new(targets), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    // A function of its own, so that the lock is free while the target runs.
                    let next = || lock(&queue).pop();
                    while let Some(target) = next() {
                        let report = run_target(&target, iters, options.seed);
                        lock(&reports).push((target.name, report));
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked"))
    })?;
    let growth = lock(&reports).iter().filter_map(|(_, report)| report.as_ref().ok()).map(|report| report.peak).max();
    let growth = growth.unwrap_or(0).saturating_sub(start);
    let reports = reports.into_inner().unwrap_or_default();
    summary(reports, growth)
}

fn summary(reports: Vec<(&'static str, Result<Report, Fault>)>, growth: usize) -> Result<Outcome, Fault> {
    let (mut total, mut findings, mut hangs, mut details) = (0, 0, 0, Map::new());
    for (name, report) in reports {
        let report = report?;
        total += report.iters;
        findings += report.findings;
        hangs += report.hangs;
        details.insert(name.into(), report.line());
    }
    Ok(Outcome::new(findings + hangs, 0)
        .require("no panic, no false accept, no broken promise", findings == 0)
        .require("no input takes longer than 100 ms", hangs == 0)
        .require("memory does not grow by more than 64 MiB", growth <= GROWTH)
        .note("inputs", total)
        .note("findings", findings)
        .note("hangs", hangs)
        .note("growth_mib", growth >> 20)
        .note("targets", Value::Object(details)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
