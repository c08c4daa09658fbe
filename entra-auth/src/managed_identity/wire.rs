//! What goes to the identity endpoints and what comes back. Pure functions.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use serde_json::Value;
use time::{Date, Month, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use url::form_urlencoded;

use super::{ManagedIdentityId, ManagedIdentitySource, source::Endpoint};
use crate::{
    AccessToken, Body, Error, ErrorKind, OAuthError, Secret,
    document::{Document, Unreadable},
    retry_after,
};

/// What one request is for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) resource: &'a str,
    pub(super) id: &'a ManagedIdentityId,
    /// A token that the resource has refused.
    pub(super) bad: Option<&'a AccessToken>,
    /// Whether the caller can answer claims challenges.
    pub(super) challenges: bool,
    /// What proves to the Arc agent that the caller may read its files.
    pub(super) arc_key: Option<&'a Secret>,
}

/// Encodes one request.
#[inline]
pub(super) fn encode(endpoint: &Endpoint, ask: Ask<'_>) -> Result<Request<Body>, Error> {
    use ManagedIdentitySource::{AppService, AzureArc, AzureMl, CloudShell, Imds};

    let source = endpoint.source;
    let mut builder = Request::builder();
    let mut body = Body::empty();
    let mut url = endpoint.url.clone();
    if source == CloudShell {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("resource", ask.resource).finish();
        builder = builder.method("POST").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        body = form.into();
    } else {
        let version = match source {
            Imds | CloudShell => "2018-02-01",
            AppService => "2019-08-01",
            AzureMl => "2017-09-01",
            AzureArc => "2020-06-01",
        };
        let mut query = url.query_pairs_mut();
        query.append_pair("api-version", version).append_pair("resource", ask.resource);
        if let Some((name, value)) = selector(source, ask.id) {
            query.append_pair(name, value);
        }
        if source == AppService {
            if let Some(bad) = ask.bad {
                query.append_pair("token_sha256_to_refresh", &hex(digest(&SHA256, bad.expose().as_bytes()).as_ref()));
            }
            if ask.challenges {
                query.append_pair("xms_cc", "cp1");
            }
        }
        drop(query);
    }
    builder = builder.uri(url.as_str()).header(header::ACCEPT, "application/json");
    builder = match (source, &endpoint.secret) {
        (AppService, Some(secret)) => builder.header("x-identity-header", sensitive(secret.expose())?),
        (AzureMl, Some(secret)) => builder.header("secret", sensitive(secret.expose())?),
        _ => builder.header("metadata", HeaderValue::from_static("true")),
    };
    if let Some(key) = ask.arc_key {
        builder = builder.header(header::AUTHORIZATION, sensitive(&format!("Basic {}", key.expose()))?);
    }
    builder.body(body).map_err(|_| Error::new(ErrorKind::Configuration, "the identity endpoint is no usable address"))
}

/// How a user-assigned identity is named in the query; each platform has words of its own.
#[inline]
pub(super) fn selector(source: ManagedIdentitySource, id: &ManagedIdentityId) -> Option<(&'static str, &str)> {
    match id {
        ManagedIdentityId::SystemAssigned => None,
        ManagedIdentityId::ClientId(id) if source == ManagedIdentitySource::AzureMl => Some(("clientid", id.as_str())),
        ManagedIdentityId::ClientId(id) => Some(("client_id", id.as_str())),
        ManagedIdentityId::ObjectId(id) => Some(("object_id", id.as_str())),
        ManagedIdentityId::ResourceId(id) if source == ManagedIdentitySource::AppService => Some(("mi_res_id", id)),
        ManagedIdentityId::ResourceId(id) => Some(("msi_res_id", id)),
    }
}

