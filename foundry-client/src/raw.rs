//! Shared JSON text: one buffer for a frame, its response and its items.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The exact JSON text of a value, as it came over the wire.
///
/// Cloning shares the buffer. A slice of a large frame keeps the whole frame alive; copy the text
/// out ([`as_str`](Self::as_str)) when a small part must outlive it.
///
/// `Debug` prints the length only. Serializing writes the text unchanged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Wraps text that is already known to be one valid JSON value in UTF-8.
    pub(crate) fn trusted(text: Bytes) -> Self {
        Self(text)
    }

    /// A copy of the text of a value.
    pub(crate) fn copied(value: &RawValue) -> Self {
        Self(Bytes::copy_from_slice(value.get().as_bytes()))
    }

    /// The text as a value.
    pub(crate) fn value(&self) -> Result<&RawValue, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// The part of this text that `part` (a borrow of it) covers, without a copy.
    pub(crate) fn part(&self, part: &str) -> Self {
        Self(self.0.slice_ref(part.as_bytes()))
    }

    /// Checks that `text` is one JSON value and wraps it.
    ///
    /// # Errors
    ///
    /// When the bytes are not UTF-8 or not exactly one JSON value. The caller can fix that; a retry
    /// does not help.
    pub fn from_bytes(text: Bytes) -> Result<Self, JsonError> {
        let str = std::str::from_utf8(&text).map_err(|_| JsonError { line: 0, column: 0 })?;
        let _: &RawValue = serde_json::from_str(str).map_err(|error| JsonError::at(&error))?;
        Ok(Self(text))
    }

    /// The JSON of any serializable value.
    ///
    /// # Errors
    ///
    /// When the value refuses to be serialized, for example a map with keys that are not strings.
    pub fn from_value(value: &impl Serialize) -> Result<Self, JsonError> {
        serde_json::to_vec(value).map(|json| Self(Bytes::from(json))).map_err(|error| JsonError::at(&error))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        utf8(&self.0)
    }

    /// The text as bytes; cloning them is cheap.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads the text as `T`, borrowing from it where `T` can.
    ///
    /// # Errors
    ///
    /// When the text has another shape than `T`. The error says where, never what stands there.
    pub fn parse<'de, T: Deserialize<'de>>(&'de self) -> Result<T, JsonError> {
        serde_json::from_str(self.as_str()).map_err(|error| JsonError::at(&error))
    }
}

/// Text that is not JSON, or JSON of another shape than was asked for. It says where, never what stands there: content
/// stays private.
///
/// The developer compares the shape with the service's documentation; a retry does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JSON has another shape than expected, at line {line}, column {column}")]
pub struct JsonError {
    line: usize,
    column: usize,
}

impl JsonError {
    fn at(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }

    /// The line, from 1; 0 when no place is known.
    #[must_use]
    pub const fn line(self) -> usize {
        self.line
    }

    /// The column in bytes, from 1; 0 when no place is known.
    #[must_use]
    pub const fn column(self) -> usize {
        self.column
    }
}

/// `null`.
impl Default for RawJson {
    fn default() -> Self {
        Self(Bytes::from_static(b"null"))
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(value: Box<RawValue>) -> Self {
        Self(Bytes::from(String::from(Box::<str>::from(value))))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

/// A string read from a frame: its place there when it has no escapes.
///
/// A place costs neither a copy nor a reference count; it is worthless without its frame.
#[derive(Clone)]
pub(crate) enum Text {
    Place { start: u32, end: u32 },
    Owned(Box<str>),
}

impl Text {
    /// `value` must have been read from `text`; anything else is copied.
    pub(crate) fn of(text: &str, value: Cow<'_, str>) -> Self {
        match value {
            Cow::Borrowed(part) => {
                Self::place(text, part).unwrap_or_else(|| Self::Owned(part.to_owned().into_boxed_str()))
            }
            Cow::Owned(text) => Self::Owned(text.into_boxed_str()),
        }
    }

    fn place(text: &str, part: &str) -> Option<Self> {
        let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        let end = start + part.len();
        if end > text.len() {
            return None;
        }
        Some(Self::Place { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// `raw` must be the frame the text was read from.
    pub(crate) fn as_str<'a>(&'a self, raw: &'a RawJson) -> &'a str {
        match self {
            Self::Place { start, end } => {
                let bytes = raw.0.get(*start as usize..*end as usize).unwrap_or_default();
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Self::Owned(text) => text,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::Place { start: 0, end: 0 }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match self {
            Self::Place { start, end } => (end - start) as usize,
            Self::Owned(text) => text.len(),
        };
        write!(f, "Text({length} bytes)")
    }
}

/// Every buffer here was checked when it was made; the check is repeated because it is cheaper than `unsafe` is risky.
fn utf8(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shares_the_buffer() {
        let raw = RawJson::from_bytes(Bytes::from_static(br#"{"a":[1,2]}"#)).unwrap();
        let part = raw.part(&raw.as_str()[5..10]);
        assert_eq!(part.as_str(), "[1,2]");
        assert_eq!(part.as_bytes().as_ptr(), raw.as_bytes()[5..].as_ptr());
    }

    #[test]
    fn text_is_written_back_unchanged() {
        let raw: RawJson = serde_json::from_str(" {\"a\" : 1.50} ").unwrap();
        assert_eq!(serde_json::to_string(&raw).unwrap(), "{\"a\" : 1.50}");
        assert_eq!(format!("{raw:?}"), "RawJson(12 bytes)");
    }

    #[test]
    fn only_one_utf8_json_value_is_accepted() {
        for bad in [&b"{"[..], b"", b"1 2", b"\"\xff\"", b"nul"] {
            assert!(RawJson::from_bytes(Bytes::from_static(bad)).is_err(), "{bad:?}");
        }
        assert_eq!(RawJson::default().as_str(), "null");
    }
}
