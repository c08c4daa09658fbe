use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use entra_auth::{BuildError, TenantId, is_loopback};
use url::{Host, Url};

use super::ChannelCloud;
#[cfg(feature = "connector")]
use super::cloud::{GCC_TEAMS, PUBLIC_TEAMS};

/// The address of a connector that the bot's token may be sent to.
///
/// It comes from a [`VerifiedActivity`](crate::VerifiedActivity), from a reference that was restored, or from one of the
/// constructors here, whose names say what they trust. A plain string is never one.
///
/// The form is normal: host in lower case, no slash at the end, no user name, query or fragment; a path is kept, since it
/// names region and tenant.
///
/// ```
/// # use botframework_activity::{ChannelCloud, ServiceUrl};
/// let url = ServiceUrl::configured(ChannelCloud::Public)?;
/// assert_eq!(url.as_str(), "https://smba.trafficmanager.net/teams");
/// # Ok::<(), entra_auth::BuildError>(())
/// ```
///
/// ```compile_fail,E0308
/// # use botframework_activity::ServiceUrl;
/// let url: ServiceUrl = ServiceUrl::from("https://smba.trafficmanager.net/".to_owned());
/// ```
///
/// ```
/// # use botframework_activity::{ChannelCloud, ServiceUrl};
/// # fn example() -> Result<(), entra_auth::BuildError> {
/// let url: ServiceUrl = ServiceUrl::from(ServiceUrl::configured(ChannelCloud::Public)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceUrl(Url);

/// The text is no address of the form that service URLs have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

const MAX_LENGTH: usize = 2048;

impl ServiceUrl {
    /// The global address of Teams in that cloud, for conversations that the bot starts.
    ///
    /// # Errors
    ///
    /// When Microsoft names no such address for the cloud (China): keep the address of a verified activity.
    pub fn configured(cloud: ChannelCloud) -> Result<Self, BuildError> {
        cloud.teams_service_url().and_then(|text| Self::parse(text).ok()).ok_or_else(|| {
            BuildError::new("this cloud has no global service URL; keep the one of an activity of the conversation")
        })
    }

    /// An address on this machine, for local tools and tests.
    ///
    /// # Errors
    ///
    /// When the text is no `http` or `https` URL of a loopback address.
    pub fn loopback_dev(text: &str) -> Result<Self, BuildError> {
        Self::parse(text)
            .ok()
            .filter(Self::is_loopback)
            .ok_or_else(|| BuildError::new("a service URL for development is an http(s) URL of a loopback address"))
    }

    /// The address as text, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The address as a URL. Its path ends in no slash unless it is the root.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.0
    }

    /// The host in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether it names this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// The tenant in its path, where Teams writes one (`…/amer/<tenant>`).
    #[must_use]
    pub fn tenant(&self) -> Option<TenantId> {
        let mut ids = self.0.path_segments()?.filter_map(|segment| segment.parse::<TenantId>().ok());
        ids.find(TenantId::is_guid)
    }

    /// The address of something below this one: every byte of a segment outside letters, digits, `-`, `_`, `.` and `~` is
    /// escaped. Callers refuse segments that are empty, `.` or `..`.
    #[cfg(feature = "connector")]
    pub(crate) fn endpoint<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut path = self.0.path().trim_end_matches('/').to_owned();
        for segment in segments {
            path.push('/');
            escape(segment, &mut path);
        }
        let mut url = self.0.clone();
        url.set_path(&path);
        url
    }

    /// The same address at the host of the GCC, for an address at the public host of Teams, when both hosts are the
    /// cloud's.
    #[cfg(feature = "connector")]
    pub(crate) fn in_gcc(&self, cloud: ChannelCloud) -> Option<Self> {
        let hosts = ConnectorHosts::of(cloud);
        if self.host() != PUBLIC_TEAMS || !hosts.allows(self) {
            return None;
        }
        let mut url = self.0.clone();
        url.set_host(Some(GCC_TEAMS)).ok()?;
        Some(Self(url)).filter(|url| hosts.allows(url))
    }

    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_LENGTH || text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(Malformed);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Malformed)?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return Err(Malformed);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') || rest.contains(['?', '#']) {
            return Err(Malformed);
        }
        let mut url = Url::parse(text).map_err(|_| Malformed)?;
        let dotted = match url.host() {
            Some(Host::Domain(name)) => name.strip_suffix('.').map(str::to_owned),
            Some(_) => None,
            None => return Err(Malformed),
        };
        if let Some(name) = dotted {
            if name.is_empty() || name.ends_with('.') {
                return Err(Malformed);
            }
            url.set_host(Some(&name)).map_err(|_| Malformed)?;
        }
        let path = url.path().strip_suffix('/').unwrap_or_else(|| url.path()).to_owned();
        if path.contains("//") || path.ends_with('/') {
            return Err(Malformed);
        }
        url.set_path(&path);
        Ok(Self(url))
    }

    /// Whether this text is how the address is written, with or without a slash at the end: then it need not be parsed.
    pub(super) fn is_written(&self, text: &str) -> bool {
        text.strip_suffix('/').unwrap_or(text) == self.as_str()
    }

    /// Whether both are one address. The path is compared without regard to case, because the claim that carries it is
    /// written in lower case.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.0.scheme() == other.0.scheme()
            && self.host() == other.host()
            && self.0.port_or_known_default() == other.0.port_or_known_default()
            && self.0.path().eq_ignore_ascii_case(other.0.path())
    }
}

