//! Two brokers on one Redis, killed again and again in the middle of their work: `lab crash` in its short form.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use lab::{
    Options, Outcome,
    processes::{Store, crash},
};
use support::{program, random_options, redis};

fn passes(options: &Options) {
    let Some(redis) = redis() else { return };
    let outcome = crash::check(options, &program(), Store::Shared(&redis)).unwrap();
    println!("{} seed {}", outcome.line("crash"), options.seed);
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("crash"));
}

#[test]
fn no_kill_loses_a_turn_or_answers_twice() {
    passes(&random_options());
}

/// Personal chats whose answers grow for some seconds.
#[test]
fn no_kill_in_the_middle_of_a_stream_does_either() {
    passes(&random_options().with("answers", "stream").with("kills", "3"));
}

/// What is kept in memory dies with the process, and the goal sees it.
#[test]
fn turns_that_are_lost_are_seen() {
    let options = Options::short().with("kills", "4").with("rest", "1");
    let outcome: Outcome = crash::check(&options, &program(), Store::Memory).unwrap();
    assert!(outcome.failed().contains(&"no turn is lost".to_owned()), "{}", outcome.line("crash"));
}
