use std::{fmt, str, time::Duration};

use serde::{
    Deserialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::{TokenError, TokenErrorKind};

/// The members of a token's payload, with strict typed getters.
///
/// A member that occurs twice has made the token fail before this type exists. A getter answers `None` only when the
/// claim is absent; a wrong type, `null` included, is [`TokenErrorKind::MalformedClaim`]. Names are compared letter by
/// letter. `Debug` shows no content.
#[derive(Clone)]
pub struct Claims(Members);

impl Claims {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, TokenError> {
        Members::parse(json).map(Self)
    }

    /// A claim that is a string.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MalformedClaim`] when it is anything else.
    pub fn string(&self, name: &str) -> Result<Option<&str>, TokenError> {
        let Some(member) = self.0.get(name) else { return Ok(None) };
        member.text().map(Some).ok_or_else(malformed)
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
    pub fn strings(&self, name: &str) -> Result<Option<Vec<String>>, TokenError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| malformed())
    }

    /// A claim that is a time: whole seconds since 1970, from 0 to 2^33.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MalformedClaim`] when it is anything else: a string, a fraction, an exponent, negative, later.
    pub fn numeric_date(&self, name: &str) -> Result<Option<OffsetDateTime>, TokenError> {
        const END: i64 = 1 << 33;
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let digits = Some(raw.get()).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let seconds = digits.and_then(|text| text.parse::<i64>().ok()).filter(|seconds| (0..END).contains(seconds));
        let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        time.map(Some).ok_or_else(malformed)
    }

    /// A time that must be there.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] as [`Claims::numeric_date`].
    pub fn required_numeric_date(&self, name: &str) -> Result<OffsetDateTime, TokenError> {
        self.numeric_date(name)?.ok_or_else(|| TokenErrorKind::MissingClaim.into())
    }

    /// The one audience: `aud` as a string or as an array of exactly one string.
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], or [`TokenErrorKind::MalformedClaim`] for any other form, several audiences
    /// included.
    pub fn audience(&self) -> Result<&str, TokenError> {
        let member = self.0.get("aud").ok_or(TokenErrorKind::MissingClaim)?;
        member.text().or_else(|| member.only_text()).ok_or_else(malformed)
    }

    /// A claim as it was sent.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(|member| &*member.raw)
    }

    /// The names of all claims, in the order they were sent.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.0.iter().map(|member| &*member.name)
    }

    /// Judges `exp`, `nbf` and `iat` and returns `exp`.
    ///
    /// `exp` must be there and lie after `now` less the leeway; `nbf`, when there, not after `now` plus the leeway. `iat`,
    /// when there, lies neither in the future nor after `exp`, and the token lives no longer than 25 hours from it
    /// ([`Lifetime::max_age`]).
    ///
    /// `lifetime` is a leeway or a whole [`Lifetime`].
    ///
    /// # Errors
    ///
    /// [`TokenErrorKind::MissingClaim`], [`TokenErrorKind::MalformedClaim`], [`TokenErrorKind::Expired`],
    /// [`TokenErrorKind::NotYetValid`] or [`TokenErrorKind::LifetimeTooLong`].
    pub fn check_lifetime(
        &self,
        now: OffsetDateTime,
        lifetime: impl Into<Lifetime>,
    ) -> Result<OffsetDateTime, TokenError> {
        let Lifetime { leeway, max_age } = lifetime.into();
        let expires_on = self.required_numeric_date("exp")?;
        let not_before = self.numeric_date("nbf")?;
        let issued_at = self.numeric_date("iat")?;
        if now >= expires_on + leeway {
            return Err(TokenErrorKind::Expired.into());
        }
        let latest_start = now + leeway;
        if [not_before, issued_at].into_iter().flatten().any(|start| start > latest_start) {
            return Err(TokenErrorKind::NotYetValid.into());
        }
        if let Some(issued_at) = issued_at {
            if issued_at > expires_on {
                return Err(malformed());
            }
            if expires_on - issued_at > max_age {
                return Err(TokenErrorKind::LifetimeTooLong.into());
            }
        }
        Ok(expires_on)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({})", self.0.0.len())
    }
}

