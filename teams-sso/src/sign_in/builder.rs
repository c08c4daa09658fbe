use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use botframework_activity::{ChannelPolicy, ConnectorClient};
use entra_auth::{BuildError, Clock, MemoryStore, Sealer, Store, SystemClock, Table};

use super::{Connection, Shared, SignIn, SignInNotice, Words, inflight::Inflight};
use crate::{
    TokenServiceClient,
    flow::{CardLimit, Rules},
};

/// Settings of a [`SignIn`].
#[must_use]
pub struct SignInBuilder {
    tokens: TokenServiceClient,
    connector: ConnectorClient,
    policy: ChannelPolicy,
    connections: Vec<Connection>,
    store: Arc<dyn Store>,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    life: Duration,
    words: Words,
    cancel_words: Vec<String>,
    invoke_timeout: Duration,
}

impl SignIn {
    /// Begins with where tokens come from, how cards are sent, and what the bot accepts.
    pub fn builder(tokens: TokenServiceClient, connector: ConnectorClient, policy: ChannelPolicy) -> SignInBuilder {
        SignInBuilder {
            tokens,
            connector,
            policy,
            connections: Vec::new(),
            store: Arc::new(MemoryStore::default()),
            sealer: Sealer::ephemeral(),
            clock: Arc::new(SystemClock),
            life: Duration::from_secs(15 * 60),
            words: Arc::new(|notice: &SignInNotice<'_>| notice.in_english()),
            cancel_words: vec!["cancel".into(), "/cancel".into(), "-cancel".into()],
            invoke_timeout: Duration::from_secs(5),
        }
    }
}

impl SignInBuilder {
    /// Adds an OAuth connection of the bot. At least one is needed.
    pub fn connection(mut self, connection: Connection) -> Self {
        self.connections.push(connection);
        self
    }

    /// Keeps sign-ins in a store that outlives this process and is shared by all replicas, with the messages that wait
    /// sealed. All replicas need the same keys. Default: in this process; a restart loses messages that wait.
    pub fn durable(mut self, store: Arc<dyn Store>, sealer: Sealer) -> Self {
        self.store = store;
        self.sealer = sealer;
        self
    }

    /// Sets the clock. Default the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long a sign-in may take. Default 15 minutes, at least one.
    pub const fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Sets what users are told; `None` for nothing. Default English.
    pub fn words(mut self, words: impl Fn(&SignInNotice<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.words = Arc::new(words);
        self
    }

    /// Sets the messages that cancel a sign-in, in any letter case. Default `cancel`, `/cancel`, `-cancel`.
    pub fn cancel_words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.cancel_words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long an invoke may take to be answered. Default 5 s; Copilot asks the user again when it takes longer.
    pub const fn invoke_timeout(mut self, timeout: Duration) -> Self {
        self.invoke_timeout = timeout;
        self
    }

    /// Builds it. Nothing is sent.
    ///
    /// # Errors
    ///
    /// When there is no connection, one has an empty name or two have the same, or the life is shorter than a minute.
    /// The developer or operator corrects the setting.
    pub fn build(self) -> Result<SignIn, BuildError> {
        let mut names: Vec<&str> = self.connections.iter().map(Connection::name).collect();
        if names.is_empty() || names.contains(&"") {
            return Err(BuildError::new("a sign-in needs at least one OAuth connection with a name"));
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(BuildError::new("two OAuth connections of the sign-in have the same name"));
        }
        if self.life < Duration::from_secs(60) {
            return Err(BuildError::new("a sign-in takes a minute at least; give it more time"));
        }
        let rules = Rules { life: i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX), ..Rules::default() };
        let window = Duration::from_secs(CardLimit::WINDOW.unsigned_abs());
        Ok(SignIn(Arc::new(Shared {
            tokens: self.tokens,
            connector: self.connector,
            policy: self.policy,
            connections: self.connections,
            // Records outlive the sign-in, so that whoever comes too late is told so.
            flows: Table::new(Arc::clone(&self.store), self.life.saturating_mul(2)),
            cards: Table::new(self.store, window),
            sealer: self.sealer,
            runner: OnceLock::new(),
            clock: self.clock,
            rules,
            words: self.words,
            cancel_words: self.cancel_words,
            invoke_timeout: self.invoke_timeout,
            inflight: Inflight::default(),
        })))
    }
}

impl fmt::Debug for SignInBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInBuilder").field("connections", &self.connections).finish_non_exhaustive()
    }
}
