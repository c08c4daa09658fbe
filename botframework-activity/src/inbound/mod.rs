//! Requests of the Bot Framework channel: who sent them, and what may be done with them.

mod authenticator;
mod cloud;
mod error;
mod policy;
mod reference;
mod sealed;
mod service_url;
mod token;
mod verified;

#[cfg(test)]
use self::service_url::ConnectorHosts;
pub use self::{
    authenticator::{ChannelAuthenticator, ChannelAuthenticatorBuilder, ChannelKeys},
    cloud::ChannelCloud,
    error::{InboundError, InboundErrorKind},
    policy::ChannelPolicy,
    reference::{ConversationKey, VerifiedReference},
    sealed::{RecordError, RecordErrorKind},
    service_url::ServiceUrl,
    token::ChannelToken,
    verified::{ForeignActivity, VerifiedActivity},
};
