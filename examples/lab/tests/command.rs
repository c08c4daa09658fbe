//! The command line: one JSON line, and an exit status that says whether the goal is met.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::process::{Command, Output};

use lab::goals;
use serde_json::Value;

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

#[test]
fn a_goal_prints_one_json_line() {
    let output = lab(&["blocked", "--short", "--seed", "7", "--keys", "5"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["goal"], &line["id"], &line["pass"]), (&"blocked".into(), &"P2.4".into(), &true.into()));
    assert_eq!((&line["seed"], &line["cached_keys"], &line["form"]), (&7.into(), &5.into(), &"short".into()));
    assert!(line["value"].is_number() && line["limit"].is_number());
    assert!(!output.stderr.is_empty(), "what is measured is explained");
}

#[test]
fn a_goal_that_is_not_met_exits_with_1() {
    // Without a single caller nobody gets a token.
    let output = lab(&["cancel", "--short", "--callers", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["pass"], false);
    assert!(!line["failed"].as_array().unwrap().is_empty());
}

#[test]
fn mistakes_exit_with_2_and_print_no_line() {
    for arguments in [
        &["no-such-goal"][..],
        &["stampede", "--caller", "5"],
        &["stampede", "--callers", "many"],
        &["fuzz", "--target", "no-such-target"],
    ] {
        let output = lab(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_arguments_it_lists_the_goals() {
    let output = lab(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for goal in goals::ALL {
        assert!(text.contains(goal.name) && text.contains(goal.claim) && text.contains(goal.takes), "{}", goal.name);
    }
}
