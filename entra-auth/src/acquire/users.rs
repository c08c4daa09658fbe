use std::{fmt, sync::Arc};

use super::{
    accounts::{Holder, Names},
    cache_key::{CacheKey, Subject},
    engine::Engine,
    party::{Party, resource_scopes, with_sign_in_scopes},
    refresh::AccountCredential,
    sign_in_audience::{SignInAudience, is_shared},
    wire,
};
use crate::{
    AccessToken, ClaimsChallenge, CorrelationId, Error, ErrorKind, IdToken, IdTokenValidator, Scopes, Secret, TenantId,
    TokenError, TokenErrorKind, UntrustedDisplay, UserKey,
};

/// Signs users in, and gets tokens for those who have.
///
/// Made by [`ConfidentialClient::users`](crate::ConfidentialClient::users) or
/// [`PublicClient::users`](crate::PublicClient::users); a clone is cheap, and all of one client share accounts and cache.
/// Every way in ends at the id token: without a valid one nobody has signed in.
///
/// | step | call |
/// |---|---|
/// | whose accounts | [`Users::with_audience`] |
/// | browser sign-in | [`Users::sign_in`], [`Users::redeem`] |
/// | device without a browser | [`Users::device_code`], [`Users::wait_for`] |
/// | a refresh token from elsewhere | [`Users::adopt`] |
/// | a token without asking the user | [`Users::credential`] |
/// | who has signed in | [`Users::accounts`] |
/// | sign-out | [`Users::sign_out`] |
///
/// Refresh tokens are kept in this process only, for at most 100,000 users. After a restart users sign in again, which
/// Entra does without a prompt while their browser session lasts.
#[derive(Clone)]
pub struct Users {
    pub(super) engine: Arc<Engine>,
    pub(super) party: Party,
    /// What stands in the path of sign-ins: a tenant, or a name for many.
    pub(super) tenant: TenantId,
    pub(super) validator: IdTokenValidator,
}

/// A user who has signed in. A clone is cheap.
#[derive(Clone)]
pub struct Account {
    user: UserKey,
    names: Names,
}

/// What a sign-in brought.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// Who signed in.
    pub account: Account,
    /// The validated id token.
    pub id_token: IdToken,
    /// The access token for the scopes that were asked for; further ones come from [`Users::credential`].
    pub token: AccessToken,
}

impl Account {
    /// The user: the only key under which anything of theirs is kept.
    #[must_use]
    #[inline]
    pub const fn user_key(&self) -> &UserKey {
        &self.user
    }

    /// Names to show to people, and for nothing else.
    #[must_use]
    #[inline]
    pub fn untrusted_display(&self) -> UntrustedDisplay<'_> {
        UntrustedDisplay { name: self.names.name.as_deref(), username: self.names.username.as_deref() }
    }
}

/// Shows no name and no id of a person.
impl fmt::Debug for Account {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Users {
    pub(super) fn new(engine: Arc<Engine>, party: Party, tenant: TenantId, validator: IdTokenValidator) -> Self {
        Self { engine, party, tenant, validator }
    }

    /// The same, for accounts of others than the client's own tenant: in the browser, by device code and for refresh
    /// tokens from elsewhere. A user's tokens are always got from, and kept under, the tenant of their id token.
    ///
    /// The validator decides whose users are let in. Give it a [`TenantPolicy`](crate::TenantPolicy) with a list unless
    /// the application is open to every organisation.
    ///
    /// ```
    /// # fn example(
    /// #     client: &entra_auth::ConfidentialClient,
    /// #     (contoso, fabrikam): (entra_auth::TenantId, entra_auth::TenantId),
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use entra_auth::{Authority, IdTokenValidator, SignInAudience, TenantPolicy};
    ///
    /// let policy = TenantPolicy::allow([contoso, fabrikam]);
    /// let validator = IdTokenValidator::builder(Authority::default(), client.client_id().clone(), policy).build()?;
    /// let users = client.users(validator).with_audience(SignInAudience::Organizations);
    /// # let _ = users;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[inline]
    pub fn with_audience(mut self, audience: SignInAudience) -> Self {
        self.tenant = audience.into_segment();
        self
    }

    /// The users who have signed in and can get tokens silently, in no particular order.
    #[must_use]
    #[inline]
    pub fn accounts(&self) -> Vec<Account> {
        self.engine.accounts.signed_in().into_iter().map(|(user, names)| Account { user, names }).collect()
    }

    /// The account of a user, if they have signed in.
    #[must_use]
    #[inline]
    pub fn account(&self, user: &UserKey) -> Option<Account> {
        self.engine.accounts.names(user).map(|names| Account { user: user.clone(), names })
    }

    /// Gets tokens for a user without asking them: from the cache, or by refresh token.
    ///
    /// A user who is not known, whose refresh token is refused or who has signed out gives
    /// [`ErrorKind::Reauthenticate`]: send them through [`Users::sign_in`] again, with [`Error::claims_challenge`] when
    /// there is one.
    #[must_use]
    #[inline]
    pub fn credential(&self, user: &UserKey) -> AccountCredential {
        let holder = Holder { user: user.clone(), session: None };
        AccountCredential::new(Arc::clone(&self.engine), self.party.clone(), holder)
    }

