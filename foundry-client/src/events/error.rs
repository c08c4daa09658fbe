//! Errors inside a stream, in the three shapes servers send.

use std::fmt;

use serde_json::value::RawValue;

use crate::events::EventKind;
use crate::events::body::{EventBody, EventHead};
use crate::events::frame::Frame;
use crate::object::{Read, Slot, read_object};
use crate::problem::BadBody;
use crate::raw::RawJson;
use crate::response::Response;

/// The service reports a failure inside a stream.
///
/// One type for all shapes: the documented flat event, the nested `error` object that is really
/// sent, the bare `error` object of gateways, and the error of a failed response.
#[derive(Clone)]
#[non_exhaustive]
pub struct StreamError {
    /// A word such as `server_error` or `rate_limit_exceeded`.
    pub code: Option<String>,
    /// For people; may quote the conversation, so keep it out of logs.
    pub message: Option<String>,
    /// The request member that is at fault.
    pub param: Option<String>,
    /// The class of the error, such as `invalid_request_error`. In JSON the member is `type`.
    pub error_type: Option<String>,
    head: EventHead,
}

impl StreamError {
    /// The error of a response that failed; none when it has none.
    #[must_use]
    pub fn from_response(response: &Response) -> Option<Self> {
        let error = response.error.as_ref()?;
        Some(Self {
            code: error.code.clone(),
            message: error.message.clone(),
            param: None,
            error_type: None,
            head: EventHead { sequence_number: None, raw: response.raw().clone() },
        })
    }

    /// The position in the stream, when the event has one.
    #[must_use]
    pub fn sequence_number(&self) -> Option<u64> {
        self.head.sequence_number
    }

    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.head.raw
    }
}

impl EventBody for StreamError {
    fn read(frame: &mut Frame<'_>) -> Result<Self, BadBody> {
        let mut error: Option<&RawValue> = None;
        read_object(frame.text, &mut [Slot::may("error", &mut error)])?;
        let head = EventHead::of(frame);
        match error {
            Some(nested) if nested.get().starts_with('{') => Self::members(nested.get(), true, head),
            // A gateway's `{"error":"text"}`: the text names the failure.
            Some(text) if text.get().starts_with('"') => {
                let code = String::read(text)?;
                Ok(Self { code: Some(code), message: None, param: None, error_type: None, head })
            }
            _ => Self::members(frame.text, false, head),
        }
    }

    fn head(&self) -> &EventHead {
        &self.head
    }
}

impl StreamError {
    fn members(json: &str, nested: bool, head: EventHead) -> Result<Self, BadBody> {
        let (mut code, mut message, mut param, mut error_type) = (None, None, None, None);
        read_object(
            json,
            &mut [
                Slot::code("code", &mut code),
                Slot::text("message", &mut message),
                Slot::text("param", &mut param),
                Slot::text("type", &mut error_type),
            ],
        )?;
        let error_type = error_type.filter(|_| nested);
        if code.is_none() && message.is_none() && error_type.is_none() {
            return Err(BadBody);
        }
        Ok(Self { code, message, param, error_type, head })
    }
}

impl std::error::Error for StreamError {}

/// Names the code, never the message.
impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.as_deref().or(self.error_type.as_deref()).map(word).unwrap_or_default();
        if code.is_empty() {
            return f.write_str("the service reported an error in the stream");
        }
        write!(f, "the service reported an error in the stream: {code}")
    }
}

impl fmt::Debug for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamError")
            .field("code", &self.code.as_deref().map(word))
            .field("error_type", &self.error_type.as_deref().map(word))
            .field("param", &self.param.as_deref().map(word))
            .field("sequence_number", &self.head.sequence_number)
            .finish_non_exhaustive()
    }
}

/// A code as far as it is one word of at most 64 characters: codes are for logs, sentences are not.
pub(crate) fn word(code: &str) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]$".contains(&byte);
    if code.len() <= 64 && code.bytes().all(plain) { code } else { "" }
}

/// A frame that makes the rest of the stream worthless.
///
/// The server or something between broke the protocol; the same request may work later, but what
/// this one did is unknown.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The data is not a JSON object in UTF-8: part of the stream may be lost.
    #[error("the data of a stream event is not a JSON object")]
    NotJson,
    /// A terminal event or an error cannot be read.
    #[error("the {0} event of the stream has not the documented form")]
    BadTerminal(EventKind),
}
