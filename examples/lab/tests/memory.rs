//! The goal that measures this process's memory has a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod mutants;

use lab::{Options, goals::million_users};

#[test]
fn million_users_passes_and_sees_a_cache_without_bound() {
    let outcome = million_users::run(&Options::short()).unwrap();
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("million-users"));
    let outcome = million_users::check(&Options::short(), mutants::unbounded).unwrap();
    assert!(outcome.failed().iter().any(|failed| failed.contains("memory grows")), "{}", outcome.line("million-users"));
}
