use url::form_urlencoded;

use super::aadsts::judge;
#[cfg(feature = "validate")]
use crate::Secret;
use crate::{ClaimsChallenge, Error, ErrorKind, OAuthError};

/// What the browser brought back from a sign-in: a code or an error. Nothing in it is trusted.
///
/// `Debug` shows whether it is a code or an error, nothing else.
#[cfg(feature = "validate")]
pub struct AuthorizationAnswer {
    pub(super) state: Option<Secret>,
    pub(super) issuer: Option<String>,
    code: Option<Secret>,
    error: Option<OAuthError>,
}

/// No real answer is longer.
const MAX: usize = 32 << 10;

#[cfg(feature = "validate")]
impl AuthorizationAnswer {
    /// Reads the query of a request to the redirect URI (without the `?`), or the body of a form post. Unknown members
    /// are left alone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] when it is longer than 32 KiB, holds a member twice, or holds neither a code nor an error.
    #[inline]
    pub fn parse(text: &str) -> Result<Self, Error> {
        let members = Members::parse(text)?;
        let error = members.get("error").map(|error| oauth(error, &members));
        let code = members.get("code").filter(|code| !code.is_empty()).map(Secret::from);
        if code.is_some() == error.is_some() {
            return Err(Error::new(ErrorKind::Protocol, "the answer holds neither one code nor one error"));
        }
        let state = members.get("state").filter(|state| !state.is_empty()).map(Secret::from);
        Ok(Self { state, issuer: members.get("iss").map(str::to_owned), code, error })
    }

    #[inline]
    pub(super) fn into_code(self) -> Result<Secret, Error> {
        match (self.code, self.error) {
            (Some(code), _) => Ok(code),
            (None, error) => Err(declined(error.unwrap_or_default())),
        }
    }
}

#[cfg(feature = "validate")]
impl std::fmt::Debug for AuthorizationAnswer {
    #[inline]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.code.is_some() { "AuthorizationAnswer(code)" } else { "AuthorizationAnswer(error)" })
    }
}

/// The members of a query, each at most once.
pub(super) struct Members(Vec<(String, String)>);

impl Members {
    #[inline]
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut members: Vec<(String, String)> = Vec::new();
        if text.len() > MAX {
            return Err(Error::new(ErrorKind::Protocol, "the answer is longer than any real one"));
        }
        for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned().take(65) {
            if members.len() == 64 || members.iter().any(|(known, _)| *known == name) {
                return Err(Error::new(ErrorKind::Protocol, "the answer holds a member twice, or too many"));
            }
            members.push((name, value));
        }
        Ok(Self(members))
    }

    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The error members of an answer through the browser. The numbers stand in the description only.
#[inline]
pub(super) fn oauth(error: &str, members: &Members) -> OAuthError {
    let description = members.get("error_description").map(str::to_owned);
    let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let error_codes = description
        .as_deref()
        .and_then(|text| text.split_once("AADSTS"))
        .and_then(|(_, rest)| rest.get(..number(rest))?.parse().ok())
        .into_iter()
        .collect();
    OAuthError {
        error: error.to_owned(),
        suberror: members.get("error_subcode").map(str::to_owned),
        error_codes,
        description,
        claims: members.get("claims").and_then(ClaimsChallenge::from_json),
        ..OAuthError::default()
    }
}

#[inline]
pub(super) fn declined(oauth: OAuthError) -> Error {
    let (kind, text) = match oauth.error.as_str() {
        "access_denied" | "permission_denied" if oauth.error_codes.is_empty() => {
            (ErrorKind::ConsentRequired, "the user or an administrator declined")
        }
        _ => judge(&oauth),
    };
    Error::new(kind, text).with_oauth(oauth)
}

#[cfg(all(test, feature = "validate"))]
mod tests {
    use super::*;

    #[test]
    fn answers_are_a_code_or_an_error() {
        let answer = AuthorizationAnswer::parse("code=c%2B1&state=s&session_state=x&iss=https%3A%2F%2Fi").unwrap();
        assert_eq!(answer.state.as_ref().map(Secret::expose), Some("s"));
        assert_eq!(answer.issuer.as_deref(), Some("https://i"));
        assert_eq!(answer.into_code().unwrap().expose(), "c+1");
        for bad in ["", "state=s", "code=&state=s", "code=a&code=b", "code=a&error=b", "code=a&state=s&state=t"] {
            assert_eq!(AuthorizationAnswer::parse(bad).unwrap_err().kind(), ErrorKind::Protocol, "{bad}");
        }
        assert!(AuthorizationAnswer::parse(&format!("code={}", "a".repeat(MAX))).is_err());
        assert!(AuthorizationAnswer::parse(&(0..100).map(|n| format!("&{n}=1")).collect::<String>()).is_err());
    }

    #[test]
    fn errors_say_who_must_act_and_quote_nothing() {
        for (query, kind) in [
            ("error=access_denied&error_subcode=cancel&state=s", ErrorKind::ConsentRequired),
            ("error=access_denied&error_description=AADSTS65004%3A+marker", ErrorKind::ConsentRequired),
            ("error=access_denied&error_description=AADSTS50105%3A+marker", ErrorKind::PolicyBlocked),
            ("error=login_required&error_description=AADSTS50058%3A+marker", ErrorKind::Reauthenticate),
            ("error=interaction_required", ErrorKind::InteractionRequired),
            ("error=consent_required", ErrorKind::ConsentRequired),
            ("error=temporarily_unavailable", ErrorKind::Transient),
            ("error=server_error", ErrorKind::Transient),
            ("error=invalid_request&error_description=AADSTS", ErrorKind::Configuration),
            ("error=marker%3Cscript%3E&error_description=AADSTS99999999999999999999", ErrorKind::Configuration),
        ] {
            let answer = AuthorizationAnswer::parse(query).unwrap();
            assert!(!format!("{answer:?}").contains("marker"));
            let error = answer.into_code().unwrap_err();
            assert_eq!(error.kind(), kind, "{query}");
            assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        }
    }
}
