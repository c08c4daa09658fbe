use std::{error::Error as StdError, fmt, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use futures_core::Stream;
use serde_core::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot, watch};

use super::TurnId;
use crate::{Activity, RawJson, VerifiedActivity};

/// One turn, as its handler sees it. A clone is the same turn.
///
/// The handler sends nothing itself: it returns the answer as an [`Outcome`], and the runner delivers it once, however
/// often the turn has to be started.
#[derive(Clone)]
pub struct Turn(Arc<Inner>);

struct Inner {
    activity: VerifiedActivity,
    id: TurnId,
    attempt: u32,
    reply: Reply,
    note: Option<RawJson>,
    shows: watch::Sender<Option<Activity>>,
    texts: watch::Sender<String>,
    notes: mpsc::Sender<Note>,
}

/// Progress on its way to the queue.
pub(super) struct Note {
    pub(super) json: RawJson,
    pub(super) stored: oneshot::Sender<()>,
}

/// The runner's ends of what a turn says. When they are dropped, nobody waits for the handler any more.
pub(super) struct Hooks {
    pub(super) shows: watch::Receiver<Option<Activity>>,
    pub(super) texts: watch::Receiver<String>,
    pub(super) notes: mpsc::Receiver<Note>,
}

/// How the answer of a turn reaches the user.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// A message: the answer itself when it is ready in time, otherwise a placeholder that the answer replaces.
    Message,
    /// A message that grows before the user's eyes; see [`Turn::stream`]. Only where the runner was told to
    /// ([`TurnRunnerBuilder::streaming`](crate::TurnRunnerBuilder::streaming)) and the chat takes it.
    Stream,
    /// The body of the HTTP response. With `deliveryMode: expectReplies` nothing is seen before the answer; with
    /// `deliveryMode: stream` the answer grows there, at most ten times a second.
    Inline,
}

/// What a handler has come to.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The answer. Sender, recipient, conversation and `replyToId` are filled in by the runner.
    Answer(Box<Activity>),
    /// There is nothing to say.
    Silent,
    /// The turn waits for something outside, such as a sign-in, and was put away: the conversation goes on, and a
    /// resumed turn will answer.
    Parked,
    /// The turn shall run again after that time; the conversation waits for it. Counts as an attempt.
    Again {
        /// How long to wait.
        after: Duration,
    },
}

impl Outcome {
    /// An answer.
    #[must_use]
    pub fn answer(activity: Activity) -> Self {
        Self::Answer(Box::new(activity))
    }
}

impl From<Activity> for Outcome {
    fn from(activity: Activity) -> Self {
        Self::answer(activity)
    }
}

/// Why a handler failed. Its text goes to the log: it must hold no token, no message text and no user name.
pub type HandlerError = Box<dyn StdError + Send + Sync>;

/// Nobody waits for this turn any more: its time is up, its lease is lost, or the process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the turn is over")]
pub struct TurnOver;

impl Turn {
    pub(super) fn new(
        activity: VerifiedActivity,
        id: TurnId,
        attempt: u32,
        reply: Reply,
        note: Option<RawJson>,
    ) -> (Self, Hooks) {
        let (shows, shown) = watch::channel(None);
        let (texts, grown) = watch::channel(String::new());
        let (notes, noted) = mpsc::channel(1);
        let inner = Inner { activity, id, attempt, reply, note, shows, texts, notes };
        (Self(Arc::new(inner)), Hooks { shows: shown, texts: grown, notes: noted })
    }

    /// What the user sent.
    #[must_use]
    pub fn activity(&self) -> &VerifiedActivity {
        &self.0.activity
    }

    /// The turn's name; the same at every attempt. What the handler does elsewhere can be marked with it.
    #[must_use]
    pub fn id(&self) -> &TurnId {
        &self.0.id
    }

    /// Which attempt this is, from 1. Above 1 an earlier one may have acted: look at [`Turn::progress`].
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// How the answer will reach the user.
    #[must_use]
    pub fn reply(&self) -> Reply {
        self.0.reply
    }

