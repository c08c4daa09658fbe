//! How wire objects are read: one loop over the members of an object, and a table of the places they go to.
//!
//! A member that has no place is skipped, or kept by whoever asks for the rest. An object in which a known member
//! appears twice is refused, and so is one without a member that must be there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;
use serde_json::{Error, Map, Value};

use crate::loose::{Loose, whole_seconds};
use crate::raw::RawJson;

/// A type that is read from the text of one JSON value.
pub(crate) trait Read<'a>: Sized {
    fn read(json: &'a RawValue) -> Result<Self, Error>;
}

/// Reads the members that have a slot. An empty list is an empty object: some servers write one for the other.
pub(crate) fn read_object<'a>(json: &'a str, slots: &mut [Slot<'_, 'a>]) -> Result<(), Error> {
    read_members(json, Members { slots, rest: Rest::Skipped })
}

/// As [`read_object`]; members without a slot become values of the map.
pub(crate) fn read_whole<'a>(
    json: &'a str,
    slots: &mut [Slot<'_, 'a>],
    rest: &mut Map<String, Value>,
) -> Result<(), Error> {
    read_members(json, Members { slots, rest: Rest::Values(rest) })
}

/// The members whose value is a string.
pub(crate) fn read_texts(json: &RawValue) -> Result<BTreeMap<String, String>, Error> {
    let mut texts = BTreeMap::new();
    read_members(json.get(), Members { slots: &mut [], rest: Rest::Texts(&mut texts) })?;
    Ok(texts)
}

/// What becomes of members without a slot.
enum Rest<'m> {
    Skipped,
    Values(&'m mut Map<String, Value>),
    Texts(&'m mut BTreeMap<String, String>),
}

struct Members<'m, 'p, 'a> {
    slots: &'m mut [Slot<'p, 'a>],
    rest: Rest<'m>,
}

fn read_members<'a>(json: &'a str, members: Members<'_, '_, 'a>) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_struct("", &[], members)?;
    reader.end()
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == name) else {
                match &mut self.rest {
                    Rest::Skipped => {
                        map.next_value::<IgnoredAny>()?;
                    }
                    Rest::Values(rest) => {
                        rest.insert(name.into_owned(), map.next_value()?);
                    }
                    Rest::Texts(rest) => {
                        rest.extend(map.next_value::<Loose<'a>>()?.string().map(|text| (name.into_owned(), text)));
                    }
                }
                continue;
            };
            if std::mem::replace(&mut slot.seen, true) {
                return Err(A::Error::duplicate_field(slot.name));
            }
            match &mut slot.place {
                Place::Loose(place) => **place = map.next_value()?,
                Place::Text(place) => **place = map.next_value::<Loose<'a>>()?.string(),
                Place::Code(place) => **place = map.next_value::<Loose<'a>>()?.code(),
                Place::Int(place) => **place = map.next_value::<Loose<'a>>()?.int(),
                other => other.fill(map.next_value()?).map_err(A::Error::custom)?,
            }
        }
        self.check()
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => self.check(),
            Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
        }
    }
}

impl Members<'_, '_, '_> {
    fn check<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.slots.iter().find(|slot| slot.must && !slot.seen) {
            Some(slot) => Err(E::missing_field(slot.name)),
            None => Ok(()),
        }
    }
}

/// A member's name, borrowed when it has no escapes.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Where a member goes to.
pub(crate) struct Slot<'p, 'a> {
    name: &'static str,
    place: Place<'p, 'a>,
    must: bool,
    seen: bool,
}

