//! What an answer means: plain functions, no I/O.

use std::time::Duration;

use bytes::Bytes;
use entra_auth::TransportError;
use http::{HeaderMap, Method, StatusCode};

use super::{
    client::Sent,
    error::{ConnectorErrorCode, Delivery, SendError, SendErrorKind},
};
use crate::model::{
    json,
    object::{Value, wire_object},
};
use crate::{RawJson, ResourceResponse, StreamRefusal};

/// One operation of the connector: what goes out, what a log may say of it, and what its repetition does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) method: Method,
    /// The path as it may appear in a log.
    pub(super) template: &'static str,
    /// Whether doing it twice is as good as once.
    pub(super) idempotent: bool,
    pub(super) cost: Cost,
}

pub(super) static SEND: Operation = Operation::post("send", "/v3/conversations/{conversation}/activities");
pub(super) static REPLY: Operation = Operation::post("reply", "/v3/conversations/{conversation}/activities/{activity}");
pub(super) static UPDATE: Operation =
    Operation::put("update", "/v3/conversations/{conversation}/activities/{activity}");
pub(super) static DELETE: Operation =
    Operation::delete("delete", "/v3/conversations/{conversation}/activities/{activity}");

/// What the operation counts as where conversations have rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Write,
    Read,
    Free,
}

impl Operation {
    pub(super) const fn get(name: &'static str, template: &'static str) -> Self {
        Self { name, method: Method::GET, template, idempotent: true, cost: Cost::Read }
    }

    pub(super) const fn post(name: &'static str, template: &'static str) -> Self {
        Self { name, method: Method::POST, template, idempotent: false, cost: Cost::Write }
    }

    pub(super) const fn put(name: &'static str, template: &'static str) -> Self {
        Self { name, method: Method::PUT, template, idempotent: true, cost: Cost::Write }
    }

    pub(super) const fn delete(name: &'static str, template: &'static str) -> Self {
        Self { name, method: Method::DELETE, template, idempotent: true, cost: Cost::Write }
    }

    /// The same outside the rates of a conversation.
    pub(super) const fn free(mut self) -> Self {
        self.cost = Cost::Free;
        self
    }
}

/// An answer as it came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) request_id: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Result<Bytes, TransportError>,
}

/// What an operation brings when the service accepted it.
pub(super) trait Outcome: Sized {
    /// Reads an acceptance.
    fn read(operation: &Operation, accepted: Accepted) -> Result<Self, SendError>;

    /// The outcome of a deletion whose object is gone after an attempt of unknown effect.
    fn gone(request_id: Option<String>) -> Option<Self> {
        drop(request_id);
        None
    }
}

/// A place for an outcome of any type.
pub(super) trait Reading: Send {
    fn read(&mut self, operation: &Operation, accepted: Accepted) -> Result<(), SendError>;

    /// Whether there is an outcome although the object is gone.
    fn gone(&mut self, request_id: Option<String>) -> bool;
}

impl<T: Outcome + Send> Reading for Option<T> {
    fn read(&mut self, operation: &Operation, accepted: Accepted) -> Result<(), SendError> {
        *self = Some(T::read(operation, accepted)?);
        Ok(())
    }

    fn gone(&mut self, request_id: Option<String>) -> bool {
        *self = T::gone(request_id);
        self.is_some()
    }
}

/// An answer with a status of success.
pub(super) struct Accepted {
    pub(super) request_id: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Result<Bytes, TransportError>,
}

/// The verdict on an answer.
pub(super) fn judge(operation: &Operation, answer: Answer, outcome: &mut dyn Reading) -> Result<(), SendError> {
    let Answer { status, retry_after, request_id, content_type, body } = answer;
    if status.is_success() {
        let accepted = Accepted { request_id: request_id.clone(), content_type, body };
        return outcome
            .read(operation, accepted)
            .map_err(|error| error.with_status(status.as_u16()).with_request_id(request_id));
    }
    let (code, words) = body.as_deref().map(error_code).unwrap_or_default();
    let kind = kind_of(status, code.as_ref(), words == Some(Words::UnknownActivity));
    Err(SendError::new(kind, delivery_of(status, retry_after))
        .with_status(status.as_u16())
        .with_code(code)
        .with_stream_refusal(words.and_then(Words::refusal))
        .with_retry_after(retry_after)
        .with_request_id(request_id)
        .idempotent(operation.idempotent))
}

