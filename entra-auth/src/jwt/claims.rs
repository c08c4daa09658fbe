use std::fmt;

use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{Lifetime, TokenError, TokenErrorKind, TokenTimes, lifetime::Seconds, members::Members};

/// The members of a token's payload, with strict typed getters.
///
/// A member that occurs twice has made the token fail before this type exists. A getter answers `None` only when the
/// claim is absent; a wrong type, `null` included, is [`TokenErrorKind::MalformedClaim`]. Names are compared letter by
/// letter. `Debug` shows no content.
#[derive(Clone)]
pub struct Claims(Members);

impl Claims {
    pub(crate) fn parse(json: Vec<u8>) -> Result<Self, TokenError> {
        Members::parse(json).map(Self)
    }

    /// A claim that is a string.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MalformedClaim`] when it is anything else.
    pub fn string(&self, name: &str) -> Result<Option<&str>, TokenError> {
        self.0.text(name).map(|text| text.ok_or_else(malformed)).transpose()
    }

    /// A claim that must be there and is a string.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] when it is no string.
    pub fn required_string(&self, name: &str) -> Result<&str, TokenError> {
        self.string(name)?.ok_or_else(|| TokenErrorKind::MissingClaim.into())
    }

    /// A claim that is an array of strings.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MalformedClaim`] when it is anything else.
    #[inline]
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, TokenError> {
        let Some(json) = self.0.json(name) else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| malformed())
    }

    /// A claim that is a time: whole seconds since 1970, from 0 to 2^33.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MalformedClaim`] when it is anything else: a string, a fraction, an exponent, negative, later.
    pub fn numeric_date(&self, name: &str) -> Result<Option<OffsetDateTime>, TokenError> {
        let seconds = self.seconds(name)?;
        seconds.map(|seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| malformed())).transpose()
    }

    /// A time that must be there.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] as [`Claims::numeric_date`].
    #[inline]
    pub fn required_numeric_date(&self, name: &str) -> Result<OffsetDateTime, TokenError> {
        self.numeric_date(name)?.ok_or_else(|| TokenErrorKind::MissingClaim.into())
    }

    /// The one audience: `aud` as a string or as an array of exactly one string.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] for any other form, several audiences
    /// included.
    #[inline]
    pub fn audience(&self) -> Result<&str, TokenError> {
        let text = self.0.text("aud").ok_or(TokenErrorKind::MissingClaim)?;
        text.or_else(|| self.0.only_text("aud")).ok_or_else(malformed)
    }

    /// A claim as it was sent.
    #[must_use]
    #[inline]
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        self.0.raw(name)
    }

    /// The names of all claims, in the order they were sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// `exp`, which must be there, `nbf` and `iat`.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] as [`Claims::numeric_date`].
    pub fn times(&self) -> Result<TokenTimes, TokenError> {
        Ok(TokenTimes {
            expires_on: self.seconds("exp")?.ok_or(TokenErrorKind::MissingClaim)?,
            not_before: self.seconds("nbf")?,
            issued_at: self.seconds("iat")?,
        })
    }

    /// Judges `exp`, `nbf` and `iat` as [`TokenTimes::check`] does, and returns `exp`.
    ///
    /// `lifetime` is a leeway or a whole [`Lifetime`].
    ///
    /// # Errors
    ///
    /// As [`Claims::times`] and [`TokenTimes::check`].
    pub fn check_lifetime(
        &self,
        now: OffsetDateTime,
        lifetime: impl Into<Lifetime>,
    ) -> Result<OffsetDateTime, TokenError> {
        let times = self.times()?;
        times.check(now, lifetime.into())?;
        Ok(times.expires_on())
    }

    /// Whether a claim is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn seconds(&self, name: &str) -> Result<Option<Seconds>, TokenError> {
        const END: Seconds = 1 << 33;
        let Some(json) = self.0.json(name) else { return Ok(None) };
        let digits = Some(json).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let seconds = digits.and_then(|text| text.parse().ok()).filter(|seconds| (0..END).contains(seconds));
        seconds.map(Some).ok_or_else(malformed)
    }
}

impl fmt::Debug for Claims {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({})", self.0.len())
    }
}

fn malformed() -> TokenError {
    TokenErrorKind::MalformedClaim.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.into()).unwrap()
    }

    #[test]
    fn a_wrong_type_is_never_an_absent_claim() {
        let claims = claims(
            r#"{"text":"x","escaped":"https:\/\/a\u0062","null":null,"number":5,"array":["x"],"object":{},"bool":true}"#,
        );
        assert_eq!(claims.string("text").unwrap(), Some("x"));
        assert_eq!(claims.string("escaped").unwrap(), Some("https://ab"));
        assert_eq!(claims.string("absent").unwrap(), None);
        assert_eq!(claims.required_string("absent").unwrap_err().kind(), TokenErrorKind::MissingClaim);
        for name in ["null", "number", "array", "object", "bool"] {
            assert_eq!(claims.string(name).unwrap_err().kind(), TokenErrorKind::MalformedClaim, "{name}");
        }
        for name in ["null", "text", "array", "object", "bool"] {
            assert_eq!(claims.numeric_date(name).unwrap_err().kind(), TokenErrorKind::MalformedClaim, "{name}");
        }
        assert_eq!(claims.strings("array").unwrap().unwrap(), ["x"]);
        assert_eq!(claims.strings("text").unwrap_err().kind(), TokenErrorKind::MalformedClaim);
    }

    #[test]
    fn exp_bounds() {
        for (number, good) in [
            ("0", true),
            ("1700000000", true),
            ("8589934591", true),
            ("8589934592", false),
            ("18446744073709551615", false),
            ("99999999999999999999999999", false),
            ("-1", false),
            ("-0", false),
            ("1700000000.0", false),
            ("1.7e9", false),
            ("1e300", false),
            ("\"1700000000\"", false),
            ("[1700000000]", false),
            ("null", false),
            ("true", false),
        ] {
            let claims = claims(&format!("{{\"exp\":{number}}}"));
            assert_eq!(claims.numeric_date("exp").is_ok(), good, "{number}");
        }
    }

    #[test]
    fn one_audience() {
        for (json, expected) in [
            (r#"{"aud":"a"}"#, Ok("a")),
            (r#"{"aud":["a"]}"#, Ok("a")),
            (r#"{"aud":["\u0061"]}"#, Ok("a")),
            (r#"{"aud":["a","b"]}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":["a","a"]}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":[]}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":[["a"]]}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":5}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":null}"#, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"aud":{"a":1}}"#, Err(TokenErrorKind::MalformedClaim)),
            ("{}", Err(TokenErrorKind::MissingClaim)),
        ] {
            assert_eq!(claims(json).audience().map_err(|error| error.kind()), expected, "{json}");
        }
    }
}