enum Place<'p, 'a> {
    Value(&'p mut dyn Fill<'a>),
    /// `null` leaves the place as it is.
    Nullable(&'p mut dyn Fill<'a>),
    Loose(&'p mut Loose<'a>),
    Text(&'p mut Option<String>),
    Code(&'p mut Option<String>),
    Int(&'p mut Option<u64>),
    Time(&'p mut Option<i64>),
}

impl<'p, 'a> Slot<'p, 'a> {
    const fn new(name: &'static str, place: Place<'p, 'a>) -> Self {
        Self { name, place, must: false, seen: false }
    }

    /// A member that must be there, of this type.
    pub(crate) fn must<T: Read<'a>>(name: &'static str, place: &'p mut T) -> Self {
        Self { must: true, ..Self::may(name, place) }
    }

    /// A member that may be missing, of this type.
    pub(crate) fn may<T: Read<'a>>(name: &'static str, place: &'p mut T) -> Self {
        Self::new(name, Place::Value(place))
    }

    /// A member that may be missing or `null`, and is of this type otherwise.
    pub(crate) fn null<T: Read<'a>>(name: &'static str, place: &'p mut T) -> Self {
        Self::new(name, Place::Nullable(place))
    }

    /// A member of any type that may be missing.
    pub(crate) fn loose(name: &'static str, place: &'p mut Loose<'a>) -> Self {
        Self::new(name, Place::Loose(place))
    }

    /// A string; a value of any other type reads as none.
    pub(crate) fn text(name: &'static str, place: &'p mut Option<String>) -> Self {
        Self::new(name, Place::Text(place))
    }

    /// A string or a whole number; a value of any other type reads as none.
    pub(crate) fn code(name: &'static str, place: &'p mut Option<String>) -> Self {
        Self::new(name, Place::Code(place))
    }

    /// A whole number that is not negative; a value of any other type reads as none.
    pub(crate) fn int(name: &'static str, place: &'p mut Option<u64>) -> Self {
        Self::new(name, Place::Int(place))
    }

    /// Seconds since 1970; the service writes them as `1741476777` and as `1741476777.0`.
    pub(crate) fn time(name: &'static str, place: &'p mut Option<i64>) -> Self {
        Self::new(name, Place::Time(place))
    }
}

impl<'a> Place<'_, 'a> {
    fn fill(&mut self, json: &'a RawValue) -> Result<(), Error> {
        match self {
            Self::Nullable(_) if is_null(json) => Ok(()),
            Self::Value(place) | Self::Nullable(place) => place.fill(json),
            Self::Time(place) => {
                **place = whole_seconds(json.get());
                Ok(())
            }
            // These are read without the step over the text.
            Self::Loose(_) | Self::Text(_) | Self::Code(_) | Self::Int(_) => Ok(()),
        }
    }
}

/// A place of any type.
trait Fill<'a> {
    fn fill(&mut self, json: &'a RawValue) -> Result<(), Error>;
}

impl<'a, T: Read<'a>> Fill<'a> for T {
    fn fill(&mut self, json: &'a RawValue) -> Result<(), Error> {
        *self = T::read(json)?;
        Ok(())
    }
}

/// The slots of fields of a value: `slots![value; field, field => text, field => must as "wireName"]`. What stands
/// behind the arrow is a constructor of [`Slot`]; without one it is [`may`](Slot::may).
macro_rules! slots {
    ($value:ident; $($field:ident $(=> $how:ident)? $(as $wire:literal)?),* $(,)?) => {
        &mut [$($crate::object::slots!(@ $value $field ($($how)?) ($($wire)?))),*]
    };
    (@ $value:ident $field:ident () $wire:tt) => { $crate::object::slots!(@ $value $field (may) $wire) };
    (@ $value:ident $field:ident ($how:ident) ()) => {
        $crate::object::Slot::$how(stringify!($field), &mut $value.$field)
    };
    (@ $value:ident $field:ident ($how:ident) ($wire:literal)) => {
        $crate::object::Slot::$how($wire, &mut $value.$field)
    };
}
pub(crate) use slots;

/// Lets serde read types that read themselves from JSON text.
macro_rules! by_text {
    ($($name:ident),* $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let json = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
                $crate::object::Read::read(&json).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use by_text;

/// Types whose fields are the members of an object: `readable! { Name { field, field => text as "wireName" } }`, see
/// [`slots!`].
macro_rules! readable {
    ($($name:ident { $($field:ident $(=> $how:ident)? $(as $wire:literal)?),* $(,)? })*) => {$(
        impl $crate::object::Read<'_> for $name {
            fn read(json: &serde_json::value::RawValue) -> Result<Self, serde_json::Error> {
                let mut it = Self { $($field: Default::default()),* };
                let slots = $crate::object::slots![it; $($field $(=> $how)? $(as $wire)?),*];
                $crate::object::read_object(json.get(), slots)?;
                Ok(it)
            }
        }

        $crate::object::by_text!($name);
    )*};
}
pub(crate) use readable;

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

/// The text of a JSON string: borrowed when it has no escapes. None for a value of another type.
pub(crate) fn string(json: &RawValue) -> Result<Option<Cow<'_, str>>, Error> {
    let text = json.get();
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return Ok(None);
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    serde_json::from_str::<String>(text).map(|text| Some(Cow::Owned(text)))
}

