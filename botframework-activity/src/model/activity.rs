use serde_core::Deserialize;

use super::account::ChannelAccount;
use super::attachment::Attachment;
use super::card_action::SuggestedActions;
use super::channel_data::TeamsChannelData;
use super::conversation::{ConversationAccount, ConversationReference};
use super::entity::{Entity, TypedEntity};
use super::error::{ModelError, ModelErrorKind};
use super::json;
use super::object::{Value, wire_object};
use super::raw::RawJson;
use super::timestamp::Timestamp;
use super::vocabulary::{
    ActivityAction, ActivityType, AttachmentLayout, ChannelId, DeliveryMode, EndOfConversationCode, Importance,
    InputHint, InvokeName, ReactionType, SemanticActionState, TextFormat,
};

wire_object! {
    /// One message, event, invoke or update between a channel and a bot:
    /// [`Activity`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#activity-object).
    ///
    /// What routes an activity is typed. Bodies (`value`, `channelData`, `entities`, member lists, the
    /// content of attachments) and members this type does not know stay in their own bytes and are
    /// parsed on demand.
    ///
    /// Reading an activity and writing it back gives the same JSON document: number spelling, `null`s,
    /// empty lists, timestamps and unknown members are kept. Known members are written in a fixed order,
    /// unknown ones after them; inside a raw body nothing moves. A top-level member that appears twice is
    /// refused, so that no two readers can see different values.
    ///
    /// An activity is plain data: anybody can make one. Its `Debug` shows no text, no names and no user
    /// ids.
    pub struct Activity {
        /// What it is. The only required member.
        pub kind: ActivityType = "type";
        /// The id, unique in the conversation.
        pub id: Option<String> = "id" show;
        /// When it was sent, in UTC.
        pub timestamp: Option<Timestamp> = "timestamp";
        /// When it was sent, in the sender's local time.
        pub local_timestamp: Option<Timestamp> = "localTimestamp";
        /// The sender's time zone, IANA.
        pub local_timezone: Option<String> = "localTimezone" show;
        /// Who calls, as the caller wrote it. Worthless on receipt: discard it.
        pub caller_id: Option<String> = "callerId";
        /// The address of the connector, as the sender wrote it. Nothing is sent to it before it is
        /// verified.
        pub service_url: Option<String> = "serviceUrl";
        /// The channel.
        pub channel_id: Option<ChannelId> = "channelId";
        /// The sender.
        pub from: Option<ChannelAccount> = "from";
        /// The conversation.
        pub conversation: Option<ConversationAccount> = "conversation";
        /// The receiver.
        pub recipient: Option<ChannelAccount> = "recipient";
        /// How `text` is written; Markdown when absent.
        pub text_format: Option<TextFormat> = "textFormat";
        /// How several attachments are laid out.
        pub attachment_layout: Option<AttachmentLayout> = "attachmentLayout";
        /// Who joined; read it with [`Activity::members_added`].
        pub members_added: Option<RawJson> = "membersAdded";
        /// Who left; read it with [`Activity::members_removed`].
        pub members_removed: Option<RawJson> = "membersRemoved";
        /// Reactions put on a message; read them with [`Activity::reactions_added`].
        pub reactions_added: Option<RawJson> = "reactionsAdded";
        /// Reactions taken off a message; read them with [`Activity::reactions_removed`].
        pub reactions_removed: Option<RawJson> = "reactionsRemoved";
        /// The new topic of the conversation.
        pub topic_name: Option<String> = "topicName";
        /// Deprecated: whether the history is disclosed.
        pub history_disclosed: Option<bool> = "historyDisclosed";
        /// The language of the text, BCP 47.
        pub locale: Option<String> = "locale" show;
        /// The text.
        pub text: Option<String> = "text";
        /// What to say aloud, plain or SSML.
        pub speak: Option<String> = "speak";
        /// Whether the sender waits for input.
        pub input_hint: Option<InputHint> = "inputHint";
        /// What to show where attachments cannot be shown.
        pub summary: Option<String> = "summary";
        /// Offered answers; read them with [`Activity::suggested_actions`].
        pub suggested_actions: Option<RawJson> = "suggestedActions";
        /// Cards, pictures, files.
        pub attachments: Vec<Attachment> = "attachments";
        /// Mentions and other metadata; read them with [`Activity::entities`].
        pub entities: Option<RawJson> = "entities";
        /// The channel's own data; read it with [`Activity::channel_data`].
        pub channel_data: Option<RawJson> = "channelData";
        /// What happened to an installation or a contact.
        pub action: Option<ActivityAction> = "action";
        /// The id of the activity this one answers.
        pub reply_to_id: Option<String> = "replyToId" show;
        /// A word for people who read a trace.
        pub label: Option<String> = "label";
        /// What `value` is.
        pub value_type: Option<String> = "valueType";
        /// The body of an event, an invoke or a card button; read it with [`Activity::value`].
        pub value: Option<RawJson> = "value";
        /// The name of an event or invoke; see [`Activity::invoke_name`].
        pub name: Option<String> = "name";
        /// Another conversation; read it with [`Activity::relates_to`].
        pub relates_to: Option<RawJson> = "relatesTo";
        /// Why a conversation ended.
        pub code: Option<EndOfConversationCode> = "code";
        /// When it stops to matter.
        pub expiration: Option<Timestamp> = "expiration";
        /// How urgent it is.
        pub importance: Option<Importance> = "importance";
        /// How answers travel.
        pub delivery_mode: Option<DeliveryMode> = "deliveryMode";
        /// Words to listen for, a list of strings.
        pub listen_for: Option<RawJson> = "listenFor";
        /// Places in the text; read them with [`Activity::text_highlights`].
        pub text_highlights: Option<RawJson> = "textHighlights";
        /// The programmatic action behind it; read it with [`Activity::semantic_action`].
        pub semantic_action: Option<RawJson> = "semanticAction";
    }
}

