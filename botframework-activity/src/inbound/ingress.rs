use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use entra_auth::{BuildError, TenantId};
use http::{HeaderMap, StatusCode};

/// What a gateway in front of a bot can check without a key, for bots that have no gateway: the source address and the
/// `x-ms-tenant-id` header.
///
/// Both keep noise out and prove nothing: Microsoft's addresses are shared by all tenants, and the header is not signed.
/// [`ChannelAuthenticator`](crate::ChannelAuthenticator) does not rely on them and is needed all the same. Call
/// [`IngressFilter::check`] before it.
///
/// ```
/// use botframework_activity::{IngressFilter, SourceRange};
///
/// let filter = IngressFilter::new()
///     .sources(SourceRange::TEAMS)
///     .trusted_proxies(["10.0.12.0/24".parse()?])
///     .tenants(["aaaaaaaa-0000-0000-0000-000000000001".parse()?]);
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-forwarded-for", "52.112.116.120:15428".parse()?);
/// headers.insert("x-ms-tenant-id", "aaaaaaaa-0000-0000-0000-000000000001".parse()?);
/// assert!(filter.check("10.0.12.5".parse()?, &headers).is_ok());
/// assert!(filter.check("203.0.113.7".parse()?, &headers).is_err(), "not through the proxy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct IngressFilter {
    sources: Option<Vec<SourceRange>>,
    proxies: Vec<SourceRange>,
    tenants: Option<Vec<TenantId>>,
}

impl IngressFilter {
    /// A filter that lets everything pass.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self { sources: None, proxies: Vec::new(), tenants: None }
    }

    /// Lets only requests from these addresses pass.
    #[must_use]
    #[inline]
    pub fn sources(mut self, ranges: impl IntoIterator<Item = SourceRange>) -> Self {
        self.sources.get_or_insert_default().extend(ranges);
        self
    }

    /// Believes `X-Forwarded-For` of these peers: proxies of yours that write it. Of everybody else it is never read.
    #[must_use]
    #[inline]
    pub fn trusted_proxies(mut self, ranges: impl IntoIterator<Item = SourceRange>) -> Self {
        self.proxies.extend(ranges);
        self
    }

    /// Lets only requests with one of these tenants in `x-ms-tenant-id` pass.
    #[must_use]
    #[inline]
    pub fn tenants(mut self, tenants: impl IntoIterator<Item = TenantId>) -> Self {
        self.tenants.get_or_insert_default().extend(tenants);
        self
    }

    /// Judges a request by the address of the peer of its connection and its headers.
    ///
    /// # Errors
    ///
    /// [`IngressError`]: answer with its status, 403, and no body.
    #[inline]
    pub fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), IngressError> {
        if let Some(sources) = &self.sources {
            let client = self.client(peer, headers)?;
            if !contains(sources, client) {
                return Err(IngressError::SourceNotAllowed);
            }
        }
        if let Some(tenants) = &self.tenants {
            let mut values = headers.get_all("x-ms-tenant-id").iter();
            let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
            let tenant = value.filter(|text| !text.is_empty()).and_then(|text| text.parse::<TenantId>().ok());
            if !tenant.is_some_and(|tenant| tenants.contains(&tenant)) {
                return Err(IngressError::TenantHeaderNotAllowed);
            }
        }
        Ok(())
    }

    /// The address of the client: the last one in `X-Forwarded-For` that is no trusted proxy, as far as trusted proxies
    /// have written it; otherwise the peer.
    ///
    /// # Errors
    ///
    /// [`IngressError::MalformedForwardedFor`] when a trusted proxy has written something that is no address.
    #[inline]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, IngressError> {
        let mut client = peer.to_canonical();
        if !contains(&self.proxies, client) {
            return Ok(client);
        }
        let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        for value in values.into_iter().rev() {
            let text = value.to_str().map_err(|_| IngressError::MalformedForwardedFor)?;
            for hop in text.rsplit([',', ';']).map(str::trim).filter(|hop| !hop.is_empty()) {
                client = address(hop).ok_or(IngressError::MalformedForwardedFor)?;
                if !contains(&self.proxies, client) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }
}

#[inline]
fn contains(ranges: &[SourceRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// An address, with or without a port: `52.112.0.1:443`, `[2001:db8::1]:443`, `2001:db8::1`.
#[inline]
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|address| address.to_canonical())
}

/// Why an [`IngressFilter`] lets a request not pass. Nothing of the request is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IngressError {
    /// The source address is not in the allowed ranges. The operator.
    SourceNotAllowed,
    /// A trusted proxy wrote something into `X-Forwarded-For` that is no address. The operator of the proxy.
    MalformedForwardedFor,
    /// `x-ms-tenant-id` is missing, empty, there twice, or of another tenant. The operator decides.
    TenantHeaderNotAllowed,
}

impl IngressError {
    /// The status to answer with.
    #[must_use]
    #[inline]
    pub const fn status(self) -> StatusCode {
        StatusCode::FORBIDDEN
    }

    /// A stable name for logs and metrics.
    #[must_use]
    #[inline]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceNotAllowed => "source-not-allowed",
            Self::MalformedForwardedFor => "malformed-forwarded-for",
            Self::TenantHeaderNotAllowed => "tenant-header-not-allowed",
        }
    }
}

impl fmt::Display for IngressError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceNotAllowed => "the source address is not allowed",
            Self::MalformedForwardedFor => "a trusted proxy wrote no address into X-Forwarded-For",
            Self::TenantHeaderNotAllowed => "the header x-ms-tenant-id names no allowed tenant",
        })
    }
}

