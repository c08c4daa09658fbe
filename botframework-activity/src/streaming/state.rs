//! A stream without I/O: what is to be sent, when, and what an answer means.

use std::time::Duration;

use tokio::time::Instant;

use super::StreamRefusal;
use crate::{Activity, ActivityType, Delivery, RawJson, SendError, StreamInfo, StreamType, TeamsChannelData};

/// The times of a [`TeamsStream`](crate::TeamsStream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamPace {
    /// From the first text to the first piece: an answer that is complete by then is sent as one message. Default
    /// 500 ms.
    pub first: Duration,
    /// Between the answer to one piece and the next piece. Default 1.5 s; Teams refuses more than one request a second.
    pub gap: Duration,
    /// Before the final message, after the answer to a piece. Default 1 s.
    pub last_gap: Duration,
    /// When pieces end and the message is updated in place. Default 110 s; Teams ends a stream after 120 s.
    pub limit: Duration,
    /// After how much silence the last piece is sent again, because Copilot gives up after 45 s. Default 35 s.
    pub keep_alive: Duration,
    /// Between two typing indicators, where nothing can be streamed. Default 4 s.
    pub typing: Duration,
}

impl Default for StreamPace {
    #[inline]
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            gap: Duration::from_millis(1500),
            last_gap: Duration::from_secs(1),
            limit: Duration::from_secs(110),
            keep_alive: Duration::from_secs(35),
            typing: Duration::from_secs(4),
        }
    }
}

/// Between two updates in place: half of what a conversation may take in an hour.
const UPDATE_GAP: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    Idle,
    /// Pieces can be sent.
    Open,
    /// An earlier process streamed; nobody knows what it has shown.
    Inherited,
    /// Nothing more can be shown, but the stream still waits for its final message.
    Halted,
    /// The stream is over, its message can be updated.
    Over,
    /// No stream: one message at the end.
    Plain,
    /// The user wants no answer.
    Stopped,
}

/// A stream as far as it has come.
#[derive(Debug)]
pub(crate) struct StreamState {
    phase: Phase,
    pace: StreamPace,
    id: Option<String>,
    sequence: i64,
    /// Everything so far. Only grows.
    text: String,
    /// How much of it was accepted.
    shown: usize,
    informative: String,
    /// Whether there is something to say that was not said.
    inform: bool,
    /// When the stream shall begin.
    begins: Option<Instant>,
    begun: Option<Instant>,
    answered: Option<Instant>,
    /// Not before, whatever there is to say.
    not_before: Option<Instant>,
    /// The message takes no more text: the rest becomes one of its own.
    cut: bool,
}

/// What is to be sent; the caller addresses it.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) activity: Activity,
}

/// How a piece is sent, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request of the stream.
    Chunk,
    /// The final message before the answer is complete, because the time is up.
    Close,
    /// An update of the message.
    Update,
    /// A typing indicator.
    Typing,
}

/// How the answer reaches the user.
#[derive(Debug, PartialEq)]
pub(crate) enum Closing {
    /// The final message of the stream: may be repeated.
    Final(Activity),
    /// An update of this activity: may be repeated.
    Update(String, Activity),
    /// A message of its own: may not be repeated.
    Message(Activity),
    /// Not at all: the user pressed Stop.
    Nothing,
}

impl StreamState {
    /// A stream that has not begun.
    #[inline]
    pub(crate) fn new(pace: StreamPace) -> Self {
        Self {
            phase: Phase::Idle,
            pace,
            id: None,
            sequence: 0,
            text: String::new(),
            shown: 0,
            informative: String::new(),
            inform: false,
            begins: None,
            begun: None,
            answered: None,
            not_before: None,
            cut: false,
        }
    }