/// Whether the operation may be done again after this failure.
pub(super) fn may_repeat(operation: &Operation, error: &SendError) -> bool {
    match error.kind() {
        SendErrorKind::Unreachable | SendErrorKind::Conflict | SendErrorKind::Throttled => true,
        SendErrorKind::Service if error.status() == Some(503) && error.retry_after().is_some() => true,
        SendErrorKind::Timeout | SendErrorKind::Interrupted => operation.idempotent,
        SendErrorKind::Service => operation.idempotent && matches!(error.status(), Some(500 | 502 | 503 | 504)),
        _ => false,
    }
}

/// The service's own id of the request: printable, short, or nothing.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-correlating-operationid", "x-ms-request-id", "ms-cv"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|id| {
            (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+/=".contains(&b))
        })
        .map(str::to_owned)
}

impl Outcome for Sent {
    fn read(operation: &Operation, Accepted { request_id, body, .. }: Accepted) -> Result<Self, SendError> {
        let body = match body {
            Ok(body) => body,
            // The status tells all there is to know.
            Err(_) if operation.idempotent => Bytes::new(),
            Err(error) => return Err(SendError::transport(error)),
        };
        let sent = |id, dropped| Ok(Self::new(id, dropped, request_id));
        if is_blank(&body) {
            return sent(None, false);
        }
        match read::<ResourceResponse>(&body) {
            Some(resource) => {
                let code = resource.extra.get("error").and_then(|error| code_of(error).0);
                sent(resource.id, code == Some(ConnectorErrorCode::CONTENT_STREAM_OUT_OF_ORDER))
            }
            None if operation.idempotent => sent(None, false),
            None => Err(SendError::new(SendErrorKind::Protocol, Delivery::Ambiguous)),
        }
    }

    fn gone(request_id: Option<String>) -> Option<Self> {
        Some(Self::new(None, false, request_id))
    }
}

/// The status is the whole answer.
pub(super) struct Done;

impl Outcome for Done {
    fn read(_: &Operation, _: Accepted) -> Result<Self, SendError> {
        Ok(Self)
    }

    fn gone(_: Option<String>) -> Option<Self> {
        Some(Self)
    }
}

/// A JSON document that must be there.
pub(super) struct Json<T>(pub(super) T);

impl<T: Value> Outcome for Json<T> {
    fn read(operation: &Operation, Accepted { body, .. }: Accepted) -> Result<Self, SendError> {
        let body = body.map_err(SendError::transport)?;
        read(&body).map(Self).ok_or_else(|| unreadable(operation))
    }
}

/// A JSON document, or nothing.
pub(super) struct MaybeJson<T>(pub(super) Option<T>);

impl<T: Value> Outcome for MaybeJson<T> {
    fn read(operation: &Operation, accepted: Accepted) -> Result<Self, SendError> {
        match &accepted.body {
            Ok(body) if is_blank(body) => Ok(Self(None)),
            _ => Json::read(operation, accepted).map(|Json(value)| Self(Some(value))),
        }
    }
}

/// Bytes and what they are.
pub(super) struct Content {
    pub(super) content_type: Option<String>,
    pub(super) bytes: Bytes,
}

impl Outcome for Content {
    fn read(_: &Operation, accepted: Accepted) -> Result<Self, SendError> {
        let bytes = accepted.body.map_err(SendError::transport)?;
        Ok(Self { content_type: accepted.content_type, bytes })
    }
}

