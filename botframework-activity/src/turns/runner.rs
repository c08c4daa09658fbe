use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use entra_auth::{CorrelationId, Sealer};
use tokio::{
    select,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::Instrument as _;

use super::{
    Accepted, HandlerError, Lane, MemoryTurnQueue, NewTurn, Notice, Outcome, QueueError, QueueErrorKind, Reply, Turn,
    TurnId, TurnQueue, events, queue::LANE_LIMIT, record::payload_place, turn::Hooks, work,
};
use crate::{
    Activity, ActivityType, ChannelPolicy, ConnectorClient, DeliveryMode, ExpectedReplies, ReplyEvents,
    VerifiedActivity,
};

/// Runs turns: takes activities in, leases them one by one for each conversation, runs the handler under a deadline and
/// delivers what it answers.
///
/// The promise: no turn that was accepted is lost while the queue keeps it, and no turn is answered twice. A clone is
/// the same runner. Call [`TurnRunner::shutdown`] before the process ends.
///
/// ```
/// # use botframework_activity::*;
/// # async fn f(authenticator: ChannelAuthenticator, connector: ConnectorClient, activity: VerifiedActivity)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let runner = TurnRunner::in_memory(MemoryTurnQueue::default(), authenticator.policy().clone(), connector).start(
///     |turn: Turn| async move {
///         let text = turn.activity().text.clone().unwrap_or_default();
///         Ok(Outcome::answer(Activity::message(format!("You said: {text}"))))
///     },
///     |notice, _activity| match notice {
///         Notice::Working => Some(Activity::message("One moment …")),
///         Notice::Busy => Some(Activity::message("I am still busy with your last message.")),
///         _ => Some(Activity::message("Sorry, that did not work.")),
///     },
/// );
/// match runner.accept(&activity).await? {
///     Received::Replies(replies) => println!("200 with {} answers", replies.activities.len()),
///     Received::Events(events) => println!("200 with the body {events:?}"),
///     _ => println!("200"),
/// }
/// runner.shutdown(std::time::Duration::from_secs(25)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TurnRunner(Arc<Inner>);

pub(super) struct Inner {
    pub(super) queue: Arc<dyn TurnQueue>,
    /// The same queue, when what it holds is lost with the process.
    pub(super) memory: Option<MemoryTurnQueue>,
    pub(super) sealer: Sealer,
    pub(super) policy: ChannelPolicy,
    pub(super) connector: ConnectorClient,
    pub(super) handler: Handler,
    pub(super) voice: Voice,
    pub(super) settings: Settings,
    pub(super) phase: watch::Sender<Phase>,
    /// One permit a running turn.
    turns: Arc<Semaphore>,
    /// One permit a busy text under way.
    notices: Arc<Semaphore>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

type Handler = Arc<dyn Fn(Turn) -> Pin<Box<dyn Future<Output = Result<Outcome, HandlerError>> + Send>> + Send + Sync>;
type Voice = Arc<dyn Fn(Notice<'_>, &VerifiedActivity) -> Option<Activity> + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    concurrency: u32,
    pub(super) turn_timeout: Duration,
    /// When the placeholder is sent; `None` for never.
    pub(super) first_send: Option<Duration>,
    overlap: Overlap,
    pub(super) max_attempts: u32,
    /// Answers grow where the chat takes it.
    pub(super) streaming: bool,
}

/// Where the runner is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Nothing is accepted; what runs may end.
    Stopping,
    /// What still runs is given up.
    Abandoning,
}

/// What a message gets that arrives while a turn of its conversation runs.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It is not taken; the user is told with [`Notice::Busy`].
    Reject,
}

/// What became of an activity. Answer the request with 200 in every case.
#[non_exhaustive]
#[derive(Debug)]
#[must_use]
pub enum Received {
    /// It is in the queue; the answer will be a message.
    Queued,
    /// It was received before; nothing else happens.
    Duplicate,
    /// The conversation has too many turns; the user is being told with [`Notice::Busy`].
    Busy,
    /// The answers, which are the body of the response (`deliveryMode: expectReplies`).
    Replies(ExpectedReplies),
    /// The answers as they come, which are the body of the response (`deliveryMode: stream`). The turn is given up when
    /// it is dropped.
    Events(ReplyEvents),
}

/// How long a request waits for the queue, so that the channel gets its answer in time.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one call waits for a turn.
const LEASE_WAIT: Duration = Duration::from_secs(5);
/// The pause after the queue could not be reached.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
/// How often a stopping runner looks whether the queue is empty.
const STOPPING_WAIT: Duration = Duration::from_millis(100);
/// How long apologies and returns to the queue may take at the end.
const FAREWELL: Duration = Duration::from_secs(10);
/// Busy texts under way at once; beyond that users are not told.
const NOTICES: u32 = 64;

