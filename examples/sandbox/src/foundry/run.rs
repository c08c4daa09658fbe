//! Plays a script into the feed of a response, stamping sequence numbers, until it ends or is stopped.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Foundry;
use super::sse::Frame;
use super::store::Feed;

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// An event that gets the next sequence number.
    Event(Value),
    /// A frame sent as it is.
    Plain(Frame),
    /// An event with a sequence number whose frame is never closed.
    Unclosed(Value),
    /// Sends the frame before once more.
    Repeat,
    /// Leaves out this many sequence numbers.
    Skip(u64),
    /// Time passes.
    Wait(Duration),
    /// Nothing happens any more.
    Hang,
    /// The response has reached its end and is stored; its terminal event may follow.
    Settle(Value),
    /// The connection breaks here.
    Cut,
}

/// Runs `steps` for the response `id` on a task of its own.
pub(crate) fn start(foundry: Arc<Foundry>, id: String, steps: Vec<Step>, feed: Arc<Feed>) {
    tokio::spawn(async move {
        let cut = tokio::select! {
            cut = play(&foundry, &id, steps, &feed) => cut,
            () = feed.stopped() => false,
        };
        cancel(&foundry, &id);
        forget(&foundry, &id);
        feed.push(if cut { Frame::Cut } else { Frame::End });
    });
}

/// Marks a response that has not ended as cancelled and frees its conversation.
pub(crate) fn cancel(foundry: &Foundry, id: &str) {
    let mut store = foundry.store();
    let Some(record) = store.running(id).filter(|record| !is_terminal(record.status())) else {
        return;
    };
    let mut snapshot = record.snapshot.clone();
    if let Some(members) = snapshot.as_object_mut() {
        members.insert("status".to_owned(), "cancelled".into());
        members.insert("output".to_owned(), json!([]));
    }
    store.settle(id, snapshot);
}

/// Drops a streamed response that nobody asked to store; its reader has all of it.
fn forget(foundry: &Foundry, id: &str) {
    let mut store = foundry.store();
    if store.running(id).is_some_and(|record| !record.stored && record.streamed) {
        store.remove_response(id);
    }
}

/// Whether a status is final.
pub(crate) fn is_terminal(status: &str) -> bool {
    !matches!(status, "queued" | "in_progress")
}

async fn play(foundry: &Foundry, id: &str, steps: Vec<Step>, feed: &Feed) -> bool {
    let mut sequence = 0;
    let mut last = None;
    for step in steps {
        match step {
            Step::Event(event) => {
                note_progress(foundry, id, &event);
                let frame = Frame::Event(Arc::new(numbered(event, &mut sequence)));
                last = Some(frame.clone());
                feed.push(frame);
            }
            Step::Unclosed(event) => feed.push(Frame::Unclosed(Arc::new(numbered(event, &mut sequence)))),
            Step::Plain(frame) => feed.push(frame),
            Step::Repeat => {
                if let Some(frame) = &last {
                    feed.push(frame.clone());
                }
            }
            Step::Skip(count) => sequence += count,
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => std::future::pending::<()>().await,
            Step::Settle(snapshot) => foundry.store().settle(id, snapshot),
            Step::Cut => return true,
        }
    }
    false
}

fn numbered(mut event: Value, sequence: &mut u64) -> Value {
    if let Some(members) = event.as_object_mut() {
        members.insert("sequence_number".to_owned(), (*sequence).into());
        *sequence += 1;
    }
    event
}

/// A queued response starts to run when its first event says so.
fn note_progress(foundry: &Foundry, id: &str, event: &Value) {
    if event.get("type").and_then(Value::as_str) != Some("response.in_progress") {
        return;
    }
    if let Some(record) = foundry.store().running(id).filter(|record| record.status() == "queued")
        && let Some(members) = record.snapshot.as_object_mut()
    {
        members.insert("status".to_owned(), "in_progress".into());
    }
}
