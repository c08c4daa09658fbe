//! Why something was kept as raw JSON.

use std::fmt;

/// Why an event, item, content part or annotation was kept as raw JSON instead of its type.
///
/// The stream logs it as a warning; it never ends a stream.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The `type` member is missing or not a string.
    MissingType,
    /// The `type` is new to this version.
    UnknownType,
    /// The `type` is known, the members have another shape than documented.
    BadBody,
}

impl Problem {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingType => "missing_type",
            Self::UnknownType => "unknown_type",
            Self::BadBody => "bad_body",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A body that has not the documented shape. Carries no text: parse errors quote values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadBody;

impl From<crate::JsonError> for BadBody {
    fn from(_: crate::JsonError) -> Self {
        Self
    }
}

impl From<serde_json::Error> for BadBody {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}