impl TurnRunner {
    /// A runner over a queue in this process. What is queued is lost with the process, so users are told when the
    /// process stops before it is done.
    ///
    /// The answer is the first message when it is ready before [`TurnRunnerBuilder::ack_threshold`]; otherwise a
    /// placeholder is, and the answer replaces it.
    pub fn in_memory(queue: MemoryTurnQueue, policy: ChannelPolicy, connector: ConnectorClient) -> TurnRunnerBuilder {
        let mut builder = Self::durable(Arc::new(queue.clone()), Sealer::ephemeral(), policy, connector);
        builder.memory = Some(queue);
        builder.settings.first_send = Some(Duration::from_secs(10));
        builder
    }

    /// A runner over a queue that outlives this process. Records are sealed; all workers need the same keys.
    ///
    /// The first message is always a placeholder, so that the answer can be delivered again after a crash without
    /// being seen twice. What is not done when the process stops goes back to the queue.
    pub fn durable(
        queue: Arc<dyn TurnQueue>,
        sealer: Sealer,
        policy: ChannelPolicy,
        connector: ConnectorClient,
    ) -> TurnRunnerBuilder {
        let settings = Settings {
            concurrency: 512,
            turn_timeout: Duration::from_secs(300),
            first_send: Some(Duration::ZERO),
            overlap: Overlap::Queue,
            max_attempts: 3,
            streaming: false,
        };
        TurnRunnerBuilder { queue, memory: None, sealer, policy, connector, settings }
    }

    /// Takes an activity in. Returns as soon as the queue has it, whatever handlers are doing.
    ///
    /// The exceptions are `deliveryMode: expectReplies` and `stream`: the answer is the body of the response, so the
    /// handler runs at once, outside the queue, and is waited for. Such a request is not recognised as a duplicate.
    ///
    /// # Errors
    ///
    /// Answer 503 to [`QueueError::is_retryable`], so that the channel sends again. [`QueueErrorKind::NotATurn`] for an
    /// invoke, which is answered by other means.
    pub async fn accept(&self, activity: &VerifiedActivity) -> Result<Received, QueueError> {
        self.check_running()?;
        if activity.kind == ActivityType::INVOKE {
            return Err(QueueErrorKind::NotATurn.into());
        }
        if activity.delivery_mode == Some(DeliveryMode::EXPECT_REPLIES) {
            return self.inline(activity).await.map(Received::Replies);
        }
        if activity.delivery_mode == Some(DeliveryMode::STREAM) {
            return self.streamed(activity).await.map(Received::Events);
        }
        let limit = match self.0.settings.overlap {
            Overlap::Queue => LANE_LIMIT,
            Overlap::Reject => 1,
        };
        // An activity without an id cannot be recognised when it comes again.
        let conversation = activity.conversation_key();
        let id = TurnId::within(&conversation, activity)
            .unwrap_or_else(|| TurnId::new(format!("once:{}", CorrelationId::random())));
        Ok(match self.offer(id, Lane::from(&conversation), activity, limit).await? {
            Accepted::New => Received::Queued,
            Accepted::Duplicate => Received::Duplicate,
            Accepted::LaneFull => {
                self.tell_busy(activity);
                Received::Busy
            }
        })
    }

    /// Takes an activity in that was put away earlier, for example until its user had signed in. It waits its turn
    /// whatever [`Overlap`] says.
    ///
    /// `id` names what is resumed within the conversation: of several calls with one id only the first has an effect.
    ///
    /// # Errors
    ///
    /// As [`TurnRunner::accept`]. After an error the call may be repeated with the same id.
    pub async fn resume(&self, id: &str, activity: &VerifiedActivity) -> Result<Accepted, QueueError> {
        self.check_running()?;
        let conversation = activity.conversation_key();
        let id = TurnId::resume(&conversation, id);
        self.offer(id, Lane::from(&conversation), activity, LANE_LIMIT).await
    }

    /// Stops: nothing more is accepted, running turns have `grace` to end, and what is left then goes back to the
    /// queue. With a queue in memory, turns that wait are run as well as long as the grace lasts, and users of the rest
    /// get [`Notice::Abandoned`]. Returns at most ten seconds after the grace.
    pub async fn shutdown(&self, grace: Duration) {
        self.advance(Phase::Stopping);
        let in_time = timeout(grace, self.ended()).await.is_ok();
        // What was being accepted at that moment may have come too late for the dispatcher.
        let left = || self.0.memory.as_ref().map_or(0, MemoryTurnQueue::len);
        if !in_time || left() > 0 {
            self.advance(Phase::Abandoning);
            if timeout(FAREWELL, self.given_up()).await.is_err() {
                tracing::error!("turns did not stop in time");
            }
        }
        if left() > 0 {
            tracing::error!(turns = left(), "turns are lost with this process");
        }
    }