/// Even a caller that lets a dot segment through stays below the service URL: no id begins with a zero byte.
#[cfg(feature = "connector")]
fn escape(segment: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if matches!(segment, "" | "." | "..") {
        into.push_str("%00");
    }
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            for nibble in [byte >> 4, byte & 15] {
                into.push(HEX.get(usize::from(nibble)).copied().map_or('0', char::from));
            }
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceUrl").field(&self.as_str()).finish()
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Service URLs that good tokens carried and the policy allows, by their text: a bot sees few, again and again.
#[derive(Default)]
pub(super) struct KnownUrls(RwLock<HashMap<Box<str>, Arc<ServiceUrl>, BuildHasherDefault<Fold>>>);

/// A hash that need not withstand anyone: what it is made of is signed by the channel.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let word = part.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
}

impl KnownUrls {
    const CAPACITY: usize = 1024;

    pub(super) fn get(&self, text: &str) -> Option<Arc<ServiceUrl>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    pub(super) fn keep(&self, text: &str, url: ServiceUrl) -> Arc<ServiceUrl> {
        let url = Arc::new(url);
        let mut urls = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if urls.len() >= Self::CAPACITY {
            urls.clear();
        }
        urls.insert(text.into(), Arc::clone(&url));
        url
    }
}

/// Which connectors the bot talks to: those of its cloud, and what the operator adds.
#[derive(Clone, Debug)]
pub(crate) struct ConnectorHosts {
    cloud: ChannelCloud,
    extra: Vec<Extra>,
    loopback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Extra {
    host: Box<str>,
    /// On loopback only; any port when absent.
    port: Option<u16>,
}

impl ConnectorHosts {
    pub(super) const fn of(cloud: ChannelCloud) -> Self {
        Self { cloud, extra: Vec::new(), loopback: false }
    }

    /// Adds an exact host name, or a loopback host with or without a port.
    pub(super) fn add(&mut self, text: &str) -> Result<(), BuildError> {
        const WHY: &str =
            "a connector host is an exact host name without scheme, port, path or wildcard; a port only on loopback";
        let url = ServiceUrl::parse(&format!("http://{text}")).map_err(|Malformed| BuildError::new(WHY))?;
        let loopback = url.is_loopback();
        // `host:80` is the default port of the scheme that was put in front.
        let port = url.0.port().or_else(|| text.ends_with(":80").then_some(80));
        let named = matches!(url.0.host(), Some(Host::Domain(name)) if name.contains('.') && !name.contains('*'));
        if url.0.path() != "/" || (!loopback && (!named || port.is_some())) {
            return Err(BuildError::new(WHY));
        }
        self.extra.push(Extra { host: url.host().into(), port });
        Ok(())
    }

