use std::{fmt, sync::Arc, time::Duration};

use botframework_activity::{ChannelCloud, VerifiedActivity};
use bytes::Bytes;
use entra_auth::{
    AccessToken, Audience, BuildError, Clock, Deadline, HttpTransport, RetryPolicy, Secret, SystemClock,
    TokenCredential, TokenRequest, TransportError, TransportErrorKind,
};
use http::StatusCode;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span, field::Empty};
use url::Url;

use super::{
    ChannelUser, ServiceToken, SignInResource, TokenServiceError, TokenServiceErrorKind as Kind, state,
    wire::{self, Call, Operation},
};

/// A client of the user-token service
/// ([REST](https://learn.microsoft.com/azure/bot-service/bot-builder-concept-authentication)).
///
/// The service keeps the tokens of a bot's users by user, connection and channel, and renews them. Every call names a
/// [`ChannelUser`], which only a verified activity makes. Retries (2 attempts, 300 ms doubling to 1 s, `Retry-After` up to
/// 2 s): connections that fail, 429 and 5xx; never 400, 404 and 412, and a code never once it has left. A 401 is
/// answered once with a fresh token of the bot. A clone is cheap and shares everything.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use botframework_activity::{ChannelCloud, VerifiedActivity};
/// # use entra_auth::{HttpTransport, TokenCredential};
/// # use teams_sso::{ChannelUser, TokenServiceClient};
/// # async fn f(
/// #     bot: Arc<dyn TokenCredential>, transport: Arc<dyn HttpTransport>, activity: &VerifiedActivity,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = TokenServiceClient::builder(ChannelCloud::Public, bot, transport).build()?;
/// let user = ChannelUser::of(activity)?;
/// match tokens.get_token(&user, "sso").await? {
///     Some(token) => println!("signed in until {}", token.access_token().expires_on()),
///     None => println!("not signed in"),
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TokenServiceClient {
    inner: Arc<Inner>,
    until: Option<Instant>,
}

struct Inner {
    transport: Arc<dyn HttpTransport>,
    credential: Arc<dyn TokenCredential>,
    clock: Arc<dyn Clock>,
    audience: Audience,
    base: Url,
    retry: RetryPolicy,
    attempt: Duration,
    total: Duration,
}

/// The largest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

impl TokenServiceClient {
    /// A client for the service of this cloud. The credential is the bot's own: its app id must be the bot that the
    /// connections belong to.
    pub fn builder(
        cloud: ChannelCloud,
        credential: Arc<dyn TokenCredential>,
        transport: Arc<dyn HttpTransport>,
    ) -> TokenServiceClientBuilder {
        TokenServiceClientBuilder {
            cloud,
            credential,
            transport,
            base: None,
            clock: Arc::new(SystemClock),
            retry: RetryPolicy::new(2, Duration::from_millis(300), Duration::from_secs(1))
                .patience(Duration::from_secs(2)),
            attempt: Duration::from_secs(5),
            total: Duration::from_secs(10),
        }
    }

