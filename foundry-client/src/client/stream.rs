//! The events of one response as they arrive.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use entra_auth::{Body, TransportErrorKind};
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::Span;

use crate::client::builder::Limits;
use crate::client::classify::broken;
use crate::client::error::{Cursor, Error, ErrorKind, RequestIds};
use crate::client::responses::outcome;
use crate::client::resume::{Reopened, Reopening, Resume};
use crate::client::telemetry::{Recorded, record_error, record_response};
use crate::events::{EventError, ResponseEvent, word};
use crate::output_text::OutputTextFold;
use crate::response::Response;
use crate::sse::{SseDecoder, SseFrame, SseLimits};
use crate::vocabulary::ResponseStatus;

/// After the last event: how long to wait for the end of the body, so that the connection can be used again.
const GOODBYE: Duration = Duration::from_millis(100);

/// Warnings of one stream that are logged; more are counted only.
const MAX_WARNINGS: u32 = 10;

/// The events of one response.
///
/// Ends with `None` only after a terminal event. A stream that breaks off, falls silent, passes a
/// limit, or ends without a terminal event yields an error first; so do failed responses and error
/// events, after the event itself. Dropping the stream closes its connection; what becomes of the response is told at
/// [`Responses::stream`](crate::Responses::stream).
///
/// Also a [`futures_core::Stream`]. Events of a sequence number that was already seen are skipped.
pub struct ResponseStream {
    body: Body,
    decoder: SseDecoder,
    fold: OutputTextFold,
    state: State,
    ids: RequestIds,
    cursor: Cursor,
    last: Option<Box<Response>>,
    idle: Duration,
    idle_until: Instant,
    deadline: Instant,
    alarm: Pin<Box<Sleep>>,
    lines: u64,
    room: usize,
    limits: SseLimits,
    warnings: u32,
    span: Span,
    resume: Option<Resume>,
    session: Option<String>,
    recorded: Recorded,
}

enum State {
    /// The one event of a response that came as a whole.
    Whole(SseFrame),
    Events,
    /// The stream broke and is being opened again; the failure is told if that fails.
    Reopening(Reopening, Error),
    /// A terminal event was yielded; its error is still to come.
    Failing(Error),
    /// Reading the end of the body.
    Ending,
    Over,
}

impl ResponseStream {
    pub(crate) fn new(body: Body, ids: RequestIds, limits: &Limits, deadline: Instant, span: Span) -> Self {
        let idle_until = Instant::now() + limits.idle;
        Self {
            body,
            decoder: SseDecoder::new(limits.sse),
            fold: OutputTextFold::new(),
            state: State::Events,
            ids,
            cursor: Cursor::default(),
            last: None,
            idle: limits.idle,
            idle_until,
            deadline,
            alarm: Box::pin(sleep_until(idle_until.min(deadline))),
            lines: 0,
            room: limits.stream,
            limits: limits.sse,
            warnings: 0,
            span,
            resume: None,
            session: None,
            recorded: Recorded(false),
        }
    }

    pub(crate) fn resumable(mut self, resume: Resume) -> Self {
        self.resume = Some(resume);
        self
    }

    pub(crate) fn in_session(mut self, session: Option<String>) -> Self {
        self.session = session;
        self
    }

    pub(crate) fn recording(mut self, content: bool) -> Self {
        self.recorded = Recorded(content);
        self
    }

    /// Goes on behind events that were seen elsewhere.
    pub(crate) fn at(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self
    }

    /// A stream of one terminal event.
    pub(crate) fn of(
        response: &Response,
        ids: RequestIds,
        limits: &Limits,
        deadline: Instant,
        span: Span,
    ) -> Result<Self, Error> {
        let Some(frame) = whole(response) else {
            return Err(Error::new(ErrorKind::Protocol).ambiguous().with_request_ids(ids));
        };
        let mut stream = Self::new(Body::empty(), ids, limits, deadline, span);
        stream.state = State::Whole(frame);
        Ok(stream)
    }

    /// The next event; none after the last one.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]: [`Truncated`](ErrorKind::Truncated), [`Timeout`](ErrorKind::Timeout),
    /// [`Transport`](ErrorKind::Transport), [`TooLarge`](ErrorKind::TooLarge), [`Protocol`](ErrorKind::Protocol), and
    /// what the response itself failed with. All are [ambiguous](crate::Delivery::Ambiguous): the agent has begun.
    pub async fn next(&mut self) -> Option<Result<ResponseEvent, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Reads to the end and returns the whole response, complete or incomplete.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn finish(mut self) -> Result<Response, Error> {
        while let Some(event) = self.next().await {
            event?;
        }
        let last = self.last.take().map(|response| *response);
        last.map_or_else(|| Err(self.error(ErrorKind::Truncated)), outcome)
    }

