//! Requests out, answers in: plain functions.

use std::fmt;

use bytes::Bytes;
use entra_auth::{AccessToken, Body, Secret, UnverifiedToken, is_loopback};
use http::{Method, Request, StatusCode, header};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use url::Url;

use super::{TokenServiceError, TokenServiceErrorKind as Kind, classify::refused_exchange};
use crate::{TokenExchangeResource, TokenPostResource, tree};

/// What is asked of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    GetToken,
    /// A token for a code, which works once.
    Redeem,
    Exchange,
    GetSignInResource,
    SignOut,
}

impl Operation {
    /// The path: all of an address that may appear in a log.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::GetToken | Self::Redeem => "api/usertoken/GetToken",
            Self::Exchange => "api/usertoken/exchange",
            Self::GetSignInResource => "api/botsignin/GetSignInResource",
            Self::SignOut => "api/usertoken/SignOut",
        }
    }

    pub(super) const fn method(self) -> Method {
        match self {
            Self::GetToken | Self::Redeem | Self::GetSignInResource => Method::GET,
            Self::Exchange => Method::POST,
            Self::SignOut => Method::DELETE,
        }
    }
}

/// A request, to be sent as often as the rules allow.
pub(super) struct Call {
    pub(super) operation: Operation,
    uri: http::Uri,
    body: Bytes,
}

impl Call {
    pub(super) fn new(
        base: &Url,
        operation: Operation,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Self, TokenServiceError> {
        let mut url = base.clone();
        url.set_query(None);
        url.set_fragment(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(operation.path().split('/'));
        }
        url.query_pairs_mut().extend_pairs(query);
        let uri = url.as_str().parse().map_err(|_| TokenServiceError::new(Kind::Invalid))?;
        Ok(Self { operation, uri, body })
    }

    /// A request that lacks only the bot's token.
    pub(super) fn request(&self) -> Result<Request<Body>, TokenServiceError> {
        let mut request = Request::builder()
            .method(self.operation.method())
            .uri(self.uri.clone())
            .header(header::ACCEPT, "application/json");
        if self.operation == Operation::Exchange {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(self.body.clone().into()).map_err(|_| TokenServiceError::new(Kind::Invalid))
    }
}

/// The body of an exchange.
pub(super) fn exchange_body(token: &Secret) -> Result<Bytes, TokenServiceError> {
    #[derive(Serialize)]
    struct Exchange<'a> {
        token: &'a str,
    }
    let body = serde_json::to_vec(&Exchange { token: token.expose() });
    body.map(Bytes::from).map_err(|_| TokenServiceError::new(Kind::Invalid))
}

/// A user's token as the service has it.
///
/// For an Entra connection it is a JWT for the resource of the connection, for others whatever the provider issues. It
/// is not validated here.
#[derive(Clone, Debug)]
pub struct ServiceToken {
    token: AccessToken,
    raw: Secret,
}

impl ServiceToken {
    /// The token. Its end is `exp` of a JWT, unverified, or what the service says; five minutes from now when neither
    /// is known.
    #[must_use]
    pub const fn access_token(&self) -> &AccessToken {
        &self.token
    }

    /// The text, for validation.
    pub(crate) const fn raw(&self) -> &Secret {
        &self.raw
    }
}

/// What the card of a sign-in needs. Good for about a minute: use it at once.
#[derive(Clone)]
pub struct SignInResource {
    link: String,
    exchange: Option<TokenExchangeResource>,
    post: Option<TokenPostResource>,
}

impl SignInResource {
    /// Where the button leads. Whoever has it can sign in to this conversation: never in a log, never to others.
    #[must_use]
    pub fn link(&self) -> &str {
        &self.link
    }

    /// What Teams needs to sign in silently; only Entra connections that are set up for it have one.
    #[must_use]
    pub const fn token_exchange_resource(&self) -> Option<&TokenExchangeResource> {
        self.exchange.as_ref()
    }

    /// Where a client may post a token itself.
    #[must_use]
    pub const fn token_post_resource(&self) -> Option<&TokenPostResource> {
        self.post.as_ref()
    }

    /// Of the service's answer only what the card is known to hold goes to the client.
    fn read(answer: &Value) -> Option<Self> {
        let link = tree::text(answer, "signInLink", "SignInLink")?;
        let silent = tree::member(answer, "tokenExchangeResource", "TokenExchangeResource");
        let exchange = silent.is_object().then(|| {
            let mut resource = TokenExchangeResource::default();
            resource.id = tree::text(silent, "id", "Id");
            resource.uri = tree::text(silent, "uri", "Uri");
            resource.provider_id = tree::text(silent, "providerId", "ProviderId");
            resource
        });
        let post = tree::member(answer, "tokenPostResource", "TokenPostResource");
        let post = tree::text(post, "sasUrl", "SasUrl").map(TokenPostResource::new);
        Some(Self { link, exchange, post })
    }

