//! How a client proves who it is, and what can be renewed when that is refused.

use std::time::Duration;

use time::OffsetDateTime;
use url::Url;

use super::{
    assertion::{AssertionRequest, ClientAssertion, Kept},
    certificate::Certificate,
    certificate_source::CertificateSource,
    reload::{CertificateFile, Stamp},
    workload_identity::TokenFile,
};
use crate::{AccessToken, ClientId, CorrelationId, Error, ErrorKind, Secret, TenantId};

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

/// For whom, where and when a proof is needed.
pub(super) struct Occasion<'a> {
    pub(super) client_id: &'a ClientId,
    pub(super) tenant: &'a TenantId,
    pub(super) endpoint: &'a Url,
    pub(super) correlation_id: &'a CorrelationId,
    pub(super) now: OffsetDateTime,
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
        let (client_id, audience) = (occasion.client_id.as_str(), occasion.endpoint.as_str());
        match self {
            Self::Secret(secret) => Ok(Proof::Secret(secret.clone())),
            Self::Certificate(certificate) => {
                let assertion = certificate.assertion(client_id, audience, occasion.now).await?;
                Ok(Proof::Assertion(assertion, None))
            }
            Self::CertificateFile(file) => {
                let (certificate, stamp) = file.current().await;
                let assertion = certificate.assertion(client_id, audience, occasion.now).await?;
                Ok(Proof::Assertion(assertion, Some(Used::File(file.clone(), stamp))))
            }
            Self::CertificateSource(source) => {
                let mut certificate = source.current(occasion.now).await;
                let mut assertion = certificate.assertion(client_id, audience, occasion.now).await;
                // Ended, or disabled where its key is.
                if assertion.as_ref().is_err_and(|error| !error.is_retryable())
                    && source.is_other_than(certificate.thumbprint(), occasion.now).await
                {
                    certificate = source.last_good();
                    assertion = certificate.assertion(client_id, audience, occasion.now).await;
                }
                let used = Used::Source(source.clone(), certificate.thumbprint().into(), occasion.now);
                Ok(Proof::Assertion(assertion?, Some(used)))
            }
            Self::Assertion(assertion) => {
                let request = AssertionRequest {
                    client_id: occasion.client_id.clone(),
                    tenant: occasion.tenant.clone(),
                    token_endpoint: occasion.endpoint.clone(),
                    correlation_id: occasion.correlation_id.clone(),
                };
                let (assertion, used) = assertion.get(request, occasion.now).await?;
                Ok(Proof::Assertion(assertion, used))
            }
        }
    }

    /// Says in the log when a certificate ends soon or has ended.
    pub(super) fn report_end(&self, now: OffsetDateTime) {
        let certificate = match self {
            Self::Certificate(certificate) => certificate.clone(),
            Self::CertificateFile(file) => file.last_good(),
            Self::CertificateSource(source) => source.last_good(),
            Self::Secret(_) | Self::Assertion(_) => return,
        };
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
pub(super) enum Used {
    File(CertificateFile, Stamp),
    /// By its thumbprint, and when.
    Source(CertificateSource, Box<str>, OffsetDateTime),
    Kept(Kept),
    TokenFile(TokenFile, Secret),
    Credential(ClientAssertion, AccessToken),
}

/// The refusals after which a credential may have been renewed meanwhile: the policy of Microsoft.Identity.Web.
const RELOAD: [u32; 6] = [700_027, 700_024, 7_000_214, 1_000_502, 7_000_274, 7_000_277];
/// A wrong secret, an unknown application: no reload mends these.
const NEVER: [u32; 2] = [7_000_215, 700_016];

impl Used {
    /// Whether another proof is there after this refusal, so that one more attempt at once makes sense.
    pub(super) async fn is_renewed_after(&self, error: &Error) -> bool {
        let codes = error.oauth().map_or(&[][..], |oauth| &oauth.error_codes);
        if !codes.iter().any(|code| RELOAD.contains(code)) || codes.iter().any(|code| NEVER.contains(code)) {
            return false;
        }
        match self {
            Self::File(file, stamp) => file.current().await.1 != *stamp,
            Self::Source(source, thumbprint, now) => source.is_other_than(thumbprint, *now).await,
            Self::Kept(kept) => kept.discard(),
            Self::TokenFile(file, token) => file.read().await.is_ok_and(|now| now != *token),
            Self::Credential(assertion, token) => assertion.reject(token),
        }
    }
}
