#![doc = include_str!("../README.md")]

mod channel;
mod clock;
/// The fixed world: tenants, registrations, users. Every value is public.
pub mod constants;
mod control;
mod der;
mod entra;
mod faults;
mod foundry;
mod journal;
mod keys;
mod members;
mod sandbox;
mod server;
mod state;
pub mod terminal;
mod tls;
mod tokens;
mod tokenservice;
mod wire;

pub use channel::{
    Author, ConnectorSettings, Conversation, Counters, Entry, Exchange, Failure, Posted, Scope, SignIn, Stage,
    Standing, Step, Teams, TeamsUser, Wait,
};
pub use entra::{Consent, Renewal};
pub use faults::{Fault, FaultKind};
pub use journal::Recorded;
pub use keys::Signer;
pub use sandbox::{Builder, Restart, Sandbox};
