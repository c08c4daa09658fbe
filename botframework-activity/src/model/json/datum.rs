use std::fmt;

use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::model::object::{CLASH, Object, clashes, debug, each_member};
use crate::{RawJson, Timestamp};

/// A value to be written.
pub(crate) enum Datum<'a> {
    /// Nothing: the member is left out.
    Absent,
    Null,
    /// `[]`.
    Empty,
    Text(&'a str),
    /// A word of a vocabulary, and how to tell whether it is a known one.
    Word(&'a str, fn(&str) -> bool),
    Time(&'a Timestamp),
    Truth(bool),
    Integer(i64),
    Float(f64),
    Raw(&'a RawJson),
    /// A value that is neither an object nor a list.
    Scalar(&'a RawJson),
    Object(&'a dyn Object),
    List(&'a dyn List),
}

/// A list of values to be written.
pub(crate) trait List {
    fn len(&self) -> usize;
    fn item(&self, at: usize) -> Datum<'_>;
}

/// What may stand in a log: sizes, words of the protocol, numbers and times, but no text.
impl fmt::Debug for Datum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent | Self::Null => f.write_str("null"),
            Self::Empty => f.write_str("<0 items>"),
            Self::Text(text) => write!(f, "<{} bytes>", text.len()),
            Self::Word(word, is_known) if is_known(word) => fmt::Debug::fmt(word, f),
            Self::Word(word, _) => write!(f, "<other, {} bytes>", word.len()),
            Self::Time(time) => fmt::Debug::fmt(time, f),
            Self::Truth(truth) => fmt::Debug::fmt(&truth, f),
            Self::Integer(number) => fmt::Debug::fmt(&number, f),
            Self::Float(number) => fmt::Debug::fmt(&number, f),
            Self::Scalar(raw) if !raw.get().starts_with('"') => f.write_str(raw.get()),
            Self::Raw(raw) | Self::Scalar(raw) => fmt::Debug::fmt(raw, f),
            Self::Object(object) => debug(object, f),
            Self::List(list) => write!(f, "<{} items>", list.len()),
        }
    }
}

impl Serialize for Datum<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Absent | Self::Null => serializer.serialize_unit(),
            Self::Empty => serializer.serialize_seq(Some(0))?.end(),
            Self::Text(text) | Self::Word(text, _) => serializer.serialize_str(text),
            Self::Time(time) => serializer.serialize_str(time.as_str()),
            Self::Truth(truth) => serializer.serialize_bool(truth),
            Self::Integer(number) => serializer.serialize_i64(number),
            Self::Float(number) => serializer.serialize_f64(number),
            Self::Raw(raw) | Self::Scalar(raw) => raw.serialize(serializer),
            Self::Object(object) => {
                if clashes(object) {
                    return Err(S::Error::custom(CLASH));
                }
                let mut map = serializer.serialize_map(None)?;
                each_member(object, |name, value| map.serialize_entry(name, value))?;
                map.end()
            }
            Self::List(list) => {
                let mut sequence = serializer.serialize_seq(Some(list.len()))?;
                for at in 0..list.len() {
                    sequence.serialize_element(&list.item(at))?;
                }
                sequence.end()
            }
        }
    }
}