    /// The same client whose calls end at `deadline` at the latest, such as that of an invoke.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let until = self.until.map_or(deadline, |until| until.min(deadline));
        Self { inner: Arc::clone(&self.inner), until: Some(until) }
    }

    /// The user's token of a connection; `None` when the user is not signed in.
    ///
    /// # Errors
    ///
    /// See [`TokenServiceErrorKind`](crate::TokenServiceErrorKind).
    pub async fn get_token(
        &self,
        user: &ChannelUser,
        connection: &str,
    ) -> Result<Option<ServiceToken>, TokenServiceError> {
        self.token(Operation::GetToken, user, connection, &[], Bytes::new()).await
    }

    /// The token that a code from the sign-in window stands for; `None` when the code is wrong or used. A code works
    /// once.
    ///
    /// # Errors
    ///
    /// See [`TokenServiceErrorKind`](crate::TokenServiceErrorKind). After an error the code may be used up.
    pub async fn redeem(
        &self,
        user: &ChannelUser,
        connection: &str,
        code: &Secret,
    ) -> Result<Option<ServiceToken>, TokenServiceError> {
        self.token(Operation::Redeem, user, connection, &[("code", code.expose())], Bytes::new()).await
    }

    /// Exchanges the token that a client of the user sent (`signin/tokenExchange`) for one of the connection, which the
    /// service then keeps.
    ///
    /// # Errors
    ///
    /// [`ConsentRequired`](crate::TokenServiceErrorKind::ConsentRequired) also when the service answers without a token;
    /// see [`TokenServiceErrorKind`](crate::TokenServiceErrorKind).
    pub async fn exchange(
        &self,
        user: &ChannelUser,
        connection: &str,
        token: &Secret,
    ) -> Result<ServiceToken, TokenServiceError> {
        let body = wire::exchange_body(token)?;
        let token = self.token(Operation::Exchange, user, connection, &[], body).await?;
        token.ok_or_else(|| TokenServiceError::new(Kind::ConsentRequired))
    }

    /// What a card needs to sign in the writer of `activity`. Good for about a minute.
    ///
    /// # Errors
    ///
    /// [`Protocol`](crate::TokenServiceErrorKind::Protocol) also when the link leads anywhere but to the service; see
    /// [`TokenServiceErrorKind`](crate::TokenServiceErrorKind).
    pub async fn get_sign_in_resource(
        &self,
        user: &ChannelUser,
        activity: &VerifiedActivity,
        connection: &str,
    ) -> Result<SignInResource, TokenServiceError> {
        let state = state::encode(user, activity, connection);
        let base = &self.inner.base;
        let call = Call::new(base, Operation::GetSignInResource, &[("state", &state)], Bytes::new())?;
        self.call(&call, |status, body| wire::decode_resource(status, body, base)).await
    }

    /// Makes the service forget the user's token of a connection, or of all. Sessions with Entra and tokens that were
    /// given out stay good until they end.
    ///
    /// # Errors
    ///
    /// See [`TokenServiceErrorKind`](crate::TokenServiceErrorKind). May be repeated.
    pub async fn sign_out(&self, user: &ChannelUser, connection: Option<&str>) -> Result<(), TokenServiceError> {
        let mut query = vec![("userId", user.id())];
        query.extend(connection.map(|name| ("connectionName", name)));
        query.push(("channelId", user.channel()));
        let call = Call::new(&self.inner.base, Operation::SignOut, &query, Bytes::new())?;
        self.call(&call, |status, _| wire::decode_sign_out(status)).await
    }

    async fn token(
        &self,
        operation: Operation,
        user: &ChannelUser,
        connection: &str,
        more: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Option<ServiceToken>, TokenServiceError> {
        let query = [("userId", user.id()), ("connectionName", connection), ("channelId", user.channel())];
        let query: Vec<_> = query.iter().chain(more).copied().collect();
        let call = Call::new(&self.inner.base, operation, &query, body)?;
        self.call(&call, |status, body| wire::decode_token(operation, status, body, self.inner.clock.now())).await
    }

    async fn call<T>(
        &self,
        call: &Call,
        decode: impl Fn(StatusCode, &[u8]) -> Result<T, TokenServiceError>,
    ) -> Result<T, TokenServiceError> {
        let deadline = Instant::now() + self.inner.total;
        let deadline = self.until.map_or(deadline, |until| until.min(deadline));
        let span = self.span(call.operation);
        async {
            let result = self.inner.attempts(call, deadline, decode).await;
            if let Err(error) = &result {
                Span::current().record("error.type", error.kind().as_str());
            }
            result
        }
        .instrument(span)
        .await
    }
}

/// A span with the stable name of its operation. The address is the path alone: the query names the user.
macro_rules! span {
    ($name:literal, $operation:expr, $base:expr) => {
        tracing::info_span!(
            $name,
            otel.kind = "client",
            http.request.method = %$operation.method(),
            server.address = $base.host_str(),
            url.template = $operation.path(),
            http.response.status_code = Empty,
            error.r#type = Empty,
        )
    };
}

impl TokenServiceClient {
    fn span(&self, operation: Operation) -> Span {
        let base = &self.inner.base;
        match operation {
            Operation::GetToken | Operation::Redeem => span!("user_token.get_token", operation, base),
            Operation::Exchange => span!("user_token.exchange", operation, base),
            Operation::GetSignInResource => span!("user_token.get_sign_in_resource", operation, base),
            Operation::SignOut => span!("user_token.sign_out", operation, base),
        }
    }
}

