//! Answers of the service to kinds of errors: pure.

use bytes::Bytes;
use entra_auth::{ClaimsChallenge, TransportError, TransportErrorKind};
use http::HeaderMap;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::client::error::{Error, ErrorKind, RequestIds, Resource, ServiceError};
use crate::client::retry::delivery;
use crate::object::{Read, Slot, list, read_object, slots};

/// What was asked for; decides what a 404 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateConversation,
    CreateItems,
    ListItems,
    CreateResponse,
    StreamResponse,
    ResumeResponse,
    SessionLogs,
    /// Any other operation: its name, and what a 404 says is missing.
    Plain(&'static str, Resource),
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreateConversation => "create_conversation",
            Self::CreateItems => "create_items",
            Self::ListItems => "list_items",
            Self::CreateResponse => "create_response",
            Self::StreamResponse => "stream_response",
            Self::ResumeResponse => "resume_response",
            Self::SessionLogs => "stream_session_logs",
            Self::Plain(name, _) => name,
        }
    }

    /// Whether the answer is a stream of events.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::StreamResponse | Self::ResumeResponse | Self::SessionLogs)
    }
}

/// An answer with a status other than 2xx.
pub(crate) fn refusal(
    operation: Operation,
    status: u16,
    headers: &HeaderMap,
    body: Bytes,
    ids: RequestIds,
    now: OffsetDateTime,
) -> Error {
    let mut service = read_body(&body);
    service.origin = header(headers, "x-platform-error-source");
    let error = Error::new(kind_of(operation, status, &service))
        .with_status(status)
        .with_service(service)
        .with_retry_after(entra_auth::retry_after(headers, now))
        .with_should_retry(should_retry(headers))
        .with_request_ids(ids)
        .with_claims(if status == 401 { ClaimsChallenge::from_headers(headers) } else { None })
        .with_body(body);
    let delivery = delivery(&error);
    error.with_delivery(delivery)
}

/// No answer, or not all of it.
pub(crate) fn broken(error: TransportError, ids: RequestIds) -> Error {
    let kind = match error.kind() {
        TransportErrorKind::Timeout => ErrorKind::Timeout,
        TransportErrorKind::TooLarge => ErrorKind::TooLarge,
        _ => ErrorKind::Transport,
    };
    let error = Error::new(kind).with_transport(error.kind()).with_request_ids(ids).with_source(error);
    let delivery = delivery(&error);
    error.with_delivery(delivery)
}

