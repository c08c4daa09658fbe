use std::{fmt, sync::Arc, time::Duration};

use super::{
    client_setup::{Setup, setup_setters},
    engine::Engine,
    party::{Party, PublicIdentity},
    users::Users,
};
use crate::{Authority, BuildError, ClientId, Clock, HttpTransport, IdTokenValidator, RetryPolicy, TenantId};

/// An application that cannot keep a secret: a tool on somebody's machine, a device. It signs users in and sends no
/// credential of its own.
///
/// A server is a [`ConfidentialClient`](crate::ConfidentialClient). Clients, differences and registration:
/// <https://learn.microsoft.com/entra/identity-platform/msal-client-applications>.
///
/// ```no_run
/// use entra_auth::{Authority, IdTokenValidator, PublicClient, TenantId, TenantPolicy, TokenCredential, TokenRequest};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tenant: TenantId = "11111111-1111-1111-1111-111111111111".parse()?;
/// let client = PublicClient::builder(tenant.clone(), "22222222-2222-2222-2222-222222222222".parse()?).build()?;
/// let validator =
///     IdTokenValidator::builder(Authority::default(), client.client_id().clone(), TenantPolicy::Single(tenant)).build()?;
/// let users = client.users(validator);
///
/// let code = users.device_code(&"User.Read".parse()?).await?;
/// println!("Open {} and enter {}", code.verification_uri(), code.user_code());
/// let signed_in = users.wait_for(code).await?;
///
/// let credential = users.credential(signed_in.account.user_key());
/// let token = credential.get_token(&TokenRequest::new("Mail.Read".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PublicClient {
    engine: Arc<Engine>,
    identity: Arc<PublicIdentity>,
    tenant: TenantId,
}

impl PublicClient {
    /// Starts with what has no default: tenant and client id.
    #[inline]
    pub fn builder(tenant: TenantId, client_id: ClientId) -> PublicClientBuilder {
        PublicClientBuilder { tenant, client_id, setup: Setup::default() }
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.identity.client_id
    }

    /// Signs users in; `validator` judges their id tokens and must be for this client.
    #[must_use]
    pub fn users(&self, validator: IdTokenValidator) -> Users {
        let party = Party::Public(Arc::clone(&self.identity));
        Users::new(Arc::clone(&self.engine), party, self.tenant.clone(), validator)
    }
}

impl fmt::Debug for PublicClient {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicClient")
            .field("authority", &self.identity.authority)
            .field("tenant", &self.tenant)
            .field("client_id", &self.identity.client_id)
            .finish_non_exhaustive()
    }
}

/// Builds a [`PublicClient`].
#[derive(Debug)]
#[must_use]
pub struct PublicClientBuilder {
    tenant: TenantId,
    client_id: ClientId,
    setup: Setup,
}

impl PublicClientBuilder {
    setup_setters!();

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When no transport was given and none is built in.
    #[inline]
    pub fn build(self) -> Result<PublicClient, BuildError> {
        let setup = self.setup;
        let engine = setup.engine(4 << 20)?;
        let identity =
            PublicIdentity { authority: setup.authority, client_id: self.client_id, challenges: setup.challenges };
        Ok(PublicClient { engine: Arc::new(engine), identity: Arc::new(identity), tenant: self.tenant })
    }
}
