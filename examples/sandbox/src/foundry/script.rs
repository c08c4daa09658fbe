//! Writes the events of a turn in the order the service keeps: created, in progress, each item from `added` to
//! `done`, and one end.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::ids;
use super::run::Step;
use super::sse::Frame;
use super::turn::Turn;

/// A script in the making.
pub(crate) struct Script<'a> {
    turn: &'a Turn,
    pub(crate) steps: Vec<Step>,
    pub(crate) output: Vec<Value>,
    /// Pause before each text delta.
    pub(crate) pause: Option<Duration>,
}

impl<'a> Script<'a> {
    /// Begins with `response.created` (`response.queued` in the background) and `response.in_progress`.
    pub(crate) fn open(turn: &'a Turn) -> Self {
        let mut script = Self { turn, steps: Vec::new(), output: Vec::new(), pause: None };
        let (first, status) =
            if turn.request.background { ("response.queued", "queued") } else { ("response.created", "in_progress") };
        script.event(json!({"type": first, "response": turn.snapshot(status, &[])}));
        script.event(json!({"type": "response.in_progress", "response": turn.snapshot("in_progress", &[])}));
        script
    }

    pub(crate) fn event(&mut self, event: Value) {
        self.steps.push(Step::Event(event));
    }

    /// A whole message with one text part and its annotations, in as many deltas as it has words.
    pub(crate) fn message(&mut self, text: &str, annotations: &[Value]) {
        let mut message = self.begin_message("output_text");
        for delta in text.split_inclusive(' ') {
            self.delta(&message, delta);
        }
        for (index, annotation) in annotations.iter().enumerate() {
            self.event(message.at(
                "response.output_text.annotation.added",
                json!({
                    "content_index": 0, "annotation_index": index, "annotation": annotation,
                }),
            ));
        }
        let part = json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": []});
        self.event(message.at("response.output_text.done", json!({"content_index": 0, "text": text, "logprobs": []})));
        message.status = "completed";
        self.end_message(&message, part);
    }

