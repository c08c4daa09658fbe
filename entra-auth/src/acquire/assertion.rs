//! Client assertions that somebody else signs.

use std::{
    collections::HashMap,
    fmt,
    future::ready,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use time::OffsetDateTime;
use url::Url;

use super::{
    credential::{Occasion, Prover, Used},
    workload_identity::TokenFile,
};
use crate::{
    AccessToken, BuildError, ClientId, CorrelationId, Error, Scopes, Secret, TenantId, TokenCredential, TokenRequest,
    flight::Boxed,
};

/// An assertion that somebody else signs and Entra trusts by a federated credential of the registration
/// (<https://learn.microsoft.com/entra/workload-id/workload-identity-federation>): no secret to keep or renew.
#[derive(Clone)]
pub struct ClientAssertion(Arc<dyn Prover>);

struct Function<F> {
    call: F,
    /// What may be used again, by token endpoint: the audience of an assertion may depend on it.
    kept: Arc<Kept>,
}

type Kept = Mutex<HashMap<Url, (Secret, OffsetDateTime)>>;

struct Federated {
    credential: Arc<dyn TokenCredential>,
    scopes: Scopes,
    rejected: Mutex<Option<AccessToken>>,
}

/// Assertions for more token endpoints than this are not remembered at the same time.
const MAX_KEPT: usize = 256;

/// For whom an assertion is wanted.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct AssertionRequest {
    /// The application: `iss` and `sub` of an assertion of its own.
    pub client_id: ClientId,
    /// The tenant that is asked.
    pub tenant: TenantId,
    /// The token endpoint: `aud` of an assertion of its own.
    pub token_endpoint: Url,
    /// The id under which both sides log this request.
    pub correlation_id: CorrelationId,
}

/// What a source of assertions answers: a JWT, and how long it may be used again.
#[derive(Clone, Debug)]
pub struct Assertion {
    jwt: Secret,
    until: Option<OffsetDateTime>,
}

impl Assertion {
    /// An assertion for this one request.
    pub fn once(jwt: impl Into<Secret>) -> Self {
        Self { jwt: jwt.into(), until: None }
    }

    /// An assertion that may be used again for the same token endpoint until then. Leave room before its end.
    pub fn reusable_until(jwt: impl Into<Secret>, until: OffsetDateTime) -> Self {
        Self { jwt: jwt.into(), until: Some(until) }
    }
}

impl ClientAssertion {
    /// Asks a function for each token request (tokens are cached, so that is rare), unless what it last gave may be
    /// used again. Its errors reach the caller as they are; it has 8 s. When Entra refuses an assertion used again as
    /// outdated, the function is asked for a fresh one within the same request.
    ///
    /// ```
    /// # use entra_auth::{Assertion, AssertionRequest, ClientAssertion, Error};
    /// # async fn sign_elsewhere(audience: &str) -> Result<String, Error> { Ok(String::new()) }
    /// let assertion = ClientAssertion::from_fn(|request: AssertionRequest| async move {
    ///     Ok(Assertion::once(sign_elsewhere(request.token_endpoint.as_str()).await?))
    /// });
    /// ```
    pub fn from_fn<F, Fut>(source: F) -> Self
    where
        F: Fn(AssertionRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Assertion, Error>> + Send + 'static,
    {
        Self(Arc::new(Function { call: source, kept: Arc::default() }))
    }

    /// Reads a projected token from a file for each token request: AKS workload identity, or any other platform that
    /// rewrites the file before the token ends. See [`WorkloadIdentity`] for the settings of AKS.
    ///
    /// The file is regular, at most 16 KiB, and a link leads nowhere but below its own folder.
    ///
    /// # Errors
    ///
    /// When the file cannot be read now, breaks these rules or holds no JWT. The message names it and says what to do.
    /// Later the same is [`ErrorKind::ClientCredential`](crate::ErrorKind::ClientCredential) on the token request.
    ///
    /// [`WorkloadIdentity`]: crate::WorkloadIdentity
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, BuildError> {
        TokenFile::open(path.into()).map(|file| Self(Arc::new(file)))
    }

    /// Takes the token of another credential, such as a managed identity, for the audience
    /// `api://AzureADTokenExchange` of the public cloud.
    #[inline]
    pub fn from_credential(credential: Arc<dyn TokenCredential>) -> Self {
        // The one scope is constant; a test covers it.
        #[allow(clippy::expect_used)]
        let scopes = "api://AzureADTokenExchange/.default".parse().expect("a constant scope");
        Self::from_credential_for(credential, scopes)
    }

    /// The same for another audience, such as `api://AzureADTokenExchangeUSGov/.default` or
    /// `api://AzureADTokenExchangeChina/.default`.
    #[inline]
    pub fn from_credential_for(credential: Arc<dyn TokenCredential>, scopes: Scopes) -> Self {
        Self(Arc::new(Federated { credential, scopes, rejected: Mutex::default() }))
    }

    pub(super) fn prove<'a>(&self, occasion: Occasion<'a>) -> Boxed<'a, Result<(Secret, Option<Used>), Error>> {
        Arc::clone(&self.0).prove(occasion)
    }
}

