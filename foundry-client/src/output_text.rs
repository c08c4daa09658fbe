//! The answer so far, folded from events.

use crate::events::{Delta, ResponseEvent, TextDone};
use crate::response::Response;

/// Folds a stream into the text of the answer.
///
/// Pure: feed it every event in order. A repeated `response.in_progress` and every terminal event
/// replace what was folded by the text of their snapshot, which is authoritative.
#[derive(Clone, Debug, Default)]
pub struct OutputTextFold {
    slots: Vec<Slot>,
    started: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    place: (u32, u32),
    text: String,
}

impl OutputTextFold {
    /// Nothing folded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event.
    pub fn apply(&mut self, event: &ResponseEvent) {
        match event {
            ResponseEvent::OutputTextDelta(delta) => self.slot(place_of(delta)).push_str(delta.delta()),
            ResponseEvent::OutputTextDone(done) => self.replace(done),
            ResponseEvent::InProgress(snapshot) if std::mem::replace(&mut self.started, true) => {
                self.reset(&snapshot.response);
            }
            ResponseEvent::Completed(snapshot)
            | ResponseEvent::Incomplete(snapshot)
            | ResponseEvent::Failed(snapshot)
                if !snapshot.response.output.is_empty() =>
            {
                self.reset(&snapshot.response);
            }
            _ => {}
        }
    }

    /// The text so far: all parts in the order of their slots.
    #[must_use]
    pub fn text(&self) -> String {
        self.slots.iter().map(|slot| slot.text.as_str()).collect()
    }

    /// Length of the text so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.iter().map(|slot| slot.text.len()).sum()
    }

    /// Whether there is no text yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot(&mut self, place: (u32, u32)) -> &mut String {
        // Deltas come for the last slot nearly always.
        let at = match self.slots.last() {
            Some(last) if last.place == place => Ok(self.slots.len() - 1),
            _ => self.slots.binary_search_by_key(&place, |slot| slot.place),
        };
        let at = at.unwrap_or_else(|at| {
            self.slots.insert(at, Slot { place, text: String::new() });
            at
        });
        #[allow(clippy::indexing_slicing, reason = "the index was just found or inserted")]
        &mut self.slots[at].text
    }

    fn replace(&mut self, done: &TextDone) {
        let place = (done.output_index().unwrap_or_default(), done.content_index().unwrap_or_default());
        let text = self.slot(place);
        text.clear();
        text.push_str(done.text());
    }

    fn reset(&mut self, response: &Response) {
        self.slots.clear();
        let text = response.output_text();
        if !text.is_empty() {
            self.slots.push(Slot { place: (0, 0), text });
        }
    }
}

fn place_of(delta: &Delta) -> (u32, u32) {
    (delta.output_index().unwrap_or_default(), delta.content_index().unwrap_or_default())
}