    /// A stream that has not begun, whose id is not the channel's business.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn named(pace: StreamPace, id: String) -> Self {
        Self { id: Some(id), ..Self::new(pace) }
    }

    /// No stream: typing, and one message.
    #[inline]
    pub(crate) fn plain(pace: StreamPace) -> Self {
        Self { phase: Phase::Plain, ..Self::new(pace) }
    }

    /// A stream that another process has begun.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn inherited(pace: StreamPace, id: String) -> Self {
        Self { phase: Phase::Inherited, id: Some(id), ..Self::new(pace) }
    }

    /// The id of the message, once there is one.
    #[inline]
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the message waits for its final form, which only a request of the stream can give.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Inherited | Phase::Halted)
    }

    /// Whether nothing was sent yet, and pieces may be.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Whether the user pressed Stop.
    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Everything so far.
    #[inline]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// More text.
    #[inline]
    pub(crate) fn push(&mut self, delta: &str) {
        self.text.push_str(delta);
        self.begins.get_or_insert_with(|| Instant::now() + self.pace.first);
    }

    /// The whole text so far, which goes on from what was told before.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn grow_to(&mut self, text: &str) {
        if let Some(rest) = text.get(self.text.len()..) {
            self.push(rest);
        }
    }

    /// What is said before there is text.
    #[inline]
    pub(crate) fn inform(&mut self, text: impl Into<String>) {
        self.informative = text.into();
        self.inform = !self.informative.is_empty();
        self.begins = Some(Instant::now());
    }

    #[inline]
    fn has_news(&self) -> bool {
        self.text.len() > self.shown && !self.text.trim().is_empty() || (self.inform && self.text.is_empty())
    }

    /// When there is something to do; `None` for not before something changes.
    #[inline]
    pub(crate) fn due(&self) -> Option<Instant> {
        let ready = |gap: Duration| {
            let after = self.answered.map(|at| at + gap);
            after.max(self.not_before)
        };
        match self.phase {
            Phase::Idle if self.has_news() => self.begins.max(self.not_before),
            Phase::Open => {
                let end = self.begun.map(|at| at + self.pace.limit);
                let gap = if self.has_news() { self.pace.gap } else { self.pace.keep_alive };
                let next = ready(gap);
                [end, next].into_iter().flatten().min()
            }
            Phase::Over if self.text.len() > self.shown => ready(UPDATE_GAP),
            Phase::Plain if !self.text.is_empty() || self.inform => ready(self.pace.typing).or(self.begins),
            _ => None,
        }
    }

    /// What is to be sent now. [`Self::answered`] must be told how it went.
    #[inline]
    pub(crate) fn next(&mut self, now: Instant) -> Option<Piece> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let time_is_up = self.begun.is_some_and(|at| now >= at + self.pace.limit);
        let (kind, activity) = match self.phase {
            Phase::Idle | Phase::Open if !time_is_up => (Kind::Chunk, self.chunk()),
            Phase::Open => {
                let text = if self.text.trim().is_empty() { &self.informative } else { &self.text };
                (Kind::Close, self.last(Activity::message(text.clone())))
            }
            Phase::Over => (Kind::Update, Activity::message(self.text.clone()).with_id(self.id()?)),
            Phase::Plain => (Kind::Typing, Activity::typing()),
            _ => return None,
        };
        Some(Piece { kind, activity })
    }

    #[inline]
    fn chunk(&mut self) -> Activity {
        self.sequence += 1;
        let streaming = !self.text.trim().is_empty();
        let (kind, text) = match streaming {
            true => (StreamType::STREAMING, &self.text),
            false => (StreamType::INFORMATIVE, &self.informative),
        };
        let activity = Activity { kind: ActivityType::TYPING, ..Activity::message(text.clone()) };
        self.marked(activity, kind, Some(self.sequence))
    }

    /// The activity as the end of the stream.
    #[inline]
    pub(crate) fn last(&self, activity: Activity) -> Activity {
        self.marked(activity, StreamType::FINAL, None)
    }

    /// The activity as a part of the stream, said in both places where clients look.
    #[inline]
    fn marked(&self, mut activity: Activity, kind: StreamType, sequence: Option<i64>) -> Activity {
        activity.id.clone_from(&self.id);
        let info = StreamInfo {
            stream_id: self.id.clone(),
            stream_type: Some(kind.clone()),
            stream_sequence: sequence,
            ..StreamInfo::default()
        };
        // What is no list, or no object, is replaced: the service would not take it either.
        let without = Activity { entities: None, ..activity.clone() };
        let marked = activity.with_entity(&info).or_else(|_| without.with_entity(&info)).unwrap_or_default();
        let mut data: TeamsChannelData = marked.teams_data().ok().flatten().unwrap_or_default();
        (data.stream_id, data.stream_type, data.stream_sequence) = (self.id.clone(), Some(kind), sequence);
        Activity { channel_data: RawJson::from_value(&data).ok(), ..marked }
    }

    /// How a piece went, and the id of the new activity.
    #[inline]
    pub(crate) fn answered(&mut self, piece: &Piece, result: Result<Option<String>, &SendError>, now: Instant) {
        self.answered = Some(now);
        self.not_before = None;
        let error = match result {
            Ok(id) => return self.accepted(piece, id, now),
            Err(error) => error,
        };
        match (error.stream_refusal(), self.phase) {
            (Some(refusal), _) => self.refused(refusal),
            // No second attempt: the first may have begun a stream that nobody knows.
            (None, Phase::Idle) => {
                tracing::debug!(%error, "a stream did not begin; there will be one message");
                self.phase = Phase::Plain;
            }
            // Every piece holds all that was said, so the next one makes up for it.
            (None, _) if is_passing(error) || piece.kind == Kind::Typing => {
                tracing::debug!(%error, "a piece of a stream was not sent");
                self.not_before = error.retry_after().map(|wait| now + wait);
            }
            (None, Phase::Open) => {
                tracing::warn!(%error, "a stream cannot go on");
                self.phase = Phase::Halted;
            }
            // Updates are for the eye; the last one counts.
            (None, _) => self.shown = self.text.len(),
        }
    }

    #[inline]
    fn accepted(&mut self, piece: &Piece, id: Option<String>, now: Instant) {
        match piece.kind {
            Kind::Chunk => {
                if self.phase == Phase::Idle {
                    self.begun = Some(now);
                    self.id = id.filter(|id| !id.is_empty());
                    // Without an id there is nothing to add to.
                    self.phase = if self.id.is_some() { Phase::Open } else { Phase::Plain };
                }
                self.inform = false;
            }
            Kind::Close => self.phase = Phase::Over,
            Kind::Update => {}
            Kind::Typing => return self.inform = false,
        }
        let text = piece.activity.text.as_deref().unwrap_or_default();
        if self.text.starts_with(text) && !text.is_empty() {
            self.shown = text.len();
        }
    }

    #[inline]
    fn refused(&mut self, refusal: StreamRefusal) {
        tracing::debug!(refusal = refusal.as_str(), "the stream was refused");
        self.cut |= refusal == StreamRefusal::TooLarge;
        self.phase = match (refusal, &self.id) {
            (StreamRefusal::StoppedByUser, _) => Phase::Stopped,
            (_, None) => Phase::Plain,
            (StreamRefusal::TimeExceeded | StreamRefusal::AlreadyCompleted, _) => Phase::Over,
            (StreamRefusal::NotContained | StreamRefusal::TooLarge, _) => Phase::Halted,
            (StreamRefusal::NotAllowed | StreamRefusal::Other, _) => Phase::Over,
        };
    }

    /// When the final message may be sent.
    #[inline]
    pub(crate) fn last_due(&self) -> Option<Instant> {
        if !matches!(self.phase, Phase::Open | Phase::Halted) {
            return None;
        }
        self.answered.map(|at| at + self.pace.last_gap).max(self.not_before)
    }

    /// How this answer is delivered. After `Final` that failed, tell it to [`Self::final_refused`] and ask again.
    #[inline]
    pub(crate) fn close(&self, answer: &Activity) -> Closing {
        let Some(id) = self.id.clone() else {
            return if self.phase == Phase::Stopped { Closing::Nothing } else { Closing::Message(answer.clone()) };
        };
        match self.phase {
            Phase::Stopped => Closing::Nothing,
            Phase::Open | Phase::Inherited | Phase::Halted if self.continues(answer) => {
                Closing::Final(self.last(answer.clone()))
            }
            // What was shown must stand in the final message; the update behind it is free.
            Phase::Open | Phase::Halted => {
                let shown = self.text.get(..self.shown).unwrap_or_default();
                let text = if shown.trim().is_empty() { &self.informative } else { shown };
                Closing::Final(self.last(Activity::message(text)))
            }
            _ if self.cut => {
                let text = answer.text.as_deref().unwrap_or_default();
                let shown = self.text.get(..self.shown).unwrap_or_default();
                let rest = text.strip_prefix(shown).unwrap_or(text).trim_start().to_owned();
                Closing::Message(answer.clone().with_text(rest))
            }
            _ => Closing::Update(id.clone(), answer.clone().with_id(id)),
        }
    }

    /// Whether the answer holds what was shown, and is a message that a stream can end with.
    #[inline]
    fn continues(&self, answer: &Activity) -> bool {
        let shown = self.text.get(..self.shown).unwrap_or_default();
        let text = answer.text.as_deref().unwrap_or_default();
        self.phase != Phase::Halted
            && answer.kind == ActivityType::MESSAGE
            && !text.trim().is_empty()
            && text.starts_with(shown)
    }

    /// The final message was accepted: whether it was the answer, or only what had been shown.
    #[inline]
    pub(crate) fn final_accepted(&mut self, answer: &Activity) -> bool {
        let whole = self.phase == Phase::Inherited || self.continues(answer);
        self.phase = Phase::Over;
        whole
    }

    /// The final message was refused for good.
    #[inline]
    pub(crate) fn final_refused(&mut self, error: &SendError) {
        let refusal = error.stream_refusal().unwrap_or(StreamRefusal::Other);
        self.phase = match (refusal, self.phase) {
            (StreamRefusal::StoppedByUser, _) => Phase::Stopped,
            // The stream must still be closed, with what was shown.
            (StreamRefusal::NotContained | StreamRefusal::TooLarge, Phase::Open) => Phase::Halted,
            _ => Phase::Over,
        };
        self.cut |= refusal == StreamRefusal::TooLarge;
        tracing::debug!(refusal = refusal.as_str(), "the final message of a stream was refused");
    }
}