#[inline]
fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Error::new(ErrorKind::Configuration, "the platform's identity secret is no header value"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[inline]
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members that are used; numbers come as numbers or as strings.
struct Success {
    access_token: String,
    token_type: Option<String>,
    expires_on: Value,
    expires_in: Value,
    refresh_in: Value,
    // What the Arc agent says it used.
    client_id: Value,
    object_id: Value,
    msi_res_id: Value,
}

impl Success {
    #[inline]
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer = Document::read(body)?;
        let value = |name| Ok(answer.optional(name)?.unwrap_or_default());
        Ok(Self {
            access_token: answer.required("access_token")?,
            token_type: answer.optional("token_type")?,
            expires_on: value("expires_on")?,
            expires_in: value("expires_in")?,
            refresh_in: value("refresh_in")?,
            client_id: value("client_id")?,
            object_id: value("object_id")?,
            msi_res_id: value("msi_res_id")?,
        })
    }
}

/// No token of a managed identity is believed to live longer.
const LONGEST: time::Duration = time::Duration::hours(24);

/// Makes a token of a successful answer.
#[inline]
pub(super) fn success(
    source: ManagedIdentitySource,
    id: &ManagedIdentityId,
    body: &Bytes,
    now: OffsetDateTime,
) -> Result<AccessToken, Error> {
    let answer = Success::read(body).map_err(|_| {
        Error::new(
            ErrorKind::Protocol,
            "the identity endpoint answered with something that is no token; look for a proxy in between",
        )
    })?;
    if answer.token_type.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(Error::new(
            ErrorKind::Protocol,
            "the identity endpoint answered with a token that is no bearer token; bound tokens are not supported here",
        ));
    }
    if source == ManagedIdentitySource::AzureArc {
        honoured(id, &answer)?;
    }
    let expires = expiry(&answer.expires_on, &answer.expires_in, now).ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            "the identity endpoint answered with a token that has no end, or has ended; check this machine's clock",
        )
    })?;
    let token = AccessToken::new(answer.access_token, expires)?;
    Ok(match moment(&answer.refresh_in, now) {
        Some(refresh) if refresh > now && refresh < expires => token.with_refresh_on(refresh),
        _ => token,
    })
}

/// Old Arc agents ignore the selector and hand out the system identity's token; new ones repeat it.
#[inline]
fn honoured(id: &ManagedIdentityId, answer: &Success) -> Result<(), Error> {
    let (asked, echo) = match id {
        ManagedIdentityId::SystemAssigned => return Ok(()),
        ManagedIdentityId::ClientId(id) => (id.as_str(), &answer.client_id),
        ManagedIdentityId::ObjectId(id) => (id.as_str(), &answer.object_id),
        ManagedIdentityId::ResourceId(id) => (&**id, &answer.msi_res_id),
    };
    if echo.as_str().is_some_and(|echo| echo.eq_ignore_ascii_case(asked)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Configuration,
        "the Azure Arc agent did not use the user-assigned identity that was asked for; update the agent, or use the \
         system-assigned identity",
    ))
}

/// When the token ends. The earlier of both statements counts; when only the life reaches into the future, the clock
/// of this machine is ahead and the life counts.
#[inline]
fn expiry(expires_on: &Value, expires_in: &Value, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let on = moment(expires_on, now).filter(|on| *on > now);
    let ends = match (on, moment(expires_in, now).filter(|on| *on > now)) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some(ends.min(now + LONGEST))
}

/// A time in any of the forms seen: seconds from now, seconds since 1970, RFC 3339, or the local form of old App
/// Service; a JSON number or a string.
#[inline]
fn moment(value: &Value, now: OffsetDateTime) -> Option<OffsetDateTime> {
    /// 2001-01-01. Smaller numbers are lives.
    const EPOCH_FROM: i64 = 978_307_200;
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => return None,
    };
    match (number, value) {
        (Some(seconds), _) if seconds >= EPOCH_FROM => OffsetDateTime::from_unix_timestamp(seconds).ok(),
        (Some(seconds), _) => now.checked_add(time::Duration::seconds(seconds)),
        (None, Value::String(text)) => {
            OffsetDateTime::parse(text.trim(), &Rfc3339).ok().or_else(|| american(text.trim()))
        }
        (None, _) => None,
    }
}

