//! A conversation as the service keeps it: its members, what was said in it, and the streams that are open.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::people::Person;
use super::stream::Stream;

/// The three kinds of Teams conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One user and the bot. Id `a:…`.
    Personal,
    /// Several users and the bot. Id `19:…@thread.v2`.
    GroupChat,
    /// A channel of a team. Id `19:…@thread.tacv2`, with `;messageid=…` for a thread.
    Channel,
}

impl Scope {
    /// The wire value of `conversation.conversationType`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::GroupChat => "groupChat",
            Self::Channel => "channel",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "groupChat" => Self::GroupChat,
            "channel" => Self::Channel,
            _ => Self::Personal,
        }
    }
}

/// What the bot may do in a conversation. The default is [`Standing::Installed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The bot may write.
    Installed,
    /// The app was removed: 403 `ForbiddenOperationException` in a personal chat, `BotNotInConversationRoster` elsewhere.
    Uninstalled,
    /// The user blocked the bot: 403 `ConversationBlockedByUser`.
    Blocked,
    /// An administrator disabled the bot: 403 `BotDisabledByAdmin`.
    Disabled,
}

/// Who wrote an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The Teams user; the activity was posted to the bot.
    User,
    /// The bot; the activity arrived at the connector.
    Bot,
}

/// One activity of a conversation, in its present form.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Activity id. For a stream it is the stream id.
    pub id: String,
    /// The conversation id as it was used, with its thread suffix.
    pub conversation: String,
    /// Who wrote it.
    pub author: Author,
    /// The id of the activity it answers: from the path of a reply, or `replyToId`. An update does not change it.
    pub reply_to: Option<String>,
    /// The activity as raw JSON, after the last update.
    pub activity: Value,
    /// Earlier forms, oldest first: the placeholder before its update, the chunks of a stream.
    pub history: Vec<Value>,
    /// The bot deleted it.
    pub deleted: bool,
    /// Sent with `?isTargetedActivity=true`.
    pub targeted: bool,
    /// The bot's reactions, oldest first.
    pub reactions: Vec<String>,
    /// A stream that did not get its final message yet.
    pub streaming: bool,
    /// When it was first delivered, since the sandbox started.
    pub first_seen: Duration,
    /// When it last changed, since the sandbox started.
    pub last_changed: Duration,
}

impl Entry {
    /// The activity `type`, or an empty text.
    pub fn kind(&self) -> &str {
        self.activity.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The activity `text`, or an empty text.
    pub fn text(&self) -> &str {
        self.activity.get("text").and_then(Value::as_str).unwrap_or_default()
    }

    /// The content of the first attachment of this content type.
    pub fn card(&self, content_type: &str) -> Option<&Value> {
        let attachments = self.activity.get("attachments")?.as_array()?;
        let card =
            attachments.iter().find(|card| card.get("contentType").and_then(Value::as_str) == Some(content_type))?;
        card.get("content")
    }

    /// The entry as JSON, for tests in other languages.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id, "conversation": self.conversation,
            "replyToId": self.reply_to,
            "author": match self.author { Author::User => "user", Author::Bot => "bot" },
            "activity": self.activity, "history": self.history, "updates": self.history.len(),
            "deleted": self.deleted, "targeted": self.targeted, "reactions": self.reactions, "streaming": self.streaming,
            "firstSeenMs": millis(self.first_seen), "lastChangedMs": millis(self.last_changed),
        })
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The service's own record of one conversation. Its id has no thread suffix.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) scope: Scope,
    pub(crate) tenant: String,
    pub(crate) bot: String,
    /// Other account ids of the bot, from replayed requests.
    pub(crate) bot_accounts: Vec<String>,
    pub(crate) members: Vec<Person>,
    pub(crate) standing: Standing,
    pub(crate) entries: Vec<Entry>,
    pub(crate) streams: HashMap<String, Stream>,
}

impl Room {
    pub(crate) fn new(scope: Scope, tenant: &str, bot: &str, members: Vec<Person>) -> Self {
        Self {
            scope,
            tenant: tenant.to_owned(),
            bot: bot.to_owned(),
            bot_accounts: Vec::new(),
            members,
            standing: Standing::Installed,
            entries: Vec::new(),
            streams: HashMap::new(),
        }
    }

    /// Finds a member by its Teams id (`29:…`) or its Entra object id.
    pub(crate) fn member(&self, id: &str) -> Option<&Person> {
        self.members.iter().find(|person| person.is(id))
    }

    pub(crate) fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    pub(crate) fn entry_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    pub(crate) fn push(
        &mut self,
        author: Author,
        id: &str,
        conversation: &str,
        activity: Value,
        started: Instant,
    ) -> &mut Entry {
        let now = started.elapsed();
        let index = self.entries.len();
        let reply_to = activity.get("replyToId").and_then(Value::as_str).map(str::to_owned);
        self.entries.push(Entry {
            reply_to,
            id: id.to_owned(),
            conversation: conversation.to_owned(),
            author,
            activity,
            history: Vec::new(),
            deleted: false,
            targeted: false,
            reactions: Vec::new(),
            streaming: false,
            first_seen: now,
            last_changed: now,
        });
        #[allow(clippy::indexing_slicing)] // the entry was pushed just above
        &mut self.entries[index]
    }
}

/// The room id inside a conversation id: without the `;messageid=` suffix of a thread.
pub(crate) fn room_id(conversation: &str) -> &str {
    conversation.split_once(";messageid=").map_or(conversation, |(room, _)| room)
}
