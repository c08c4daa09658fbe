//! The form body of a token request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

use super::error::{self, OAuthError};
use crate::journal::pairs;

/// Decoded fields. A repeated field is refused before this exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    /// Reads the body; another content type counts as an empty body, which Entra reports as a missing `grant_type`.
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(error::missing("grant_type"));
        }
        let mut form = Self { fields: pairs(body) };
        for (index, (name, _)) in form.fields.iter().enumerate() {
            if form.fields.iter().skip(index + 1).any(|(other, _)| other == name) {
                return Err(OAuthError::new(
                    400,
                    "invalid_request",
                    9_002_313,
                    "Invalid request. Request is malformed or invalid.",
                ));
            }
        }
        form.add_basic(headers);
        Ok(form)
    }

    /// The field; empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The field, or AADSTS900144.
    pub(crate) fn need(&self, name: &str) -> Result<&str, OAuthError> {
        self.get(name).ok_or_else(|| error::missing(name))
    }

    /// `client_secret_basic`: both halves are form-encoded before they are joined.
    fn add_basic(&mut self, headers: &HeaderMap) {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some(packed) = value.strip_prefix("Basic ") else { return };
        let Ok(bytes) = STANDARD.decode(packed.trim()) else { return };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((id, secret)) = text.split_once(':') else { return };
        for (name, encoded) in [("client_id", id), ("client_secret", secret)] {
            if self.get(name).is_none() {
                let decoded = pairs(format!("v={encoded}").as_bytes());
                self.fields.extend(decoded.into_iter().map(|(_, value)| (name.to_owned(), value)));
            }
        }
    }
}
