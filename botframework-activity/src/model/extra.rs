use std::fmt;

use super::raw::RawJson;

/// Members of a wire object that its type does not know, in the order of arrival, each with its own
/// bytes.
///
/// They are written back after the known members. A name that the type does know must be set through
/// the field; writing an object whose extra members repeat a known name is an error.
///
/// ```
/// use botframework_activity::{Activity, RawJson};
///
/// let mut activity = Activity::from_json(br#"{"type":"message","x-new":{"n":1.50}}"#)?;
/// assert_eq!(activity.extra.get("x-new").map(RawJson::get), Some(r#"{"n":1.50}"#));
/// activity.extra.insert("x-mine", RawJson::from_value(&7)?);
/// assert_eq!(activity.extra.len(), 2);
/// # Ok::<(), botframework_activity::ModelError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extra(Vec<(Box<str>, RawJson)>);

impl Extra {
    /// `None` when a name appears twice.
    pub(crate) fn from_members(members: Vec<(Box<str>, RawJson)>) -> Option<Self> {
        if members.len() > 1 {
            let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair.first() == pair.last()) {
                return None;
            }
        }
        Some(Self(members))
    }

    /// The value of the member with this name.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&RawJson> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Sets a member; returns the value it had.
    #[inline]
    pub fn insert(&mut self, name: impl Into<Box<str>>, value: RawJson) -> Option<RawJson> {
        let name = name.into();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((name, value));
                None
            }
        }
    }

    /// Removes a member; returns the value it had.
    #[inline]
    pub fn remove(&mut self, name: &str) -> Option<RawJson> {
        let at = self.0.iter().position(|(key, _)| &**key == name)?;
        Some(self.0.remove(at).1)
    }

    /// The members in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many members there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Shows how many members there are, not their names or values.
impl fmt::Debug for Extra {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} members>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::from_text(text).unwrap()
    }

    #[test]
    fn a_name_that_appears_twice_is_refused() {
        let members = |names: &[&str]| names.iter().map(|n| ((*n).into(), raw("1"))).collect();
        assert!(Extra::from_members(members(&["a", "b", "c"])).is_some());
        assert!(Extra::from_members(members(&["a", "b", "a"])).is_none());
    }

    #[test]
    fn insert_replaces_and_remove_returns() {
        let mut extra = Extra::default();
        assert_eq!(extra.insert("a", raw("1")), None);
        assert_eq!(extra.insert("a", raw("2")), Some(raw("1")));
        assert_eq!(extra.len(), 1);
        assert_eq!(extra.remove("a"), Some(raw("2")));
        assert_eq!(extra.remove("a"), None);
        assert!(extra.is_empty());
    }

    #[test]
    fn debug_shows_no_content() {
        let mut extra = Extra::default();
        extra.insert("private", raw("\"secret\""));
        assert_eq!(format!("{extra:?}"), "<1 members>");
    }
}
