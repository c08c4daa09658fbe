use serde_core::Serialize;

use super::account::ChannelAccount;
use super::activity::Activity;
use super::ai::MessageInfo;
use super::attachment::Attachment;
use super::card::Card;
use super::card_action::SuggestedActions;
use super::channel_data::{FeedbackLoop, TeamsChannelData};
use super::conversation::ConversationReference;
use super::entity::{Entity, Mention, TypedEntity};
use super::error::ModelError;
use super::object::Value;
use super::raw::RawJson;
use super::vocabulary::{
    ActivityType, ContentType, DeliveryMode, EndOfConversationCode, EventName, Importance, InputHint, TextFormat,
};

/// Making activities.
///
/// ```
/// use botframework_activity::{Activity, InputHint};
///
/// let incoming = Activity::from_json(br#"{
///     "type": "message", "id": "1", "text": "hello", "channelId": "msteams",
///     "from": {"id": "29:user"}, "recipient": {"id": "28:bot"},
///     "conversation": {"id": "a:1"}, "serviceUrl": "https://smba.trafficmanager.net/emea/"
/// }"#)?;
/// let reply = Activity::message("Hello to you.")
///     .with_input_hint(InputHint::ACCEPTING_INPUT)
///     .reply_to(&incoming);
/// assert_eq!(reply.from, incoming.recipient);
/// assert_eq!(reply.recipient, incoming.from);
/// assert_eq!(reply.conversation, incoming.conversation);
/// assert_eq!(reply.reply_to_id.as_deref(), Some("1"));
/// # Ok::<(), botframework_activity::ModelError>(())
/// ```
impl Activity {
    /// An activity of this type, otherwise empty.
    #[must_use]
    #[inline]
    pub fn new(kind: ActivityType) -> Self {
        Self { kind, ..Self::default() }
    }

