use std::{fmt, sync::Arc};

use entra_auth::{ClientId, SigningKey, TenantId};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};

use super::{
    ChannelPolicy, ForeignActivity, InboundError, InboundErrorKind, ServiceUrl, VerifiedActivity,
    authenticator::refused,
    policy::{check_ids, named_channel, named_service_url},
    verified::Facts,
};
use crate::model::json;
use crate::{Activity, RawJson};

/// The proof that a request carries a good token of the channel. It opens the body of that request.
///
/// Only [`ChannelAuthenticator::authenticate`](crate::ChannelAuthenticator::authenticate) makes one.
/// A clone is an `Arc` clone.
///
/// ```
/// # use botframework_activity::{ChannelAuthenticator, ChannelToken, InboundError};
/// async fn token(by: &ChannelAuthenticator, headers: &http::HeaderMap) -> Result<ChannelToken, InboundError> {
///     by.authenticate(headers).await
/// }
/// ```
///
/// ```compile_fail,E0624
/// # use botframework_activity::ChannelToken;
/// let token = ChannelToken::new("eyJ");
/// ```
#[derive(Clone)]
pub struct ChannelToken(Arc<TokenFacts>);

pub(super) struct TokenFacts {
    pub(super) policy: ChannelPolicy,
    pub(super) key: Arc<SigningKey>,
    pub(super) app_id: ClientId,
    pub(super) service_url: Arc<ServiceUrl>,
}

impl ChannelToken {
    pub(super) fn new(facts: TokenFacts) -> Self {
        Self(Arc::new(facts))
    }

    /// The id of the key that signed, for logs.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.0.key.kid()
    }

    /// Which of the bot's app ids the token is for.
    #[must_use]
    pub fn app_id(&self) -> &ClientId {
        &self.0.app_id
    }

    /// How many bytes of the body are worth reading. One byte more is enough to know that it is too large.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        self.0.policy.body_limit()
    }

    /// Judges the headers that describe the body, before it is read: `Content-Type` must be JSON in UTF-8,
    /// `Content-Encoding` must not be used, `Content-Length` must be within the limit.
    ///
    /// It is a method of the token, so that a request without a good one gets a 401 and nothing else.
    ///
    /// # Errors
    ///
    /// [`InboundErrorKind::UnsupportedMediaType`], [`InboundErrorKind::UnsupportedEncoding`] (415) or
    /// [`InboundErrorKind::BodyTooLarge`] (413).
    pub fn check_content(&self, headers: &HeaderMap) -> Result<(), InboundError> {
        judge_content(headers, self.body_limit()).inspect_err(refused)
    }

    /// Step two: the body, as it came.
    ///
    /// Checks size, depth, JSON without duplicate members, the members every activity needs, that `serviceUrl` is the
    /// one that was signed, that the key speaks for `channelId`, and the tenant.
    ///
    /// # Errors
    ///
    /// Every [`InboundErrorKind`] but [`InboundErrorKind::Token`]: 400, 403 or 413.
    pub fn open(&self, body: &[u8]) -> Result<VerifiedActivity, InboundError> {
        self.judge(body).inspect_err(refused)
    }

    fn judge(&self, body: &[u8]) -> Result<VerifiedActivity, InboundError> {
        let rules = &self.0.policy.0;
        let mut activity = rules.read(body)?;
        // The activity's own spelling: it has kept the letter case that the claim has lost.
        let service_url = named_service_url(&activity, Some(&*self.0.service_url))?;
        if !service_url.same_as(&self.0.service_url) {
            return Err(InboundErrorKind::ServiceUrlMismatch.into());
        }
        if !rules.endorsed(named_channel(&activity)?, self.0.key.endorsements()) {
            return Err(InboundErrorKind::NotEndorsed.into());
        }
        check_ids(&activity)?;
        let tenant = one_tenant(&activity, &self.0.service_url)?;
        // Whoever sent the activity does not get to say who called.
        activity.caller_id = rules.cloud.caller_id().map(str::to_owned);
        let allowed = rules.allows_tenant(tenant.as_ref());
        let verified = VerifiedActivity::new(Facts {
            activity,
            service_url,
            tenant,
            app_id: self.0.app_id.clone(),
            cloud: rules.cloud,
            size: body.len(),
        });
        if allowed { Ok(verified) } else { Err(InboundError::foreign(ForeignActivity::new(verified))) }
    }
}

impl fmt::Debug for ChannelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelToken")
            .field("key_id", &self.key_id())
            .field("app_id", &self.0.app_id)
            .finish_non_exhaustive()
    }
}

