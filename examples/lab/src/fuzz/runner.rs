//! Runs one target: mutate, try, watch.

use std::{
    cell::RefCell,
    collections::HashSet,
    panic::{self, AssertUnwindSafe, catch_unwind},
    process,
    sync::{
        Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{HANG, Target, lock, mutate};
use crate::{Fault, Random, world};

/// What a target does with an input.
pub trait Harness {
    /// Inputs to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Another input, made of two. Inputs are JSON unless a target says otherwise.
    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = base.to_vec();
        match random.once_in(4) {
            true => mutate::bytes(random, &mut input, other),
            false => mutate::json(random, &mut input, other),
        }
        input
    }

    /// Gives the input to the code under test.
    ///
    /// # Errors
    ///
    /// What must never happen and did.
    fn run(&mut self, input: &[u8]) -> Result<Seen, String>;
}

/// How an input ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// It was taken for good.
    pub accepted: bool,
    /// What kind of end that was; a kind not seen before keeps the input.
    pub class: String,
}

impl Seen {
    /// Taken for good.
    pub fn accepted(class: impl Into<String>) -> Self {
        Self { accepted: true, class: class.into() }
    }

    /// Refused, for this reason.
    pub fn refused(class: impl Into<String>) -> Self {
        Self { accepted: false, class: class.into() }
    }
}

/// What became of a target.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Inputs tried.
    pub iters: usize,
    /// Panics, false accepts, broken promises.
    pub findings: usize,
    /// Inputs that took longer than [`HANG`].
    pub hangs: usize,
    /// The most memory that the process had.
    pub peak: usize,
    accepted: usize,
    classes: usize,
    slowest: Duration,
    seconds: f64,
    examples: Vec<String>,
}

impl Report {
    pub(super) fn line(&self) -> Value {
        let mut line = json!({
            "inputs": self.iters, "accepted": self.accepted, "outcomes": self.classes, "findings": self.findings,
            "hangs": self.hangs, "slowest_ms": world::millis(self.slowest), "seconds": (self.seconds * 10.0).round() / 10.0,
        });
        if !self.examples.is_empty() {
            line["examples"] = self.examples.clone().into();
        }
        line
    }

    /// The input in hexadecimal goes to stderr, whole, and shortened into the report.
    fn note(&mut self, target: &str, what: &str, input: &[u8]) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("fuzz {target}: {what}: input {hex}");
        if self.examples.len() < 5 {
            let short: String = hex.chars().take(200).collect();
            self.examples.push(format!("{what}: {short}"));
        }
    }
}

/// Inputs that ended in something new are kept up to this many.
const CORPUS: usize = 512;
/// Inputs do not grow beyond this.
const LARGEST: usize = 96 << 10;
/// An input under way for longer than this never ends; the process does.
const STUCK: Duration = Duration::from_secs(20);

/// Runs a target on this many inputs.
///
/// # Errors
///
/// When the target cannot be made ready.
pub fn run_target(target: &Target, iters: usize, seed: u64) -> Result<Report, Fault> {
    catch_panics_of_threads();
    let name = target.name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random::new(seed).fork(name);
    let mut harness = (target.make)(&mut random)?;
    let watched = Watched::default();
    thread::scope(|scope| {
        scope.spawn(|| watched.watch(target.name));
        // However this ends, the watch ends too.
        let _end = End(&watched);
        Ok(run(target.name, &mut *harness, iters, &mut random, &watched))
    })
}

fn run(name: &str, harness: &mut dyn Harness, iters: usize, random: &mut Random, watched: &Watched) -> Report {
    let start = Instant::now();
    let mut report = Report::default();
    let mut corpus = harness.seeds();
    let seeds = corpus.len();
    let mut classes = HashSet::new();
    for at in 0..iters {
        let input = match corpus.get(at) {
            // The seeds as they are come first.
            Some(seed) if at < seeds => seed.clone(),
            _ => next(harness, random, &corpus, seeds),
        };
        watched.begin(&input);
        let before = world::thread_cpu();
        let ended = attempt(harness, &input);
        let took = world::thread_cpu().saturating_sub(before);
        watched.end();
        report.slowest = report.slowest.max(took);
        report.iters += 1;
        if took > HANG {
            report.hangs += 1;
            report.note(name, &format!("took {} ms", took.as_millis()), &input);
        }
        match ended {
            Ok(seen) => {
                report.accepted += usize::from(seen.accepted);
                if classes.len() < CORPUS && classes.insert(seen) && at >= seeds {
                    corpus.push(input);
                }
            }
            Err(what) => {
                report.findings += 1;
                report.note(name, &what, &input);
            }
        }
        if at % 4096 == 0 {
            report.peak = report.peak.max(world::resident());
        }
    }
    report.peak = report.peak.max(world::resident());
    report.classes = classes.len();
    report.seconds = start.elapsed().as_secs_f64();
    report
}

/// A mutation of a seed or of anything that was kept: most of what is kept was refused, and is far from being taken.
fn next(harness: &mut dyn Harness, random: &mut Random, corpus: &[Vec<u8>], seeds: usize) -> Vec<u8> {
    let from = if random.once_in(2) { corpus.get(..seeds).unwrap_or(corpus) } else { corpus };
    let mut input = random.pick(from).cloned().unwrap_or_default();
    for _ in 0..=random.below(3) {
        let other = random.pick(corpus).map_or(&[][..], Vec::as_slice);
        input = harness.mutate(random, &input, other);
        input.truncate(LARGEST);
    }
    input
}

/// A panic, also one in a task that somebody else caught, is a finding.
fn attempt(harness: &mut dyn Harness, input: &[u8]) -> Result<Seen, String> {
    PANIC.with(|panic| *panic.borrow_mut() = Some(None));
    let ended = catch_unwind(AssertUnwindSafe(|| harness.run(input)));
    let caught = PANIC.with(|panic| panic.borrow_mut().take()).flatten();
    match (caught, ended) {
        (Some(place), _) => Err(format!("panic at {place}")),
        (None, Ok(ended)) => ended,
        (None, Err(_)) => Err("panic".into()),
    }
}

thread_local! {
    /// `Some` while an input is tried on this thread; inside, where it panicked.
    static PANIC: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Panics on threads that try inputs are noted silently; all others are reported as ever.
fn catch_panics_of_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            let noted = PANIC.with(|panic| match &mut *panic.borrow_mut() {
                Some(noted) => {
                    noted.get_or_insert(place);
                    true
                }
                None => false,
            });
            if !noted {
                before(info);
            }
        }));
    });
}

/// Ends the process when an input never ends.
#[derive(Default)]
struct Watched {
    input: Mutex<Option<(Instant, Vec<u8>)>>,
    over: AtomicBool,
}

impl Watched {
    fn begin(&self, input: &[u8]) {
        *lock(&self.input) = Some((Instant::now(), input.to_vec()));
    }

    fn end(&self) {
        *lock(&self.input) = None;
    }

    fn watch(&self, name: &str) {
        while !self.over.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(50));
            let stuck =
                lock(&self.input).as_ref().filter(|(at, _)| at.elapsed() > STUCK).map(|(_, input)| input.clone());
            if let Some(input) = stuck {
                Report::default().note(name, "never ends", &input);
                println!(
                    r#"{{"goal":"fuzz","value":1,"limit":0,"pass":false,"failed":["an input of {name} never ends"]}}"#
                );
                process::exit(1);
            }
        }
    }
}

struct End<'a>(&'a Watched);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}
