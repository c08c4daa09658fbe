use std::{fmt, str::FromStr, sync::Arc};

use url::Url;

use crate::{BuildError, TenantId, credential::is_loopback};

/// Where external tenants live.
const EXTERNAL: &str = ".ciamlogin.com";

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
    /// The sovereign cloud of France, `login.sovcloud-identity.fr`.
    SovereignFrance,
    /// The sovereign cloud of Germany, `login.sovcloud-identity.de`.
    SovereignGermany,
    /// The sovereign cloud of Singapore, `login.sovcloud-identity.sg`.
    SovereignSingapore,
}

impl Cloud {
    const ALL: [Self; 6] = [
        Self::Public,
        Self::UsGovernment,
        Self::China,
        Self::SovereignFrance,
        Self::SovereignGermany,
        Self::SovereignSingapore,
    ];

    /// The cloud to which a host belongs, by the hosts of its token service and their older names. Asks nobody.
    ///
    /// ```
    /// # use entra_auth::Cloud;
    /// assert_eq!(Cloud::of_host("login.windows.net"), Some(Cloud::Public));
    /// assert_eq!(Cloud::of_host("login.example.com"), None);
    /// ```
    #[must_use]
    #[inline]
    pub fn of_host(host: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.login_host() == host || cloud.older_hosts().contains(&host))
    }

    /// Hosts that mean the same token service. They are understood and replaced by [`Cloud::login_host`].
    const fn older_hosts(self) -> &'static [&'static str] {
        match self {
            Self::Public => &["login.windows.net", "login.microsoft.com", "sts.windows.net"],
            Self::UsGovernment => &["login.usgovcloudapi.net"],
            Self::China => &["login.chinacloudapi.cn"],
            Self::SovereignFrance | Self::SovereignGermany | Self::SovereignSingapore => &[],
        }
    }

    /// The host of the token service.
    #[must_use]
    pub const fn login_host(self) -> &'static str {
        match self {
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
            Self::China => "login.partner.microsoftonline.cn",
            Self::SovereignFrance => "login.sovcloud-identity.fr",
            Self::SovereignGermany => "login.sovcloud-identity.de",
            Self::SovereignSingapore => "login.sovcloud-identity.sg",
        }
    }

    /// The host that issues version 1 tokens, where it is known.
    #[must_use]
    pub const fn v1_issuer_host(self) -> Option<&'static str> {
        match self {
            Self::Public => Some("sts.windows.net"),
            _ => None,
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
    kind: Kind,
    /// The regional host of the token endpoint.
    regional: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Cloud(Cloud),
    /// External ID: `{name}.ciamlogin.com`.
    External,
    Loopback,
    Custom,
}

impl Authority {
    /// The cloud this authority belongs to; `None` for External ID, on loopback and for custom hosts.
    #[must_use]
    pub const fn cloud(&self) -> Option<Cloud> {
        match self.kind {
            Kind::Cloud(cloud) => Some(cloud),
            _ => None,
        }
    }

