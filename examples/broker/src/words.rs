//! What the bot says itself. Everything else is the agent's.

use std::error::Error;

use botframework_activity::{Activity, Notice};
use foundry_client::ErrorKind;

use crate::agent::AgentError;

/// Shown while the agent works on a long answer, and replaced by it.
pub(crate) const WORKING: &str = "One moment, I am working on it …";
/// The answer to a message without text.
pub(crate) const EMPTY: &str = "I am ready. Write me a question.";
/// The answer to a message that holds only attachments.
pub(crate) const ATTACHMENTS: &str = "I can read text only, not files or pictures. Write me your question.";
/// The first words in a new conversation.
pub(crate) const WELCOME: &str = "Hello! Ask me something; I remember what we talk about in this chat.";
/// The answer when the agent has nothing to say.
pub(crate) const NOTHING: &str = "I have no answer to that.";
/// The answer to `sign out`.
pub(crate) const SIGNED_OUT: &str = "You are signed out.";
/// The refusal of users whose organisation is not let in.
pub(crate) const FOREIGN: &str = "This bot is not available to your organisation.";

const UNREACHABLE: &str = "Sorry, I could not reach the assistant. Please try again in a moment.";
const FILTERED: &str = "Sorry, I may not answer that. Please put it another way.";
const CROWDED: &str = "Sorry, too many people are asking at the moment. Please try again in a minute.";
const SLOW: &str = "Sorry, that took too long. Please try again.";
const BUSY: &str = "I am still busy with your earlier messages. Please wait for my answer.";
const STOPPING: &str = "Sorry, I had to stop before I was done. Please ask again.";

/// Words for what the turn runner has to say.
pub(crate) fn of(notice: Notice<'_>) -> Activity {
    Activity::message(match notice {
        Notice::Working => WORKING,
        Notice::Busy => BUSY,
        Notice::Failed(error) => apology(error),
        Notice::TimedOut => SLOW,
        Notice::Abandoned => STOPPING,
        _ => UNREACHABLE,
    })
}

fn apology(error: &(dyn Error + Send + Sync + 'static)) -> &'static str {
    match error.downcast_ref::<AgentError>() {
        Some(AgentError::Foundry(error)) => match error.kind() {
            ErrorKind::ContentFilter => FILTERED,
            ErrorKind::Throttled => CROWDED,
            ErrorKind::Timeout => SLOW,
            _ => UNREACHABLE,
        },
        _ => UNREACHABLE,
    }
}
