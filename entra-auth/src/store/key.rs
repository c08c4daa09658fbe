use std::fmt;

/// A kind of record, with its promise: may it be evicted when room is short?
///
/// ```
/// # use entra_auth::Namespace;
/// const SESSIONS: Namespace = Namespace::precious("sessions");
/// let key = SESSIONS.partition(["tenant", "user"]).key(["conversation"]);
/// assert_ne!(key, SESSIONS.partition(["tenantuser"]).key(["conversation"]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    name: &'static str,
    precious: bool,
}

impl Namespace {
    /// Records that can be made again, such as cached tokens: the store may drop them when room is short.
    #[must_use]
    pub const fn rebuildable(name: &'static str) -> Self {
        Self { name, precious: false }
    }

    /// Records that cannot be made again, such as accepted turns: the store refuses new ones rather than drop them.
    #[must_use]
    pub const fn precious(name: &'static str) -> Self {
        Self { name, precious: true }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Whether records are never evicted.
    #[must_use]
    pub const fn is_precious(self) -> bool {
        self.precious
    }

    /// The partition for these parts, for example tenant and user. Parts cannot run into each other.
    #[must_use]
    pub fn partition<S: AsRef<str>>(self, parts: impl IntoIterator<Item = S>) -> Partition {
        Partition { namespace: self, id: joined(parts) }
    }
}

/// Records that are removed together, for example everything of one user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Partition {
    namespace: Namespace,
    id: Box<str>,
}

impl Partition {
    /// The kind of record.
    #[must_use]
    pub const fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The parts in an unambiguous encoding. It can hold user ids: a store that is shared should hash it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key for these parts within the partition.
    #[must_use]
    pub fn key<S: AsRef<str>>(&self, parts: impl IntoIterator<Item = S>) -> Key {
        Key { partition: self.clone(), name: joined(parts) }
    }
}

/// Names one record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    partition: Partition,
    name: Box<str>,
}

impl Key {
    /// The partition it lies in.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The parts within the partition in an unambiguous encoding.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Shows the namespace only: the rest can hold user ids.
impl fmt::Debug for Partition {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({}/…)", self.namespace.name)
    }
}

/// Shows the namespace only: the rest can hold user ids.
impl fmt::Debug for Key {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}/…)", self.partition.namespace.name)
    }
}

/// Net strings: every part with its length in front, so that `a.b`+`c` and `a`+`b.c` differ.
fn joined<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> Box<str> {
    let mut all = String::with_capacity(128);
    for part in parts {
        append(&mut all, part.as_ref());
    }
    all.into()
}

fn append(all: &mut String, part: &str) {
    use fmt::Write;
    // Writing to a string cannot fail.
    let _ = write!(all, "{}:{part}", part.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_parts_are_different_keys(
            a in proptest::collection::vec("[a1:./]{0,4}", 0..4),
            b in proptest::collection::vec("[a1:./]{0,4}", 0..4),
        ) {
            prop_assert_eq!(joined(&a) == joined(&b), a == b);
        }
    }

    #[test]
    fn debug_shows_no_id() {
        let key = Namespace::precious("flow").partition(["marker"]).key(["marker"]);
        assert!(!format!("{key:?} {:?}", key.partition()).contains("marker"));
    }
}
