use http::{HeaderMap, header::AUTHORIZATION};

use super::{MAX_TOKEN, TokenError, TokenErrorKind};

/// The token of a request: exactly one `Authorization` header, scheme `Bearer` in any letter case, one token of at most
/// 16 KiB ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
///
/// Forms and query strings are not looked at.
///
/// # Errors
///
/// [`TokenErrorKind::MissingToken`] without the header, [`TokenErrorKind::TokenTooLarge`],
/// [`TokenErrorKind::MalformedHeader`] for anything else that is not one bearer token. The caller of the API must change
/// the request; repeating it does not help.
pub fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenErrorKind::MissingToken)?;
    if values.next().is_some() {
        return Err(TokenErrorKind::MalformedHeader.into());
    }
    // The scheme and a space come before the token; a little room for more spaces.
    if value.len() > MAX_TOKEN + 16 {
        return Err(TokenErrorKind::TokenTooLarge.into());
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenErrorKind::MalformedHeader)?;
    let token = token.trim_matches(' ');
    let symbol = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(symbol) {
        return Err(TokenErrorKind::MalformedHeader.into());
    }
    if token.len() > MAX_TOKEN {
        return Err(TokenErrorKind::TokenTooLarge.into());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<String, TokenErrorKind> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        bearer(&headers).map(str::to_owned).map_err(|error| error.kind())
    }

    #[test]
    fn one_header_one_bearer_token() {
        for (values, expected) in [
            (&["Bearer a.b.c"][..], Ok("a.b.c")),
            (&["bEARER a.b.c"], Ok("a.b.c")),
            (&["Bearer  a.b.c "], Ok("a.b.c")),
            (&[], Err(TokenErrorKind::MissingToken)),
            (&["Bearer a", "Bearer a"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer a, Bearer b"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer a b"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer "], Err(TokenErrorKind::MalformedHeader)),
            (&[""], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer\ta"], Err(TokenErrorKind::MalformedHeader)),
            (&["Basic YTpi"], Err(TokenErrorKind::MalformedHeader)),
            (&["a.b.c"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer \u{e4}"], Err(TokenErrorKind::MalformedHeader)),
        ] {
            assert_eq!(read(values), expected.map(str::to_owned), "{values:?}");
        }
    }

    #[test]
    fn sixteen_kibibytes_and_no_more() {
        assert!(read(&[&format!("Bearer {}", "a".repeat(MAX_TOKEN))]).is_ok());
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(MAX_TOKEN + 1))]), Err(TokenErrorKind::TokenTooLarge));
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(1 << 20))]), Err(TokenErrorKind::TokenTooLarge));
    }
}