impl Inner {
    async fn attempts<T>(
        &self,
        call: &Call,
        deadline: Instant,
        decode: impl Fn(StatusCode, &[u8]) -> Result<T, TokenServiceError>,
    ) -> Result<T, TokenServiceError> {
        let mut rejected = None;
        let mut attempt = 1;
        loop {
            let token = self.bot_token(rejected.clone(), deadline).await?;
            let error = match self.send(call, &token, deadline, &decode).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // The cached token of the bot may have been revoked: one fresh one, once.
            if error.status() == Some(401) && rejected.is_none() {
                rejected = Some(token);
                continue;
            }
            let wait = match wire::may_repeat(call.operation, &error) {
                true => self.retry.delay(attempt, error.retry_after()),
                false => None,
            };
            let until = wait.map(|wait| Instant::now() + wait).filter(|until| *until < deadline);
            let Some(until) = until else { return Err(error) };
            sleep_until(until).await;
            attempt += 1;
        }
    }

    async fn bot_token(
        &self,
        rejected: Option<AccessToken>,
        deadline: Instant,
    ) -> Result<AccessToken, TokenServiceError> {
        let mut request = TokenRequest::new(self.audience.scopes().clone());
        request.rejected = rejected;
        let token = timeout_at(deadline, self.credential.get_token(&request)).await;
        match token {
            Ok(token) => token.map_err(TokenServiceError::credential),
            Err(_) => Err(TokenServiceError::new(Kind::Unavailable)),
        }
    }

    async fn send<T>(
        &self,
        call: &Call,
        token: &AccessToken,
        deadline: Instant,
        decode: impl Fn(StatusCode, &[u8]) -> Result<T, TokenServiceError>,
    ) -> Result<T, TokenServiceError> {
        let deadline = deadline.min(Instant::now() + self.attempt);
        let mut request = call.request()?;
        token.authorize(&mut request, &self.audience).map_err(TokenServiceError::credential)?;
        request.extensions_mut().insert(Deadline(deadline));
        let exchange = async {
            let (parts, body) = self.transport.send(request).await?.into_parts();
            Ok::<_, TransportError>((parts, body.collect(MAX_ANSWER).await?))
        };
        let answer = timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(TransportErrorKind::Timeout.into()));
        let (parts, body) = answer.map_err(TokenServiceError::transport)?;
        Span::current().record("http.response.status_code", parts.status.as_u16());
        decode(parts.status, &body)
            .map_err(|error| error.with_retry_after(entra_auth::retry_after(&parts.headers, self.clock.now())))
    }
}

impl fmt::Debug for TokenServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServiceClient")
            .field("base", &self.inner.base.as_str())
            .field("retry", &self.inner.retry)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`TokenServiceClient`].
#[derive(Debug)]
#[must_use]
pub struct TokenServiceClientBuilder {
    cloud: ChannelCloud,
    credential: Arc<dyn TokenCredential>,
    transport: Arc<dyn HttpTransport>,
    base: Option<Url>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    attempt: Duration,
    total: Duration,
}

impl TokenServiceClientBuilder {
    /// Sets the address of the service (`BOT_TOKEN_SERVICE_URL`): a region's, such as
    /// `https://europe.token.botframework.com`, or a sandbox on this machine. Default: that of the cloud without
    /// residency.
    pub fn base_url(mut self, base: Url) -> Self {
        self.base = Some(base);
        self
    }

    /// Sets the clock that the ends of tokens are judged by. Default the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how often and how patiently calls are repeated. Default 2 attempts, 300 ms, 1 s, patience 2 s.
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long one attempt and how long a call may take. Default 5 s and 10 s.
    pub const fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.attempt = attempt;
        self.total = total;
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When the address is neither `https` nor `http` on this machine. The operator corrects the setting.
    pub fn build(self) -> Result<TokenServiceClient, BuildError> {
        let base = match self.base {
            Some(base) => base,
            None => Url::parse(default_base(self.cloud))
                .map_err(|error| BuildError::new("the address of the token service is malformed").with_source(error))?,
        };
        let scopes = self
            .cloud
            .connector_scope()
            .parse()
            .map_err(|error| BuildError::new("the scope of the token service is malformed").with_source(error))?;
        let inner = Inner {
            audience: Audience::new(scopes, [&base])?,
            transport: self.transport,
            credential: self.credential,
            clock: self.clock,
            base,
            retry: self.retry,
            attempt: self.attempt,
            total: self.total,
        };
        Ok(TokenServiceClient { inner: Arc::new(inner), until: None })
    }
}

/// See <https://learn.microsoft.com/azure/bot-service/ref-oauth-redirect-urls>.
const fn default_base(cloud: ChannelCloud) -> &'static str {
    match cloud {
        ChannelCloud::GccHigh | ChannelCloud::Dod => "https://token.botframework.azure.us",
        ChannelCloud::China => "https://token.botframework.azure.cn",
        _ => "https://token.botframework.com",
    }
}