impl AssertionRequest {
    #[inline]
    fn new(occasion: &Occasion<'_>) -> Self {
        Self {
            client_id: occasion.client_id.clone(),
            tenant: occasion.tenant.clone(),
            token_endpoint: occasion.endpoint.clone(),
            correlation_id: occasion.correlation_id.clone(),
        }
    }
}

#[async_trait]
impl<F, Fut> Prover for Function<F>
where
    F: Fn(AssertionRequest) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Assertion, Error>> + Send,
{
    async fn prove(self: Arc<Self>, occasion: Occasion<'_>) -> Result<(Secret, Option<Used>), Error> {
        let (endpoint, now) = (occasion.endpoint, occasion.now);
        let kept = lock(&self.kept).get(endpoint).filter(|(_, until)| now < *until).map(|(jwt, _)| jwt.clone());
        if let Some(jwt) = kept {
            let (kept, endpoint, refused) = (Arc::clone(&self.kept), endpoint.clone(), jwt.clone());
            let used = Used::new(move || {
                // Forgotten, unless another has taken its place. Either way the next attempt sends another.
                let mut kept = lock(&kept);
                if kept.get(&endpoint).is_some_and(|(jwt, _)| *jwt == refused) {
                    kept.remove(&endpoint);
                }
                Box::pin(ready(true))
            });
            return Ok((jwt, Some(used)));
        }
        let assertion = (self.call)(AssertionRequest::new(&occasion)).await?;
        let mut kept = lock(&self.kept);
        match assertion.until {
            Some(until) if now < until => {
                if kept.len() >= MAX_KEPT && !kept.contains_key(endpoint) {
                    kept.clear();
                }
                kept.insert(endpoint.clone(), (assertion.jwt.clone(), until));
            }
            _ => {
                kept.remove(endpoint);
            }
        }
        Ok((assertion.jwt, None))
    }
}

#[async_trait]
impl Prover for Federated {
    #[inline]
    async fn prove(self: Arc<Self>, occasion: Occasion<'_>) -> Result<(Secret, Option<Used>), Error> {
        let rejected = lock(&self.rejected).clone();
        let mut wanted = TokenRequest::new(self.scopes.clone()).with_correlation_id(occasion.correlation_id.clone());
        wanted.rejected = rejected;
        let token = self.credential.get_token(&wanted).await?;
        let jwt = token.expose().into();
        // Whether the credential has another one, it knows.
        let used = Used::new(move || {
            *lock(&self.rejected) = Some(token.clone());
            Box::pin(ready(true))
        });
        Ok((jwt, Some(used)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ClientAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientAssertion").field(&self.0).finish()
    }
}

impl<F> fmt::Debug for Function<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt("function", f)
    }
}

impl fmt::Debug for Federated {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credential.fmt(f)
    }
}
