use botframework_activity::{Activity, ConversationType, EntityType};

use crate::tree;

/// Where the user writes from, as far as it matters to a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Teams,
    Copilot,
    WebChat,
    Unknown,
}

impl Host {
    pub(super) fn of(activity: &Activity) -> Self {
        let Some(channel) = &activity.channel_id else { return Self::Unknown };
        let is_copilot = |product: Option<&str>| product.is_some_and(|id| id.eq_ignore_ascii_case("COPILOT"));
        // On the wire Copilot is Teams with an entity; some relays put it into the channel id.
        let entities = activity.entities().unwrap_or_default();
        let product = entities.iter().find(|entity| *entity.kind() == EntityType::PRODUCT_INFO);
        let product = product.and_then(|product| tree::text(&tree::read(product.raw().get().as_bytes())?, "id", "id"));
        match channel.base() {
            _ if is_copilot(channel.sub_channel()) || is_copilot(product.as_deref()) => Self::Copilot,
            _ if channel.is_teams() => Self::Teams,
            "webchat" | "directline" | "emulator" => Self::WebChat,
            _ => Self::Unknown,
        }
    }

    /// The stable name in spans and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Copilot => "copilot",
            Self::WebChat => "webchat",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether nobody but the user sees what the bot writes here. Copilot in Teams calls its conversations group chats.
pub(super) fn is_private(activity: &Activity) -> bool {
    if Host::of(activity) == Host::Copilot {
        return true;
    }
    let Some(conversation) = &activity.conversation else { return false };
    match &conversation.conversation_type {
        Some(kind) => *kind == ConversationType::PERSONAL,
        None => conversation.is_group != Some(true),
    }
}

/// The stable name of the kind of conversation, and nothing that the sender may have written.
pub(super) fn conversation_type(activity: &Activity) -> &'static str {
    let kind = activity.conversation.as_ref().and_then(|conversation| conversation.conversation_type.as_ref());
    match kind {
        Some(kind) if *kind == ConversationType::PERSONAL => "personal",
        Some(kind) if *kind == ConversationType::GROUP_CHAT => "groupChat",
        Some(kind) if *kind == ConversationType::CHANNEL => "channel",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cards_are_for_private_places() {
        for (channel, conversation, entities, host, private) in [
            ("msteams", json!({"id": "a", "conversationType": "personal"}), json!([]), Host::Teams, true),
            (
                "msteams",
                json!({"id": "a", "conversationType": "groupChat", "isGroup": true}),
                json!([]),
                Host::Teams,
                false,
            ),
            ("msteams", json!({"id": "a", "conversationType": "channel"}), json!([]), Host::Teams, false),
            ("msteams", json!({"id": "a", "conversationType": "somethingNew"}), json!([]), Host::Teams, false),
            ("msteams", json!({"id": "a"}), json!([]), Host::Teams, true),
            ("msteams", json!({"id": "a", "isGroup": true}), json!([]), Host::Teams, false),
            ("webchat", json!({"id": "a"}), json!([]), Host::WebChat, true),
            (
                "msteams",
                json!({"id": "a", "conversationType": "groupChat", "isGroup": true}),
                json!([{"type": "ProductInfo", "id": "COPILOT"}]),
                Host::Copilot,
                true,
            ),
            ("msteams:COPILOT", json!({"id": "a", "conversationType": "groupChat"}), json!([]), Host::Copilot, true),
        ] {
            let json =
                json!({"type": "message", "channelId": channel, "conversation": conversation, "entities": entities});
            let activity = Activity::from_json(json.to_string().as_bytes()).unwrap();
            assert_eq!((Host::of(&activity), is_private(&activity)), (host, private), "{json}");
        }
    }
}
