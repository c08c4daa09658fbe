use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use http::Request;

use super::{
    accounts::Holder,
    cache_key::{CacheKey, Subject},
    engine::{Engine, Grant},
    party::{Party, resource_scopes, with_sign_in_scopes},
    wire::{self, Extras},
};
use crate::{
    AccessToken, Body, ClaimsChallenge, CorrelationId, Error, ErrorKind, ExtraParameters, Scopes, Secret,
    TokenCredential, TokenRequest,
};

/// A [`TokenCredential`] of one user who has signed in; see [`Users::credential`](crate::Users::credential) and
/// [`ConfidentialClient::long_running`](crate::ConfidentialClient::long_running).
#[derive(Clone)]
pub struct AccountCredential {
    engine: Arc<Engine>,
    party: Party,
    holder: Holder,
}

impl AccountCredential {
    pub(super) const fn new(engine: Arc<Engine>, party: Party, holder: Holder) -> Self {
        Self { engine, party, holder }
    }
}

#[async_trait]
impl TokenCredential for AccountCredential {
    #[inline]
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let tenant = self.holder.user.tenant();
        if request.tenant.as_ref().is_some_and(|other| other != tenant) {
            return Err(Error::new(ErrorKind::Unsupported, "a user's tokens are of the tenant they signed in to"));
        }
        let scopes = resource_scopes(&request.scopes).ok_or_else(|| {
            Error::new(ErrorKind::Configuration, "an access token is for a resource: ask for one of its scopes")
        })?;
        if !self.engine.accounts.contains(&self.holder) {
            return Err(nobody());
        }
        let subject = Subject::Account { user: self.holder.user.clone(), session: self.holder.session };
        let parameters = request.parameters.digest();
        let key = CacheKey::new(Some(tenant.clone()), subject, scopes.clone(), parameters);
        let grant = || -> Arc<dyn Grant> {
            Arc::new(Refresh {
                engine: Arc::clone(&self.engine),
                party: self.party.clone(),
                holder: self.holder.clone(),
                scopes: scopes.clone(),
                parameters: request.parameters.clone(),
                sent: Mutex::default(),
            })
        };
        self.engine.token(key, request, &grant).await
    }
}

fn nobody() -> Error {
    Error::new(ErrorKind::Reauthenticate, "the user has not signed in here, or no longer is; they must sign in")
}

/// A refresh token for an access token (<https://learn.microsoft.com/entra/identity-platform/refresh-tokens>).
struct Refresh {
    engine: Arc<Engine>,
    party: Party,
    holder: Holder,
    scopes: Scopes,
    parameters: ExtraParameters,
    /// The refresh token of the last attempt.
    sent: Mutex<Option<Secret>>,
}

#[async_trait]
impl Grant for Refresh {
    #[inline]
    fn name(&self) -> &'static str {
        "refresh_token"
    }

    #[inline]
    async fn request(&self, claims: Option<&ClaimsChallenge>, id: &CorrelationId) -> Result<Request<Body>, Error> {
        let refresh_token = self.engine.accounts.refresh_token(&self.holder).ok_or_else(nobody)?;
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(refresh_token.clone());
        let scopes = with_sign_in_scopes(&self.scopes)?;
        let mut form = vec![
            ("grant_type", "refresh_token".into()),
            ("refresh_token", refresh_token.expose().into()),
            ("scope", scopes.as_str().into()),
        ];
        wire::extend(&mut form, &self.parameters);
        self.party.request(self.holder.user.tenant(), form, claims, id).await
    }

    /// A new refresh token takes the place of the old one; without one the old one stays.
    #[inline]
    fn keep(&self, extras: &Extras) {
        if let Some(refresh_token) = &extras.refresh_token {
            self.engine.accounts.rotate(&self.holder, refresh_token.clone());
        }
    }

    /// A refresh token that is no longer good is not sent again. One that only lacks consent or a second factor for this
    /// resource stays good for others.
    #[inline]
    fn refused(&self, error: &Error) {
        let is_dead = error.kind() == ErrorKind::Reauthenticate
            && error.oauth().is_some_and(|oauth| oauth.error == "invalid_grant");
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sent) = sent.filter(|_| is_dead) {
            self.engine.accounts.drop_refused(&self.holder, &sent);
        }
    }
}

impl fmt::Debug for AccountCredential {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountCredential").field("user", &self.holder.user).finish_non_exhaustive()
    }
}
