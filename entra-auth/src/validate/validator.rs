use std::{fmt, sync::Arc, time::Duration};

use http::HeaderMap;
use time::OffsetDateTime;

use super::{
    AllowedCallers, TenantPolicy, ValidatedToken,
    common::{Ground, Setup, setup_setters},
    principal::{Principal, TokenVersion},
};
use crate::{
    Authority, BuildError, Claims, Clock, HttpTransport, KeySource, Lifetime, Recall, Secret, TokenError,
    TokenErrorKind, TokenMemory, TokenTimes, bearer,
};

/// Validates the access tokens that Entra issues for your API, version 1 and 2. A clone is an `Arc` clone.
///
/// The order of checks: form and header, tenant policy and issuer, audience, lifetime, key, signature, issuer and cloud of
/// the key, kind of token, caller. The first failure ends it; what is for somebody else or has ended costs no signature. A
/// token that was validated a short time ago is remembered ([`AccessTokenValidatorBuilder::remember`]). See
/// <https://learn.microsoft.com/entra/identity-platform/claims-validation>.
///
/// ```no_run
/// # async fn serve(headers: http::HeaderMap) -> Result<(), Box<dyn std::error::Error>> {
/// use entra_auth::{AccessTokenValidator, Authority, TenantPolicy};
///
/// let tenant = "11111111-1111-1111-1111-111111111111".parse()?;
/// let validator = AccessTokenValidator::builder(
///     Authority::default(),
///     ["22222222-2222-2222-2222-222222222222"],
///     TenantPolicy::Single(tenant),
/// )
/// .build()?;
///
/// let user = validator.authenticate(&headers).await?.into_user()?;
/// user.require_scope("access_as_user")?;
/// let _key = user.user_key();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AccessTokenValidator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ground: Ground,
    audiences: Vec<String>,
    user_callers: AllowedCallers,
    app_callers: AllowedCallers,
    infer_app_tokens: bool,
    max_token_age: Option<Duration>,
    remembered: TokenMemory<ValidatedToken>,
}

impl AccessTokenValidator {
    /// Starts a validator for tokens of that cloud, issued for one of these audiences, from tenants of that policy.
    ///
    /// An audience is the client id of your API (version 2 tokens) or one of its identifier URIs (version 1 tokens). It
    /// is compared letter by letter, a GUID in any letter case.
    pub fn builder<A: Into<String>>(
        authority: Authority,
        audiences: impl IntoIterator<Item = A>,
        policy: TenantPolicy,
    ) -> AccessTokenValidatorBuilder {
        AccessTokenValidatorBuilder {
            setup: Setup::new(authority, policy),
            audiences: audiences.into_iter().map(Into::into).collect(),
            user_callers: AllowedCallers::Any,
            app_callers: AllowedCallers::nobody(),
            infer_app_tokens: false,
            max_token_age: None,
            remember: 4096,
        }
    }

    /// Validates the bearer token of a request. Needs no body: do it before reading one.
    ///
    /// # Errors
    ///
    /// As [`bearer`] and [`AccessTokenValidator::validate`].
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<ValidatedToken, TokenError> {
        match bearer(headers) {
            Ok(token) => self.validate(token).await,
            Err(error) => Err(note(error)),
        }
    }

    /// Validates a token.
    ///
    /// # Errors
    ///
    /// One [`TokenErrorKind`] for each rule. Answer with [`TokenError::status`] and [`TokenError::www_authenticate`];
    /// only [`TokenError::is_retryable`] ones may be better later.
    pub async fn validate(&self, token: &str) -> Result<ValidatedToken, TokenError> {
        self.0.validate(token).await.map_err(note)
    }
}

#[inline]
fn note(error: TokenError) -> TokenError {
    tracing::info!(event.name = "token.validation_failed", rule = error.kind().as_str(), "access token refused");
    error
}

impl Inner {
    async fn validate(&self, token: &str) -> Result<ValidatedToken, TokenError> {
        let now = self.ground.clock.now();
        let unverified = match self.remembered.recall(token, self.ground.keys.revision(), now)? {
            Recall::Known(known) => {
                self.judge_age(&known.principal().times, now)?;
                return Ok(known);
            }
            Recall::Unknown(unverified) => unverified,
        };
        let claims = unverified.unverified_claims();
        let issued = self.ground.judge_issuer(claims)?;
        self.judge_audience(claims.audience()?)?;
        let times = self.ground.judge_times(claims, now)?;
        self.judge_age(&times, now)?;
        let verified = self.ground.verify(unverified, &issued).await?;
        let validated = self.judge_kind(verified.claims().clone(), issued.version, times, token)?;
        self.remembered.keep(verified, times, &validated);
        Ok(validated)
    }

    /// The age of the token, where it matters.
    #[inline]
    fn judge_age(&self, times: &TokenTimes, now: OffsetDateTime) -> Result<(), TokenError> {
        match self.max_token_age {
            Some(max_age) => times.check_age(now, max_age, self.ground.lifetime.leeway()),
            None => Ok(()),
        }
    }

