use base64::{Engine as _, engine::general_purpose::STANDARD};
use botframework_activity::VerifiedActivity;
use serde_json::json;

use super::ChannelUser;
use crate::tree;

/// The `state` of a sign-in resource: who signs in where, as standard base64 of JSON. It holds a conversation reference, as
/// little of it as the service needs, since it travels in a URL. What is absent is left out. It names the user: never in a
/// log.
pub(super) fn encode(user: &ChannelUser, activity: &VerifiedActivity, connection: &str) -> String {
    let bot = activity.recipient.as_ref().and_then(|bot| bot.id.as_deref()).unwrap_or_else(|| user.bot().as_str());
    let conversation = json!({
        "user": {"id": user.id()},
        "bot": {"id": bot},
        "conversation": {"id": activity.conversation_id().unwrap_or_default()},
        "channelId": user.channel(),
        "serviceUrl": activity.service_url().as_str(),
    });
    let conversation = tree::with(conversation, "activityId", activity.id.clone());
    let state = json!({"connectionName": connection, "msAppId": user.bot().as_str()});
    let state = tree::with(state, "conversation", Some(conversation));
    STANDARD.encode(state.to_string())
}