fn kind_of(operation: Operation, status: u16, service: &ServiceError) -> ErrorKind {
    let code = service.code.as_deref().unwrap_or_default();
    match status {
        300..=399 => ErrorKind::Protocol,
        401 | 403 if service.missing_action.is_some() => ErrorKind::MissingRole,
        401 if code == "PermissionDenied" => ErrorKind::MissingRole,
        401 => ErrorKind::Unauthorized,
        403 if code == "preview_feature_required" => ErrorKind::PreviewRequired,
        403 if matches!(code, "AuthorizationFailed" | "PermissionDenied") => ErrorKind::MissingRole,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound(missing(operation, service)),
        408 => ErrorKind::Timeout,
        409 => kind_of_code(service).unwrap_or(ErrorKind::Conflict),
        424 if code == "session_not_ready" => ErrorKind::SessionNotReady,
        429 => ErrorKind::Throttled,
        400..=499 => kind_of_code(service).unwrap_or(ErrorKind::InvalidRequest),
        500..=599 => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

/// Kinds that the code or the sentence tells, whatever the status.
pub(crate) fn kind_of_code(service: &ServiceError) -> Option<ErrorKind> {
    let message = lower(service.message.as_deref());
    match service.code.as_deref().unwrap_or_default() {
        "conversation_locked" => return Some(ErrorKind::ConversationLocked),
        "content_filter" | "content_filter_error" | "ResponsibleAIPolicyViolation" => {
            return Some(ErrorKind::ContentFilter);
        }
        "rate_limit_exceeded" | "too_many_requests" => return Some(ErrorKind::Throttled),
        "session_not_ready" => return Some(ErrorKind::SessionNotReady),
        _ => {}
    }
    if message.contains("currently operating on this conversation") || message.starts_with("conversation is locked") {
        return Some(ErrorKind::ConversationLocked);
    }
    let dangling = ["no tool output found for function call", "no tool call found for function call output"];
    if dangling.iter().any(|text| message.contains(text)) {
        return Some(ErrorKind::ConversationPoisoned);
    }
    None
}

fn missing(operation: Operation, service: &ServiceError) -> Resource {
    let param = service.param.as_deref().unwrap_or_default().trim_start_matches("$.");
    let code = service.code.as_deref().unwrap_or_default();
    let message = lower(service.message.as_deref());
    match param.split(['.', '[']).next().unwrap_or_default() {
        "conversation" | "conversation_id" => return Resource::Conversation,
        "previous_response_id" | "response_id" => return Resource::Response,
        "agent_reference" | "agent" | "agent_name" => return Resource::Agent,
        "model" => return Resource::Model,
        "item_id" => return Resource::Item,
        _ => {}
    }
    if matches!(code, "DeploymentNotFound" | "model_not_found") {
        return Resource::Model;
    }
    match operation {
        Operation::CreateItems | Operation::ListItems => Resource::Conversation,
        Operation::CreateConversation => Resource::Project,
        Operation::ResumeResponse => Resource::Response,
        Operation::SessionLogs => Resource::Session,
        Operation::Plain(_, resource) => resource,
        Operation::CreateResponse | Operation::StreamResponse => {
            let words = [
                ("conversation", Resource::Conversation),
                ("conv_", Resource::Conversation),
                ("previous response", Resource::Response),
                ("resp_", Resource::Response),
                ("agent", Resource::Agent),
                ("deployment", Resource::Model),
                ("model", Resource::Model),
                ("project", Resource::Project),
            ];
            words.iter().find(|(word, _)| message.contains(word)).map_or(Resource::Unknown, |(_, found)| *found)
        }
    }
}

fn lower(message: Option<&str>) -> String {
    message.unwrap_or_default().chars().take(512).collect::<String>().to_ascii_lowercase()
}

/// All envelopes: Foundry's, the model's, hosted servers', API Management's; anything else reads as empty.
fn read_body(body: &[u8]) -> ServiceError {
    #[derive(Default)]
    struct Inner<'a> {
        code: Option<String>,
        message: Option<String>,
        param: Option<String>,
        error_type: Option<String>,
        innererror: Option<&'a RawValue>,
        details: Option<&'a RawValue>,
    }
    #[derive(Default)]
    struct Detail {
        code: Option<String>,
        param: Option<String>,
    }
    let body = std::str::from_utf8(body).unwrap_or_default();
    let (mut error, mut message) = (None, None);
    let outer = read_object(body, &mut [Slot::may("error", &mut error), Slot::text("message", &mut message)]);
    let (error, message): (Option<&RawValue>, _) = if outer.is_ok() { (error, message) } else { (None, None) };
    let Some(error) = error else {
        return finish(ServiceError { message, ..ServiceError::default() });
    };
    if error.get().starts_with('"') {
        return finish(ServiceError { code: String::read(error).ok(), message, ..ServiceError::default() });
    }
    let mut inner = Inner::default();
    let slots = slots![inner; code => code, message => text, param => text, error_type => text as "type", innererror,
        details];
    let read = read_object(error.get(), slots);
    let inner = if read.is_ok() { inner } else { Inner::default() };
    let detail = |json: &RawValue| {
        let mut it = Detail::default();
        read_object(json.get(), slots![it; code => code, param => text]).ok().map(|()| it)
    };
    let first = |json| detail(list(json).ok()?.first()?);
    let policy = inner.innererror.and_then(detail).and_then(|detail| detail.code);
    let param = inner.param.or_else(|| inner.details.and_then(first).and_then(|detail| detail.param));
    let code = policy.filter(|code| code == "ResponsibleAIPolicyViolation").or(inner.code).or(inner.error_type);
    finish(ServiceError { code, message: inner.message, param, ..ServiceError::default() })
}

/// The data action in "lacks the required data action `Microsoft.…/action` …".
fn finish(mut service: ServiceError) -> ServiceError {
    let message = service.message.as_deref().unwrap_or_default();
    if lower(Some(message)).contains("data action") {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '*' | '-' | '_');
        let words = message.split(|c: char| !plain(c)).map(|word| word.trim_end_matches('.'));
        let mut actions =
            words.filter(|word| word.starts_with("Microsoft.") && word.contains('/') && word.len() <= 200);
        service.missing_action = actions.next().map(str::to_owned);
    }
    service
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= 64).then(|| value.to_owned())
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.as_bytes() {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::error::Delivery;

    fn answer(status: u16, body: &str) -> Error {
        let body = Bytes::from(body.to_owned());
        let (headers, ids) = (HeaderMap::new(), RequestIds::default());
        refusal(Operation::CreateResponse, status, &headers, body, ids, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn bodies_of_all_origins_get_their_kind() {
        use ErrorKind as K;
        let cases: &[(u16, &str, K, Option<&str>)] = &[
            (
                400,
                r#"{"error":{"code":"invalid_parameters","message":"Malformed identifier.","type":"invalid_request_error"}}"#,
                K::InvalidRequest,
                Some("invalid_parameters"),
            ),
            (
                400,
                r#"{"error":{"message":"No tool output found for function call call_1.","type":"invalid_request_error","param":"input","code":null}}"#,
                K::ConversationPoisoned,
                Some("invalid_request_error"),
            ),
            (
                400,
                r#"{"error":{"message":"No tool call found for function call output with call_id call_1.","code":null}}"#,
                K::ConversationPoisoned,
                None,
            ),
            (
                400,
                r#"{"error":{"code":"conversation_locked","message":"Another process is currently operating on this conversation."}}"#,
                K::ConversationLocked,
                Some("conversation_locked"),
            ),
            (
                400,
                r#"{"error":{"code":null,"message":"Another process is currently operating on this conversation. Please retry in a few seconds."}}"#,
                K::ConversationLocked,
                None,
            ),
            (
                409,
                r#"{"error":{"code":"conversation_locked","message":"Conversation is locked - task is running"}}"#,
                K::ConversationLocked,
                Some("conversation_locked"),
            ),
            (
                409,
                r#"{"error":{"code":"conversation_fork_not_supported","message":"x"}}"#,
                K::Conflict,
                Some("conversation_fork_not_supported"),
            ),
            (400, r#"{"error":{"code":"content_filter","message":"x"}}"#, K::ContentFilter, Some("content_filter")),
            (
                400,
                r#"{"error":{"code":"BadRequest","message":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                K::ContentFilter,
                Some("ResponsibleAIPolicyViolation"),
            ),
            (
                400,
                r#"{"error":{"code":"invalid_request_error","message":"x","details":[{"param":"$.input"}]}}"#,
                K::InvalidRequest,
                Some("invalid_request_error"),
            ),
            (
                401,
                r#"{"error":{"code":"Unauthorized","message":"Access token is missing or invalid"}}"#,
                K::Unauthorized,
                Some("Unauthorized"),
            ),
            (
                401,
                r#"{"error":{"code":"PermissionDenied","message":"The principal `11111111` lacks the required data action `Microsoft.CognitiveServices/accounts/AIServices/agents/write` to perform"}}"#,
                K::MissingRole,
                Some("PermissionDenied"),
            ),
            (
                403,
                r#"{"error":{"code":"AuthorizationFailed","message":"x"}}"#,
                K::MissingRole,
                Some("AuthorizationFailed"),
            ),
            (
                403,
                r#"{"error":{"code":"preview_feature_required","message":"x","param":"Foundry-Features"}}"#,
                K::PreviewRequired,
                Some("preview_feature_required"),
            ),
            (
                403,
                r#"{"error":{"code":"NetworkAccessDenied","message":"x"}}"#,
                K::Forbidden,
                Some("NetworkAccessDenied"),
            ),
            (
                404,
                r#"{"error":{"code":"not_found","message":"Conversation with id 'conv_1' not found. [Request ID: 1]","type":"error"}}"#,
                K::NotFound(Resource::Conversation),
                Some("not_found"),
            ),
            (
                404,
                r#"{"error":{"code":"not_found","message":"Agent helpdesk with version 3 not found"}}"#,
                K::NotFound(Resource::Agent),
                Some("not_found"),
            ),
            (
                404,
                r#"{"error":{"code":"previous_response_not_found","message":"Previous response with id 'resp_1' not found.","param":"previous_response_id"}}"#,
                K::NotFound(Resource::Response),
                Some("previous_response_not_found"),
            ),
            (
                404,
                r#"{"error":{"code":"DeploymentNotFound","message":"x"}}"#,
                K::NotFound(Resource::Model),
                Some("DeploymentNotFound"),
            ),
            (404, r#"{"statusCode":404,"message":"Resource not found"}"#, K::NotFound(Resource::Unknown), None),
            (
                424,
                r#"{"error":{"code":"session_not_ready","message":"x"}}"#,
                K::SessionNotReady,
                Some("session_not_ready"),
            ),
            (429, r#"{"statusCode":429,"message":"Rate limit is exceeded."}"#, K::Throttled, None),
            (504, r#"{"error":"RequestTimedOut","reason":"x"}"#, K::Server, Some("RequestTimedOut")),
            (502, "<html>Bad gateway</html>", K::Server, None),
            (503, "", K::Server, None),
            (302, "", K::Protocol, None),
        ];
        for (status, body, kind, code) in cases {
            let error = answer(*status, body);
            assert_eq!((error.kind(), error.code()), (*kind, *code), "{status} {body}");
            assert_eq!(&error.body()[..], body.as_bytes());
        }
    }

    #[test]
    fn the_missing_data_action_is_named() {
        let error = answer(
            401,
            r#"{"error":{"code":"PermissionDenied","message":"The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/AIServices/agents/write` to perform `POST`."}}"#,
        );
        let action = "Microsoft.CognitiveServices/accounts/AIServices/agents/write";
        assert_eq!(error.missing_action(), Some(action));
        assert!(error.to_string().contains(action));
    }

    #[test]
    fn messages_and_bodies_stay_out_of_display_and_debug() {
        let error =
            answer(500, r#"{"error":{"code":"marker text with spaces","message":"marker","param":"marker x"}}"#);
        let shown = format!("{error} {error:?} {error:#?}");
        assert!(!shown.contains("marker"), "{shown}");
        assert_eq!(error.service_message(), Some("marker"));
        assert_eq!(error.delivery(), Delivery::Ambiguous);
    }

    #[test]
    fn request_ids_are_shown_when_they_look_like_ids() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "abc-1".parse().unwrap());
        headers.insert("apim-request-id", "<script>".parse().unwrap());
        let ids = RequestIds::read("cli-1", &headers);
        assert_eq!((ids.service.as_deref(), ids.gateway.as_deref()), (Some("abc-1"), None));
        let error = Error::new(ErrorKind::Server).with_status(503).with_request_ids(ids);
        assert_eq!(error.to_string(), "the service failed (status 503, request id abc-1)");
    }

    static_assertions::assert_impl_all!(Error: Send, Sync, Clone, std::error::Error);
}
