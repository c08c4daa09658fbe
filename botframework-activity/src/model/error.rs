use std::fmt;

use super::json::Stop;

/// Why a document or a member of it could not be read or written.
///
/// It names the member and the place, never the content: the text of a `serde_json` error can quote
/// what the sender wrote, so it is not kept. A retry never helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    kind: ModelErrorKind,
    member: Option<&'static str>,
    line: usize,
    column: usize,
}

/// The kinds of [`ModelError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelErrorKind {
    /// Not JSON, or not UTF-8. The sender must fix it; an HTTP host answers 400.
    Malformed,
    /// JSON, but not of the expected shape: a wrong type, a missing `type`, a member that appears
    /// twice. The sender must fix it; an HTTP host answers 400.
    Shape,
    /// A value could not be written as JSON. The caller's code must fix it.
    Encode,
}

impl ModelError {
    #[inline]
    pub(crate) fn read(error: &serde_json::Error) -> Self {
        let kind = match error.classify() {
            serde_json::error::Category::Data => ModelErrorKind::Shape,
            _ => ModelErrorKind::Malformed,
        };
        Self { kind, member: None, line: error.line(), column: error.column() }
    }

    #[inline]
    pub(crate) fn stopped(stop: Stop, line: usize, column: usize) -> Self {
        let kind = if stop == Stop::Malformed { ModelErrorKind::Malformed } else { ModelErrorKind::Shape };
        Self { kind, member: None, line, column }
    }

    #[inline]
    pub(crate) fn of_kind(kind: ModelErrorKind) -> Self {
        Self { kind, member: None, line: 0, column: 0 }
    }

    #[inline]
    pub(crate) fn encode() -> Self {
        Self::of_kind(ModelErrorKind::Encode)
    }

    #[must_use]
    #[inline]
    pub(crate) fn in_member(mut self, member: &'static str) -> Self {
        self.member = Some(member);
        self
    }

    /// What went wrong.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> ModelErrorKind {
        self.kind
    }

    /// The wire name of the member of the activity that could not be read; `None` for the whole
    /// document.
    #[must_use]
    #[inline]
    pub fn member(&self) -> Option<&'static str> {
        self.member
    }

    /// Line and column (both from 1) in the document or the member, when known.
    #[must_use]
    #[inline]
    pub fn position(&self) -> Option<(usize, usize)> {
        (self.line > 0).then_some((self.line, self.column))
    }
}

impl fmt::Display for ModelError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ModelErrorKind::Malformed => "malformed JSON",
            ModelErrorKind::Shape => "unexpected JSON shape",
            ModelErrorKind::Encode => "value cannot be written as JSON",
        })?;
        if let Some(member) = self.member {
            write!(f, " in `{member}`")?;
        }
        if let Some((line, column)) = self.position() {
            write!(f, " at line {line} column {column}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ModelError {}
