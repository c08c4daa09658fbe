//! What the bot says itself. Everything else is the agent's.

use std::error::Error;

use botframework_activity::{Activity, Notice};
use foundry_client::ErrorKind;

use crate::{agent::AgentError, files::Why};

/// Shown while the agent works on a long answer, and replaced by it.
pub(crate) const WORKING: &str = "One moment, I am working on it …";
/// The answer to a message without text.
pub(crate) const EMPTY: &str = "I am ready. Write me a question.";
/// What stands above the card of a question when the agent says nothing itself.
pub(crate) const QUESTION: &str = "I need your answer to go on.";
/// The heading of a card that asks for approval.
pub(crate) const APPROVE_TITLE: &str = "May I do this?";
pub(crate) const APPROVE: &str = "Approve";
pub(crate) const DENY: &str = "Deny";
/// In place of arguments that nobody would read.
pub(crate) const TOO_LONG: &str = "Too long to show, so it cannot be approved here.";
/// The heading of a card that asks for a sign-in.
pub(crate) const CONSENT_TITLE: &str = "Please sign in";
pub(crate) const CONSENT_HOW: &str = "Sign in on the page of the service, come back, and press Continue.";
pub(crate) const SIGN_IN: &str = "Sign in";
pub(crate) const CONTINUE: &str = "Continue";
/// Before the name of the one who may answer.
pub(crate) const ONLY_FOR: &str = "For ";
/// The answer when somebody else presses the button.
pub(crate) const NOT_YOURS: &str = "Only the person whose message led to this question can answer it.";
/// The answer when the question is answered, or too old.
pub(crate) const CLOSED: &str = "That question is no longer open.";
/// When the agent asks and it is not known whom.
pub(crate) const NOBODY: &str =
    "The assistant needs a decision, but I cannot tell who you are here, so I cannot ask you.";
/// A source without a name.
pub(crate) const SOURCE: &str = "Source";
/// A file without a name.
pub(crate) const UNNAMED: &str = "file";
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

/// Words for files that were not passed on, a line for each reason; nothing when there are none.
pub(crate) fn declined(files: &[(String, Why)]) -> String {
    let reasons = [
        (Why::Kind, "I can read pictures (PNG, JPEG, GIF, WebP), PDF and text files, but not"),
        (Why::Size, "Too large or too many (at most 5 files, 8 MB each, 12 MB together, 128 KB of text)"),
        (Why::Missing, "I could not get"),
    ];
    let lines = reasons.into_iter().filter_map(|(reason, words)| {
        let names: Vec<&str> = files.iter().filter(|(_, why)| *why == reason).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{words}: {}.", names.join(", ")))
    });
    lines.collect::<Vec<_>>().join("\n\n")
}

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
