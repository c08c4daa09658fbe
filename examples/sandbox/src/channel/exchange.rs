//! What came of one thing the user did, and how long to wait for it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Channel;
use super::post::Posted;
use super::room::{Author, Entry, millis};
use super::sso::{SignIn, Stage};

const OAUTH_CARD: &str = "application/vnd.microsoft.card.oauth";

/// How long the user waits.
#[derive(Debug, Clone)]
pub struct Wait {
    /// For the HTTP answer of a POST. Default 15 s, after which Teams gives up.
    pub post: Duration,
    /// For an answer in the chat, counted from the HTTP answer. Default 30 s.
    pub first: Duration,
    /// For silence after an answer, so that a second message or an update is seen too. Default 150 ms.
    pub settle: Duration,
    /// Texts that are no answer yet: the bot's placeholder.
    pub placeholders: Vec<String>,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            post: Duration::from_secs(15),
            first: Duration::from_secs(30),
            settle: Duration::from_millis(150),
            placeholders: Vec::new(),
        }
    }
}

/// One thing the user did, the bot's HTTP answer, and what appeared in the chat.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Id of the posted activity.
    pub activity_id: String,
    /// The bot's HTTP answer.
    pub posted: Posted,
    /// Activities of the bot that answer it, in their last form, oldest first; typing and deleted ones too.
    pub replies: Vec<Entry>,
    /// The sign-in this chat is in, when the bot sent a sign-in card.
    pub sign_in: Option<SignIn>,
    /// Whether an answer came in time.
    pub answered: bool,
    /// Until the last answer settled or the wait was over.
    pub elapsed: Duration,
}

impl Exchange {
    /// The visible messages, in order.
    pub fn messages(&self) -> Vec<&Entry> {
        self.replies.iter().filter(|entry| is_message(entry)).collect()
    }

    /// The texts of the visible messages, a paragraph each; cards have none.
    pub fn text(&self) -> String {
        let texts = self.messages().into_iter().map(Entry::text).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join("\n\n")
    }

    /// How many messages the bot made for this. More than one is a second answer.
    pub fn creates(&self) -> usize {
        self.replies.iter().filter(|entry| entry.kind() == "message").count()
    }

    /// The exchange as JSON, for tests in other languages.
    pub fn to_json(&self) -> Value {
        json!({
            "activityId": self.activity_id, "posted": self.posted.to_json(), "answered": self.answered, "text": self.text(),
            "replies": self.replies.iter().map(Entry::to_json).collect::<Vec<_>>(),
            "signIn": self.sign_in.as_ref().map(SignIn::to_json), "elapsedMs": millis(self.elapsed),
        })
    }
}

/// Which answers are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) user: &'a str,
    pub(crate) activity: &'a str,
    /// Entries before this place are older.
    pub(crate) from: usize,
    /// Take answers to other activities too.
    pub(crate) any: bool,
}

/// Waits until the chat holds an answer and is quiet, or until the time is over.
pub(crate) async fn answers(channel: &Channel, looking: Looking<'_>, wait: &Wait, posted: Posted) -> Exchange {
    let started = Instant::now();
    let mut changes = channel.store.watch();
    let mut exchange = look(channel, looking, wait, posted);
    let until = started + wait.first;
    // A refused POST has no answer to wait for.
    while exchange.posted.is_success() {
        let limit = if exchange.answered { until.min(Instant::now() + wait.settle) } else { until };
        if tokio::time::timeout_at(limit, changes.changed()).await.is_err() {
            // Nothing happened until the limit: quiet after an answer, or out of time. One more look, since a card is
            // visible a moment before its sign-in has begun, and is no answer any more then.
            exchange = look(channel, looking, wait, exchange.posted);
            if exchange.answered || Instant::now() >= until {
                break;
            }
            continue;
        }
        changes.mark_unchanged();
        let next = look(channel, looking, wait, exchange.posted.clone());
        if next.answered && exchange.answered && same(&next.replies, &exchange.replies) && quiet(channel, &next, wait) {
            exchange = next;
            break;
        }
        exchange = next;
    }
    exchange.elapsed = exchange.posted.elapsed + started.elapsed();
    exchange
}

/// Other chats change the store too; what counts is how long this one is quiet.
fn quiet(channel: &Channel, exchange: &Exchange, wait: &Wait) -> bool {
    let now = channel.store.read(|state| state.started.elapsed());
    exchange.replies.iter().all(|entry| now.saturating_sub(entry.last_changed) >= wait.settle)
}

fn same(left: &[Entry], right: &[Entry]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.last_changed == right.last_changed)
}

fn look(channel: &Channel, looking: Looking<'_>, wait: &Wait, posted: Posted) -> Exchange {
    let entries = channel.store.read(|state| state.transcript(looking.conversation));
    let replies: Vec<Entry> =
        entries.iter().skip(looking.from).filter(|entry| belongs(entry, looking, &entries)).cloned().collect();
    let sign_in = channel.clients.sign_in(looking.conversation, looking.user);
    let answered = replies.iter().any(|entry| is_answer(entry, wait, sign_in.as_ref()));
    Exchange { activity_id: looking.activity.to_owned(), elapsed: posted.elapsed, posted, replies, sign_in, answered }
}

/// An entry of the bot that names no other message of a user.
fn belongs(entry: &Entry, looking: Looking<'_>, all: &[Entry]) -> bool {
    if entry.author != Author::Bot {
        return false;
    }
    match entry.reply_to.as_deref() {
        None => true,
        Some(id) if looking.any || id == looking.activity => true,
        Some(id) => all.iter().any(|other| other.id == id && other.author == Author::User && other.kind() == "invoke"),
    }
}

fn is_message(entry: &Entry) -> bool {
    entry.kind() == "message" && !entry.deleted
}

fn is_answer(entry: &Entry, wait: &Wait, sign_in: Option<&SignIn>) -> bool {
    if !is_message(entry) || entry.streaming || wait.placeholders.iter().any(|text| text == entry.text()) {
        return false;
    }
    // A sign-in card is an answer only when the client shows it.
    entry.card(OAUTH_CARD).is_none()
        || sign_in.is_none_or(|sign_in| matches!(sign_in.stage, Stage::CardShown | Stage::Failed))
}
