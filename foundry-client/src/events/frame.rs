//! One pass over a frame: the tag and all small members, borrowed.

use std::borrow::Cow;

use serde::Deserialize;

use crate::loose::Loose;
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
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, rename = "type")]
    tag: Loose<'a>,
    #[serde(borrow, default)]
    sequence_number: Loose<'a>,
    #[serde(borrow, default)]
    item_id: Loose<'a>,
    #[serde(borrow, default)]
    output_index: Loose<'a>,
    #[serde(borrow, default)]
    content_index: Loose<'a>,
    #[serde(borrow, default)]
    summary_index: Loose<'a>,
    #[serde(borrow, default)]
    command_index: Loose<'a>,
    #[serde(borrow, default)]
    delta: Loose<'a>,
    #[serde(borrow, default)]
    error: Loose<'a>,
}

impl<'a> Frame<'a> {
    /// None when the text is not a JSON object. `text` is the text of `raw`.
    pub(crate) fn read(text: &'a str, raw: &'a RawJson) -> Option<Self> {
        // An array would be read as a struct by position.
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let wire: Wire<'a> = serde_json::from_str(text).ok()?;
        // Gateways send a bare error object without a type.
        let tag = match wire.tag {
            Loose::Text(tag) => Loose::Text(tag),
            _ if wire.error.is_present() => Loose::Text(Cow::Borrowed("error")),
            other => other,
        };
        Some(Self {
            raw,
            text,
            tag,
            sequence_number: wire.sequence_number,
            item_id: wire.item_id,
            output_index: wire.output_index,
            content_index: wire.content_index,
            summary_index: wire.summary_index,
            command_index: wire.command_index,
            delta: wire.delta,
        })
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
