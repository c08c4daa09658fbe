use base64::{Engine as _, engine::general_purpose::STANDARD};
use botframework_activity::VerifiedActivity;
use serde::Serialize;

use super::ChannelUser;

/// The `state` of a sign-in resource: who signs in where, as standard base64 of JSON. What is absent is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    connection_name: &'a str,
    conversation: Reference<'a>,
    ms_app_id: &'a str,
}

/// A conversation reference, as little of it as the service needs: it travels in a URL.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    activity_id: Option<&'a str>,
    user: Id<'a>,
    bot: Id<'a>,
    conversation: Id<'a>,
    channel_id: &'a str,
    service_url: &'a str,
}

#[derive(Serialize)]
struct Id<'a> {
    id: &'a str,
}

/// Encodes the state. It names the user: never in a log.
pub(super) fn encode(user: &ChannelUser, activity: &VerifiedActivity, connection: &str) -> Option<String> {
    let bot = activity.recipient.as_ref().and_then(|bot| bot.id.as_deref()).unwrap_or_else(|| user.bot().as_str());
    let state = State {
        connection_name: connection,
        conversation: Reference {
            activity_id: activity.id.as_deref(),
            user: Id { id: user.id() },
            bot: Id { id: bot },
            conversation: Id { id: activity.conversation_id().unwrap_or_default() },
            channel_id: user.channel(),
            service_url: activity.service_url().as_str(),
        },
        ms_app_id: user.bot().as_str(),
    };
    serde_json::to_vec(&state).ok().map(|json| STANDARD.encode(json))
}
