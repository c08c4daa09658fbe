use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::Request;

use super::{
    cache::Hint,
    cache_key::{CacheKey, Place, Subject},
    certificate::Style,
    client_setup::{Setup, setup_setters},
    credential::{ClientCredential, Occasion, Proof},
    engine::{Engine, Grant},
    wire::{self, ASSERTION_TYPE, Form},
};
use crate::{
    AccessToken, Authority, Body, BuildError, ClaimsChallenge, ClientId, Clock, CorrelationId, Error, ErrorKind,
    ExtraParameters, HttpTransport, RetryPolicy, Scopes, TenantId, TokenCredential, TokenRequest,
};

/// An application that can keep a secret: gets tokens for itself and on behalf of its users.
///
/// As a [`TokenCredential`] it gets tokens for itself (client credentials,
/// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>). Tokens are cached, refreshed
/// behind the caller's back before they end, and of many concurrent callers one asks Entra. A clone is cheap and
/// shares the cache; one client a process is the right number.
///
/// ```no_run
/// use entra_auth::{ConfidentialClient, Secret, TokenCredential, TokenRequest};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ConfidentialClient::builder(
///     "contoso.onmicrosoft.com".parse()?,
///     "00000000-0000-0000-0000-000000000000".parse()?,
///     Secret::new("…"),
/// )
/// .build()?;
/// let request = TokenRequest::new("https://graph.microsoft.com/.default".parse()?);
/// let token = client.get_token(&request).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConfidentialClient(Arc<Inner>);

pub(super) struct Inner {
    pub(super) engine: Arc<Engine>,
    pub(super) identity: Arc<Identity>,
    tenant: TenantId,
    /// Where the application's own tokens of the home tenant lie, and where one of them was found last.
    home: (Place, Hint),
}

/// Who asks: the same for every grant.
pub(super) struct Identity {
    authority: Authority,
    client_id: ClientId,
    credential: ClientCredential,
    challenges: bool,
    clock: Arc<dyn Clock>,
}

impl ConfidentialClient {
    /// Starts with what has no default: home tenant, client id and credential.
    pub fn builder(
        tenant: TenantId,
        client_id: ClientId,
        credential: impl Into<ClientCredential>,
    ) -> ConfidentialClientBuilder {
        ConfidentialClientBuilder {
            tenant,
            client_id,
            credential: credential.into(),
            setup: Setup::default(),
            cache_bytes: 64 << 20,
            #[cfg(feature = "validate")]
            second_level: None,
        }
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.0.identity.client_id
    }

    /// The home tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }
}

#[async_trait]
impl TokenCredential for ConfidentialClient {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if !is_one_resource(&request.scopes) {
            return Err(Error::new(
                ErrorKind::Configuration,
                "an application's own token is for one resource: ask for exactly one scope that ends in /.default",
            ));
        }
        let (place, hint) = &self.0.home;
        if request.tenant.as_ref().is_none_or(|tenant| *tenant == self.0.tenant)
            && let Some(token) = self.0.engine.hit(place, request, hint)
        {
            return Ok(token);
        }
        // In a box of its own, so that a hit does not pay for the room that a fetch needs.
        Box::pin(self.fetch(request)).await
    }
}

impl ConfidentialClient {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let tenant = request.tenant.as_ref().unwrap_or(&self.0.tenant);
        let parameters = request.parameters.digest();
        let key = CacheKey::new(Some(tenant.clone()), Subject::App, request.scopes.clone(), parameters);
        let grant = || -> Arc<dyn Grant> {
            Arc::new(ClientCredentials {
                identity: Arc::clone(&self.0.identity),
                tenant: tenant.clone(),
                scopes: request.scopes.clone(),
                parameters: request.parameters.clone(),
            })
        };
        self.0.engine.token(key, request, &grant).await
    }
}

fn is_one_resource(scopes: &Scopes) -> bool {
    let scope = scopes.folded();
    scope.ends_with("/.default") && !scope.as_bytes().contains(&b' ')
}

struct ClientCredentials {
    identity: Arc<Identity>,
    tenant: TenantId,
    scopes: Scopes,
    parameters: ExtraParameters,
}

#[async_trait]
impl Grant for ClientCredentials {
    fn name(&self) -> &'static str {
        "client_credentials"
    }

    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let mut form = vec![("grant_type", "client_credentials".into()), ("scope", self.scopes.as_str().into())];
        wire::extend(&mut form, &self.parameters);
        self.identity.request(&self.tenant, form, claims, id).await
    }
}

impl Identity {
    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    #[cfg(feature = "validate")]
    pub(super) const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Whether the application says that it handles claims challenges.
    pub(super) const fn challenges(&self) -> bool {
        self.challenges
    }

