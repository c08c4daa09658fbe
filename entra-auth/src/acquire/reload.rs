//! A certificate in a file that changes while the process runs.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::{
    certificate::{Certificate, Style},
    credential::{Occasion, Prover, Used},
    file::{self, Links},
    question::Question,
};
use crate::{
    BuildError, Error, ErrorKind, Secret,
    flight::{Boxed, blocking},
};

/// Key and chain are never larger.
const MAX_BYTES: u64 = 256 << 10;

/// A certificate in a file (or in two: certificate and key) that is renewed while the process runs, as cert-manager,
/// the Key Vault CSI driver or certbot do it.
///
/// The file is looked at for every token request, which is rare because tokens are cached, so a new certificate is
/// used from the next one on. When Entra refuses the one just used with a code that says so (AADSTS700027, 700024,
/// 7000214, 1000502, 7000274, 7000277) and the file has changed meanwhile, the request is repeated once, at once, with
/// the new one: callers notice nothing. While the file is broken or gone, the last good certificate is used, and event
/// `entra.certificate.reload` says so once for each state of the file. A file system that does not answer costs a token
/// request 3 s; of many requests at the same time one reads.
///
/// ```no_run
/// use entra_auth::{CertificateFile, ConfidentialClient};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = ConfidentialClient::builder(
///     "contoso.onmicrosoft.com".parse()?,
///     "00000000-0000-0000-0000-000000000000".parse()?,
///     CertificateFile::open("/mnt/secrets/bot.pem")?,
/// )
/// .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CertificateFile {
    watched: Arc<dyn Prover>,
    style: Style,
}

struct Watched {
    paths: Vec<PathBuf>,
    /// Only feature `pfx` can use one.
    password: Option<Secret>,
    state: Mutex<State>,
    question: Question,
}

struct State {
    good: Certificate,
    stamp: Stamp,
    /// The last state of the file that was no certificate.
    bad: Option<Stamp>,
}

/// The SHA-256 of what a file held; `None` when it could not be read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<[u8; 32]>);

impl CertificateFile {
    /// Opens a PEM file that holds key and certificate, as [`Certificate::from_pem`] takes it.
    ///
    /// # Errors
    ///
    /// When the file does not exist, may not be read, is no regular file or larger than 256 KiB, or holds no usable
    /// certificate with its key. The message names the file and what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BuildError> {
        Self::watch(vec![path.as_ref().to_owned()], None)
    }

    /// Opens a certificate (with its chain) and its key in two PEM files, such as `tls.crt` and `tls.key`.
    ///
    /// # Errors
    ///
    /// As [`CertificateFile::open`]. When only one of the two has been renewed, the last good pair is used.
    pub fn open_pair(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, BuildError> {
        Self::watch(vec![certificate.as_ref().to_owned(), key.as_ref().to_owned()], None)
    }

    /// Opens a PKCS#12 archive, or a PEM file with an encrypted key. The password stays the same when the file is
    /// renewed.
    ///
    /// # Errors
    ///
    /// As [`CertificateFile::open`], and when the password is wrong.
    #[cfg(feature = "pfx")]
    #[cfg_attr(docsrs, doc(cfg(feature = "pfx")))]
    pub fn open_protected(path: impl AsRef<Path>, password: Secret) -> Result<Self, BuildError> {
        Self::watch(vec![path.as_ref().to_owned()], Some(password))
    }

    #[inline]
    fn watch(paths: Vec<PathBuf>, password: Option<Secret>) -> Result<Self, BuildError> {
        let content = read(&paths)?;
        let good = parse(&content, password.as_ref())?;
        let state = Mutex::new(State { good, stamp: Stamp::of(&content), bad: None });
        let watched = Watched { paths, password, state, question: Question::default() };
        Ok(Self { watched: Arc::new(watched), style: Style::default() })
    }

    /// Sends the chain along; see [`Certificate::send_chain`].
    #[must_use]
    pub const fn send_chain(mut self) -> Self {
        self.style.send_chain = true;
        self
    }

    /// Signs the way AD FS wants it; see [`Certificate::for_ad_fs`].
    #[must_use]
    pub const fn for_ad_fs(mut self) -> Self {
        self.style.ad_fs = true;
        self
    }

    /// The certificate that was used last, or read first.
    pub(super) fn last_good(&self) -> Option<Certificate> {
        self.watched.certificate()
    }

    pub(super) fn prove<'a>(&self, occasion: Occasion<'a>) -> Boxed<'a, Result<(Secret, Option<Used>), Error>> {
        Arc::clone(&self.watched).prove(Occasion { style: self.style, ..occasion })
    }
}

