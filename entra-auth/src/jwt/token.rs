use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, Claims, KeyLookup, KeySource, MAX_TOKEN, SigningKey, TokenError, TokenErrorKind,
    header::Header,
    memory::{Proven, Trace},
};

/// A signed JWT ([RFC 7515](https://www.rfc-editor.org/rfc/rfc7515)) in the form it must have, its signature not checked
/// yet. `Debug` shows no content.
///
/// ```
/// # use entra_auth::{TokenErrorKind, UnverifiedToken};
/// let error = UnverifiedToken::parse("eyJhbGciOiJub25lIn0.e30.").unwrap_err();
/// assert_eq!(error.kind(), TokenErrorKind::AlgorithmNotAllowed);
/// ```
pub struct UnverifiedToken<'a> {
    parts: Parts<'a>,
    signature: Vec<u8>,
    header: Arc<Header>,
    claims: Claims,
    /// There when somebody may want to remember the token.
    pub(super) trace: Option<Trace>,
}

impl<'a> UnverifiedToken<'a> {
    /// Parses a token: at most 16 KiB, three parts in canonical base64url without padding, the first two JSON objects
    /// without a duplicate member and at most 32 levels deep.
    ///
    /// The header must have an `alg` of [`Algorithm`] and a `kid`; `typ`, when there, is `JWT` or `at+jwt`; `crit` must
    /// not be there. Keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::TokenTooLarge`], [`TokenErrorKind::MalformedToken`], [`TokenErrorKind::DuplicateMember`],
    /// [`TokenErrorKind::AlgorithmNotAllowed`], [`TokenErrorKind::CriticalHeader`], [`TokenErrorKind::TypeNotAllowed`],
    /// [`TokenErrorKind::NotForThisApi`] or [`TokenErrorKind::MissingKeyId`].
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        let parts = Parts::split(token)?;
        Self::read(&parts, Arc::new(Header::parse(parts.header)?), None)
    }

    /// The rest of a token whose header is judged.
    pub(super) fn read(parts: &Parts<'a>, header: Arc<Header>, trace: Option<Trace>) -> Result<Self, TokenError> {
        let payload = decode(parts.payload)?;
        let signature = decode(parts.signature)?;
        if signature.is_empty() {
            return Err(TokenErrorKind::MalformedToken.into());
        }
        let claims = Claims::parse(payload)?;
        Ok(Self { parts: *parts, signature, header, claims, trace })
    }

    /// `kid`: the id of the key that signed it, by its own word.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.header.kid
    }

    /// `alg`.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// Whether the header brings or names a key of its own (`jwk`, `jku`, `x5u`). It is never used; an issuer that never
    /// sends one may be held to that.
    #[must_use]
    pub fn offers_key(&self) -> bool {
        self.header.offers_key
    }

    /// The claims before the signature is checked: only for choosing keys and for refusing early.
    #[must_use]
    pub const fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// Looks the key up and checks the signature. The algorithm must be one of `allowed` and one of the key's. No claim
    /// is judged here; what was found out about [`UnverifiedToken::unverified_claims`] holds for the outcome, whose claims
    /// are the same.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::AlgorithmNotAllowed`] (before any lookup when it is not in `allowed`),
    /// [`TokenErrorKind::UnknownKey`], [`TokenErrorKind::KeyGated`], [`TokenErrorKind::KeysUnavailable`] or
    /// [`TokenErrorKind::BadSignature`].
    pub async fn verify(
        self,
        keys: &dyn KeySource,
        issuer: &str,
        allowed: &[Algorithm],
    ) -> Result<VerifiedJwt, TokenError> {
        if !allowed.contains(&self.header.algorithm) {
            return Err(TokenErrorKind::AlgorithmNotAllowed.into());
        }
        let key = keys.key(KeyLookup::new(issuer, &self.header.kid)).await?;
        let digest = self.trace.as_ref().map(|trace| &trace.signed);
        key.verify(self.header.algorithm, self.parts.signing_input.as_bytes(), digest, &self.signature)?;
        let proven = self.trace.map(|trace| trace.proven(self.parts.signature));
        Ok(VerifiedJwt { claims: self.claims, key, header: self.header, proven })
    }
}

/// The three parts of the compact form, not decoded yet.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) signing_input: &'a str,
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, TokenError> {
        const MALFORMED: TokenErrorKind = TokenErrorKind::MalformedToken;
        if token.len() > MAX_TOKEN {
            return Err(TokenErrorKind::TokenTooLarge.into());
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signing_input.split_once('.').ok_or(MALFORMED)?;
        if payload.as_bytes().contains(&b'.') {
            return Err(MALFORMED.into());
        }
        Ok(Self { signing_input, header, payload, signature })
    }
}

pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenErrorKind::MalformedToken.into())
}

pub(super) fn sha256(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

impl fmt::Debug for UnverifiedToken<'_> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("algorithm", &self.header.algorithm).finish_non_exhaustive()
    }
}

/// A token whose signature is good. Its claims still have to be judged. `Debug` shows no content.
///
/// Nobody makes one without a signature:
///
/// ```
/// # use entra_auth::VerifiedJwt;
/// fn same(jwt: &VerifiedJwt) -> VerifiedJwt {
///     VerifiedJwt::clone(jwt)
/// }
/// ```
///
/// ```compile_fail,E0599
/// # use entra_auth::VerifiedJwt;
/// fn same(jwt: &VerifiedJwt) -> VerifiedJwt {
///     VerifiedJwt::default()
/// }
/// ```
#[derive(Clone)]
pub struct VerifiedJwt {
    claims: Claims,
    key: Arc<SigningKey>,
    pub(super) header: Arc<Header>,
    /// There when somebody may want to remember the token.
    pub(super) proven: Option<Proven>,
}

impl VerifiedJwt {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The claims, to keep.
    #[must_use]
    #[inline]
    pub fn into_claims(self) -> Claims {
        self.claims
    }

    /// The key that signed it.
    #[must_use]
    pub const fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }
}

impl fmt::Debug for VerifiedJwt {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedJwt").field("kid", &self.key.kid()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StaticKeys;

    #[test]
    fn debug_shows_nothing_of_a_token() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.AAAA", part(r#"{"alg":"RS256","kid":"marker"}"#), part(r#"{"marker":"marker"}"#));
        let token = UnverifiedToken::parse(&token).unwrap();
        assert!(!format!("{token:#?} {:#?}", token.unverified_claims()).contains("marker"));
    }

    static_assertions::assert_impl_all!(UnverifiedToken<'static>: Send, Sync);
    static_assertions::assert_impl_all!(VerifiedJwt: Send, Sync, Clone);
    static_assertions::assert_impl_all!(StaticKeys: Send, Sync, Clone);
}