    /// What an earlier attempt stored last with [`Turn::checkpoint`]; `None` when there is nothing of this type.
    #[must_use]
    pub fn progress<T: DeserializeOwned>(&self) -> Option<T> {
        self.0.note.as_ref()?.parse().ok()
    }

    /// Stores how far the turn is, such as the id of a response and the last event seen, for the next attempt if there
    /// is one. It replaces what was stored before, and returns when the queue has it.
    ///
    /// # Errors
    ///
    /// [`TurnOver`], also when the value cannot be JSON. Stop working.
    pub async fn checkpoint<T: Serialize + ?Sized>(&self, progress: &T) -> Result<(), TurnOver> {
        let json = RawJson::from_value(progress).map_err(|_| TurnOver)?;
        let (stored, wait) = oneshot::channel();
        self.0.notes.send(Note { json, stored }).await.map_err(|_| TurnOver)?;
        wait.await.map_err(|_| TurnOver)
    }

    /// Shows something before the answer is ready: it becomes the content of the placeholder. Several within two
    /// seconds become one update; the latest counts. Does nothing with `deliveryMode: expectReplies`.
    pub fn show(&self, activity: Activity) {
        self.0.shows.send_replace(Some(activity));
    }

    /// Shows more of the answer's text, where the answer is a [`Reply::Stream`] or a response with `deliveryMode: stream`;
    /// elsewhere the user sees that the bot is typing. The text of the answer must begin with everything that was pushed; when it does not, the message is
    /// changed in the end.
    pub fn push(&self, delta: &str) {
        self.0.texts.send_modify(|text| text.push_str(delta));
    }

    /// [Pushes](Self::push) deltas as they come, and returns their whole text. When the user presses Stop, the handler
    /// is dropped here and the deltas with it, which cancels what makes them.
    ///
    /// ```
    /// # use botframework_activity::*;
    /// async fn answer<S>(turn: Turn, deltas: S) -> Result<Outcome, HandlerError>
    /// where
    ///     S: futures_core::Stream<Item = Result<String, std::io::Error>>,
    /// {
    ///     let text = turn.stream(deltas).await?;
    ///     Ok(Activity::message(text).into())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The first error among the deltas; what came before it has been shown.
    pub async fn stream<S, E>(&self, deltas: S) -> Result<String, E>
    where
        S: Stream<Item = Result<String, E>>,
    {
        let mut deltas = pin!(deltas);
        let mut text = String::new();
        while let Some(delta) = poll_fn(|cx| deltas.as_mut().poll_next(cx)).await {
            let delta = delta?;
            self.push(&delta);
            text.push_str(&delta);
        }
        Ok(text)
    }

    /// Whether nobody waits for the turn any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.notes.is_closed()
    }

    /// Returns when nobody waits for the turn any more.
    ///
    /// The handler itself is dropped then; this is for what it has started elsewhere.
    pub async fn cancelled(&self) {
        self.0.notes.closed().await;
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("activity", &self.0.activity)
            .field("attempt", &self.0.attempt)
            .field("reply", &self.0.reply)
            .finish_non_exhaustive()
    }
}

/// What the host is asked to put into words; see [`TurnRunnerBuilder::start`](crate::TurnRunnerBuilder::start).
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// The turn takes longer: the text of the placeholder.
    Working,
    /// The conversation is busy and this message was not taken.
    Busy,
    /// The handler reported this error.
    Failed(&'a (dyn StdError + Send + Sync + 'static)),
    /// The handler panicked.
    Panicked,
    /// The handler took too long.
    TimedOut,
    /// The turn was given up: the process stops and nobody else has the turn, or it failed at every attempt.
    Abandoned,
}

impl Notice<'_> {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Busy => "busy",
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed-out",
            Self::Abandoned => "abandoned",
        }
    }
}
