use super::Parked;
use crate::SignInFailureCode;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A message needs a token and the token service has none.
    Wanted(Parked),
    /// A message needs a token and the token service has one. The id is that under which the message would be parked.
    Found {
        /// The id.
        turn: String,
    },
    /// The card reached the chat.
    CardShown,
    /// The card did not reach the chat and never will.
    CardRefused(CardRefusal),
    /// A client of the user sent its token: `signin/tokenExchange`.
    Exchange {
        /// The id of the exchange, the same from all clients.
        id: String,
    },
    /// The exchange with the token service is over.
    Exchanged {
        /// The id of the exchange.
        id: String,
        /// How it went.
        outcome: Exchanged,
    },
    /// A code came, by `signin/verifyState` or typed.
    Code,
    /// The code was shown to the token service.
    Redeemed(Redeemed),
    /// The user cancelled.
    Cancelled,
    /// A client could not sign in silently: `signin/failure`.
    ClientFailed(SignInFailureCode),
    /// The queue has the message that waited.
    Resumed {
        /// Its id.
        id: String,
    },
}

/// How an exchange went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchanged {
    /// The token service has the token.
    Token,
    /// The user must consent or do something else interactive.
    Consent,
    /// A passing fault.
    Transient,
    /// It will not work, whoever tries again.
    Refused(Refusal),
}

/// How a code did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redeemed {
    /// The token service has the token.
    Token,
    /// Wrong or used.
    Wrong,
    /// A passing fault.
    Transient,
    /// It will not work, whoever tries again.
    Refused(Refusal),
}

/// Why something will not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body of the invoke is not what it must be.
    Malformed,
    /// The connection is none of this bot's.
    UnknownConnection,
    /// No sign-in waits for it.
    NoFlow,
    /// It took too long.
    TimedOut,
    /// The token service does not take the client's token.
    InvalidToken,
    /// The connection is not configured as it must be.
    BadConnection,
    /// The token service does not take the bot's own token.
    BotCredential,
    /// The token is another user's.
    SubjectMismatch,
}

/// Why a card never reaches the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CardRefusal {
    /// The user has seen enough of them lately.
    TooMany,
    /// The channel does not take it.
    Rejected,
    /// Others would see it.
    NotPrivate,
    /// It could not be made or sent; whoever wanted it knows.
    Failed,
}

/// What is to be done, in order. The answer to an invoke is always the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Show a card, then report [`Event::CardShown`] or [`Event::CardRefused`].
    ShowCard(CardReason),
    /// Exchange the client's token, then report [`Event::Exchanged`].
    Exchange,
    /// Show the code to the token service, then report [`Event::Redeemed`].
    Redeem,
    /// Hand the message to the queue, then report [`Event::Resumed`]. Safe to repeat: the queue takes an id once.
    Resume(Parked),
    /// The message at hand was handed to the queue under another id: do not answer it here.
    Yield,
    /// Tell the user.
    Tell(Tell),
    /// Answer the invoke.
    Answer(Answer),
}

/// Why a card is shown, and so what it says and offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CardReason {
    /// A token is needed. Clients may sign in silently.
    Needed,
    /// The silent way failed: a button only.
    ClientFailed(SignInFailureCode),
}

/// What the user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// A sign-in is under way; this message was not kept.
    InProgress,
    /// Signed in; no message waited.
    SignedIn,
    /// Cancelled.
    Cancelled,
    /// It took too long.
    TimedOut,
    /// A wrong code, and how many tries are left.
    BadCode(u8),
    /// Too many wrong codes.
    TooManyAttempts,
    /// Too many cards.
    TooManyCards,
    /// The channel does not take the card.
    CardRejected,
    /// Others would see the card.
    NotPrivate,
    /// The app must be installed first.
    InstallApp,
    /// The operator has to act.
    Refused(Refusal),
}

/// What an invoke is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200: done; with the ids for an exchange.
    Done,
    /// 200 without a body: done before, or nothing to do.
    Seen,
    /// 412: the client shows what the user must do and may send again.
    Consent,
    /// 404: no token for this code; not sent again.
    BadCode,
    /// 400: not sent again.
    Refused(Refusal),
    /// 500: sent again.
    TryAgain,
}