impl AsRef<Self> for Activity {
    #[inline]
    fn as_ref(&self) -> &Self {
        self
    }
}

wire_object! {
    /// A reaction to a message.
    pub struct MessageReaction {
        /// Which one.
        pub kind: ReactionType = "type" [ReactionType::LIKE];
    }
}

wire_object! {
    /// A place in the text.
    pub struct TextHighlight {
        /// The words.
        pub text: Option<String> = "text";
        /// Which occurrence of them, from 1; negative from the end.
        pub occurrence: Option<i64> = "occurrence";
    }
}

wire_object! {
    /// The programmatic action behind a message.
    pub struct SemanticAction {
        /// Which one.
        pub id: Option<String> = "id";
        /// How far it is.
        pub state: Option<SemanticActionState> = "state";
        /// Its entities, by name.
        pub entities: Option<RawJson> = "entities";
    }
}

/// Reading and writing whole documents.
impl Activity {
    /// Reads an activity from the bytes of a request.
    ///
    /// Nesting below the top level costs no stack here. Who reads from the network checks the size and
    /// [`json_shape`](crate::json_shape) first.
    ///
    /// # Errors
    /// [`ModelErrorKind::Malformed`] when the bytes are not one UTF-8 JSON document,
    /// [`ModelErrorKind::Shape`] when it is no activity: `type` missing, a typed member of another type,
    /// a member twice. The sender is at fault.
    pub fn from_json(json: &[u8]) -> Result<Self, ModelError> {
        let text = std::str::from_utf8(json).map_err(|_| ModelError::of_kind(ModelErrorKind::Malformed))?;
        json::read(text)
    }

    /// Writes the activity as JSON.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`] when [`Activity::extra`] repeats the name of a known member. The
    /// caller's code is at fault.
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        json::write(Vec::with_capacity(4096), &self.datum())
    }
}

/// Bodies, parsed on demand. `None` (or an empty list) means absent or `null`; an error means that the
/// body is of another shape, and leaves the rest of the activity readable.
impl Activity {
    /// `channelData` as a type of your choice, [`TeamsChannelData`](crate::TeamsChannelData) for one.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is not of that shape.
    #[inline]
    pub fn channel_data<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, ModelError> {
        parse(self.channel_data.as_ref(), "channelData")
    }

    #[inline]
    pub(crate) fn teams_data(&self) -> Result<Option<TeamsChannelData>, ModelError> {
        typed(self.channel_data.as_ref(), "channelData")
    }

    /// `value` as a type of your choice.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is not of that shape.
    #[inline]
    pub fn value<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, ModelError> {
        parse(self.value.as_ref(), "value")
    }

