//! A JSON document compared by value, with the spelling of numbers and the exact member set kept.

#![allow(unreachable_pub, clippy::use_self)]

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq)]
pub enum Doc {
    /// A number, `true`, `false`, `null`, or a string that is no Unicode text, as it was written.
    Token(String),
    Text(String),
    List(Vec<Doc>),
    /// Sorted by name; a name may appear twice.
    Object(Vec<(String, Doc)>),
}

impl Doc {
    pub fn parse(json: &[u8]) -> Self {
        Self::of(serde_json::from_slice(json).unwrap())
    }

    fn of(raw: &RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes()[0] {
            b'{' => {
                let Members(members) = serde_json::from_str(text).unwrap();
                let mut members: Vec<_> = members.into_iter().map(|(name, raw)| (name, Self::of(raw))).collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Object(members)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap();
                Self::List(items.into_iter().map(Self::of).collect())
            }
            b'"' => serde_json::from_str(text).map_or_else(|_| Self::Token(text.into()), Self::Text),
            _ => Self::Token(text.into()),
        }
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Members)
    }
}
