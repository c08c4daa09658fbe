//! What validators of access tokens and of id tokens have in common.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{
    TenantPolicy,
    issuer::{Issued, Issuers},
};
use crate::{
    Algorithm, Authority, BuildError, Claims, Clock, HttpTransport, KeySource, Lifetime, SystemClock, TokenError,
    TokenTimes, UnverifiedToken, VerifiedJwt,
};

/// Entra signs tokens with this alone, whatever else its keys could do.
const ALLOWED: &[Algorithm] = &[Algorithm::RS256];

/// Whose tokens are accepted, by which keys and which clock.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) issuers: Issuers,
    pub(super) keys: Arc<dyn KeySource>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifetime: Lifetime,
}

impl Ground {
    /// Tenant and issuer, before the signature: they choose the key.
    #[inline]
    pub(super) fn judge_issuer(&self, claims: &Claims) -> Result<Issued, TokenError> {
        self.issuers.judge(claims)
    }

    #[inline]
    pub(super) fn judge_times(&self, claims: &Claims, now: OffsetDateTime) -> Result<TokenTimes, TokenError> {
        let times = claims.times()?;
        times.check(now, self.lifetime)?;
        Ok(times)
    }

    /// The signature, and that the key is one for this issuer and cloud.
    pub(super) async fn verify(&self, token: UnverifiedToken<'_>, issued: &Issued) -> Result<VerifiedJwt, TokenError> {
        let verified = token.verify(&*self.keys, &issued.issuer, ALLOWED).await?;
        self.issuers.judge_key(verified.key(), issued)?;
        Ok(verified)
    }
}

/// The settings that lead to it.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) authority: Authority,
    pub(super) v1_issuer: Option<String>,
    pub(super) policy: TenantPolicy,
    pub(super) keys: Option<Arc<dyn KeySource>>,
    pub(super) transport: Option<Arc<dyn HttpTransport>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lifetime: Lifetime,
}

impl Setup {
    #[inline]
    pub(super) fn new(authority: Authority, policy: TenantPolicy) -> Self {
        Self {
            authority,
            v1_issuer: None,
            policy,
            keys: None,
            transport: None,
            clock: Arc::new(SystemClock),
            lifetime: Lifetime::default(),
        }
    }

    #[inline]
    pub(super) fn build(self) -> Result<Ground, BuildError> {
        let issuers = Issuers { authority: self.authority, v1_issuer: self.v1_issuer, policy: self.policy };
        issuers.check()?;
        let keys = match self.keys {
            Some(keys) => keys,
            None => issuers.own_keys(self.transport, &self.clock)?,
        };
        Ok(Ground { issuers, keys, clock: self.clock, lifetime: self.lifetime })
    }
}

/// The setters of a builder that has a [`Setup`] named `setup`.
macro_rules! setup_setters {
    () => {
        /// Where the keys come from. Default: [`TenantKeys`](crate::TenantKeys) of this authority and policy.
        #[inline]
        pub fn keys(mut self, keys: Arc<dyn KeySource>) -> Self {
            self.setup.keys = Some(keys);
            self
        }

        /// How the default keys are fetched. Default: `ReqwestTransport`, with feature `reqwest`.
        #[inline]
        pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
            self.setup.transport = Some(transport);
            self
        }

        /// The clock that lifetimes are judged by. Default [`SystemClock`](crate::SystemClock).
        #[inline]
        pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
            self.setup.clock = clock;
            self
        }

        /// How far the clocks of Entra and of this machine may differ, and how long a token may live. Default 60 s and 25
        /// hours. Long-lived tokens of clients that handle claims challenges can reach 28 hours. A [`Duration`] sets the
        /// difference alone. A token has ended at the very moment `exp` plus the difference
        /// ([`TokenTimes::check`](crate::TokenTimes::check)).
        #[inline]
        pub fn lifetime(mut self, lifetime: impl Into<Lifetime>) -> Self {
            self.setup.lifetime = lifetime.into();
            self
        }
    };
}
pub(super) use setup_setters;
