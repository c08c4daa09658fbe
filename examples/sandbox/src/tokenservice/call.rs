//! What every call of the service has in common: the bot's bearer, the query, the error body.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::journal::pairs;
use crate::members::set;
use crate::state::Shared;
use crate::tokens::{self, Caller, Refusal};

/// An authenticated call.
pub(crate) struct Call {
    /// The bot.
    pub(crate) bot: Caller,
    query: Vec<(String, String)>,
}

impl Call {
    /// Checks the bearer and reads the query.
    pub(crate) fn new(shared: &Shared, headers: &HeaderMap, uri: &Uri) -> Result<Self, Failure> {
        let bot = tokens::check_bot(shared, headers)?;
        Ok(Self { bot, query: pairs(uri.query().unwrap_or_default().as_bytes()) })
    }

    /// A query parameter; names are compared without case, empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The parameter or 400.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| Failure::bad(format!("The query parameter '{name}' is required.")))
    }
}

/// A refusal of the service: `{"error":{"code","message","innerHttpError"?}}`, or 404 with an empty body.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    body: Option<Value>,
    challenge: Option<String>,
}

impl Failure {
    /// 400 with this message.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadArgument", message)
    }

    /// Any status and code.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = json!({"error": {"code": code, "message": message.into()}});
        Self { status, body: Some(body), challenge: None }
    }

    /// No token: the real service sends no body either.
    pub(crate) fn no_token() -> Self {
        Self { status: StatusCode::NOT_FOUND, body: None, challenge: None }
    }

    /// Adds the answer the service itself got.
    #[must_use]
    pub(crate) fn inner(mut self, status: u16, inner: &Value) -> Self {
        if let Some(error) = self.body.as_mut().and_then(|body| body.get_mut("error")) {
            set(error, "innerHttpError", json!({"statusCode": status, "body": inner}));
        }
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::UNAUTHORIZED);
        let mut failure = Self::new(status, "AuthorizationFailed", "Authorization has been denied for this request.");
        failure.challenge = Some(refusal.www_authenticate());
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, Json(body)).into_response(),
            None => self.status.into_response(),
        };
        if let Some(challenge) = self.challenge.and_then(|text| text.try_into().ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
