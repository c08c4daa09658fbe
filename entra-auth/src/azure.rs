use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    credentials::{AccessToken as AzureToken, TokenCredential as AzureCredential, TokenRequestOptions},
    error::{Error as AzureError, ErrorKind as AzureErrorKind},
};

use crate::{
    AccessToken, Clock, Error, ErrorKind, OAuthError, Scopes, SystemClock, TenantId, TokenCredential, TokenRequest,
};

/// A credential of this crate for clients of the Azure SDK, such as a Key Vault or Blob Storage client.
///
/// Those clients have a cache of their own and ask again five minutes before a token ends. They cannot say which token a
/// service refused, nor pass a claims challenge on: use this crate's own clients where that matters. An error of the
/// credential is inside theirs (`downcast_ref::<entra_auth::Error>()`).
///
/// ```
/// # fn client(credential: entra_auth::StaticCredential) {
/// use std::sync::Arc;
///
/// use entra_auth::AsAzureCredential;
///
/// let credential: Arc<dyn azure_core::credentials::TokenCredential> = Arc::new(AsAzureCredential::new(credential));
/// # let _ = credential;
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsAzureCredential {
    credential: Arc<dyn TokenCredential>,
    tenant: Option<TenantId>,
}

impl AsAzureCredential {
    /// Wraps a credential.
    pub fn new(credential: impl TokenCredential) -> Self {
        Self { credential: Arc::new(credential), tenant: None }
    }

    /// Asks for tokens of this tenant. Default: the credential's own.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }
}

#[async_trait]
impl AzureCredential for AsAzureCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        // Holds nothing that a token depends on: neither claims nor a tenant.
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AzureToken> {
        let refused = |error: Error| AzureError::new(AzureErrorKind::Credential, error);
        let scopes = Scopes::new(scopes).map_err(|error| {
            refused(
                Error::new(ErrorKind::Configuration, "the Azure client asks for impossible scopes").with_source(error),
            )
        })?;
        let request = TokenRequest { tenant: self.tenant.clone(), ..TokenRequest::new(scopes) };
        let token = self.credential.get_token(&request).await.map_err(refused)?;
        Ok(AzureToken::new(token.expose().to_owned(), token.expires_on()))
    }
}

/// A credential of the Azure SDK, such as one of `azure_identity`, for this crate and its siblings.
///
/// It can get tokens for scopes and nothing else: a request with claims or for another tenant is
/// [`ErrorKind::Unsupported`], and so is one to replace a refused token when the Azure credential gives that very token
/// again. Its own error text can hold Entra's description, which names users; of it only the AADSTS code is kept.
///
/// ```
/// # fn wrap(credential: std::sync::Arc<dyn azure_core::credentials::TokenCredential>) {
/// use entra_auth::{FromAzureCredential, TokenCredential};
///
/// let credential: std::sync::Arc<dyn TokenCredential> = std::sync::Arc::new(FromAzureCredential::new(credential));
/// # let _ = credential;
/// # }
/// ```
#[derive(Clone)]
pub struct FromAzureCredential {
    credential: Arc<dyn AzureCredential>,
    clock: Arc<dyn Clock>,
}

impl FromAzureCredential {
    /// Wraps a credential.
    pub fn new(credential: Arc<dyn AzureCredential>) -> Self {
        Self { credential, clock: Arc::new(SystemClock) }
    }

    /// The clock that the end of tokens is judged by. Default [`SystemClock`].
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

#[async_trait]
impl TokenCredential for FromAzureCredential {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        request.without_parameters("a credential of the Azure SDK")?;
        let unsupported = |message| Err(Error::new(ErrorKind::Unsupported, message));
        if request.claims.is_some() {
            return unsupported("a credential of the Azure SDK cannot satisfy a claims challenge");
        }
        if request.tenant.is_some() {
            return unsupported("a credential of the Azure SDK gets tokens of its own tenant only");
        }
        let scopes: Vec<&str> = request.scopes.iter().collect();
        let token = self.credential.get_token(&scopes, None).await.map_err(|error| translate(&error))?;
        if token.expires_on <= self.clock.now() {
            return Err(Error::new(ErrorKind::Protocol, "the Azure credential gave a token that has ended"));
        }
        let token = AccessToken::new(token.token.secret(), token.expires_on)?;
        if request.rejected.as_ref().is_some_and(|rejected| rejected.same_as(&token)) {
            return unsupported("the Azure credential gave the very token again that was refused");
        }
        Ok(token)
    }
}

/// The Azure credential is not asked to show itself: nothing says what it would show.
impl Debug for FromAzureCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromAzureCredential")
    }
}

/// Our own error when it is one that came the other way, else the kind alone: the text is the other library's.
fn translate(error: &AzureError) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    let (kind, message) = match error.kind() {
        AzureErrorKind::Io | AzureErrorKind::Connection => {
            (ErrorKind::Transport, "the Azure credential could not reach its server")
        }
        AzureErrorKind::HttpResponse { status, .. } => match u16::from(*status) {
            429 => (ErrorKind::Throttled, "the Azure credential was told to wait"),
            408 | 500..=599 => (ErrorKind::Transient, "the Azure credential's server has a passing fault"),
            _ => (ErrorKind::Configuration, "the Azure credential was refused"),
        },
        AzureErrorKind::DataConversion => (ErrorKind::Protocol, "the Azure credential got an answer that is none"),
        _ => (ErrorKind::Configuration, "the Azure credential has no token; look at its settings"),
    };
    let translated = Error::new(kind, message);
    match aadsts(&error.to_string()) {
        Some(code) => {
            let status = error.http_status().map_or(0, u16::from);
            translated.with_oauth(OAuthError { status, error_codes: vec![code], ..OAuthError::default() })
        }
        None => translated,
    }
}

/// The number of the first AADSTS code in a text.
fn aadsts(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("AADSTS")?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    after.get(..digits)?.parse().ok()
}
