use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::Namespace;

use super::record::Progress;
use crate::{ConversationKey, VerifiedActivity};

/// The port for turns that have been accepted and must not be lost: a queue of lanes, one lane a conversation.
///
/// The contract (the suite behind feature `conformance` checks it):
///
/// - Accepting is atomic with the check for duplicates: of all `accept`s of one [`TurnId`] within 24 hours exactly one
///   is [`Accepted::New`]. A refused turn leaves no trace.
/// - Turns of a lane are leased in the order of acceptance, one at a time; lanes do not wait for each other.
/// - A lease that is not renewed by a checkpoint within its time is handed back: the turn is leased again, first in its
///   lane, with the progress that was stored last and the next attempt number.
/// - Checkpoint and finish are fenced: whoever has lost the lease gets [`QueueErrorKind::LeaseLost`] and changes nothing.
#[async_trait]
pub trait TurnQueue: fmt::Debug + Send + Sync + 'static {
    /// Takes a turn in, unless it was taken before or its lane is full.
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError>;

    /// Leases the next turn; waits for one at most `wait`. Dropping the future loses no turn.
    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError>;

    /// Renews a lease, and stores the progress when there is one to store. `None` leaves what was stored before.
    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError>;

    /// Ends a lease.
    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError>;
}

#[async_trait]
impl<T: TurnQueue + ?Sized> TurnQueue for Arc<T> {
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError> {
        (**self).accept(turn).await
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        (**self).lease(wait).await
    }

    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError> {
        (**self).checkpoint(lease, progress).await
    }

    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError> {
        (**self).finish(lease, end).await
    }
}

/// Names one turn; two deliveries of one activity have one name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnId(Box<str>);

impl TurnId {
    /// A name of one's own. It must be unique across conversations, tenants and bots.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The name of the turn that answers this activity; `None` when the activity has no id.
    #[must_use]
    pub fn of(activity: &VerifiedActivity) -> Option<Self> {
        Self::within(&activity.conversation_key(), activity)
    }

    /// The same, for whoever knows the conversation already.
    pub(super) fn within(conversation: &ConversationKey, activity: &VerifiedActivity) -> Option<Self> {
        let id = activity.id.as_deref().filter(|id| !id.is_empty())?;
        Some(Self::in_conversation(conversation, "activity", id))
    }

    /// The name of a turn that continues something in this conversation, such as a message that waited for a sign-in.
    #[must_use]
    pub fn resume(conversation: &ConversationKey, id: &str) -> Self {
        Self::in_conversation(conversation, "resume", id)
    }

    fn in_conversation(conversation: &ConversationKey, kind: &str, id: &str) -> Self {
        Self(format!("{kind}:{}", joined(conversation.parts().chain([id]))).into())
    }

    /// The name as text. It can hold a user's id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names one lane: the turns of one conversation, which run one after the other.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(Box<str>);

impl Lane {
    /// A name of one's own.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The name as text. It can hold a user's id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&ConversationKey> for Lane {
    fn from(conversation: &ConversationKey) -> Self {
        Self(joined(conversation.parts()).into())
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    Namespace::precious("turns").partition(parts).id().to_owned()
}

/// Shows nothing: a name can hold a user's id.
impl fmt::Debug for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnId")
    }
}

/// Shows nothing: a name can hold a user's id.
impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane")
    }
}

/// A turn to be accepted.
#[derive(Clone)]
#[non_exhaustive]
pub struct NewTurn {
    /// Its name.
    pub id: TurnId,
    /// Its lane.
    pub lane: Lane,
    /// What the queue keeps. Already sealed: a queue needs to know nothing about it.
    pub payload: Bytes,
    /// How many turns may be in the lane with this one, the running one included. Default 20.
    pub lane_limit: usize,
    /// The activity itself, instead of a payload, for a queue that never leaves this process.
    pub(super) carried: Option<VerifiedActivity>,
}

/// How many turns a lane holds unless the turn says otherwise.
pub(super) const LANE_LIMIT: usize = 20;

impl NewTurn {
    /// A turn with the default limit for its lane.
    #[must_use]
    pub fn new(id: TurnId, lane: Lane, payload: impl Into<Bytes>) -> Self {
        Self { id, lane, payload: payload.into(), lane_limit: LANE_LIMIT, carried: None }
    }

    /// A turn that carries its activity as it is.
    pub(super) fn carrying(id: TurnId, lane: Lane, activity: VerifiedActivity) -> Self {
        Self { carried: Some(activity), ..Self::new(id, lane, Bytes::new()) }
    }

    /// How many bytes the queue keeps of it.
    pub(super) fn size(&self) -> usize {
        self.carried.as_ref().map_or(0, VerifiedActivity::size).saturating_add(self.payload.len())
    }