    /// The text of the answer so far; after the terminal event, all of it.
    #[must_use]
    pub fn output_text(&self) -> String {
        self.fold.text()
    }

    /// The answer so far, to see whether there is more without copying it.
    #[must_use]
    pub fn output(&self) -> &OutputTextFold {
        &self.fold
    }

    /// The response's id, from the first event on.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.cursor.response_id.as_deref()
    }

    /// The position of the last event.
    #[must_use]
    pub fn last_sequence_number(&self) -> Option<u64> {
        self.cursor.last_sequence
    }

    /// The ids under which both sides log the request.
    #[must_use]
    pub fn request_ids(&self) -> &RequestIds {
        &self.ids
    }

    /// The sandbox of a hosted agent; send it back to stay in it. From the head of the answer or its events.
    #[must_use]
    pub fn agent_session_id(&self) -> Option<&str> {
        self.session.as_deref()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ResponseEvent, Error>>> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => match self.take(frame) {
                    Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                    Ok(None) => continue,
                    Err(error) => return self.break_off(error, cx),
                },
                Ok(None) => self.note_life(),
                Err(error) => {
                    let error = self.error(ErrorKind::TooLarge).with_source(error);
                    return self.break_off(error, cx);
                }
            }
            match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    if chunk.len() > self.room {
                        let error = self.error(ErrorKind::TooLarge);
                        return self.break_off(error, cx);
                    }
                    self.room -= chunk.len();
                    self.decoder.push(chunk);
                }
                Poll::Ready(Some(Err(error))) => {
                    let error = broken(error, self.ids.clone()).ambiguous().with_cursor(self.cursor.clone());
                    return self.break_off(error, cx);
                }
                Poll::Ready(None) => {
                    let error = self.error(ErrorKind::Truncated);
                    return self.break_off(error, cx);
                }
                Poll::Pending if self.is_late(cx) => {
                    let error = self.error(ErrorKind::Timeout).with_transport(TransportErrorKind::Timeout);
                    return self.break_off(error, cx);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// One frame; none for what is skipped.
    fn take(&mut self, frame: SseFrame) -> Result<Option<ResponseEvent>, Error> {
        let event = match ResponseEvent::from_frame(frame) {
            Ok(Some(event)) => event,
            // The mark of the end, without a terminal event before it.
            Ok(None) => return Err(self.error(ErrorKind::Truncated)),
            Err(error) => return Err(self.protocol(error)),
        };
        let (seen, number) = (self.cursor.last_sequence, event.sequence_number());
        if !event.is_terminal() && number.is_some() && number <= seen {
            return Ok(None);
        }
        self.cursor.last_sequence = number.max(seen);
        if let Some(resume) = &mut self.resume {
            resume.progress();
        }
        if let Some(response) = event.response()
            && self.cursor.response_id.as_deref() != Some(&response.id)
        {
            self.cursor.response_id = Some(response.id.clone());
        }
        if let Some(session) = event.response().and_then(|response| response.agent_session_id.as_ref()) {
            self.session.get_or_insert_with(|| session.clone());
        }
        self.fold.apply(&event);
        self.warn(&event);
        if event.is_terminal() {
            self.end(&event);
        }
        Ok(Some(event))
    }

    fn end(&mut self, event: &ResponseEvent) {
        let failure = match event {
            ResponseEvent::Error(error) => Some(Error::from(error.clone())),
            _ => event.response().and_then(|response| outcome(response.clone()).err()),
        };
        if let Some(response) = event.response() {
            record_response(&self.span, response, self.recorded);
            self.last = Some(Box::new(response.clone()));
        }
        self.idle_until = Instant::now() + GOODBYE;
        self.state = match failure {
            Some(error) => {
                let error = error.with_request_ids(self.ids.clone()).with_cursor(self.cursor.clone());
                record_error(&self.span, &error);
                State::Failing(error)
            }
            None => State::Ending,
        };
    }

    /// Reads what follows the terminal event, to leave the connection clean. Nothing in it counts.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) if chunk.len() <= self.room => self.room -= chunk.len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if self.is_late(cx) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A stream that can be resumed is opened again; any other ends with the failure.
    fn break_off(&mut self, error: Error, cx: &Context<'_>) -> Poll<Option<Result<ResponseEvent, Error>>> {
        let deadline = self.deadline;
        let Some(reopening) = self.resume.as_mut().and_then(|resume| resume.begin(&error, deadline)) else {
            return self.fail(error);
        };
        self.body = Body::empty();
        self.state = State::Reopening(reopening, error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn reopened(&mut self, reopened: Reopened) -> Result<(), Error> {
        match reopened {
            Reopened::Events(body) => {
                self.body = body;
                self.decoder = SseDecoder::new(self.limits);
                self.lines = 0;
                self.idle_until = Instant::now() + self.idle;
                self.state = State::Events;
            }
            Reopened::Whole(response) => {
                let frame = whole(&response).ok_or_else(|| self.error(ErrorKind::Truncated))?;
                self.state = State::Whole(frame);
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<ResponseEvent, Error>>> {
        record_error(&self.span, &error);
        self.close();
        Poll::Ready(Some(Err(error)))
    }

    fn close(&mut self) {
        self.state = State::Over;
        self.body = Body::empty();
    }

    /// A complete line, be it a comment, ends a silence; single bytes do not.
    fn note_life(&mut self) {
        let lines = self.decoder.counters().lines;
        if std::mem::replace(&mut self.lines, lines) != lines {
            self.idle_until = Instant::now() + self.idle;
        }
    }

    /// The alarm is moved only when it rings: most events cost no timer.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.idle_until.min(self.deadline);
        if self.alarm.deadline() > due {
            self.alarm.as_mut().reset(due);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return true;
            }
            self.alarm.as_mut().reset(due);
        }
        false
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind).ambiguous().with_request_ids(self.ids.clone()).with_cursor(self.cursor.clone())
    }

    fn protocol(&self, error: EventError) -> Error {
        self.error(ErrorKind::Protocol).with_source(error)
    }

    fn warn(&mut self, event: &ResponseEvent) {
        let Some(problem) = event.problem() else {
            return;
        };
        self.warnings = self.warnings.saturating_add(1);
        if self.warnings <= MAX_WARNINGS {
            tracing::warn!(
                target: "foundry_client",
                parent: &self.span,
                event = word(event.kind().as_str()),
                problem = problem.as_str(),
                "a part of the stream is kept as raw JSON"
            );
        }
    }
}

impl Stream for ResponseStream {
    type Item = Result<ResponseEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Whole(frame) => match self.take(frame) {
                Ok(event) => Poll::Ready(event.map(Ok)),
                Err(error) => self.fail(error),
            },
            State::Events => {
                self.state = State::Events;
                self.poll_event(cx)
            }
            State::Reopening(mut reopening, cause) => match reopening.poll(cx) {
                Poll::Pending => {
                    self.state = State::Reopening(reopening, cause);
                    Poll::Pending
                }
                Poll::Ready(Ok(reopened)) => match self.reopened(reopened) {
                    Ok(()) => self.poll_next(cx),
                    Err(error) => self.fail(error),
                },
                // Why it broke counts; that it could not be resumed is the detail.
                Poll::Ready(Err(error)) => self.fail(cause.with_source(error)),
            },
            State::Failing(error) => {
                self.close();
                Poll::Ready(Some(Err(error)))
            }
            State::Ending => {
                self.state = State::Ending;
                match self.poll_end(cx) {
                    Poll::Ready(()) => {
                        self.close();
                        Poll::Ready(None)
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
            State::Over => Poll::Ready(None),
        }
    }
}

/// A response in the background goes on; without its id nobody could stop it any more.
impl Drop for ResponseStream {
    fn drop(&mut self) {
        if let (State::Events, None, Some(resume)) = (&self.state, &self.cursor.response_id, &self.resume) {
            let decoder = std::mem::replace(&mut self.decoder, SseDecoder::new(self.limits));
            resume.abandon(std::mem::take(&mut self.body), decoder, self.room);
        }
    }
}

/// The one event of a finished response.
fn whole(response: &Response) -> Option<SseFrame> {
    let status = &response.status;
    if ![ResponseStatus::COMPLETED, ResponseStatus::FAILED, ResponseStatus::INCOMPLETE].contains(status) {
        return None;
    }
    let raw = response.raw().as_str();
    let data = format!("{{\"type\":\"response.{status}\",\"sequence_number\":0,\"response\":{raw}}}");
    Some(SseFrame::new(None, data))
}

/// Shows no text of the answer.
impl fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseStream")
            .field("response_id", &self.cursor.response_id)
            .field("last_sequence_number", &self.cursor.last_sequence)
            .field("text_len", &self.fold.len())
            .field("request_ids", &self.ids)
            .finish_non_exhaustive()
    }
}
