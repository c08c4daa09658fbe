//! Who the bot is to Entra: an app registration with a credential, or a managed identity of the host.

use std::{fs, sync::Arc};

use entra_auth::{
    Authority, BuildError, Certificate, ClientAssertion, ClientCredential, ClientId, Cloud, Error, ErrorKind,
    ManagedIdentityCredential, ManagedIdentityId, Scopes, TokenCredential as _, TokenRequest, settings::Settings,
};

use crate::vault::{self, Vault, VaultAddress};

/// How the bot proves who it is.
#[derive(Debug)]
pub(crate) enum Identity {
    /// An app registration with a secret or a certificate of its own.
    Registration(ClientCredential),
    /// An app registration whose certificate is in a vault that has not been asked yet.
    Vault(Vault),
    /// An app registration that trusts this managed identity of the host (a federated credential).
    Federated(ManagedIdentityCredential),
    /// No registration: the bot is this managed identity of the host, an Azure Bot of the type `UserAssignedMSI`.
    Managed(ManagedIdentityCredential),
}

const UNSET: &str = "BOT_APP_PASSWORD, BOT_APP_CERTIFICATE_PATH and BOT_CERTIFICATE_VAULT_URL are not set";

/// Reads which one it is. `None` means that what is wrong was noted.
pub(crate) fn read<L: Fn(&str) -> Option<String>>(
    settings: &mut Settings<L>,
    app_id: Option<&ClientId>,
) -> Option<Identity> {
    let secret = settings.optional_secret("BOT_APP_PASSWORD");
    let path = settings.optional::<String>("BOT_APP_CERTIFICATE_PATH")?;
    let vault = settings.lookup("BOT_CERTIFICATE_VAULT_URL");
    match (secret, path, vault) {
        (Some(secret), None, None) => Some(Identity::Registration(secret.into())),
        (None, Some(path), None) => certificate(settings, &path).map(Into::into).map(Identity::Registration),
        (None, None, Some(address)) => in_vault(settings, &address).map(Identity::Vault),
        (None, None, None) => managed(settings, app_id),
        (Some(_), Some(_), None) => {
            settings.problem("BOT_APP_PASSWORD and BOT_APP_CERTIFICATE_PATH are both set; the bot has one credential");
            None
        }
        (_, _, Some(address)) => {
            settings.problem(
                "BOT_CERTIFICATE_VAULT_URL is set beside BOT_APP_PASSWORD or BOT_APP_CERTIFICATE_PATH; the bot has one \
                 credential",
            );
            // What else is wrong with it is said too.
            in_vault(settings, &address);
            None
        }
    }
}

fn certificate<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, path: &str) -> Option<Certificate> {
    let pem = fs::read(path)
        .map_err(|error| settings.problem(format!("BOT_APP_CERTIFICATE_PATH cannot be read: {error}")))
        .ok()?;
    Certificate::from_pem(&pem).map_err(|error| settings.problem(format!("BOT_APP_CERTIFICATE_PATH: {error}"))).ok()
}

/// The vault with the bot's key, and the managed identity that may use it.
fn in_vault<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, address: &str) -> Option<Vault> {
    let address = address.parse::<VaultAddress>();
    if let Err(expected) = &address {
        settings.problem(format!("BOT_CERTIFICATE_VAULT_URL is malformed: {expected}"));
    }
    let id = settings.optional::<ClientId>("AZURE_CLIENT_ID")?;
    let id = id.map_or(ManagedIdentityId::SystemAssigned, ManagedIdentityId::ClientId);
    let identity = ManagedIdentityCredential::builder(id).settings(settings).build();
    if let Err(error) = &identity {
        settings.problem(format!("BOT_CERTIFICATE_VAULT_URL needs the managed identity of the host: {error}"));
    }
    Some(Vault { address: address.ok()?, identity: identity.ok()? })
}

