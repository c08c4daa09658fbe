use std::fmt;

use base64::{Engine, engine::DecodePaddingMode, engine::general_purpose::GeneralPurposeConfig};
use http::{HeaderMap, header::WWW_AUTHENTICATE};
use serde_json::Value;

/// What a resource or Entra wants to see in the next token: the `claims` JSON of a challenge.
///
/// See <https://learn.microsoft.com/entra/identity-platform/claims-challenge>. At most 4 KiB and a JSON object;
/// anything else is no challenge. `Debug` shows the size only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClaimsChallenge(Box<str>);

const MAX: usize = 4096;

impl ClaimsChallenge {
    /// Takes the JSON text of a challenge; `None` when it is none.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        let object: Value = (json.len() <= MAX).then(|| serde_json::from_str(json).ok())??;
        object.is_object().then(|| Self(object.to_string().into()))
    }

    /// Finds the challenge in a 401 answer: the base64 `claims` of a `Bearer` challenge with
    /// `error="insufficient_claims"`, in any of several `WWW-Authenticate` headers and in any order of parameters.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).find_map(Self::from_header)
    }

    fn from_header(header: &str) -> Option<Self> {
        let parameters = bearer_parameters(header);
        let find = |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| &**v);
        let claims = find("claims").filter(|_| find("error") == Some("insufficient_claims"))?;
        if claims.len() > MAX * 2 {
            return None;
        }
        // Both alphabets and missing padding occur in the field.
        let standard = |byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        };
        let claims: Vec<u8> = claims.bytes().map(standard).collect();
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
        let json = String::from_utf8(engine.decode(claims).ok()?).ok()?;
        Self::from_json(&json)
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON that goes into a token request: this challenge on top of the capability `cp1` (the client can handle
    /// challenges). Objects are merged; where both name a leaf, the challenge wins.
    #[must_use]
    pub fn with_cp1(challenge: Option<&Self>) -> String {
        let mut base = serde_json::json!({"access_token": {"xms_cc": {"values": ["cp1"]}}});
        if let Some(over) = challenge.and_then(|challenge| serde_json::from_str(&challenge.0).ok()) {
            merge(&mut base, over);
        }
        base.to_string()
    }
}

impl fmt::Debug for ClaimsChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimsChallenge({} bytes)", self.0.len())
    }
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// The parameters of the first `Bearer` challenge in a `WWW-Authenticate` value (RFC 9110 section 11.6.1).
fn bearer_parameters(header: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut in_bearer = false;
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let tail = tail.trim_start_matches(' ');
        if let Some(value) = tail.strip_prefix('=') {
            let (value, tail) = parameter_value(value.trim_start());
            if in_bearer {
                found.push((word, value));
            }
            rest = tail;
        } else {
            if in_bearer && !found.is_empty() {
                break;
            }
            in_bearer = word.eq_ignore_ascii_case("bearer");
            rest = tail;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    found
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
    const B64: &str = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNjA0MTA2NjUxIn19fQ==";

    fn headers(values: &[String]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect()
    }

    #[test]
    fn finds_the_challenge_in_every_spelling() {
        let unpadded = B64.trim_end_matches('=');
        for values in [
            vec![format!(
                r#"Bearer realm="", authorization_uri="https://a/b?c=d,e", error="insufficient_claims", claims="{B64}""#
            )],
            vec![format!(r#"Bearer claims="{B64}",error="insufficient_claims""#)],
            vec![format!(r#"bearer error=insufficient_claims, claims="{unpadded}""#)],
            vec!["Negotiate".to_owned(), format!(r#"Bearer error="insufficient_claims", claims="{B64}""#)],
            vec![format!(r#"Negotiate, Bearer error="insufficient_claims", claims="{B64}", Basic realm="x""#)],
            vec![format!(r#"PoP nonce="a=b", Bearer error="insufficient_claims", claims="{B64}""#)],
        ] {
            let found = ClaimsChallenge::from_headers(&headers(&values));
            assert_eq!(found.as_ref().map(ClaimsChallenge::as_str), Some(JSON), "{values:?}");
        }
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for value in [
            String::new(),
            "Bearer".to_owned(),
            format!(r#"Bearer error="invalid_token", claims="{B64}""#),
            format!(r#"Basic error="insufficient_claims", claims="{B64}""#),
            r#"Bearer error="insufficient_claims", claims="W10=""#.to_owned(),
            r#"Bearer error="insufficient_claims", claims="!!""#.to_owned(),
            r#"Bearer error="insufficient_claims", claims="abc"#.to_owned(),
            format!(r#"Bearer error="insufficient_claims", claims="{}""#, "A".repeat(20_000)),
            "=,=,=\"".to_owned(),
        ] {
            assert_eq!(ClaimsChallenge::from_headers(&headers(std::slice::from_ref(&value))), None, "{value}");
        }
        assert_eq!(ClaimsChallenge::from_json("[1]"), None);
    }

    #[test]
    fn merges_with_the_capability_and_wins() {
        assert_eq!(ClaimsChallenge::with_cp1(None), r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#);
        let challenge = ClaimsChallenge::from_json(JSON).unwrap();
        let merged: Value = serde_json::from_str(&ClaimsChallenge::with_cp1(Some(&challenge))).unwrap();
        assert_eq!(
            merged,
            serde_json::json!({"access_token": {
                "xms_cc": {"values": ["cp1"]}, "nbf": {"essential": true, "value": "1604106651"}}})
        );
        let over = ClaimsChallenge::from_json(r#"{"access_token":{"xms_cc":{"values":["x"]}}}"#).unwrap();
        assert!(ClaimsChallenge::with_cp1(Some(&over)).contains(r#"["x"]"#));
    }
}
