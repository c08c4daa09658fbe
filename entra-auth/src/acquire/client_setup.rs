//! What the builders of both kinds of clients share.

use std::{sync::Arc, time::Duration};

use super::engine::Engine;
use crate::{
    Authority, BuildError, Clock, HttpTransport, RetryPolicy, SystemClock,
    transport::{self, NO_TRANSPORT},
};

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) authority: Authority,
    pub(super) transport: Option<Arc<dyn HttpTransport>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    pub(super) timeouts: (Duration, Duration),
    pub(super) challenges: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            authority: Authority::default(),
            transport: None,
            clock: Arc::new(SystemClock),
            retry: RetryPolicy::default(),
            timeouts: (Duration::from_secs(10), Duration::from_secs(12)),
            challenges: false,
        }
    }
}

impl Setup {
    pub(super) fn engine(&self, cache_bytes: usize) -> Result<Engine, BuildError> {
        let transport = transport::or_built_in(self.transport.clone(), NO_TRANSPORT)?;
        let mut engine = Engine::new(transport, Arc::clone(&self.clock), cache_bytes);
        engine.retry = self.retry;
        (engine.attempt, engine.total) = self.timeouts;
        Ok(engine)
    }
}

/// The setters of a builder that has a [`Setup`] named `setup`.
macro_rules! setup_setters {
    () => {
        /// Where tokens come from. Default: the public cloud.
        #[inline]
        pub fn authority(mut self, authority: Authority) -> Self {
            self.setup.authority = authority;
            self
        }

        /// How requests are sent. Default with feature `reqwest`: `ReqwestTransport::new()`; without it there is none.
        #[inline]
        pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
            self.setup.transport = Some(transport);
            self
        }

        /// What time it is. Default: [`SystemClock`](crate::SystemClock).
        #[inline]
        pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
            self.setup.clock = clock;
            self
        }

        /// How often a passing fault is tried again. Default: 3 attempts, 500 ms doubling to 4 s, with jitter.
        pub const fn retry(mut self, retry: RetryPolicy) -> Self {
            self.setup.retry = retry;
            self
        }

        /// The bound of one attempt and of all together. Default: 10 s and 12 s.
        pub const fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
            self.setup.timeouts = (attempt, total);
            self
        }

        /// Tells Entra (capability `cp1`) that this application handles claims challenges. Its tokens then live up to a
        /// day, and a resource may refuse one at any moment with a challenge that
        /// [`TokenRequest::with_claims`](crate::TokenRequest::with_claims) must carry.
        pub const fn handles_claims_challenges(mut self) -> Self {
            self.setup.challenges = true;
            self
        }
    };
}
pub(super) use setup_setters;