/// An acceptance that says nothing we understand: what was asked may have happened.
fn unreadable(operation: &Operation) -> SendError {
    let delivery = if operation.idempotent { Delivery::NotSent } else { Delivery::Ambiguous };
    SendError::new(SendErrorKind::Protocol, delivery)
}

/// `None` when it is not JSON of that shape. What is wrong with it is not passed on.
fn read<T: Value>(body: &[u8]) -> Option<T> {
    json::read(std::str::from_utf8(body).ok()?).ok()
}

fn is_blank(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

/// What an error's words say beyond its code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// The activity id is not known, which some channels report as a bad argument.
    UnknownActivity,
    /// Why a stream was refused, which all have one code.
    Stream(StreamRefusal),
}

impl Words {
    const fn refusal(self) -> Option<StreamRefusal> {
        match self {
            Self::UnknownActivity => None,
            Self::Stream(refusal) => Some(refusal),
        }
    }
}

wire_object! {
    /// What stands around an error.
    struct Refusal {
        pub error: Option<RawJson> = "error";
    }
}

wire_object! {
    /// What an error says that matters here; its other members may be of any shape.
    struct Details {
        pub code: Option<String> = "code";
        pub message: Option<String> = "message";
    }
}

/// The code of an error body, and what its words say.
fn error_code(body: &[u8]) -> (Option<ConnectorErrorCode>, Option<Words>) {
    read::<Refusal>(body).and_then(|refusal| refusal.error).map(|error| code_of(&error)).unwrap_or_default()
}

fn code_of(error: &RawJson) -> (Option<ConnectorErrorCode>, Option<Words>) {
    match error.read() {
        Ok(Details { code, message, .. }) => {
            let code: Option<ConnectorErrorCode> = code.filter(|code| code.len() <= 128).map(Into::into);
            let message = message.unwrap_or_default();
            let words = if code == Some(ConnectorErrorCode::CONTENT_STREAM_NOT_ALLOWED) {
                Some(Words::Stream(StreamRefusal::of_message(&message)))
            } else {
                message.to_ascii_lowercase().contains("not a known activity id").then_some(Words::UnknownActivity)
            };
            (code, words)
        }
        Err(_) => (None, None),
    }
}

fn kind_of(status: StatusCode, code: Option<&ConnectorErrorCode>, about_activity_id: bool) -> SendErrorKind {
    use ConnectorErrorCode as Code;
    let is = |known: &[Code]| code.is_some_and(|code| known.contains(code));
    match status.as_u16() {
        401 => SendErrorKind::Unauthorized,
        403 if is(&[Code::BOT_DISABLED_BY_ADMIN, Code::CONVERSATION_BLOCKED_BY_USER]) => SendErrorKind::Blocked,
        403 | 404 if is(&[Code::BOT_NOT_IN_CONVERSATION_ROSTER, Code::FORBIDDEN_OPERATION]) => {
            SendErrorKind::NotInstalled
        }
        403 if is(&[Code::INVALID_BOT_API_HOST]) => SendErrorKind::WrongHost,
        403 => SendErrorKind::Forbidden,
        404 => SendErrorKind::NotFound,
        400 if about_activity_id => SendErrorKind::NotFound,
        400 if is(&[Code::MESSAGE_SIZE_TOO_BIG, Code::REQUEST_ENTITY_TOO_LARGE]) => SendErrorKind::TooLarge,
        408 => SendErrorKind::Timeout,
        412 => SendErrorKind::Conflict,
        413 => SendErrorKind::TooLarge,
        429 => SendErrorKind::Throttled,
        400..=499 => SendErrorKind::Refused,
        500..=599 => SendErrorKind::Service,
        _ => SendErrorKind::Protocol,
    }
}

fn delivery_of(status: StatusCode, retry_after: Option<Duration>) -> Delivery {
    match status.as_u16() {
        503 if retry_after.is_some() => Delivery::NotSent,
        408 | 500..=599 => Delivery::Ambiguous,
        _ => Delivery::NotSent,
    }
}