    /// A message with this text.
    #[inline]
    pub fn message(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::new(ActivityType::MESSAGE) }
    }

    /// The typing indicator. Teams shows it for about three seconds.
    #[must_use]
    #[inline]
    pub fn typing() -> Self {
        Self::new(ActivityType::TYPING)
    }

    /// An event with this name.
    #[must_use]
    #[inline]
    pub fn event(name: &EventName) -> Self {
        Self { name: Some(name.as_str().to_owned()), ..Self::new(ActivityType::EVENT) }
    }

    /// The end of the conversation.
    #[must_use]
    #[inline]
    pub fn end_of_conversation(code: EndOfConversationCode) -> Self {
        Self { code: Some(code), ..Self::new(ActivityType::END_OF_CONVERSATION) }
    }

    /// Addresses this activity as the answer to `incoming`: `from`, `recipient` and `conversation` are
    /// mirrored; `channelId`, `serviceUrl` and `replyToId` are set; `locale` is taken over unless one is
    /// set.
    #[must_use]
    #[inline]
    pub fn reply_to(mut self, incoming: &Self) -> Self {
        self.from.clone_from(&incoming.recipient);
        self.recipient.clone_from(&incoming.from);
        self.conversation.clone_from(&incoming.conversation);
        self.channel_id.clone_from(&incoming.channel_id);
        self.service_url.clone_from(&incoming.service_url);
        self.reply_to_id.clone_from(&incoming.id);
        if self.locale.is_none() {
            self.locale.clone_from(&incoming.locale);
        }
        self
    }

    /// Addresses this activity to the conversation of `reference`, from its bot to its user, as a
    /// message of its own and not as an answer.
    #[must_use]
    #[inline]
    pub fn addressed_to(mut self, reference: &ConversationReference) -> Self {
        self.from.clone_from(&reference.bot);
        self.recipient.clone_from(&reference.user);
        self.conversation.clone_from(&reference.conversation);
        self.channel_id.clone_from(&reference.channel_id);
        self.service_url.clone_from(&reference.service_url);
        if self.locale.is_none() {
            self.locale.clone_from(&reference.locale);
        }
        self
    }

    /// Sets the id: the new content of an activity that was sent before, a placeholder for one.
    #[must_use]
    #[inline]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the text.
    #[must_use]
    #[inline]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Sets how the text is written.
    #[must_use]
    #[inline]
    pub fn with_text_format(mut self, format: TextFormat) -> Self {
        self.text_format = Some(format);
        self
    }

    /// Sets the language, BCP 47.
    #[must_use]
    #[inline]
    pub fn with_locale(mut self, locale: impl Into<String>) -> Self {
        self.locale = Some(locale.into());
        self
    }

    /// Sets what is shown where attachments cannot be.
    #[must_use]
    #[inline]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// Sets whether input is expected.
    #[must_use]
    #[inline]
    pub fn with_input_hint(mut self, hint: InputHint) -> Self {
        self.input_hint = Some(hint);
        self
    }

    /// Sets how answers travel.
    #[must_use]
    #[inline]
    pub fn with_delivery_mode(mut self, mode: DeliveryMode) -> Self {
        self.delivery_mode = Some(mode);
        self
    }

    /// Sets how urgent it is.
    #[must_use]
    #[inline]
    pub fn with_importance(mut self, importance: Importance) -> Self {
        self.importance = Some(importance);
        self
    }

    /// Sets the sender.
    #[must_use]
    #[inline]
    pub fn with_from(mut self, from: ChannelAccount) -> Self {
        self.from = Some(from);
        self
    }

    /// Sets the receiver.
    #[must_use]
    #[inline]
    pub fn with_recipient(mut self, recipient: ChannelAccount) -> Self {
        self.recipient = Some(recipient);
        self
    }

    /// Adds an attachment.
    #[must_use]
    #[inline]
    pub fn with_attachment(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// Adds an Adaptive Card.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the card cannot be JSON.
    #[inline]
    pub fn with_adaptive_card<T: Serialize + ?Sized>(self, card: &T) -> Result<Self, ModelError> {
        Ok(self.with_attachment(Attachment::new(ContentType::ADAPTIVE_CARD, card)?))
    }

    /// Adds a card.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the card cannot be JSON.
    #[inline]
    pub fn with_card<T: Card>(self, card: &T) -> Result<Self, ModelError> {
        Ok(self.with_attachment(card.to_attachment()?))
    }

    /// Mentions an account at the end of the text: `<at>name</at>`, and the entity that belongs to it.
    ///
    /// ```
    /// use botframework_activity::{Activity, ChannelAccount};
    ///
    /// let message = Activity::message("Welcome,").with_mention(&ChannelAccount::new("29:ada").with_name("Ada"))?;
    /// assert_eq!(message.text.as_deref(), Some("Welcome, <at>Ada</at>"));
    /// assert_eq!(message.mentions()?.len(), 1);
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Activity::with_entity`].
    #[inline]
    pub fn with_mention(mut self, account: &ChannelAccount) -> Result<Self, ModelError> {
        let name = account.name.as_deref().or(account.id.as_deref()).unwrap_or_default();
        let words = format!("<at>{}</at>", escape_xml(name));
        let text = self.text.get_or_insert_default();
        if !text.is_empty() && !text.ends_with(char::is_whitespace) {
            text.push(' ');
        }
        text.push_str(&words);
        let mentioned = ChannelAccount { id: account.id.clone(), name: account.name.clone(), ..Default::default() };
        self.with_entity(&Mention { mentioned: Some(mentioned), text: Some(words), ..Mention::default() })
    }

    /// Sets AI label, citations and sensitivity label, in place of those there. See [`ai`](crate::ai).
    ///
    /// # Errors
    /// As [`Activity::with_entity`].
    #[inline]
    pub fn with_ai_info(mut self, info: &MessageInfo) -> Result<Self, ModelError> {
        let others: Vec<Entity> =
            self.entities()?.into_iter().filter(|entity| *entity.kind() != MessageInfo::TYPE).collect();
        self.entities = if others.is_empty() { None } else { Some(typed(&others, "entities")?) };
        self.with_entity(info)
    }

    /// Asks the user of Teams for feedback on the message.
    ///
    /// # Errors
    /// As [`Activity::with_teams_data`].
    #[inline]
    pub fn with_feedback_loop(self, feedback: FeedbackLoop) -> Result<Self, ModelError> {
        self.with_teams_data(|data| {
            data.feedback_loop_enabled = None;
            data.feedback_loop = Some(feedback);
        })
    }

    /// Changes `channelData` for Teams, and keeps what is there.
    ///
    /// ```
    /// use botframework_activity::{Activity, NotificationInfo};
    ///
    /// let message = Activity::message("Approved.").with_teams_data(|data| {
    ///     data.notification.get_or_insert_default().alert = Some(true);
    /// })?;
    /// assert_eq!(message.channel_data.unwrap().get(), r#"{"notification":{"alert":true}}"#);
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when `channelData` holds something that is no object,
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn with_teams_data(mut self, change: impl FnOnce(&mut TeamsChannelData)) -> Result<Self, ModelError> {
        let mut data = self.teams_data()?.unwrap_or_default();
        change(&mut data);
        self.channel_data = Some(typed(&data, "channelData")?);
        Ok(self)
    }

    /// Sets the offered answers.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when they cannot be JSON.
    #[inline]
    pub fn with_suggested_actions(mut self, actions: &SuggestedActions) -> Result<Self, ModelError> {
        self.suggested_actions = Some(typed(actions, "suggestedActions")?);
        Ok(self)
    }

    /// Adds an entity: any value with a `type` member.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON,
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when `entities` holds something that is
    /// no list.
    #[inline]
    pub fn with_entity<T: Serialize + ?Sized>(mut self, entity: &T) -> Result<Self, ModelError> {
        let mut all: Vec<RawJson> = match &self.entities {
            Some(raw) => raw.read().map_err(|error| error.in_member("entities"))?,
            None => Vec::with_capacity(1),
        };
        all.push(encode(entity, "entities")?);
        self.entities = Some(typed(&all, "entities")?);
        Ok(self)
    }

    /// Sets `channelData`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn with_channel_data<T: Serialize + ?Sized>(mut self, data: &T) -> Result<Self, ModelError> {
        self.channel_data = Some(encode(data, "channelData")?);
        Ok(self)
    }

    /// Sets `value`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn with_value<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, ModelError> {
        self.value = Some(encode(value, "value")?);
        Ok(self)
    }
}

