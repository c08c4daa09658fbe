//! Recorded requests, sent again: what came back, a line each.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use serde_json::Value;

use super::Hops;
use crate::channel::{Teams, Wait};

/// What came of a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Requests that got an HTTP answer.
    pub answered: usize,
    /// Lines that are no request, and requests that got no HTTP answer.
    pub failed: usize,
}

/// Sends every line of a recording (`{"headers":{…},"body":{…}}`) to the bot. Only `Authorization` and `serviceUrl` are
/// replaced, so that answers stay on this machine. Answers go to stdout, a paragraph each; the rest goes to stderr.
///
/// # Errors
///
/// When the terminal cannot be written.
pub async fn replay(teams: &Teams, hops: &Hops, recording: &str, placeholder: &str) -> io::Result<Replayed> {
    let mut outcome = Replayed::default();
    let lines = recording.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        hops.restart();
        let number = number + 1;
        let (kind, name) = describe(line);
        // Only messages are answered in the chat; for the rest the HTTP answer is all there is.
        let wait = match kind.as_str() {
            "message" => Wait { placeholders: vec![placeholder.to_owned()], ..Wait::default() },
            _ => Wait { first: Duration::from_millis(50), ..Wait::default() },
        };
        let Some(exchange) = teams.replay(line, &wait).await else {
            eprintln!("{number}: not a recorded request; expected {{\"headers\":{{…}},\"body\":{{…}}}}");
            outcome.failed += 1;
            continue;
        };
        match exchange.posted.failure {
            Some(failure) => {
                eprintln!("{number}: {kind}{name}: no answer ({failure:?})");
                outcome.failed += 1;
            }
            None => {
                eprintln!("{number}: {kind}{name}: {}", exchange.posted.status);
                outcome.answered += 1;
            }
        }
        let text = exchange.text();
        if !text.is_empty() {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}\n")?;
            out.flush()?;
        }
    }
    Ok(outcome)
}

/// Type and name of the recorded activity, for the line that reports it.
fn describe(line: &str) -> (String, String) {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    let member = |name: &str| value.pointer(&format!("/body/{name}")).and_then(Value::as_str);
    let name = member("name").map_or_else(String::new, |name| format!(" {name}"));
    (member("type").unwrap_or("?").to_owned(), name)
}