#[cfg(test)]
mod tests {
    use entra_auth::TransportErrorKind;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            request_id: None,
            content_type: None,
            body: Ok(body.to_owned().into()),
        }
    }

    fn judged<T: Outcome + Send>(operation: &Operation, answer: Answer) -> Result<T, SendError> {
        let mut outcome = None;
        judge(operation, answer, &mut outcome).map(|()| outcome.unwrap())
    }

    fn error(status: u16, code: &str) -> SendError {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"private words"}}}}"#);
        judged::<Sent>(&SEND, answer(status, &body)).unwrap_err()
    }

    #[test]
    fn every_documented_error_has_its_kind() {
        use SendErrorKind as Kind;
        for (status, code, kind, repeat_send, repeat_update) in [
            (400, "BadArgument", Kind::Refused, false, false),
            (400, "BadSyntax", Kind::Refused, false, false),
            (400, "MissingProperty", Kind::Refused, false, false),
            (400, "MessageSizeTooBig", Kind::TooLarge, false, false),
            (401, "BotNotRegistered", Kind::Unauthorized, false, false),
            (403, "BotDisabledByAdmin", Kind::Blocked, false, false),
            (403, "ConversationBlockedByUser", Kind::Blocked, false, false),
            (403, "BotNotInConversationRoster", Kind::NotInstalled, false, false),
            (404, "BotNotInConversationRoster", Kind::NotInstalled, false, false),
            (403, "ForbiddenOperationException", Kind::NotInstalled, false, false),
            (403, "InvalidBotApiHost", Kind::WrongHost, false, false),
            (403, "NotEnoughPermissions", Kind::Forbidden, false, false),
            (403, "MessageWritesBlocked", Kind::Forbidden, false, false),
            (403, "ContentStreamNotAllowed", Kind::Forbidden, false, false),
            (403, "ServiceError", Kind::Forbidden, false, false),
            (404, "ConversationNotFound", Kind::NotFound, false, false),
            (404, "ActivityNotFoundInConversation", Kind::NotFound, false, false),
            (412, "PreconditionFailed", Kind::Conflict, true, true),
            (413, "MessageSizeTooBig", Kind::TooLarge, false, false),
            (429, "Throttled", Kind::Throttled, true, true),
            (500, "ServiceError", Kind::Service, false, true),
            (502, "ServiceError", Kind::Service, false, true),
            (503, "ServiceError", Kind::Service, false, true),
            (504, "", Kind::Service, false, true),
            (501, "", Kind::Service, false, false),
            (408, "", Kind::Timeout, false, true),
            (307, "", Kind::Protocol, false, false),
            (418, "Teapot", Kind::Refused, false, false),
        ] {
            let error = error(status, code);
            assert_eq!(error.kind(), kind, "{status} {code}");
            assert_eq!(may_repeat(&SEND, &error), repeat_send, "{status} {code}");
            assert_eq!(may_repeat(&REPLY, &error), repeat_send, "{status} {code}");
            assert_eq!(may_repeat(&UPDATE, &error), repeat_update, "{status} {code}");
            assert_eq!(may_repeat(&DELETE, &error), repeat_update, "{status} {code}");
            let ambiguous = matches!(status, 408 | 500..=599);
            assert_eq!(error.delivery() == Delivery::Ambiguous, ambiguous, "{status} {code}");
            assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
        }
    }

    #[test]
    fn a_send_is_repeated_after_503_only_with_a_header() {
        let with = Answer { retry_after: Some(Duration::from_secs(1)), ..answer(503, "") };
        let error = judged::<Sent>(&SEND, with).unwrap_err();
        assert_eq!((error.delivery(), may_repeat(&SEND, &error)), (Delivery::NotSent, true));
        let with = Answer { retry_after: Some(Duration::from_secs(1)), ..answer(500, "") };
        let error = judged::<Sent>(&SEND, with).unwrap_err();
        assert_eq!((error.delivery(), may_repeat(&SEND, &error)), (Delivery::Ambiguous, false));
    }

    #[test]
    fn transport_failures() {
        for (kind, send, update, delivery) in [
            (TransportErrorKind::NotSent, true, true, Delivery::NotSent),
            (TransportErrorKind::Timeout, false, true, Delivery::Ambiguous),
            (TransportErrorKind::Interrupted, false, true, Delivery::Ambiguous),
            (TransportErrorKind::Other, false, true, Delivery::Ambiguous),
            (TransportErrorKind::TooLarge, false, false, Delivery::Ambiguous),
        ] {
            let error = SendError::transport(kind.into());
            assert_eq!(may_repeat(&SEND, &error), send, "{kind:?}");
            assert_eq!(may_repeat(&UPDATE, &error), update, "{kind:?}");
            assert_eq!(error.delivery(), delivery, "{kind:?}");
        }
    }

    #[test]
    fn an_unknown_activity_id_may_come_as_a_bad_argument() {
        let body = r#"{"error":{"code":"BadArgument","message":"'x' is NOT a known activity ID"}}"#;
        assert_eq!(judged::<Sent>(&REPLY, answer(400, body)).unwrap_err().kind(), SendErrorKind::NotFound);
    }

    #[test]
    fn acceptance_in_all_its_forms() {
        for (status, body, id) in [
            (200, r#"{"id":"m-1"}"#, Some("m-1")),
            (201, r#"{"id":"m-1","x":[1]}"#, Some("m-1")),
            (202, "", None),
            (200, " \r\n", None),
            (202, "{}", None),
            (201, r#"{"id":null}"#, None),
        ] {
            let sent = judged::<Sent>(&SEND, answer(status, body)).unwrap();
            assert_eq!((sent.id(), sent.is_dropped()), (id, false), "{status} {body}");
        }
        let dropped = r#"{"error":{"code":"ContentStreamSequenceOrderPreConditionFailed","message":"late"}}"#;
        assert!(judged::<Sent>(&SEND, answer(202, dropped)).unwrap().is_dropped());
    }

    #[test]
    fn an_unreadable_acceptance_is_ambiguous_for_a_send_and_good_for_an_update() {
        for body in ["<html>private</html>", "[]", "{\"id\":7}", "{\"id\":\"x\""] {
            let error = judged::<Sent>(&SEND, answer(200, body)).unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (SendErrorKind::Protocol, Delivery::Ambiguous), "{body}");
            assert!(judged::<Sent>(&UPDATE, answer(200, body)).is_ok(), "{body}");
        }
        let cut = || Answer { body: Err(TransportErrorKind::Interrupted.into()), ..answer(201, "") };
        assert_eq!(judged::<Sent>(&REPLY, cut()).unwrap_err().delivery(), Delivery::Ambiguous);
        assert!(judged::<Sent>(&DELETE, cut()).is_ok());
    }

    #[test]
    fn odd_error_bodies_do_not_matter() {
        for body in ["", "<html>", "[]", r#"{"error":null}"#, r#"{"error":"x"}"#, r#"{"error":{"code":{}}}"#] {
            let error = judged::<Sent>(&SEND, answer(404, body)).unwrap_err();
            assert_eq!((error.kind(), error.code()), (SendErrorKind::NotFound, None), "{body}");
        }
        let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "x".repeat(129));
        assert_eq!(judged::<Sent>(&SEND, answer(404, &long)).unwrap_err().code(), None);
    }

    #[test]
    fn request_ids_are_taken_when_harmless() {
        let headers = |name: &str, value: &str| {
            HeaderMap::from_iter([(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())])
        };
        assert_eq!(request_id(&headers("x-ms-request-id", "a-1")).as_deref(), Some("a-1"));
        assert_eq!(request_id(&headers("ms-cv", "Ab+/=.1")).as_deref(), Some("Ab+/=.1"));
        assert_eq!(request_id(&headers("x-correlating-operationid", "<script>")), None);
        assert_eq!(request_id(&headers("ms-cv", &"x".repeat(129))), None);
    }
}
