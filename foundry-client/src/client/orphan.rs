//! Background responses that begin when nobody listens any more.
//!
//! The id of a response comes with its first event. Whoever gives up before that can neither cancel the response nor go
//! on with it: it would run to its end unheard, and keep its conversation busy. So what was sent is heard on until the id
//! is known, and the response is cancelled. When the id does not come, there is nothing left to do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use entra_auth::Body;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::client::Shared;
use crate::client::call::{Reply, parse};
use crate::client::error::Error;
use crate::client::responses::cancel_call;
use crate::events::ResponseEvent;
use crate::response::Response;
use crate::sse::SseDecoder;

/// How long a response is looked after that nobody waits for, from the moment it was given up.
const PATIENCE: Duration = Duration::from_secs(30);

type Exchange = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

/// A request for a background response that is on its way.
///
/// Dropping it before the answer is there leaves the request to a task, which cancels what it started.
pub(crate) struct Underway {
    shared: Arc<Shared>,
    exchange: Option<Exchange>,
}

impl Underway {
    /// `exchange` sends the request once; it has a deadline of its own.
    pub(crate) fn new(
        shared: Arc<Shared>,
        exchange: impl Future<Output = Result<Reply, Error>> + Send + 'static,
    ) -> Self {
        Self { shared, exchange: Some(Box::pin(exchange)) }
    }
}

impl Future for Underway {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Pending;
        };
        let answer = ready!(exchange.as_mut().poll(cx));
        self.exchange = None;
        Poll::Ready(answer)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let shared = Arc::clone(&self.shared);
            look_after(&self.shared, Box::pin(async move { running(&shared, exchange.await.ok()?).await }));
        }
    }
}

/// Looks after a stream that was given up before its first event.
pub(crate) fn abandon(shared: &Arc<Shared>, body: Body, decoder: SseDecoder, room: usize) {
    look_after(shared, Box::pin(first_id(body, decoder, room)));
}

/// The one task: it ends with the id's absence, the cancellation, the patience or the runtime. Without a runtime there
/// is no task, and dropping the request closes its connection.
fn look_after(shared: &Arc<Shared>, id: Pin<Box<dyn Future<Output = Option<String>> + Send>>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let shared = Arc::clone(shared);
    let cancel = async move {
        let id = id.await?;
        shared.done(cancel_call(&shared, &id).ok()?).await.ok()
    };
    runtime.spawn(async move {
        let cancelled = matches!(timeout(PATIENCE, cancel).await, Ok(Some(_)));
        tracing::debug!(target: "foundry_client", cancelled, "a response was given up before its first event");
    });
}

/// The response that an answer says is running.
async fn running(shared: &Shared, reply: Reply) -> Option<String> {
    if !reply.is_json() {
        return first_id(reply.body, SseDecoder::new(shared.limits.sse), shared.limits.stream).await;
    }
    let response: Response = parse(&reply).ok()?;
    response.status.is_pending().then_some(response.id)
}

/// The response whose events these are; none when it has ended, or when they do not tell.
async fn first_id(mut body: Body, mut decoder: SseDecoder, mut room: usize) -> Option<String> {
    loop {
        while let Some(frame) = decoder.next_frame().ok()? {
            let event = ResponseEvent::from_frame(frame).ok()??;
            if event.is_terminal() {
                return None;
            }
            if let Some(response) = event.response() {
                return Some(response.id.clone());
            }
        }
        let chunk = body.chunk().await.ok()??;
        room = room.checked_sub(chunk.len())?;
        decoder.push(chunk);
    }
}