    /// An external tenant (Entra External ID for customers, CIAM): `https://{name}.ciamlogin.com`.
    /// See <https://learn.microsoft.com/entra/external-id/customers/concept-authentication-methods-customers>.
    ///
    /// ```
    /// # use entra_auth::Authority;
    /// let authority = Authority::external("contoso")?;
    /// let tenant = "11111111-1111-1111-1111-111111111111".parse()?;
    /// assert_eq!(
    ///     authority.issuer_v2(&tenant),
    ///     "https://11111111-1111-1111-1111-111111111111.ciamlogin.com/11111111-1111-1111-1111-111111111111/v2.0"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the name is not one label of a host name. A domain of your own: [`DangerousAuthority::host`].
    #[inline]
    pub fn external(name: &str) -> Result<Self, BuildError> {
        let label = (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        let url = label.then(|| Url::parse(&format!("https://{name}{EXTERNAL}")).ok()).flatten();
        let url =
            url.ok_or_else(|| BuildError::new("the name of an external tenant is letters, digits and hyphens"))?;
        Ok(Self::normalized(url, Kind::External))
    }

    /// The same with the token endpoint of one Azure region, such as `westus2`. Regional endpoints serve the client
    /// credentials of Microsoft's own services; others are answered with AADSTS100007. Discovery, issuers and the
    /// audience of assertions stay those of the cloud.
    ///
    /// # Errors
    ///
    /// When the region is not 1 to 32 lower-case letters and digits (a region becomes part of the host that secrets go
    /// to), or the authority is not one of the clouds.
    #[inline]
    pub fn in_region(mut self, region: &str) -> Result<Self, BuildError> {
        let good =
            (1..=32).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !good {
            return Err(BuildError::new("a region is 1 to 32 lower-case letters and digits, such as westus2"));
        }
        let Kind::Cloud(cloud) = self.kind else {
            return Err(BuildError::new("only the clouds of Microsoft have regional endpoints"));
        };
        let host = if cloud == Cloud::Public { "login.microsoft.com" } else { cloud.login_host() };
        self.regional = Some(format!("{region}.{host}").into());
        Ok(self)
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

    /// The token endpoint of a tenant; also the audience of client assertions, unless a region was set.
    #[must_use]
    pub fn token_endpoint(&self, tenant: &TenantId) -> Url {
        let mut url = self.assertion_audience(tenant);
        if let Some(host) = &self.regional {
            // A checked region before a constant host is a host.
            let set = url.set_host(Some(host));
            debug_assert!(set.is_ok());
        }
        url
    }

    /// The audience of client assertions: the token endpoint of the cloud, without region.
    #[must_use]
    pub fn assertion_audience(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), "oauth2", "v2.0", "token"])
    }

    /// The version 2 discovery document of a tenant.
    #[must_use]
    #[inline]
    pub fn openid_configuration(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), "v2.0", ".well-known", "openid-configuration"])
    }

    /// The version 1 discovery document of a tenant.
    #[must_use]
    #[inline]
    pub fn openid_configuration_v1(&self, tenant: &TenantId) -> Url {
        self.join(&[tenant.as_str(), ".well-known", "openid-configuration"])
    }

    /// The issuer of version 2 tokens of a tenant. External tenants put their id into the host, so there the id (not a
    /// domain name) is needed.
    #[must_use]
    pub fn issuer_v2(&self, tenant: &TenantId) -> String {
        if self.kind == Kind::External && tenant.is_guid() {
            return format!("https://{tenant}{EXTERNAL}/{tenant}/v2.0");
        }
        self.join(&[tenant.as_str(), "v2.0"]).into()
    }

    /// The issuer of version 1 tokens of a tenant, where it is known. It ends in a slash.
    #[must_use]
    pub fn issuer_v1(&self, tenant: &TenantId) -> Option<String> {
        match self.kind {
            Kind::Cloud(cloud) => cloud.v1_issuer_host().map(|host| format!("https://{host}/{tenant}/")),
            Kind::External => None,
            Kind::Loopback | Kind::Custom => Some(format!("{}/", self.join(&[tenant.as_str()]))),
        }
    }

    /// Whether a discovery document of this tenant may name this issuer: to the letter for Microsoft's hosts, any
    /// issuer of the same origin for others, whose form nobody knows beforehand.
    #[cfg(feature = "acquire")]
    #[inline]
    pub(crate) fn may_issue(&self, tenant: &TenantId, issuer: &str) -> bool {
        let Ok(url) = Url::parse(issuer) else { return false };
        match self.kind {
            Kind::Cloud(_) | Kind::External if tenant.is_guid() => issuer == self.issuer_v2(tenant),
            // The document of a domain name says which tenant it belongs to.
            Kind::Cloud(_) | Kind::External => url
                .path_segments()
                .and_then(|mut path| path.next().and_then(|id| id.parse::<TenantId>().ok()))
                .is_some_and(|id| id.is_guid() && issuer == self.issuer_v2(&id)),
            Kind::Loopback | Kind::Custom => url.origin() == self.base.origin(),
        }
    }

    fn join(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn normalized(mut base: Url, kind: Kind) -> Self {
        if let Ok(mut path) = base.path_segments_mut() {
            path.pop_if_empty();
        }
        base.set_query(None);
        base.set_fragment(None);
        Self { base, kind, regional: None }
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
        Self::normalized(base, Kind::Cloud(cloud))
    }
}

/// Accepts the hosts of the known clouds (older names too) and `{name}.ciamlogin.com` over https, and any URL on a loopback address (where it may carry a path).
impl FromStr for Authority {
    type Err = BuildError;

