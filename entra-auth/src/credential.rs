use std::{
    fmt::{self, Debug},
    num::NonZeroU32,
    sync::Arc,
};

use async_trait::async_trait;
use http::{HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq as _;
use time::{Duration, OffsetDateTime};
use url::Url;
use zeroize::Zeroizing;

use crate::{BuildError, ClaimsChallenge, CorrelationId, Error, ErrorKind, ExtraParameters, Scopes, Secret, TenantId};

/// Anything that can produce an access token.
///
/// An implementation never returns an expired token, and answers with [`ErrorKind::Unsupported`] when it cannot do
/// what the request asks for (another tenant, claims); it never ignores it.
#[async_trait]
pub trait TokenCredential: Debug + Send + Sync + 'static {
    /// A token for the request, from a cache or from the network.
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error>;
}

#[async_trait]
impl<T: TokenCredential + ?Sized> TokenCredential for Arc<T> {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        (**self).get_token(request).await
    }
}

/// What a token is wanted for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The scopes, for app tokens exactly one `…/.default`.
    pub scopes: Scopes,
    /// A tenant other than the credential's own.
    pub tenant: Option<TenantId>,
    /// The challenge that the token must satisfy; it bypasses the cache.
    pub claims: Option<ClaimsChallenge>,
    /// A token that the resource has just refused. The cache is bypassed only if it still holds that very token, so
    /// that a thousand refusals of one token make one request.
    pub rejected: Option<AccessToken>,
    /// The id under which both sides log this request; a fresh one when absent.
    pub correlation_id: Option<CorrelationId>,
    /// Additional parameters of the token request, for what no other member says. A token that was got with some is kept
    /// apart from those without.
    pub parameters: ExtraParameters,
}

impl TokenRequest {
    /// A request for these scopes in the credential's own tenant.
    #[must_use]
    pub const fn new(scopes: Scopes) -> Self {
        Self {
            scopes,
            tenant: None,
            claims: None,
            rejected: None,
            correlation_id: None,
            parameters: ExtraParameters::none(),
        }
    }

    /// Asks for a token of another tenant.
    #[must_use]
    #[inline]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Asks for a token that satisfies a challenge.
    #[must_use]
    pub fn with_claims(mut self, claims: ClaimsChallenge) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Says which token the resource has just refused.
    #[must_use]
    pub fn with_rejected(mut self, token: AccessToken) -> Self {
        self.rejected = Some(token);
        self
    }

    /// Sets the id under which both sides log this request.
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Adds a parameter to the token request that goes to Entra, such as one that support asks for (`dc`, `slice`). A
    /// name that is there already gets the new value.
    ///
    /// Clients of this crate send it, for applications, users and agents. Credentials that do not ask Entra themselves
    /// answer [`ErrorKind::Unsupported`].
    ///
    /// ```
    /// # use entra_auth::TokenRequest;
    /// let request = TokenRequest::new("https://graph.microsoft.com/.default".parse()?);
    /// assert!(request.clone().with_parameter("client_id", "someone else").is_err());
    /// let request = request.with_parameter("dc", "ESTS-PUB-WUS2-AZ1-FD000-TEST1")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the parameter says who asks, for whom, for what or with which proof (`client_…`, `grant_type`, `scope`,
    /// `assertion`, `claims`, …): those are set by the credential and by the other members. When the name is not 1 to 64
    /// letters, digits, `-`, `_` or `.`, the value is longer than 2,048 bytes or holds control characters, or there are
    /// more than 16.
    #[inline]
    pub fn with_parameter(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        self.parameters.insert(name, value)?;
        Ok(self)
    }

    /// For credentials that cannot send additional parameters.
    #[inline]
    pub(crate) fn without_parameters(&self, who: &str) -> Result<(), Error> {
        if self.parameters.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, format!("{who} takes no additional parameters")))
    }
}

/// A bearer token and when it ends. A clone is an `Arc` clone.
///
/// The only way onto a request is [`AccessToken::authorize`], which checks where the request goes.
#[derive(Clone)]
pub struct AccessToken(Arc<Token>);

struct Token {
    /// The value of the header, scheme and token: one copy in memory, wiped on drop.
    header: Zeroizing<Box<str>>,
    expires_on: Seconds,
    refresh_on: Option<Seconds>,
}

/// A whole second from 1970 to 2106, counted from one. There are millions of these: an [`Option`] of it is no larger.
#[derive(Clone, Copy)]
struct Seconds(NonZeroU32);

const SCHEME: &str = "Bearer ";

impl AccessToken {
    /// Wraps a token that is valid until `expires_on`; a fraction of a second is not kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] when the text is empty or no header value.
    pub fn new(token: impl Into<Secret>, expires_on: OffsetDateTime) -> Result<Self, Error> {
        Self::of(&token.into(), expires_on)
    }

