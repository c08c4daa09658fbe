//! The other side of claims challenges: what our own API answers when a token is good but not enough.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};

use crate::{AppToken, Authority, ClaimsChallenge, UserToken};

/// The answer to a caller whose token is valid but does not satisfy the operation.
///
/// A caller that understands claims challenges (`xms_cc` of its token holds `cp1`) gets a 401 with the challenge and comes
/// back with a better token. Any other gets a plain 403: a challenge would only confuse it. For `xms_cc` to be in tokens,
/// the API's registration must list it as an optional claim.
///
/// ```
/// use entra_auth::{Authority, ClaimsChallenge, UserToken};
/// use http::{Response, StatusCode};
///
/// fn wire_money(token: &UserToken) -> Result<Response<()>, http::Error> {
///     let strong = token.claims().strings("acrs").ok().flatten().is_some_and(|acrs| acrs.iter().any(|acr| acr == "c1"));
///     if strong {
///         return Response::builder().status(StatusCode::NO_CONTENT).body(());
///     }
///     let claims = ClaimsChallenge::auth_context("c1").expect("c1 is an id of a context");
///     let refusal = token.challenge(&claims, &Authority::default());
///     let mut answer = Response::builder().status(refusal.status()).body(())?;
///     answer.headers_mut().extend(refusal.headers());
///     Ok(answer)
/// }
/// ```
///
/// An On-Behalf-Of request that fails with [`Error::claims_challenge`](crate::Error::claims_challenge) is passed on the
/// same way: the middle tier cannot satisfy it, its caller can.
#[derive(Clone)]
#[must_use]
pub struct Refusal(Option<HeaderValue>);

impl Refusal {
    /// 401 with a challenge, 403 without one.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.0 {
            Some(_) => StatusCode::UNAUTHORIZED,
            None => StatusCode::FORBIDDEN,
        }
    }

    /// The `WWW-Authenticate` value, when the caller understands it.
    #[must_use]
    pub const fn www_authenticate(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    /// The headers of the answer.
    #[must_use]
    #[inline]
    pub fn headers(&self) -> HeaderMap {
        self.0.iter().map(|value| (WWW_AUTHENTICATE, value.clone())).collect()
    }

    fn new(capable: bool, claims: &ClaimsChallenge, authority: &Authority) -> Self {
        let challenge = || {
            let mut uri = authority.url().clone();
            if let Ok(mut path) = uri.path_segments_mut() {
                path.pop_if_empty().extend(["common", "oauth2", "authorize"]);
            }
            let claims = STANDARD.encode(claims.as_str());
            HeaderValue::try_from(format!(
                r#"Bearer realm="", authorization_uri="{uri}", error="insufficient_claims", claims="{claims}""#
            ))
            .ok()
        };
        Self(capable.then(challenge).flatten())
    }
}

impl fmt::Debug for Refusal {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("status", &self.status().as_u16()).finish_non_exhaustive()
    }
}

macro_rules! challenge {
    ($type:ident) => {
        impl $type {
            /// What to answer when this token does not satisfy an operation: a claims challenge for callers that
            /// understand one (<https://learn.microsoft.com/entra/identity-platform/claims-challenge>), else a plain
            /// refusal. `authority` is the cloud that the caller gets its tokens from.
            pub fn challenge(&self, claims: &ClaimsChallenge, authority: &Authority) -> Refusal {
                Refusal::new(self.accepts_claims_challenges(), claims, authority)
            }
        }
    };
}

challenge!(UserToken);
challenge!(AppToken);

impl ClaimsChallenge {
    /// The challenge that asks for an authentication context of Conditional Access, such as `c1`
    /// (<https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context>).
    ///
    /// `None` when `id` is no such id: up to 64 letters and digits.
    #[must_use]
    #[inline]
    pub fn auth_context(id: &str) -> Option<Self> {
        let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let claims = serde_json::json!({"access_token": {"acrs": {"essential": true, "value": id}}});
        is_id.then(|| Self::from_json(&claims.to_string())).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_is_what_our_own_parser_reads() {
        let claims = ClaimsChallenge::auth_context("c1").unwrap();
        assert_eq!(claims.as_str(), r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#);
        let refusal = Refusal::new(true, &claims, &"http://127.0.0.1:1/entra".parse().unwrap());
        assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            refusal.www_authenticate().unwrap(),
            "Bearer realm=\"\", authorization_uri=\"http://127.0.0.1:1/entra/common/oauth2/authorize\", \
             error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19\""
        );
        assert_eq!(ClaimsChallenge::from_headers(&refusal.headers()), Some(claims));
    }

    #[test]
    fn callers_that_do_not_understand_get_none() {
        let refusal = Refusal::new(false, &ClaimsChallenge::auth_context("c1").unwrap(), &Authority::default());
        assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
        assert!(refusal.headers().is_empty() && refusal.www_authenticate().is_none());
        assert!(["", "c 1", "c\"1", &"c".repeat(65)].iter().all(|id| ClaimsChallenge::auth_context(id).is_none()));
    }
}
