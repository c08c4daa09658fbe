use std::{fmt, sync::Arc, time::Duration};

use super::{
    engine::Engine,
    party::{Party, PublicIdentity},
    users::Users,
};
use crate::{
    Authority, BuildError, ClientId, Clock, HttpTransport, IdTokenValidator, RetryPolicy, SystemClock, TenantId,
    transport::{self, NO_TRANSPORT},
};

/// An application that cannot keep a secret: a tool on somebody's machine, a device. It signs users in and sends no
/// credential of its own.
///
/// A server is a [`ConfidentialClient`](crate::ConfidentialClient). Clients, differences and registration:
/// <https://learn.microsoft.com/entra/identity-platform/msal-client-applications>.
///
/// ```no_run
/// use entra_auth::{Authority, IdTokenValidator, PublicClient, TenantId, TenantPolicy, TokenCredential, TokenRequest};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tenant: TenantId = "11111111-1111-1111-1111-111111111111".parse()?;
/// let client = PublicClient::builder(tenant.clone(), "22222222-2222-2222-2222-222222222222".parse()?).build()?;
/// let validator =
///     IdTokenValidator::builder(Authority::default(), client.client_id().clone(), TenantPolicy::Single(tenant)).build()?;
/// let users = client.users(validator);
///
/// let code = users.device_code(&"User.Read".parse()?).await?;
/// println!("Open {} and enter {}", code.verification_uri(), code.user_code());
/// let signed_in = users.wait_for(code).await?;
///
/// let credential = users.credential(signed_in.account.user_key());
/// let token = credential.get_token(&TokenRequest::new("Mail.Read".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PublicClient {
    engine: Arc<Engine>,
    identity: Arc<PublicIdentity>,
    tenant: TenantId,
}

impl PublicClient {
    /// Starts with what has no default: tenant and client id.
    pub fn builder(tenant: TenantId, client_id: ClientId) -> PublicClientBuilder {
        PublicClientBuilder {
            tenant,
            client_id,
            authority: Authority::default(),
            transport: None,
            clock: Arc::new(SystemClock),
            retry: RetryPolicy::default(),
            timeouts: (Duration::from_secs(10), Duration::from_secs(12)),
            challenges: false,
        }
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.identity.client_id
    }

    /// Signs users in; `validator` judges their id tokens and must be for this client.
    #[must_use]
    pub fn users(&self, validator: IdTokenValidator) -> Users {
        let party = Party::Public(Arc::clone(&self.identity));
        Users::new(Arc::clone(&self.engine), party, self.tenant.clone(), validator)
    }
}

impl fmt::Debug for PublicClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicClient")
            .field("authority", &self.identity.authority)
            .field("tenant", &self.tenant)
            .field("client_id", &self.identity.client_id)
            .finish_non_exhaustive()
    }
}

/// Builds a [`PublicClient`].
#[derive(Debug)]
#[must_use]
pub struct PublicClientBuilder {
    tenant: TenantId,
    client_id: ClientId,
    authority: Authority,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    timeouts: (Duration, Duration),
    challenges: bool,
}

impl PublicClientBuilder {
    /// Where tokens come from. Default: the public cloud.
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = authority;
        self
    }

    /// How requests are sent. Default with feature `reqwest`: `ReqwestTransport::new()`; without it there is none.
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// What time it is. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How often a passing fault is tried again. Default: 3 attempts, 500 ms doubling to 4 s, with jitter.
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The bound of one attempt and of all together. Default: 10 s and 12 s.
    pub const fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.timeouts = (attempt, total);
        self
    }

    /// Tells Entra (capability `cp1`) that this application handles claims challenges.
    pub const fn handles_claims_challenges(mut self) -> Self {
        self.challenges = true;
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When no transport was given and none is built in.
    pub fn build(self) -> Result<PublicClient, BuildError> {
        let transport = transport::or_built_in(self.transport, NO_TRANSPORT)?;
        let mut engine = Engine::new(transport, self.clock, 4 << 20);
        engine.retry = self.retry;
        (engine.attempt, engine.total) = self.timeouts;
        let identity =
            PublicIdentity { authority: self.authority, client_id: self.client_id, challenges: self.challenges };
        Ok(PublicClient { engine: Arc::new(engine), identity: Arc::new(identity), tenant: self.tenant })
    }
}
