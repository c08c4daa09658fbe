//! The token endpoint's wire format: forms out, JSON in. Pure functions.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, Request, StatusCode,
    header::{self, HeaderName},
};
use time::OffsetDateTime;
use url::{Url, form_urlencoded};

use super::aadsts::judge;
use crate::{
    AccessToken, Body, ClaimsChallenge, CorrelationId, Error, ErrorKind, ExtraParameters, OAuthError,
    document::{Document, Seconds, Unreadable},
    retry_after,
};

/// Parameters of a form, in the order in which they are sent.
pub(super) type Form<'a> = Vec<(&'a str, Cow<'a, str>)>;

pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
#[cfg(feature = "validate")]
pub(super) const GRANT_JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Adds what the request brings beside the parameters of the grant.
pub(super) fn extend<'a>(form: &mut Form<'a>, parameters: &'a ExtraParameters) {
    for (name, value) in parameters.iter() {
        form.push((name, value.into()));
    }
}

/// Encodes one token request.
pub(super) fn encode(endpoint: &Url, form: &Form<'_>, id: &CorrelationId) -> Result<Request<Body>, Error> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    Request::post(endpoint.as_str())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .header(HeaderName::from_static("client-request-id"), id.as_str())
        .header(HeaderName::from_static("return-client-request-id"), "true")
        .header(HeaderName::from_static("x-client-sku"), "entra-auth")
        .header(HeaderName::from_static("x-client-ver"), env!("CARGO_PKG_VERSION"))
        .body(Body::from(body))
        .map_err(|_| Error::new(ErrorKind::Configuration, "the token endpoint is no address a request can go to"))
}

/// The members of a successful answer that are used.
struct Success {
    access_token: String,
    token_type: String,
    expires_in: i64,
    refresh_in: Option<i64>,
    #[cfg(feature = "validate")]
    refresh_token: Option<String>,
    #[cfg(feature = "validate")]
    id_token: Option<String>,
}

impl Success {
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer = Document::read(body)?;
        Ok(Self {
            access_token: answer.required("access_token")?,
            token_type: answer.required("token_type")?,
            expires_in: answer.required::<Seconds>("expires_in")?.0,
            // A refresh hint that cannot be read is no reason to throw a good token away.
            refresh_in: answer.required::<Seconds>("refresh_in").ok().map(|seconds| seconds.0),
            #[cfg(feature = "validate")]
            refresh_token: answer.optional("refresh_token")?,
            #[cfg(feature = "validate")]
            id_token: answer.optional("id_token")?,
        })
    }
}

/// What the token endpoint gave.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) token: AccessToken,
    #[cfg(feature = "validate")]
    pub(super) extras: Extras,
}

/// What came with the token.
#[cfg(feature = "validate")]
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) refresh_token: Option<crate::Secret>,
    pub(super) id_token: Option<crate::Secret>,
}

/// The members of an error answer. Entra promises only `error`.
#[derive(Default)]
struct Failure {
    error: Option<String>,
    suberror: Option<String>,
    error_description: Option<String>,
    error_codes: Vec<u32>,
    timestamp: Option<String>,
    trace_id: Option<String>,
    correlation_id: Option<String>,
    claims: Option<String>,
}

impl Failure {
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer = Document::read(body)?;
        Ok(Self {
            error: answer.optional("error")?,
            suberror: answer.optional("suberror")?,
            error_description: answer.optional("error_description")?,
            error_codes: answer.optional("error_codes")?.unwrap_or_default(),
            timestamp: answer.optional("timestamp")?,
            trace_id: answer.optional("trace_id")?,
            correlation_id: answer.optional("correlation_id")?,
            claims: answer.optional("claims")?,
        })
    }
}

/// Makes a token, or a typed error, of an answer.
pub(super) fn decode(
    status: StatusCode,
    headers: &HeaderMap,
    body: &Bytes,
    now: OffsetDateTime,
) -> Result<Answer, Error> {
    if status.is_success() { success(body, now) } else { Err(failure(status, headers, body, now)) }
}

fn success(body: &Bytes, now: OffsetDateTime) -> Result<Answer, Error> {
    const UNUSABLE: &str = "the token endpoint answered with something that is no token; look for a proxy in between";
    let answer = Success::read(body).map_err(|_| Error::new(ErrorKind::Protocol, UNUSABLE))?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(Error::new(
            ErrorKind::Protocol,
            "the token endpoint answered with a token that is no bearer token; bound tokens are not supported here",
        ));
    }
    // No token of Entra lives longer than some days; ten years is beyond doubt.
    if !(1..=315_360_000).contains(&answer.expires_in) {
        return Err(Error::new(
            ErrorKind::Protocol,
            "the token endpoint answered with an impossible lifetime; look for a proxy or a test server in between",
        ));
    }
    let token = AccessToken::new(answer.access_token, now + time::Duration::seconds(answer.expires_in))?;
    let token = match answer.refresh_in {
        Some(seconds) if (1..answer.expires_in).contains(&seconds) => {
            token.with_refresh_on(now + time::Duration::seconds(seconds))
        }
        _ => token,
    };
    #[cfg(feature = "validate")]
    let extras = {
        let secret = |text: Option<String>| text.filter(|text| !text.is_empty()).map(crate::Secret::from);
        Extras { refresh_token: secret(answer.refresh_token), id_token: secret(answer.id_token) }
    };
    Ok(Answer {
        token,
        #[cfg(feature = "validate")]
        extras,
    })
}

