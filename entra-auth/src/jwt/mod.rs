//! The strict JWT core: parsing, keys, signatures and typed claims. No claim is judged here except the lifetime.

mod algorithm;
mod bearer;
mod claims;
mod error;
mod header;
mod jwk;
mod jwks_client;
mod key_set;
mod key_source;
mod lifetime;
mod members;
mod memory;
mod metadata;
mod token;
#[cfg(test)]
mod wycheproof;

pub use self::{
    algorithm::Algorithm,
    bearer::bearer,
    claims::Claims,
    error::{TokenError, TokenErrorKind},
    jwk::SigningKey,
    jwks_client::{JwksClient, JwksClientBuilder},
    key_source::{KeyError, KeyErrorKind, KeyLookup, KeySource, StaticKeys},
    lifetime::{Lifetime, TokenTimes},
    memory::{Recall, TokenMemory},
    token::{UnverifiedToken, VerifiedJwt},
};

/// The longest token that is looked at.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
