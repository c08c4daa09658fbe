//! Server-sent events: bytes in, frames out. Linear, capped, no copy where a frame lies in one chunk.
//!
//! Follows <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.

use std::fmt;

use bytes::{Buf, Bytes};

/// One dispatched frame of an event stream.
#[derive(Clone, PartialEq, Eq)]
pub struct SseFrame {
    event: Option<Bytes>,
    data: Bytes,
}

impl SseFrame {
    /// A frame made by hand, for tests and for other transports.
    #[must_use]
    pub fn new(event: Option<&str>, data: impl Into<Bytes>) -> Self {
        Self { event: event.map(|name| Bytes::copy_from_slice(name.as_bytes())), data: data.into() }
    }

    /// The `event:` field; none when it is absent, empty or not UTF-8.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        let name = self.event.as_deref().and_then(|name| std::str::from_utf8(name).ok())?;
        (!name.is_empty()).then_some(name)
    }

    pub(crate) fn into_parts(self) -> (Option<Bytes>, Bytes) {
        (self.event, self.data)
    }

    /// The `data:` fields, joined by a line feed. Bytes as they came: not checked for UTF-8.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }
}

/// Prints lengths only: frames carry message text.
impl fmt::Debug for SseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseFrame").field("event", &self.event()).field("data_len", &self.data.len()).finish()
    }
}

/// What an event stream may cost.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseLimits {
    /// Longest line in bytes, its end not counted. Default 4 MiB: the service writes an event's JSON in one line.
    pub line: usize,
    /// Longest `data` of one frame in bytes, all its lines together. Default 4 MiB.
    pub event: usize,
}

impl Default for SseLimits {
    fn default() -> Self {
        Self { line: 4 * 1024 * 1024, event: 4 * 1024 * 1024 }
    }
}

impl SseLimits {
    /// Sets the longest line, in bytes.
    #[must_use]
    pub fn line(mut self, bytes: usize) -> Self {
        self.line = bytes;
        self
    }

    /// Sets the longest `data` of one frame, in bytes.
    #[must_use]
    pub fn event(mut self, bytes: usize) -> Self {
        self.event = bytes;
        self
    }
}

/// A limit was passed. The decoder is finished: the frames after it cannot be trusted.
///
/// Not retryable: the same stream breaks the same limit again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than [`SseLimits::line`].
    #[error("a line of the event stream is longer than the limit of {0} bytes")]
    LineTooLong(usize),
    /// The data of one frame is longer than [`SseLimits::event`].
    #[error("an event of the stream is longer than the limit of {0} bytes")]
    EventTooLong(usize),
}

/// What the decoder did so far: to see that a server is alive, and that work grows linearly.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SseCounters {
    /// Complete lines, comments and blank lines included. A keep-alive comment counts.
    pub lines: u64,
    /// Bytes looked at for line ends and field names.
    pub scanned: u64,
    /// Bytes copied because a line was split over chunks or a frame has several `data` lines.
    pub copied: u64,
}

/// Splits an event stream into frames.
///
/// ```
/// use foundry_client::SseDecoder;
///
/// let mut decoder = SseDecoder::default();
/// decoder.push("event: a\r\ndata: {}\r\n\r".into());
/// let frame = decoder.next_frame()?.expect("a complete frame");
/// assert_eq!((frame.event(), &frame.data()[..]), (Some("a"), &b"{}"[..]));
/// # Ok::<(), foundry_client::SseError>(())
/// ```
///
/// Lines may end in LF, CR or CRLF, also split between chunks; a byte order mark at the start is
/// skipped; comments and unknown fields are ignored; a last frame without its blank line is not
/// dispatched. `id` and `retry` are not used by the service and are ignored.
#[derive(Debug, Default)]
pub struct SseDecoder {
    limits: SseLimits,
    chunk: Bytes,
    /// The beginning of a line whose end has not arrived.
    carry: Vec<u8>,
    event: Option<Bytes>,
    data: Data,
    started: bool,
    skip_lf: bool,
    failed: Option<SseError>,
    counters: SseCounters,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    One(Bytes),
    Joined(Vec<u8>),
}