    /// Refuses links that lead anywhere but to the service.
    fn checked(mut self, base: &Url) -> Option<Self> {
        let ours = |link: &str| Url::parse(link).is_ok_and(|link| is_of_service(base, &link));
        self.post = self.post.filter(|post| post.sas_url.as_deref().is_some_and(ours));
        self.exchange = self.exchange.filter(|resource| resource.id.as_deref().is_some_and(|id| !id.is_empty()));
        ours(&self.link).then_some(self)
    }
}

impl<'de> Deserialize<'de> for SignInResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&Value::deserialize(deserializer)?).ok_or_else(|| D::Error::missing_field("signInLink"))
    }
}

/// Shows no link.
impl fmt::Debug for SignInResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInResource").field("silent", &self.exchange.is_some()).finish_non_exhaustive()
    }
}

/// Microsoft's token services; each region has a name below one of these.
const FAMILIES: [&str; 3] = ["token.botframework.com", "token.botframework.azure.us", "token.botframework.azure.cn"];

/// Whether a link leads to the service at `base`: the same origin, or one of Microsoft's names of the same cloud.
fn is_of_service(base: &Url, link: &Url) -> bool {
    if !link.username().is_empty() || link.password().is_some() {
        return false;
    }
    if link.origin() == base.origin() {
        return true;
    }
    let (Some(base_host), Some(host)) = (base.host_str(), link.host_str()) else { return false };
    let in_family = |host: &str, family: &str| {
        host == family || host.strip_suffix(family).is_some_and(|region| region.ends_with('.'))
    };
    // `api.botframework.com` is another name of the same service.
    let of_cloud =
        |family: &str| in_family(base_host, family) || family.strip_prefix("token.") == base_host.strip_prefix("api.");
    link.scheme() == "https"
        && link.port().is_none()
        && !is_loopback(base)
        && FAMILIES.iter().any(|family| of_cloud(family) && in_family(host, family))
}

