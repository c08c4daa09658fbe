//! The bodies of events. Indexes are slots, not counters: they may have gaps.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::content::{Annotation, Content};
use crate::events::frame::Frame;
use crate::events::scan::scan;
use crate::items::Item;
use crate::loose::Loose;
use crate::object::{Slot, read_object, slots};
use crate::problem::BadBody;
use crate::raw::{RawJson, Text};
use crate::response::Response;

/// What every event has.
#[derive(Clone, Debug)]
pub(crate) struct EventHead {
    pub(crate) sequence_number: Option<u64>,
    pub(crate) raw: RawJson,
}

impl EventHead {
    pub(crate) fn of(frame: &Frame<'_>) -> Self {
        Self { sequence_number: frame.sequence_number.int(), raw: frame.raw.clone() }
    }
}

pub(crate) trait EventBody: Sized {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody>;
    fn head(&self) -> &EventHead;
}

/// Rare and large bodies are boxed, so that the common events are cheap to move.
impl<T: EventBody> EventBody for Box<T> {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        T::read(frame).map(Self::new)
    }

    fn head(&self) -> &EventHead {
        (**self).head()
    }
}

/// Where in the response an event belongs.
#[derive(Clone, Debug)]
struct Place {
    item_id: Text,
    output_index: Option<u32>,
    content_index: Option<u32>,
    summary_index: Option<u32>,
    command_index: Option<u32>,
}

impl Place {
    fn take(frame: &mut Frame<'_>) -> Self {
        let item_id = std::mem::take(&mut frame.item_id).cow();
        Self {
            item_id: item_id.map(|id| Text::of(frame.text, id)).unwrap_or_default(),
            output_index: frame.output_index.index(),
            content_index: frame.content_index.index(),
            summary_index: frame.summary_index.index(),
            command_index: frame.command_index.index(),
        }
    }
}

macro_rules! place {
    ($($name:ident),*) => {$(
        impl $name {
            /// The item; empty when the event does not name it.
            #[must_use]
            pub fn item_id(&self) -> &str {
                self.place.item_id.as_str(&self.head.raw)
            }

            /// The item's slot in the output.
            #[must_use]
            pub fn output_index(&self) -> Option<u32> {
                self.place.output_index
            }

            /// The part's slot in the item.
            #[must_use]
            pub fn content_index(&self) -> Option<u32> {
                self.place.content_index
            }

            /// The part's slot in a reasoning summary.
            #[must_use]
            pub fn summary_index(&self) -> Option<u32> {
                self.place.summary_index
            }

            /// The command's slot in a shell call.
            #[must_use]
            pub fn command_index(&self) -> Option<u32> {
                self.place.command_index
            }
        }
    )*};
}
place!(Delta, TextDone, Progress, PartEvent, AnnotationAdded, PartialImage, ShellOutput);

/// A member that must be there, as a part of the frame.
fn part_of(frame: &Frame<'_>, name: &'static str) -> Result<RawJson, BadBody> {
    let mut found = RawValue::NULL;
    read_object(frame.text, &mut [Slot::must(name, &mut found)])?;
    Ok(frame.raw.part(found.get()))
}

/// The response as it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The whole response; in a terminal event its output is authoritative.
    pub response: Box<Response>,
    head: EventHead,
}

impl EventBody for Snapshot {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let response = Box::new(Response::from_raw(part_of(frame, "response")?)?);
        Ok(Self { response, head: EventHead::of(frame) })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// An item begins or is complete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ItemEvent {
    /// The item; while it begins its content and arguments are empty.
    pub item: Item,
    /// The item's slot in the output.
    pub output_index: Option<u32>,
    head: EventHead,
}

impl EventBody for ItemEvent {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let item = Item::from_raw(part_of(frame, "item")?);
        Ok(Self { item, output_index: frame.output_index.index(), head: EventHead::of(frame) })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// A part of a message or of a reasoning summary begins or is complete.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartEvent {
    /// The part; empty while it begins.
    pub part: Content,
    place: Place,
    head: EventHead,
}

impl EventBody for PartEvent {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let part = Content::from_raw(part_of(frame, "part")?);
        Ok(Self { part, place: Place::take(frame), head: EventHead::of(frame) })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// One more piece of a text, of arguments, of code or of sound.
///
/// Holds slices of its frame: making one copies nothing unless the text has escapes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delta {
    delta: Text,
    place: Place,
    head: EventHead,
}

impl Delta {
    /// The piece; base64 for sound.
    #[must_use]
    pub fn delta(&self) -> &str {
        self.delta.as_str(&self.head.raw)
    }
}

/// A delta before it is given its frame.
pub(crate) struct BareDelta {
    delta: Text,
    place: Place,
    sequence_number: Option<u64>,
}

impl BareDelta {
    pub(crate) fn read(frame: &mut Frame<'_>) -> Option<Self> {
        let delta = std::mem::take(&mut frame.delta).cow()?;
        let delta = Text::of(frame.text, delta);
        Some(Self { delta, place: Place::take(frame), sequence_number: frame.sequence_number.int() })
    }

    /// The fast way for `response.output_text.delta` as documented; none for anything else.
    pub(crate) fn output_text(text: &str) -> Option<Self> {
        let found = scan(text).filter(|found| found.tag == Some("response.output_text.delta"))?;
        let index = |number: Option<u64>| u32::try_from(number?).ok();
        let borrowed = |part| Text::of(text, Cow::Borrowed(part));
        let place = Place {
            item_id: found.item_id.map(borrowed).unwrap_or_default(),
            output_index: Some(index(found.output_index)?),
            content_index: Some(index(found.content_index)?),
            summary_index: None,
            command_index: None,
        };
        Some(Self { delta: borrowed(found.delta?), place, sequence_number: Some(found.sequence_number?) })
    }

