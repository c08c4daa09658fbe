use std::fmt;

use url::Url;

use super::{
    authorization_answer::{Members, declined, oauth},
    client::ConfidentialClient,
    pkce::random_text,
};
use crate::{Error, ErrorKind, Scopes, Secret, TenantId, TokenCredential, TokenRequest, is_https_or_loopback};

/// The page on which an administrator consents for a whole tenant
/// (<https://learn.microsoft.com/entra/identity-platform/v2-admin-consent>).
///
/// Send the administrator's browser to [`AdminConsent::url`], keep [`AdminConsent::state`] for that browser, and read
/// what comes back with [`AdminConsentAnswer::parse`].
pub struct AdminConsent {
    url: Url,
    state: Secret,
}

impl ConfidentialClient {
    /// The page on which an administrator of `tenant` consents to `scopes`: `https://graph.microsoft.com/.default` for
    /// everything that the registration lists, application permissions included.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] when the redirect URI is neither https nor `http` on a loopback address.
    #[inline]
    pub fn admin_consent(&self, tenant: &TenantId, scopes: &Scopes, redirect_uri: &Url) -> Result<AdminConsent, Error> {
        if !is_https_or_loopback(redirect_uri) || redirect_uri.fragment().is_some() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the redirect URI must be https, or http on a loopback address, and have no fragment",
            ));
        }
        let state = random_text()?;
        let mut url = self.inner().identity.authority().url().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([tenant.as_str(), "v2.0", "adminconsent"]);
        }
        url.query_pairs_mut()
            .append_pair("client_id", self.client_id().as_str())
            .append_pair("scope", scopes.as_str())
            .append_pair("redirect_uri", redirect_uri.as_str())
            .append_pair("state", state.expose());
        Ok(AdminConsent { url, state })
    }
}

impl AdminConsent {
    /// Where to send the administrator's browser.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// What the answer must bring back; keep it bound to the browser, for one use.
    #[must_use]
    pub const fn state(&self) -> &Secret {
        &self.state
    }
}

impl fmt::Debug for AdminConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminConsent")
    }
}

/// What came back from the consent page: by its own word, consent was given.
///
/// Anyone can call the redirect URI and name any tenant. Until [`UnconfirmedTenant::confirm`] has a token of that
/// tenant, nothing follows from the answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct AdminConsentAnswer {
    /// The tenant that the answer names.
    pub tenant: UnconfirmedTenant,
    /// The scopes that the answer names.
    pub scopes: Option<Scopes>,
}

impl AdminConsentAnswer {
    /// Reads the query of the request to the redirect URI (without the `?`) for the consent whose state is `state`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reauthenticate`] when the state is another: the answer belongs to no consent of this browser.
    /// [`ErrorKind::ConsentRequired`] when the administrator declined, or what Entra's error says.
    /// [`ErrorKind::Protocol`] for anything that is no such answer.
    #[inline]
    pub fn parse(query: &str, state: &Secret) -> Result<Self, Error> {
        let members = Members::parse(query)?;
        let given = members.get("state").map(Secret::from);
        if state.is_empty() || given.as_ref() != Some(state) {
            return Err(Error::new(
                ErrorKind::Reauthenticate,
                "the answer does not belong to this consent; start again",
            ));
        }
        if let Some(error) = members.get("error") {
            return Err(declined(oauth(error, &members)));
        }
        let consented = members.get("admin_consent").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let tenant = members.get("tenant").and_then(|text| text.parse().ok()).filter(TenantId::is_guid);
        match tenant {
            Some(tenant) if consented => Ok(Self {
                tenant: UnconfirmedTenant(tenant),
                scopes: members.get("scope").and_then(|scopes| scopes.parse().ok()),
            }),
            _ => Err(Error::new(ErrorKind::Protocol, "the answer says neither that consent was given nor why not")),
        }
    }
}

/// A tenant that somebody's browser named. It becomes a [`TenantId`] only by a token of that tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct UnconfirmedTenant(TenantId);

impl UnconfirmedTenant {
    /// Gets an application's own token in that tenant, which Entra gives only where the application has been let in.
    ///
    /// This proves that the application is installed there. It does not prove that whoever sits at the browser belongs to
    /// that tenant: for that, they sign in.
    ///
    /// # Errors
    ///
    /// What the token request says; [`ErrorKind::Configuration`] (AADSTS700016) where the application is unknown. Consent
    /// can take a minute to arrive everywhere.
    pub async fn confirm(self, credential: &dyn TokenCredential, scopes: &Scopes) -> Result<TenantId, Error> {
        credential.get_token(&TokenRequest::new(scopes.clone()).with_tenant(self.0.clone())).await?;
        Ok(self.0)
    }
}

impl fmt::Debug for UnconfirmedTenant {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnconfirmedTenant({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "11111111-1111-1111-1111-111111111111";

    #[test]
    fn only_an_answer_to_this_consent_counts() {
        let state = Secret::new("s");
        let good = format!("admin_consent=True&tenant={TENANT}&scope=https%3A%2F%2Fg%2F.default&state=s");
        let answer = AdminConsentAnswer::parse(&good, &state).unwrap();
        assert_eq!(answer.scopes.unwrap().as_str(), "https://g/.default");
        assert_eq!(answer.tenant, UnconfirmedTenant(TENANT.parse().unwrap()));
        for (query, kind) in [
            (good.replace("state=s", "state=t"), ErrorKind::Reauthenticate),
            (good.replace("&state=s", ""), ErrorKind::Reauthenticate),
            ("error=access_denied&state=x".to_owned(), ErrorKind::Reauthenticate),
            ("error=access_denied&state=s".to_owned(), ErrorKind::ConsentRequired),
            ("error=permission_denied&error_description=marker&state=s".to_owned(), ErrorKind::ConsentRequired),
            ("error=consent_required&state=s".to_owned(), ErrorKind::ConsentRequired),
            (good.replace("True", "False"), ErrorKind::Protocol),
            (good.replace(TENANT, "evil.example"), ErrorKind::Protocol),
            (good.replace(TENANT, "..%2F"), ErrorKind::Protocol),
            (format!("{good}&tenant={TENANT}"), ErrorKind::Protocol),
            ("state=s".to_owned(), ErrorKind::Protocol),
        ] {
            let error = AdminConsentAnswer::parse(&query, &state).unwrap_err();
            assert_eq!(error.kind(), kind, "{query}");
            assert!(!format!("{error} {error:?}").contains("marker"));
        }
        assert!(AdminConsentAnswer::parse(&good.replace("state=s", "state="), &Secret::new("")).is_err());
    }
}