pub(super) fn failure(status: StatusCode, headers: &HeaderMap, body: &Bytes, now: OffsetDateTime) -> Error {
    // HTML of a proxy, an empty body: the status is still worth something.
    let answer = Failure::read(body).unwrap_or_default();
    let wait = retry_after(headers, now)
        .or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then_some(Duration::from_secs(60)));
    if answer.error.is_none() && !(status == 408 || status == 429 || status.is_server_error()) {
        let text = match status.is_redirection() {
            true => {
                "the token endpoint answered with a redirect, which is never followed; check AZURE_AUTHORITY_HOST and the proxy"
            }
            false => "the token endpoint answered with something other than Entra's JSON; look for a proxy in between",
        };
        let oauth = OAuthError { status: status.as_u16(), ..OAuthError::default() };
        return Error::new(ErrorKind::Protocol, text).with_oauth(oauth);
    }
    let oauth = OAuthError {
        status: status.as_u16(),
        error: answer.error.unwrap_or_default(),
        suberror: answer.suberror.filter(|text| !text.is_empty()),
        error_codes: answer.error_codes,
        description: answer.error_description,
        claims: answer.claims.as_deref().and_then(ClaimsChallenge::from_json),
        trace_id: answer.trace_id,
        correlation_id: answer.correlation_id,
        timestamp: answer.timestamp,
    };
    let (kind, text) = judge(&oauth);
    Error::new(kind, text).with_oauth(oauth).with_retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn answer(status: u16, body: &str) -> Result<AccessToken, Error> {
        let body = Bytes::from(body.to_owned());
        decode(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body, NOW).map(|answer| answer.token)
    }

    #[test]
    fn successes() {
        for (body, expires, refresh) in [
            (r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"t"}"#, 3599, None),
            (r#"{"token_type":"bearer","expires_in":"3600","access_token":"t"}"#, 3600, None),
            (r#"{"token_type":"Bearer","expires_in":86399,"refresh_in":43199,"access_token":"t"}"#, 86399, Some(43199)),
            (
                r#"{"token_type":"Bearer","expires_in":86399,"refresh_in":"43199","access_token":"t"}"#,
                86399,
                Some(43199),
            ),
            (r#"{"token_type":"Bearer","expires_in":3599,"refresh_in":9999,"access_token":"t"}"#, 3599, None),
        ] {
            let token = answer(200, body).unwrap();
            assert_eq!(token.expose(), "t");
            assert_eq!(token.expires_on().unix_timestamp(), expires, "{body}");
            assert_eq!(token.refresh_on().map(OffsetDateTime::unix_timestamp), refresh, "{body}");
        }
    }

    /// azure_identity returns an empty token as success when `access_token` is missing.
    #[test]
    fn what_is_no_token_is_an_error() {
        for body in [
            "",
            "<html>marker</html>",
            "{}",
            "[]",
            "null",
            r#"{"token_type":"Bearer","expires_in":3599}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":""}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":null}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":"marker\r\nx: y"}"#,
            r#"{"token_type":"Bearer","expires_in":-5,"access_token":"marker"}"#,
            r#"{"token_type":"Bearer","expires_in":0,"access_token":"marker"}"#,
            r#"{"token_type":"Bearer","expires_in":"marker","access_token":"marker"}"#,
            r#"{"token_type":"Bearer","expires_in":1e300,"access_token":"marker"}"#,
            r#"{"token_type":"Bearer","access_token":"marker"}"#,
            r#"{"token_type":"pop","expires_in":3599,"access_token":"marker"}"#,
            r#"{"expires_in":3599,"access_token":"marker"}"#,
        ] {
            let error = answer(200, body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
            assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        }
    }

    #[test]
    fn error_bodies_keep_what_support_needs() {
        let error = answer(
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS50076: …","error_codes":[50076],
               "timestamp":"2026-01-01 00:00:00Z","trace_id":"t-1","correlation_id":"c-1","suberror":"basic_action",
               "claims":"{\"access_token\":{\"acrs\":{\"essential\":true,\"value\":\"c1\"}}}"}"#,
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InteractionRequired);
        let oauth = error.oauth().unwrap();
        assert_eq!((oauth.status, &*oauth.error), (400, "invalid_grant"));
        assert_eq!(oauth.suberror.as_deref(), Some("basic_action"));
        assert_eq!(oauth.error_codes, [50076]);
        assert_eq!(oauth.trace_id.as_deref(), Some("t-1"));
        assert_eq!(oauth.correlation_id.as_deref(), Some("c-1"));
        assert_eq!(oauth.timestamp.as_deref(), Some("2026-01-01 00:00:00Z"));
        assert!(error.claims_challenge().unwrap().as_str().contains("acrs"));
    }

    #[test]
    fn a_proxy_in_between_is_named_and_retried_only_when_it_may_pass() {
        for (status, body, kind, retry) in [
            (403, "<html>blocked</html>", ErrorKind::Protocol, false),
            (404, "", ErrorKind::Protocol, false),
            (302, "", ErrorKind::Protocol, false),
            (307, "", ErrorKind::Protocol, false),
            (502, "<html>bad gateway</html>", ErrorKind::Transient, true),
            (503, "", ErrorKind::Transient, true),
            (429, "", ErrorKind::Throttled, true),
            (400, r#"{"error":5}"#, ErrorKind::Protocol, false),
        ] {
            let error = answer(status, body).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (kind, retry), "{status}");
            assert_eq!(error.oauth().unwrap().status, status);
        }
        assert_eq!(answer(429, "").unwrap_err().retry_after(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn every_value_is_percent_encoded() {
        let endpoint = "http://127.0.0.1/token".parse().unwrap();
        let request =
            encode(&endpoint, &vec![("client_secret", "a+b&c=d%e ü".into())], &CorrelationId::random()).unwrap();
        assert_eq!(request.body().as_bytes().unwrap(), "client_secret=a%2Bb%26c%3Dd%25e+%C3%BC");
    }
}
