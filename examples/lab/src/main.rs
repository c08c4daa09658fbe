//! `lab GOAL [options]`: measures one claim and prints one JSON line; without a goal, the list of them.

use std::{process::ExitCode, time::Instant};

use lab::{Options, goals};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        list();
        return ExitCode::SUCCESS;
    };
    let Some(goal) = goals::ALL.iter().find(|goal| goal.name == name) else {
        eprintln!("there is no goal {name}; lab without arguments lists them");
        return ExitCode::from(2);
    };
    let options = match Options::parse(arguments, goal.settings) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(2);
        }
    };
    eprintln!("{}: {}", goal.name, goal.claim);
    let start = Instant::now();
    let outcome = match (goal.run)(&options) {
        Ok(outcome) => outcome,
        Err(fault) => {
            eprintln!("{}: the measurement itself failed: {fault}", goal.name);
            return ExitCode::from(2);
        }
    };
    let outcome = outcome
        .note("id", goal.id)
        .note("form", if options.short { "short" } else { "long" })
        .note("seed", options.seed)
        .note("seconds", (start.elapsed().as_secs_f64() * 100.0).round() / 100.0);
    println!("{}", outcome.line(goal.name));
    for failed in outcome.failed() {
        eprintln!("{}: does not hold: {failed}", goal.name);
    }
    if outcome.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    println!("lab GOAL [--short] [--seed N] [options]   one JSON line on stdout, exit 1 when the goal is not met\n");
    for goal in goals::ALL {
        println!("{:<15} {:<5} {:>5}  {}", goal.name, goal.id, goal.takes, goal.claim);
        let settings: Vec<String> = goal.settings.iter().map(lab::Setting::usage).collect();
        if !settings.is_empty() {
            println!("{:<29}{}", "", settings.join(" "));
        }
    }
}
