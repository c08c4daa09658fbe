//! Validation of Entra's tokens: who may come in, who signed in, and what a token says.

mod assertion;
mod common;
mod groups;
mod id_token;
mod issuer;
mod kind;
mod policy;
mod principal;
mod tenant_keys;
mod validator;

pub use self::{
    assertion::UserAssertion,
    groups::{GroupResolver, GroupResolverBuilder},
    id_token::{IdToken, IdTokenValidator, IdTokenValidatorBuilder},
    kind::{AppToken, UserToken, ValidatedToken},
    policy::{AllowedCallers, TenantPolicy},
    principal::{AgentIdentity, ClientAuthentication, InternalClaims, TokenVersion, UntrustedDisplay},
    tenant_keys::{TenantKeys, TenantKeysBuilder},
    validator::{AccessTokenValidator, AccessTokenValidatorBuilder},
};
