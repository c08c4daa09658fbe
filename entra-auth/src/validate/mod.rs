//! Validation of Entra access tokens: who may come in, and what a token says.

mod assertion;
mod kind;
mod policy;
mod principal;
mod remembered;
mod tenant_keys;
mod validator;

pub use self::{
    assertion::UserAssertion,
    kind::{AppToken, UserToken, ValidatedToken},
    policy::{AllowedCallers, TenantPolicy},
    principal::{TokenVersion, UntrustedDisplay},
    tenant_keys::{TenantKeys, TenantKeysBuilder},
    validator::{AccessTokenValidator, AccessTokenValidatorBuilder},
};
