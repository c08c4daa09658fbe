//! What the service answers when it refuses: the envelope, its codes, its headers.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::state::uuid;

/// One refusal, ready to become an HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    body: Body,
    source: &'static str,
    retry_after: Option<u64>,
    www_authenticate: Option<HeaderValue>,
}

#[derive(Debug, Clone)]
enum Body {
    /// `{"error":{code,message,param,type,details,additionalInfo}}`.
    Envelope { code: String, message: String, param: Option<String>, kind: &'static str, details: Vec<Value> },
    /// Something a gateway in front of the service says, sent as it is.
    Verbatim { content_type: &'static str, text: String },
}

impl ApiError {
    /// An error of the caller: `status`, `code`, `message`, kind `invalid_request_error`.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            body: Body::Envelope {
                code: code.to_owned(),
                message: message.into(),
                param: None,
                kind: "invalid_request_error",
                details: Vec::new(),
            },
            source: "user",
            retry_after: None,
            www_authenticate: None,
        }))
    }

    /// 400 with the given code.
    pub(crate) fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 `invalid_request_error` about one parameter.
    pub(crate) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::bad("invalid_request_error", message).param(param)
    }

    /// 400 for an id that the service cannot have made.
    pub(crate) fn malformed_id(param: &str) -> Self {
        Self::bad("invalid_parameters", "Malformed identifier.").param(param)
    }

    /// 404 of a Foundry resource: code `not_found`, type `error`, the request id in the message.
    pub(crate) fn not_found(message: &str) -> Self {
        let mut error = Self::new(StatusCode::NOT_FOUND, "not_found", format!("{message} [Request ID: {}]", uuid()));
        error.set_kind("error");
        error
    }

    /// 401 of the front door: no token, a bad one, or one for another audience.
    pub(crate) fn unauthorized() -> Self {
        let message = "Unauthorized. Access token is missing, invalid, audience is incorrect \
                       (https://ai.azure.com), or have expired.";
        let mut error = Self::verbatim(
            StatusCode::UNAUTHORIZED,
            "application/json",
            json!({"statusCode": 401, "message": message}).to_string(),
        );
        error.0.source = "platform";
        error.0.www_authenticate = Some(HeaderValue::from_static("Bearer"));
        error
    }

    /// The answer of a good token whose principal has no role; the service uses 401 for a missing data action, 403
    /// for a missing assignment.
    pub(crate) fn permission_denied(status: StatusCode, message: &str) -> Self {
        let mut error = Self::new(status, "PermissionDenied", message);
        error.set_kind("error");
        error
    }

    /// A body that is no envelope.
    pub(crate) fn verbatim(status: StatusCode, content_type: &'static str, text: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            body: Body::Verbatim { content_type, text: text.into() },
            source: "platform",
            retry_after: None,
            www_authenticate: None,
        }))
    }

    /// An error of the service itself.
    pub(crate) fn server(status: StatusCode, code: &str, message: &str) -> Self {
        let mut error = Self::new(status, code, message);
        error.set_kind("server_error");
        error.0.source = "platform";
        error
    }

    pub(crate) fn param(mut self, name: &str) -> Self {
        if let Body::Envelope { param, .. } = &mut self.0.body {
            *param = Some(name.to_owned());
        }
        self
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.set_kind(kind);
        self
    }

    /// The same refusal in the form of a hosted server's schema check: the parameter moves to `details`.
    pub(crate) fn into_schema(mut self) -> Self {
        if let Body::Envelope { code, message, param, details, .. } = &mut self.0.body
            && let Some(name) = param.take()
        {
            let text = std::mem::replace(message, "request body failed schema validation".to_owned());
            "invalid_request".clone_into(code);
            details.push(json!({"code": "invalid_value", "message": text, "param": format!("$.{name}")}));
        }
        self
    }

    /// Adds `Retry-After` in seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    fn set_kind(&mut self, value: &'static str) {
        if let Body::Envelope { kind, .. } = &mut self.0.body {
            *kind = value;
        }
    }

    fn text(&self) -> (&'static str, String) {
        match &self.0.body {
            Body::Verbatim { content_type, text } => (content_type, text.clone()),
            Body::Envelope { code, message, param, kind, details } => {
                let body = json!({"error": {
                    "code": code,
                    "message": message,
                    "param": param,
                    "type": kind,
                    "details": details,
                    "additionalInfo": {"request_id": uuid()},
                }});
                ("application/json", body.to_string())
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (content_type, text) = self.text();
        let mut response = Response::new(text.into());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(HeaderName::from_static("x-platform-error-source"), HeaderValue::from_static(self.0.source));
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.0.www_authenticate {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