    async fn ended(&self) {
        let mut dispatcher = self.0.dispatcher.lock().await;
        if let Some(task) = dispatcher.as_mut() {
            let _ = task.await;
            *dispatcher = None;
        }
        let _ = self.0.turns.acquire_many(self.0.settings.concurrency).await;
        let _ = self.0.notices.acquire_many(NOTICES).await;
    }

    async fn given_up(&self) {
        self.ended().await;
        if let Some(memory) = &self.0.memory {
            while let Ok(Some(lease)) = memory.lease(Duration::ZERO).await {
                Box::pin(work::give_up(&self.0, lease)).await;
            }
        }
    }

    fn advance(&self, to: Phase) {
        self.0.phase.send_if_modified(|phase| {
            let later = !matches!((*phase, to), (Phase::Abandoning, _) | (Phase::Stopping, Phase::Stopping));
            if later {
                *phase = to;
            }
            later
        });
    }

    fn check_running(&self) -> Result<(), QueueError> {
        match *self.0.phase.borrow() {
            Phase::Running => Ok(()),
            Phase::Stopping | Phase::Abandoning => Err(QueueErrorKind::Unavailable.into()),
        }
    }

    async fn offer(
        &self,
        id: TurnId,
        lane: Lane,
        activity: &VerifiedActivity,
        limit: usize,
    ) -> Result<Accepted, QueueError> {
        let turn = if self.0.memory.is_some() {
            NewTurn::carrying(id, lane, activity.clone())
        } else {
            let payload = activity
                .seal(&self.0.sealer, &payload_place(&lane, &id))
                .map_err(|error| QueueError::new(QueueErrorKind::TooLarge, error))?;
            NewTurn::new(id, lane, payload)
        };
        let turn = turn.lane_limit(limit);
        let result = timeout(ACCEPT_TIMEOUT, self.0.queue.accept(turn)).await;
        let result = result.unwrap_or_else(|_| Err(QueueErrorKind::Timeout.into()));
        match &result {
            Ok(accepted) => tracing::debug!(?accepted, "turn offered"),
            Err(error) => tracing::error!(%error, "a turn was not accepted"),
        }
        result
    }

    async fn inline(&self, activity: &VerifiedActivity) -> Result<ExpectedReplies, QueueError> {
        let (turn, permit) = self.inline_turn(activity).await?;
        let replies = Box::pin(work::inline(&self.0, turn)).await;
        drop(permit);
        Ok(replies)
    }

    async fn streamed(&self, activity: &VerifiedActivity) -> Result<ReplyEvents, QueueError> {
        let (turn, permit) = self.inline_turn(activity).await?;
        let (replies, events) = ReplyEvents::channel();
        let shared = Arc::clone(&self.0);
        tokio::spawn(
            async move {
                Box::pin(events::run(&shared, turn, replies)).await;
                drop(permit);
            }
            .in_current_span(),
        );
        Ok(events)
    }

    async fn inline_turn(
        &self,
        activity: &VerifiedActivity,
    ) -> Result<((Turn, Hooks), OwnedSemaphorePermit), QueueError> {
        let permit = Arc::clone(&self.0.turns).acquire_owned().await.map_err(|_| QueueErrorKind::Unavailable)?;
        self.check_running()?;
        let id = TurnId::of(activity).unwrap_or_else(|| TurnId::new(format!("once:{}", CorrelationId::random())));
        Ok((Turn::new(activity.clone(), id, 1, Reply::Inline, None), permit))
    }

    fn tell_busy(&self, activity: &VerifiedActivity) {
        let Ok(permit) = Arc::clone(&self.0.notices).try_acquire_owned() else {
            tracing::warn!("too many conversations are busy to tell them all");
            return;
        };
        let Some(text) = (self.0.voice)(Notice::Busy, activity) else { return };
        let (connector, activity) = (self.0.connector.clone(), activity.clone());
        tokio::spawn(async move {
            if let Err(error) = connector.send(activity.service_url(), &text.reply_to(&activity)).await {
                tracing::warn!(%error, "a busy text was not sent");
            }
            drop(permit);
        });
    }
}

impl Inner {
    /// Whether no more turns are leased.
    fn is_over(&self) -> bool {
        match *self.phase.borrow() {
            Phase::Running => false,
            Phase::Stopping => self.memory.as_ref().is_none_or(MemoryTurnQueue::is_empty),
            Phase::Abandoning => true,
        }
    }