    pub(super) const fn allow_loopback(&mut self) {
        self.loopback = true;
    }

    pub(super) fn allows(&self, url: &ServiceUrl) -> bool {
        let host = url.host();
        let port = url.0.port_or_known_default();
        let extra = |extra: &Extra| *extra.host == *host && (extra.port.is_none() || extra.port == port);
        if url.is_loopback() {
            return self.loopback || self.extra.iter().any(extra);
        }
        let in_domain =
            |suffix: &&str| host.strip_suffix(*suffix).is_some_and(|name| !name.is_empty() && !name.starts_with('.'));
        url.0.scheme() == "https"
            && url.0.port().is_none()
            && (self.cloud.hosts().contains(&host)
                || self.cloud.host_suffixes().iter().any(in_domain)
                || self.extra.iter().any(extra))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        ServiceUrl::parse(text).ok().map(|url| url.as_str().to_owned())
    }

    #[test]
    fn one_form_of_one_address() {
        for (text, expected) in [
            ("https://smba.trafficmanager.net/amer/", Some("https://smba.trafficmanager.net/amer")),
            ("https://SMBA.TrafficManager.net/Amer", Some("https://smba.trafficmanager.net/Amer")),
            ("HTTPS://smba.trafficmanager.net", Some("https://smba.trafficmanager.net")),
            ("https://smba.trafficmanager.net:443/", Some("https://smba.trafficmanager.net")),
            ("https://smba.trafficmanager.net./emea", Some("https://smba.trafficmanager.net/emea")),
            ("http://localhost:56150/_connector", Some("http://localhost:56150/_connector")),
            ("http://[::1]:3978", Some("http://[::1]:3978")),
            ("https://smba.trafficmanager.net/amer//", None),
            ("https://smba.trafficmanager.net//", None),
            ("https://smba.trafficmanager.net//amer", None),
            ("https://smba.trafficmanager.net../", None),
            ("https://user@smba.trafficmanager.net/", None),
            ("https://@smba.trafficmanager.net/", None),
            ("https://smba.trafficmanager.net/?", None),
            ("https://smba.trafficmanager.net/?a=b", None),
            ("https://smba.trafficmanager.net/#", None),
            ("https://smba.trafficmanager.net\\@evil.example/", None),
            ("https:smba.trafficmanager.net", None),
            ("https:///smba.trafficmanager.net", None),
            ("https://", None),
            ("https://./", None),
            (" https://smba.trafficmanager.net/", None),
            ("https://smba.traffic\tmanager.net/", None),
            ("https://smba.trafficmanager.net/a\nb", None),
            ("ftp://smba.trafficmanager.net/", None),
            ("javascript://smba.trafficmanager.net/", None),
            ("smba.trafficmanager.net", None),
            ("", None),
        ] {
            assert_eq!(parse(text).as_deref(), expected, "{text}");
        }
        assert_eq!(parse(&format!("https://smba.trafficmanager.net/{}", "a".repeat(MAX_LENGTH))), None);
    }

    #[cfg(feature = "connector")]
    #[test]
    fn only_the_public_host_of_teams_has_a_twin_in_the_gcc() {
        let twin = |url: &str, cloud| Some(ServiceUrl::parse(url).unwrap().in_gcc(cloud)?.as_str().to_owned());
        let url = "https://smba.trafficmanager.net/amer/1a2b3c4d-0000-0000-0000-00000000000a/";
        let expected = "https://smba.infra.gcc.teams.microsoft.com/amer/1a2b3c4d-0000-0000-0000-00000000000a";
        for cloud in [ChannelCloud::Public, ChannelCloud::Gcc] {
            assert_eq!(twin(url, cloud).as_deref(), Some(expected));
        }
        for (url, cloud) in [
            (url, ChannelCloud::GccHigh),
            (url, ChannelCloud::Dod),
            (url, ChannelCloud::China),
            ("https://smba.infra.gcc.teams.microsoft.com/teams", ChannelCloud::Public),
            ("http://smba.trafficmanager.net/amer", ChannelCloud::Public),
            ("https://smba.trafficmanager.net:8443/amer", ChannelCloud::Public),
            ("https://evil.trafficmanager.net/amer", ChannelCloud::Public),
            ("https://127.0.0.1/amer", ChannelCloud::Public),
            ("https://webchat.botframework.com/", ChannelCloud::Public),
        ] {
            assert_eq!(twin(url, cloud), None, "{url} {cloud:?}");
        }
    }

