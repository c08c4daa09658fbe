use std::{fmt, sync::Arc};

use crate::BuildError;

/// Additional parameters of a token request; see [`TokenRequest::with_parameter`](crate::TokenRequest::with_parameter).
///
/// A clone is cheap. `Debug` shows names and no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExtraParameters(Option<Arc<Vec<Parameter>>>);

/// Name and value.
type Parameter = (Box<str>, Box<str>);

/// More, or longer ones, no real request has.
const MAX: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 2048;

/// What says who asks, for whom, for what and with which proof: set by the credential and the request, by nobody else.
/// Each stands for itself and for every name that begins with it and `_`.
const RESERVED: [&str; 26] = [
    "access_token",
    "actor_token",
    "assertion",
    "audience",
    "claims",
    "client",
    "client_id",
    "code",
    "device_code",
    "fmi_path",
    "grant_type",
    "id_token",
    "nonce",
    "password",
    "redirect_uri",
    "refresh_token",
    "requested_token",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "subject_token",
    "tenant",
    "user",
    "username",
];

impl ExtraParameters {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().iter().map(|(name, value)| (&**name, &**value))
    }

    /// In order of the names.
    fn all(&self) -> &[Parameter] {
        self.0.as_ref().map_or(&[], |all| all.as_slice())
    }

    #[inline]
    pub(crate) fn insert(&mut self, name: &str, value: &str) -> Result<(), BuildError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(BuildError::new("a parameter's name has 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        if value.len() > MAX_VALUE || value.chars().any(char::is_control) {
            return Err(BuildError::new("a parameter's value has at most 2,048 bytes and no control characters"));
        }
        let lower = name.to_ascii_lowercase();
        let is_reserved = |own: &str| {
            lower.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-', '.']))
        };
        if RESERVED.iter().any(|own| is_reserved(own)) {
            return Err(BuildError::new(
                "this parameter says who asks, for whom, for what or with which proof; the credential and the request \
                 set it",
            ));
        }
        let mut all = self.all().to_vec();
        // A name twice in two spellings would leave it to the server which one counts.
        all.retain(|(old, _)| !old.eq_ignore_ascii_case(name));
        let at = all.partition_point(|(old, _)| **old < *name);
        all.insert(at, (name.into(), value.into()));
        if all.len() > MAX {
            return Err(BuildError::new("a token request has at most 16 additional parameters"));
        }
        self.0 = Some(Arc::new(all));
        Ok(())
    }

    /// Tells one set from every other; `None` for the empty one.
    #[cfg(feature = "acquire")]
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        let all = self.0.as_ref()?;
        let mut text = Vec::new();
        for (name, value) in all.iter() {
            for part in [name, value] {
                text.extend_from_slice(&(part.len() as u64).to_be_bytes());
                text.extend_from_slice(part.as_bytes());
            }
        }
        Some(crate::acquire::sha256(&text))
    }
}

impl fmt::Debug for ExtraParameters {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_changes_who_asks_for_what_can_be_smuggled_in() {
        let mut parameters = ExtraParameters::default();
        for name in [
            "client_id",
            "CLIENT_ID",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
            "client-id",
            "grant_type",
            "scope",
            "resource",
            "assertion",
            "assertion_type",
            "requested_token_use",
            "requested_token_type",
            "refresh_token",
            "code",
            "code_verifier",
            "redirect_uri",
            "username",
            "password",
            "user_id",
            "user_federated_identity_credential",
            "claims",
            "device_code",
            "fmi_path",
            "subject_token",
            "actor_token_type",
            "",
            "a b",
            "a=b",
            "a&b",
            "ä",
        ] {
            assert!(parameters.insert(name, "x").is_err(), "{name}");
        }
        assert!(parameters.insert("dc", "line\nbreak").is_err());
        assert!(parameters.insert("dc", &"x".repeat(3000)).is_err());
        assert!(parameters.is_empty());
        for name in ["dc", "slice", "codex", "scopes2", "x-ms-thing", "usage"] {
            assert!(parameters.insert(name, "x").is_ok(), "{name}");
        }
    }

    #[test]
    fn a_name_counts_once_and_the_last_value_wins() {
        let mut parameters = ExtraParameters::default();
        parameters.insert("dc", "one").unwrap();
        parameters.insert("DC", "two").unwrap();
        assert_eq!(parameters.iter().collect::<Vec<_>>(), [("DC", "two")]);
        assert!(!format!("{parameters:?}").contains("two"));
    }

    #[cfg(feature = "acquire")]
    #[test]
    fn sets_are_told_apart_whatever_they_join_to() {
        let set = |pairs: &[(&str, &str)]| {
            let mut parameters = ExtraParameters::default();
            pairs.iter().for_each(|(name, value)| parameters.insert(name, value).unwrap());
            parameters.digest()
        };
        assert_eq!(set(&[]), None);
        assert_eq!(set(&[("a", "1"), ("b", "2")]), set(&[("b", "2"), ("a", "1")]));
        let all = [set(&[("a", "b")]), set(&[("ab", "")]), set(&[("a", ""), ("b", "")]), set(&[("a", "bb")])];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