/// How the times in a token are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    leeway: Duration,
    max_age: Duration,
}

impl Lifetime {
    /// The largest difference between two clocks that may be allowed for: 300 s.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

    /// Allows for clocks that differ by `leeway`, at most [`Lifetime::MAX_LEEWAY`]. A token may live 25 hours.
    #[must_use]
    pub fn new(leeway: Duration) -> Self {
        Self { leeway: leeway.min(Self::MAX_LEEWAY), max_age: Duration::from_secs(25 * 3600) }
    }

    /// Sets how long a token may live, counted from `iat` when that is there. Default 25 hours.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The difference between two clocks that is allowed for.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.leeway
    }
}

/// 60 s of leeway: the default for Entra tokens.
impl Default for Lifetime {
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl From<Duration> for Lifetime {
    fn from(leeway: Duration) -> Self {
        Self::new(leeway)
    }
}

impl From<time::Duration> for Lifetime {
    fn from(leeway: time::Duration) -> Self {
        Self::new(leeway.try_into().unwrap_or_default())
    }
}

fn malformed() -> TokenError {
    TokenErrorKind::MalformedClaim.into()
}

/// The members of a JSON object, none of them twice.
#[derive(Clone)]
pub(super) struct Members(Vec<Member>);

#[derive(Clone)]
pub(super) struct Member {
    name: Box<str>,
    raw: Box<RawValue>,
    /// The text of a string with escapes, or of the only string in an array.
    decoded: Option<Box<str>>,
}

/// The deepest nesting that is looked at.
const MAX_DEPTH: usize = 32;

/// Claims that decide. They are refused as well when a second member differs from them in letter case only: another
/// parser in the chain might pick that one.
const DECIDING: &[&str] = &[
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "tid",
    "oid",
    "sub",
    "scp",
    "roles",
    "azp",
    "appid",
    "idtyp",
    "ver",
    "alg",
    "kid",
    "typ",
    "crit",
    "serviceurl",
];

impl Members {
    pub(super) fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let text = str::from_utf8(json).map_err(|_| TokenErrorKind::MalformedToken)?;
        let object = text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
        if !object || depth(text) > MAX_DEPTH {
            return Err(TokenErrorKind::MalformedToken.into());
        }
        let Pairs(pairs) = serde_json::from_str(text).map_err(|_| TokenErrorKind::MalformedToken)?;
        let mut members: Vec<Member> = Vec::with_capacity(pairs.len());
        for (name, raw) in pairs {
            let decides = DECIDING.iter().any(|deciding| name.eq_ignore_ascii_case(deciding));
            let same = |known: &Member| match decides {
                true => known.name.eq_ignore_ascii_case(&name),
                false => known.name == name,
            };
            if members.iter().any(same) {
                return Err(TokenErrorKind::DuplicateMember.into());
            }
            members.push(Member::new(name, raw)?);
        }
        Ok(Self(members))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Member> {
        self.0.iter().find(|member| &*member.name == name)
    }
}

impl Member {
    fn new(name: Box<str>, raw: Box<RawValue>) -> Result<Self, TokenError> {
        let text = raw.get();
        let decoded = if text.starts_with('"') && text.contains('\\') {
            // An escape that stands for no character, such as half a surrogate pair, spoils the token.
            Some(serde_json::from_str::<Box<str>>(text).map_err(|_| TokenErrorKind::MalformedToken)?)
        } else if &*name == "aud" && text.starts_with('[') {
            serde_json::from_str::<[Box<str>; 1]>(text).ok().map(|[only]| only)
        } else {
            None
        };
        Ok(Self { name, raw, decoded })
    }

    /// The text, when this is a string.
    pub(super) fn text(&self) -> Option<&str> {
        let inner = self.raw.get().strip_prefix('"')?.strip_suffix('"')?;
        Some(self.decoded.as_deref().unwrap_or(inner))
    }

