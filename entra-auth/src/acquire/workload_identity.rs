//! Workload identity: a token that the platform projects into a file, in the place of a secret.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{
    assertion::ClientAssertion,
    client::{ConfidentialClient, ConfidentialClientBuilder},
    credential::{Occasion, Prover, Used},
    file::{self, Links},
    reload::unusable,
};
use crate::{
    Authority, BuildError, ClientId, Error, ErrorKind, Secret, TenantId, flight::blocking, settings::Settings,
};

/// A projected token is never larger.
const MAX_BYTES: u64 = 16 << 10;

/// The settings of a pod with workload identity
/// (<https://learn.microsoft.com/azure/aks/workload-identity-overview>), as its webhook writes them.
///
/// ```no_run
/// use entra_auth::{WorkloadIdentity, settings::Settings};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = Settings::from_env();
/// let identity = WorkloadIdentity::from_settings(&mut settings);
/// let client = settings.finish(|| identity)?.client().build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    tenant: TenantId,
    client_id: ClientId,
    authority: Authority,
    assertion: ClientAssertion,
}

impl WorkloadIdentity {
    /// Reads `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`, and `AZURE_AUTHORITY_HOST` (default:
    /// the public cloud), and looks whether the token file is usable. `None` means that what is missing was noted and
    /// [`Settings::finish`] will report it.
    pub fn from_settings<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>) -> Option<Self> {
        let tenant = settings.required("AZURE_TENANT_ID");
        let client_id = settings.required("AZURE_CLIENT_ID");
        let authority = settings.parsed("AZURE_AUTHORITY_HOST", Authority::default());
        let file = settings.required::<PathBuf>("AZURE_FEDERATED_TOKEN_FILE");
        let assertion = file.and_then(|path| {
            ClientAssertion::from_file(path)
                .map_err(|error| settings.problem(format!("AZURE_FEDERATED_TOKEN_FILE: {error}")))
                .ok()
        });
        Some(Self { tenant: tenant?, client_id: client_id?, authority: authority?, assertion: assertion? })
    }

    /// The client for these settings, still to be completed.
    #[inline]
    pub fn client(self) -> ConfidentialClientBuilder {
        ConfidentialClient::builder(self.tenant, self.client_id, self.assertion).authority(self.authority)
    }
}

/// A file that holds a token and is rewritten before the token ends, so it is read for each request.
#[derive(Debug)]
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    /// Looks at the file once, so that a wrong path is found at the start.
    #[inline]
    pub(super) fn open(path: PathBuf) -> Result<Self, BuildError> {
        let file = Self(path);
        file.read_now()?;
        Ok(file)
    }

    #[inline]
    async fn read(self: &Arc<Self>) -> Result<Secret, Error> {
        let file = Arc::clone(self);
        blocking(move || file.read_now())
            .await
            .ok_or_else(|| Error::new(ErrorKind::ClientCredential, "the token file was not read"))?
            .map_err(unusable)
    }

    #[inline]
    fn read_now(&self) -> Result<Secret, BuildError> {
        let content = file::read(&self.0, MAX_BYTES, Links::SameFolder, "token file")?;
        let text = std::str::from_utf8(&content).map(str::trim).unwrap_or_default();
        let is_token = text.split('.').count() == 3 && text.bytes().all(|b| b.is_ascii_graphic());
        if !is_token {
            return Err(BuildError::new(format!(
                "the token file {} holds no JWT; it must be the projected token itself",
                self.0.display()
            )));
        }
        Ok(Secret::new(Zeroizing::new(text.to_owned()).as_str()))
    }
}

#[async_trait]
impl Prover for TokenFile {
    #[inline]
    async fn prove(self: Arc<Self>, _: Occasion<'_>) -> Result<(Secret, Option<Used>), Error> {
        let token = self.read().await?;
        let refused = token.clone();
        let used = Used::new(move || {
            let (file, refused) = (Arc::clone(&self), refused.clone());
            Box::pin(async move { file.read().await.is_ok_and(|now| now != refused) })
        });
        Ok((token, Some(used)))
    }
}
