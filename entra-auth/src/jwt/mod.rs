//! The strict JWT core: parsing, keys, signatures and typed claims. No claim is judged here except the lifetime.

mod algorithm;
mod bearer;
mod claims;
mod error;
mod jwk;
mod key_source;
mod token;

pub use self::{
    algorithm::Algorithm,
    bearer::bearer,
    claims::{Claims, Lifetime},
    error::{TokenError, TokenErrorKind},
    jwk::SigningKey,
    key_source::{KeyError, KeyErrorKind, KeyLookup, KeySource, StaticKeys},
    token::{UnverifiedToken, VerifiedJwt},
};

/// The longest token that is looked at.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;
