//! Who asks for users' tokens: an application with a credential, or one that cannot keep any.

use std::sync::Arc;

use http::Request;
use url::Url;

use super::{
    client::{Identity, claims_parameter},
    wire::{self, Form},
};
use crate::{Authority, Body, ClaimsChallenge, ClientId, CorrelationId, Error, Scopes, TenantId};

#[derive(Clone)]
pub(super) enum Party {
    Confidential(Arc<Identity>),
    Public(Arc<PublicIdentity>),
}

/// A client without a credential.
pub(super) struct PublicIdentity {
    pub(super) authority: Authority,
    pub(super) client_id: ClientId,
    pub(super) challenges: bool,
}

impl Party {
    pub(super) fn authority(&self) -> &Authority {
        match self {
            Self::Confidential(identity) => identity.authority(),
            Self::Public(identity) => &identity.authority,
        }
    }

    pub(super) fn client_id(&self) -> &ClientId {
        match self {
            Self::Confidential(identity) => identity.client_id(),
            Self::Public(identity) => &identity.client_id,
        }
    }

    pub(super) const fn is_public(&self) -> bool {
        matches!(self, Self::Public(_))
    }

    /// The `claims` parameter, when there is one.
    #[inline]
    pub(super) fn claims(&self, claims: Option<&ClaimsChallenge>) -> Option<String> {
        let challenges = match self {
            Self::Confidential(identity) => identity.challenges(),
            Self::Public(identity) => identity.challenges,
        };
        claims_parameter(challenges, claims)
    }

    /// Completes a grant's own parameters with who asks.
    pub(super) async fn request(
        &self,
        tenant: &TenantId,
        mut form: Form<'_>,
        claims: Option<&ClaimsChallenge>,
        id: &CorrelationId,
    ) -> Result<Request<Body>, Error> {
        match self {
            Self::Confidential(identity) => identity.request(tenant, form, claims, id).await,
            Self::Public(identity) => {
                form.push(("client_id", identity.client_id.as_str().into()));
                form.extend(self.claims(claims).map(|claims| ("claims", claims.into())));
                wire::encode(&self.endpoint(tenant, "token"), &form, id)
            }
        }
    }

    /// An endpoint beside the token endpoint, such as `authorize`. Never a regional one: those know no users.
    #[inline]
    pub(super) fn endpoint(&self, tenant: &TenantId, name: &str) -> Url {
        let mut url = self.authority().assertion_audience(tenant);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop().push(name);
        }
        url
    }
}

/// Scopes of OpenID Connect: about the sign-in, not about a resource.
const SIGN_IN_SCOPES: [&str; 3] = ["offline_access", "openid", "profile"];

/// What goes on the wire when a user's identity and a refresh token are wanted too.
#[inline]
pub(super) fn with_sign_in_scopes(scopes: &Scopes) -> Result<Scopes, Error> {
    Scopes::new(scopes.iter().chain(SIGN_IN_SCOPES)).map_err(super::too_many_scopes)
}

/// What is asked of a resource; `None` when the sign-in itself is all that is asked for.
#[inline]
pub(super) fn resource_scopes(scopes: &Scopes) -> Option<Scopes> {
    let is_sign_in = |scope: &str| SIGN_IN_SCOPES.iter().chain(&["email"]).any(|own| own.eq_ignore_ascii_case(scope));
    Scopes::new(scopes.iter().filter(|scope| !is_sign_in(scope))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_users_never_go_to_a_region() {
        let authority = Authority::default().in_region("westus2").unwrap();
        let client_id = "22222222-2222-2222-2222-222222222222".parse().unwrap();
        let party = Party::Public(Arc::new(PublicIdentity { authority, client_id, challenges: false }));
        let tenant = "contoso.onmicrosoft.com".parse().unwrap();
        assert_eq!(
            party.endpoint(&tenant, "authorize").as_str(),
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/authorize"
        );
    }

    #[test]
    fn scopes_of_the_sign_in_are_told_from_those_of_a_resource() {
        let scopes: Scopes = "User.Read OpenID email".parse().unwrap();
        assert_eq!(with_sign_in_scopes(&scopes).unwrap().to_string(), "email offline_access OpenID profile User.Read");
        assert_eq!(resource_scopes(&scopes).unwrap().to_string(), "User.Read");
        assert!(resource_scopes(&"openid profile".parse().unwrap()).is_none());
    }
}
