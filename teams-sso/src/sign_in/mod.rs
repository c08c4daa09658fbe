//! The machine at work: tokens for messages, answers for invokes, messages that waited.

mod access;
mod answer;
mod builder;
mod connection;
mod error;
mod host;
mod inflight;
mod invokes;
mod notice;
mod session;
mod tokens;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use botframework_activity::{ChannelPolicy, ConnectorClient, TurnRunner};
use entra_auth::{Clock, Namespace, Sealer, Table};

use self::inflight::Inflight;
pub use self::{
    access::{Access, SignedIn},
    builder::SignInBuilder,
    connection::Connection,
    error::{SignInError, SignInErrorKind},
    notice::{SignInNotice, SignInNoticeKind},
};
use crate::{
    TokenServiceClient,
    flow::{CardLimit, Flow, Rules},
};

/// Signs the users of a bot in, and gives their tokens to the bot's turns.
///
/// One of these serves the whole bot. In a turn, [`SignIn::token`] or [`SignIn::on_behalf_of`] gives what is ready, or
/// parks the message behind a sign-in card. In the HTTP handler, [`SignIn::invoke`] answers the `signin/…` invokes; when
/// the sign-in is complete, the parked message comes back as a turn of its own. A clone is the same.
///
/// ```
/// # use botframework_activity::*;
/// # use entra_auth::{AccessTokenValidator, ConfidentialClient, TokenCredential, TokenRequest};
/// # use teams_sso::*;
/// # fn f(
/// #     tokens: TokenServiceClient, connector: ConnectorClient, policy: ChannelPolicy,
/// #     validator: AccessTokenValidator, client: ConfidentialClient,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let sign_in = SignIn::builder(tokens, connector.clone(), policy.clone())
///     .connection(Connection::on_behalf_of("sso", validator, client, ["api://botid-1"]))
///     .build()?;
///
/// let of_turns = sign_in.clone();
/// let handler = move |turn: Turn| {
///     let sign_in = of_turns.clone();
///     async move {
///         let Access::Ready(user) = sign_in.on_behalf_of(&turn, "sso").await? else {
///             return Ok(Outcome::Parked);
///         };
///         let _graph = user.get_token(&TokenRequest::new("User.Read".parse()?)).await?;
///         Ok(Outcome::answer(Activity::message("Signed in.")))
///     }
/// };
/// let runner = TurnRunner::in_memory(MemoryTurnQueue::default(), policy, connector)
///     .start(handler, |_, _| Some(Activity::message("Sorry, that did not work.")));
/// sign_in.attach(&runner);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SignIn(Arc<Shared>);

struct Shared {
    tokens: TokenServiceClient,
    connector: ConnectorClient,
    policy: ChannelPolicy,
    connections: Vec<Connection>,
    flows: Table<Flow>,
    cards: Table<CardLimit>,
    sealer: Sealer,
    runner: OnceLock<TurnRunner>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    words: Words,
    cancel_words: Vec<String>,
    invoke_timeout: Duration,
    inflight: Inflight,
}

type Words = Arc<dyn Fn(&SignInNotice<'_>) -> Option<String> + Send + Sync>;

/// Sign-ins under way, with the message that waits.
const FLOWS: Namespace = Namespace::precious("sign-in");
/// Cards shown lately.
const CARDS: Namespace = Namespace::precious("sign-in-cards");

impl SignIn {
    /// Tells through which runner messages come back that waited. Call it once, before the first request is served; a
    /// second call changes nothing.
    ///
    /// It is a step of its own because the runner's handler needs the sign-in, too.
    pub fn attach(&self, runner: &TurnRunner) {
        if self.0.runner.set(runner.clone()).is_err() {
            tracing::warn!("a turn runner is attached to the sign-in already");
        }
    }

    /// The connections, in the order in which they were given.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.0.connections.iter()
    }
}

impl Shared {
    fn connection(&self, name: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.name() == name)
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("tokens", &self.0.tokens)
            .field("connections", &self.0.connections)
            .field("attached", &self.0.runner.get().is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
