//! Any other operation of the service.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Shared;
use crate::client::classify::Operation;
use crate::client::error::{Delivery, Error, ErrorKind, Resource};

/// An operation that has no method here; see [`FoundryClient::raw`](crate::FoundryClient::raw).
///
/// ```no_run
/// # async fn example(client: foundry_client::FoundryClient) -> Result<(), foundry_client::Error> {
/// use foundry_client::RawCall;
/// use http::Method;
///
/// let call = RawCall::foundry(Method::GET, ["datasets", "faq", "versions"]);
/// let datasets: serde_json::Value = client.raw(call).await?.json()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RawCall {
    foundry: bool,
    method: Method,
    path: Vec<String>,
    query: Vec<(String, String)>,
    body: Option<Result<Bytes, ()>>,
    idempotent: Option<bool>,
}

/// The answer to a [`RawCall`]; its status is 2xx.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawAnswer {
    /// The status.
    pub status: StatusCode,
    /// The head.
    pub headers: HeaderMap,
    /// The body, at most as much as [`Limits::body`](crate::Limits::body).
    pub body: Bytes,
}

impl RawCall {
    /// A Foundry operation: below the project, with `api-version=v1`. Each segment is escaped.
    pub fn foundry<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Self {
        Self::new(true, method, path)
    }

    /// An OpenAI operation: below the base of the client's [`Target`](crate::Target). Each segment is escaped.
    pub fn openai<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Self {
        Self::new(false, method, path)
    }

    fn new<S: Into<String>>(foundry: bool, method: Method, path: impl IntoIterator<Item = S>) -> Self {
        Self {
            foundry,
            method,
            path: path.into_iter().map(Into::into).collect(),
            query: Vec::new(),
            body: None,
            idempotent: None,
        }
    }

    /// Adds a pair to the query.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// The body.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).map(Bytes::from).map_err(drop));
        self
    }

    /// Whether repeating the call does no harm. Default: everything but `POST`.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    pub(crate) async fn send(self, shared: &Shared) -> Result<RawAnswer, Error> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let operation = Operation::Plain("raw", Resource::Unknown);
        let mut call = match self.foundry {
            true => shared.foundry(operation, self.method, &path)?,
            false => shared.openai(operation, self.method, &path)?,
        };
        call = call.query(self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let Some(body) = self.body {
            let body = body.map_err(|()| Error::new(ErrorKind::InvalidRequest))?;
            call = call.bytes(http::HeaderValue::from_static("application/json"), body);
        }
        let call = match self.idempotent {
            Some(true) => call.idempotent(),
            Some(false) => call.once(),
            None => call,
        };
        let reply = shared.done(call).await?;
        let body = reply.body.as_bytes().cloned().unwrap_or_default();
        Ok(RawAnswer { status: reply.head.status, headers: reply.head.headers, body })
    }
}

impl RawAnswer {
    /// The body as `T`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] when it has another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Error::new(ErrorKind::Protocol).with_status(self.status.as_u16()).with_delivery(Delivery::Ambiguous)
        })
    }
}
