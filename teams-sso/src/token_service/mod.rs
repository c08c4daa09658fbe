//! The user-token service of Azure Bot Service: keeps the tokens of a bot's users, by connection.

mod classify;
mod client;
mod error;
mod state;
#[cfg(test)]
mod tests;
mod user;
mod wire;

pub use self::{
    client::{TokenServiceClient, TokenServiceClientBuilder},
    error::{TokenServiceError, TokenServiceErrorKind},
    user::{ChannelUser, NoUser},
    wire::{ServiceToken, SignInResource},
};
