//! One leased turn: the handler runs, the lease is kept, and everything that is sent is sent from here.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    select,
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::Instrument as _;

use super::{
    End, Lease, Notice, Outcome, QueueErrorKind, Reply, Turn, TurnQueue,
    record::{Progress, payload_place},
    runner::{Inner, Phase},
    turn::{HandlerError, Hooks},
};
use crate::{
    Activity, ExpectedReplies, SendError, SendErrorKind, VerifiedActivity,
    streaming::{Closing, Kind, StreamPace, StreamState, is_passing, may_stream, send_piece},
};

/// The least time between two updates of a placeholder: half of what a conversation may take in an hour.
const UPDATE_GAP: Duration = Duration::from_secs(2);
/// How long a turn rests after a delivery that may be repeated, unless the service says otherwise.
const DELIVERY_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a stream over a durable queue waits for the first words of its answer before it says that work goes on.
const STREAM_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a leased turn to its end.
pub(super) async fn run(shared: &Inner, lease: Lease) {
    let started = Instant::now();
    let span = tracing::info_span!("turn", attempt = lease.attempt());
    async {
        let hold = Hold::new(&lease);
        let end = select! {
            biased;
            end = Box::pin(work(shared, &lease, &hold)) => end,
            () = keep(&*shared.queue, &lease, &hold) => Err(Lost),
        };
        match end {
            Ok(end) => {
                let elapsed = started.elapsed().as_millis();
                tracing::debug!(end = ?end, duration.ms = u64::try_from(elapsed).unwrap_or(u64::MAX), "turn ended");
                finish(shared, lease, end).await;
            }
            Err(Lost) => tracing::warn!("the lease was lost; the turn goes on elsewhere"),
        }
    }
    .instrument(span)
    .await;
}

/// Says goodbye to a turn that will not run, and ends it.
pub(super) async fn give_up(shared: &Inner, lease: Lease) {
    let hold = Hold::new(&lease);
    let end = match Job::open(shared, &lease, &hold) {
        Ok(mut job) => Box::pin(job.apologise(Notice::Abandoned)).await.unwrap_or(End::Dead),
        Err(end) => end,
    };
    let end = if matches!(end, End::Again { .. }) { End::Dead } else { end };
    finish(shared, lease, end).await;
}

/// Runs a turn whose answer is the body of the response.
pub(super) async fn inline(shared: &Inner, turn: (Turn, Hooks)) -> ExpectedReplies {
    let (turn, mut hooks) = turn;
    let activity = turn.activity().clone();
    let mut task = Handler::start(shared, turn);
    let end = Instant::now() + shared.settings.turn_timeout;
    let mut phase = shared.phase.subscribe();
    let stopped = loop {
        select! {
            biased;
            result = &mut task.0 => break Stopped::Ended(result),
            () = sleep_until(end) => break Stopped::TimedOut,
            () = abandoned(&mut phase) => break Stopped::Abandoned,
            Some(note) = hooks.notes.recv() => drop(note.stored.send(())),
        }
    };
    drop(hooks);
    ExpectedReplies {
        activities: inline_answer(shared, &activity, stopped)
            .into_iter()
            .map(|answer| answer.reply_to(&activity))
            .collect(),
        ..ExpectedReplies::default()
    }
}

/// What goes into the response of a turn that ended so.
pub(super) fn inline_answer(shared: &Inner, activity: &VerifiedActivity, stopped: Stopped) -> Option<Activity> {
    let say = |notice: Notice<'_>| {
        tracing::warn!(notice = notice.as_str(), "a turn was not answered");
        (shared.voice)(notice, activity)
    };
    match stopped.verdict() {
        Verdict::Outcome(Outcome::Answer(answer)) => Some(*answer),
        Verdict::Outcome(Outcome::Silent | Outcome::Parked) => None,
        Verdict::Outcome(Outcome::Again { .. }) | Verdict::Abandoned => say(Notice::Abandoned),
        Verdict::Failed(error) => {
            log_failure(&*error);
            say(Notice::Failed(&*error))
        }
        Verdict::Panicked => say(Notice::Panicked),
        Verdict::TimedOut => say(Notice::TimedOut),
        Verdict::StoppedByUser => None,
    }
}

/// The lease is lost: somebody else has the turn.
#[derive(Debug)]
struct Lost;

/// Until when the lease is surely ours.
struct Hold {
    ttl: Duration,
    until: Mutex<Instant>,
}

impl Hold {
    fn new(lease: &Lease) -> Self {
        let hold = Self { ttl: lease.ttl(), until: Mutex::new(Instant::now()) };
        hold.renewed(Instant::now());
        hold
    }

