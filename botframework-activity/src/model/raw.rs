use std::fmt;

use serde_core::de::{Deserialize, Deserializer};
use serde_core::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::ModelError;
use super::json;
use super::object::Value;

/// A JSON value kept as the bytes it came in: number spelling, escapes, member order and all.
///
/// Parse it on demand with [`RawJson::parse`]. Its `Debug` shows the size only. Two values are equal
/// when their bytes are.
///
/// ```
/// use botframework_activity::RawJson;
///
/// let raw = RawJson::from_text("12345678901234567890.10")?;
/// assert_eq!(raw.get(), "12345678901234567890.10");
/// assert_eq!(RawJson::from_value(&["a"])?.parse::<Vec<String>>()?, ["a"]);
/// # Ok::<(), botframework_activity::ModelError>(())
/// ```
#[derive(Clone)]
pub struct RawJson(Box<str>);

impl RawJson {
    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the value cannot be JSON (a map
    /// with keys that are no strings, a failing `Serialize`). The caller's code is at fault.
    #[inline]
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, ModelError> {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self(text.into())),
            Err(_) => Err(ModelError::encode()),
        }
    }

    /// Takes text that must be exactly one JSON value.
    ///
    /// # Errors
    /// [`ModelErrorKind::Malformed`](crate::ModelErrorKind::Malformed) when it is not.
    #[inline]
    pub fn from_text(text: impl Into<String>) -> Result<Self, ModelError> {
        let text = text.into();
        let value = json::trimmed(&text)?;
        Ok(if value.len() == text.len() { Self(text.into()) } else { Self(value.into()) })
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Parses the value; borrowed text is possible.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the value is not of that shape. Who
    /// sent the activity is at fault; a retry does not help.
    #[inline]
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ModelError> {
        serde_json::from_str(self.get()).map_err(|error| ModelError::read(&error))
    }

    /// The value as `serde_json` keeps it.
    #[must_use]
    #[inline]
    pub fn into_inner(self) -> Box<RawValue> {
        RawValue::from_string(self.0.into()).unwrap_or_default()
    }

    /// Text that is known to be one JSON value without blanks around it.
    pub(crate) fn checked(text: &str) -> Self {
        Self(text.into())
    }

    /// A value of the model as JSON.
    #[inline]
    pub(crate) fn of<T: Value>(value: &T) -> Result<Self, ModelError> {
        let json = json::write(Vec::with_capacity(256), &value.datum())?;
        String::from_utf8(json).map(|text| Self(text.into())).map_err(|_| ModelError::encode())
    }

    /// A value of the model from JSON.
    #[inline]
    pub(crate) fn read<T: Value>(&self) -> Result<T, ModelError> {
        json::read(self.get())
    }
}

impl From<Box<RawValue>> for RawJson {
    #[inline]
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

/// Any value tree is JSON.
impl From<serde_json::Value> for RawJson {
    #[inline]
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<&str> for RawJson {
    /// The text as a JSON string; [`RawJson::from_text`] takes JSON itself.
    #[inline]
    fn from(text: &str) -> Self {
        Self::from(serde_json::Value::from(text))
    }
}

impl From<String> for RawJson {
    /// The text as a JSON string; [`RawJson::from_text`] takes JSON itself.
    #[inline]
    fn from(text: String) -> Self {
        Self::from(serde_json::Value::from(text))
    }
}

impl PartialEq for RawJson {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes of JSON>", self.get().len())
    }
}

impl<'de> Deserialize<'de> for RawJson {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for RawJson {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.get()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelErrorKind;

    #[test]
    fn bytes_are_kept() {
        let text = r#"{"b":1e3,"a":[1.10,"\u00e9",{"b":null}]}"#;
        let raw = RawJson::from_text(text).unwrap();
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
        assert_eq!(format!("{raw:?}"), format!("<{} bytes of JSON>", text.len()));
    }

    #[test]
    fn errors_have_a_kind_and_no_content() {
        let error = RawJson::from_text("{\"secret\":}").unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Malformed);
        let error = RawJson::from_text("\"secret\"").unwrap().parse::<bool>().unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Shape);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
