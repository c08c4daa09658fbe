use std::{fmt, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use tokio::time::Instant;

use crate::{
    AccessToken, Audience, Body, ClaimsChallenge, Deadline, Error, ErrorKind, HttpTransport, OAuthError,
    TokenCredential, TokenRequest,
};

/// Calls one resource with tokens of one credential: attaches the token by [`Audience`], and once per call answers a
/// claims challenge or a 401 with a fresh token.
///
/// It needs no Teams and no other part of this family. Redirects, retries of other failures and the meaning of the
/// answer are the caller's.
///
/// ```no_run
/// use std::sync::Arc;
/// use entra_auth::{Audience, Body, Downstream, ErrorKind, HttpTransport, TokenCredential};
///
/// # async fn example(
/// #     credential: Arc<dyn TokenCredential>,
/// #     transport: Arc<dyn HttpTransport>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let audience =
///     Audience::new("https://graph.microsoft.com/User.Read".parse()?, [&"https://graph.microsoft.com".parse()?])?;
/// let graph = Downstream::new(credential, audience, transport);
/// let request = http::Request::get("https://graph.microsoft.com/v1.0/me").body(Body::empty())?;
/// match graph.call(request).await {
///     Ok(answer) => println!("{}", answer.status()),
///     // The user must do more: pass the challenge on to whoever talks to them.
///     Err(error) if error.claims_challenge().is_some() => println!("step up"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Downstream {
    credential: Arc<dyn TokenCredential>,
    audience: Audience,
    transport: Arc<dyn HttpTransport>,
    timeout: Duration,
}

impl Downstream {
    /// A caller of the audience's resource.
    #[must_use]
    pub const fn new(
        credential: Arc<dyn TokenCredential>,
        audience: Audience,
        transport: Arc<dyn HttpTransport>,
    ) -> Self {
        Self { credential, audience, transport, timeout: Duration::from_secs(100) }
    }

    /// The bound of one attempt, answer body included, where the request brings no [`Deadline`]. Default: 100 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request with a token, and on a 401 once more with another one.
    ///
    /// Any status is `Ok`, a 401 that stays included; so is the first 401 when the body is a stream and cannot be sent
    /// again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ForeignOrigin`] when the request goes elsewhere: nothing was sent. Whatever the credential says.
    /// [`ErrorKind::InteractionRequired`] when the resource asks for more than a fresh token can bring. After a claims
    /// challenge every error of the second token carries [`Error::claims_challenge`]: Entra's own, else the resource's.
    /// [`ErrorKind::Transport`] when there is no answer; whether the resource did something is then unknown.
    pub async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        if !self.audience.allows(request.uri()) {
            return Err(Error::new(
                ErrorKind::ForeignOrigin,
                "nothing was sent: the request goes to an origin that its audience does not list",
            ));
        }
        let (head, body) = request.into_parts();
        let spare = body.try_clone();
        let wanted = TokenRequest::new(self.audience.scopes().clone());
        let token = self.credential.get_token(&wanted).await?;
        let first = self.send(Request::from_parts(head.clone(), body), &token).await?;
        let Some(body) = spare.filter(|_| first.status() == StatusCode::UNAUTHORIZED) else { return Ok(first) };

        let challenge = ClaimsChallenge::from_headers(first.headers());
        drop(first);
        tracing::debug!(
            name: "entra.downstream.refused",
            challenge = challenge.is_some(),
            "the resource refused the token; asking for another"
        );
        let wanted = match &challenge {
            Some(claims) => wanted.with_claims(claims.clone()),
            None => wanted.with_rejected(token),
        };
        let token = match (self.credential.get_token(&wanted).await, &challenge) {
            (Ok(token), _) => token,
            (Err(error), Some(claims)) => return Err(with_challenge(error, claims)),
            (Err(error), None) => return Err(error),
        };
        let second = self.send(Request::from_parts(head, body), &token).await?;
        match ClaimsChallenge::from_headers(second.headers()) {
            Some(claims) if second.status() == StatusCode::UNAUTHORIZED => Err(with_challenge(
                Error::new(ErrorKind::InteractionRequired, "the resource asks for more than a fresh token can bring"),
                &claims,
            )),
            _ => Ok(second),
        }
    }

    async fn send(&self, mut request: Request<Body>, token: &AccessToken) -> Result<Response<Body>, Error> {
        token.authorize(&mut request, &self.audience)?;
        if request.extensions().get::<Deadline>().is_none() {
            request.extensions_mut().insert(Deadline(Instant::now() + self.timeout));
        }
        Ok(self.transport.send(request).await?)
    }
}

/// The error with the step-up that the user's next sign-in must satisfy.
#[inline]
fn with_challenge(error: Error, claims: &ClaimsChallenge) -> Error {
    if error.claims_challenge().is_some() {
        return error;
    }
    let oauth = OAuthError { claims: Some(claims.clone()), ..error.oauth().cloned().unwrap_or_else(no_answer) };
    let (kind, wait) = (error.kind(), error.retry_after());
    Error::new(kind, "the resource asks for more than the token brings, and no such token could be had")
        .with_retry_after(wait)
        .with_oauth(oauth)
        .with_source(error)
}

/// Stands for the members of an answer that Entra was not asked for.
#[inline]
fn no_answer() -> OAuthError {
    OAuthError { status: 401, error: "insufficient_claims".to_owned(), ..OAuthError::default() }
}

impl fmt::Debug for Downstream {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream")
            .field("credential", &self.credential)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