    #[test]
    fn what_counts_as_the_same() {
        const BODY: &str = "https://smba.trafficmanager.net/amer/1A2b3c4d-0000-0000-0000-00000000000A/";
        for (claim, same) in [
            ("https://smba.trafficmanager.net/amer/1a2b3c4d-0000-0000-0000-00000000000a/", true),
            ("https://smba.trafficmanager.net/amer/1a2b3c4d-0000-0000-0000-00000000000a", true),
            ("https://SMBA.trafficmanager.net./amer/1a2b3c4d-0000-0000-0000-00000000000a", true),
            ("https://smba.trafficmanager.net/emea/1a2b3c4d-0000-0000-0000-00000000000a/", false),
            ("https://smba.trafficmanager.net/amer/1a2b3c4d-0000-0000-0000-00000000000b/", false),
            ("https://smba.trafficmanager.net/amer/", false),
            ("https://smba.trafficmanager.net:8443/amer/1a2b3c4d-0000-0000-0000-00000000000a", false),
            ("http://smba.trafficmanager.net/amer/1a2b3c4d-0000-0000-0000-00000000000a", false),
            ("https://other.botframework.com/amer/1a2b3c4d-0000-0000-0000-00000000000a", false),
        ] {
            let [claim_url, body] = [claim, BODY].map(|text| ServiceUrl::parse(text).unwrap());
            assert_eq!(claim_url.same_as(&body), same, "{claim}");
        }
    }

    #[test]
    fn tenants_in_the_path() {
        for (text, tenant) in [
            (
                "https://smba.trafficmanager.net/amer/1A2B3C4D-0000-0000-0000-00000000000a/",
                Some("1a2b3c4d-0000-0000-0000-00000000000a"),
            ),
            ("https://smba.trafficmanager.net/amer/", None),
            ("https://smba.trafficmanager.net/a.b/", None),
            ("http://localhost:1/_connector", None),
        ] {
            let url = ServiceUrl::parse(text).unwrap();
            assert_eq!(url.tenant().as_ref().map(TenantId::as_str), tenant, "{text}");
        }
    }

    #[test]
    fn what_is_written_like_an_address_parses_to_it() {
        for text in ["https://smba.trafficmanager.net/Amer/x", "http://127.0.0.1:9", "https://[::1]:5/a"] {
            let url = ServiceUrl::parse(text).unwrap();
            for text in [text.to_owned(), format!("{text}/")] {
                assert!(url.is_written(&text) && ServiceUrl::parse(&text).unwrap().as_str() == url.as_str(), "{text}");
            }
            for other in [format!("{text}//"), format!("{text}/?"), text.to_uppercase(), format!(" {text}")] {
                assert!(!url.is_written(&other), "{other}");
            }
        }
    }