/// Whether the same request may be accepted later. A stream takes a piece, or its end, twice without harm.
#[inline]
pub(crate) fn is_passing(error: &SendError) -> bool {
    error.stream_refusal().is_none() && (error.is_retryable() || error.delivery() == Delivery::Ambiguous)
}

#[cfg(test)]
#[cfg(feature = "turns")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(activity: &Activity) -> Value {
        serde_json::from_slice(&activity.to_json().unwrap()).unwrap()
    }

    fn pace() -> StreamPace {
        StreamPace { first: Duration::ZERO, ..StreamPace::default() }
    }

    fn begun() -> (StreamState, Instant) {
        let mut state = StreamState::new(pace());
        let now = Instant::now();
        state.push("Hel");
        let piece = state.next(now).unwrap();
        state.answered(&piece, Ok(Some("s-1".into())), now);
        (state, now)
    }

    #[tokio::test(start_paused = true)]
    async fn every_field_of_a_stream() {
        let mut state = StreamState::new(pace());
        let now = Instant::now();
        state.inform("Searching …");
        let first = state.next(now).unwrap();
        assert_eq!(
            body(&first.activity),
            json!({
                "type": "typing", "text": "Searching …",
                "entities": [{"type": "streaminfo", "streamType": "informative", "streamSequence": 1}],
                "channelData": {"streamType": "informative", "streamSequence": 1},
            })
        );
        state.answered(&first, Ok(Some("s-1".into())), now);
        assert_eq!(state.next(now + pace().gap), None, "nothing new");
        state.push("Hel");
        assert_eq!(state.next(now + Duration::from_millis(1400)), None, "not before the gap");
        let now = now + pace().gap;
        let second = state.next(now).unwrap();
        assert_eq!(
            body(&second.activity),
            json!({
                "type": "typing", "id": "s-1", "text": "Hel",
                "entities": [
                    {"type": "streaminfo", "streamId": "s-1", "streamType": "streaming", "streamSequence": 2}
                ],
                "channelData": {"streamId": "s-1", "streamType": "streaming", "streamSequence": 2},
            })
        );
        state.answered(&second, Ok(None), now);
        state.push("lo");
        let answer = Activity::message("Hello")
            .with_channel_data(&json!({"feedbackLoop": {"type": "default"}}))
            .unwrap()
            .with_entity(&json!({"type": "https://schema.org/Message", "citation": []}))
            .unwrap();
        assert_eq!(state.last_due(), Some(now + Duration::from_secs(1)));
        let Closing::Final(last) = state.close(&answer) else { panic!("a final message") };
        assert_eq!(
            body(&last),
            json!({
                "type": "message", "id": "s-1", "text": "Hello",
                "entities": [
                    {"type": "https://schema.org/Message", "citation": []},
                    {"type": "streaminfo", "streamId": "s-1", "streamType": "final"},
                ],
                "channelData": {"feedbackLoop": {"type": "default"}, "streamId": "s-1", "streamType": "final"},
            })
        );
        assert!(state.final_accepted(&answer));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_answer_is_one_message() {
        let mut state = StreamState::new(StreamPace::default());
        let now = Instant::now();
        state.push("Hel");
        assert_eq!((state.due(), state.next(now)), (Some(now + Duration::from_millis(500)), None));
        assert!(matches!(state.close(&Activity::message("Hello")), Closing::Message(_)));
        state.inform("One moment");
        assert_eq!(state.due(), Some(now), "what is being done is said at once");
    }

    #[tokio::test(start_paused = true)]
    async fn text_never_shrinks() {
        let (mut state, _) = begun();
        #[cfg(feature = "turns")]
        {
            state.grow_to("Hello");
            state.grow_to("Bye");
        }
        #[cfg(not(feature = "turns"))]
        state.push("lo");
        assert_eq!(state.text(), "Hello");
        // An answer that does not go on from what was shown: the stream is closed with that, then the message updated.
        let other = Activity::message("Sorry.");
        let Closing::Final(last) = state.close(&other) else { panic!("a final message") };
        assert_eq!(last.text.as_deref(), Some("Hel"));
        assert!(!state.final_accepted(&other));
        let Closing::Update(id, update) = state.close(&other) else { panic!("an update") };
        assert_eq!((&*id, body(&update)), ("s-1", json!({"type": "message", "id": "s-1", "text": "Sorry."})));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_limit_the_message_is_updated_in_place() {
        let (mut state, start) = begun();
        let end = start + pace().limit;
        state.push("lo");
        let piece = state.next(end).unwrap();
        assert_eq!((piece.kind, piece.activity.text.as_deref()), (Kind::Close, Some("Hello")));
        state.answered(&piece, Ok(None), end);
        assert!(!state.is_open());
        assert_eq!(state.due(), None);
        state.push(" you");
        assert_eq!(state.next(end), None, "updates have a gap, too");
        let piece = state.next(end + UPDATE_GAP).unwrap();
        assert_eq!(piece.kind, Kind::Update);
        assert_eq!(body(&piece.activity), json!({"type": "message", "id": "s-1", "text": "Hello you"}));
        state.answered(&piece, Ok(None), end + UPDATE_GAP);
        assert!(matches!(state.close(&Activity::message("All")), Closing::Update(..)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_before_copilot_gives_up() {
        let (mut state, now) = begun();
        assert_eq!(state.due(), Some(now + Duration::from_secs(35)));
        let piece = state.next(now + Duration::from_secs(35)).unwrap();
        assert_eq!((piece.kind, piece.activity.text.as_deref()), (Kind::Chunk, Some("Hel")));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_stream_there_is_typing_and_one_message() {
        let mut state = StreamState::plain(pace());
        let now = Instant::now();
        assert_eq!(state.due(), None, "nothing to say");
        state.push("Hel");
        let piece = state.next(now).unwrap();
        assert_eq!((piece.kind, body(&piece.activity)), (Kind::Typing, json!({"type": "typing"})));
        state.answered(&piece, Ok(None), now);
        assert_eq!(state.due(), Some(now + Duration::from_secs(4)));
        assert_eq!(state.close(&Activity::message("Hello")), Closing::Message(Activity::message("Hello")));
    }

    #[test]
    fn an_inherited_stream_gets_its_final_message_and_no_piece() {
        let mut state = StreamState::inherited(pace(), "s-9".into());
        state.push("other words");
        assert_eq!(state.due(), None);
        let answer = Activity::message("The answer");
        assert!(matches!(state.close(&answer), Closing::Final(last) if last.id.as_deref() == Some("s-9")));
        assert!(state.final_accepted(&answer));
    }
}
