//! Server-sent events as the service frames them, and as awkward gateways do.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use serde_json::Value;

use super::store::Feed;

const BOM: &str = "\u{feff}";
/// Time for the server to write what it holds before a connection breaks.
const FLUSH: Duration = Duration::from_millis(20);

/// One unit of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    /// An event: `event:` with its type, `data:` with one line of JSON, a blank line.
    Event(Arc<Value>),
    /// An event whose closing blank line never comes.
    Unclosed(Arc<Value>),
    /// A comment line, the keep-alive of the service.
    Comment(&'static str),
    /// A `data:` line that is not an event.
    Data(&'static str),
    /// The connection breaks for whoever listens from the beginning; whoever comes back goes on behind it.
    Drop,
    /// The body ends properly.
    End,
    /// The connection breaks.
    Cut,
}

impl Frame {
    fn sequence(&self) -> Option<u64> {
        match self {
            Self::Event(event) | Self::Unclosed(event) => event.get("sequence_number").and_then(Value::as_u64),
            _ => None,
        }
    }
}

/// How the bytes of a stream are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As the service does it.
    Lf,
    /// A byte order mark first, lines end with CR LF.
    CrLfBom,
    /// A byte order mark first, lines end with CR alone.
    CrBom,
    /// The JSON of an event is spread over several `data:` lines.
    MultiLine,
    /// Chunks of one to seven bytes, also inside a character.
    Split,
}

impl Framing {
    fn newline(self) -> &'static str {
        match self {
            Self::CrLfBom => "\r\n",
            Self::CrBom => "\r",
            _ => "\n",
        }
    }

    fn has_bom(self) -> bool {
        matches!(self, Self::CrLfBom | Self::CrBom)
    }

    /// The bytes of a frame; none for the ends.
    fn encode(self, frame: &Frame) -> String {
        let newline = self.newline();
        match frame {
            Frame::Event(event) => format!("{}{newline}", self.lines(event)),
            Frame::Unclosed(event) => self.lines(event),
            Frame::Comment(text) => format!(": {text}{newline}{newline}"),
            Frame::Data(text) => format!("data: {text}{newline}{newline}"),
            Frame::Drop | Frame::End | Frame::Cut => String::new(),
        }
    }

    fn lines(self, event: &Value) -> String {
        let newline = self.newline();
        let mut text = String::new();
        if let Some(name) = event.get("type").and_then(Value::as_str) {
            let _ = write!(text, "event: {name}{newline}");
        }
        if self == Self::MultiLine {
            for line in format!("{event:#}").lines() {
                let _ = write!(text, "data: {line}{newline}");
            }
        } else {
            let _ = write!(text, "data: {event}{newline}");
        }
        text
    }
}

/// Stops the run when its reader goes away before the end.
#[derive(Debug)]
pub(crate) struct StopOnDrop(pub(crate) Option<Arc<Feed>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(feed) = self.0.take() {
            feed.stop();
        }
    }
}

/// Follows `feed` from the first event after `after` and sends it as it grows.
pub(crate) fn stream(feed: Arc<Feed>, framing: Framing, after: Option<u64>, guard: StopOnDrop) -> Response {
    let reader = Reader { feed, framing, after, index: 0, pending: Bytes::new(), bom: framing.has_bom(), guard };
    let body = Body::from_stream(stream::unfold(Some(reader), |reader| async move {
        match reader?.next().await {
            Ok(Some((bytes, reader))) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The error that makes the server drop the connection, after what was sent before has left.
pub(crate) async fn broken() -> std::io::Error {
    tokio::time::sleep(FLUSH).await;
    std::io::Error::other("cut")
}

struct Reader {
    feed: Arc<Feed>,
    framing: Framing,
    after: Option<u64>,
    index: usize,
    pending: Bytes,
    bom: bool,
    guard: StopOnDrop,
}

impl Reader {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        if self.bom {
            self.bom = false;
            return Ok(Some((Bytes::from_static(BOM.as_bytes()), self)));
        }
        if !self.pending.is_empty() {
            return Ok(Some(self.piece().await));
        }
        loop {
            let frame = self.feed.frame(self.index).await;
            self.index += 1;
            match frame {
                Frame::End => {
                    self.guard.0 = None;
                    return Ok(None);
                }
                Frame::Drop if self.after.is_some() => {}
                Frame::Drop | Frame::Cut => {
                    self.guard.0 = None;
                    return Err(broken().await);
                }
                frame if self.is_old(&frame) => {}
                frame => {
                    self.pending = Bytes::from(self.framing.encode(&frame));
                    return Ok(Some(self.piece().await));
                }
            }
        }
    }

    fn is_old(&self, frame: &Frame) -> bool {
        self.after.is_some_and(|after| frame.sequence().is_none_or(|sequence| sequence <= after))
    }

    async fn piece(mut self) -> (Bytes, Self) {
        if self.framing != Framing::Split {
            return (std::mem::take(&mut self.pending), self);
        }
        tokio::task::yield_now().await;
        let length = (self.pending.len() % 7 + 1).min(self.pending.len());
        (self.pending.split_to(length), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_normal_frame_is_event_data_blank() {
        let event = Frame::Event(Arc::new(json!({"type": "response.created", "sequence_number": 0})));
        assert_eq!(
            Framing::Lf.encode(&event),
            "event: response.created\ndata: {\"sequence_number\":0,\"type\":\"response.created\"}\n\n"
        );
        assert_eq!(Framing::CrBom.encode(&event).matches('\r').count(), 3);
        assert_eq!(Framing::CrLfBom.encode(&event).matches("\r\n").count(), 3);
        assert_eq!(Framing::MultiLine.encode(&event).matches("data: ").count(), 4);
    }

    #[test]
    fn a_frame_without_a_type_has_no_event_line() {
        let event = Frame::Event(Arc::new(json!({"error": {"code": "x"}})));
        assert_eq!(Framing::Lf.encode(&event), "data: {\"error\":{\"code\":\"x\"}}\n\n");
    }

    #[test]
    fn comments_and_plain_data() {
        assert_eq!(Framing::Lf.encode(&Frame::Comment("keep-alive")), ": keep-alive\n\n");
        assert_eq!(Framing::Lf.encode(&Frame::Data("[DONE]")), "data: [DONE]\n\n");
    }
}
