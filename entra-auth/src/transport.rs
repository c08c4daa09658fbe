use std::{
    error::Error as StdError,
    fmt::{self, Debug},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::time::Instant;

#[cfg(any(feature = "acquire", feature = "validate"))]
use crate::BuildError;

/// One HTTP exchange: a request out, a response back.
///
/// The contract every implementation keeps (the suite behind feature `conformance` checks it):
///
/// - Any status is `Ok`. An error means that no complete response head arrived.
/// - Redirects are not followed, nothing is retried, no cookie is kept.
/// - A [`Deadline`] in the request's extensions bounds the exchange, the response body included.
/// - [`TransportErrorKind::NotSent`] is reported only when provably no byte of the request left this machine.
/// - Dropping the future or the response body cancels the exchange.
#[async_trait]
pub trait HttpTransport: Debug + Send + Sync + 'static {
    /// Sends one request.
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError>;
}

#[async_trait]
impl<T: HttpTransport + ?Sized> HttpTransport for Arc<T> {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        (**self).send(request).await
    }
}

/// The transport that a builder was given, or else the built-in one, which there is with feature `reqwest`.
#[cfg(any(feature = "acquire", feature = "validate"))]
pub(crate) fn or_built_in(
    given: Option<Arc<dyn HttpTransport>>,
    missing: &'static str,
) -> Result<Arc<dyn HttpTransport>, BuildError> {
    #[cfg(feature = "reqwest")]
    let given = match given {
        Some(transport) => Some(transport),
        None => Some(Arc::new(crate::ReqwestTransport::new()?) as Arc<dyn HttpTransport>),
    };
    given.ok_or_else(|| BuildError::new(missing))
}

/// What a credential says that has neither.
#[cfg(feature = "acquire")]
pub(crate) const NO_TRANSPORT: &str =
    "no transport: call .transport(..), or turn on feature `reqwest` for a built-in one";

/// What a key source says that has neither.
#[cfg(feature = "validate")]
pub(crate) const NO_KEY_TRANSPORT: &str = "fetching keys needs a transport, or feature `reqwest`";

/// When an exchange must be over; put it into the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// The body of a request or a response: bytes at hand, or a stream of them.
///
/// As a [`Stream`] it yields chunks as they arrive; [`Body::collect`] gathers them up to a limit.
pub struct Body(Inner);

enum Inner {
    Bytes(Bytes),
    // The mutex is never contended (`get_mut` only); it makes the body `Sync` without asking that of the stream.
    Stream(Mutex<Chunks>),
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

impl Body {
    /// A body without content.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Inner::Bytes(Bytes::new()))
    }

    /// A body that is produced piece by piece.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static) -> Self {
        Self(Inner::Stream(Mutex::new(Box::pin(stream))))
    }

    /// The content, when it is at hand and needs no waiting.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Bytes(bytes) => Some(bytes),
            Inner::Stream(_) => None,
        }
    }

    /// A second body with the same content; `None` for a stream, which can be read only once.
    #[must_use]
    #[inline]
    pub fn try_clone(&self) -> Option<Self> {
        self.as_bytes().map(|bytes| Self(Inner::Bytes(bytes.clone())))
    }

    /// The next chunk, `None` at the end.
    ///
    /// # Errors
    ///
    /// Whatever ended the transfer early; see [`TransportErrorKind`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
    }

    /// The whole content, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`TransportErrorKind::TooLarge`] as soon as the limit is passed, or whatever ended the transfer early.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, TransportError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(TransportErrorKind::TooLarge.into());
        }
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > limit {
                return Err(TransportErrorKind::TooLarge.into());
            }
            all.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(all.freeze())
    }
}

impl Stream for Body {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Inner::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Inner::Stream(stream) => stream.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(cx),
        }
    }
}

/// Shows the size at most, never the content.
impl Debug for Body {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Inner::Bytes(bytes.into()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(Inner::Bytes(text.into()))
    }
}

/// Why an exchange failed. Cheap to clone, so that one failure can be shared by all who waited for it.
#[derive(Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What is known about a failed exchange, and so whether it may be repeated.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportErrorKind {
    /// Provably no byte of the request left: name resolution, connecting or the TLS handshake failed. Any request may
    /// be repeated.
    NotSent,
    /// The deadline passed. The other side may have acted; repeat only what is safe to repeat.
    Timeout,
    /// The connection broke after bytes had left. The other side may have acted.
    Interrupted,
    /// The answer was larger than the limit. Repeating brings the same.
    TooLarge,
    /// Anything else, such as a request that cannot be expressed. Repeating does not help.
    Other,
}

impl TransportError {
    /// An error of that kind, with what caused it.
    ///
    /// The source appears in error chains and logs: it must hold no URL query, header value or body.
    pub fn new(kind: TransportErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)) }
    }

    /// What is known about the failure.
    #[must_use]
    pub const fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl From<TransportErrorKind> for TransportError {
    fn from(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::NotSent => "could not connect; nothing was sent",
            TransportErrorKind::Timeout => "no complete answer before the deadline",
            TransportErrorKind::Interrupted => "the connection broke before the answer was complete",
            TransportErrorKind::TooLarge => "the answer is larger than the limit",
            TransportErrorKind::Other => "the request could not be carried out",
        })
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Chunks(Vec<&'static str>);

    impl Stream for Chunks {
        type Item = Result<Bytes, TransportError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready((!self.0.is_empty()).then(|| Ok(Bytes::from(self.0.remove(0)))))
        }
    }

    #[tokio::test]
    async fn collect_stops_at_the_limit() {
        for (chunks, limit, expected) in [
            (vec![], 0, Some("")),
            (vec!["abc"], 3, Some("abc")),
            (vec!["abc"], 2, None),
            (vec!["ab", "", "cd"], 4, Some("abcd")),
            (vec!["ab", "cd"], 3, None),
        ] {
            let result = Body::stream(Chunks(chunks)).collect(limit).await;
            match expected {
                Some(text) => assert_eq!(result.unwrap(), text),
                None => assert_eq!(result.unwrap_err().kind(), TransportErrorKind::TooLarge),
            }
        }
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Body::from("client_secret=x".to_owned())), "Body(15 bytes)");
    }

    static_assertions::assert_impl_all!(Body: Send, Sync, Unpin);
}
