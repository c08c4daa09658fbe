//! More about messages: those that only one member sees, and reactions.

use super::{
    ConnectorClient, Sent, address,
    answer::{DELETE, Done, Operation, REPLY, SEND, UPDATE},
    client::at,
    error::SendError,
};
use crate::{Activity, ReactionType, ServiceUrl};

static REACT: Operation =
    Operation::put("react", "/v3/conversations/{conversation}/activities/{activity}/reactions/{reaction}");
static UNREACT: Operation =
    Operation::delete("unreact", "/v3/conversations/{conversation}/activities/{activity}/reactions/{reaction}");

impl ConnectorClient {
    /// Sends a message into a group chat or channel that only its recipient sees. With `replyToId` it is an answer to
    /// that activity.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; [`SendErrorKind::Invalid`](crate::SendErrorKind::Invalid) without a recipient.
    /// [`SendErrorKind::NotInstalled`](crate::SendErrorKind::NotInstalled) when the recipient does not take part.
    pub async fn send_targeted(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        if activity.recipient.as_ref().and_then(|recipient| recipient.id.as_deref()).is_none_or(str::is_empty) {
            return Err(SendError::invalid());
        }
        let answers = activity.reply_to_id.as_deref();
        let operation = if answers.is_some() { &REPLY } else { &SEND };
        let uri = targeted(service_url, activity.conversation_id(), answers)?;
        let body = self.encode(activity)?;
        self.request(service_url, operation, uri).of(activity.conversation_id()).body(body).run().await
    }

    /// Replaces a targeted message. The recipient stays who it was: Teams refuses an update that names one, so it is not
    /// sent.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::update`].
    pub async fn update_targeted(&self, service_url: &ServiceUrl, activity: &Activity) -> Result<Sent, SendError> {
        let id = activity.id.as_deref().ok_or_else(SendError::invalid)?;
        let uri = targeted(service_url, activity.conversation_id(), Some(id))?;
        let mut activity = activity.clone();
        activity.recipient = None;
        let body = self.encode(&activity)?;
        self.request(service_url, &UPDATE, uri).of(activity.conversation_id()).body(body).run().await
    }

    /// Deletes a targeted message.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::delete`].
    pub async fn delete_targeted(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        activity_id: &str,
    ) -> Result<(), SendError> {
        let uri = targeted(service_url, Some(conversation_id), Some(activity_id))?;
        self.request(service_url, &DELETE, uri).of(Some(conversation_id)).run::<Done>().await.map(drop)
    }

    /// Adds the bot's reaction to an activity.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. Repeating it does no harm.
    pub async fn add_reaction(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        activity_id: &str,
        reaction: &ReactionType,
    ) -> Result<(), SendError> {
        let uri = reaction_at(service_url, conversation_id, activity_id, reaction)?;
        self.request(service_url, &REACT, uri).of(Some(conversation_id)).run::<Done>().await.map(drop)
    }

    /// Takes the bot's reaction back.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. Repeating it does no harm.
    pub async fn remove_reaction(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        activity_id: &str,
        reaction: &ReactionType,
    ) -> Result<(), SendError> {
        let uri = reaction_at(service_url, conversation_id, activity_id, reaction)?;
        self.request(service_url, &UNREACT, uri).of(Some(conversation_id)).run::<Done>().await.map(drop)
    }
}

fn targeted(
    service_url: &ServiceUrl,
    conversation: Option<&str>,
    activity: Option<&str>,
) -> Result<http::Uri, SendError> {
    let conversation = conversation.ok_or_else(SendError::invalid)?;
    let mut segments = vec!["v3", "conversations", conversation, "activities"];
    segments.extend(activity);
    address::join(service_url, &segments, &[("isTargetedActivity", Some("true"))]).ok_or_else(SendError::invalid)
}

fn reaction_at(
    service_url: &ServiceUrl,
    conversation: &str,
    activity: &str,
    reaction: &ReactionType,
) -> Result<http::Uri, SendError> {
    let segments = ["v3", "conversations", conversation, "activities", activity, "reactions", reaction.as_str()];
    at(service_url, &segments)
}
