//! Every goal in its short form, and proof that every checker sees what it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod mutants;

use lab::{
    Options, Outcome,
    goals::{
        blocked, cancel, day, dead_sts, error_stampede, isolation, key_refresh, kid_flood, refresh_behind, stampede,
    },
    world,
};
use serde_json::Value;

fn short() -> Options {
    Options::short()
}

#[track_caller]
fn passes(outcome: &Outcome) {
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("goal"));
}

/// The outcome fails, for this reason among others.
#[track_caller]
fn fails(outcome: &Outcome, why: &str) {
    assert!(outcome.failed().iter().any(|failed| failed.contains(why)), "not caught: {}", outcome.line("goal"));
}

#[test]
fn stampede_passes_and_sees_callers_who_fetch_for_themselves() {
    passes(&stampede::run(&short()).unwrap());
    let outcome = stampede::check(&short(), mutants::each_for_itself).unwrap();
    fails(&outcome, "exactly one token request");
    assert_eq!(*outcome.value(), Value::from(500));
}

#[test]
fn error_stampede_passes_and_sees_callers_who_insist() {
    passes(&error_stampede::run(&short()).unwrap());
    let outcome = error_stampede::check(&short(), mutants::each_for_itself).unwrap();
    fails(&outcome, "in the first 5 s");
    fails(&outcome, "in 60 s");
}

#[test]
fn kid_flood_passes_and_sees_floods_and_open_doors() {
    passes(&kid_flood::run(&short()).unwrap());
    fails(&kid_flood::check(&short(), mutants::asks_always).unwrap(), "at most 12 key requests");
    fails(&kid_flood::check(&short(), mutants::lets_everyone_in).unwrap(), "no forged token");
}

#[test]
fn cancel_passes_and_sees_restarts_and_leaks() {
    passes(&cancel::run(&short()).unwrap());
    fails(&cancel::check(&short(), mutants::locked).unwrap(), "one request although nine of ten");
    fails(&cancel::check(&short().with("callers", "20"), mutants::leaks).unwrap(), "no task is left");
}

#[test]
fn isolation_passes_and_sees_a_key_without_the_tenant_and_tokens_after_sign_out() {
    passes(&isolation::run(&short()).unwrap());
    fails(&isolation::check(&short(), mutants::overlooks_tenant).unwrap(), "another owner");
    fails(&isolation::check(&short(), mutants::remembers).unwrap(), "before their sign-out");
}

#[test]
fn dead_sts_passes_and_sees_turns_that_wait() {
    passes(&dead_sts::run(&short()).unwrap());
    let outcome = dead_sts::check(&short(), mutants::users_refresh_in_line).unwrap();
    fails(&outcome, "no turn waits");
    fails(&outcome, "no turn fails");
}

#[test]
fn key_refresh_passes_and_sees_validations_that_wait() {
    passes(&key_refresh::run(&short()).unwrap());
    fails(&key_refresh::check(&short(), mutants::keys_refresh_in_line).unwrap(), "no validation waits");
    fails(&key_refresh::check(&short(), mutants::asks_once).unwrap(), "a refresh was under way");
}

#[test]
fn blocked_passes_and_sees_a_lock_around_fetches() {
    passes(&blocked::run(&short()).unwrap());
    fails(&blocked::check(&short().with("keys", "3"), mutants::locked).unwrap(), "no key waits");
}

#[test]
fn refresh_behind_passes_and_sees_callers_who_wait_or_all_refresh() {
    passes(&refresh_behind::run(&short()).unwrap());
    fails(&refresh_behind::check(&short(), mutants::refreshes_in_line).unwrap(), "nobody waits");
    fails(&refresh_behind::check(&short(), mutants::refreshes_for_everyone).unwrap(), "exactly one refresh");
}

#[test]
fn a_day_passes() {
    passes(&day::run(&short()).unwrap());
}

#[test]
fn a_day_sees_keys_that_stay_outages_and_tokens_that_have_ended() {
    let options = short().with("step", "300");
    let outcome = day::check(&options, mutants::lets_none_go, mutants::remembers, mutants::each_for_itself).unwrap();
    fails(&outcome, "no false accept");
    fails(&outcome, "no token error during outages");
    fails(&outcome, "that has really ended");
    let outcome = day::check(&options, mutants::asks_once, world::user_client, world::client).unwrap();
    fails(&outcome, "no false reject");
}
