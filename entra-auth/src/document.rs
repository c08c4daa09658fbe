//! A JSON object that came from outside, read member by member.
//!
//! One reader for all the small documents of this crate: what is not asked for is skipped, and what is asked for must be
//! of its type and there once.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of a JSON object, as they were sent.
#[derive(Debug)]
pub(crate) struct Document<'a>(Vec<(String, &'a RawValue)>);

/// The document is no JSON object, or a member is missing, of another type, or there twice. It does not say which: parts
/// of a document can be secret, so no error quotes them.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl<'a> Document<'a> {
    pub(crate) fn read(json: &'a [u8]) -> Result<Self, Unreadable> {
        read(std::str::from_utf8(json).map_err(|_| Unreadable)?)
    }

    /// A member that must be there.
    pub(crate) fn required<T: Deserialize<'a>>(&self, name: &str) -> Result<T, Unreadable> {
        read(self.find(name)?.ok_or(Unreadable)?)
    }

    /// A member that may be missing, or `null`.
    pub(crate) fn optional<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Unreadable> {
        self.find(name)?.filter(|json| *json != "null").map(read).transpose()
    }

    /// Whether the member is there, whatever it is.
    #[cfg(feature = "validate")]
    #[inline]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(member, _)| member == name)
    }

    fn find(&self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        let mut found = self.0.iter().filter(|(member, _)| member == name).map(|(_, value)| value.get());
        match (found.next(), found.next()) {
            (found, None) => Ok(found),
            _ => Err(Unreadable),
        }
    }
}

/// Reads a JSON text. Every reader of this crate takes a `str`, so that what they share is compiled once.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Unreadable> {
    serde_json::from_str(json).map_err(|_| Unreadable)
}

/// A number of seconds, which some endpoints send as a string.
#[cfg(feature = "acquire")]
pub(crate) struct Seconds(pub(crate) i64);

#[cfg(feature = "acquire")]
impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let seconds = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        seconds.map(Self).ok_or_else(|| serde::de::Error::custom("not a number of seconds"))
    }
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Document<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<'de>, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Document(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_there_once_and_of_their_type() {
        let json =
            r#" {"a": "x\u00e9", "\u0062": 7, "n": null, "c": [1, 2], "twice": 1, "twice": 1, "in": {"a": "y"}} "#;
        let document = Document::read(json.as_bytes()).unwrap();
        assert_eq!(document.required::<String>("a").unwrap(), "xé");
        assert_eq!(document.required::<i64>("b").unwrap(), 7);
        assert_eq!(document.required::<Vec<u32>>("c").unwrap(), [1, 2]);
        assert_eq!(document.optional::<String>("n").unwrap(), None);
        assert_eq!(document.optional::<String>("missing").unwrap(), None);
        assert_eq!(document.required::<Document<'_>>("in").unwrap().required::<String>("a").unwrap(), "y");
        assert!(document.required::<String>("n").is_err());
        assert!(document.required::<String>("missing").is_err());
        assert!(document.required::<String>("b").is_err());
        assert!(document.optional::<String>("b").is_err());
        assert!(document.optional::<i64>("twice").is_err());
    }

    #[test]
    fn anything_but_an_object_is_refused() {
        for json in
            [&b""[..], b"[]", b"1", b"null", b"\"a\"", b"{", b"{}x", b"{\"a\":}", b"{\"a\":1,}", b"{\"\xff\":1}"]
        {
            assert!(Document::read(json).is_err(), "{json:?}");
        }
        assert!(Document::read(b"{}").is_ok());
    }

    #[cfg(feature = "acquire")]
    #[test]
    fn seconds_come_in_two_forms() {
        for (json, expected) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("\" -1 \"", Some(-1)),
            ("1.5", None),
            ("\"x\"", None),
            ("null", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(read::<Seconds>(json).ok().map(|seconds| seconds.0), expected, "{json}");
        }
    }
}
