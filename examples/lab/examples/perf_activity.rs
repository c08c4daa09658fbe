//! Parsing and writing of Teams activities.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a driver stops at the first surprise

use std::hint::black_box;

use botframework_activity::Activity;
use lab::{Watch, fixture, number, variable};
use serde_json::Value;

fn main() {
    let document = variable("PERF_DOC").unwrap_or_else(|| "message".to_owned());
    let json = fixture(&format!("activity/{document}.json"));
    let (n, warm) = (number("PERF_N", 10_000), number("PERF_WARM", 100));
    let activity = Activity::from_json(&json).unwrap();
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
