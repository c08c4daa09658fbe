use std::borrow::Cow;

use crate::RawJson;
use crate::model::object::Object;

/// One JSON value, which can be taken once. `None` and `false` stand for `null`.
pub(crate) trait Source {
    /// A string that is probably one of the known ones.
    fn word(&mut self, known: &'static [&'static str]) -> Result<Option<Cow<'static, str>>, Stop>;

    fn string(&mut self) -> Result<Option<String>, Stop>;

    fn truth(&mut self) -> Result<Option<bool>, Stop>;

    fn integer(&mut self) -> Result<Option<i64>, Stop>;

    fn float(&mut self) -> Result<Option<f64>, Stop>;

    /// Any value in its own bytes.
    fn raw(&mut self) -> Result<Option<RawJson>, Stop>;

    /// Any value in its own bytes, `null` among them.
    fn raw_or_null(&mut self) -> Result<RawJson, Stop>;

    fn object(&mut self, into: &mut dyn Object) -> Result<bool, Stop>;

    fn list(&mut self, item: &mut dyn FnMut(&mut dyn Source) -> Result<(), Stop>) -> Result<bool, Stop>;
}

/// Why a value could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Not JSON.
    Malformed,
    /// JSON of another shape, with what is wrong.
    Shape(&'static str),
    /// A required member is not there.
    Missing(&'static str),
    /// The source keeps its own error.
    Kept,
}

impl Stop {
    /// A value that must be there was `null`.
    pub(crate) const NULL: Self = Self::Shape("null where a value must be");
}
