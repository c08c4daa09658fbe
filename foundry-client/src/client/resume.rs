//! Opening a broken stream again where it broke.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use entra_auth::Body;
use tokio::time::{Instant, sleep};

use crate::client::Shared;
use crate::client::call::parse;
use crate::client::error::{Error, ErrorKind};
use crate::client::orphan::abandon;
use crate::client::responses::resume_call;
use crate::response::Response;
use crate::sse::SseDecoder;

/// How a stream is opened again.
pub(crate) struct Resume {
    shared: Arc<Shared>,
    /// Attempts since the last event.
    attempts: u32,
}

/// What the service gave.
pub(crate) enum Reopened {
    Events(Body),
    Whole(Box<Response>),
}

type Future_ = Pin<Box<dyn Future<Output = Result<Reopened, Error>> + Send>>;

/// A stream being opened. The mutex is never contended; it makes the future `Sync`.
pub(crate) struct Reopening(Mutex<Future_>);

impl Resume {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, attempts: 0 }
    }

    /// Nobody listens to the stream any more, and its id is not known.
    pub(crate) fn abandon(&self, body: Body, decoder: SseDecoder, room: usize) {
        abandon(&self.shared, body, decoder, room);
    }

    /// The stream lives.
    pub(crate) fn progress(&mut self) {
        self.attempts = 0;
    }

    /// Begins to open the stream again; none when the failure or the time does not allow it.
    pub(crate) fn begin(&mut self, error: &Error, deadline: Instant) -> Option<Reopening> {
        let kind = error.kind();
        if !matches!(kind, ErrorKind::Transport | ErrorKind::Truncated | ErrorKind::Timeout) {
            return None;
        }
        let id = error.response_id()?.to_owned();
        self.attempts += 1;
        let wait = self.shared.retry.delay(self.attempts, None)?;
        if Instant::now() + wait >= deadline {
            return None;
        }
        let (shared, after) = (Arc::clone(&self.shared), error.last_sequence_number());
        tracing::info!(target: "foundry_client", { attempt = self.attempts }, "the stream broke off and is resumed");
        Some(Reopening(Mutex::new(Box::pin(async move {
            sleep(wait).await;
            let reply = shared.run(&resume_call(&shared, &id, after)?.until(deadline)).await?;
            if !reply.is_json() {
                return Ok(Reopened::Events(reply.body));
            }
            parse(&reply).map(|response| Reopened::Whole(Box::new(response)))
        }))))
    }
}

impl Reopening {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reopened, Error>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}
