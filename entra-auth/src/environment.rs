//! Chains of credentials put together from the environment.

use std::{fs, sync::Arc};

use crate::{
    Authority, BuildError, Certificate, ChainedTokenCredential, ClientCredential, ClientId, Clock, ConfidentialClient,
    HttpTransport, ManagedIdentityCredential, ManagedIdentityId, Secret, SystemClock, TenantId, TokenCredential,
    WorkloadIdentity, chain::Absent, settings::Settings,
};

impl ChainedTokenCredential {
    /// For services: what the environment holds, else workload identity, else managed identity.
    ///
    /// 1. `environment`: `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET`, or with
    ///    `AZURE_CLIENT_CERTIFICATE_PATH` (a PEM file with key; `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=true` adds `x5c`).
    /// 2. `workload identity`: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE`.
    /// 3. `managed identity`: user-assigned when `AZURE_CLIENT_ID` is set.
    ///
    /// `AZURE_AUTHORITY_HOST` names the cloud. Developer tools are not asked: what runs in production never depends on
    /// who is signed in.
    ///
    /// # Errors
    ///
    /// When a variable is malformed, a credential is only half set, or the certificate cannot be read. Who can fix it:
    /// the operator.
    pub fn for_services<L: Fn(&str) -> Option<String>>(settings: &Settings<L>) -> Result<Self, BuildError> {
        ServiceCredentials::default().chain(settings)
    }

    /// For a developer's machine: the account that is signed in to the Azure CLI. `AZURE_TENANT_ID` chooses the tenant.
    ///
    /// # Errors
    ///
    /// When `AZURE_TENANT_ID` is malformed. Who can fix it: the developer.
    #[cfg(feature = "azure-cli")]
    #[cfg_attr(docsrs, doc(cfg(feature = "azure-cli")))]
    pub fn for_developers<L: Fn(&str) -> Option<String>>(settings: &Settings<L>) -> Result<Self, BuildError> {
        let mut cli = crate::AzureCliCredential::builder();
        if let Some(tenant) = parsed::<TenantId, _>(settings, "AZURE_TENANT_ID")? {
            cli = cli.tenant(tenant);
        }
        Self::new([("Azure CLI", Arc::new(cli.build()) as Arc<dyn TokenCredential>)])
    }
}

/// The parts of [`ChainedTokenCredential::for_services`] that can be replaced: transports and clock.
#[derive(Debug)]
#[must_use]
pub struct ServiceCredentials {
    entra: Option<Arc<dyn HttpTransport>>,
    local: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
}

impl Default for ServiceCredentials {
    #[inline]
    fn default() -> Self {
        Self { entra: None, local: None, clock: Arc::new(SystemClock) }
    }
}

