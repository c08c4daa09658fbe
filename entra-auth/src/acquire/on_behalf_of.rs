use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Request;
use time::OffsetDateTime;

use super::{
    cache::{CacheKey, Subject},
    client::{ConfidentialClient, Identity},
    engine::Grant,
    wire::GRANT_JWT_BEARER,
};
use crate::{
    AccessToken, Body, ClaimsChallenge, Clock, CorrelationId, Error, ErrorKind, Scopes, TokenCredential, TokenRequest,
    UserAssertion,
};

impl ConfidentialClient {
    /// Acts for the user who sent `assertion`, at other resources (On-Behalf-Of,
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>).
    ///
    /// Cheap to make for every request: cache and single flight live in the client, keyed by user and assertion. A
    /// token is never kept beyond the end of the assertion, so that a session that is over ends the chain.
    #[must_use]
    pub fn on_behalf_of(&self, assertion: UserAssertion) -> OnBehalfOf {
        let hash = super::sha256(assertion.raw().expose().as_bytes());
        OnBehalfOf { client: self.clone(), assertion: Arc::new(assertion), hash }
    }
}

/// A [`TokenCredential`] bound to one user; see [`ConfidentialClient::on_behalf_of`].
#[derive(Clone)]
pub struct OnBehalfOf {
    client: ConfidentialClient,
    assertion: Arc<UserAssertion>,
    hash: [u8; 32],
}

#[async_trait]
impl TokenCredential for OnBehalfOf {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let tenant = self.assertion.user_key().tenant();
        if request.tenant.as_ref().is_some_and(|other| other != tenant) {
            return Err(Error::new(ErrorKind::Unsupported, "a user's assertion is exchanged in the user's own tenant"));
        }
        let inner = self.client.inner();
        if self.assertion.expires_on() <= inner.engine.clock.now() {
            return Err(Error::new(ErrorKind::Reauthenticate, "the user assertion has ended; get a new user token"));
        }
        let subject = Subject::OnBehalfOf { user: self.assertion.user_key().clone(), assertion: self.hash };
        let key = CacheKey { tenant: tenant.clone(), subject, scopes: request.scopes.clone() };
        let grant = || -> Arc<dyn Grant> {
            Arc::new(Exchange {
                identity: Arc::clone(&inner.identity),
                assertion: Arc::clone(&self.assertion),
                scopes: request.scopes.clone(),
                clock: Arc::clone(&inner.engine.clock),
            })
        };
        inner.engine.token(key, request, grant).await
    }
}

struct Exchange {
    identity: Arc<Identity>,
    assertion: Arc<UserAssertion>,
    scopes: Scopes,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Grant for Exchange {
    fn name(&self) -> &'static str {
        "on_behalf_of"
    }

    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let form = vec![
            ("grant_type", GRANT_JWT_BEARER.into()),
            ("requested_token_use", "on_behalf_of".into()),
            ("scope", self.scopes.as_str().into()),
            ("assertion", self.assertion.raw().expose().into()),
        ];
        self.identity.request(self.assertion.user_key().tenant(), form, claims, id).await
    }

    fn finish(&self, token: AccessToken) -> Result<AccessToken, Error> {
        capped(token, self.assertion.expires_on(), self.clock.now())
    }
}

/// The token with a life that ends with the assertion's at the latest.
pub(super) fn capped(token: AccessToken, end: OffsetDateTime, now: OffsetDateTime) -> Result<AccessToken, Error> {
    if token.expires_on() <= end {
        return Ok(token);
    }
    let refresh = token.refresh_on().filter(|at: &OffsetDateTime| *at < end && *at > now);
    let capped = AccessToken::new(token.expose(), end)?;
    Ok(refresh.into_iter().fold(capped, AccessToken::with_refresh_on))
}

impl fmt::Debug for OnBehalfOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnBehalfOf").field("client", &self.client).finish_non_exhaustive()
    }
}
