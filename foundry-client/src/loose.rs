//! Tolerant readers: a member of an unexpected type never fails the object around it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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

/// `null` reads as the default.
pub(crate) fn null_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A string; `null` and any other type read as none.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Loose::deserialize(deserializer).map(Loose::string)
}

/// A string or a whole number; `null` and any other type read as none.
pub(crate) fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Loose::deserialize(deserializer).map(Loose::code)
}

/// A whole number that is not negative; `null` and any other type read as none.
pub(crate) fn int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Loose::deserialize(deserializer).map(|value| value.int())
}

/// Seconds since 1970; the service writes them as `1741476777` and as `1741476777.0`.
pub(crate) fn unix_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| whole_seconds(raw.get())))
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

    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow, default)]
        a: Loose<'a>,
        #[serde(borrow, default)]
        b: Loose<'a>,
    }

    #[test]
    fn any_type_is_accepted_and_plain_text_is_borrowed() {
        let json = r#"{"a":"plain","b":"es\ncaped"}"#;
        let probe: Probe<'_> = serde_json::from_str(json).unwrap();
        assert!(matches!(probe.a, Loose::Text(Cow::Borrowed("plain"))));
        assert!(matches!(probe.b, Loose::Text(Cow::Owned(_))));
        for other in ["{\"x\":[1]}", "[1,{}]", "true", "-1", "1.5", "null"] {
            let json = format!("{{\"a\":{other}}}");
            let probe: Probe<'_> = serde_json::from_str(&json).unwrap();
            assert!(probe.a.text().is_none() && probe.a.int().is_none());
            assert!(!probe.b.is_present());
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_fails() {
        let json = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let probe: Probe<'_> = serde_json::from_str(&json).unwrap();
        assert!(probe.a.is_present());
    }

    #[test]
    fn seconds_with_and_without_fraction() {
        assert_eq!(whole_seconds("1741476777"), Some(1_741_476_777));
        assert_eq!(whole_seconds("1741476777.0"), Some(1_741_476_777));
        assert_eq!(whole_seconds("1e9"), None);
        assert_eq!(whole_seconds("\"1\""), None);
    }
}
