use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Algorithm, TokenError, TokenErrorKind, jwk::MAX_KID, members::Members};

/// The header of a token, judged. It depends on its text alone, so it can be kept.
pub(super) struct Header {
    /// As it stands in the token, in base64url.
    pub(super) text: Box<str>,
    pub(super) algorithm: Algorithm,
    pub(super) kid: Box<str>,
    pub(super) offers_key: bool,
}

impl Header {
    /// `alg` and `kid` of a header that may be worked with.
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenErrorKind::MalformedToken)?;
        let header = Members::parse(json)?;
        let string = |name| header.text(name).flatten();
        let algorithm = string("alg").and_then(Algorithm::named).ok_or(TokenErrorKind::AlgorithmNotAllowed)?;
        if header.has("crit") {
            return Err(TokenErrorKind::CriticalHeader.into());
        }
        if header.has("typ") && !matches!(string("typ"), Some("JWT" | "at+jwt")) {
            return Err(TokenErrorKind::TypeNotAllowed.into());
        }
        if header.has("nonce") {
            return Err(TokenErrorKind::NotForThisApi.into());
        }
        let kid = string("kid").filter(|kid| (1..=MAX_KID).contains(&kid.len()));
        let kid = kid.ok_or(TokenErrorKind::MissingKeyId)?.into();
        let offers_key = ["jwk", "jku", "x5u"].iter().any(|name| header.has(name));
        Ok(Self { text: text.into(), algorithm, kid, offers_key })
    }
}
