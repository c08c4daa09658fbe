//! A refusal of the connector: status, error code and message, as the service writes it.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// One refusal. On the wire: `{"error":{"code":"…","message":"…"}}`.
/// `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/conversation-messages#status-codes-from-bot-conversational-apis`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// 401 of a missing, malformed, expired or foreign bearer token.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Authorization has been denied for this request.")
    }

    /// 401 of a well-formed token of an app that is no bot here.
    pub(crate) fn not_registered() -> Self {
        Self::new(401, "BotNotRegistered", "The bot is not registered.")
    }

    pub(crate) fn not_in_roster() -> Self {
        Self::new(403, "BotNotInConversationRoster", "The bot is not part of the conversation roster.")
    }

    pub(crate) fn missing(property: &str) -> Self {
        Self::new(400, "MissingProperty", format!("The '{property}' field is required."))
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new(400, "BadArgument", message)
    }

    pub(crate) fn syntax() -> Self {
        Self::new(400, "BadSyntax", "The body is not a JSON object.")
    }

    pub(crate) fn conversation_not_found() -> Self {
        Self::new(404, "ConversationNotFound", "Conversation not found.")
    }

    pub(crate) fn activity_not_found() -> Self {
        Self::new(404, "ActivityNotFoundInConversation", "The activity was not found in the conversation.")
    }

    pub(crate) fn member_not_found() -> Self {
        Self::new(404, "MemberNotFoundInConversation", "The member was not found in the conversation.")
    }

    pub(crate) fn too_big() -> Self {
        Self::new(413, "MessageSizeTooBig", "Message size too large.")
    }

    pub(crate) fn throttled(retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(429, "Throttled", "Too many requests.") }
    }

    /// 403 of a stream; only the message tells the cases apart.
    pub(crate) fn stream(message: &str) -> Self {
        Self::new(403, "ContentStreamNotAllowed", message)
    }

    pub(crate) fn body(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
