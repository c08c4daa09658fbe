//! The family under load, faults and hostile input.
//!
//! - [`goals`]: one claim each, measured through the public entry points of the crates, against a limit.
//! - [`inbound`]: goals of the way in and of where tokens go.
//! - [`processes`]: goals of whole programs.
//! - [`turns`]: goals of the turn queue.
//! - [`fuzz`]: hostile input for whatever parses bytes from outside.
//! - The rest is what the performance drivers in `examples/` share: their contract with the harness. A driver reads its
//!   inputs from the environment (`PERF_FIXTURES`, `PERF_N`, `PERF_WARM`, `PERF_MODE`, …) and prints one JSON object as
//!   its last line: operations, CPU and wall time in nanoseconds, and what is particular to it.

pub mod fuzz;
pub mod goals;
pub mod inbound;
mod options;
mod outcome;
pub mod processes;
mod random;
pub mod turns;
pub mod world;

pub use options::{Options, Setting};
pub use outcome::Outcome;
pub use random::Random;

/// Whatever went wrong outside of what is measured.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

use std::{fs, path::PathBuf, time::Instant};

/// A variable of the contract.
#[must_use]
#[allow(clippy::disallowed_methods)] // the contract of the harness is the environment
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A number of the contract, or its default.
#[must_use]
pub fn number(name: &str, default: usize) -> usize {
    variable(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A file of the fixtures.
///
/// # Panics
///
/// When `PERF_FIXTURES` is not set or holds no such file: run the harness's `setup.py` first.
#[must_use]
#[allow(clippy::expect_used)]
pub fn fixture(path: &str) -> Vec<u8> {
    let folder = variable("PERF_FIXTURES").expect("PERF_FIXTURES names the folder of fixtures; run setup.py first");
    fs::read(PathBuf::from(folder).join(path)).expect("a fixture of that name")
}

/// A stopwatch for wall time and for the CPU time of the whole process.
#[derive(Debug)]
pub struct Watch {
    wall: Instant,
    cpu: u64,
}

impl Watch {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu_ns() }
    }

    /// The members of the contract that every driver prints.
    #[must_use]
    pub fn stop(&self, operations: usize) -> serde_json::Map<String, serde_json::Value> {
        let wall_ns = u64::try_from(self.wall.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cpu_ns = cpu_ns().saturating_sub(self.cpu);
        let mut members = serde_json::Map::new();
        members.insert("n".into(), operations.into());
        members.insert("cpu_ns".into(), cpu_ns.into());
        members.insert("wall_ns".into(), wall_ns.into());
        members
    }
}

/// User and system time of all threads.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