    /// Leases turns as long as there is room, and starts them.
    async fn dispatch(self: Arc<Self>) {
        let mut phase = self.phase.subscribe();
        while !self.is_over() {
            let wait = if *phase.borrow_and_update() == Phase::Running { LEASE_WAIT } else { STOPPING_WAIT };
            let permit = select! {
                biased;
                _ = phase.changed() => continue,
                permit = Arc::clone(&self.turns).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            // Dropping the call loses no turn.
            let lease = select! {
                biased;
                _ = phase.changed() => continue,
                lease = self.queue.lease(wait) => lease,
            };
            match lease {
                Ok(Some(lease)) => {
                    let shared = Arc::clone(&self);
                    tokio::spawn(async move {
                        work::run(&shared, lease).await;
                        drop(permit);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "no turn could be leased");
                    drop(permit);
                    sleep(QUEUE_PAUSE).await;
                }
            }
        }
    }
}

impl fmt::Debug for TurnRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnRunner")
            .field("queue", &self.0.queue)
            .field("settings", &self.0.settings)
            .field("phase", &*self.0.phase.borrow())
            .finish_non_exhaustive()
    }
}

/// Settings of a [`TurnRunner`].
#[derive(Debug)]
#[must_use]
pub struct TurnRunnerBuilder {
    queue: Arc<dyn TurnQueue>,
    memory: Option<MemoryTurnQueue>,
    sealer: Sealer,
    policy: ChannelPolicy,
    connector: ConnectorClient,
    settings: Settings,
}

impl TurnRunnerBuilder {
    /// Sets how many turns run at once, at least 1. Default 512.
    pub fn concurrency(mut self, turns: u32) -> Self {
        self.settings.concurrency = turns.max(1);
        self
    }

    /// Sets how long a handler may take, at each attempt. Default 5 min.
    pub const fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.settings.turn_timeout = timeout;
        self
    }

    /// Sets after which time a placeholder is sent, for a queue in memory; `None` for never. Default 10 s. Over a
    /// durable queue the placeholder always comes first.
    pub const fn ack_threshold(mut self, threshold: Option<Duration>) -> Self {
        if self.memory.is_some() {
            self.settings.first_send = threshold;
        }
        self
    }

    /// Sets what a message gets that arrives while a turn of its conversation runs. Default [`Overlap::Queue`].
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.settings.overlap = overlap;
        self
    }

    /// Whether answers grow before the user's eyes in personal chats of Teams and Copilot. Then the first message is the
    /// beginning of the answer, which begins with the first [`Turn::push`] or [`Turn::show`]; a handler that does
    /// neither answers as without it. Default no.
    pub const fn streaming(mut self, streaming: bool) -> Self {
        self.settings.streaming = streaming;
        self
    }

    /// Sets how often a turn is tried before it is given up: after a lease was lost, a handler asked for it, or an
    /// answer could not be delivered. At least 1, default 3.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts.max(1);
        self
    }

    /// Starts the runner in the current tokio runtime.
    ///
    /// `handler` answers one turn. It runs in a task of its own: a panic, an error or too long a wait end the turn with
    /// an apology and free the conversation. It is dropped when its time is up or its lease is lost.
    ///
    /// `voice` puts into words what the runner has to say itself; `None` says nothing. It is called often and must not
    /// block.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start<H, F, V>(self, handler: H, voice: V) -> TurnRunner
    where
        H: Fn(Turn) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Outcome, HandlerError>> + Send + 'static,
        V: Fn(Notice<'_>, &VerifiedActivity) -> Option<Activity> + Send + Sync + 'static,
    {
        // More permits than a semaphore holds cannot be meant.
        let concurrency = self.settings.concurrency.min(1 << 20);
        let inner = Arc::new(Inner {
            queue: self.queue,
            memory: self.memory,
            sealer: self.sealer,
            policy: self.policy,
            connector: self.connector,
            handler: Arc::new(move |turn| Box::pin(handler(turn))),
            voice: Arc::new(voice),
            settings: Settings { concurrency, ..self.settings },
            phase: watch::Sender::new(Phase::Running),
            turns: Arc::new(Semaphore::new(concurrency as usize)),
            notices: Arc::new(Semaphore::new(NOTICES as usize)),
            dispatcher: Mutex::new(None),
        });
        let dispatcher = tokio::spawn(Arc::clone(&inner).dispatch());
        if let Ok(mut slot) = inner.dispatcher.try_lock() {
            *slot = Some(dispatcher);
        }
        TurnRunner(inner)
    }
}