    /// Completes a grant's own parameters with who asks and how it proves that.
    pub(super) async fn request<'a>(
        &'a self,
        tenant: &TenantId,
        mut form: Form<'a>,
        claims: Option<&ClaimsChallenge>,
        id: &CorrelationId,
    ) -> Result<Request<Body>, Error> {
        let endpoint = self.authority.token_endpoint(tenant);
        form.push(("client_id", self.client_id.as_str().into()));
        form.extend(claims_parameter(self.challenges, claims).map(|claims| ("claims", claims.into())));
        let occasion = Occasion {
            client_id: &self.client_id,
            tenant,
            endpoint: &endpoint,
            correlation_id: id,
            now: self.clock.now(),
            style: Style::default(),
        };
        let proof = self.credential.prove(&occasion).await?;
        let mut form: Form<'_> = form;
        let used = match &proof {
            Proof::Secret(secret) => {
                form.push(("client_secret", secret.expose().into()));
                None
            }
            Proof::Assertion(assertion, used) => {
                form.push(("client_assertion_type", ASSERTION_TYPE.into()));
                form.push(("client_assertion", assertion.expose().into()));
                used.clone()
            }
        };
        let mut request = wire::encode(&endpoint, &form, id)?;
        // The engine asks it, after a refusal, whether another proof is there.
        used.map(|used| request.extensions_mut().insert(used));
        Ok(request)
    }
}

/// The `claims` parameter, when there is one.
pub(super) fn claims_parameter(challenges: bool, claims: Option<&ClaimsChallenge>) -> Option<String> {
    match (challenges, claims) {
        (true, claims) => Some(ClaimsChallenge::with_cp1(claims)),
        (false, claims) => claims.map(|claims| claims.as_str().to_owned()),
    }
}

impl fmt::Debug for ConfidentialClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfidentialClient")
            .field("authority", &self.0.identity.authority)
            .field("tenant", &self.0.tenant)
            .field("client_id", &self.0.identity.client_id)
            .field("credential", &self.0.identity.credential)
            .finish_non_exhaustive()
    }
}

/// Builds a [`ConfidentialClient`].
#[derive(Debug)]
#[must_use]
pub struct ConfidentialClientBuilder {
    tenant: TenantId,
    client_id: ClientId,
    credential: ClientCredential,
    setup: Setup,
    cache_bytes: usize,
    #[cfg(feature = "validate")]
    second_level: Option<Box<dyn super::second_level::SecondLevel>>,
}

impl ConfidentialClientBuilder {
    setup_setters!();

    /// How much memory cached tokens may take. Default: 64 MiB.
    pub const fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Shares users' tokens with other processes through a store, sealed, and lets a sign-out in one reach all of them.
    /// Default: each process has a cache of its own.
    ///
    /// Only On-Behalf-Of tokens go there: an application's own tokens, and refresh tokens, stay in the process. A store
    /// that fails, or an entry that does not open, costs a request to Entra and nothing else.
    #[cfg(all(feature = "seal", feature = "validate"))]
    #[cfg_attr(docsrs, doc(cfg(all(feature = "seal", feature = "validate"))))]
    pub fn second_level<S: crate::Store>(mut self, store: crate::SealedStore<S>) -> Self {
        self.second_level = Some(Box::new(super::second_level::InStore::new(store)));
        self
    }

    /// Builds the client. Nothing is sent. A certificate that ends within 30 days is warned of in the log.
    ///
    /// # Errors
    ///
    /// When a client secret is empty, or no transport was given and none is built in.
    pub fn build(self) -> Result<ConfidentialClient, BuildError> {
        if matches!(&self.credential, ClientCredential::Secret(secret) if secret.is_empty()) {
            return Err(BuildError::new("the client secret is empty"));
        }
        let setup = self.setup;
        self.credential.report_end(setup.clock.now());
        let engine = setup.engine(self.cache_bytes)?;
        #[cfg(feature = "validate")]
        let engine = {
            let mut engine = engine;
            engine.second_level = self.second_level;
            if let Some(second_level) = &mut engine.second_level {
                let authority = setup.authority.url().as_str().to_owned();
                second_level.belongs_to([authority, self.client_id.as_str().to_owned(), setup.challenges.to_string()]);
            }
            engine
        };
        let identity = Identity {
            authority: setup.authority,
            client_id: self.client_id,
            credential: self.credential,
            challenges: setup.challenges,
            clock: setup.clock,
        };
        let home = (Place::new(Some(&self.tenant), &Subject::App, None), Hint::new());
        let inner = Inner { engine: Arc::new(engine), identity: Arc::new(identity), tenant: self.tenant, home };
        Ok(ConfidentialClient(Arc::new(inner)))
    }
}
