use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::RawJson;
use crate::model::object::{CLASH, Object, clashes, each_member};

/// A value to be written.
pub(crate) enum Datum<'a> {
    /// Nothing: the member is left out.
    Absent,
    Null,
    /// `[]`.
    Empty,
    Text(&'a str),
    Truth(bool),
    Integer(i64),
    Float(f64),
    Raw(&'a RawJson),
    Object(&'a dyn Object),
    List(&'a dyn List),
}

/// A list of values to be written.
pub(crate) trait List {
    fn len(&self) -> usize;
    fn item(&self, at: usize) -> Datum<'_>;
}

impl Serialize for Datum<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Absent | Self::Null => serializer.serialize_unit(),
            Self::Empty => serializer.serialize_seq(Some(0))?.end(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Truth(truth) => serializer.serialize_bool(truth),
            Self::Integer(number) => serializer.serialize_i64(number),
            Self::Float(number) => serializer.serialize_f64(number),
            Self::Raw(raw) => raw.serialize(serializer),
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