    /// Who joined.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of accounts.
    #[inline]
    pub fn members_added(&self) -> Result<Vec<ChannelAccount>, ModelError> {
        list(self.members_added.as_ref(), "membersAdded")
    }

    /// Who left.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of accounts.
    #[inline]
    pub fn members_removed(&self) -> Result<Vec<ChannelAccount>, ModelError> {
        list(self.members_removed.as_ref(), "membersRemoved")
    }

    /// Reactions put on the message `reply_to_id`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of reactions.
    #[inline]
    pub fn reactions_added(&self) -> Result<Vec<MessageReaction>, ModelError> {
        list(self.reactions_added.as_ref(), "reactionsAdded")
    }

    /// Reactions taken off the message `reply_to_id`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of reactions.
    #[inline]
    pub fn reactions_removed(&self) -> Result<Vec<MessageReaction>, ModelError> {
        list(self.reactions_removed.as_ref(), "reactionsRemoved")
    }

    /// The entities, each with its own bytes.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of objects.
    #[inline]
    pub fn entities(&self) -> Result<Vec<Entity>, ModelError> {
        list(self.entities.as_ref(), "entities")
    }

    /// The first entity of type `T`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when the list is none, or that entity's body is odd.
    #[inline]
    pub fn entity<T: TypedEntity>(&self) -> Result<Option<T>, ModelError> {
        for entity in self.entities()? {
            if let Some(found) = entity.parse()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The offered answers.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when they are of another shape.
    #[inline]
    pub fn suggested_actions(&self) -> Result<Option<SuggestedActions>, ModelError> {
        typed(self.suggested_actions.as_ref(), "suggestedActions")
    }

    /// The other conversation. Untrusted, like everything in an activity.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no reference.
    #[inline]
    pub fn relates_to(&self) -> Result<Option<ConversationReference>, ModelError> {
        typed(self.relates_to.as_ref(), "relatesTo")
    }

    /// Words to listen for.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of strings.
    #[inline]
    pub fn listen_for(&self) -> Result<Vec<String>, ModelError> {
        list(self.listen_for.as_ref(), "listenFor")
    }

    /// Places in the text.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is no list of highlights.
    #[inline]
    pub fn text_highlights(&self) -> Result<Vec<TextHighlight>, ModelError> {
        list(self.text_highlights.as_ref(), "textHighlights")
    }

    /// The programmatic action behind it.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`] when it is of another shape.
    #[inline]
    pub fn semantic_action(&self) -> Result<Option<SemanticAction>, ModelError> {
        typed(self.semantic_action.as_ref(), "semanticAction")
    }
}

/// Questions about an activity.
impl Activity {
    /// The name of an invoke; `None` for any other type.
    #[must_use]
    #[inline]
    pub fn invoke_name(&self) -> Option<InvokeName> {
        if self.kind == ActivityType::INVOKE { self.name.as_deref().map(InvokeName::from) } else { None }
    }

    /// The id of the conversation.
    #[must_use]
    #[inline]
    pub fn conversation_id(&self) -> Option<&str> {
        self.conversation.as_ref()?.id.as_deref()
    }

    /// Where this conversation is and who takes part, seen from the bot that received the activity.
    /// Plain data, as untrusted as the activity.
    #[must_use]
    #[inline]
    pub fn conversation_reference(&self) -> ConversationReference {
        ConversationReference {
            activity_id: self.id.clone(),
            user: self.from.clone(),
            bot: self.recipient.clone(),
            conversation: self.conversation.clone(),
            channel_id: self.channel_id.clone(),
            service_url: self.service_url.clone(),
            locale: self.locale.clone(),
            ..ConversationReference::default()
        }
    }
}

#[inline]
fn parse<'a, T: Deserialize<'a>>(raw: Option<&'a RawJson>, member: &'static str) -> Result<Option<T>, ModelError> {
    raw.map(RawJson::parse).transpose().map_err(|error| error.in_member(member))
}

#[inline]
fn typed<T: Value>(raw: Option<&RawJson>, member: &'static str) -> Result<Option<T>, ModelError> {
    raw.map(RawJson::read).transpose().map_err(|error| error.in_member(member))
}

#[inline]
fn list<T: Value>(raw: Option<&RawJson>, member: &'static str) -> Result<Vec<T>, ModelError> {
    Ok(typed(raw, member)?.unwrap_or_default())
}
