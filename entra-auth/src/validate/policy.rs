use std::collections::BTreeSet;

use crate::{BuildError, ClientId, TenantId, TokenError, TokenErrorKind};

/// The tenant of personal Microsoft accounts.
const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Which tenants' tokens are let in. There is no default: a multi-tenant application without a list is a decision, not
/// an accident.
///
/// ```
/// # use entra_auth::{TenantId, TenantPolicy};
/// fn policy(own: TenantId) -> TenantPolicy {
///     TenantPolicy::Single(own)
/// }
/// ```
///
/// ```compile_fail,E0277
/// # use entra_auth::{TenantId, TenantPolicy};
/// fn policy(own: TenantId) -> TenantPolicy {
///     Default::default()
/// }
/// ```
///
/// A token of another tenant may be perfectly signed. See
/// <https://learn.microsoft.com/entra/identity-platform/claims-validation#validate-the-tenant>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantPolicy {
    /// This tenant alone.
    Single(TenantId),
    /// These tenants.
    Allow(BTreeSet<TenantId>),
    /// Every organisation in the cloud, but no personal Microsoft accounts. The application decides by tenant and user
    /// what they may do.
    AnyOrganization,
    /// Everyone who has any Microsoft account. The application decides by tenant and user what they may do.
    Any,
}

impl TenantPolicy {
    /// These tenants.
    #[must_use]
    pub fn allow(tenants: impl IntoIterator<Item = TenantId>) -> Self {
        Self::Allow(tenants.into_iter().collect())
    }

    /// Whether tokens of this tenant are let in.
    #[must_use]
    pub fn allows(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Single(only) => only == tenant,
            Self::Allow(tenants) => tenants.contains(tenant),
            Self::AnyOrganization => tenant.is_guid() && tenant.as_str() != PERSONAL_ACCOUNTS,
            Self::Any => tenant.is_guid(),
        }
    }

    /// A policy that can ever let someone in: tokens carry GUIDs, so a policy of domain names is a mistake.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let guids_only = match self {
            Self::Single(tenant) => tenant.is_guid(),
            Self::Allow(tenants) if tenants.is_empty() => {
                return Err(BuildError::new("the tenant policy allows nobody: its list is empty"));
            }
            Self::Allow(tenants) => tenants.iter().all(TenantId::is_guid),
            Self::AnyOrganization | Self::Any => true,
        };
        if guids_only {
            Ok(())
        } else {
            Err(BuildError::new("the tenant policy names a domain; tokens carry GUIDs, so give the tenant's GUID"))
        }
    }
}

/// Which applications may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedCallers {
    /// These applications, by client id.
    Only(BTreeSet<ClientId>),
    /// Every application of every tenant that the tenant policy lets in.
    Any,
}

impl AllowedCallers {
    /// These applications.
    #[must_use]
    pub fn only(callers: impl IntoIterator<Item = ClientId>) -> Self {
        Self::Only(callers.into_iter().collect())
    }

    /// Nobody.
    pub(crate) const fn nobody() -> Self {
        Self::Only(BTreeSet::new())
    }

    #[inline]
    pub(crate) fn check(&self, caller: Option<&ClientId>) -> Result<(), TokenError> {
        let allowed = match self {
            Self::Any => true,
            Self::Only(callers) => caller.is_some_and(|caller| callers.contains(caller)),
        };
        if allowed { Ok(()) } else { Err(TokenErrorKind::CallerNotAllowed.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(text: &str) -> TenantId {
        text.parse().unwrap()
    }

    #[test]
    fn who_is_let_in() {
        let [a, b] = [tenant("aaaaaaaa-0000-0000-0000-000000000001"), tenant("bbbbbbbb-0000-0000-0000-000000000002")];
        let personal = tenant(PERSONAL_ACCOUNTS);
        for (policy, expected) in [
            (TenantPolicy::Single(a.clone()), [true, false, false]),
            (TenantPolicy::allow([a.clone(), b.clone()]), [true, true, false]),
            (TenantPolicy::AnyOrganization, [true, true, false]),
            (TenantPolicy::Any, [true, true, true]),
        ] {
            assert_eq!([&a, &b, &personal].map(|tenant| policy.allows(tenant)), expected, "{policy:?}");
            assert!(policy.check().is_ok());
        }
        assert!(!TenantPolicy::Any.allows(&tenant("contoso.com")));
    }

    #[test]
    fn a_policy_that_lets_nobody_in_is_a_mistake() {
        assert!(TenantPolicy::allow([]).check().is_err());
        assert!(TenantPolicy::Single(tenant("contoso.onmicrosoft.com")).check().is_err());
        assert!(TenantPolicy::allow([tenant("contoso.onmicrosoft.com")]).check().is_err());
    }
}
