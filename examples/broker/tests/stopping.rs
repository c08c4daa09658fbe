//! SIGTERM under load: `lab sigterm` in its short form.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use lab::{
    Options,
    processes::sigterm::{self, Signal},
};
use support::{program, redis};

#[test]
fn a_process_that_is_told_to_stop_loses_nothing() {
    if redis().is_none() {
        return;
    }
    let outcome = sigterm::check(&Options::short(), &program(), Signal::Term).unwrap();
    println!("{}", outcome.line("sigterm"));
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("sigterm"));
}

/// A process that is just gone turns nobody away, and what it had begun is not answered at once.
#[test]
fn a_process_that_is_just_gone_is_seen() {
    if redis().is_none() {
        return;
    }
    let options = Options::short().with("turns", "6").with("rest", "0");
    let outcome = sigterm::check(&options, &program(), Signal::Kill).unwrap();
    for failed in ["no turn is lost", "the process ends with code 0", "new requests are turned away"] {
        assert!(outcome.failed().contains(&failed.to_owned()), "{failed}: {}", outcome.line("sigterm"));
    }
}