    pub(crate) fn with(self, raw: RawJson) -> Delta {
        let head = EventHead { sequence_number: self.sequence_number, raw };
        Delta { delta: self.delta, place: self.place, head }
    }
}

impl EventBody for Delta {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        Ok(BareDelta::read(frame).ok_or(BadBody)?.with(frame.raw.clone()))
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// A text, arguments, an input, code or a command as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TextDone {
    text: Text,
    name: Option<Text>,
    place: Place,
    head: EventHead,
}

impl TextDone {
    /// The whole text: the member `text`, `refusal`, `arguments`, `input`, `code` or `command`.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.as_str(&self.head.raw)
    }

    /// The function, when hosted agents name it next to its arguments.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.as_str(&self.head.raw))
    }
}

impl EventBody for TextDone {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        #[derive(Default)]
        struct Wire<'a> {
            text: Loose<'a>,
            refusal: Loose<'a>,
            arguments: Loose<'a>,
            input: Loose<'a>,
            code: Loose<'a>,
            command: Loose<'a>,
            name: Loose<'a>,
        }
        let mut wire = Wire::default();
        read_object(
            frame.text,
            slots![wire; text => loose, refusal => loose, arguments => loose, input => loose, code => loose, command => loose,
                   name => loose],
        )?;
        let members = [wire.text, wire.refusal, wire.arguments, wire.input, wire.code, wire.command];
        let text = members.into_iter().find_map(Loose::cow).ok_or(BadBody)?;
        Ok(Self {
            text: Text::of(frame.text, text),
            name: wire.name.cow().map(|name| Text::of(frame.text, name)),
            place: Place::take(frame),
            head: EventHead::of(frame),
        })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// Something changed its state; the event's kind says to which.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    place: Place,
    head: EventHead,
}

impl EventBody for Progress {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        Ok(Self { place: Place::take(frame), head: EventHead::of(frame) })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// A citation was added to a text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnnotationAdded {
    /// The citation.
    pub annotation: Annotation,
    /// Its slot among the part's annotations.
    pub annotation_index: Option<u32>,
    place: Place,
    head: EventHead,
}

impl EventBody for AnnotationAdded {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let (mut annotation, mut annotation_index) = (RawValue::NULL, Loose::default());
        let place = Slot::loose("annotation_index", &mut annotation_index);
        read_object(frame.text, &mut [Slot::must("annotation", &mut annotation), place])?;
        Ok(Self {
            annotation: Annotation::from_raw(frame.raw.part(annotation.get())),
            annotation_index: annotation_index.index(),
            place: Place::take(frame),
            head: EventHead::of(frame),
        })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// A preview of a picture.
#[derive(Clone)]
#[non_exhaustive]
pub struct PartialImage {
    /// Which preview it is.
    pub partial_image_index: Option<u32>,
    /// For example `png`.
    pub output_format: Option<String>,
    /// For example `1024x1024`.
    pub size: Option<String>,
    /// For example `high`.
    pub quality: Option<String>,
    /// For example `opaque`.
    pub background: Option<String>,
    image: Text,
    place: Place,
    head: EventHead,
}

impl PartialImage {
    /// The picture in base64.
    #[must_use]
    pub fn partial_image_b64(&self) -> &str {
        self.image.as_str(&self.head.raw)
    }
}

/// Without the picture.
impl fmt::Debug for PartialImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialImage")
            .field("partial_image_index", &self.partial_image_index)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

impl EventBody for PartialImage {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        #[derive(Default)]
        struct Wire<'a> {
            partial_image_index: Loose<'a>,
            partial_image_b64: Loose<'a>,
            output_format: Option<String>,
            size: Option<String>,
            quality: Option<String>,
            background: Option<String>,
        }
        let mut wire = Wire::default();
        read_object(
            frame.text,
            slots![wire; partial_image_index => loose, partial_image_b64 => loose, output_format => text, size => text, quality => text,
                   background => text],
        )?;
        let image = wire.partial_image_b64.cow().ok_or(BadBody)?;
        Ok(Self {
            partial_image_index: wire.partial_image_index.index(),
            output_format: wire.output_format,
            size: wire.size,
            quality: wire.quality,
            background: wire.background,
            image: Text::of(frame.text, image),
            place: Place::take(frame),
            head: EventHead::of(frame),
        })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

/// Output of a shell command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShellOutput {
    /// In a delta: one more piece, a string or an object with `stdout` and `stderr`.
    pub delta: Option<RawJson>,
    /// At the end: the whole output.
    pub output: Option<RawJson>,
    place: Place,
    head: EventHead,
}

impl EventBody for ShellOutput {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let (mut delta, mut output) = (None, None);
        read_object(frame.text, &mut [Slot::may("delta", &mut delta), Slot::may("output", &mut output)])?;
        if delta.is_none() && output.is_none() {
            return Err(BadBody);
        }
        let part = |json: &RawValue| frame.raw.part(json.get());
        Ok(Self {
            delta: delta.map(part),
            output: output.map(part),
            place: Place::take(frame),
            head: EventHead::of(frame),
        })
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn events_are_small_to_move() {
        assert!(size_of::<crate::ResponseEvent>() <= 168, "{}", size_of::<crate::ResponseEvent>());
    }
}
