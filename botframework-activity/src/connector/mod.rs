//! The REST client of the connector: send, reply, update, delete, typing.

mod address;
mod answer;
mod call;
mod client;
mod error;

pub use client::{ConnectorClient, ConnectorClientBuilder, Sent};
pub use error::{ConnectorErrorCode, Delivery, SendAdvice, SendError, SendErrorKind};