    fn of(token: &Secret, expires_on: OffsetDateTime) -> Result<Self, Error> {
        let visible = |b: u8| (0x21..=0x7e).contains(&b);
        if token.is_empty() || !token.expose().bytes().all(visible) {
            return Err(Error::new(
                ErrorKind::Protocol,
                "the access token is empty or holds impossible characters; look for a proxy in between",
            ));
        }
        // Room for all of it at once: a text that grows leaves copies behind that nobody wipes.
        let mut header = String::with_capacity(SCHEME.len() + token.expose().len());
        header.push_str(SCHEME);
        header.push_str(token.expose());
        let header = Zeroizing::new(header.into());
        Ok(Self(Arc::new(Token { header, expires_on: Seconds::of(expires_on), refresh_on: None })))
    }

    /// The same token with the time from which it should be refreshed.
    #[must_use]
    pub fn with_refresh_on(mut self, refresh_on: OffsetDateTime) -> Self {
        let refresh_on = Some(Seconds::of(refresh_on));
        match Arc::get_mut(&mut self.0) {
            Some(token) => token.refresh_on = refresh_on,
            None => {
                let Token { header, expires_on, .. } = &*self.0;
                let (header, expires_on) = (header.clone(), *expires_on);
                self.0 = Arc::new(Token { header, expires_on, refresh_on });
            }
        }
        self
    }

    /// When the token ends.
    #[must_use]
    pub fn expires_on(&self) -> OffsetDateTime {
        self.0.expires_on.time()
    }

    /// From when on a fresh one should be fetched, when the issuer said so.
    #[must_use]
    pub fn refresh_on(&self) -> Option<OffsetDateTime> {
        self.0.refresh_on.map(Seconds::time)
    }

    /// Puts the token onto a request, if the request goes where the audience allows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignOrigin`] when scheme, host or port of the request are not those of an allowed origin. The
    /// request is left without a token.
    pub fn authorize<B>(&self, request: &mut http::Request<B>, audience: &Audience) -> Result<(), Error> {
        request.headers_mut().remove(AUTHORIZATION);
        if !audience.allows(request.uri()) {
            return Err(Error::new(
                ErrorKind::ForeignOrigin,
                "the token was not attached: the request goes to an origin that its audience does not list",
            ));
        }
        let mut header = HeaderValue::from_str(&self.0.header)
            .map_err(|_| Error::new(ErrorKind::Protocol, "the access token is no header value"))?;
        header.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, header);
        Ok(())
    }

    /// The token itself, for other libraries that must have it. Inside this family nothing calls it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.header.strip_prefix(SCHEME).unwrap_or_default()
    }

    /// Whether both are the same token. Takes constant time for different ones.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.header.as_bytes().ct_eq(other.0.header.as_bytes()).into()
    }

    /// Bytes this token takes in memory, roughly: what a bounded cache counts.
    #[must_use]
    pub fn weight(&self) -> usize {
        // The two counters of the Arc, and what the allocator keeps of each of the two blocks.
        const OVERHEAD: usize = 16 + 2 * 16;
        self.0.header.len() + size_of::<Token>() + OVERHEAD
    }
}

impl Seconds {
    /// The second in which `at` lies. What is earlier or later than can be kept becomes the first or the last second.
    fn of(at: OffsetDateTime) -> Self {
        let seconds = at.unix_timestamp().clamp(0, i64::from(u32::MAX - 1));
        Self(u32::try_from(seconds + 1).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
    }

    fn time(self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(i64::from(self.0.get()) - 1)
    }
}

impl Debug for AccessToken {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires_on", &self.expires_on()).finish_non_exhaustive()
    }
}

/// Where a client's tokens are for: the scopes to ask for and the origins they may be sent to.
///
/// ```
/// # use entra_auth::{AccessToken, Audience};
/// # let token = AccessToken::new("eyJ…".replace('…', ""), time::OffsetDateTime::UNIX_EPOCH)?;
/// let graph = Audience::new("https://graph.microsoft.com/.default".parse()?, [&"https://graph.microsoft.com".parse()?])?;
/// let mut request = http::Request::get("https://graph.microsoft.com/v1.0/me").body(())?;
/// token.authorize(&mut request, &graph)?;
///
/// let mut elsewhere = http::Request::get("https://graph.microsoft.com.evil.example/").body(())?;
/// assert!(token.authorize(&mut elsewhere, &graph).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Audience {
    scopes: Scopes,
    origins: Arc<[url::Origin]>,
}

impl Audience {
    /// An audience whose tokens go to the origins (scheme, host and port) of these URLs and nowhere else.
    ///
    /// # Errors
    ///
    /// When there is no origin, or one is neither `https` nor `http` on a loopback address.
    pub fn new<'a>(scopes: Scopes, origins: impl IntoIterator<Item = &'a Url>) -> Result<Self, BuildError> {
        Self::of(scopes, &mut origins.into_iter())
    }

    fn of(scopes: Scopes, urls: &mut dyn Iterator<Item = &Url>) -> Result<Self, BuildError> {
        let mut origins = Vec::new();
        for url in urls {
            if !is_https_or_loopback(url) {
                return Err(BuildError::new("a token may go to https origins only (http on a loopback address)"));
            }
            origins.push(url.origin());
        }
        if origins.is_empty() {
            return Err(BuildError::new("an audience needs at least one origin that its tokens may go to"));
        }
        Ok(Self { scopes, origins: origins.into() })
    }

    /// The scopes to ask for.
    #[must_use]
    pub const fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether a token may go to this address.
    #[must_use]
    pub fn allows(&self, uri: &http::Uri) -> bool {
        let Some((scheme, authority)) = uri.scheme_str().zip(uri.authority()) else {
            return false;
        };
        // Userinfo has no place in a request that carries a token.
        if authority.as_str().as_bytes().contains(&b'@') {
            return false;
        }
        Url::parse(&format!("{scheme}://{authority}/")).is_ok_and(|url| self.origins.contains(&url.origin()))
    }
}

