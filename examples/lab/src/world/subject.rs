use std::sync::Arc;

use async_trait::async_trait;
use entra_auth::{
    AccessTokenValidator, Authority, ClientId, Clock, ConfidentialClient, Error, HttpTransport, Secret, TenantPolicy,
    TokenCredential, TokenError, TokenRequest, UserAssertion, UserKey, UserToken,
};
use serde_json::json;

use super::{API, CLIENT, TENANT};
use crate::Fault;

/// Makes what gets an application's tokens, over a transport and by a clock.
pub type MakeSource = fn(Arc<dyn HttpTransport>, Arc<dyn Clock>) -> Result<Arc<dyn TokenCredential>, Fault>;
/// Makes what gets users' tokens, with so many bytes of memory for them.
pub type MakeUserSource = fn(Arc<dyn HttpTransport>, Arc<dyn Clock>, usize) -> Result<Arc<dyn UserSource>, Fault>;
/// Makes what judges tokens, over the transport that brings keys.
pub type MakeJudge = fn(Arc<dyn HttpTransport>, Arc<dyn Clock>) -> Result<Arc<dyn Judge>, Fault>;

/// Gets tokens on behalf of users.
#[async_trait]
pub trait UserSource: Send + Sync {
    /// What gets tokens for whoever sent the assertion.
    fn on_behalf_of(&self, assertion: UserAssertion) -> Arc<dyn TokenCredential>;

    /// Forgets a user.
    async fn forget(&self, user: &UserKey) -> Result<(), Error>;
}

#[async_trait]
impl UserSource for ConfidentialClient {
    fn on_behalf_of(&self, assertion: UserAssertion) -> Arc<dyn TokenCredential> {
        Arc::new(Self::on_behalf_of(self, assertion))
    }

    async fn forget(&self, user: &UserKey) -> Result<(), Error> {
        self.forget_user(user).await
    }
}

/// Judges the tokens that callers bring.
#[async_trait]
pub trait Judge: Send + Sync {
    /// Lets a token in or says why not.
    async fn judge(&self, token: &str) -> Result<(), TokenError>;
}

#[async_trait]
impl Judge for AccessTokenValidator {
    async fn judge(&self, token: &str) -> Result<(), TokenError> {
        self.validate(token).await.map(drop)
    }
}

/// The client of the crate with its defaults.
///
/// # Errors
///
/// Never, unless the crate changed.
pub fn client(transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Result<Arc<dyn TokenCredential>, Fault> {
    let client = ConfidentialClient::builder(TENANT.parse()?, CLIENT.parse()?, Secret::new("secret"));
    Ok(Arc::new(client.transport(transport).clock(clock).build()?))
}

/// The client of the crate for users, with its defaults apart from the memory for tokens.
///
/// # Errors
///
/// Never, unless the crate changed.
pub fn user_client(
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    cache_bytes: usize,
) -> Result<Arc<dyn UserSource>, Fault> {
    let client = ConfidentialClient::builder(TENANT.parse()?, CLIENT.parse()?, Secret::new("secret"));
    Ok(Arc::new(client.transport(transport).clock(clock).cache_bytes(cache_bytes).build()?))
}

/// The validator of the crate with its defaults, keys fetched over the transport.
///
/// # Errors
///
/// Never, unless the crate changed.
pub fn judge(transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Judge>, Fault> {
    let policy = TenantPolicy::Single(TENANT.parse()?);
    let validator = AccessTokenValidator::builder(Authority::default(), [API], policy);
    Ok(Arc::new(validator.transport(transport).clock(clock).build()?))
}

/// A request for this scope.
///
/// # Errors
///
/// When it is none.
pub fn request(scope: &str) -> Result<TokenRequest, Fault> {
    Ok(TokenRequest::new(scope.parse()?))
}

/// The token of a user of a tenant as it comes out of the validator, and the assertion that it makes. `raw` is its text.
///
/// # Errors
///
/// When tenant or user are no GUIDs.
pub fn user_token(tenant: &str, user: &str, ends: i64, raw: String) -> Result<UserAssertion, Fault> {
    let claims = json!({
        "aud": CLIENT, "tid": tenant, "oid": user, "sub": user, "exp": ends, "scp": "access_as_user", "ver": "2.0",
        "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
    });
    let client: ClientId = CLIENT.parse()?;
    Ok(UserToken::trusted(&claims, raw)?.assertion_for(&client, &[""; 0])?)
}