    #[inline]
    fn from_str(text: &str) -> Result<Self, BuildError> {
        // Other Azure tools write the host without a scheme.
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&text).map_err(|_| BuildError::new("the authority host is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new("the authority host must not carry a user name"));
        }
        if is_loopback(&url) && matches!(url.scheme(), "http" | "https") {
            return Ok(Self::normalized(url, Kind::Loopback));
        }
        let host = url.host_str().unwrap_or_default();
        let plain = url.scheme() == "https" && url.path() == "/" && url.port().is_none();
        match (Cloud::of_host(host), host.strip_suffix(EXTERNAL)) {
            (Some(cloud), _) if plain => Ok(cloud.into()),
            (_, Some(name)) if plain => Self::external(name),
            (Some(_), _) | (_, Some(_)) => Err(BuildError::new("the authority host is https, without port and path")),
            (None, None) => Err(BuildError::new(
                "the authority host is not one of Microsoft's clouds; use Authority::dangerous().host(..) for another",
            )),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("Authority");
        tuple.field(&self.base.as_str());
        if let Some(host) = &self.regional {
            tuple.field(host);
        }
        tuple.finish()
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
    #[inline]
    pub fn host(self, url: Url) -> Result<Authority, BuildError> {
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(BuildError::new("an authority must be https and carry no user name"));
        }
        Ok(Authority::normalized(url, Kind::Custom))
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

    #[test]
    fn older_names_lead_to_the_name_of_today() {
        for (text, cloud) in [
            ("https://login.windows.net", Cloud::Public),
            ("login.microsoft.com", Cloud::Public),
            ("https://sts.windows.net/", Cloud::Public),
            ("https://login.usgovcloudapi.net", Cloud::UsGovernment),
            // azure_identity still sends secrets to this one.
            ("https://login.chinacloudapi.cn", Cloud::China),
            ("https://login.sovcloud-identity.fr", Cloud::SovereignFrance),
            ("https://login.sovcloud-identity.de", Cloud::SovereignGermany),
            ("https://login.sovcloud-identity.sg", Cloud::SovereignSingapore),
        ] {
            let authority: Authority = text.parse().unwrap();
            assert_eq!(authority, Authority::from(cloud), "{text}");
            assert_eq!(authority.url().host_str(), Some(cloud.login_host()));
        }
    }

    #[test]
    fn regions_are_words_and_change_the_token_endpoint_only() {
        let authority = Authority::default().in_region("westus2").unwrap();
        assert_eq!(
            authority.token_endpoint(&tenant()).as_str(),
            format!("https://westus2.login.microsoft.com/{}/oauth2/v2.0/token", tenant())
        );
        let global = Authority::default();
        assert_eq!(authority.assertion_audience(&tenant()), global.token_endpoint(&tenant()));
        assert_eq!(authority.issuer_v2(&tenant()), global.issuer_v2(&tenant()));
        assert_eq!(authority.openid_configuration(&tenant()), global.openid_configuration(&tenant()));
        let gov = Authority::from(Cloud::UsGovernment).in_region("usgovvirginia").unwrap();
        assert_eq!(gov.token_endpoint(&tenant()).host_str(), Some("usgovvirginia.login.microsoftonline.us"));
        for bad in ["", "WestUS", "west us", "evil.example/", "evil.example#", "a.b", "a-b", "é", "@evil", "\u{0}"] {
            assert!(Authority::default().in_region(bad).is_err(), "{bad:?}");
        }
        assert!(Authority::default().in_region(&"a".repeat(33)).is_err());
        assert!("http://127.0.0.1:1".parse::<Authority>().unwrap().in_region("westus").is_err());
    }

    proptest::proptest! {
        /// Threat row 37: whatever is taken for a region, secrets stay on Microsoft's hosts.
        #[test]
        fn a_region_never_leaves_the_cloud(region in "\\PC{0,40}|[a-z0-9./@#:?-]{0,40}") {
            if let Ok(authority) = Authority::default().in_region(&region) {
                let url = authority.token_endpoint(&tenant());
                assert_eq!(url.host_str(), Some(&*format!("{region}.login.microsoft.com")));
                assert_eq!((url.scheme(), url.port()), ("https", None));
                assert_eq!(url.path(), format!("/{}/oauth2/v2.0/token", tenant()));
            }
        }
    }

    #[test]
    fn external_tenants() {
        let authority = Authority::external("contoso").unwrap();
        assert_eq!("https://contoso.ciamlogin.com".parse::<Authority>().unwrap(), authority);
        assert_eq!(
            authority.token_endpoint(&tenant()).as_str(),
            format!("https://contoso.ciamlogin.com/{}/oauth2/v2.0/token", tenant())
        );
        assert_eq!(authority.cloud(), None);
        assert_eq!(authority.issuer_v1(&tenant()), None);
        for bad in ["", "a.b", "-a", "a-", "evil.example/", "a@b", "a:1"] {
            assert!(Authority::external(bad).is_err(), "{bad}");
        }
        for bad in
            ["https://ciamlogin.com", "https://a.b.ciamlogin.com", "http://a.ciamlogin.com", "https://aciamlogin.com"]
        {
            assert!(bad.parse::<Authority>().is_err(), "{bad}");
        }
    }

    #[cfg(feature = "acquire")]
    #[test]
    fn issuers_are_checked_to_the_letter() {
        let domain: TenantId = "contoso.onmicrosoft.com".parse().unwrap();
        let own = format!("https://login.microsoftonline.com/{}/v2.0", tenant());
        let authority = Authority::default();
        assert!(authority.may_issue(&tenant(), &own) && authority.may_issue(&domain, &own));
        for bad in [
            "https://login.microsoftonline.com/22222222-2222-2222-2222-222222222222/v2.0",
            "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0/",
            "https://login.microsoftonline.us/11111111-1111-1111-1111-111111111111/v2.0",
            "https://sts.windows.net/11111111-1111-1111-1111-111111111111/",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "",
        ] {
            assert!(!authority.may_issue(&tenant(), bad), "{bad}");
        }
        for bad in
            ["https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0"]
        {
            assert!(!authority.may_issue(&domain, bad), "{bad}");
        }
        let custom = Authority::dangerous().host("https://login.contoso.com/base".parse().unwrap()).unwrap();
        assert!(custom.may_issue(&tenant(), "https://login.contoso.com/x/v2.0/"));
        assert!(!custom.may_issue(&tenant(), "https://evil.example/x/v2.0/"));
        let external = Authority::external("contoso").unwrap();
        assert!(external.may_issue(&domain, &external.issuer_v2(&tenant())));
    }
}