    /// A checkpoint succeeded that was begun then. A tenth of the time is left for clocks and for what is under way.
    fn renewed(&self, begun: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = begun + self.ttl.mul_f32(0.9);
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be asked before anything is sent.
    fn check(&self) -> Result<(), Lost> {
        if Instant::now() < self.until() { Ok(()) } else { Err(Lost) }
    }
}

/// Returns when running turns are given up.
pub(super) async fn abandoned(phase: &mut watch::Receiver<Phase>) {
    // The other end lives as long as the runner does.
    let _ = phase.wait_for(|phase| *phase == Phase::Abandoning).await;
}

/// Renews the lease; returns when it is lost.
async fn keep(queue: &dyn TurnQueue, lease: &Lease, hold: &Hold) {
    loop {
        sleep(lease.ttl() / 3).await;
        loop {
            let begun = Instant::now();
            match timeout_at(hold.until(), queue.checkpoint(lease, None)).await {
                Ok(Ok(())) => {
                    hold.renewed(begun);
                    break;
                }
                Ok(Err(error)) if error.kind() == QueueErrorKind::LeaseLost => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    sleep(lease.ttl() / 20).await;
                }
                Err(_) => {}
            }
            if hold.check().is_err() {
                return;
            }
        }
    }
}

async fn finish(shared: &Inner, lease: Lease, end: End) {
    // A lease cannot be given twice: what fails here runs out and is handed back, and the progress says how far it was.
    if let Err(error) = shared.queue.finish(lease, end).await {
        tracing::warn!(%error, "the end of a turn could not be stored");
    }
}

async fn work(shared: &Inner, lease: &Lease, hold: &Hold) -> Result<End, Lost> {
    let mut job = match Job::open(shared, lease, hold) {
        Ok(job) => job,
        Err(end) => return Ok(end),
    };
    if let Some(answer) = job.progress.answer.take() {
        return job.deliver(answer, End::Done).await;
    }
    if lease.attempt() > shared.settings.max_attempts {
        return job.apologise(Notice::Abandoned).await;
    }
    match job.handle().await? {
        Verdict::Outcome(Outcome::Answer(answer)) => job.deliver(*answer, End::Done).await,
        Verdict::Outcome(Outcome::Silent | Outcome::Parked) => {
            job.take_placeholder_away().await?;
            Ok(End::Done)
        }
        Verdict::Outcome(Outcome::Again { after }) => Ok(End::Again { after }),
        Verdict::Failed(error) => {
            log_failure(&*error);
            job.apologise(Notice::Failed(&*error)).await
        }
        Verdict::Panicked => job.apologise(Notice::Panicked).await,
        Verdict::TimedOut => job.apologise(Notice::TimedOut).await,
        // What was shown stands; another word would be one too many.
        Verdict::StoppedByUser => Ok(End::Done),
        Verdict::Abandoned if shared.memory.is_some() => job.apologise(Notice::Abandoned).await,
        Verdict::Abandoned => Ok(End::Again { after: Duration::ZERO }),
    }
}

