//! Parsing and writing of Teams activities.
//!
//! `PERF_MODE=parse` and `serialize` are the contract of the harness. `PERF_MODE=ratio` measures both against
//! `serde_json::Value` in one run, round by round, prints the ratios and fails when one is above its goal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a driver stops at the first surprise

use std::hint::black_box;

use botframework_activity::Activity;
use lab::{Watch, fixture, number, variable};
use serde_json::Value;

fn main() {
    let document = variable("PERF_DOC").unwrap_or_else(|| "message".to_owned());
    let json = fixture(&format!("activity/{document}.json"));
    let (n, warm) = (number("PERF_N", 10_000), number("PERF_WARM", 100));
    let activity = Activity::from_json(&json).unwrap();
    if variable("PERF_MODE").as_deref() == Some("ratio") {
        return ratio(&document, &json, &activity, n);
    }
    let serialize = variable("PERF_MODE").as_deref() == Some("serialize");
    let run = |times: usize| {
        for _ in 0..times {
            if serialize {
                black_box(black_box(&activity).to_json().unwrap());
            } else {
                black_box(Activity::from_json(black_box(&json)).unwrap());
            }
        }
    };
    run(warm);
    let watch = Watch::start();
    run(n);
    let mut result = watch.stop(n);
    let before: Value = serde_json::from_slice(&json).unwrap();
    let after: Value = serde_json::from_slice(&activity.to_json().unwrap()).unwrap();
    let keys = before.as_object().unwrap().iter();
    let lost: Vec<Value> = keys
        .filter(|(key, value)| after.get(key.as_str()) != Some(*value))
        .map(|(key, _)| key.clone().into())
        .collect();
    result.insert("lost_top_level".into(), lost.into());
    result.insert("bytes".into(), json.len().into());
    println!("{}", Value::Object(result));
}

/// The goals: parse and serialize, as parts of what a value tree costs.
fn goals(document: &str) -> (f64, f64) {
    match document {
        "message" => (0.5, 1.0),
        "attachments" => (0.15, 0.25),
        "invoke" => (0.25, 1.0),
        _ => (0.3, 1.0),
    }
}

fn ratio(document: &str, json: &[u8], activity: &Activity, n: usize) {
    const ROUNDS: usize = 9;
    let tree: Value = serde_json::from_slice(json).unwrap();
    let mut ratios: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let parse = cpu(n, || drop(black_box(Activity::from_json(black_box(json)).unwrap())))
            / cpu(n, || drop(black_box(serde_json::from_slice::<Value>(black_box(json)).unwrap())));
        let write = cpu(n, || drop(black_box(black_box(activity).to_json().unwrap())))
            / cpu(n, || drop(black_box(serde_json::to_vec(black_box(&tree)).unwrap())));
        // The first round warms up.
        if round > 0 {
            ratios[0].push(parse);
            ratios[1].push(write);
        }
    }
    let [parse, write] = ratios.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[ROUNDS / 2]
    });
    let after: Value = serde_json::from_slice(&activity.to_json().unwrap()).unwrap();
    let (parse_goal, write_goal) = goals(document);
    let lossless = tree == after;
    let good = parse <= parse_goal && write <= write_goal && lossless;
    println!(
        "{}",
        serde_json::json!({
            "document": document, "bytes": json.len(), "parse": parse, "parse_goal": parse_goal, "serialize": write,
            "serialize_goal": write_goal, "lossless": lossless, "good": good,
        })
    );
    if !good {
        std::process::exit(1);
    }
}

/// CPU nanoseconds of `n` calls.
fn cpu(n: usize, mut call: impl FnMut()) -> f64 {
    let watch = Watch::start();
    (0..n).for_each(|_| call());
    watch.stop(n).get("cpu_ns").and_then(Value::as_f64).unwrap_or(f64::NAN)
}