    /// A message that was cut for length or by the filter: its item ends with status `incomplete`.
    pub(crate) fn incomplete_message(&mut self, text: &str) {
        let mut message = self.begin_message("output_text");
        for delta in text.split_inclusive(' ') {
            self.delta(&message, delta);
        }
        self.event(message.at("response.output_text.done", json!({"content_index": 0, "text": text, "logprobs": []})));
        message.status = "incomplete";
        self.end_message(&message, json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}));
    }

    /// The first half of a message, without its end.
    pub(crate) fn half_message(&mut self, text: &str) {
        let message = self.begin_message("output_text");
        let deltas: Vec<&str> = text.split_inclusive(' ').collect();
        for delta in deltas.iter().take(deltas.len().div_ceil(2)) {
            self.delta(&message, delta);
        }
    }

    /// A message whose only delta is one long text.
    pub(crate) fn one_delta(&mut self, text: &str) {
        let mut message = self.begin_message("output_text");
        self.delta(&message, text);
        // The later events repeat the text, as they do for short ones.
        self.event(message.at("response.output_text.done", json!({"content_index": 0, "text": text, "logprobs": []})));
        message.status = "completed";
        self.end_message(&message, json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}));
    }

    /// A message with a refusal part.
    pub(crate) fn refusal(&mut self, text: &str) {
        let mut message = self.begin_message("refusal");
        for delta in text.split_inclusive(' ') {
            self.event(message.at("response.refusal.delta", json!({"content_index": 0, "delta": delta})));
        }
        self.event(message.at("response.refusal.done", json!({"content_index": 0, "refusal": text})));
        message.status = "completed";
        self.end_message(&message, json!({"type": "refusal", "refusal": text}));
    }

    /// A function call with its arguments in two deltas.
    pub(crate) fn function_call(&mut self, call_id: &str, name: &str, arguments: &str) {
        let entry = self.entry("fc");
        let item = |arguments: &str, status: &str| {
            json!({
                "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": status,
            })
        };
        let added = self.stamped(&entry, item("", "in_progress"));
        self.event(entry.item_event("response.output_item.added", &added));
        let middle = arguments.len() / 2;
        for delta in [arguments.get(..middle), arguments.get(middle..)].into_iter().flatten() {
            self.event(entry.at("response.function_call_arguments.delta", json!({"delta": delta})));
        }
        let mut done = json!({"arguments": arguments});
        if self.turn.hosted() {
            done = json!({"arguments": arguments, "name": name});
        }
        self.event(entry.at("response.function_call_arguments.done", done));
        let finished = self.stamped(&entry, item(arguments, "completed"));
        self.event(entry.item_event("response.output_item.done", &finished));
        self.output.push(finished);
    }

    /// A reasoning item with one summary part.
    pub(crate) fn reasoning(&mut self, text: &str) {
        let entry = self.entry("rs");
        let added = self.stamped(&entry, json!({"type": "reasoning", "summary": []}));
        self.event(entry.item_event("response.output_item.added", &added));
        let part = |text: &str| json!({"summary_index": 0, "part": {"type": "summary_text", "text": text}});
        self.event(entry.at("response.reasoning_summary_part.added", part("")));
        for delta in text.split_inclusive(' ') {
            self.event(entry.at("response.reasoning_summary_text.delta", json!({"summary_index": 0, "delta": delta})));
        }
        self.event(entry.at("response.reasoning_summary_text.done", json!({"summary_index": 0, "text": text})));
        self.event(entry.at("response.reasoning_summary_part.done", part(text)));
        let done =
            self.stamped(&entry, json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}));
        self.event(entry.item_event("response.output_item.done", &done));
        self.output.push(done);
    }

    /// An item that only has `added` and `done`.
    pub(crate) fn item(&mut self, prefix: &str, item: Value) {
        self.added_only(prefix, item);
        let index = self.output.len().saturating_sub(1);
        let item = self.output.last().cloned().unwrap_or_default();
        self.event(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }

    /// An item that only has `added`.
    pub(crate) fn added_only(&mut self, prefix: &str, item: Value) {
        let entry = self.entry(prefix);
        let item = self.stamped(&entry, item);
        self.event(entry.item_event("response.output_item.added", &item));
        self.output.push(item);
    }

    /// Ends with the terminal event of `status`; `change` edits the response first.
    pub(crate) fn close(&mut self, status: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let event = self.settle(status, change);
        self.event(event);
    }

    /// Stores the response in its final `status` and returns the terminal event, which may never be sent.
    pub(crate) fn settle(&mut self, status: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut snapshot = self.turn.snapshot(status, &self.output);
        if let Some(members) = snapshot.as_object_mut() {
            change(members);
        }
        self.steps.push(Step::Settle(snapshot.clone()));
        json!({"type": format!("response.{status}"), "response": snapshot})
    }

    pub(crate) fn plain(&mut self, frame: Frame) {
        self.steps.push(Step::Plain(frame));
    }

    fn begin_message(&mut self, part: &str) -> Entry {
        let entry = self.entry("msg");
        let item = self.stamped(&entry, message_item("in_progress", &[]));
        self.event(entry.item_event("response.output_item.added", &item));
        let empty = match part {
            "refusal" => json!({"type": part, "refusal": ""}),
            _ => json!({"type": part, "text": "", "annotations": [], "logprobs": []}),
        };
        self.event(entry.at("response.content_part.added", json!({"content_index": 0, "part": empty})));
        entry
    }

    fn end_message(&mut self, entry: &Entry, part: Value) {
        self.event(entry.at("response.content_part.done", json!({"content_index": 0, "part": part})));
        let item = self.stamped(entry, message_item(entry.status, &[part]));
        self.event(entry.item_event("response.output_item.done", &item));
        self.output.push(item);
    }

    fn delta(&mut self, entry: &Entry, delta: &str) {
        if let Some(pause) = self.pause {
            self.steps.push(Step::Wait(pause));
            self.plain(Frame::Comment("keep-alive"));
        }
        let mut event = entry.at(
            "response.output_text.delta",
            json!({
                "content_index": 0, "delta": delta, "logprobs": [],
            }),
        );
        if self.turn.request.obfuscation
            && !self.turn.hosted()
            && let Some(members) = event.as_object_mut()
        {
            let padding = 16 - delta.len() % 16;
            members.insert("obfuscation".to_owned(), "x".repeat(padding).into());
        }
        self.event(event);
    }

    fn entry(&self, prefix: &str) -> Entry {
        Entry { id: ids::beside(prefix, &self.turn.response_id), index: self.output.len(), status: "in_progress" }
    }

    fn stamped(&self, entry: &Entry, mut item: Value) -> Value {
        if let Some(members) = item.as_object_mut() {
            members.insert("id".to_owned(), entry.id.clone().into());
            members.extend(self.turn.stamp());
        }
        item
    }
}

/// Where an output item stands.
struct Entry {
    id: String,
    index: usize,
    status: &'static str,
}

impl Entry {
    /// An event about this item.
    fn at(&self, kind: &str, mut members: Value) -> Value {
        if let Some(members) = members.as_object_mut() {
            members.insert("type".to_owned(), kind.into());
            members.insert("item_id".to_owned(), self.id.clone().into());
            members.insert("output_index".to_owned(), self.index.into());
        }
        members
    }

    /// `output_item.added` or `.done`.
    fn item_event(&self, kind: &str, item: &Value) -> Value {
        json!({"type": kind, "output_index": self.index, "item": item})
    }
}

fn message_item(status: &str, content: &[Value]) -> Value {
    json!({"type": "message", "status": status, "role": "assistant", "content": content})
}
