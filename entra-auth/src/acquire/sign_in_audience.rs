use crate::TenantId;

/// Whose accounts may be chosen at a sign-in: what stands in the path of the authorization endpoint
/// (<https://learn.microsoft.com/entra/identity-platform/msal-client-application-configuration#authority>).
///
/// The names are those of `signInAudience` in a registration, which must allow it. Beyond one tenant anybody who has an
/// account can come back from the sign-in; who is let in is decided by the [`TenantPolicy`](crate::TenantPolicy) of the
/// [`IdTokenValidator`](crate::IdTokenValidator), and it has no default.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInAudience {
    /// One tenant, guests included. The id token must be of that tenant.
    Tenant(TenantId),
    /// Every organisation (`organizations`).
    Organizations,
    /// Every organisation, and personal Microsoft accounts (`common`).
    OrganizationsAndPersonal,
    /// Personal Microsoft accounts alone (`consumers`).
    Personal,
}

const ORGANIZATIONS: &str = "organizations";
const COMMON: &str = "common";
const CONSUMERS: &str = "consumers";

impl SignInAudience {
    /// What stands in the path.
    #[inline]
    pub(super) fn into_segment(self) -> TenantId {
        match self {
            Self::Tenant(tenant) => tenant,
            Self::Organizations => TenantId::placeholder(ORGANIZATIONS),
            Self::OrganizationsAndPersonal => TenantId::placeholder(COMMON),
            Self::Personal => TenantId::placeholder(CONSUMERS),
        }
    }

    /// From what stood in the path.
    #[inline]
    pub(super) fn of_segment(text: &str) -> Option<Self> {
        match text {
            ORGANIZATIONS => Some(Self::Organizations),
            COMMON => Some(Self::OrganizationsAndPersonal),
            CONSUMERS => Some(Self::Personal),
            _ => text.parse().ok().map(Self::Tenant),
        }
    }
}

impl From<TenantId> for SignInAudience {
    fn from(tenant: TenantId) -> Self {
        Self::Tenant(tenant)
    }
}

/// Whether a path is for users of many tenants.
pub(super) fn is_shared(segment: &TenantId) -> bool {
    matches!(segment.as_str(), ORGANIZATIONS | COMMON | CONSUMERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_back() {
        for (audience, text, shared) in [
            (SignInAudience::Organizations, "organizations", true),
            (SignInAudience::OrganizationsAndPersonal, "common", true),
            (SignInAudience::Personal, "consumers", true),
            (SignInAudience::Tenant("contoso.com".parse().unwrap()), "contoso.com", false),
        ] {
            let segment = audience.clone().into_segment();
            assert_eq!((segment.as_str(), is_shared(&segment)), (text, shared));
            assert_eq!(SignInAudience::of_segment(text), Some(audience));
        }
        assert_eq!(SignInAudience::of_segment("../evil"), None);
    }
}