/// A name as text of XML.
#[inline]
fn escape_xml(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[inline]
fn encode<T: Serialize + ?Sized>(value: &T, member: &'static str) -> Result<RawJson, ModelError> {
    RawJson::from_value(value).map_err(|error| error.in_member(member))
}

#[inline]
fn typed<T: Value>(value: &T, member: &'static str) -> Result<RawJson, ModelError> {
    RawJson::of(value).map_err(|error| error.in_member(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConversationAccount, EntityType, ProductInfo, RoleType};

    #[test]
    fn a_name_cannot_end_its_mention() {
        let account = ChannelAccount::new("29:x").with_name("</at><at>Boss & Co");
        let message = Activity::default().with_mention(&account).unwrap();
        assert_eq!(message.text.as_deref(), Some("<at>&lt;/at&gt;&lt;at&gt;Boss &amp; Co</at>"));
        assert_eq!(message.mentions().unwrap()[0].text, message.text);
    }

    #[test]
    fn channel_data_are_changed_and_kept() {
        let mut message = Activity::message("x");
        message.channel_data = Some(RawJson::from_text(r#"{"new":1.0,"feedbackLoopEnabled":true}"#).unwrap());
        let message = message.with_feedback_loop(FeedbackLoop::custom()).unwrap();
        assert_eq!(message.channel_data.unwrap().get(), r#"{"feedbackLoop":{"type":"custom"},"new":1.0}"#);
        let mut odd = Activity::message("x");
        odd.channel_data = Some(RawJson::from("text"));
        assert!(odd.with_feedback_loop(FeedbackLoop::standard()).is_err());
    }

    fn incoming() -> Activity {
        let mut activity = Activity::message("hi").with_id("in-1").with_locale("de-DE");
        activity.from = Some(ChannelAccount::new("29:u").with_role(RoleType::USER));
        activity.recipient = Some(ChannelAccount::new("28:b").with_name("Bot"));
        activity.conversation = Some(ConversationAccount::new("a:1"));
        activity.channel_id = Some("msteams".into());
        activity.service_url = Some("https://smba.trafficmanager.net/emea/".into());
        activity
    }

    #[test]
    fn a_reply_mirrors_every_field() {
        let incoming = incoming();
        let reply = Activity::message("yes").reply_to(&incoming);
        assert_eq!(
            String::from_utf8(reply.to_json().unwrap()).unwrap(),
            concat!(
                r#"{"type":"message","serviceUrl":"https://smba.trafficmanager.net/emea/","channelId":"msteams","#,
                r#""from":{"id":"28:b","name":"Bot"},"conversation":{"id":"a:1"},"#,
                r#""recipient":{"id":"29:u","role":"user"},"locale":"de-DE","text":"yes","replyToId":"in-1"}"#
            )
        );
        let own = Activity::message("yes").with_locale("en-GB").reply_to(&incoming);
        assert_eq!(own.locale.as_deref(), Some("en-GB"));
    }

    #[test]
    fn a_reference_addresses_a_message_of_its_own() {
        let incoming = incoming();
        let message = Activity::message("news").addressed_to(&incoming.conversation_reference());
        assert_eq!(message.reply_to_id, None);
        assert_eq!(message.from, incoming.recipient);
        assert_eq!(message.recipient, incoming.from);
        assert_eq!(message.conversation, incoming.conversation);
    }

    #[test]
    fn no_nulls_are_sent() {
        let text = String::from_utf8(Activity::typing().to_json().unwrap()).unwrap();
        assert_eq!(text, r#"{"type":"typing"}"#);
        let end = Activity::end_of_conversation(EndOfConversationCode::COMPLETED_SUCCESSFULLY);
        assert_eq!(
            String::from_utf8(end.to_json().unwrap()).unwrap(),
            r#"{"type":"endOfConversation","code":"completedSuccessfully"}"#
        );
    }

    #[test]
    fn entities_are_added_beside_those_already_there() {
        let mut activity = Activity::message("x");
        activity.entities = Some(RawJson::from_text(r#"[{"type":"odd","n":1.0}]"#).unwrap());
        let activity =
            activity.with_entity(&ProductInfo { id: Some("COPILOT".into()), ..ProductInfo::default() }).unwrap();
        assert_eq!(
            activity.entities.as_ref().map(RawJson::get),
            Some(r#"[{"type":"odd","n":1.0},{"type":"ProductInfo","id":"COPILOT"}]"#)
        );
        assert_eq!(activity.entity::<Mention>().unwrap(), None);
        assert_eq!(activity.entity::<ProductInfo>().unwrap().unwrap().kind, EntityType::PRODUCT_INFO);
    }

    #[test]
    fn bodies_are_written_once_and_read_back() {
        let activity = Activity::event(&EventName::TOKENS_RESPONSE)
            .with_value(&("a", 1))
            .unwrap()
            .with_channel_data(&"text")
            .unwrap()
            .with_adaptive_card(&["card"])
            .unwrap();
        assert_eq!(activity.value::<(&str, u8)>().unwrap(), Some(("a", 1)));
        assert_eq!(activity.channel_data::<&str>().unwrap(), Some("text"));
        let card = activity.attachments.first().unwrap();
        assert!(card.is(&ContentType::ADAPTIVE_CARD));
        assert_eq!(card.content::<[&str; 1]>().unwrap(), Some(["card"]));
    }

    #[test]
    fn an_extra_member_cannot_shadow_a_known_one() {
        let mut activity = Activity::message("visible");
        activity.extra.insert("text", RawJson::from_text("\"hidden\"").unwrap());
        assert_eq!(activity.to_json().unwrap_err().kind(), crate::ModelErrorKind::Encode);
    }
}
