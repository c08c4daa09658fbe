//! Conversations: made, listed, filled with a history.

use super::{
    ConnectorClient, address,
    answer::{Done, Json, Operation},
    client::at,
    error::SendError,
    pages::{Page, Pages},
    types::{ConversationMembers, ConversationsResult},
};
use crate::{
    Activity, ChannelAccount, ConversationParameters, ConversationResourceResponse, RawJson, ServiceUrl, Transcript,
};

static CREATE: Operation = Operation::post("create conversation", "/v3/conversations");
static LIST: Operation = Operation::get("list conversations", "/v3/conversations");
static HISTORY: Operation = Operation::post("send history", "/v3/conversations/{conversation}/activities/history");

impl ConversationParameters {
    /// A personal chat of the bot with one user of a tenant. `user` is a Teams id (`29:…`) or an Entra object id. Both
    /// places in which Teams looks for the tenant are set.
    ///
    /// ```
    /// use botframework_activity::{ChannelAccount, ConversationParameters};
    ///
    /// let chat = ConversationParameters::personal(
    ///     ChannelAccount::new("28:00000000-0000-0000-0000-0000000000b0"),
    ///     ChannelAccount::new("29:1abc"),
    ///     "11111111-2222-4333-8444-555555555555",
    /// );
    /// assert_eq!(
    ///     serde_json::to_value(&chat).unwrap()["channelData"]["tenant"]["id"],
    ///     "11111111-2222-4333-8444-555555555555",
    /// );
    /// ```
    #[must_use]
    pub fn personal(bot: ChannelAccount, user: ChannelAccount, tenant_id: impl Into<String>) -> Self {
        let tenant_id = tenant_id.into();
        Self {
            is_group: Some(false),
            bot: Some(bot),
            members: vec![user],
            channel_data: RawJson::from_value(&serde_json::json!({"tenant": {"id": tenant_id}})).ok(),
            tenant_id: Some(tenant_id),
            ..Self::default()
        }
    }

    /// A new thread in a channel of Teams (`19:…@thread.tacv2`) that begins with this message.
    #[must_use]
    pub fn thread(channel_id: &str, first: Activity) -> Self {
        Self {
            is_group: Some(true),
            channel_data: RawJson::from_value(&serde_json::json!({"channel": {"id": channel_id}})).ok(),
            activity: Some(Box::new(first)),
            ..Self::default()
        }
    }

    /// A group chat of the bot with several users, where the channel lets bots make one. Teams does not: it answers
    /// [`SendErrorKind::Refused`](crate::SendErrorKind::Refused).
    #[must_use]
    pub fn group(bot: ChannelAccount, members: impl IntoIterator<Item = ChannelAccount>) -> Self {
        Self { is_group: Some(true), bot: Some(bot), members: members.into_iter().collect(), ..Self::default() }
    }
}

impl ConnectorClient {
    /// Makes a conversation, or finds the personal chat that is there already.
    ///
    /// ```
    /// use botframework_activity::{
    ///     Activity, ChannelAccount, ChannelCloud, ConnectorClient, ConversationAccount, ConversationParameters, SendError,
    ///     ServiceUrl,
    /// };
    ///
    /// async fn greet(connector: &ConnectorClient, teams: &ServiceUrl, user: &str, tenant: &str) -> Result<(), SendError> {
    ///     let bot = ChannelAccount::new("28:00000000-0000-0000-0000-0000000000b0");
    ///     let chat = ConversationParameters::personal(bot, ChannelAccount::new(user), tenant);
    ///     let made = connector.create_conversation(teams, &chat).await?;
    ///     let mut hello = Activity::message("Your report is ready.");
    ///     hello.conversation = made.id.map(ConversationAccount::new);
    ///     connector.send(teams, &hello).await.map(drop)
    /// }
    /// ```
    ///
    /// The answer's `service_url` is what the service wrote: messages keep going to the address of this call.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. [`SendErrorKind::NotInstalled`](crate::SendErrorKind::NotInstalled) when the user does
    /// not have the app: the operator installs it, or the bot waits. An ambiguous creation of a personal chat may be
    /// repeated (there is one chat of a bot and a user); that of a thread may not.
    pub async fn create_conversation(
        &self,
        service_url: &ServiceUrl,
        parameters: &ConversationParameters,
    ) -> Result<ConversationResourceResponse, SendError> {
        let uri = at(service_url, &["v3", "conversations"])?;
        let Json(made) = self.request(service_url, &CREATE, uri).json(parameters)?.run().await?;
        Ok(made)
    }

    /// The conversations of the bot, page by page. Teams does not offer it.
    ///
    /// # Errors
    ///
    /// Each page fails as [`ConnectorClient::send`]; the stream ends after an error.
    #[inline]
    pub fn conversations<'a>(&'a self, service_url: &'a ServiceUrl) -> Pages<'a, ConversationMembers> {
        Pages::new(move |token| {
            Box::pin(async move {
                let query = [("continuationToken", token.as_deref())];
                let uri =
                    address::join(service_url, &["v3", "conversations"], &query).ok_or_else(SendError::invalid)?;
                let Json(page) = self.request(service_url, &LIST, uri).run::<Json<ConversationsResult>>().await?;
                Ok(Page { items: page.conversations, next: page.continuation_token })
            })
        })
    }

    /// Hands a conversation the messages that came before it. Direct Line and its like only.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn send_history(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        history: &Transcript,
    ) -> Result<(), SendError> {
        let uri = at(service_url, &["v3", "conversations", conversation_id, "activities", "history"])?;
        let call = self.request(service_url, &HISTORY, uri).of(Some(conversation_id)).json(history)?;
        call.run::<Done>().await.map(drop)
    }
}
