//! How a client proves who it is, and what can be renewed when that is refused.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use time::OffsetDateTime;
use url::Url;

use super::{
    assertion::ClientAssertion,
    certificate::{Certificate, Style},
    certificate_source::CertificateSource,
    reload::CertificateFile,
};
use crate::{ClientId, CorrelationId, Error, ErrorKind, Secret, TenantId, flight::Boxed};

/// How a client proves who it is.
///
/// Made from a [`Secret`], a [`Certificate`], a [`CertificateFile`], a [`CertificateSource`] or a [`ClientAssertion`];
/// each converts by itself where a client is built.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum ClientCredential {
    /// A client secret (its value, not its id).
    Secret(Secret),
    /// A certificate, by a signed assertion. Its key may stay in a vault: [`Certificate::with_signer`].
    Certificate(Certificate),
    /// A certificate in a file that is renewed while the process runs.
    CertificateFile(CertificateFile),
    /// A certificate that is renewed elsewhere, such as in a vault.
    CertificateSource(CertificateSource),
    /// An assertion that somebody else signs: a function, a projected token file, a managed identity.
    Assertion(ClientAssertion),
}

impl From<Secret> for ClientCredential {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

impl From<Certificate> for ClientCredential {
    fn from(certificate: Certificate) -> Self {
        Self::Certificate(certificate)
    }
}

impl From<CertificateFile> for ClientCredential {
    fn from(file: CertificateFile) -> Self {
        Self::CertificateFile(file)
    }
}

impl From<CertificateSource> for ClientCredential {
    fn from(source: CertificateSource) -> Self {
        Self::CertificateSource(source)
    }
}

impl From<ClientAssertion> for ClientCredential {
    fn from(assertion: ClientAssertion) -> Self {
        Self::Assertion(assertion)
    }
}

/// Signers, functions and files have this long.
const PATIENCE: Duration = Duration::from_secs(8);

/// For whom, where, when and in which style a proof is needed.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) client_id: &'a ClientId,
    pub(super) tenant: &'a TenantId,
    pub(super) endpoint: &'a Url,
    pub(super) correlation_id: &'a CorrelationId,
    pub(super) now: OffsetDateTime,
    pub(super) style: Style,
}

/// Whoever makes assertions that prove who a client is. A trait, so that programs compile the kinds that they use and
/// no other.
#[async_trait]
pub(super) trait Prover: fmt::Debug + Send + Sync {
    /// An assertion, and with what it was made where that can be renewed.
    async fn prove(self: Arc<Self>, occasion: Occasion<'_>) -> Result<(Secret, Option<Used>), Error>;

    /// The certificate that was used last, or given first.
    fn certificate(&self) -> Option<Certificate> {
        None
    }
}

/// What goes into the form.
pub(super) enum Proof {
    Secret(Secret),
    Assertion(Secret, Option<Used>),
}

impl ClientCredential {
    pub(super) async fn prove(&self, occasion: &Occasion<'_>) -> Result<Proof, Error> {
        let proof = tokio::time::timeout(PATIENCE, self.proof(occasion)).await;
        proof.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Transport,
                "the client's own credential (signer, assertion source or file) did not answer in 8 s",
            ))
        })
    }

    async fn proof(&self, occasion: &Occasion<'_>) -> Result<Proof, Error> {
        let made = match self {
            Self::Secret(secret) => return Ok(Proof::Secret(secret.clone())),
            Self::Certificate(certificate) => {
                return certificate.assertion(occasion).await.map(|assertion| Proof::Assertion(assertion, None));
            }
            Self::CertificateFile(file) => file.prove(*occasion),
            Self::CertificateSource(source) => source.prove(*occasion),
            Self::Assertion(source) => source.prove(*occasion),
        };
        let (assertion, used) = made.await?;
        if assertion.is_empty() {
            return Err(Error::new(ErrorKind::ClientCredential, "the source of client assertions gave an empty one"));
        }
        Ok(Proof::Assertion(assertion, used))
    }

    /// Says in the log when a certificate ends soon or has ended.
    pub(super) fn report_end(&self, now: OffsetDateTime) {
        let certificate = match self {
            Self::Certificate(certificate) => Some(certificate.clone()),
            Self::CertificateFile(file) => file.last_good(),
            Self::CertificateSource(source) => source.last_good(),
            Self::Secret(_) | Self::Assertion(_) => None,
        };
        let Some(certificate) = certificate else { return };
        let days = (certificate.expires_on() - now).whole_days();
        if days < 30 {
            let thumbprint = certificate.thumbprint();
            tracing::warn!(
                name: "entra.certificate.ending", days, thumbprint,
                "the certificate ends soon, or has ended: register its successor and put it in its place"
            );
        }
    }
}

/// With what an attempt proved who the client is, where that can be renewed. It travels with the request.
#[derive(Clone)]
pub(super) struct Used(Arc<dyn Fn() -> Boxed<'static, bool> + Send + Sync>);

/// The refusals after which a credential may have been renewed meanwhile: the policy of Microsoft.Identity.Web.
const RELOAD: [u32; 6] = [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277];
/// A wrong secret, an unknown application: no reload mends these.
const NEVER: [u32; 2] = [7_000_215, 700_016];

impl Used {
    /// `is_renewed` is asked after a refusal whether another proof is there.
    pub(super) fn new(is_renewed: impl Fn() -> Boxed<'static, bool> + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_renewed))
    }

    /// Whether another proof is there after this refusal, so that one more attempt at once makes sense.
    pub(super) async fn is_renewed_after(&self, error: &Error) -> bool {
        let codes = error.oauth().map_or(&[][..], |oauth| &oauth.error_codes);
        if !codes.iter().any(|code| RELOAD.contains(code)) || codes.iter().any(|code| NEVER.contains(code)) {
            return false;
        }
        (self.0)().await
    }
}