#[async_trait]
impl Prover for Watched {
    #[inline]
    async fn prove(self: Arc<Self>, occasion: Occasion<'_>) -> Result<(Secret, Option<Used>), Error> {
        let (certificate, stamp) = self.current().await;
        let assertion = certificate.assertion(&occasion).await?;
        let used = Used::new(move || {
            let watched = Arc::clone(&self);
            Box::pin(async move { watched.current().await.1 != stamp })
        });
        Ok((assertion, Some(used)))
    }

    #[inline]
    fn certificate(&self) -> Option<Certificate> {
        Some(self.lock().good.clone())
    }
}

impl Watched {
    /// The certificate that the file holds now, or the last good one.
    #[inline]
    async fn current(self: &Arc<Self>) -> (Certificate, Stamp) {
        let watched = Arc::clone(self);
        self.question.ask(|| Box::pin(async move { watched.refresh().await })).await;
        let state = self.lock();
        (state.good.clone(), state.stamp)
    }

    /// Looks at the file. What was seen is kept here and not by the thread that reads: one that was given up must not
    /// put an older certificate back.
    #[inline]
    async fn refresh(self: Arc<Self>) {
        let watched = Arc::clone(&self);
        // A file system can be slow, and a password takes time on purpose.
        let Some((stamp, seen)) = blocking(move || watched.look()).await else {
            tracing::warn!(name: "entra.certificate.reload", result = "kept", "the certificate file was not read");
            return;
        };
        let mut state = self.lock();
        match seen {
            None if stamp == state.stamp => state.bad = None,
            None => {}
            Some(Ok(certificate)) => {
                let thumbprint = certificate.thumbprint();
                tracing::info!(name: "entra.certificate.reload", result = "changed", thumbprint, "certificate renewed");
                *state = State { good: certificate, stamp, bad: None };
            }
            Some(Err(error)) => {
                state.bad = Some(stamp);
                let thumbprint = state.good.thumbprint();
                tracing::warn!(
                    name: "entra.certificate.reload", result = "kept", thumbprint, reason = %error,
                    "the certificate file is broken: the last good certificate is used"
                );
            }
        }
    }

    /// What the file holds now; without the certificate when it is in a state that is known.
    #[inline]
    fn look(&self) -> (Stamp, Option<Result<Certificate, BuildError>>) {
        let content = read(&self.paths);
        let stamp = content.as_ref().map_or(Stamp(None), |content| Stamp::of(content));
        let is_known = {
            let state = self.lock();
            stamp == state.stamp || state.bad == Some(stamp)
        };
        let parse = || content.and_then(|content| parse(&content, self.password.as_ref()));
        (stamp, (!is_known).then(parse))
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    #[inline]
    fn of(content: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(content);
        Self(context.finish().as_ref().try_into().ok())
    }
}

/// All files, one after the other.
#[inline]
fn read(paths: &[PathBuf]) -> Result<Zeroizing<Vec<u8>>, BuildError> {
    let parts: Vec<_> = paths
        .iter()
        .map(|path| file::read(path, MAX_BYTES, Links::Anywhere, "certificate file"))
        .collect::<Result<_, _>>()?;
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum()));
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            whole.push(b'\n');
        }
        whole.extend_from_slice(part);
    }
    Ok(whole)
}

#[cfg(feature = "pfx")]
#[inline]
fn parse(content: &[u8], password: Option<&Secret>) -> Result<Certificate, BuildError> {
    match password {
        Some(password) if content.windows(11).any(|window| window == b"-----BEGIN ") => {
            Certificate::from_encrypted_pem(content, password)
        }
        Some(password) => Certificate::from_pkcs12(content, password),
        None => Certificate::from_pem(content),
    }
}

#[cfg(not(feature = "pfx"))]
#[inline]
fn parse(content: &[u8], _: Option<&Secret>) -> Result<Certificate, BuildError> {
    Certificate::from_pem(content)
}

/// What a broken file means for a token request.
#[inline]
pub(super) fn unusable(error: BuildError) -> Error {
    Error::new(ErrorKind::ClientCredential, error.to_string()).with_source(error)
}

impl fmt::Debug for CertificateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.watched.fmt(f)
    }
}

impl fmt::Debug for Watched {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFile")
            .field("paths", &self.paths)
            .field("certificate", &self.lock().good)
            .finish_non_exhaustive()
    }
}
