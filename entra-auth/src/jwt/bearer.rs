use std::str;

use http::{HeaderMap, header::AUTHORIZATION};

use super::{MAX_TOKEN, TokenError, TokenErrorKind};

/// The token of a request: exactly one `Authorization` header, scheme `Bearer` in any letter case, spaces, one token of at
/// most 16 KiB and nothing after it ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1), `b64token`).
///
/// Forms and query strings are not looked at.
///
/// # Errors
///
/// [`TokenErrorKind::MissingToken`] without the header, [`TokenErrorKind::TokenTooLarge`],
/// [`TokenErrorKind::MalformedHeader`] for anything else that is not one bearer token. The caller of the API must change
/// the request; repeating it does not help.
pub fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    const MALFORMED: TokenErrorKind = TokenErrorKind::MalformedHeader;
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenErrorKind::MissingToken)?;
    if values.next().is_some() {
        return Err(MALFORMED.into());
    }
    // The scheme and a space come before the token; a little room for more spaces.
    if value.len() > MAX_TOKEN + 16 {
        return Err(TokenErrorKind::TokenTooLarge.into());
    }
    let (scheme, rest) = value.as_bytes().split_at_checked("Bearer".len()).ok_or(MALFORMED)?;
    let spaces = rest.iter().take_while(|b| **b == b' ').count();
    let token = rest.get(spaces..).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer") || spaces == 0 || !is_b64token(token) {
        return Err(MALFORMED.into());
    }
    if token.len() > MAX_TOKEN {
        return Err(TokenErrorKind::TokenTooLarge.into());
    }
    Ok(str::from_utf8(token).map_err(|_| MALFORMED)?)
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|b| **b == b'=').count();
    let body = text.get(..text.len() - padding).unwrap_or_default();
    // No early end: the compiler then compares many bytes at once, and good tokens are the rule.
    !body.is_empty() && body.iter().fold(true, |good, b| good & is_symbol(*b))
}

const fn is_symbol(b: u8) -> bool {
    let letter = (b | 0x20).wrapping_sub(b'a') < 26;
    let minus_to_nine = b.wrapping_sub(b'-') < 13; // "-./" and the digits
    letter | minus_to_nine | (b == b'_') | (b == b'~') | (b == b'+')
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
            (&["Bearer  a.b.c"], Ok("a.b.c")),
            (&["Bearer a.b.c="], Ok("a.b.c=")),
            (&["Bearer -._~+/09azAZ=="], Ok("-._~+/09azAZ==")),
            // Nothing may follow the token, not even a space.
            (&["Bearer a.b.c "], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer a.b.c\t"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer a=b"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer =="], Err(TokenErrorKind::MalformedHeader)),
            (&[" Bearer a.b.c"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearer:a.b.c"], Err(TokenErrorKind::MalformedHeader)),
            (&["Bearera.b.c"], Err(TokenErrorKind::MalformedHeader)),
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
    fn the_symbols_of_a_token() {
        let symbols: String = (0..=u8::MAX).filter(|b| is_symbol(*b)).map(char::from).collect();
        assert_eq!(symbols, "+-./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~");
    }

    #[test]
    fn sixteen_kibibytes_and_no_more() {
        assert!(read(&[&format!("Bearer {}", "a".repeat(MAX_TOKEN))]).is_ok());
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(MAX_TOKEN + 1))]), Err(TokenErrorKind::TokenTooLarge));
        assert_eq!(read(&[&format!("Bearer {}", "a".repeat(1 << 20))]), Err(TokenErrorKind::TokenTooLarge));
    }
}