impl std::error::Error for IngressError {}

/// A range of addresses in CIDR form, such as `52.112.0.0/14`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceRange {
    base: IpAddr,
    bits: u8,
}

impl SourceRange {
    /// Where requests of Teams were seen to come from. Microsoft publishes its addresses for
    /// [Teams](https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges) and changes them; check
    /// them before you rely on this list.
    pub const TEAMS: [Self; 2] = [Self::v4([52, 112, 0, 0], 14), Self::v4([52, 122, 0, 0], 15)];

    const fn v4(octets: [u8; 4], bits: u8) -> Self {
        let [a, b, c, d] = octets;
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
    }

    /// Whether an address is in it. An IPv4 address in IPv6 form counts as IPv4.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                base.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for SourceRange {
    type Err = BuildError;

    /// Reads `address/bits` or a single address. Bits of the address below the mask must be zero.
    #[inline]
    fn from_str(text: &str) -> Result<Self, BuildError> {
        let bad = || BuildError::new("an address range is written as 52.112.0.0/14, with zeros behind the prefix");
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| bad())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let range = Self { base, bits: bits.unwrap_or(width) };
        let first = match base {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(range.first_v4())),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(range.first_v6())),
        };
        if range.bits > width || first != base { Err(bad()) } else { Ok(range) }
    }
}

impl SourceRange {
    fn first_v4(&self) -> u32 {
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.bits.into())).unwrap_or(0);
        if let IpAddr::V4(base) = self.base { base.to_bits() & mask } else { 0 }
    }

    fn first_v6(&self) -> u128 {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.bits.into())).unwrap_or(0);
        if let IpAddr::V6(base) = self.base { base.to_bits() & mask } else { 0 }
    }
}

impl fmt::Display for SourceRange {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "aaaaaaaa-0000-0000-0000-000000000001";

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges() {
        for (range, inside, outside) in [
            ("52.112.0.0/14", "52.115.255.255", "52.116.0.0"),
            ("52.122.0.0/15", "52.123.9.9", "52.121.0.1"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
        ] {
            let range: SourceRange = range.parse().unwrap();
            assert!(range.contains(ip(inside)) && !range.contains(ip(outside)), "{range}");
        }
        assert!("0.0.0.0/0".parse::<SourceRange>().unwrap().contains(ip("9.9.9.9")));
        for bad in ["52.112.0.1/14", "1.2.3.4/33", "::/129", "x", "1.2.3.4/", "1.2.3/8", "1.2.3.4/-1"] {
            assert!(bad.parse::<SourceRange>().is_err(), "{bad}");
        }
        for range in SourceRange::TEAMS {
            assert_eq!(range.to_string().parse::<SourceRange>().unwrap(), range);
        }
    }

    #[test]
    fn forwarded_for_is_worth_nothing_unless_a_trusted_proxy_wrote_it() {
        let forged = headers(&[("x-forwarded-for", "52.112.1.1")]);
        let filter = IngressFilter::new().sources(SourceRange::TEAMS);
        assert_eq!(filter.check(ip("203.0.113.7"), &forged), Err(IngressError::SourceNotAllowed));
        assert_eq!(filter.check(ip("52.112.9.9"), &headers(&[("x-forwarded-for", "203.0.113.7")])), Ok(()));

        let filter = filter.trusted_proxies(["10.0.0.0/8".parse().unwrap()]);
        for (value, client) in [
            ("52.112.116.120:15428;10.0.12.5", Some("52.112.116.120")),
            ("52.112.1.1, 203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.7, 52.112.1.1, 10.0.0.4", Some("52.112.1.1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("10.0.0.9", Some("10.0.0.9")),
            ("", Some("10.0.0.1")),
            ("52.112.1.1, unknown", None),
            ("52.112.1.1, 1.2.3.4.5", None),
        ] {
            let found = filter.client(ip("10.0.0.1"), &headers(&[("x-forwarded-for", value)])).ok();
            assert_eq!(found, client.map(ip), "{value}");
        }
        let two = headers(&[("x-forwarded-for", "52.112.1.1"), ("x-forwarded-for", "203.0.113.7")]);
        assert_eq!(filter.check(ip("10.0.0.1"), &two), Err(IngressError::SourceNotAllowed));
        assert_eq!(filter.client(ip("203.0.113.7"), &forged), Ok(ip("203.0.113.7")), "not through the proxy");
    }

    #[test]
    fn the_tenant_header() {
        let filter = IngressFilter::new().tenants([TENANT.parse().unwrap()]);
        let check = |values: &[(&'static str, &str)]| filter.check(ip("9.9.9.9"), &headers(values)).is_ok();
        assert!(check(&[("x-ms-tenant-id", TENANT)]));
        assert!(check(&[("x-ms-tenant-id", &TENANT.to_uppercase())]));
        assert!(!check(&[]));
        assert!(!check(&[("x-ms-tenant-id", "")]));
        assert!(!check(&[("x-ms-tenant-id", "bbbbbbbb-0000-0000-0000-000000000002")]));
        assert!(!check(&[("x-ms-tenant-id", TENANT), ("x-ms-tenant-id", TENANT)]));
        assert!(IngressFilter::new().check(ip("9.9.9.9"), &HeaderMap::new()).is_ok());
        assert_eq!(IngressError::TenantHeaderNotAllowed.status(), 403);
    }
}
