use std::fmt;

use serde::{Deserialize, Serialize};

/// What is stored about one sign-in: of one user, in one conversation, for one connection. No token is ever in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Flow {
    /// The user was asked to sign in.
    Pending(Pending),
    /// The token service has the user's token.
    Completed(Completed),
    /// It ended without a token.
    Ended {
        /// Why.
        why: End,
        /// How many codes may still be tried.
        attempts_left: u8,
    },
}

/// A sign-in that waits for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Since when, in Unix seconds.
    pub(crate) started: i64,
    /// How many codes may still be tried.
    pub(crate) attempts_left: u8,
    /// Whether the newest card reached the chat.
    pub(crate) card_shown: bool,
    /// Whether the silent way failed and the newest card has only a button.
    pub(crate) button_only: bool,
    /// Whether the user was told that something is wrong.
    pub(crate) told: bool,
    /// The message that waits.
    pub(crate) parked: Parked,
}

/// A sign-in that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completed {
    /// The ids of the exchanges that are done, the newest last: all of a user's clients send the same one.
    pub(crate) exchanges: Vec<String>,
    /// The message that waited, until the queue has it.
    pub(crate) parked: Option<Parked>,
    /// Which message the queue got.
    pub(crate) resumed: Option<String>,
}

/// Why a sign-in ended without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The user cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// Too many wrong codes.
    TooManyAttempts,
    /// No card may be sent now, or none could be.
    NoCard,
    /// A code came although no sign-in was known, and it was wrong.
    Unknown,
}

/// A message that waits for a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parked {
    /// The id under which the queue accepts it, once.
    pub(crate) id: String,
    /// The message as the queue takes it, opaque here.
    pub(crate) record: String,
}

/// Shows the size only: the record holds what the user wrote.
impl fmt::Debug for Parked {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parked({} bytes)", self.record.len())
    }
}

/// The numbers of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How long a sign-in may take, in seconds.
    pub(crate) life: i64,
    /// How many codes may be tried.
    pub(crate) attempts: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self { life: 15 * 60, attempts: 3 }
    }
}

/// How many finished exchanges are remembered.
const EXCHANGES: usize = 8;

impl Pending {
    pub(crate) fn new(parked: Parked, now: i64, rules: &Rules) -> Self {
        Self { started: now, attempts_left: rules.attempts, card_shown: false, button_only: false, told: false, parked }
    }

    pub(crate) const fn is_over(&self, now: i64, rules: &Rules) -> bool {
        now.saturating_sub(self.started) >= rules.life
    }
}

impl Completed {
    pub(crate) fn has(&self, exchange: &str) -> bool {
        self.exchanges.iter().any(|id| id == exchange)
    }

    /// The same with one more finished exchange.
    pub(crate) fn and(mut self, exchange: String) -> Self {
        if !self.has(&exchange) {
            if self.exchanges.len() >= EXCHANGES {
                self.exchanges.remove(0);
            }
            self.exchanges.push(exchange);
        }
        self
    }
}
