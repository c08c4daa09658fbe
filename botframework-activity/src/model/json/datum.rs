use std::fmt;

use serde_core::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::model::object::{CLASH, Object, clashes, debug, each_member, equal};
use crate::{RawJson, Timestamp};

/// A value to be written.
pub(crate) enum Datum<'a> {
    /// Nothing: the member is left out.
    Absent,
    Null,
    /// `[]`.
    Empty,
    Text(&'a str),
    /// A word of a vocabulary, and the known ones.
    Word(&'a str, &'static [&'static str]),
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

impl PartialEq for Datum<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Text(a), Self::Text(b)) | (Self::Word(a, _), Self::Word(b, _)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::Truth(a), Self::Truth(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Raw(a) | Self::Scalar(a), Self::Raw(b) | Self::Scalar(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => equal(*a, *b),
            (Self::List(a), Self::List(b)) => a.len() == b.len() && (0..a.len()).all(|at| a.item(at) == b.item(at)),
            _ => false,
        }
    }
}

/// What may stand in a log: sizes, words of the protocol, numbers and times, but no text.
impl fmt::Debug for Datum<'_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent | Self::Null => f.write_str("null"),
            Self::Empty => f.write_str("<0 items>"),
            Self::Text(text) => write!(f, "<{} bytes>", text.len()),
            Self::Word(word, known) if known.contains(&word) => fmt::Debug::fmt(word, f),
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
    #[inline]
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
