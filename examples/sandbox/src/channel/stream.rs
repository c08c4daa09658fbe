//! The rules of a streamed answer: growing text, growing sequence, two minutes, personal chats only.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux`

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::problem::Problem;

/// A stream may last this long, counted from its first request.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The `streaminfo` entity of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamInfo {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) sequence: Option<u64>,
}

impl StreamInfo {
    /// Reads the first entity whose type is `streaminfo` (lower case, as every client sends it).
    pub(crate) fn of(activity: &Value) -> Option<Self> {
        let entities = activity.get("entities")?.as_array()?;
        let entity = entities.iter().find(|entity| entity.get("type").and_then(Value::as_str) == Some("streaminfo"))?;
        let text = |name: &str| entity.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: text("streamId"),
            kind: text("streamType").unwrap_or_default(),
            sequence: entity.get("streamSequence").and_then(Value::as_u64),
        })
    }
}

/// What the service answers to an accepted stream request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// 202, the chunk is shown.
    Shown,
    /// 202 `ContentStreamSequenceOrderPreConditionFailed`, the chunk is dropped.
    OutOfOrder,
    /// 202, the stream is complete.
    Final,
}

/// An open or finished stream.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    started: Instant,
    last: Instant,
    sequence: u64,
    text: String,
    finished: bool,
    cancelled: bool,
}

impl Stream {
    /// Starts a stream.
    ///
    /// # Errors
    /// 400 when the first request is not what the service expects of it.
    pub(crate) fn start(info: &StreamInfo, text: &str, now: Instant) -> Result<Self, Problem> {
        if !matches!(info.kind.as_str(), "informative" | "streaming") {
            return Err(Problem::argument("streamType must be informative or streaming at the start of a stream"));
        }
        if info.sequence != Some(1) {
            return Err(Problem::argument("streamSequence must start with 1"));
        }
        if text.is_empty() {
            return Err(Problem::missing("text"));
        }
        let content = if info.kind == "streaming" { text } else { "" };
        Ok(Self { started: now, last: now, sequence: 1, text: content.to_owned(), finished: false, cancelled: false })
    }

    /// Takes the next request of this stream. `gap` is the least time between two requests, none to allow any.
    ///
    /// # Errors
    /// 400, 403 and 429 of the official table.
    pub(crate) fn accept(
        &mut self,
        info: &StreamInfo,
        text: &str,
        now: Instant,
        gap: Option<Duration>,
    ) -> Result<Chunk, Problem> {
        if self.finished {
            return Err(Problem::stream("Content stream is not allowed on an already completed streamed message"));
        }
        if self.cancelled {
            return Err(Problem::stream("Content stream was canceled by user."));
        }
        if now.duration_since(self.started) > LIMIT {
            return Err(Problem::stream("Content stream finished due to exceeded streaming time."));
        }
        if gap.is_some_and(|gap| now.duration_since(self.last) < gap) {
            return Err(Problem { message: "API calls quota exceeded".to_owned(), ..Problem::throttled(1) });
        }
        match info.kind.as_str() {
            "final" => self.finish(info, text),
            "informative" | "streaming" => self.grow(info, text, now),
            _ => Err(Problem::argument("unknown streamType")),
        }
    }

    /// The user presses Stop.
    pub(crate) fn cancel(&mut self) {
        self.cancelled = !self.finished;
    }

    fn finish(&mut self, info: &StreamInfo, text: &str) -> Result<Chunk, Problem> {
        if info.sequence.is_some() {
            return Err(Problem::argument("streamSequence is not allowed in the final message"));
        }
        if text.is_empty() {
            return Err(Problem::missing("text"));
        }
        self.must_contain(text)?;
        self.finished = true;
        Ok(Chunk::Final)
    }

    fn grow(&mut self, info: &StreamInfo, text: &str, now: Instant) -> Result<Chunk, Problem> {
        let sequence = info.sequence.ok_or_else(|| Problem::missing("streamSequence"))?;
        if sequence <= self.sequence {
            return Ok(Chunk::OutOfOrder);
        }
        if info.kind == "streaming" {
            self.must_contain(text)?;
            text.clone_into(&mut self.text);
        }
        self.sequence = sequence;
        self.last = now;
        Ok(Chunk::Shown)
    }

    fn must_contain(&self, text: &str) -> Result<(), Problem> {
        if text.contains(&self.text) {
            return Ok(());
        }
        Err(Problem::stream("Request streamed content should contain the previously streamed content"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str, sequence: Option<u64>) -> StreamInfo {
        StreamInfo { id: Some("1".to_owned()), kind: kind.to_owned(), sequence }
    }

    #[test]
    fn text_may_only_grow_and_late_chunks_are_dropped() {
        let now = Instant::now();
        let mut stream = Stream::start(&info("informative", Some(1)), "Searching", now).unwrap();
        assert_eq!(stream.accept(&info("streaming", Some(2)), "Hel", now, None), Ok(Chunk::Shown));
        assert_eq!(stream.accept(&info("streaming", Some(2)), "Hello", now, None), Ok(Chunk::OutOfOrder));
        assert_eq!(stream.accept(&info("streaming", Some(3)), "Bye", now, None).unwrap_err().status, 403);
        assert_eq!(stream.accept(&info("final", Some(4)), "Hello", now, None).unwrap_err().status, 400);
        assert_eq!(stream.accept(&info("final", None), "", now, None).unwrap_err().code, "MissingProperty");
        assert_eq!(stream.accept(&info("final", None), "Hello", now, None), Ok(Chunk::Final));
        let again = stream.accept(&info("final", None), "Hello", now, None).unwrap_err();
        assert!(again.message.contains("already completed"), "{again:?}");
    }

    #[test]
    fn two_minutes_the_stop_button_and_the_rate_end_a_stream() {
        let now = Instant::now();
        let mut stream = Stream::start(&info("streaming", Some(1)), "a", now).unwrap();
        let gap = Some(Duration::from_secs(1));
        assert_eq!(stream.accept(&info("streaming", Some(2)), "ab", now, gap).unwrap_err().status, 429);
        assert_eq!(
            stream.accept(&info("streaming", Some(2)), "ab", now + Duration::from_secs(1), gap),
            Ok(Chunk::Shown)
        );
        let late = stream.accept(&info("streaming", Some(3)), "abc", now + Duration::from_secs(121), None).unwrap_err();
        assert_eq!(late.message, "Content stream finished due to exceeded streaming time.");
        stream.cancel();
        let stopped = stream.accept(&info("streaming", Some(3)), "abc", now, None).unwrap_err();
        assert_eq!(stopped.message, "Content stream was canceled by user.");
        assert_eq!(Stream::start(&info("streaming", Some(2)), "a", now).unwrap_err().status, 400);
        assert_eq!(Stream::start(&info("final", Some(1)), "a", now).unwrap_err().status, 400);
    }
}
