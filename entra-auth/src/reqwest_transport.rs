use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use reqwest::{Client, ClientBuilder, redirect};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::{Body, BuildError, Deadline, HttpTransport, TransportError, TransportErrorKind};

/// [`HttpTransport`] over reqwest.
///
/// [`ReqwestTransport::new`] uses rustls with the system's trust store, a connect time-out of 3 s, and the system's
/// proxy environment. For a proxy or a certificate authority of your own, prepare a builder and use
/// [`ReqwestTransport::from_builder`].
#[derive(Clone)]
pub struct ReqwestTransport(Client);

impl ReqwestTransport {
    /// A transport with the defaults above.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, for example because the machine has no trusted certificates.
    pub fn new() -> Result<Self, BuildError> {
        Self::from_builder(Client::builder().connect_timeout(Duration::from_secs(3)))
    }

    /// A transport over a client prepared by the caller. Redirects are switched off whatever the builder says: a client
    /// that follows them re-sends a form with the secret to wherever a 307 points.
    ///
    /// # Errors
    ///
    /// When the builder cannot make a client.
    pub fn from_builder(builder: ClientBuilder) -> Result<Self, BuildError> {
        let client = builder.redirect(redirect::Policy::none()).build().map_err(|error| {
            BuildError::new("the HTTP client could not be built; check the trust store and the TLS settings")
                .with_source(error.without_url())
        })?;
        Ok(Self(client))
    }
}

impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReqwestTransport")
    }
}

#[async_trait]
impl HttpTransport for ReqwestTransport {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let request = request.map(|body| match body.as_bytes() {
            Some(bytes) => reqwest::Body::from(bytes.clone()),
            None => reqwest::Body::wrap_stream(body),
        });
        let request = reqwest::Request::try_from(request).map_err(failure)?;
        let exchange = self.0.execute(request);
        let response = match deadline {
            Some(at) => timeout_at(at, exchange).await.map_err(|_| TransportErrorKind::Timeout)?,
            None => exchange.await,
        };
        let response: http::Response<reqwest::Body> = response.map_err(failure)?.into();
        Ok(response.map(|body| Body::stream(Incoming { body: Box::pin(body), sleep: deadline.map(alarm) })))
    }
}

/// The response body, ended by the deadline.
struct Incoming {
    body: Pin<Box<reqwest::Body>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream for Incoming {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use http_body::Body as _;
        loop {
            match self.body.as_mut().poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(failure(error)))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => {}
                },
                Poll::Pending => {
                    let late = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
                    return if late {
                        Poll::Ready(Some(Err(TransportErrorKind::Timeout.into())))
                    } else {
                        Poll::Pending
                    };
                }
            }
        }
    }
}

fn alarm(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(at))
}

fn failure(error: reqwest::Error) -> TransportError {
    let kind = if error.is_connect() {
        TransportErrorKind::NotSent
    } else if error.is_timeout() {
        TransportErrorKind::Timeout
    } else if error.is_builder() {
        TransportErrorKind::Other
    } else {
        TransportErrorKind::Interrupted
    };
    // URLs can carry codes and ids in their query.
    TransportError::new(kind, error.without_url())
}
