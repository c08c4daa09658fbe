use std::{
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
};

use futures_core::Stream;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::state::{Closing, Kind, Piece, StreamPace, StreamState};
use crate::{Activity, ConnectorClient, SendError, VerifiedActivity};

/// An answer that grows before the user's eyes, in a personal chat of Teams; elsewhere the same call shows typing and
/// sends one message. [Streaming](https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux)
///
/// Pieces go out at the pace that Teams allows, text only grows, and after 110 s the message is updated in place. The
/// user's Stop ends it: the deltas are dropped, which cancels what makes them. Inside a
/// [`TurnRunner`](https://docs.rs/botframework-activity) use `Turn::stream` instead, which survives a crash.
///
/// ```
/// # use botframework_activity::*;
/// # async fn f(
/// #     connector: ConnectorClient, incoming: VerifiedActivity,
/// #     deltas: impl futures_core::Stream<Item = Result<String, std::io::Error>>,
/// # ) -> Result<(), SendError> {
/// let mut stream = TeamsStream::new(connector, incoming);
/// stream.inform("Looking into the handbook …").await;
/// let streamed = stream
///     .answer(deltas, |text, failed| match failed {
///         None => Activity::message(text),
///         Some(_) => Activity::message(format!("{text}\n\nSorry, I could not finish.")),
///     })
///     .await?;
/// if streamed.is_stopped() {
///     println!("the user pressed Stop");
/// }
/// # Ok(()) }
/// ```
pub struct TeamsStream {
    connector: ConnectorClient,
    incoming: VerifiedActivity,
    state: StreamState,
}

/// What became of a [`TeamsStream`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Streamed {
    id: Option<String>,
    stopped: bool,
}

impl Streamed {
    /// The id of the message. `None` when the service did not tell it.
    #[must_use]
    #[inline]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the user pressed Stop. Nothing more was sent then; answer the request with 200 all the same, or Teams
    /// delivers it again.
    #[must_use]
    #[inline]
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }
}

/// Whether the conversation takes streams: the personal chats of Teams and of Copilot.
#[inline]
pub(crate) fn may_stream(incoming: &VerifiedActivity) -> bool {
    let personal = incoming.conversation.as_ref().and_then(|conversation| conversation.conversation_type.as_ref());
    let teams = incoming.channel() == "msteams" || incoming.channel().starts_with("msteams:");
    teams && personal.is_some_and(|kind| kind.as_str() == "personal")
}

impl TeamsStream {
    /// The answer to this activity.
    #[must_use]
    #[inline]
    pub fn new(connector: ConnectorClient, incoming: VerifiedActivity) -> Self {
        let state = Self::state_for(&incoming, StreamPace::default());
        Self { connector, incoming, state }
    }

    /// Sets the times.
    #[must_use]
    #[inline]
    pub fn pace(mut self, pace: StreamPace) -> Self {
        self.state = Self::state_for(&self.incoming, pace);
        self
    }

    #[inline]
    pub(crate) fn state_for(incoming: &VerifiedActivity, pace: StreamPace) -> StreamState {
        if may_stream(incoming) { StreamState::new(pace) } else { StreamState::plain(pace) }
    }

    /// Says what is being done, before there is text. A piece that is not sent is no error: the answer will be.
    #[inline]
    pub async fn inform(&mut self, text: impl Into<String>) {
        self.state.inform(text);
        while let Some(due) = self.state.due() {
            sleep_until(due).await;
            if !self.step().await {
                break;
            }
            if self.state.due().is_none_or(|due| due > Instant::now()) {
                break;
            }
        }
    }

    /// Shows the deltas as they come, then sends what `finish` makes of the whole text: citations, feedback, cards and
    /// other text than was shown are its business. When the deltas end with an error, `finish` is told.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`], for the last message. Pieces that fail are made up for by later ones.
    #[inline]
    pub async fn answer<S, E, F>(mut self, deltas: S, finish: F) -> Result<Streamed, SendError>
    where
        S: Stream<Item = Result<String, E>>,
        F: FnOnce(String, Option<E>) -> Activity,
    {
        let mut failed = None;
        {
            let mut deltas = pin!(deltas);
            while !self.state.is_stopped() {
                self.step().await;
                if self.state.is_stopped() {
                    break;
                }
                let next = next(deltas.as_mut());
                let item = match self.state.due() {
                    None => next.await,
                    Some(due) => match timeout_at(due, next).await {
                        Ok(item) => item,
                        Err(_) => continue,
                    },
                };
                match item {
                    Some(Ok(delta)) => self.state.push(&delta),
                    Some(Err(error)) => {
                        failed = Some(error);
                        break;
                    }
                    None => break,
                }
            }
        }
        let answer = finish(self.state.text().to_owned(), failed);
        self.close(&answer).await
    }

    /// Sends what is due. Whether something was.
    #[inline]
    async fn step(&mut self) -> bool {
        let Some(piece) = self.state.next(Instant::now()) else { return false };
        let result = send_piece(&self.connector, &self.incoming, &piece).await;
        self.state.answered(&piece, result.as_ref().map(Clone::clone), Instant::now());
        true
    }

    #[inline]
    async fn close(mut self, answer: &Activity) -> Result<Streamed, SendError> {
        loop {
            if let Some(due) = self.state.last_due() {
                sleep_until(due).await;
            }
            let url = self.incoming.service_url();
            let done = |id: Option<&str>| Ok(Streamed { id: id.map(str::to_owned), stopped: false });
            match self.state.close(answer) {
                Closing::Nothing => {
                    return Ok(Streamed { id: self.state.id().map(str::to_owned), stopped: true });
                }
                Closing::Message(message) => {
                    let sent = self.connector.send(url, &message.reply_to(&self.incoming)).await?;
                    return done(sent.id());
                }
                Closing::Update(id, update) => {
                    self.connector.update(url, &update.reply_to(&self.incoming)).await?;
                    return done(Some(&id));
                }
                Closing::Final(last) => match self.connector.send(url, &last.reply_to(&self.incoming)).await {
                    Ok(_) => {
                        if self.state.final_accepted(answer) {
                            return done(self.state.id());
                        }
                    }
                    Err(error) if error.is_retryable() && error.stream_refusal().is_none() => return Err(error),
                    Err(error) => self.state.final_refused(&error),
                },
            }
        }
    }
}

/// Sends a piece; the id of the activity, if the service tells one.
#[inline]
pub(crate) async fn send_piece(
    connector: &ConnectorClient,
    incoming: &VerifiedActivity,
    piece: &Piece,
) -> Result<Option<String>, SendError> {
    let activity = piece.activity.clone().reply_to(incoming);
    let sent = match piece.kind {
        Kind::Update => connector.update(incoming.service_url(), &activity).await?,
        Kind::Chunk | Kind::Close | Kind::Typing => connector.send(incoming.service_url(), &activity).await?,
    };
    Ok(sent.id().filter(|id| !id.is_empty()).map(str::to_owned))
}

#[inline]
async fn next<S: Stream>(mut deltas: Pin<&mut S>) -> Option<S::Item> {
    poll_fn(|cx| deltas.as_mut().poll_next(cx)).await
}

/// Shows no text.
impl fmt::Debug for TeamsStream {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeamsStream").field("begun", &self.state.id().is_some()).finish_non_exhaustive()
    }
}
