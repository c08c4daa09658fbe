use std::{fmt, sync::Arc};

use async_trait::async_trait;
use http::Request;
use time::OffsetDateTime;

use super::{
    cache::Hint,
    cache_key::{CacheKey, Place, Subject},
    client::{ConfidentialClient, Identity},
    engine::Grant,
    wire::{self, GRANT_JWT_BEARER},
};
use crate::{
    AccessToken, Body, ClaimsChallenge, Clock, CorrelationId, Error, ErrorKind, ExtraParameters, Scopes,
    TokenCredential, TokenRequest, UserAssertion,
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
        let place = Place::of_assertion(assertion.user_key(), &hash);
        OnBehalfOf { client: self.clone(), assertion, place, hint: Hint::new() }
    }
}

/// A [`TokenCredential`] bound to one user; see [`ConfidentialClient::on_behalf_of`].
///
/// Keep it for as long as the user's request lasts: it remembers where its token lies, and keeps no token itself.
#[derive(Clone)]
pub struct OnBehalfOf {
    client: ConfidentialClient,
    assertion: UserAssertion,
    /// Where its tokens lie in the client's cache.
    place: Place,
    /// Where one of them was found last.
    hint: Hint,
}

#[async_trait]
impl TokenCredential for OnBehalfOf {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if request.tenant.is_none()
            && let Some(token) = self.client.inner().engine.hit(&self.place, request, &self.hint)
        {
            // No token is kept beyond the end of its assertion.
            return Ok(token);
        }
        // In a box of its own, so that a hit does not pay for the room that a fetch needs.
        Box::pin(self.fetch(request)).await
    }
}

impl OnBehalfOf {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let tenant = self.assertion.user_key().tenant();
        if request.tenant.as_ref().is_some_and(|other| other != tenant) {
            return Err(Error::new(ErrorKind::Unsupported, "a user's assertion is exchanged in the user's own tenant"));
        }
        let inner = self.client.inner();
        if self.assertion.expires_on() <= inner.engine.clock.now() {
            return Err(Error::new(ErrorKind::Reauthenticate, "the user assertion has ended; get a new user token"));
        }
        let subject =
            Subject::OnBehalfOf { user: self.assertion.user_key().clone(), assertion: *self.place.assertion() };
        let parameters = request.parameters.digest();
        let key = CacheKey::new(Some(tenant.clone()), subject, request.scopes.clone(), parameters);
        let grant = || -> Arc<dyn Grant> {
            Arc::new(Exchange {
                identity: Arc::clone(&inner.identity),
                assertion: self.assertion.clone(),
                scopes: request.scopes.clone(),
                parameters: request.parameters.clone(),
                clock: Arc::clone(&inner.engine.clock),
            })
        };
        inner.engine.token(key, request, &grant).await
    }
}

struct Exchange {
    identity: Arc<Identity>,
    assertion: UserAssertion,
    scopes: Scopes,
    parameters: ExtraParameters,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Grant for Exchange {
    fn name(&self) -> &'static str {
        "on_behalf_of"
    }

    #[inline]
    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let mut form = vec![
            ("grant_type", GRANT_JWT_BEARER.into()),
            ("requested_token_use", "on_behalf_of".into()),
            ("scope", self.scopes.as_str().into()),
            ("assertion", self.assertion.raw().expose().into()),
        ];
        wire::extend(&mut form, &self.parameters);
        self.identity.request(self.assertion.user_key().tenant(), form, claims, id).await
    }

    #[inline]
    fn finish(&self, token: AccessToken) -> Result<AccessToken, Error> {
        capped(token, self.assertion.expires_on(), self.clock.now())
    }
}

/// The token with a life that ends with the assertion's at the latest.
#[inline]
pub(super) fn capped(token: AccessToken, end: OffsetDateTime, now: OffsetDateTime) -> Result<AccessToken, Error> {
    if token.expires_on() <= end {
        return Ok(token);
    }
    let refresh = token.refresh_on().filter(|at: &OffsetDateTime| *at < end && *at > now);
    let capped = AccessToken::new(token.expose(), end)?;
    Ok(refresh.into_iter().fold(capped, AccessToken::with_refresh_on))
}

impl fmt::Debug for OnBehalfOf {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnBehalfOf").field("client", &self.client).finish_non_exhaustive()
    }
}
