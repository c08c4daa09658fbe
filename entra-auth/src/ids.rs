//! Identifiers that are parsed once, at the edge.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the identifier it was said to be.
///
/// The text itself is not shown: it may come from an attacker or be a misplaced secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {why}")]
pub struct ParseIdError {
    what: &'static str,
    why: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as it goes on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let parse: fn(&str) -> Result<Arc<str>, &'static str> = $parse;
                parse(text).map(Self).map_err(|why| ParseIdError { what: $what, why })
            }
        }

        impl TryFrom<&str> for $name {
            type Error = ParseIdError;

            fn try_from(text: &str) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// A tenant: its GUID (kept in lower case) or one of its verified domain names.
    ///
    /// The shared names `common`, `organizations` and `consumers` are no tenants and are refused.
    TenantId, "tenant id", parse_tenant
}

id! {
    /// The application (client) id of an app registration: a GUID, kept in lower case.
    ClientId, "client id", guid
}

id! {
    /// The object id (`oid`) of a user or service principal: a GUID, kept in lower case.
    ObjectId, "object id", guid
}

impl TenantId {
    /// Whether this is the GUID form, the only one that tokens carry in `tid`.
    #[must_use]
    pub fn is_guid(&self) -> bool {
        guid(&self.0).is_ok()
    }

    /// What stands in a path in place of a tenant. It never leaves this crate as a tenant.
    #[cfg(all(feature = "acquire", feature = "validate"))]
    #[inline]
    pub(crate) fn placeholder(name: &'static str) -> Self {
        Self(name.into())
    }
}

/// The key under which everything that belongs to a user is kept: tenant and object id, never a name or address.
///
/// There is no general constructor. A key is made from a validated user token, or by a crate that has verified where
/// the ids come from and says so with [`UserKey::assume_verified`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey {
    tenant: TenantId,
    object_id: ObjectId,
}

impl UserKey {
    /// Makes the key of a user whose ids come from a source the caller has verified, such as a signed request of the
    /// Bot Framework channel. Ids out of a request body, a cookie or a query string are not verified.
    #[must_use]
    pub const fn assume_verified(tenant: TenantId, object_id: ObjectId) -> Self {
        Self { tenant, object_id }
    }

    /// The user's home tenant.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The user's object id in that tenant.
    #[must_use]
    pub const fn object_id(&self) -> &ObjectId {
        &self.object_id
    }
}

/// Shows no id: logs carry user ids only as a keyed hash.
impl fmt::Debug for UserKey {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserKey").field("tenant", &self.tenant).field("object_id", &"[redacted]").finish()
    }
}

/// An id that follows one logical call through the logs of both sides (`client-request-id`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(Box<str>);

impl CorrelationId {
    /// A fresh random id in the form of a version 4 UUID. It is unique, not secret.
    #[must_use]
    pub fn random() -> Self {
        let [a, b] = [crate::random::weak_u64(), crate::random::weak_u64()];
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | ((b >> 48) & 0x3fff),
            b & 0xffff_ffff_ffff,
        );
        Self(text.into())
    }

    /// The id as it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CorrelationId {
    type Err = ParseIdError;

    #[inline]
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.len() {
            1..=128 if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) => Ok(Self(text.into())),
            _ => Err(ParseIdError { what: "correlation id", why: "1 to 128 letters, digits, '-', '_' or '.'" }),
        }
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn guid(text: &str) -> Result<Arc<str>, &'static str> {
    const WHY: &str = "expected a GUID such as 11111111-2222-3333-4444-555555555555";
    let shape_holds = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if shape_holds { Ok(text.to_ascii_lowercase().into()) } else { Err(WHY) }
}

fn parse_tenant(text: &str) -> Result<Arc<str>, &'static str> {
    if let Ok(id) = guid(text) {
        return Ok(id);
    }
    let lower = text.to_ascii_lowercase();
    if matches!(&*lower, "common" | "organizations" | "consumers") {
        return Err("common, organizations and consumers name no tenant; give the tenant's GUID");
    }
    let label_holds = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if lower.len() <= 253 && lower.as_bytes().contains(&b'.') && lower.split('.').all(label_holds) {
        Ok(lower.into())
    } else {
        Err("expected a GUID or a domain name such as contoso.onmicrosoft.com")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants() {
        for (text, expected) in [
            ("72F988BF-86f1-41af-91ab-2d7cd011db47", Some("72f988bf-86f1-41af-91ab-2d7cd011db47")),
            ("Contoso.OnMicrosoft.com", Some("contoso.onmicrosoft.com")),
            ("common", None),
            ("Organizations", None),
            ("consumers", None),
            ("", None),
            ("contoso", None),
            ("a..b", None),
            ("-a.b", None),
            ("../x.y", None),
            ("a.b/c", None),
            ("a.b?c", None),
            ("72f988bf86f141af91ab2d7cd011db47", None),
        ] {
            assert_eq!(text.parse::<TenantId>().ok().as_ref().map(TenantId::as_str), expected, "{text}");
        }
    }

    #[test]
    fn guids_are_lower_case_and_exact() {
        let id: ClientId = "ABCDEF01-2345-6789-abcd-ef0123456789".parse().unwrap();
        assert_eq!(id.as_str(), "abcdef01-2345-6789-abcd-ef0123456789");
        for bad in ["{abcdef01-2345-6789-abcd-ef0123456789}", "abcdef01-2345-6789-abcd-ef012345678", " "] {
            assert!(bad.parse::<ClientId>().is_err());
        }
    }

    #[test]
    fn correlation_ids_are_uuid_v4_and_distinct() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| CorrelationId::random()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert!(guid(id.as_str()).is_ok());
            assert_eq!(&id.as_str()[14..15], "4");
            assert!(matches!(&id.as_str()[19..20], "8" | "9" | "a" | "b"));
        }
    }

    #[test]
    fn errors_do_not_repeat_the_text() {
        let error = "pasted-secret".parse::<ClientId>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("pasted"));
    }
}