/// The tenant that every part of the request agrees on. Only the one in the service URL is signed by itself.
///
/// A text that is no GUID, which local tools write, is compared like any other, but it is no tenant.
pub(super) fn one_tenant(activity: &Activity, signed: &ServiceUrl) -> Result<Option<TenantId>, InboundError> {
    let signed = signed.tenant();
    let of_data = tenant_of_channel_data(activity.channel_data.as_ref())?;
    let of_conversation = activity.conversation.as_ref().and_then(|conversation| conversation.tenant_id.as_deref());
    let mut named = [signed.as_ref().map(TenantId::as_str), of_data.as_deref(), of_conversation]
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty());
    let Some(first) = named.next() else {
        return Ok(None);
    };
    if named.any(|other| !other.eq_ignore_ascii_case(first)) {
        return Err(InboundErrorKind::TenantMismatch.into());
    }
    Ok(first.parse().ok().filter(TenantId::is_guid))
}

/// `channelData.tenant.id`. Channel data that is no object names no tenant; a member twice is an error.
fn tenant_of_channel_data(data: Option<&RawJson>) -> Result<Option<String>, InboundError> {
    let Some(data) = data.filter(|data| data.get().trim_start().starts_with('{')) else {
        return Ok(None);
    };
    let id = json::member(data.get(), "tenant")
        .and_then(|tenant: Option<RawJson>| tenant.map_or(Ok(None), |tenant| json::member(tenant.get(), "id")));
    id.map_err(|error| InboundError::from(InboundErrorKind::MalformedActivity).with_source(error))
}

pub(super) fn judge_content(headers: &HeaderMap, limit: usize) -> Result<(), InboundError> {
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let encoding = one(CONTENT_ENCODING).map_err(|()| InboundErrorKind::UnsupportedEncoding)?;
    if encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
        return Err(InboundErrorKind::UnsupportedEncoding.into());
    }
    if !one(CONTENT_TYPE).is_ok_and(|value| value.is_some_and(is_json)) {
        return Err(InboundErrorKind::UnsupportedMediaType.into());
    }
    let length = one(CONTENT_LENGTH).ok().flatten().and_then(|value| value.trim().parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        return Err(InboundErrorKind::BodyTooLarge.into());
    }
    Ok(())
}

/// `application/json`, with no character set other than UTF-8. Other parameters mean nothing for JSON.
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn content(headers: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        judge_content(&map, 1000).err().map(|error| error.status().as_u16())
    }

    #[test]
    fn only_plain_json_within_the_limit() {
        const JSON: (&str, &str) = ("content-type", "application/json");
        for (headers, status) in [
            (&[JSON][..], None),
            (&[("content-type", "Application/JSON; charset=UTF-8")], None),
            (&[("content-type", "application/json;charset=\"utf-8\"; v=1")], None),
            (&[JSON, ("content-length", "1000")], None),
            (&[JSON, ("content-encoding", "identity")], None),
            (&[], Some(415)),
            (&[("content-type", "text/plain")], Some(415)),
            (&[("content-type", "application/jsonp")], Some(415)),
            (&[("content-type", "application/json; charset=utf-16")], Some(415)),
            (&[JSON, JSON], Some(415)),
            (&[JSON, ("content-encoding", "gzip")], Some(415)),
            (&[JSON, ("content-length", "1001")], Some(413)),
            (&[JSON, ("content-length", "99999999999999999999")], None),
        ] {
            assert_eq!(content(headers), status, "{headers:?}");
        }
    }

    #[test]
    fn tenants_in_channel_data() {
        for (data, expected) in [
            (r#"{"tenant":{"id":"t"}}"#, Some(Some("t"))),
            (r#" {"team":1,"tenant":{"x":2,"id":"t"}}"#, Some(Some("t"))),
            (r#"{"tenant":{}}"#, Some(None)),
            (r#"{"tenant":null}"#, Some(None)),
            ("[]", Some(None)),
            ("\"text\"", Some(None)),
            ("null", Some(None)),
            (r#"{"tenant":{"id":"t","id":"u"}}"#, None),
            (r#"{"tenant":{"id":"t"},"tenant":{"id":"t"}}"#, None),
            (r#"{"tenant":"t"}"#, None),
            (r#"{"tenant":{"id":7}}"#, None),
        ] {
            let data = RawJson::from_text(data).unwrap();
            let found = tenant_of_channel_data(Some(&data)).ok();
            assert_eq!(found, expected.map(|tenant| tenant.map(str::to_owned)), "{}", data.get());
        }
    }
}
