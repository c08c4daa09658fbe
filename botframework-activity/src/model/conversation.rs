use super::account::{ChannelAccount, TeamsChannelAccount};
use super::activity::Activity;
use super::object::wire_object;
use super::raw::RawJson;
use super::vocabulary::{ChannelId, ConversationType, DeliveryMode, RoleType};

wire_object! {
    /// The conversation of an activity:
    /// [`ConversationAccount`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#conversationaccount-object).
    pub struct ConversationAccount {
        /// The id. In Teams `a:…` for a personal chat, `19:…` for a group chat or a channel, with
        /// `;messageid=…` at the end for one thread of a channel.
        pub id: Option<String> = "id" show;
        /// The title, where the channel has one.
        pub name: Option<String> = "name";
        /// Whether more than two may take part.
        pub is_group: Option<bool> = "isGroup";
        /// Personal, group chat or channel.
        pub conversation_type: Option<ConversationType> = "conversationType";
        /// The Entra tenant of the conversation.
        pub tenant_id: Option<String> = "tenantId";
        /// The object id in Microsoft Entra of the other side of a personal chat.
        pub aad_object_id: Option<String> = "aadObjectId";
        /// User or bot, for a conversation that is an account.
        pub role: Option<RoleType> = "role";
        /// Properties of the channel's own.
        pub properties: Option<RawJson> = "properties";
    }
}

impl ConversationAccount {
    /// A conversation with this id.
    #[inline]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// The id without `;messageid=…`: what member calls need, while replies keep the whole id.
    #[must_use]
    #[inline]
    pub fn id_without_thread(&self) -> Option<&str> {
        let id = self.id.as_deref()?;
        Some(id.split_once(";messageid=").map_or(id, |(id, _)| id))
    }
}

wire_object! {
    /// Where a conversation is and who takes part:
    /// [`ConversationReference`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#conversationreference-object).
    ///
    /// Plain data: whoever wrote it may have lied. No message is sent to its `service_url`; sending
    /// needs a service URL that was verified.
    pub struct ConversationReference {
        /// The activity it was taken from.
        pub activity_id: Option<String> = "activityId" show;
        /// The user's account.
        pub user: Option<ChannelAccount> = "user";
        /// The bot's account. Newer producers call it `agent`, which is accepted; `bot` is written.
        pub bot: Option<ChannelAccount> = "bot" | "agent";
        /// The conversation.
        pub conversation: Option<ConversationAccount> = "conversation";
        /// The channel.
        pub channel_id: Option<ChannelId> = "channelId";
        /// The address of the connector, as somebody wrote it.
        pub service_url: Option<String> = "serviceUrl";
        /// The language, BCP 47.
        pub locale: Option<String> = "locale" show;
        /// How answers travel.
        pub delivery_mode: Option<DeliveryMode> = "deliveryMode";
    }
}

wire_object! {
    /// The answer to a send: the id of what was made. Teams may answer without a body.
    pub struct ResourceResponse {
        /// The id of the new activity or attachment.
        pub id: Option<String> = "id" show;
    }
}

wire_object! {
    /// How to make a conversation:
    /// [`ConversationParameters`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#conversationparameters-object).
    pub struct ConversationParameters {
        /// Whether more than two may take part.
        pub is_group: Option<bool> = "isGroup";
        /// The bot's account. `agent` is accepted; `bot` is written.
        pub bot: Option<ChannelAccount> = "bot" | "agent";
        /// Who takes part. Teams accepts one user.
        pub members: Vec<ChannelAccount> = "members";
        /// The topic.
        pub topic_name: Option<String> = "topicName";
        /// The first message; required for a new thread in a channel.
        pub activity: Option<Box<Activity>> = "activity";
        /// The channel's own data: tenant, team, channel.
        pub channel_data: Option<RawJson> = "channelData";
        /// The Entra tenant.
        pub tenant_id: Option<String> = "tenantId";
    }
}

wire_object! {
    /// The answer to making a conversation.
    pub struct ConversationResourceResponse {
        /// The id of the first message, when one was sent.
        pub activity_id: Option<String> = "activityId" show;
        /// The address of the connector for this conversation, as the service wrote it.
        pub service_url: Option<String> = "serviceUrl";
        /// The id of the conversation.
        pub id: Option<String> = "id" show;
    }
}

wire_object! {
    /// One page of a roster.
    pub struct PagedMembersResult {
        /// The members of this page.
        pub members: Vec<TeamsChannelAccount> = "members";
        /// What asks for the next page; absent on the last one.
        pub continuation_token: Option<String> = "continuationToken";
    }
}

wire_object! {
    /// A list of activities: a history, or the body of a transcript file.
    pub struct Transcript {
        /// The activities, oldest first.
        pub activities: Vec<Activity> = "activities";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_suffix_is_cut_for_member_calls() {
        let conversation = ConversationAccount::new("19:abc@thread.tacv2;messageid=1700000000000");
        assert_eq!(conversation.id_without_thread(), Some("19:abc@thread.tacv2"));
        assert_eq!(ConversationAccount::new("a:1").id_without_thread(), Some("a:1"));
        assert_eq!(ConversationAccount::default().id_without_thread(), None);
    }

    #[test]
    fn bot_and_agent_are_the_same_member() {
        let reference: ConversationReference =
            serde_json::from_str(r#"{"agent":{"id":"28:b"},"channelId":"msteams"}"#).unwrap();
        assert_eq!(reference.bot, Some(ChannelAccount::new("28:b")));
        assert_eq!(serde_json::to_string(&reference).unwrap(), r#"{"bot":{"id":"28:b"},"channelId":"msteams"}"#);
        let both = r#"{"bot":{"id":"28:b"},"agent":{"id":"28:c"}}"#;
        assert!(serde_json::from_str::<ConversationReference>(both).is_err());
    }
}
