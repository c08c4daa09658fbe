//! One pass over a frame: the tag and all small members, borrowed.

use std::borrow::Cow;

use crate::loose::Loose;
use crate::object::{read_object, slots};
use crate::raw::RawJson;

/// The members that small events consist of. Larger bodies are read in a second pass.
pub(crate) struct Frame<'a> {
    pub(crate) raw: &'a RawJson,
    pub(crate) text: &'a str,
    pub(crate) tag: Loose<'a>,
    pub(crate) sequence_number: Loose<'a>,
    pub(crate) item_id: Loose<'a>,
    pub(crate) output_index: Loose<'a>,
    pub(crate) content_index: Loose<'a>,
    pub(crate) summary_index: Loose<'a>,
    pub(crate) command_index: Loose<'a>,
    pub(crate) delta: Loose<'a>,
    error: Loose<'a>,
}

impl<'a> Frame<'a> {
    /// None when the text is not a JSON object. `text` is the text of `raw`.
    pub(crate) fn read(text: &'a str, raw: &'a RawJson) -> Option<Self> {
        // An empty list would pass for an object.
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let mut frame = Self {
            raw,
            text,
            tag: Loose::Missing,
            sequence_number: Loose::Missing,
            item_id: Loose::Missing,
            output_index: Loose::Missing,
            content_index: Loose::Missing,
            summary_index: Loose::Missing,
            command_index: Loose::Missing,
            delta: Loose::Missing,
            error: Loose::Missing,
        };
        read_object(
            text,
            slots![frame; tag => loose as "type", sequence_number => loose, item_id => loose, output_index => loose,
                   content_index => loose, summary_index => loose, command_index => loose, delta => loose,
                   error => loose],
        )
        .ok()?;
        // Gateways send a bare error object without a type.
        if frame.tag.text().is_none() && frame.error.is_present() {
            frame.tag = Loose::Text(Cow::Borrowed("error"));
        }
        Some(frame)
    }

    /// The frame's `event:` field names the event when the JSON does not.
    pub(crate) fn name_from(&mut self, event: Option<&'a str>) {
        if self.tag.text().is_none()
            && let Some(name) = event
        {
            self.tag = Loose::Text(Cow::Borrowed(name));
        }
    }
}
