//! A certificate that a function fetches: one that is renewed elsewhere, such as in a vault.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::{certificate::Certificate, signer::Boxed};
use crate::Error;

/// The function has this long. While it works, token requests of the client wait.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a function that failed it is asked again this much later, or after the period if that is shorter.
const AGAIN: Duration = Duration::from_secs(60);
/// After a refusal that no other certificate cured, the function is left alone for this long.
const QUIET: Duration = Duration::from_secs(5);

/// A certificate that somebody else keeps and renews, such as Key Vault: a function fetches the current one.
///
/// The function is asked when `period` has passed since it was last asked, when the certificate has ended, when its
/// signer refuses for good (the version was disabled), and when Entra refuses it with a code that says so (AADSTS700027,
/// 700024, 7000214, 1000502, 7000274, 7000277). Always within a token request, which is rare because tokens are cached.
/// After a refusal the request is repeated once, at once, with the other certificate: callers notice nothing.
///
/// The certificate that was replaced is kept. When Entra does not know the new one yet, because it was renewed before it
/// was registered, the client goes back to the old one until the next look. While the function fails, the last good
/// certificate is used; event `entra.certificate.reload` tells of both. The function has 3 s.
///
/// ```
/// use std::time::Duration;
/// use entra_auth::{Certificate, CertificateSource, Error, ErrorKind, SignRequest};
///
/// # async fn sign_in_vault(_: SignRequest) -> Result<Vec<u8>, Error> { Ok(Vec::new()) }
/// # async fn chain_in_vault() -> Result<Vec<u8>, Error> { Ok(Vec::new()) }
/// async fn fetch() -> Result<Certificate, Error> {
///     let chain = chain_in_vault().await?;
///     Certificate::with_signer(&chain, sign_in_vault)
///         .map_err(|error| Error::new(ErrorKind::ClientCredential, error.to_string()))
/// }
///
/// # async fn example() -> Result<CertificateSource, Error> {
/// Ok(CertificateSource::new(fetch().await?, Duration::from_secs(3600), fetch))
/// # }
/// ```
#[derive(Clone)]
pub struct CertificateSource(Arc<Inner>);

struct Inner {
    fetch: Box<dyn Fn() -> Boxed<Certificate> + Send + Sync>,
    period: Duration,
    state: Mutex<State>,
    /// One asks, the others wait for what comes of it.
    asking: tokio::sync::Mutex<()>,
}

struct State {
    good: Certificate,
    /// What `good` has taken the place of.
    other: Option<Certificate>,
    /// When the function is asked next, whatever happens.
    due: Instant,
    /// Until then a refusal is no reason to ask.
    quiet: Instant,
}

impl CertificateSource {
    /// The certificate to begin with, how long it is used before the function is asked, and the function.
    pub fn new<F, Fut>(first: Certificate, period: Duration, fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Certificate, Error>> + Send + 'static,
    {
        let fetch: Box<dyn Fn() -> Boxed<Certificate> + Send + Sync> = Box::new(move || Box::pin(fetch()));
        let now = Instant::now();
        let state = State { good: first, other: None, due: now + period, quiet: now };
        Self(Arc::new(Inner { fetch, period, state: Mutex::new(state), asking: tokio::sync::Mutex::new(()) }))
    }

    /// The certificate that was used last, or given first.
    pub(super) fn last_good(&self) -> Certificate {
        self.0.lock().good.clone()
    }

    /// The certificate for a token request.
    pub(super) async fn current(&self, now: OffsetDateTime) -> Certificate {
        let is_due = || {
            let state = self.0.lock();
            Instant::now() >= state.due || state.good.expires_on() <= now && Instant::now() >= state.quiet
        };
        if is_due() {
            let _asking = self.0.asking.lock().await;
            if is_due() {
                self.0.ask().await;
            }
        }
        self.last_good()
    }

    /// Whether there is another certificate than one that was refused; then it is the good one.
    pub(super) async fn is_other_than(&self, refused: &str, now: OffsetDateTime) -> bool {
        let _asking = self.0.asking.lock().await;
        if self.last_good().thumbprint() != refused {
            return true;
        }
        if Instant::now() >= self.0.lock().quiet {
            self.0.ask().await;
        }
        let mut state = self.0.lock();
        if state.good.thumbprint() != refused {
            return true;
        }
        state.quiet = Instant::now() + QUIET;
        // The newest one is not registered yet, perhaps: the one before it still works then.
        match state.other.take().filter(|other| other.expires_on() > now) {
            Some(other) => {
                let thumbprint = other.thumbprint();
                tracing::warn!(
                    name: "entra.certificate.reload", result = "back", thumbprint,
                    "the new certificate was refused, is it registered? the one before it is used"
                );
                state.other = Some(std::mem::replace(&mut state.good, other));
                state.due = state.due.max(state.quiet);
                true
            }
            None => false,
        }
    }
}

impl Inner {
    async fn ask(&self) {
        let fetched = timeout(PATIENCE, (self.fetch)()).await;
        let mut state = self.lock();
        let now = Instant::now();
        let reason = match fetched {
            Ok(Ok(certificate)) => {
                state.due = now + self.period;
                if certificate.thumbprint() != state.good.thumbprint() {
                    let thumbprint = certificate.thumbprint();
                    tracing::info!(
                        name: "entra.certificate.reload", result = "changed", thumbprint, "certificate renewed"
                    );
                    state.other = Some(std::mem::replace(&mut state.good, certificate));
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its source did not answer in 3 s".to_owned(),
        };
        state.due = now + self.period.min(AGAIN);
        state.quiet = now + QUIET;
        let thumbprint = state.good.thumbprint();
        tracing::warn!(
            name: "entra.certificate.reload", result = "kept", thumbprint, reason,
            "the certificate could not be fetched: the last good one is used"
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSource")
            .field("certificate", &self.0.lock().good)
            .field("period", &self.0.period)
            .finish_non_exhaustive()
    }
}
