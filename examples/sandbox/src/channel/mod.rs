//! The Bot Framework channel: a Teams client that posts signed activities, and the connector that takes the answers.
//!
//! Everything here is raw JSON written from the documents of the service. It shares no type with the crates it tests.

mod actions;
mod batch;
mod compose;
mod connector;
mod control;
mod conversation;
mod create;
mod deliver;
mod documents;
mod exchange;
mod files;
mod front;
mod groups;
mod ids;
mod inline;
mod meetings;
mod operation;
mod people;
mod post;
mod problem;
mod room;
mod roster;
mod rules;
mod signing;
mod sso;
mod store;
mod stream;
mod teams;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

use crate::state::Shared;

pub use conversation::Conversation;
pub use exchange::{Exchange, Wait};
pub use post::{Failure, Posted};
pub use room::{Author, Entry, Scope, Standing};
pub use sso::{SignIn, Stage, Step};
pub use store::{ConnectorSettings, Counters};
pub use teams::{Teams, TeamsUser};

/// The channel's view of the sandbox. Cheap to clone; every clone sees the same conversations.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<store::Store>,
    pub(crate) clients: Arc<sso::Clients>,
    wire: Arc<post::Wire>,
}

impl Channel {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { store: shared.extension(), clients: shared.extension(), wire: shared.extension(), shared }
    }

    fn client(&self) -> reqwest::Client {
        self.wire.client(&self.shared)
    }
}

/// The connector, the signing front and the control endpoints of the Teams user.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/connector/{*rest}", any(connector::serve))
        .route("/front/{*rest}", any(front::serve))
        .merge(documents::router())
        .merge(control::router())
        .with_state(Channel::new(shared))
}