    #[test]
    fn hosts_of_the_clouds_and_nothing_near_them() {
        use ChannelCloud::{China, Dod, Gcc, GccHigh, Public};
        for (cloud, text, allowed) in [
            (Public, "https://smba.trafficmanager.net/teams", true),
            (Public, "https://smba.infra.gcc.teams.microsoft.com/teams", true),
            (Gcc, "https://smba.infra.gcc.teams.microsoft.com/teams", true),
            (Public, "https://directline.botframework.com/", true),
            (GccHigh, "https://smba.infra.gov.teams.microsoft.us/teams", true),
            (GccHigh, "https://webchat.botframework.azure.us/", true),
            (Dod, "https://smba.infra.dod.teams.microsoft.us/teams", true),
            (China, "https://webchat.botframework.azure.cn/", true),
            (GccHigh, "https://smba.trafficmanager.net/teams", false),
            (Public, "https://smba.infra.gov.teams.microsoft.us/teams", false),
            (Dod, "https://smba.infra.gov.teams.microsoft.us/teams", false),
            (Public, "http://smba.trafficmanager.net/teams", false),
            (Public, "https://smba.trafficmanager.net:8443/teams", false),
            (Public, "https://evil.trafficmanager.net/teams", false),
            (Public, "https://smba.trafficmanager.net.evil.example/", false),
            (Public, "https://evilsmba.trafficmanager.net/", false),
            (Public, "https://botframework.com/", false),
            (Public, "https://evilbotframework.com/", false),
            (Public, "https://botframework.com.evil.example/", false),
            (Public, "https://.botframework.com/", false),
            (Public, "https://169.254.169.254/", false),
            (Public, "https://[fe80::1]/", false),
            (Public, "https://10.0.0.1/", false),
            (Public, "https://2130706433/", false),
            (Public, "http://localhost:3978/", false),
            (Public, "https://127.0.0.1/", false),
            (Public, "https://[::1]/", false),
            (Public, "https://localhost.evil.example/", false),
            (Public, "https://myblob.blob.core.windows.net/", false),
            (Public, "https://contoso.sharepoint.com/", false),
            (Public, "https://xn--smb-ula.trafficmanager.net/", false),
        ] {
            let url = ServiceUrl::parse(text);
            let verdict = url.is_ok_and(|url| ConnectorHosts::of(cloud).allows(&url));
            assert_eq!(verdict, allowed, "{cloud:?} {text}");
        }
    }

    #[test]
    fn added_hosts_are_exact() {
        let mut hosts = ConnectorHosts::of(ChannelCloud::Public);
        hosts.add("Bridge.contoso.com").unwrap();
        hosts.add("localhost:56150").unwrap();
        hosts.add("127.0.0.1").unwrap();
        for (text, allowed) in [
            ("https://bridge.contoso.com/x", true),
            ("http://bridge.contoso.com/x", false),
            ("https://a.bridge.contoso.com/", false),
            ("http://localhost:56150/_connector", true),
            ("http://localhost:56151/_connector", false),
            ("http://127.0.0.1:1234", true),
            ("http://127.0.0.2:1234", false),
        ] {
            assert_eq!(hosts.allows(&ServiceUrl::parse(text).unwrap()), allowed, "{text}");
        }
        for bad in [
            "",
            "*.contoso.com",
            "contoso",
            "https://contoso.com",
            "contoso.com/x",
            "contoso.com:8443",
            "10.0.0.1",
            "a b.com",
        ] {
            assert!(hosts.add(bad).is_err(), "{bad}");
        }
        hosts.allow_loopback();
        assert!(hosts.allows(&ServiceUrl::parse("http://127.0.0.2:1234").unwrap()));
    }

    #[test]
    fn only_loopback_is_for_development() {
        assert_eq!(
            ServiceUrl::loopback_dev("http://localhost:1/_connector/").unwrap().as_str(),
            "http://localhost:1/_connector"
        );
        for bad in ["https://smba.trafficmanager.net/", "http://10.0.0.1/", "localhost", "file:///etc/passwd"] {
            assert!(ServiceUrl::loopback_dev(bad).is_err(), "{bad}");
        }
    }

    #[cfg(feature = "connector")]
    #[test]
    fn segments_stay_where_they_are_put() {
        let base = ServiceUrl::parse("https://smba.trafficmanager.net/amer/").unwrap();
        for id in ["", ".", "..", "%2e%2e", "/..", "../..", "a/../..", "a?b#c", "\\..\\x", "\u{e4} \n"] {
            let url = base.endpoint(["v3", "conversations", id, "activities"]);
            assert!(url.path().starts_with("/amer/v3/conversations/"), "{url}");
            assert!(url.path().ends_with("/activities"), "{url}");
            assert_eq!(url.path_segments().unwrap().count(), 5, "{url}");
        }
        let root = ServiceUrl::parse("https://smba.trafficmanager.net/").unwrap();
        assert_eq!(root.endpoint(["v3", "a:1|~"]).as_str(), "https://smba.trafficmanager.net/v3/a%3A1%7C~");
    }
}
