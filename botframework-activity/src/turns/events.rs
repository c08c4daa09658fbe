//! Turns whose answers are the events of the response: `deliveryMode: stream`.

use std::time::Duration;

use entra_auth::CorrelationId;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Turn,
    runner::Inner,
    turn::Hooks,
    work::{Handler, Stopped, abandoned, inline_answer},
};
use crate::{
    ReplySender,
    streaming::{StreamPace, StreamState},
};

/// Between two pieces of a growing answer.
const GAP: Duration = Duration::from_millis(100);
/// Such a stream ends with its turn and has no time-out of its own.
const NO_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a reader may take for the last event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the turn. What is pushed and shown goes out at once, the answer at the end; nobody is answered who has gone.
pub(super) async fn run(shared: &Inner, turn: (Turn, Hooks), replies: ReplySender) {
    let (turn, mut hooks) = turn;
    let activity = turn.activity().clone();
    let id = CorrelationId::random().to_string();
    let pace = StreamPace { first: GAP, gap: GAP, last_gap: Duration::ZERO, limit: NO_LIMIT, ..StreamPace::default() };
    let mut stream = StreamState::named(pace, id.clone());
    let mut task = Handler::start(shared, turn);
    let end = Instant::now() + shared.settings.turn_timeout;
    let mut phase = shared.phase.subscribe();
    let stopped = loop {
        let due = stream.due();
        select! {
            biased;
            result = &mut task.0 => break Stopped::Ended(result),
            () = sleep_until(end) => break Stopped::TimedOut,
            () = abandoned(&mut phase) => break Stopped::Abandoned,
            () = replies.closed() => break Stopped::ByUser,
            Some(note) = hooks.notes.recv() => drop(note.stored.send(())),
            Ok(()) = hooks.texts.changed() => stream.grow_to(&hooks.texts.borrow_and_update()),
            Ok(()) = hooks.shows.changed() => {
                let content = hooks.shows.borrow_and_update().clone();
                if let Some(text) = content.and_then(|content| content.text) {
                    stream.inform(text);
                }
            }
            () = sleep_until(due.unwrap_or(end)), if due.is_some() => {
                let now = Instant::now();
                if let Some(piece) = stream.next(now) {
                    // A reader that is behind does without this one: the next holds its text too.
                    replies.offer(&piece.activity.clone().reply_to(&activity));
                    stream.answered(&piece, Ok(Some(id.clone())), now);
                }
            }
        }
    };
    drop(hooks);
    drop(task);
    let Some(answer) = inline_answer(shared, &activity, stopped) else { return };
    let answer = if stream.is_idle() { answer } else { stream.last(answer) };
    match timeout(PATIENCE, replies.send(&answer.reply_to(&activity))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an answer did not get into the response"),
        Err(_) => tracing::warn!("the reader of a response is too slow"),
    }
}