/// Whether a URL is safe to send secrets to: `https`, or plain `http` to an address of this machine.
#[must_use]
pub fn is_https_or_loopback(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && url.has_host()
        && match url.scheme() {
            "https" => true,
            "http" => is_loopback(url),
            _ => false,
        }
}

/// Whether a URL names this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A credential that always returns the token it was given: for tests and for local servers with a fixed key.
#[derive(Clone, Debug)]
pub struct StaticCredential(AccessToken);

impl StaticCredential {
    /// A credential that returns `token` for every request without claims or another tenant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] when the text is empty or no header value.
    pub fn new(token: impl Into<Secret>) -> Result<Self, Error> {
        AccessToken::new(token, OffsetDateTime::UNIX_EPOCH + Duration::days(365 * 200)).map(Self)
    }
}

#[async_trait]
impl TokenCredential for StaticCredential {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        request.without_parameters("a fixed token")?;
        let rejected = request.rejected.as_ref().is_some_and(|token| token.same_as(&self.0));
        if request.claims.is_some() || request.tenant.is_some() || rejected {
            return Err(Error::new(ErrorKind::Unsupported, "a fixed token cannot be renewed or changed"));
        }
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(origin: &str) -> Audience {
        Audience::new("a/.default".parse().unwrap(), [&origin.parse().unwrap()]).unwrap()
    }

    #[test]
    fn tokens_go_to_listed_origins_only() {
        let audience = audience("https://api.example.com/base/path");
        for (uri, allowed) in [
            ("https://api.example.com/x?y", true),
            ("https://API.EXAMPLE.COM/x", true),
            ("https://api.example.com:443/x", true),
            ("https://api.example.com:444/x", false),
            ("http://api.example.com/x", false),
            ("https://api.example.com.evil.test/x", false),
            ("https://evil.test/api.example.com", false),
            ("https://api.example.com@evil.test/", false),
            ("https://user@api.example.com/", false),
            ("/relative", false),
        ] {
            let mut request = http::Request::get(uri).body(()).unwrap();
            let token = AccessToken::new("abc", OffsetDateTime::UNIX_EPOCH).unwrap();
            assert_eq!(token.authorize(&mut request, &audience).is_ok(), allowed, "{uri}");
            assert_eq!(request.headers().contains_key(AUTHORIZATION), allowed, "{uri}");
        }
    }

    /// A cache holds millions.
    #[test]
    fn a_token_is_small() {
        assert!(size_of::<Token>() <= 24, "{}", size_of::<Token>());
    }

    /// A token never seems to live longer than it does, until the last second that can be kept.
    #[test]
    fn the_end_of_a_token_is_kept_in_whole_seconds() {
        let at = |seconds: i64| OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds);
        let last = i64::from(u32::MAX) - 1;
        for (given, kept) in [
            (at(0), at(0)),
            (at(1_800_000_000), at(1_800_000_000)),
            (at(1_800_000_000) + Duration::milliseconds(999), at(1_800_000_000)),
            (at(-5), at(0)),
            (at(last), at(last)),
            (at(last + 7), at(last)),
        ] {
            let token = AccessToken::new("abc", given).unwrap().with_refresh_on(given);
            assert_eq!((token.expires_on(), token.refresh_on()), (kept, Some(kept)), "{given}");
        }
    }

    #[test]
    fn plain_http_only_on_loopback() {
        for (url, good) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9", true),
            ("http://localhost:1", true),
            ("http://[::1]:1", true),
            ("http://example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("ftp://localhost", false),
            ("https://a:b@example.com", false),
        ] {
            let made = Audience::new("a/.default".parse().unwrap(), [&url.parse().unwrap()]);
            assert_eq!(made.is_ok(), good, "{url}");
        }
    }

    #[test]
    fn tokens_are_never_shown_and_never_empty() {
        let token = AccessToken::new("marker-token", OffsetDateTime::UNIX_EPOCH).unwrap();
        let request = TokenRequest::new("a".parse().unwrap()).with_rejected(token.clone());
        let credential = StaticCredential::new("marker-token").unwrap();
        for text in [format!("{token:?}"), format!("{request:#?}"), format!("{credential:?}")] {
            assert!(!text.contains("marker"), "{text}");
        }
        for bad in ["", "a b", "a\r\nx: y", "ä"] {
            assert!(AccessToken::new(bad, OffsetDateTime::UNIX_EPOCH).is_err(), "{bad:?}");
        }
    }
}