/// As [`string`]; a value of another type is an error.
pub(crate) fn word(json: &RawValue) -> Result<Cow<'_, str>, Error> {
    string(json)?.ok_or_else(|| Error::custom("invalid type, expected a string"))
}

/// The entries of a JSON list.
pub(crate) fn list(json: &RawValue) -> Result<Vec<&RawValue>, Error> {
    serde_json::from_str(json.get())
}

impl<'a> Read<'a> for &'a RawValue {
    fn read(json: &'a RawValue) -> Result<Self, Error> {
        Ok(json)
    }
}

impl Read<'_> for RawJson {
    fn read(json: &RawValue) -> Result<Self, Error> {
        Ok(Self::copied(json))
    }
}

impl Read<'_> for String {
    fn read(json: &RawValue) -> Result<Self, Error> {
        word(json).map(Cow::into_owned)
    }
}

macro_rules! by_serde {
    ($($name:ty),*) => {$(
        impl Read<'_> for $name {
            fn read(json: &RawValue) -> Result<Self, Error> {
                serde_json::from_str(json.get())
            }
        }
    )*};
}
by_serde!(bool, u32, u64, f64, Value, Map<String, Value>, BTreeMap<String, Value>, BTreeMap<String, String>);

/// `null` reads as none.
impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(json: &'a RawValue) -> Result<Self, Error> {
        if is_null(json) { Ok(None) } else { T::read(json).map(Some) }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(json: &'a RawValue) -> Result<Self, Error> {
        let entries = list(json)?;
        let mut all = Self::with_capacity(entries.len());
        for entry in entries {
            all.push(T::read(entry)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Probe {
        id: String,
        name: Option<String>,
        code: Option<String>,
        count: Option<u64>,
        at: Option<i64>,
        list: Vec<String>,
        flag: Option<bool>,
    }

    fn probe(json: &str) -> Result<Probe, Error> {
        let mut it = Probe::default();
        read_object(
            json,
            slots![it; id => must, name => text, code => code, count => int, at => time, list => null as "entries", flag],
        )?;
        Ok(it)
    }

    #[test]
    fn members_go_to_their_places_and_others_are_skipped() {
        let read = probe(
            r#" {"x":[{}],"id":"a\u0062","name":"n","code":7,"count":3,"at":1.0,"entries":["q"],"flag":true,"y":null} "#,
        );
        let all = Probe {
            id: "ab".into(),
            name: Some("n".into()),
            code: Some("7".into()),
            count: Some(3),
            at: Some(1),
            list: vec!["q".into()],
            flag: Some(true),
        };
        assert_eq!(read.unwrap(), all);
        let bare = probe(r#"{"id":"","name":1,"code":[],"count":-1,"at":"t","entries":null,"flag":null}"#).unwrap();
        assert_eq!(bare, Probe::default());
    }

    #[test]
    fn what_is_missing_twice_there_or_of_another_type_is_told() {
        for (json, text) in [
            ("{}", "missing field `id`"),
            (r#"{"id":"","id":""}"#, "duplicate field `id`"),
            (r#"{"id":1}"#, "expected a string"),
            (r#"{"id":null}"#, "expected a string"),
            (r#"{"id":"\ud800"}"#, "hex escape"),
            (r#"{"id":"","flag":"yes"}"#, "expected a boolean"),
            (r#"{"id":"","entries":[1]}"#, "expected a string"),
            (r#"{"id":""} 1"#, "trailing"),
            (r#"["a"]"#, "expected a JSON object"),
            ("[]", "missing field `id`"),
            ("7", "expected a JSON object"),
        ] {
            let error = probe(json).unwrap_err().to_string();
            assert!(error.contains(text), "{json}: {error}");
        }
    }

    #[test]
    fn the_rest_is_kept_when_it_is_asked_for() {
        let (mut id, mut rest) = (String::new(), Map::new());
        read_whole(r#"{"b":[1.50],"id":"i","a":null}"#, &mut [Slot::must("id", &mut id)], &mut rest).unwrap();
        assert_eq!((id.as_str(), Value::Object(rest)), ("i", serde_json::json!({"a": null, "b": [1.5]})));
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_fails() {
        let json = format!("{{\"id\":\"i\",\"name\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(probe(&json).unwrap().name, None);
    }
}