impl ServiceCredentials {
    /// How requests to Entra are sent, perhaps through a proxy.
    #[inline]
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.entra = Some(transport);
        self
    }

    /// How requests to the identity endpoint of the host are sent: without proxy.
    #[inline]
    pub fn local_transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.local = Some(transport);
        self
    }

    /// What time it is. Default: [`SystemClock`].
    #[inline]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Puts the chain together; see [`ChainedTokenCredential::for_services`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn chain<L: Fn(&str) -> Option<String>>(
        self,
        settings: &Settings<L>,
    ) -> Result<ChainedTokenCredential, BuildError> {
        let tenant: Option<TenantId> = parsed(settings, "AZURE_TENANT_ID")?;
        let client_id: Option<ClientId> = parsed(settings, "AZURE_CLIENT_ID")?;
        let authority: Authority = match settings.lookup("AZURE_AUTHORITY_HOST") {
            Some(text) => text.parse()?,
            None => Authority::default(),
        };
        let both = tenant.zip(client_id.clone());
        let client = |credential: ClientCredential| -> Result<Arc<dyn TokenCredential>, BuildError> {
            let (tenant, client_id) = both.clone().ok_or_else(|| {
                BuildError::new("AZURE_TENANT_ID and AZURE_CLIENT_ID must be set together with the client's credential")
            })?;
            let mut builder = ConfidentialClient::builder(tenant, client_id, credential)
                .authority(authority.clone())
                .clock(Arc::clone(&self.clock));
            if let Some(transport) = &self.entra {
                builder = builder.transport(Arc::clone(transport));
            }
            Ok(Arc::new(builder.build()?))
        };

        let environment = credential(settings)?.map(&client).transpose()?;
        let workload = self.workload_identity(settings)?;
        let found = environment.is_some() || workload.is_some();
        let identity: Arc<dyn TokenCredential> = match self.managed_identity(settings, client_id) {
            Ok(identity) => Arc::new(identity),
            // The host's own trouble does not matter to whoever brings a credential.
            Err(error) if found => Arc::new(Absent(error.to_string().into())),
            Err(error) => return Err(error),
        };
        let absent = |text: &'static str| -> Arc<dyn TokenCredential> { Arc::new(Absent(text.into())) };
        let environment = environment
            .unwrap_or_else(|| absent("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set"));
        let workload = workload.unwrap_or_else(|| absent("AZURE_FEDERATED_TOKEN_FILE is not set"));
        ChainedTokenCredential::new([
            ("environment", environment),
            ("workload identity", workload),
            ("managed identity", identity),
        ])
    }

    fn workload_identity<L: Fn(&str) -> Option<String>>(
        &self,
        settings: &Settings<L>,
    ) -> Result<Option<Arc<dyn TokenCredential>>, BuildError> {
        if !settings.is_set("AZURE_FEDERATED_TOKEN_FILE") {
            return Ok(None);
        }
        let mut all = Settings::from_lookup(|name: &str| settings.lookup(name));
        let identity = WorkloadIdentity::from_settings(&mut all);
        let identity = all.finish(|| identity).map_err(|error| {
            BuildError::new("AZURE_FEDERATED_TOKEN_FILE is set, but workload identity is not usable").with_source(error)
        })?;
        let mut builder = identity.client().clock(Arc::clone(&self.clock));
        if let Some(transport) = &self.entra {
            builder = builder.transport(Arc::clone(transport));
        }
        Ok(Some(Arc::new(builder.build()?)))
    }

    fn managed_identity<L: Fn(&str) -> Option<String>>(
        &self,
        settings: &Settings<L>,
        client_id: Option<ClientId>,
    ) -> Result<ManagedIdentityCredential, BuildError> {
        let id = client_id.map_or(ManagedIdentityId::SystemAssigned, ManagedIdentityId::ClientId);
        let mut builder =
            ManagedIdentityCredential::builder(id).settings(settings).clock(Arc::clone(&self.clock)).probe();
        if let Some(transport) = &self.local {
            builder = builder.transport(Arc::clone(transport));
        }
        builder.build()
    }
}

/// The client's own credential, when the environment holds one.
fn credential<L: Fn(&str) -> Option<String>>(settings: &Settings<L>) -> Result<Option<ClientCredential>, BuildError> {
    if let Some(secret) = settings.optional_secret("AZURE_CLIENT_SECRET") {
        return Ok(Some(secret.into()));
    }
    let Some(path) = settings.lookup("AZURE_CLIENT_CERTIFICATE_PATH") else { return Ok(None) };
    if settings.is_set("AZURE_CLIENT_CERTIFICATE_PASSWORD") {
        return Err(BuildError::new(
            "AZURE_CLIENT_CERTIFICATE_PASSWORD is set, but the environment takes PEM files with an open key only; read \
             the file yourself and build a ConfidentialClient",
        ));
    }
    let unreadable = |error: std::io::Error| {
        BuildError::new("the file of AZURE_CLIENT_CERTIFICATE_PATH cannot be read as PEM").with_source(error)
    };
    // The text is wiped after use: it holds the key.
    let pem = Secret::from(fs::read_to_string(path).map_err(unreadable)?);
    let certificate = Certificate::from_pem(pem.expose().as_bytes())?;
    let chain = settings.lookup("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
    let chain = chain.is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
    Ok(Some(if chain { certificate.send_chain() } else { certificate }.into()))
}

/// A variable that may be absent but not malformed.
fn parsed<T: std::str::FromStr, L: Fn(&str) -> Option<String>>(
    settings: &Settings<L>,
    name: &str,
) -> Result<Option<T>, BuildError> {
    let text = settings.lookup(name);
    text.map(|text| text.parse().map_err(|_| BuildError::new(format!("{name} is malformed")))).transpose()
}