/// Without any credential a managed identity is left: the bot itself, or another one that its registration trusts.
fn managed<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, app_id: Option<&ClientId>) -> Option<Identity> {
    let Some(app_id) = app_id else {
        settings.problem(format!("{UNSET}; without them BOT_APP_ID must say which managed identity the bot is"));
        return None;
    };
    let named = settings.optional::<ClientId>("AZURE_CLIENT_ID")?;
    let other = named.filter(|named| named != app_id);
    let form = if other.is_some() { Identity::Federated } else { Identity::Managed };
    let id = ManagedIdentityId::ClientId(other.unwrap_or_else(|| app_id.clone()));
    ManagedIdentityCredential::builder(id)
        .settings(settings)
        .probe()
        .build()
        .map_err(|error| settings.problem(format!("{UNSET}, so a managed identity is needed: {error}")))
        .ok()
        .map(form)
}

impl Identity {
    /// Asks for what lies elsewhere, so that what is missing is known at start: the certificate in the vault, a token of
    /// the managed identity.
    pub(crate) async fn open(self, authority: &Authority) -> Result<Self, BuildError> {
        let (identity, scopes) = match &self {
            Self::Registration(_) => return Ok(self),
            Self::Vault(vault) => return vault.clone().open().await.map(Self::Registration),
            Self::Federated(identity) => (identity, exchange(authority)?),
            Self::Managed(identity) => (identity, parsed("https://api.botframework.com/.default")?),
        };
        match identity.get_token(&TokenRequest::new(scopes)).await {
            Ok(_) => Ok(self),
            Err(error) => Err(BuildError::new(self.unusable(&error))),
        }
    }

    /// What happened, why, and what to do.
    fn unusable(&self, error: &Error) -> String {
        let role = match self {
            Self::Federated(_) => "the identity of AZURE_CLIENT_ID is to prove who the bot is",
            _ => "the bot is to be the managed identity of BOT_APP_ID",
        };
        let advice = match error.kind() {
            ErrorKind::Unsupported => {
                "outside Azure there is none: set one of the three; on Azure assign the identity to the host"
            }
            ErrorKind::Configuration => {
                "assign this user-assigned identity to the host, and check that the setting is its client id; an app \
                 registration needs one of the three, or AZURE_CLIENT_ID with an identity that it trusts"
            }
            _ => "try again, and look at the host's identity endpoint if that does not help",
        };
        format!("{UNSET}, so {role}, but it gave no token: {error}; {advice}")
    }

    /// The credential of app registrations: the bot's, or that of the sign-in where the bot is a managed identity.
    pub(crate) fn credential(&self, authority: &Authority) -> Result<ClientCredential, BuildError> {
        Ok(match self {
            Self::Registration(credential) => credential.clone(),
            Self::Vault(_) => vault::closed(),
            Self::Federated(identity) | Self::Managed(identity) => {
                ClientAssertion::from_credential_for(Arc::new(identity.clone()), exchange(authority)?).into()
            }
        })
    }

    /// For the start: which managed identity speaks for the bot.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Self::Registration(_) | Self::Vault(_) => None,
            Self::Federated(identity) => Some(format!(
                "the bot's registration is used through the managed identity of AZURE_CLIENT_ID, from {}",
                identity.source()
            )),
            Self::Managed(identity) => Some(format!(
                "the bot is the managed identity of BOT_APP_ID, from {}; no secret is involved",
                identity.source()
            )),
        }
    }
}

/// The audience of tokens that are client assertions of another application, by cloud.
fn exchange(authority: &Authority) -> Result<Scopes, BuildError> {
    parsed(match authority.cloud() {
        Some(Cloud::UsGovernment) => "api://AzureADTokenExchangeUSGov/.default",
        Some(Cloud::China) => "api://AzureADTokenExchangeChina/.default",
        _ => "api://AzureADTokenExchange/.default",
    })
}

fn parsed(scopes: &str) -> Result<Scopes, BuildError> {
    scopes.parse().map_err(|error| BuildError::new("a scope is malformed").with_source(error))
}
