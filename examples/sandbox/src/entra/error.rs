//! The error body of the token endpoint, with the real codes.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::members::set;
use crate::state::{Shared, uuid};

/// One refusal of Entra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OAuthError {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
    suberror: Option<&'static str>,
    claims: Option<String>,
}

impl OAuthError {
    /// A refusal: `error`, AADSTS number and text without the prefix.
    pub(crate) fn new(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into(), suberror: None, claims: None }
    }

    /// Adds the sub-error.
    #[must_use]
    pub(crate) fn suberror(mut self, suberror: &'static str) -> Self {
        self.suberror = Some(suberror);
        self
    }

    /// Adds a claims challenge.
    #[must_use]
    pub(crate) fn claims(mut self, claims: String) -> Self {
        self.claims = Some(claims);
        self
    }

    /// The AADSTS number.
    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    /// The JSON body. `correlation` is the caller's `client-request-id`.
    pub(crate) fn body(&self, shared: &Shared, correlation: Option<&str>) -> Value {
        let (trace, now) = (uuid(), shared.clock.entra_timestamp());
        let correlation = correlation.map_or_else(uuid, str::to_owned);
        let mut body = json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {now}",
                self.code, self.text,
            ),
            "error_codes": [self.code],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("{}/error?code={}", shared.authority(), self.code),
        });
        if let Some(suberror) = self.suberror {
            set(&mut body, "suberror", json!(suberror));
        }
        if let Some(claims) = &self.claims {
            set(&mut body, "claims", json!(claims));
        }
        body
    }

    /// The members that the browser brings back to the redirect URI.
    pub(crate) fn members(&self, shared: &Shared) -> Vec<(&'static str, String)> {
        let body = self.body(shared, None);
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut members = vec![("error", text("error")), ("error_description", text("error_description"))];
        members.extend(self.suberror.map(|suberror| ("error_subcode", suberror.to_owned())));
        members.extend(self.claims.clone().map(|claims| ("claims", claims)));
        members
    }

    /// The sentence with its number, for people.
    pub(crate) fn sentence(&self) -> String {
        format!("AADSTS{}: {}", self.code, self.text)
    }

    /// The HTTP answer.
    pub(crate) fn response(&self, shared: &Shared, correlation: Option<&str>) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(self.body(shared, correlation))).into_response()
    }
}

/// 400 `invalid_request`, AADSTS900144.
pub(crate) fn missing(parameter: &str) -> OAuthError {
    OAuthError::new(
        400,
        "invalid_request",
        900144,
        format!("The request body must contain the following parameter: '{parameter}'."),
    )
}

/// 400 `invalid_request`, AADSTS90023: a parameter with a value nobody understands.
pub(crate) fn bad_parameter(text: &str) -> OAuthError {
    OAuthError::new(400, "invalid_request", 90023, text)
}

/// 401 `invalid_client`.
pub(crate) fn invalid_client(code: u32, text: impl Into<String>) -> OAuthError {
    OAuthError::new(401, "invalid_client", code, text)
}

/// 400 `invalid_grant`.
pub(crate) fn invalid_grant(code: u32, text: impl Into<String>) -> OAuthError {
    OAuthError::new(400, "invalid_grant", code, text)
}

/// AADSTS90002.
pub(crate) fn unknown_tenant(tenant: &str) -> OAuthError {
    OAuthError::new(
        400,
        "invalid_request",
        90002,
        format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        ),
    )
}