    /// The text, when this is an array of one string.
    fn only_text(&self) -> Option<&str> {
        self.decoded.as_deref().filter(|_| self.raw.get().starts_with('['))
    }
}

/// How deep arrays and objects are nested, without parsing.
fn depth(json: &str) -> usize {
    let (mut now, mut max, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for b in json.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                max = max.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    max
}

struct Pairs(Vec<(Box<str>, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    // No real token comes near; it bounds the search for duplicates.
                    if pairs.len() == 512 {
                        return Err(de::Error::custom("too many members"));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    fn refused(json: &str) -> TokenErrorKind {
        Claims::parse(json.as_bytes()).unwrap_err().kind()
    }

    #[test]
    fn only_objects_without_duplicates() {
        for json in ["", "[]", "1", "null", "{", "{}x", " [{}]", "{\"a\":}", "{\"a\":\"\\ud800\"}", "{\"a\":01}"] {
            assert_eq!(refused(json), TokenErrorKind::MalformedToken, "{json}");
        }
        // JSON may have white space around it (RFC 8259 section 2).
        assert_eq!(claims(" \r\n\t{\"a\":\"b\"} ").string("a").unwrap(), Some("b"));
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":1}"#,
            r#"{"tid":"x","TID":"y"}"#,
            r#"{"Tid":"x","tid":"y"}"#,
            r#"{"Aud":"x","aUd":"y"}"#,
        ] {
            assert_eq!(refused(json), TokenErrorKind::DuplicateMember, "{json}");
        }
        assert_eq!(claims(r#"{"extn.A":1,"extn.a":2}"#).names().count(), 2, "other claims may differ in case");
    }

    #[test]
    fn bounded_depth_and_size() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(Claims::parse(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH)), TokenErrorKind::MalformedToken);
        assert!(Claims::parse(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[[["}"#).is_ok(), "text is not nesting");
        let wide: Vec<_> = (0..513).map(|n| format!("\"m{n}\":1")).collect();
        assert_eq!(refused(&format!("{{{}}}", wide.join(","))), TokenErrorKind::MalformedToken);
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

    #[test]
    fn lifetime_boundaries() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let judge = |json: &str, now| {
            claims(json).check_lifetime(at(now), Duration::from_secs(60)).map(|_| ()).map_err(|error| error.kind())
        };
        for (json, now, expected) in [
            (r#"{"exp":10000}"#, 10_059, Ok(())),
            (r#"{"exp":10000}"#, 10_060, Err(TokenErrorKind::Expired)),
            (r#"{"exp":10000,"nbf":9000}"#, 8_940, Ok(())),
            (r#"{"exp":10000,"nbf":9000}"#, 8_939, Err(TokenErrorKind::NotYetValid)),
            (r#"{"exp":10000,"iat":9000}"#, 8_940, Ok(())),
            (r#"{"exp":10000,"iat":9000}"#, 8_939, Err(TokenErrorKind::NotYetValid)),
            (r#"{"exp":10000,"iat":10001}"#, 10_000, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"exp":90000,"iat":0}"#, 1, Ok(())),
            (r#"{"exp":90001,"iat":0}"#, 1, Err(TokenErrorKind::LifetimeTooLong)),
            (r#"{"exp":8000000000}"#, 1, Ok(())),
            (r#"{"nbf":1}"#, 1, Err(TokenErrorKind::MissingClaim)),
            (r#"{"exp":10000,"nbf":"1"}"#, 1, Err(TokenErrorKind::MalformedClaim)),
            (r#"{"exp":10000,"iat":null}"#, 1, Err(TokenErrorKind::MalformedClaim)),
        ] {
            assert_eq!(judge(json, now), expected, "{json} at {now}");
        }
        assert_eq!(Lifetime::new(Duration::from_secs(9999)).leeway(), Duration::from_secs(300));
        assert_eq!(Lifetime::from(time::Duration::seconds(-5)).leeway(), Duration::ZERO);
        let short = Lifetime::default().max_age(Duration::from_secs(10));
        let error = claims(r#"{"exp":11,"iat":0}"#).check_lifetime(at(1), short).unwrap_err();
        assert_eq!(error.kind(), TokenErrorKind::LifetimeTooLong);
    }
}
