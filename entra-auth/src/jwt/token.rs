use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Algorithm, Claims, KeyLookup, KeySource, MAX_TOKEN, SigningKey, TokenError, TokenErrorKind, claims::Members,
    jwk::MAX_KID,
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
    token: &'a str,
    signing_input: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Box<str>,
    offers_key: bool,
    claims: Claims,
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
        let Compact { signing_input, payload, signature, algorithm, kid, offers_key } = Compact::parse(token)?;
        let claims = Claims::parse(&payload)?;
        Ok(Self { token, signing_input, signature, algorithm, kid, offers_key, claims })
    }

    /// `kid`: the id of the key that signed it, by its own word.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `alg`.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the header brings or names a key of its own (`jwk`, `jku`, `x5u`). It is never used; an issuer that never
    /// sends one may be held to that.
    #[must_use]
    pub const fn offers_key(&self) -> bool {
        self.offers_key
    }

    /// The claims before the signature is checked: only for choosing keys and for refusing early.
    #[must_use]
    pub const fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    /// Looks the key up and checks the signature. The algorithm must be one of `allowed` and one of the key's. No claim
    /// is judged here.
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
        if !allowed.contains(&self.algorithm) {
            return Err(TokenErrorKind::AlgorithmNotAllowed.into());
        }
        let key = keys.key(KeyLookup::new(issuer, &self.kid)).await?;
        key.verify(self.algorithm, self.signing_input.as_bytes(), &self.signature)?;
        Ok(VerifiedJwt { digest: token_digest(self.token), claims: self.claims, key })
    }
}

/// The compact form with its header judged; the payload can be anything.
struct Compact<'a> {
    signing_input: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Box<str>,
    offers_key: bool,
}

impl<'a> Compact<'a> {
    fn parse(token: &'a str) -> Result<Self, TokenError> {
        const MALFORMED: TokenErrorKind = TokenErrorKind::MalformedToken;
        if token.len() > MAX_TOKEN {
            return Err(TokenErrorKind::TokenTooLarge.into());
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signing_input.split_once('.').ok_or(MALFORMED)?;
        if payload.contains('.') {
            return Err(MALFORMED.into());
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::from(MALFORMED));
        let header = Members::parse(&decode(header)?)?;
        let (algorithm, kid) = judge_header(&header)?;
        let offers_key = ["jwk", "jku", "x5u"].iter().any(|name| header.get(name).is_some());
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        if signature.is_empty() {
            return Err(MALFORMED.into());
        }
        Ok(Self { signing_input, payload, signature, algorithm, kid, offers_key })
    }
}

/// `alg` and `kid` of a header that may be worked with.
fn judge_header(header: &Members) -> Result<(Algorithm, Box<str>), TokenError> {
    let algorithm = header.get("alg").and_then(|alg| alg.text()).and_then(Algorithm::named);
    let algorithm = algorithm.ok_or(TokenErrorKind::AlgorithmNotAllowed)?;
    if header.get("crit").is_some() {
        return Err(TokenErrorKind::CriticalHeader.into());
    }
    if header.get("typ").is_some_and(|typ| !matches!(typ.text(), Some("JWT" | "at+jwt"))) {
        return Err(TokenErrorKind::TypeNotAllowed.into());
    }
    if header.get("nonce").is_some() {
        return Err(TokenErrorKind::NotForThisApi.into());
    }
    let kid = header.get("kid").and_then(|kid| kid.text()).filter(|kid| (1..=MAX_KID).contains(&kid.len()));
    Ok((algorithm, kid.ok_or(TokenErrorKind::MissingKeyId)?.into()))
}

/// SHA-256 of a token: what a cache of verified tokens is keyed by.
pub(crate) fn token_digest(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A token whose signature is good. Its claims still have to be judged. `Debug` shows no content.
#[derive(Clone)]
pub struct VerifiedJwt {
    claims: Claims,
    key: Arc<SigningKey>,
    digest: [u8; 32],
}

impl VerifiedJwt {
    /// The claims.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The claims, to keep.
    #[must_use]
    pub fn into_claims(self) -> Claims {
        self.claims
    }

    /// The key that signed it.
    #[must_use]
    pub const fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// SHA-256 of the whole token: the key for a cache of verified tokens.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl fmt::Debug for VerifiedJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedJwt").field("kid", &self.key.kid()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{KeyErrorKind, StaticKeys, jwt::jwk::parse_jwks};

    /// Checks form, header and signature, whatever the payload is.
    fn accepts(jws: &str, jwks: &Value) -> Result<(), TokenError> {
        let Compact { signing_input, signature, algorithm, kid, .. } = Compact::parse(jws)?;
        let keys = parse_jwks(jwks.to_string().as_bytes())?;
        let key = keys.get(&kid).ok_or(KeyErrorKind::Unknown).map_err(crate::KeyError::from)?;
        key.verify(algorithm, signing_input.as_bytes(), &signature)
    }

    #[test]
    fn wycheproof() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wycheproof/json_web_signature_test.json");
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (mut good, mut bad) = (0, 0);
        for group in file["testGroups"].as_array().unwrap() {
            let key = if group["public"].is_object() { &group["public"] } else { &group["private"] };
            let jwks = serde_json::json!({ "keys": [key] });
            // HMAC does not exist here, and ES521 is no registered name.
            let ours = key["alg"].as_str().is_some_and(|name| Algorithm::named(name).is_some());
            for test in group["tests"].as_array().unwrap() {
                let outcome = accepts(test["jws"].as_str().unwrap(), &jwks);
                // RFC 7520 figure 20 uses a key for another algorithm than its `alg` says. We do not.
                let expected = ours && test["result"] == "valid" && test["comment"] != "Figure20";
                assert_eq!(outcome.is_ok(), expected, "{}: {} {outcome:?}", test["tcId"], test["comment"]);
                if expected {
                    good += 1
                } else {
                    bad += 1
                }
                let flag = |name: &str| test["flags"].as_array().unwrap().iter().any(|flag| flag == name);
                if flag("AlgIsNone") {
                    assert_eq!(outcome.unwrap_err().kind(), TokenErrorKind::AlgorithmNotAllowed);
                }
            }
        }
        assert_eq!((good, bad), (32, 369));
    }

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