/// A token of an answer; `None` when the user is not signed in.
pub(super) fn decode_token(
    operation: Operation,
    status: StatusCode,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<Option<ServiceToken>, TokenServiceError> {
    let failed = |kind| Err(TokenServiceError::new(kind).with_status(status.as_u16()));
    match (status.as_u16(), operation) {
        (200, _) => {
            // serde's message can quote the body, so it is not passed on.
            let Some(mut response) = tree::read(body).filter(Value::is_object) else { return failed(Kind::Protocol) };
            let token = match tree::take(&mut response, "token", "Token") {
                Value::Null => return Ok(None),
                Value::String(token) if token.is_empty() => return Ok(None),
                Value::String(token) => token,
                _ => return failed(Kind::Protocol),
            };
            let stated = tree::member(&response, "expiration", "Expiration").as_str();
            let stated = stated.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
            let end = expires_on(&token).or(stated).unwrap_or(now + OPAQUE_LIFE);
            let raw = Secret::from(token);
            match AccessToken::new(raw.clone(), end) {
                Ok(token) => Ok(Some(ServiceToken { token, raw })),
                Err(_) => failed(Kind::Protocol),
            }
        }
        (204 | 404, _) | (412, Operation::GetToken | Operation::Redeem | Operation::Exchange) => Ok(None),
        (400, Operation::Exchange) => {
            let (kind, code) = refused_exchange(body);
            Err(TokenServiceError::new(kind).with_status(400).with_aadsts(code))
        }
        _ => Err(decode_failure(operation, status)),
    }
}

/// Tokens whose end is unknown are kept no longer than this.
const OPAQUE_LIFE: Duration = Duration::minutes(5);

/// `exp` of a JWT, unverified.
fn expires_on(token: &str) -> Option<OffsetDateTime> {
    UnverifiedToken::parse(token).ok()?.unverified_claims().numeric_date("exp").ok()?
}

/// A sign-in resource of an answer.
pub(super) fn decode_resource(
    status: StatusCode,
    body: &[u8],
    base: &Url,
) -> Result<SignInResource, TokenServiceError> {
    if status != StatusCode::OK {
        return Err(decode_failure(Operation::GetSignInResource, status));
    }
    tree::read(body)
        .and_then(|answer| SignInResource::read(&answer))
        .and_then(|resource| resource.checked(base))
        .ok_or_else(|| TokenServiceError::new(Kind::Protocol).with_status(200))
}

/// The outcome of a sign-out. What is not there is signed out.
pub(super) fn decode_sign_out(status: StatusCode) -> Result<(), TokenServiceError> {
    match status.as_u16() {
        200 | 204 | 404 => Ok(()),
        _ => Err(decode_failure(Operation::SignOut, status)),
    }
}

fn decode_failure(operation: Operation, status: StatusCode) -> TokenServiceError {
    let kind = match status.as_u16() {
        401 | 403 => Kind::BotCredential,
        // What the service answers when the settings of a connection are wrong.
        500 if operation == Operation::Exchange => Kind::BadConnection,
        400 | 404 => Kind::BadConnection,
        408 | 500..=599 => Kind::Unavailable,
        429 => Kind::Throttled,
        _ => Kind::Protocol,
    };
    TokenServiceError::new(kind).with_status(status.as_u16())
}

/// Whether the same request may be sent again after this failure.
pub(super) fn may_repeat(operation: Operation, error: &TokenServiceError) -> bool {
    match error.kind() {
        _ if error.is_not_sent() => true,
        // A code works once: an answer to it is the answer, and without one the code may be used up.
        _ if operation == Operation::Redeem => false,
        Kind::Unavailable | Kind::Throttled => true,
        Kind::BadConnection => error.status() == Some(500),
        // The page of a proxy instead of JSON.
        Kind::Protocol => error.status() == Some(200),
        _ => false,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn links_lead_to_the_service_or_nowhere() {
        for (base, link, ours) in [
            ("https://token.botframework.com", "https://token.botframework.com/api/oauth/signin?signin=1", true),
            ("https://token.botframework.com", "https://europe.token.botframework.com/x", true),
            ("https://europe.token.botframework.com", "https://token.botframework.com/x", true),
            ("https://api.botframework.com", "https://token.botframework.com/x", true),
            ("https://token.botframework.azure.us", "https://token.botframework.azure.us/x", true),
            ("http://127.0.0.1:8080/tokenservice", "http://127.0.0.1:8080/tokenservice/api/x", true),
            ("https://tokens.contoso.com", "https://tokens.contoso.com/x", true),
            ("https://token.botframework.com", "http://token.botframework.com/x", false),
            ("https://token.botframework.com", "https://token.botframework.com:8443/x", false),
            ("https://token.botframework.com", "https://token.botframework.azure.us/x", false),
            ("https://token.botframework.com", "https://eviltoken.botframework.com/x", false),
            ("https://token.botframework.com", "https://token.botframework.com.evil.example/x", false),
            ("https://token.botframework.com", "https://a@token.botframework.com/x", false),
            ("https://token.botframework.com", "javascript:alert(1)", false),
            ("https://token.botframework.com", "data:text/html,x", false),
            ("https://tokens.contoso.com", "https://other.contoso.com/x", false),
            ("https://tokens.contoso.com", "https://token.botframework.com/x", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8081/x", false),
            ("http://127.0.0.1:8080", "https://token.botframework.com/x", false),
        ] {
            let [base, link_url] = [base, link].map(|url| Url::parse(url).unwrap());
            assert_eq!(is_of_service(&base, &link_url), ours, "{base} {link}");
        }
    }

    #[test]
    fn every_answer_has_its_kind() {
        use Operation::{Exchange, GetSignInResource, GetToken, Redeem, SignOut};
        for (operation, status, kind, passes) in [
            (GetToken, 400, Kind::BadConnection, false),
            (GetToken, 401, Kind::BotCredential, false),
            (GetToken, 403, Kind::BotCredential, false),
            (GetToken, 429, Kind::Throttled, true),
            (GetToken, 500, Kind::Unavailable, true),
            (GetToken, 503, Kind::Unavailable, true),
            (GetToken, 302, Kind::Protocol, false),
            (Redeem, 500, Kind::Unavailable, false),
            (Redeem, 429, Kind::Throttled, false),
            (Exchange, 500, Kind::BadConnection, true),
            (Exchange, 502, Kind::Unavailable, true),
            (Exchange, 403, Kind::BotCredential, false),
            (GetSignInResource, 400, Kind::BadConnection, false),
            (GetSignInResource, 404, Kind::BadConnection, false),
            (SignOut, 503, Kind::Unavailable, true),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            assert_eq!(decode_failure(operation, code).kind(), kind, "{operation:?} {status}");
            assert_eq!(may_repeat(operation, &decode_failure(operation, code)), passes, "{operation:?} {status}");
        }
    }
}
