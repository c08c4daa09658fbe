use std::{fmt, str::FromStr};

use url::Url;

use crate::{BuildError, TenantId, credential::is_loopback};

/// A Microsoft cloud: fixes which hosts are Entra's.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// The worldwide cloud, `login.microsoftonline.com`.
    Public,
    /// US government, `login.microsoftonline.us`.
    UsGovernment,
    /// China, operated by 21Vianet, `login.partner.microsoftonline.cn`.
    China,
}

impl Cloud {
    const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// The host of the token service.
    #[must_use]
    pub const fn login_host(self) -> &'static str {
        match self {
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
            Self::China => "login.partner.microsoftonline.cn",
        }
    }

    /// The host that issues version 1 tokens, where it is known.
    #[must_use]
    pub const fn v1_issuer_host(self) -> Option<&'static str> {
        match self {
            Self::Public => Some("sts.windows.net"),
            Self::UsGovernment | Self::China => None,
        }
    }
}

/// Where tokens come from: the base URL of a cloud's token service. The tenant is named per request.
///
/// ```
/// # use entra_auth::{Authority, Cloud};
/// assert_eq!(Authority::default(), Authority::from(Cloud::Public));
/// assert_eq!("https://login.microsoftonline.us".parse::<Authority>()?, Cloud::UsGovernment.into());
/// assert!("https://login.microsoftonline.com.evil.example".parse::<Authority>().is_err());
/// assert!("http://127.0.0.1:8080/entra".parse::<Authority>().is_ok(), "a sandbox on this machine");
/// # Ok::<(), entra_auth::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    base: Url,
    cloud: Option<Cloud>,
}

impl Authority {
    /// The cloud this authority belongs to; `None` on loopback and for custom hosts.
    #[must_use]
    pub const fn cloud(&self) -> Option<Cloud> {
        self.cloud
    }

    /// The base URL, without a trailing slash in its path.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.base
    }

    /// Opens the door to choices that give up a protection.
    #[must_use]
    pub const fn dangerous() -> DangerousAuthority {
        DangerousAuthority(())
    }

    /// The token endpoint of a tenant; also the audience of client assertions.
    #[must_use]
    pub fn token_endpoint(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), "oauth2", "v2.0", "token"])
    }

    /// The version 2 discovery document of a tenant.
    #[must_use]
    pub fn openid_configuration(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), "v2.0", ".well-known", "openid-configuration"])
    }

    /// The version 1 discovery document of a tenant.
    #[must_use]
    pub fn openid_configuration_v1(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), ".well-known", "openid-configuration"])
    }

    /// The issuer of version 2 tokens of a tenant.
    #[must_use]
    pub fn issuer_v2(&self, tenant: &TenantId) -> String {
        self.join(&[tenant.as_str(), "v2.0"]).into()
    }

    /// The issuer of version 1 tokens of a tenant, where it is known. It ends in a slash.
    #[must_use]
    pub fn issuer_v1(&self, tenant: &TenantId) -> Option<String> {
        match self.cloud {
            Some(cloud) => cloud.v1_issuer_host().map(|host| format!("https://{host}/{tenant}/")),
            None => Some(format!("{}/", self.join(&[tenant.as_str()]))),
        }
    }

    fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn normalized(mut base: Url, cloud: Option<Cloud>) -> Self {
        if let Ok(mut path) = base.path_segments_mut() {
            path.pop_if_empty();
        }
        base.set_query(None);
        base.set_fragment(None);
        Self { base, cloud }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Cloud::Public.into()
    }
}

impl From<Cloud> for Authority {
    #[allow(clippy::expect_used)] // constant hosts, covered by a test
    fn from(cloud: Cloud) -> Self {
        let base = Url::parse(&format!("https://{}", cloud.login_host())).expect("the hosts of clouds are valid");
        Self::normalized(base, Some(cloud))
    }
}

/// Accepts the hosts of the known clouds over https, and any URL on a loopback address (where it may carry a path).
impl FromStr for Authority {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        // Other Azure tools write the host without a scheme.
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&text).map_err(|_| BuildError::new("the authority host is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new("the authority host must not carry a user name"));
        }
        if is_loopback(&url) && matches!(url.scheme(), "http" | "https") {
            return Ok(Self::normalized(url, None));
        }
        let cloud = Cloud::ALL.into_iter().find(|cloud| url.host_str() == Some(cloud.login_host()));
        match cloud {
            Some(cloud) if url.scheme() == "https" && url.path() == "/" && url.port().is_none() => Ok(cloud.into()),
            Some(_) => Err(BuildError::new("the authority host is https, without port and path")),
            None => Err(BuildError::new(
                "the authority host is not one of Microsoft's clouds; use Authority::dangerous().host(..) for another",
            )),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.base.as_str()).finish()
    }
}

/// Authorities that no list vouches for; see [`Authority::dangerous`].
#[derive(Clone, Copy, Debug)]
pub struct DangerousAuthority(());

impl DangerousAuthority {
    /// Trusts a host of your own: client secrets and assertions will be sent there.
    ///
    /// # Errors
    ///
    /// When the URL is not https.
    pub fn host(self, url: Url) -> Result<Authority, BuildError> {
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new("an authority must be https and carry no user name"));
        }
        Ok(Authority::normalized(url, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "11111111-1111-1111-1111-111111111111".parse().unwrap()
    }

    #[test]
    fn every_cloud_is_an_authority() {
        for cloud in Cloud::ALL {
            let authority = Authority::from(cloud);
            assert_eq!(authority.cloud(), Some(cloud));
            assert_eq!(authority.url().host_str(), Some(cloud.login_host()));
        }
    }

    #[test]
    fn endpoints() {
        let authority = Authority::default();
        let base = "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111";
        assert_eq!(authority.token_endpoint(&tenant()).as_str(), format!("{base}/oauth2/v2.0/token"));
        assert_eq!(authority.issuer_v2(&tenant()), format!("{base}/v2.0"));
        assert_eq!(
            authority.issuer_v1(&tenant()).unwrap(),
            "https://sts.windows.net/11111111-1111-1111-1111-111111111111/"
        );
        let local: Authority = "http://127.0.0.1:9/entra/".parse().unwrap();
        assert_eq!(
            local.openid_configuration(&tenant()).as_str(),
            "http://127.0.0.1:9/entra/11111111-1111-1111-1111-111111111111/v2.0/.well-known/openid-configuration"
        );
    }

    #[test]
    fn foreign_hosts_are_refused() {
        for bad in [
            "http://login.microsoftonline.com",
            "https://login.microsoftonline.com:8443",
            "https://login.microsoftonline.com/evil",
            "https://login.microsoftonline.com.evil.test",
            "https://login.microsoftonline.com@evil.test",
            "https://user@login.microsoftonline.com",
            "https://evil.test",
            "http://10.0.0.1",
            "ftp://localhost",
            "::",
            "",
        ] {
            assert!(bad.parse::<Authority>().is_err(), "{bad}");
        }
        assert_eq!("login.microsoftonline.com".parse::<Authority>().unwrap(), Authority::default());
        assert_eq!("https://login.microsoftonline.com/".parse::<Authority>().unwrap(), Authority::default());
    }
}
