//! A certificate that a function fetches: one that is renewed elsewhere, such as in a vault.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::{
    certificate::Certificate,
    credential::{Occasion, Prover, Used},
    question::{PATIENCE, Question},
};
use crate::{
    Error, Secret,
    flight::{Boxed, caught},
};

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
/// certificate is used; event `entra.certificate.reload` tells of both. The function is called once for all who wait, in
/// a task of its own, and has 3 s.
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
pub struct CertificateSource(Arc<dyn Prover>);

struct Inner<F> {
    fetch: F,
    period: Duration,
    state: Mutex<State>,
    question: Question,
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
        Self(Arc::new(Inner::new(first, period, fetch)))
    }

    /// The certificate that was used last, or given first.
    pub(super) fn last_good(&self) -> Option<Certificate> {
        self.0.certificate()
    }

    pub(super) fn prove<'a>(&self, occasion: Occasion<'a>) -> Boxed<'a, Result<(Secret, Option<Used>), Error>> {
        Arc::clone(&self.0).prove(occasion)
    }
}

#[async_trait]
impl<F, Fut> Prover for Inner<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Certificate, Error>> + Send + 'static,
{
    async fn prove(self: Arc<Self>, occasion: Occasion<'_>) -> Result<(Secret, Option<Used>), Error> {
        let now = occasion.now;
        let mut certificate = self.current(now).await;
        let mut assertion = certificate.assertion(&occasion).await;
        // Ended, or disabled where its key is.
        if assertion.as_ref().is_err_and(|error| !error.is_retryable())
            && self.is_other_than(certificate.thumbprint(), now).await
        {
            certificate = self.last_good();
            assertion = certificate.assertion(&occasion).await;
        }
        let used = Used::new(move || {
            let (inner, refused) = (Arc::clone(&self), certificate.clone());
            Box::pin(async move { inner.is_other_than(refused.thumbprint(), now).await })
        });
        Ok((assertion?, Some(used)))
    }

    fn certificate(&self) -> Option<Certificate> {
        Some(self.last_good())
    }
}

impl<F> Inner<F> {
    fn new(first: Certificate, period: Duration, fetch: F) -> Self {
        let now = Instant::now();
        let state = State { good: first, other: None, due: now + period, quiet: now };
        Self { fetch, period, state: Mutex::new(state), question: Question::default() }
    }

