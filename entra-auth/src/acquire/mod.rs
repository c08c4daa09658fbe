//! Getting tokens: grants, caches, errors.

mod aadsts;
mod cache;
mod certificate;
mod client;
mod engine;
#[cfg(feature = "validate")]
mod on_behalf_of;
mod wire;

#[cfg(feature = "validate")]
pub use self::on_behalf_of::OnBehalfOf;
pub use self::{
    certificate::Certificate,
    client::{ClientCredential, ConfidentialClient, ConfidentialClientBuilder},
};

/// 128 unpredictable bits in the form of a version 4 UUID, for assertion ids; `None` when the system has none to give.
fn random_id() -> Option<String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let [a, b] = [u64::from_be_bytes(*bytes.first_chunk()?), u64::from_be_bytes(*bytes.last_chunk()?)];
    Some(format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | ((b >> 48) & 0x3fff),
        b & 0xffff_ffff_ffff
    ))
}