impl SseDecoder {
    /// A decoder with limits of its own.
    #[must_use]
    pub fn new(limits: SseLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds bytes. Take all frames with [`next_frame`](Self::next_frame) before the next call:
    /// bytes that are still unread are copied otherwise.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = Vec::with_capacity(self.chunk.len() + chunk.len());
            joined.extend_from_slice(&self.chunk);
            joined.extend_from_slice(&chunk);
            self.count_copy(joined.len());
            self.chunk = Bytes::from(joined);
        }
    }

    /// The next complete frame; none means that more bytes are needed.
    ///
    /// # Errors
    ///
    /// When a limit is passed; the same error is returned from then on.
    pub fn next_frame(&mut self) -> Result<Option<SseFrame>, SseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while let Some(end) = self.line_end()? {
            if let Some(frame) = self.take_line(end)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Whether bytes of an unfinished line or frame are held: true at the end of a body means it was cut.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        !self.carry.is_empty() || self.event.is_some() || !matches!(self.data, Data::None)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> SseCounters {
        self.counters
    }

    /// Where the next line ends in the chunk; none when its end has not arrived.
    fn line_end(&mut self) -> Result<Option<usize>, SseError> {
        if self.skip_lf && !self.chunk.is_empty() {
            if self.chunk.first() == Some(&b'\n') {
                self.chunk.advance(1);
            }
            self.skip_lf = false;
        }
        let found = memchr::memchr2(b'\n', b'\r', &self.chunk);
        let length = found.unwrap_or(self.chunk.len());
        self.count_scan(length);
        if self.carry.len() + length > self.limits.line {
            return Err(self.fail(SseError::LineTooLong(self.limits.line)));
        }
        if found.is_none() && !self.chunk.is_empty() {
            let rest = std::mem::take(&mut self.chunk);
            self.carry = self.extend_carry(&rest);
        }
        Ok(found)
    }

    fn take_line(&mut self, end: usize) -> Result<Option<SseFrame>, SseError> {
        self.counters.lines += 1;
        self.skip_lf = self.chunk.get(end) == Some(&b'\r');
        let first = !std::mem::replace(&mut self.started, true);
        if self.carry.is_empty() {
            // The usual case: the value is a slice of the chunk.
            let value = value_of(&self.chunk, end, first);
            self.chunk.advance(end + 1);
            return self.take_value(value);
        }
        let head = self.chunk.split_to(end);
        self.chunk.advance(1);
        let line = Bytes::from(self.extend_carry(&head));
        let value = value_of(&line, line.len(), first);
        self.take_value(value)
    }

    fn take_value(&mut self, value: Value) -> Result<Option<SseFrame>, SseError> {
        match value {
            Value::Blank => return Ok(self.dispatch()),
            Value::Data(data) => self.add_data(data)?,
            Value::Event(name) => self.event = Some(name),
            Value::Ignored => {}
        }
        Ok(None)
    }

    fn extend_carry(&mut self, more: &[u8]) -> Vec<u8> {
        let mut carry = std::mem::take(&mut self.carry);
        let before = carry.capacity();
        carry.extend_from_slice(more);
        // A grown buffer moves what it holds; growth doubles, so this stays linear in sum.
        let moved = if carry.capacity() == before { 0 } else { carry.len() - more.len() };
        self.count_copy(more.len() + moved);
        carry
    }

    fn add_data(&mut self, value: Bytes) -> Result<(), SseError> {
        let (joined, old, copied) = match std::mem::take(&mut self.data) {
            Data::None => {
                self.check_event(value.len())?;
                self.data = Data::One(value);
                return Ok(());
            }
            Data::One(first) => {
                let copied = first.len();
                (Vec::from(&first[..]), copied, copied)
            }
            Data::Joined(joined) => {
                let old = joined.len();
                (joined, old, 0)
            }
        };
        self.check_event(old + 1 + value.len())?;
        let mut joined = joined;
        let before = joined.capacity();
        joined.push(b'\n');
        joined.extend_from_slice(&value);
        let moved = if joined.capacity() == before { 0 } else { old };
        self.count_copy(copied + moved + 1 + value.len());
        self.data = Data::Joined(joined);
        Ok(())
    }

    fn dispatch(&mut self) -> Option<SseFrame> {
        let event = self.event.take();
        let data = match std::mem::take(&mut self.data) {
            Data::None => return None,
            Data::One(data) => data,
            Data::Joined(data) => Bytes::from(data),
        };
        Some(SseFrame { event, data })
    }

    fn check_event(&mut self, length: usize) -> Result<(), SseError> {
        if length > self.limits.event {
            return Err(self.fail(SseError::EventTooLong(self.limits.event)));
        }
        Ok(())
    }

    fn fail(&mut self, error: SseError) -> SseError {
        self.failed = Some(error);
        self.chunk = Bytes::new();
        self.carry = Vec::new();
        self.data = Data::None;
        error
    }

    fn count_scan(&mut self, bytes: usize) {
        self.counters.scanned += bytes as u64;
    }

    fn count_copy(&mut self, bytes: usize) {
        self.counters.copied += bytes as u64;
    }
}