/// `9/19/2027 9:53:10 PM +00:00` and `09/19/2027 21:53:10 +00:00`.
#[inline]
fn american(text: &str) -> Option<OffsetDateTime> {
    let mut parts = text.split_ascii_whitespace();
    let (date, clock) = (parts.next()?, parts.next()?);
    let mut zone = parts.next()?;
    let half = match zone {
        "AM" | "PM" => std::mem::replace(&mut zone, parts.next()?),
        _ => "",
    };
    let three = |text: &str, by: char| -> Option<[i64; 3]> {
        let numbers: Vec<i64> = text.split(by).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        numbers.try_into().ok()
    };
    let [month, day, year] = three(date, '/')?;
    let [hour, minute, second] = three(clock, ':')?;
    let hour = match half {
        "AM" => hour % 12,
        "PM" => hour % 12 + 12,
        _ => hour,
    };
    let (hours, minutes) = zone.strip_prefix('+').or_else(|| zone.strip_prefix('-'))?.split_once(':')?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let part = |digits: &str| Some(sign * i8::try_from(digits.parse::<i64>().ok()?).ok()?);
    let offset = UtcOffset::from_hms(part(hours)?, part(minutes)?, 0).ok()?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let time = date.with_hms(u8::try_from(hour).ok()?, u8::try_from(minute).ok()?, u8::try_from(second).ok()?).ok()?;
    Some(time.assume_offset(offset))
}

/// The members of an error answer in the forms of all platforms.
#[derive(Default)]
struct Failure {
    error: Value,
    error_description: Option<String>,
    message: Option<String>,
    correlation_id: Option<String>,
}

impl Failure {
    #[inline]
    fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let answer = Document::read(body)?;
        Ok(Self {
            error: answer.optional("error")?.unwrap_or_default(),
            error_description: answer.optional("error_description")?,
            message: answer.optional("message")?,
            correlation_id: answer.optional("correlation_id")?.or(answer.optional("correlationId")?),
        })
    }
}

/// Makes a typed error of an answer that is no success.
#[inline]
pub(super) fn failure(status: StatusCode, headers: &HeaderMap, body: &Bytes, now: OffsetDateTime) -> Error {
    let answer = Failure::read(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let nested = |name: &str| answer.error.get(name).and_then(text);
    let description = answer.error_description.or(answer.message).or_else(|| nested("message"));
    let oauth = OAuthError {
        status: status.as_u16(),
        error: text(&answer.error).or_else(|| nested("code")).unwrap_or_default(),
        error_codes: description.as_deref().map(aadsts).unwrap_or_default(),
        description,
        correlation_id: answer.correlation_id.or_else(|| nested("correlationId")),
        ..OAuthError::default()
    };
    let wait = retry_after(headers, now)
        .or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then_some(Duration::from_secs(1)));
    let (kind, text) = match status.as_u16() {
        300..=399 => (
            ErrorKind::Protocol,
            "the identity endpoint answered with a redirect, which is never followed; look for a proxy in between",
        ),
        400 => (
            ErrorKind::Configuration,
            "the identity endpoint refused the request: check that the identity is assigned to this host and that the \
             resource exists",
        ),
        401 | 403 => (ErrorKind::Configuration, "the identity endpoint does not let this process in"),
        429 => (ErrorKind::Throttled, "the identity endpoint asks for fewer requests"),
        404 | 408 | 410 | 500..=599 => (ErrorKind::Transient, "the identity endpoint is not ready"),
        _ => (ErrorKind::Protocol, "the identity endpoint answered with an unexpected status"),
    };
    Error::new(kind, text).with_oauth(oauth).with_retry_after(wait)
}

/// The numbers of `AADSTS…` codes in a text.
#[inline]
pub(crate) fn aadsts(text: &str) -> Vec<u32> {
    let number = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits).and_then(|digits| digits.parse().ok())
    };
    text.split("AADSTS").skip(1).filter_map(number).take(8).collect()
}

