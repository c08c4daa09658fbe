//! A short run of every target, and proof that the runner sees what must never happen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use lab::{
    Fault, Options, Random,
    fuzz::{self, Harness, Seen, TARGETS, Target, mutate},
};

#[test]
fn every_target_stands_a_short_run() {
    let outcome = fuzz::run(&Options::short()).unwrap();
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("fuzz"));
    let targets = outcome.detail("targets").unwrap();
    for target in TARGETS {
        let report = &targets[target.name];
        assert!(report["accepted"].as_u64().unwrap() > 0, "{}: nothing good gets through: {report}", target.name);
        assert!(report["outcomes"].as_u64().unwrap() > 3, "{}: no variety: {report}", target.name);
    }
}

/// A parser that does `what` when the input holds a `!`.
struct Bad {
    what: fn() -> Result<Seen, String>,
}

impl Harness for Bad {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"abc".to_vec()]
    }

    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = base.to_vec();
        mutate::bytes(random, &mut input, other);
        if random.once_in(20) {
            input.push(b'!');
        }
        input
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        if input.contains(&b'!') { (self.what)() } else { Ok(Seen::refused("fine")) }
    }
}

fn bad(what: fn() -> Result<Seen, String>) -> Result<Box<dyn Harness>, Fault> {
    Ok(Box::new(Bad { what }))
}

/// What the runner says of a parser.
fn findings(make: fn(&mut Random) -> Result<Box<dyn Harness>, Fault>) -> (bool, String) {
    let options = Options::short().with("iters", "200");
    let outcome = fuzz::check(&options, &[Target { name: "bad", about: "", make }]).unwrap();
    (outcome.passes(), outcome.line("fuzz").to_string())
}

#[test]
fn panics_are_found() {
    let (passes, line) = findings(|_| bad(|| panic!("here")));
    assert!(!passes && line.contains("panic at") && line.contains("fuzzing.rs"), "{line}");
}

/// The clients catch panics of their own tasks; the runner still learns of them.
#[test]
fn panics_that_somebody_caught_are_found() {
    let (passes, line) = findings(|_| {
        bad(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { drop(tokio::spawn(async { panic!("in a task") }).await) });
            Ok(Seen::refused("an error like any other"))
        })
    });
    assert!(!passes && line.contains("panic at"), "{line}");
}

#[test]
fn slow_inputs_are_found() {
    let (passes, line) = findings(|_| {
        bad(|| {
            let start = lab::world::thread_cpu();
            while lab::world::thread_cpu() - start < std::time::Duration::from_millis(110) {
                std::hint::spin_loop();
            }
            Ok(Seen::refused("slow"))
        })
    });
    assert!(!passes && line.contains("took"), "{line}");
}

#[test]
fn broken_promises_are_found() {
    let (passes, line) = findings(|_| bad(|| Err("false accept".into())));
    assert!(!passes && line.contains("false accept: "), "{line}");
}

#[test]
fn the_same_seed_tries_the_same_inputs() {
    let run = || findings(|_| bad(|| Err("x".into()))).1;
    let shown = |line: String| line.split("\"examples\"").nth(1).unwrap().split(']').next().unwrap().to_owned();
    assert_eq!(shown(run()), shown(run()));
}