    /// Sets how many turns may be in the lane, this one included. 1 refuses a turn while another runs.
    #[must_use]
    pub const fn lane_limit(mut self, turns: usize) -> Self {
        self.lane_limit = turns;
        self
    }
}

/// Shows the size of the payload only.
impl fmt::Debug for NewTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTurn")
            .field("payload", &format_args!("<{} bytes>", self.payload.len()))
            .field("lane_limit", &self.lane_limit)
            .finish_non_exhaustive()
    }
}

/// What became of a turn that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Accepted {
    /// It is in the queue and will run.
    New,
    /// It was taken in the last 24 hours; nothing else happens.
    Duplicate,
    /// The conversation has too many turns already. It was not taken.
    LaneFull,
}

/// The right to run one turn, for a time. Not `Clone`: it ends when it is given to [`TurnQueue::finish`].
pub struct Lease {
    id: TurnId,
    lane: Lane,
    payload: Bytes,
    progress: Option<Bytes>,
    attempt: u32,
    fence: u64,
    ttl: Duration,
    carried: Option<VerifiedActivity>,
    /// How far the turn is, for a queue that never leaves this process.
    noted: Option<Arc<Progress>>,
}

impl Lease {
    /// A lease as a queue hands it out.
    ///
    /// `attempt` counts from 1; `fence` differs from that of every other lease of the lane; `ttl` is for how long the
    /// lease is good without a checkpoint.
    #[must_use]
    pub const fn new(id: TurnId, lane: Lane, payload: Bytes, attempt: u32, fence: u64, ttl: Duration) -> Self {
        Self { id, lane, payload, progress: None, attempt, fence, ttl, carried: None, noted: None }
    }

    /// The same lease with the activity that the turn carried, and how far it is.
    pub(super) fn with_own(mut self, carried: Option<VerifiedActivity>, noted: Option<Arc<Progress>>) -> Self {
        self.carried = carried;
        self.noted = noted;
        self
    }

    /// How far the turn is, when that was kept as it is.
    pub(super) fn noted(&self) -> Option<&Progress> {
        self.noted.as_deref()
    }

    /// The activity, when the turn carried it as it is.
    pub(super) const fn carried(&self) -> Option<&VerifiedActivity> {
        self.carried.as_ref()
    }

    /// The same lease with the progress that was stored last.
    #[must_use]
    pub fn with_progress(mut self, progress: Option<Bytes>) -> Self {
        self.progress = progress;
        self
    }

    /// The turn.
    #[must_use]
    pub const fn id(&self) -> &TurnId {
        &self.id
    }

    /// Its lane.
    #[must_use]
    pub const fn lane(&self) -> &Lane {
        &self.lane
    }

    /// What was accepted.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The progress as it was when the lease began.
    #[must_use]
    pub const fn progress(&self) -> Option<&Bytes> {
        self.progress.as_ref()
    }

    /// How many times the turn has been leased, this time included.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What tells this lease from every other of its lane.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// For how long the lease is good after it began and after each checkpoint.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("attempt", &self.attempt).field("fence", &self.fence).finish_non_exhaustive()
    }
}

/// How a lease ends.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The turn is over.
    Done,
    /// The turn shall run again, first in its lane, not before that time has passed.
    Again {
        /// How long the lane rests.
        after: Duration,
    },
    /// The turn failed for good.
    Dead,
}

/// Why a queue could not do it. Cheap to clone.
#[derive(Clone)]
pub struct QueueError {
    kind: QueueErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueErrorKind {
    /// The queue cannot be reached, or is being shut down. Answer 503, so that the channel sends again.
    Unavailable,
    /// The queue did not answer in time; the turn may have been taken. Answer 503.
    Timeout,
    /// The queue has no room left. Answer 503; the operator.
    Full,
    /// The record is larger than the queue takes, or cannot be sealed. Do not retry; the developer.
    TooLarge,
    /// The lease was lost: it ran out, or another worker has the turn. Stop working on it.
    LeaseLost,
    /// An invoke is answered at once and never queued. The developer.
    NotATurn,
}

impl QueueError {
    /// An error with what caused it. The source must hold no payload and no id.
    pub fn new(kind: QueueErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)) }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> QueueErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anyone acting.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, QueueErrorKind::Unavailable | QueueErrorKind::Timeout | QueueErrorKind::Full)
    }
}

impl From<QueueErrorKind> for QueueError {
    fn from(kind: QueueErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Debug for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            QueueErrorKind::Unavailable => "the turn queue is not available",
            QueueErrorKind::Timeout => "the turn queue did not answer in time",
            QueueErrorKind::Full => "the turn queue has no room left",
            QueueErrorKind::TooLarge => "the turn cannot be put into the queue",
            QueueErrorKind::LeaseLost => "the lease of the turn was lost",
            QueueErrorKind::NotATurn => "an invoke is not queued",
        })
    }
}

impl StdError for QueueError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