/// Docker Desktop answers for an address nobody has.
#[inline]
pub(super) fn is_unreachable(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::FORBIDDEN && body.windows(11).any(|part| part.eq_ignore_ascii_case(b"unreachable"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    #[test]
    fn lifetimes_in_every_form() {
        for (expires_on, expires_in, seconds) in [
            (json!("1800003600"), Value::Null, Some(3600)),
            (json!(1_800_003_600), Value::Null, Some(3600)),
            (Value::Null, json!("3599"), Some(3599)),
            (Value::Null, json!(3599), Some(3599)),
            (json!("86399"), Value::Null, Some(86399)),
            (json!("2027-01-15T09:00:00Z"), Value::Null, Some(3600)),
            (json!("01/15/2027 09:00:00 +00:00"), Value::Null, Some(3600)),
            (json!("1/15/2027 9:00:00 AM +00:00"), Value::Null, Some(3600)),
            (json!("1/15/2027 1:00:00 PM +04:00"), Value::Null, Some(3600)),
            // Both: the earlier. A clock that is 10 minutes off, either way, makes no token live too long.
            (json!("1800003000"), json!("3600"), Some(3000)),
            (json!("1800004200"), json!("3600"), Some(3600)),
            // The clock is ahead by more than the token's life.
            (json!("1799990000"), json!("3600"), Some(3600)),
            (json!("9999999999"), Value::Null, Some(86_400)),
            (Value::Null, json!(1_000_000), Some(86_400)),
            (Value::Null, Value::Null, None),
            (Value::Null, json!(0), None),
            (Value::Null, json!(-5), None),
            (json!("1799999999"), Value::Null, None),
            (json!("soon"), Value::Null, None),
            (json!("13/45/2027 9:00:00 XM +00:00"), Value::Null, None),
            (json!(i64::MAX), Value::Null, None),
            (json!(i64::MIN), Value::Null, None),
            (json!([]), json!({}), None),
        ] {
            let found = expiry(&expires_on, &expires_in, now()).map(|at| (at - now()).whole_seconds());
            assert_eq!(found, seconds, "{expires_on} {expires_in}");
        }
    }

    #[test]
    fn what_is_no_token_is_an_error_that_shows_nothing() {
        for body in [
            "",
            "<html>marker</html>",
            "{}",
            "null",
            r#"{"access_token":"","expires_in":"3600"}"#,
            r#"{"access_token":"marker"}"#,
            r#"{"access_token":"marker","expires_in":"-1"}"#,
            r#"{"access_token":"marker","expires_in":"3600","token_type":"pop"}"#,
            r#"{"access_token":"marker\r\nx: y","expires_in":"3600"}"#,
        ] {
            let body = Bytes::from_static(body.as_bytes());
            let error =
                success(ManagedIdentitySource::Imds, &ManagedIdentityId::SystemAssigned, &body, now()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        }
    }

    #[test]
    fn errors_of_every_platform_are_understood() {
        let judged = |status: u16, body: &'static str| {
            failure(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &Bytes::from(body), now())
        };
        let imds = judged(400, r#"{"error":"invalid_request","error_description":"Identity not found, marker"}"#);
        assert_eq!((imds.kind(), &*imds.oauth().unwrap().error), (ErrorKind::Configuration, "invalid_request"));
        let app = judged(500, r#"{"statusCode":500,"message":"marker","correlationId":"c-1"}"#);
        assert_eq!(app.kind(), ErrorKind::Transient);
        assert_eq!(app.oauth().unwrap().correlation_id.as_deref(), Some("c-1"));
        let ml = judged(400, r#"{"error":{"code":"NotFound","message":"AADSTS500011: marker","correlationId":"c-2"}}"#);
        assert!(ml.to_string().contains("AADSTS500011"));
        assert_eq!(ml.oauth().unwrap().correlation_id.as_deref(), Some("c-2"));
        for error in [imds, app, ml] {
            assert!(!format!("{error} {error:?}").contains("marker"));
        }
        assert_eq!(judged(307, "").kind(), ErrorKind::Protocol);
        assert_eq!(judged(429, "").kind(), ErrorKind::Throttled);
        assert_eq!(judged(418, "<html>").kind(), ErrorKind::Protocol);
    }
}
