use std::{fmt, str::FromStr, sync::Arc};

/// The scopes of a token request: ordered and without duplicates from the start, so that two spellings of one request
/// share one cache entry.
///
/// Comparison ignores ASCII case, as Entra does; the first spelling seen is what goes on the wire.
///
/// ```
/// # use entra_auth::Scopes;
/// let a: Scopes = "User.Read Mail.Read user.read".parse()?;
/// let b: Scopes = "Mail.Read User.Read".parse()?;
/// assert_eq!(a, b);
/// assert_eq!(a.to_string(), "Mail.Read User.Read");
/// # Ok::<(), entra_auth::InvalidScopes>(())
/// ```
#[derive(Clone)]
pub struct Scopes(Arc<Texts>);

struct Texts {
    /// As it goes on the wire.
    wire: Box<str>,
    /// In lower case, for comparison.
    folded: Box<str>,
}

/// The text is not a list of scopes: it is empty, longer than 8 KiB, or a scope holds a character that RFC 6749
/// section 3.3 forbids. Who can fix it: the developer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of scopes: expected one or more of printable ASCII without quotes, separated by spaces")]
pub struct InvalidScopes;

impl Scopes {
    /// Makes the list from separate scopes.
    ///
    /// # Errors
    ///
    /// [`InvalidScopes`] when there is none, or one is not a scope.
    pub fn new<S: AsRef<str>>(scopes: impl IntoIterator<Item = S>) -> Result<Self, InvalidScopes> {
        let mut text = String::new();
        for scope in scopes {
            text.push_str(scope.as_ref());
            text.push(' ');
        }
        Self::ordered(&text)
    }

    fn ordered(text: &str) -> Result<Self, InvalidScopes> {
        let mut all: Vec<(String, &str)> = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            // RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
            if !scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                return Err(InvalidScopes);
            }
            let folded = scope.to_ascii_lowercase();
            if let Err(at) = all.binary_search_by(|(other, _)| other.cmp(&folded)) {
                all.insert(at, (folded, scope));
            }
        }
        let mut wire = String::new();
        for (_, scope) in &all {
            if !wire.is_empty() {
                wire.push(' ');
            }
            wire.push_str(scope);
        }
        if wire.is_empty() || wire.len() > 8192 {
            return Err(InvalidScopes);
        }
        Ok(Self(Arc::new(Texts { folded: wire.to_ascii_lowercase().into(), wire: wire.into() })))
    }

    /// The scopes in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.wire.split(' ')
    }

    /// The list as it goes on the wire, separated by spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.wire
    }

    /// The list as it is compared: two lists are equal when these texts are.
    #[cfg(feature = "acquire")]
    pub(crate) fn folded(&self) -> &str {
        &self.0.folded
    }
}

impl FromStr for Scopes {
    type Err = InvalidScopes;

    fn from_str(text: &str) -> Result<Self, InvalidScopes> {
        Self::new([text])
    }
}

impl TryFrom<&str> for Scopes {
    type Error = InvalidScopes;

    fn try_from(text: &str) -> Result<Self, InvalidScopes> {
        text.parse()
    }
}

impl PartialEq for Scopes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.folded == other.0.folded
    }
}

impl Eq for Scopes {}

impl std::hash::Hash for Scopes {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.folded.hash(state);
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({})", self.0.wire)
    }
}

impl fmt::Display for Scopes {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_case_and_repeats_do_not_matter() {
        let a = Scopes::new(["B", "a", "b", "A"]).unwrap();
        let b = Scopes::new(["a b"]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "a B");
        assert_ne!(a, Scopes::new(["a"]).unwrap());
        let hash = |scopes: &Scopes| {
            use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
            BuildHasherDefault::<DefaultHasher>::default().hash_one(scopes)
        };
        assert_eq!(hash(&a), hash(&b));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for bad in ["", "   ", "a\nb", "a\"b", "a\\b", "ä", "a\tb"] {
            assert_eq!(bad.parse::<Scopes>(), Err(InvalidScopes), "{bad:?}");
        }
        assert!("x".repeat(9000).parse::<Scopes>().is_err());
    }
}