    /// Forgets every token of a user, whatever grant brought it: refresh tokens, On-Behalf-Of tokens and long-running
    /// processes too. What is being fetched for them at this moment is dropped when it arrives.
    ///
    /// With a second level of the cache, other processes follow within 60 s. It does not end the session in the user's
    /// browser; send it to [`Users::sign_out_url`] for that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Transient`] when the second level could not be told: the user is forgotten here, and not yet
    /// elsewhere. Retry.
    pub async fn sign_out(&self, user: &UserKey) -> Result<(), Error> {
        self.engine.sign_out(user).await
    }

    /// Where to send the browser to end the session at Entra too. `return_to` must be a registered redirect URI; see
    /// <https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc#send-a-sign-out-request>.
    #[must_use]
    #[inline]
    pub fn sign_out_url(&self, return_to: Option<&url::Url>) -> url::Url {
        let mut url = self.party.endpoint(&self.tenant, "logout");
        if let Some(return_to) = return_to {
            url.query_pairs_mut().append_pair("post_logout_redirect_uri", return_to.as_str());
        }
        url
    }

    /// Signs a user in by a refresh token that was obtained elsewhere, for example by a library that is being replaced.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Reauthenticate`] when Entra refuses it: the user signs in again. Else as any token request; a token
    /// that may have been used up is not sent again.
    pub async fn adopt(&self, refresh_token: Secret, scopes: &Scopes) -> Result<SignedIn, Error> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        let first = First { name: "refresh_token", tenant: &self.tenant, fields: &fields, scopes, nonce: None };
        self.first_tokens(first, None, Some(&refresh_token)).await
    }

    /// The first tokens of a user by a grant that works once.
    pub(super) async fn first_tokens(
        &self,
        first: First<'_>,
        claims: Option<&ClaimsChallenge>,
        known_refresh_token: Option<&Secret>,
    ) -> Result<SignedIn, Error> {
        let id = CorrelationId::random();
        let span = tracing::info_span!("entra.token", grant = first.name, entra.correlation_id = id.as_str());
        let answer = tracing::Instrument::instrument(self.send(&first, claims, &id), span).await?;
        let raw = answer.extras.id_token.ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the token endpoint answered without an id token; nobody has signed in")
        })?;
        let id_token = match first.nonce {
            Some(nonce) => self.validator.validate(raw.expose(), nonce).await,
            None => self.validator.validate_without_nonce(raw.expose()).await,
        }
        .map_err(|error| refused_id_token(error, is_shared(first.tenant)))?;
        let user = id_token.user_key();
        if first.tenant.is_guid() && first.tenant != user.tenant() {
            return Err(Error::new(ErrorKind::Protocol, "the user signed in to another tenant than asked for"));
        }
        let account = Account { user: user.clone(), names: names(&id_token) };
        self.engine.begin(Some(&user)).await;
        if let Some(refresh_token) = answer.extras.refresh_token.or_else(|| known_refresh_token.cloned()) {
            let holder = Holder { user: user.clone(), session: None };
            self.engine.accounts.insert(holder, refresh_token, account.names.clone());
        }
        self.engine.forgive(&user);
        if let Some(scopes) = resource_scopes(first.scopes) {
            let epoch = self.engine.accounts.epoch(&user);
            let tenant = user.tenant().clone();
            let key = CacheKey::new(Some(tenant), Subject::Account { user, session: None }, scopes, None);
            self.engine.adopt(&key, &answer.token, epoch)?;
        }
        Ok(SignedIn { account, id_token, token: answer.token })
    }

    async fn send(
        &self,
        first: &First<'_>,
        claims: Option<&ClaimsChallenge>,
        id: &CorrelationId,
    ) -> Result<wire::Answer, Error> {
        let scopes = with_sign_in_scopes(first.scopes)?;
        let make = || {
            let mut form: wire::Form<'_> = first.fields.iter().map(|(name, value)| (*name, (*value).into())).collect();
            form.push(("scope", scopes.as_str().into()));
            self.party.request(first.tenant, form, claims, id)
        };
        let (head, body) = self.engine.once(make).await?;
        wire::decode(head.status, &head.headers, &body, self.engine.clock.now())
    }
}

/// A grant that brings a user's first tokens.
pub(super) struct First<'a> {
    pub(super) name: &'static str,
    pub(super) tenant: &'a TenantId,
    pub(super) fields: &'a [(&'static str, &'a str)],
    pub(super) scopes: &'a Scopes,
    pub(super) nonce: Option<&'a Secret>,
}

#[inline]
fn names(id_token: &IdToken) -> Names {
    let display = id_token.untrusted_display();
    Names { name: display.name.map(Into::into), username: display.username.map(Into::into) }
}

/// `any_tenant`: whether the sign-in was open to users of tenants that the policy does not let in.
#[inline]
fn refused_id_token(error: TokenError, any_tenant: bool) -> Error {
    let (kind, text) = match error.is_retryable() {
        true => (ErrorKind::Transport, "the keys for the id token are not at hand"),
        false if any_tenant && error.kind() == TokenErrorKind::TenantNotAllowed => {
            (ErrorKind::PolicyBlocked, "users of this tenant are not let in; nobody has signed in")
        }
        false => (ErrorKind::Protocol, "the id token is not acceptable; nobody has signed in"),
    };
    Error::new(kind, text).with_source(error)
}

impl fmt::Debug for Users {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("authority", self.party.authority())
            .field("tenant", &self.tenant)
            .field("client_id", self.party.client_id())
            .finish_non_exhaustive()
    }
}
