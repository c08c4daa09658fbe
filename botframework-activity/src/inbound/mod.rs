//! Requests of the Bot Framework channel: who sent them, and what may be done with them.

mod agent;
mod authenticator;
mod callers;
mod cloud;
mod entra;
mod error;
mod ingress;
mod policy;
mod reference;
mod sealed;
mod service_url;
mod token;
mod verified;

#[cfg(test)]
use self::service_url::ConnectorHosts;
pub use self::{
    agent::{AgentRequest, AgentToken},
    authenticator::{ChannelAuthenticator, ChannelAuthenticatorBuilder, ChannelKeys},
    callers::{AgentCaller, CallerAuthenticator, CallerAuthenticatorBuilder, CallerToken, InboundRequest},
    cloud::ChannelCloud,
    error::{InboundError, InboundErrorKind},
    ingress::{IngressError, IngressFilter, SourceRange},
    policy::ChannelPolicy,
    reference::{ConversationKey, VerifiedReference},
    sealed::{RecordError, RecordErrorKind},
    service_url::ServiceUrl,
    token::ChannelToken,
    verified::{ForeignActivity, VerifiedActivity},
};

/// The behaviours of a message endpoint as data: requests, settings, and what comes of them. Whoever writes an
/// authenticator, in any language, can run them against it.
///
#[doc = include_str!("vectors.md")]
#[cfg(feature = "conformance")]
#[cfg_attr(docsrs, doc(cfg(feature = "conformance")))]
pub const INBOUND_VECTORS: &str = include_str!("vectors.json");
