//! Tolerant readers: a member of an unexpected type never fails the object around it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Any JSON value, of which only strings and whole numbers are kept. Strings borrow where they can.
#[derive(Debug, Default)]
pub(crate) enum Loose<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
    Int(u64),
    Other,
}

impl<'a> Loose<'a> {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn cow(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn string(self) -> Option<String> {
        self.cow().map(Cow::into_owned)
    }

    /// A string, or a number written as one: error codes come in both forms.
    pub(crate) fn code(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.into_owned()),
            Self::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<u64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn index(&self) -> Option<u32> {
        self.int().and_then(|number| u32::try_from(number).ok())
    }

    pub(crate) fn is_present(&self) -> bool {
        !matches!(self, Self::Missing | Self::Null)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Owned(text)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Loose::Int(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

pub(crate) fn whole_seconds(number: &str) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loose(json: &str) -> Loose<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn any_type_is_accepted_and_plain_text_is_borrowed() {
        assert!(matches!(loose(r#""plain""#), Loose::Text(Cow::Borrowed("plain"))));
        assert!(matches!(loose(r#""es\ncaped""#), Loose::Text(Cow::Owned(text)) if text == "es\ncaped"));
        assert!(matches!(loose("7"), Loose::Int(7)));
        for other in ["{\"x\":[1]}", "[1,{}]", "true", "-1", "-0", "1.5", "1e3", "18446744073709551616"] {
            let value = loose(other);
            assert!(value.text().is_none() && value.int().is_none() && value.is_present(), "{other}");
        }
        assert!(!loose("null").is_present() && !Loose::default().is_present());
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_fails() {
        let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(loose(&json).is_present());
    }

    #[test]
    fn seconds_with_and_without_fraction() {
        assert_eq!(whole_seconds("1741476777"), Some(1_741_476_777));
        assert_eq!(whole_seconds("1741476777.0"), Some(1_741_476_777));
        assert_eq!(whole_seconds("1e9"), None);
        assert_eq!(whole_seconds("\"1\""), None);
    }
}
