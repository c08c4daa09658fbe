//! Answers inside the response, an event each: `deliveryMode: stream`.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::{Activity, InvokeResponse};

/// The body of the response to an activity with `deliveryMode: stream`, which agents and Copilot Studio send: a stream of
/// server-sent events, one for each answer. Send it as it is, with status 200 and [`ReplyEvents::CONTENT_TYPE`].
/// [Delivery mode](https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md#delivery-mode)
///
/// A [`TurnRunner`](https://docs.rs/botframework-activity) makes one by itself. Without it, and for the request of an
/// agent:
///
/// ```
/// use botframework_activity::{Activity, AgentRequest, ReplyEvents};
///
/// fn answer(request: AgentRequest) -> ReplyEvents {
///     let (replies, events) = ReplyEvents::channel();
///     tokio::spawn(async move {
///         let answers = [Activity::typing(), Activity::message("Three trains leave today.")];
///         for answer in answers {
///             if replies.send(&answer.reply_to(request.activity())).await.is_err() {
///                 break; // nobody listens any more
///             }
///         }
///     });
///     events
/// }
/// ```
///
/// The body ends when its [`ReplySender`] is dropped. With the feature `axum` it is a response of axum; elsewhere it is
/// a [`Stream`] of bytes, or [`ReplyEvents::next`] gives one event after the other.
#[must_use = "the answers are its body"]
pub struct ReplyEvents(mpsc::Receiver<Bytes>);

/// Where the answers go in. Made by [`ReplyEvents::channel`].
pub struct ReplySender(mpsc::Sender<Bytes>);

/// An answer did not get into the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Whoever sent the activity has gone. Stop working; nobody can be answered.
    #[error("the caller has gone")]
    Gone,
    /// The answer cannot be written as JSON. The developer.
    #[error("the answer cannot be JSON")]
    NotJson,
}

/// Events that wait for the reader.
const WAITING: usize = 16;

impl ReplyEvents {
    /// The `Content-Type` of the response.
    pub const CONTENT_TYPE: &'static str = "text/event-stream";

    /// A response without events, and where they go in.
    #[inline]
    pub fn channel() -> (ReplySender, Self) {
        let (sender, events) = mpsc::channel(WAITING);
        (ReplySender(sender), Self(events))
    }

    /// The whole response to an invoke with `deliveryMode: stream` that says nothing else. The status of the response
    /// itself is 200; that of the invoke is in its one event.
    ///
    /// # Errors
    ///
    /// [`ReplyError::NotJson`].
    #[inline]
    pub fn of_invoke(response: &InvokeResponse) -> Result<Self, ReplyError> {
        let (replies, events) = Self::channel();
        let _ = replies.0.try_send(invoke_event(response)?); // there is room for the first
        Ok(events)
    }

    /// The next event, as bytes; `None` at the end.
    #[inline]
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|context| self.0.poll_recv(context)).await
    }
}

impl Stream for ReplyEvents {
    type Item = Result<Bytes, Infallible>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}

impl fmt::Debug for ReplyEvents {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyEvents").field("waiting", &self.0.len()).finish_non_exhaustive()
    }
}

impl ReplySender {
    /// Sends an answer, which must be addressed ([`Activity::reply_to`]). Waits while the reader is 16 events behind.
    ///
    /// # Errors
    ///
    /// [`ReplyError::Gone`] when nobody reads any more.
    #[inline]
    pub async fn send(&self, activity: &Activity) -> Result<(), ReplyError> {
        self.0.send(activity_event(activity)?).await.map_err(|_| ReplyError::Gone)
    }

    /// Ends the response to an invoke: its status and body are the last event, since the status of the response itself
    /// is 200.
    ///
    /// # Errors
    ///
    /// As [`ReplySender::send`].
    #[inline]
    pub async fn respond(self, response: &InvokeResponse) -> Result<(), ReplyError> {
        self.0.send(invoke_event(response)?).await.map_err(|_| ReplyError::Gone)
    }

    /// Returns when nobody reads any more.
    #[inline]
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Sends an answer unless the reader is behind.
    #[cfg(feature = "turns")]
    #[inline]
    pub(crate) fn offer(&self, activity: &Activity) {
        if let Ok(event) = activity_event(activity) {
            let _ = self.0.try_send(event);
        }
    }
}

impl fmt::Debug for ReplySender {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplySender").field("closed", &self.0.is_closed()).finish_non_exhaustive()
    }
}

#[inline]
fn activity_event(activity: &Activity) -> Result<Bytes, ReplyError> {
    activity.to_json().map(|json| event("activity", json)).map_err(|_| ReplyError::NotJson)
}

#[inline]
fn invoke_event(response: &InvokeResponse) -> Result<Bytes, ReplyError> {
    serde_json::to_vec(response).map(|json| event("invokeResponse", json)).map_err(|_| ReplyError::NotJson)
}

/// One event with one line of data. Raw members may hold line breaks, which in JSON are nothing but space.
#[inline]
fn event(name: &str, mut json: Vec<u8>) -> Bytes {
    for byte in &mut json {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    [b"event: ", name.as_bytes(), b"\r\ndata: ", &json, b"\r\n\r\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_is_one_line_of_data() {
        let (replies, mut events) = ReplyEvents::channel();
        let incoming = r#"{"type":"message","text":"a\nb","channelData":{
            "deep":[1,
            2]},"value":"x"}"#;
        replies.send(&Activity::from_json(incoming.as_bytes()).unwrap()).await.unwrap();
        replies.respond(&InvokeResponse::new(412).with_body(&["x"]).unwrap()).await.unwrap();
        let first = String::from_utf8(events.next().await.unwrap().to_vec()).unwrap();
        let data = first.strip_prefix("event: activity\r\ndata: ").unwrap().strip_suffix("\r\n\r\n").unwrap();
        assert!(!data.contains(['\r', '\n']), "{data}");
        let sent: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(sent, serde_json::from_str::<serde_json::Value>(incoming).unwrap());
        let last = events.next().await.unwrap();
        assert_eq!(last, "event: invokeResponse\r\ndata: {\"status\":412,\"body\":[\"x\"]}\r\n\r\n");
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn the_answer_of_an_invoke_may_be_the_only_event() {
        let mut events = ReplyEvents::of_invoke(&InvokeResponse::not_implemented()).unwrap();
        assert_eq!(events.next().await.unwrap(), "event: invokeResponse\r\ndata: {\"status\":501}\r\n\r\n");
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn who_has_gone_is_not_answered() {
        let (replies, events) = ReplyEvents::channel();
        drop(events);
        replies.closed().await;
        assert_eq!(replies.send(&Activity::typing()).await, Err(ReplyError::Gone));
    }
}