    fn last_good(&self) -> Certificate {
        self.lock().good.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F, Fut> Inner<F>
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Certificate, Error>> + Send + 'static,
{
    /// The certificate for a token request.
    async fn current(self: &Arc<Self>, now: OffsetDateTime) -> Certificate {
        if self.lock().is_due(now) {
            let inner = Arc::clone(self);
            let ask = async move {
                // Who came while the last question was being answered finds it answered.
                if inner.lock().is_due(now) {
                    inner.ask().await;
                }
            };
            self.question.ask(|| Box::pin(ask)).await;
        }
        self.last_good()
    }

    /// Whether there is another certificate than one that was refused; then it is the good one.
    async fn is_other_than(self: &Arc<Self>, refused: &str, now: OffsetDateTime) -> bool {
        let is_open = {
            let state = self.lock();
            if state.good.thumbprint() != refused {
                return true;
            }
            Instant::now() >= state.quiet
        };
        if is_open {
            let (inner, refused) = (Arc::clone(self), Box::<str>::from(refused));
            let ask = async move {
                let is_open = {
                    let state = inner.lock();
                    state.good.thumbprint() == &*refused && Instant::now() >= state.quiet
                };
                if is_open {
                    inner.ask().await;
                    // Here too, so that nobody asks again between the answer and those who wait for it.
                    inner.lock().leave(&refused, now);
                }
            };
            self.question.ask(|| Box::pin(ask)).await;
        }
        self.lock().leave(refused, now)
    }

    /// Asks the function, and keeps what it says.
    async fn ask(&self) {
        let fetched = timeout(PATIENCE, caught(Box::pin(async { (self.fetch)().await }))).await;
        let mut state = self.lock();
        let now = Instant::now();
        let reason = match fetched {
            Ok(Some(Ok(certificate))) => {
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
            Ok(Some(Err(error))) => error.to_string(),
            Ok(None) => "its source panicked".to_owned(),
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
}

impl State {
    #[inline]
    fn is_due(&self, now: OffsetDateTime) -> bool {
        Instant::now() >= self.due || self.good.expires_on() <= now && Instant::now() >= self.quiet
    }

    /// Leaves a certificate that was refused, if it is still the good one; `false` when there is no other.
    #[inline]
    fn leave(&mut self, refused: &str, now: OffsetDateTime) -> bool {
        if self.good.thumbprint() != refused {
            return true;
        }
        let now_here = Instant::now();
        // Not again and again: many refusals must not put the next question off for ever.
        if now_here >= self.quiet {
            self.quiet = now_here + QUIET;
        }
        // The newest one is not registered yet, perhaps: the one before it still works then.
        match self.other.take().filter(|other| other.expires_on() > now) {
            Some(other) => {
                let thumbprint = other.thumbprint();
                tracing::warn!(
                    name: "entra.certificate.reload", result = "back", thumbprint,
                    "the new certificate was refused, is it registered? the one before it is used"
                );
                self.other = Some(std::mem::replace(&mut self.good, other));
                self.due = self.due.max(self.quiet);
                true
            }
            None => false,
        }
    }
}

impl fmt::Debug for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<F> fmt::Debug for Inner<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSource")
            .field("certificate", &self.lock().good)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::ErrorKind;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    type Fetch = Box<dyn Fn() -> Boxed<'static, Result<Certificate, Error>> + Send + Sync>;

    fn certificate() -> Certificate {
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let signed = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap().self_signed(&key).unwrap();
        Certificate::from_pem(format!("{}{}", key.serialize_pem(), signed.pem()).as_bytes()).unwrap()
    }

    /// A source that is always due. Its function answers with `next` when it is let through the gate.
    fn gated(first: &Certificate, next: &Certificate) -> (Arc<Inner<Fetch>>, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (next, inside, count) = (next.clone(), Arc::clone(&gate), Arc::clone(&asked));
        let fetch: Fetch = Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let (next, inside) = (next.clone(), Arc::clone(&inside));
            Box::pin(async move {
                inside.acquire_owned().await.unwrap().forget();
                Ok(next)
            })
        });
        (Arc::new(Inner::new(first.clone(), Duration::ZERO, fetch)), gate, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_ask_once_and_those_who_go_end_nothing() {
        let (first, next) = (certificate(), certificate());
        for refused in [false, true] {
            let (source, gate, asked) = gated(&first, &next);
            let callers: Vec<_> = (0..50)
                .map(|_| {
                    let (source, thumbprint) = (source.clone(), first.thumbprint().to_owned());
                    tokio::spawn(async move {
                        match refused {
                            true => assert!(source.is_other_than(&thumbprint, NOW).await),
                            false => assert_ne!(source.current(NOW).await.thumbprint(), thumbprint),
                        }
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            // Among them the one that made the call.
            for caller in callers.iter().take(49) {
                caller.abort();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            gate.add_permits(1);
            for caller in callers.into_iter().skip(49) {
                caller.await.unwrap();
            }
            assert_eq!(asked.load(Ordering::SeqCst), 1);
            assert_eq!(source.last_good().thumbprint(), next.thumbprint());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_hangs_costs_each_caller_3_s_and_the_old_certificate_goes_on() {
        let (first, next) = (certificate(), certificate());
        let (source, _gate, asked) = gated(&first, &next);
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move {
                    let began = Instant::now();
                    (source.current(NOW).await, began.elapsed())
                })
            })
            .collect();
        for caller in callers {
            let (certificate, waited) = caller.await.unwrap();
            assert_eq!(certificate.thumbprint(), first.thumbprint());
            assert!(waited <= PATIENCE + Duration::from_millis(5), "{waited:?}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // A refusal within the next seconds does not ask again: the answer is known not to come.
        assert!(!source.is_other_than(first.thumbprint(), NOW).await);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_panics_is_one_that_fails() {
        let first = certificate();
        let fetch = || -> Boxed<'static, Result<Certificate, Error>> { panic!("the function") };
        let source = Arc::new(Inner::new(first.clone(), Duration::from_secs(600), fetch));
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(source.current(NOW).await.thumbprint(), first.thumbprint());
        assert!(!source.lock().is_due(NOW), "it is left alone for a minute");
        tokio::time::advance(AGAIN).await;
        assert!(source.lock().is_due(NOW));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_asked_about_once_in_five_seconds() {
        let first = certificate();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let fetch = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(Error::new(ErrorKind::Transport, "closed")))
        };
        let source = Arc::new(Inner::new(first.clone(), Duration::from_secs(3600), fetch));
        for (wait, expected) in [(0, 1), (0, 1), (4, 1), (2, 2)] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            assert!(!source.is_other_than(first.thumbprint(), NOW).await);
            assert_eq!(asked.load(Ordering::SeqCst), expected);
        }
    }
}
