//! Getting tokens: grants, caches, errors.

mod aadsts;
#[cfg(feature = "validate")] // users sign in only where id tokens are validated
mod accounts;
mod admin_consent;
mod agent_identity;
mod assertion;
mod authorization_answer;
#[cfg(feature = "validate")]
mod authorization_code;
mod cache;
mod cache_index;
mod cache_key;
mod certificate;
mod certificate_source;
mod client;
mod client_setup;
mod credential;
#[cfg(feature = "validate")]
mod device_code;
mod downstream;
mod engine;
mod file;
mod host_tokens;
#[cfg(all(test, feature = "validate"))]
mod isolation;
#[cfg(all(test, feature = "validate"))]
mod isolation_check;
#[cfg(feature = "validate")]
mod long_running;
#[cfg(all(test, feature = "validate"))]
mod model;
#[cfg(feature = "validate")]
mod on_behalf_of;
#[cfg(feature = "validate")]
mod party;
mod pkce;
#[cfg(feature = "validate")]
mod public_client;
mod question;
#[cfg(feature = "validate")]
mod refresh;
mod reload;
#[cfg(feature = "validate")] // what processes share are tokens of users
mod second_level;
#[cfg(feature = "validate")]
mod sign_in_audience;
mod signer;
#[cfg(feature = "validate")]
mod users;
mod wire;
mod workload_identity;

pub use self::{
    admin_consent::{AdminConsent, AdminConsentAnswer, UnconfirmedTenant},
    agent_identity::{AgentCredential, AgentUser},
    certificate::Certificate,
    client::{ConfidentialClient, ConfidentialClientBuilder},
    downstream::Downstream,
};
#[cfg(feature = "validate")]
pub use self::{
    agent_identity::AgentOnBehalfOf,
    authorization_answer::AuthorizationAnswer,
    authorization_code::{AuthorizationRequest, Prompt, ReturnPath, SignInSession, SignInStore},
    device_code::DeviceCode,
    long_running::SessionKey,
    on_behalf_of::OnBehalfOf,
    public_client::{PublicClient, PublicClientBuilder},
    refresh::AccountCredential,
    sign_in_audience::SignInAudience,
    users::{Account, SignedIn, Users},
};
pub use self::{
    assertion::{Assertion, AssertionRequest, ClientAssertion},
    certificate_source::CertificateSource,
    credential::ClientCredential,
    reload::CertificateFile,
    signer::{SignRequest, SignatureAlgorithm},
    workload_identity::WorkloadIdentity,
};

pub(crate) use self::host_tokens::HostTokens;

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[inline]
fn too_many_scopes(error: crate::InvalidScopes) -> crate::Error {
    crate::Error::new(crate::ErrorKind::Configuration, "the scopes are too many").with_source(error)
}

/// 128 unpredictable bits in the form of a version 4 UUID, for assertion ids; `None` when the system has none to give.
#[inline]
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
