use std::{fmt, sync::Arc};

use super::{
    accounts::{Holder, Names},
    cache_key::{CacheKey, Subject},
    client::ConfidentialClient,
    engine::signed_out,
    party::{Party, resource_scopes, with_sign_in_scopes},
    pkce::random_text,
    refresh::AccountCredential,
    wire::{self, GRANT_JWT_BEARER},
};
use crate::{CorrelationId, Error, ErrorKind, Scopes, Secret, UserAssertion, UserKey};

/// Names one long-running process of a user. Whoever has it can act for that user in this process: keep it like a
/// password, next to the job it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Secret);

impl SessionKey {
    /// A fresh key of 256 bits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] when the system gives no random numbers.
    #[inline]
    pub fn random() -> Result<Self, Error> {
        random_text().map(Self)
    }

    /// A key that was kept, or one of your own making. Make it unpredictable.
    pub fn new(key: impl Into<Secret>) -> Self {
        Self(key.into())
    }

    /// The key, to be kept.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.0
    }

    #[inline]
    fn holder(&self, user: &UserKey) -> Holder {
        Holder { user: user.clone(), session: Some(super::sha256(self.0.expose().as_bytes())) }
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey([redacted])")
    }
}

impl ConfidentialClient {
    /// Begins to act for a user for longer than their own token lives (On-Behalf-Of with a refresh token,
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>): a nightly report, an agent that
    /// works for hours.
    ///
    /// `scopes` are the first resource's; others follow from the credential. Two keys for one assertion are two processes,
    /// and ending one leaves the other. The assertion itself is not kept.
    ///
    /// This outlives the session of the user on purpose, so it is a call of its own:
    /// [`ConfidentialClient::on_behalf_of`] never does. [`Users::sign_out`](crate::Users::sign_out) and
    /// [`ConfidentialClient::forget_user`] end it.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     client: entra_auth::ConfidentialClient,
    /// #     token: entra_auth::UserToken,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use entra_auth::{SessionKey, TokenCredential, TokenRequest};
    ///
    /// let assertion = token.assertion_for(client.client_id(), &["api://app"])?;
    /// let (user, key) = (assertion.user_key().clone(), SessionKey::random()?);
    /// client.start_long_running(&assertion, &key, &"User.Read".parse()?).await?;
    /// // … hours later, without the user:
    /// let credential = client.long_running(&user, &key);
    /// let token = credential.get_token(&TokenRequest::new("User.Read".parse()?)).await?;
    /// client.stop_long_running(&user, &key);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ConfidentialClient::on_behalf_of`]; [`ErrorKind::Protocol`] when Entra gives no refresh token.
    pub async fn start_long_running(
        &self,
        assertion: &UserAssertion,
        session: &SessionKey,
        scopes: &Scopes,
    ) -> Result<AccountCredential, Error> {
        let inner = self.inner();
        let (engine, user) = (&inner.engine, assertion.user_key());
        if assertion.expires_on() <= engine.clock.now() {
            return Err(Error::new(ErrorKind::Reauthenticate, "the user assertion has ended; get a new user token"));
        }
        let resource = resource_scopes(scopes).ok_or_else(|| {
            Error::new(ErrorKind::Configuration, "an access token is for a resource: ask for one of its scopes")
        })?;
        engine.begin(Some(user)).await;
        let epoch = engine.accounts.epoch(user);
        let wanted = with_sign_in_scopes(&resource)?;
        let id = CorrelationId::random();
        let make = || {
            let form = vec![
                ("grant_type", GRANT_JWT_BEARER.into()),
                ("requested_token_use", "on_behalf_of".into()),
                ("scope", wanted.as_str().into()),
                ("assertion", assertion.raw().expose().into()),
            ];
            inner.identity.request(user.tenant(), form, None, &id)
        };
        let (head, body) = engine.once(make).await?;
        let answer = wire::decode(head.status, &head.headers, &body, engine.clock.now())?;
        let refresh_token = answer.extras.refresh_token.ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                "Entra gave no refresh token, so the process cannot outlive the user's token",
            )
        })?;
        if engine.accounts.epoch(user) != epoch {
            return Err(signed_out());
        }
        let holder = session.holder(user);
        let subject = Subject::Account { user: user.clone(), session: holder.session };
        engine.accounts.insert(holder, refresh_token, Names::default());
        engine.forgive(user);
        let key = CacheKey::new(Some(user.tenant().clone()), subject, resource, None);
        engine.adopt(&key, &answer.token, epoch)?;
        Ok(self.long_running(user, session))
    }

    /// The credential of a long-running process that was started here. An unknown one gives
    /// [`ErrorKind::Reauthenticate`].
    #[must_use]
    #[inline]
    pub fn long_running(&self, user: &UserKey, session: &SessionKey) -> AccountCredential {
        let inner = self.inner();
        let party = Party::Confidential(Arc::clone(&inner.identity));
        AccountCredential::new(Arc::clone(&inner.engine), party, session.holder(user))
    }

    /// Ends a long-running process and forgets its tokens; `true` when there was one.
    #[allow(clippy::must_use_candidate)] // whether there was one seldom matters
    #[inline]
    pub fn stop_long_running(&self, user: &UserKey, session: &SessionKey) -> bool {
        let engine = &self.inner().engine;
        let holder = session.holder(user);
        let known = engine.accounts.remove(&holder);
        let subject = Subject::Account { user: user.clone(), session: holder.session };
        engine.cache.forget_account(user, &subject);
        known
    }

    /// Forgets every token of a user, whatever grant brought it, and drops what is being fetched for them at this
    /// moment. The same as [`Users::sign_out`](crate::Users::sign_out).
    ///
    /// With a second level of the cache, other processes follow within 60 s.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transient`] when the second level could not be told: the user is forgotten here, and not yet
    /// elsewhere. Retry.
    pub async fn forget_user(&self, user: &UserKey) -> Result<(), Error> {
        self.inner().engine.sign_out(user).await
    }

    /// Signs users in; `validator` judges their id tokens and must be for this client.
    #[must_use]
    pub fn users(&self, validator: crate::IdTokenValidator) -> super::Users {
        let inner = self.inner();
        let party = Party::Confidential(Arc::clone(&inner.identity));
        super::Users::new(Arc::clone(&inner.engine), party, self.tenant().clone(), validator)
    }
}