    #[inline]
    fn judge_audience(&self, audience: &str) -> Result<(), TokenError> {
        let is_ours = |ours: &String| {
            ours == audience || (ours.eq_ignore_ascii_case(audience) && audience.parse::<crate::ClientId>().is_ok())
        };
        if self.audiences.iter().any(is_ours) { Ok(()) } else { Err(TokenErrorKind::AudienceMismatch.into()) }
    }

    #[inline]
    fn judge_kind(
        &self,
        claims: Claims,
        version: TokenVersion,
        times: TokenTimes,
        token: &str,
    ) -> Result<ValidatedToken, TokenError> {
        let principal = Principal::read(claims, version, times, Secret::new(token))?;
        let token = ValidatedToken::classify(principal, self.infer_app_tokens)?;
        let caller = token.principal().caller.as_ref();
        match &token {
            ValidatedToken::User(_) => self.user_callers.check(caller)?,
            ValidatedToken::App(app) => {
                self.app_callers.check(caller)?;
                // Entra gives an application of the tenant a token without roles for any API.
                if self.app_callers == AllowedCallers::Any && app.roles().is_empty() {
                    return Err(TokenErrorKind::MissingRole.into());
                }
            }
        }
        Ok(token)
    }
}

/// Settings of an [`AccessTokenValidator`].
#[must_use]
pub struct AccessTokenValidatorBuilder {
    setup: Setup,
    audiences: Vec<String>,
    user_callers: AllowedCallers,
    app_callers: AllowedCallers,
    infer_app_tokens: bool,
    max_token_age: Option<Duration>,
    remember: usize,
}

impl AccessTokenValidatorBuilder {
    setup_setters!();

    /// How far the clocks of Entra and of this machine may differ. Default 60 s, at most 300 s.
    #[inline]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.setup.lifetime = Lifetime::new(leeway);
        self
    }

    /// How long ago a token may have been issued (`iat`, which must then be there). For operations that want a fresh
    /// token, whatever its lifetime. Default: the lifetime alone counts.
    pub const fn max_token_age(mut self, age: Duration) -> Self {
        self.max_token_age = Some(age);
        self
    }

    /// The issuer of version 1 tokens, with `{tenantid}` for the tenant, for clouds where it is not known.
    /// Default: `https://sts.windows.net/{tenantid}/` in the public cloud.
    pub fn v1_issuer(mut self, template: impl Into<String>) -> Self {
        self.setup.v1_issuer = Some(template.into());
        self
    }

    /// Which applications may call for themselves. Default: none, so that tokens of applications are refused. With
    /// [`AllowedCallers::Any`] a token must carry at least one role.
    #[inline]
    pub fn app_callers(mut self, callers: AllowedCallers) -> Self {
        self.app_callers = callers;
        self
    }

    /// Through which applications users may come. Default: any, for in a user's token the application is no proof of who
    /// calls; a list only keeps honest clients out.
    #[inline]
    pub fn user_callers(mut self, callers: AllowedCallers) -> Self {
        self.user_callers = callers;
        self
    }

    /// Takes a token without `idtyp` and `scp` for an application's when its subject is its own object id. `idtyp` is an
    /// optional claim of the API's registration; ask for it there instead where you can. Default: such tokens are refused.
    pub fn infer_app_tokens(mut self) -> Self {
        self.infer_app_tokens = true;
        self
    }

    /// How many validated tokens are remembered: for five minutes at most, until a key disappears, never beyond their end.
    /// Default 4,096, about 4 KiB each; 0 remembers none, so that every request costs a signature. See [`TokenMemory`].
    pub const fn remember(mut self, tokens: usize) -> Self {
        self.remember = tokens;
        self
    }

    /// The validator.
    ///
    /// # Errors
    ///
    /// Without an audience, with a tenant policy that can let nobody in, with a version 1 issuer that is no https URL
    /// with one `{tenantid}`, or without a transport when feature `reqwest` is off. The developer.
    #[inline]
    pub fn build(self) -> Result<AccessTokenValidator, BuildError> {
        if self.audiences.is_empty() || self.audiences.iter().any(|audience| audience.trim().is_empty()) {
            return Err(BuildError::new(
                "a validator needs the audiences that tokens are accepted for, none of them empty",
            ));
        }
        let ground = self.setup.build()?;
        Ok(AccessTokenValidator(Arc::new(Inner {
            remembered: TokenMemory::new(self.remember, ground.lifetime),
            ground,
            audiences: self.audiences,
            user_callers: self.user_callers,
            app_callers: self.app_callers,
            infer_app_tokens: self.infer_app_tokens,
            max_token_age: self.max_token_age,
        })))
    }
}

impl fmt::Debug for AccessTokenValidatorBuilder {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokenValidatorBuilder")
            .field("authority", &self.setup.authority)
            .field("audiences", &self.audiences)
            .field("policy", &self.setup.policy)
            .finish_non_exhaustive()
    }
}