fn log_failure(error: &(dyn std::error::Error + Send + Sync + 'static)) {
    let error: &(dyn std::error::Error + 'static) = error;
    tracing::warn!(error, "the handler of a turn failed");
}

/// Why nobody waits for the handler any more.
pub(super) enum Stopped {
    Ended(Result<Result<Outcome, HandlerError>, JoinError>),
    TimedOut,
    Abandoned,
    ByUser,
}

enum Verdict {
    Outcome(Outcome),
    Failed(HandlerError),
    Panicked,
    TimedOut,
    Abandoned,
    StoppedByUser,
}

impl Stopped {
    fn verdict(self) -> Verdict {
        match self {
            Self::Ended(Ok(Ok(outcome))) => Verdict::Outcome(outcome),
            Self::Ended(Ok(Err(error))) => Verdict::Failed(error),
            Self::Ended(Err(error)) if error.is_panic() => Verdict::Panicked,
            Self::Ended(Err(_)) | Self::Abandoned => Verdict::Abandoned,
            Self::TimedOut => Verdict::TimedOut,
            Self::ByUser => Verdict::StoppedByUser,
        }
    }
}

/// The handler in a task of its own: it can panic, block or be dropped without harm to the turn.
pub(super) struct Handler(pub(super) JoinHandle<Result<Outcome, HandlerError>>);

impl Handler {
    pub(super) fn start(shared: &Inner, turn: Turn) -> Self {
        let handler = shared.handler.clone();
        // Making the future is the handler's code too, so it happens inside the task.
        let task = async move { handler(turn).await };
        Self(tokio::spawn(task.in_current_span()))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A turn at work.
struct Job<'a> {
    shared: &'a Inner,
    lease: &'a Lease,
    hold: &'a Hold,
    activity: VerifiedActivity,
    progress: Progress,
    stream: StreamState,
    /// Whether a placeholder was tried.
    placed: bool,
}

impl<'a> Job<'a> {
    /// Opens what the queue kept; a record that cannot be used ends the turn.
    fn open(shared: &'a Inner, lease: &'a Lease, hold: &'a Hold) -> Result<Self, End> {
        let (lane, id) = (lease.lane(), lease.id());
        let activity = match lease.carried() {
            Some(activity) => activity.judged_by(&shared.policy),
            None => {
                let place = payload_place(lane, id);
                VerifiedActivity::restore(lease.payload(), &shared.sealer, &place, &shared.policy)
            }
        };
        let activity = activity.map_err(|error| {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::error!(error, "a queued turn cannot be restored");
            End::Dead
        })?;
        let progress = match lease.noted() {
            Some(noted) => Some(Some(noted.clone())),
            None => lease.progress().map(|sealed| Progress::open(sealed, &shared.sealer, lane, id)),
        };
        let progress = match progress {
            None => Progress::default(),
            Some(Some(progress)) => progress,
            Some(None) => {
                // Without it a second answer cannot be ruled out, and a lost turn is the smaller harm.
                tracing::error!("the progress of a turn cannot be read");
                return Err(End::Dead);
            }
        };
        let pace = StreamPace::default();
        let stream = match &progress.placeholder {
            Some(id) if progress.stream => StreamState::inherited(pace, id.clone()),
            None if shared.settings.streaming && may_stream(&activity) && !progress.creating => StreamState::new(pace),
            _ => StreamState::plain(pace),
        };
        Ok(Self { shared, lease, hold, activity, progress, stream, placed: false })
    }

    async fn handle(&mut self) -> Result<Verdict, Lost> {
        let settings = &self.shared.settings;
        let started = Instant::now();
        let (turn, mut hooks) = Turn::new(
            self.activity.clone(),
            self.lease.id().clone(),
            self.lease.attempt(),
            if self.stream.is_idle() { Reply::Stream } else { Reply::Message },
            self.progress.note.clone(),
        );
        let mut task = Handler::start(self.shared, turn);
        let mut phase = self.shared.phase.subscribe();
        let end = started + settings.turn_timeout;
        let mut first_send =
            settings.first_send.map(|wait| started + wait).filter(|_| self.progress.placeholder.is_none());
        if self.stream.is_idle() && self.shared.memory.is_none() {
            first_send = Some(started + STREAM_PATIENCE);
        }
        let mut next_update = started;
        let mut unseen = false;
        if first_send.is_some_and(|at| at <= started) {
            // Before the answer, however quick the handler is: what replaces a placeholder can be delivered again.
            first_send = None;
            let content = hooks.shows.borrow_and_update().clone();
            self.place(content).await?;
            next_update = Instant::now() + UPDATE_GAP;
        }
        let stopped = loop {
            let streams = self.stream.is_idle() || self.stream.id().is_some();
            let visible = self.progress.placeholder.is_some() && !streams;
            let due = self.stream.due().filter(|_| !visible);
            if self.stream.is_stopped() {
                break Stopped::ByUser;
            }
            if !streams && self.unplaced() {
                // The stream was refused: what replaces a placeholder can be delivered again.
                self.place(None).await?;
                next_update = Instant::now() + UPDATE_GAP;
                continue;
            }
            select! {
                biased;
                result = &mut task.0 => break Stopped::Ended(result),
                () = sleep_until(end) => break Stopped::TimedOut,
                () = abandoned(&mut phase) => break Stopped::Abandoned,
                Some(note) = hooks.notes.recv() => {
                    self.progress.note = Some(note.json);
                    self.save().await?;
                    let _ = note.stored.send(());
                }
                () = sleep_until(first_send.unwrap_or(end)), if first_send.is_some() => {
                    first_send = None;
                    unseen = false;
                    let content = hooks.shows.borrow_and_update().clone();
                    if streams {
                        self.inform(content);
                    } else {
                        self.place(content).await?;
                    }
                    next_update = Instant::now() + UPDATE_GAP;
                }
                Ok(()) = hooks.texts.changed() => self.stream.grow_to(&hooks.texts.borrow_and_update()),
                () = sleep_until(due.unwrap_or(end)), if due.is_some() => self.send_due().await?,
                Ok(()) = hooks.shows.changed(), if streams || !unseen => {
                    if streams {
                        let content = hooks.shows.borrow_and_update().clone();
                        self.inform(content);
                    } else {
                        unseen = true;
                    }
                }
                () = sleep_until(next_update), if unseen && visible => {
                    unseen = false;
                    let content = hooks.shows.borrow_and_update().clone();
                    self.update_placeholder(content).await?;
                    next_update = Instant::now() + UPDATE_GAP;
                }
            }
        };
        Ok(stopped.verdict())
    }

    /// Says in the stream what is being done.
    fn inform(&mut self, content: Option<Activity>) {
        let content = content.or_else(|| (self.shared.voice)(Notice::Working, &self.activity));
        if let Some(text) = content.and_then(|content| content.text) {
            self.stream.inform(text);
        }
    }

    /// Sends the next piece of the stream, and remembers the stream when it has just begun or ended.
    async fn send_due(&mut self) -> Result<(), Lost> {
        let Some(piece) = self.stream.next(Instant::now()) else { return Ok(()) };
        self.hold.check()?;
        let result = send_piece(&self.shared.connector, &self.activity, &piece).await;
        self.stream.answered(&piece, result.as_ref().map(Clone::clone), Instant::now());
        let begun = self.progress.placeholder.is_none();
        if begun && let Some(id) = self.stream.id() {
            self.progress.placeholder = Some(id.to_owned());
        } else if piece.kind != Kind::Close {
            return Ok(());
        }
        self.progress.stream = self.stream.is_open();
        self.save().await
    }

    /// Whether the answer would be a message that can be delivered only once, though the queue is durable.
    fn unplaced(&self) -> bool {
        self.shared.memory.is_none()
            && self.shared.settings.streaming
            && may_stream(&self.activity)
            && self.progress.placeholder.is_none()
            && !self.progress.creating
            && !self.placed
    }

    /// Puts up the placeholder. Without one the answer becomes a message of its own.
    async fn place(&mut self, content: Option<Activity>) -> Result<(), Lost> {
        self.placed = true;
        let content = content.or_else(|| (self.shared.voice)(Notice::Working, &self.activity));
        let Some(content) = content else { return Ok(()) };
        self.hold.check()?;
        match self.create(&content.reply_to(&self.activity)).await {
            Ok(id) => {
                self.progress.placeholder = id;
                self.save().await
            }
            Err(error) => {
                tracing::warn!(%error, "the placeholder was not sent");
                Ok(())
            }
        }
    }

    async fn update_placeholder(&self, content: Option<Activity>) -> Result<(), Lost> {
        let (Some(content), Some(id)) = (content, self.progress.placeholder.as_deref()) else { return Ok(()) };
        self.hold.check()?;
        let update = content.reply_to(&self.activity).with_id(id);
        if let Err(error) = self.shared.connector.update(self.activity.service_url(), &update).await {
            tracing::debug!(%error, "a placeholder was not updated");
        }
        Ok(())
    }

    async fn take_placeholder_away(&mut self) -> Result<(), Lost> {
        let Some(id) = self.progress.placeholder.take() else { return Ok(()) };
        self.hold.check()?;
        let conversation = self.activity.conversation_id().unwrap_or_default();
        let deleted = self.shared.connector.delete(self.activity.service_url(), conversation, &id).await;
        if let Err(error) = deleted {
            tracing::warn!(%error, "a placeholder was not taken away");
        }
        Ok(())
    }

    /// Answers a turn that has no answer of its own.
    async fn apologise(&mut self, notice: Notice<'_>) -> Result<End, Lost> {
        tracing::warn!(notice = notice.as_str(), "a turn was not answered");
        match (self.shared.voice)(notice, &self.activity) {
            Some(apology) => self.deliver(apology, End::Dead).await,
            None => {
                self.take_placeholder_away().await?;
                Ok(End::Dead)
            }
        }
    }

    /// Delivers the answer: in place of the placeholder, which can be repeated, or as a message, which cannot.
    async fn deliver(&mut self, mut answer: Activity, end: End) -> Result<End, Lost> {
        self.progress.answer = Some(answer.clone());
        if self.unplaced() {
            self.place(None).await?;
        }
        if self.progress.placeholder.is_some() && self.stream.is_open() {
            match self.close_stream(&answer).await? {
                Closed::Whole => return Ok(end),
                Closed::Later(error) => return Ok(self.later(&error)),
                Closed::Rest(rest) => {
                    self.progress.placeholder = None;
                    answer = *rest;
                }
                Closed::Update => {}
            }
        }
        let reply = answer.reply_to(&self.activity);
        if let Some(id) = self.progress.placeholder.clone() {
            self.save().await?;
            self.hold.check()?;
            let update = reply.clone().with_id(id);
            match self.shared.connector.update(self.activity.service_url(), &update).await {
                Ok(_) => return Ok(end),
                Err(error) if error.is_retryable() => return Ok(self.later(&error)),
                // The placeholder is gone, or this channel updates nothing.
                Err(error) if cannot_update(&error) => self.progress.placeholder = None,
                Err(error) => return Ok(undelivered(&error)),
            }
        }
        if self.progress.creating {
            tracing::error!("an earlier attempt may have delivered the answer; it is not sent again");
            return Ok(End::Dead);
        }
        self.progress.creating = true;
        self.save().await?;
        self.hold.check()?;
        match self.create(&reply).await {
            Ok(_) => Ok(end),
            // Nothing was sent.
            Err(error) if error.is_retryable() => {
                self.progress.creating = false;
                self.save().await?;
                Ok(self.later(&error))
            }
            Err(error) => Ok(undelivered(&error)),
        }
    }

    /// Gives the stream its final message, which can be repeated.
    async fn close_stream(&mut self, answer: &Activity) -> Result<Closed, Lost> {
        self.save().await?;
        loop {
            if let Some(due) = self.stream.last_due() {
                sleep_until(due).await;
            }
            let last = match self.stream.close(answer) {
                Closing::Final(last) => last.reply_to(&self.activity),
                Closing::Update(..) => return Ok(Closed::Update),
                Closing::Message(rest) => return Ok(Closed::Rest(Box::new(rest))),
                Closing::Nothing => return Ok(Closed::Whole),
            };
            self.hold.check()?;
            match self.shared.connector.send(self.activity.service_url(), &last).await {
                Ok(_) if self.stream.final_accepted(answer) => return Ok(Closed::Whole),
                Ok(_) => {
                    self.progress.stream = false;
                    self.save().await?;
                }
                Err(error) if is_passing(&error) => return Ok(Closed::Later(error)),
                Err(error) => self.stream.final_refused(&error),
            }
        }
    }

    /// Sends a message, in the thread of the message it answers where that has an id. Returns its id, if the service
    /// says one.
    async fn create(&self, message: &Activity) -> Result<Option<String>, SendError> {
        let (connector, url) = (&self.shared.connector, self.activity.service_url());
        let sent = match message.reply_to_id {
            Some(_) => connector.reply(url, message).await?,
            None => connector.send(url, message).await?,
        };
        Ok(sent.id().filter(|id| !id.is_empty()).map(str::to_owned))
    }

    fn later(&self, error: &SendError) -> End {
        if self.lease.attempt() >= self.shared.settings.max_attempts {
            return undelivered(error);
        }
        tracing::warn!(%error, "the answer will be delivered later");
        End::Again { after: error.retry_after().unwrap_or(DELIVERY_PAUSE).min(LONGEST_PAUSE) }
    }

    /// Stores how far the turn is. A queue that cannot be reached does not stop the turn; a lost lease does.
    async fn save(&self) -> Result<(), Lost> {
        let begun = Instant::now();
        let saved = async {
            if let Some(memory) = &self.shared.memory {
                return memory.note(self.lease, &self.progress);
            }
            let sealed = self.progress.seal(&self.shared.sealer, self.lease.lane(), self.lease.id());
            self.shared.queue.checkpoint(self.lease, sealed).await
        };
        match timeout_at(self.hold.until(), saved).await {
            Ok(Ok(())) => {
                self.hold.renewed(begun);
                Ok(())
            }
            Ok(Err(error)) if error.kind() == QueueErrorKind::LeaseLost => Err(Lost),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the progress of a turn was not stored");
                Ok(())
            }
            Err(_) => Err(Lost),
        }
    }
}

/// What closing a stream came to.
enum Closed {
    /// The answer is there, or nobody wants it.
    Whole,
    /// The message must be updated.
    Update,
    /// The message took no more; the rest is one of its own.
    Rest(Box<Activity>),
    /// Not now.
    Later(SendError),
}

/// The service has said for certain that this activity will not be updated; a new message may still be taken.
fn cannot_update(error: &SendError) -> bool {
    matches!(error.kind(), SendErrorKind::NotFound | SendErrorKind::Refused | SendErrorKind::Forbidden)
}

fn undelivered(error: &SendError) -> End {
    tracing::error!(%error, "channel_delivery_failed");
    End::Dead
}