/// What a line means.
enum Value {
    Blank,
    Data(Bytes),
    Event(Bytes),
    Ignored,
}

/// Reads the line that `text` begins with and that ends at `end`.
fn value_of(text: &Bytes, end: usize, first: bool) -> Value {
    let mut start = 0;
    let mut line = text.get(..end).unwrap_or_default();
    if first && let Some(rest) = line.strip_prefix(b"\xef\xbb\xbf") {
        (start, line) = (3, rest);
    }
    let (name_length, is_data) = match line {
        [] => return Value::Blank,
        [b'd', b'a', b't', b'a', ..] => (4, true),
        [b'e', b'v', b'e', b'n', b't', ..] => (5, false),
        _ => return Value::Ignored,
    };
    start += name_length;
    match line.get(name_length..) {
        Some([b':', b' ', ..]) => start += 2,
        Some([b':', ..]) => start += 1,
        Some([]) | None => {}
        Some(_) => return Value::Ignored,
    }
    if is_data {
        return Value::Data(text.slice(start..end));
    }
    match text.get(start..end) {
        // Most of a stream: a constant costs no reference count.
        Some(b"response.output_text.delta") => Value::Event(Bytes::from_static(b"response.output_text.delta")),
        _ => Value::Event(text.slice(start..end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(decoder: &mut SseDecoder, chunk: &[u8]) -> Vec<(Option<String>, Vec<u8>)> {
        decoder.push(Bytes::copy_from_slice(chunk));
        let mut found = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            found.push((frame.event().map(str::to_owned), frame.data().to_vec()));
        }
        found
    }

    #[test]
    fn a_frame_in_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"event: x\ndata: {\"a\":1}\n\n");
        let mut decoder = SseDecoder::default();
        decoder.push(chunk.clone());
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.data().as_ptr(), chunk[15..].as_ptr());
        assert_eq!(decoder.counters().copied, 0);
        assert!(!decoder.has_partial());
    }

    #[test]
    fn empty_data_is_dispatched_and_no_data_is_not() {
        let mut decoder = SseDecoder::default();
        assert_eq!(frames(&mut decoder, b"data\n\n"), [(None, vec![])]);
        assert_eq!(frames(&mut decoder, b"data:\ndata:\n\n"), [(None, b"\n".to_vec())]);
        assert_eq!(frames(&mut decoder, b"event: lost\n\ndata: x\n\n"), [(None, b"x".to_vec())]);
    }

    #[test]
    fn a_limit_is_an_error_and_stays_one() {
        let mut decoder = SseDecoder::new(SseLimits::default().line(10));
        decoder.push(Bytes::from_static(b"data: 12345"));
        assert_eq!(decoder.next_frame(), Err(SseError::LineTooLong(10)));
        decoder.push(Bytes::from_static(b"\n\ndata: 1\n\n"));
        assert_eq!(decoder.next_frame(), Err(SseError::LineTooLong(10)));

        let mut decoder = SseDecoder::new(SseLimits::default().event(5));
        decoder.push(Bytes::from_static(b"data: 12\ndata: 345\n\n"));
        assert_eq!(decoder.next_frame(), Err(SseError::EventTooLong(5)));
        let mut decoder = SseDecoder::new(SseLimits::default().event(5));
        assert_eq!(frames(&mut decoder, b"data: 12\ndata: 34\n\n"), [(None, b"12\n34".to_vec())]);
    }

    #[test]
    fn a_line_end_at_the_end_of_a_chunk_dispatches_at_once() {
        let mut decoder = SseDecoder::default();
        assert_eq!(frames(&mut decoder, b"data: x\r\n\r"), [(None, b"x".to_vec())]);
        assert_eq!(frames(&mut decoder, b"\ndata: y\r\r"), [(None, b"y".to_vec())]);
    }

    #[test]
    fn debug_shows_no_data() {
        let shown = format!("{:?}", SseFrame::new(Some("e"), "secret text"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
