//! What a Teams client writes: the envelope of every activity and the parts of a message.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/conversation-messages`

use serde_json::{Map, Value, json};

use super::people::{Person, bot_account};
use super::room::{Scope, room_id};
use crate::constants::BOT_NAME;

/// A team with one channel, as `channelData` carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) channel: String,
    pub(crate) channel_name: String,
}

/// Where and by whom an activity is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) service_url: &'a str,
    pub(crate) conversation: &'a str,
    pub(crate) scope: Scope,
    pub(crate) from: &'a Person,
    pub(crate) bot: &'a str,
    pub(crate) team: Option<&'a Team>,
    pub(crate) meeting: Option<&'a str>,
    pub(crate) timestamp: &'a str,
}

/// The envelope: everything but the fields of the type itself. `fields` are put over it, `null` removes a field.
pub(crate) fn activity(place: Place<'_>, kind: &str, id: &str, fields: Value) -> Value {
    let mut conversation =
        json!({ "conversationType": place.scope.as_str(), "tenantId": place.from.tenant, "id": place.conversation });
    if place.scope != Scope::Personal {
        set(&mut conversation, "isGroup", json!(true));
    }
    let activity = json!({
        "type": kind,
        "id": id,
        "timestamp": place.timestamp,
        "localTimestamp": place.timestamp.replace('Z', "+00:00"),
        "localTimezone": "Etc/UTC",
        "channelId": "msteams",
        "serviceUrl": place.service_url,
        "from": place.from.account(),
        "conversation": conversation,
        "recipient": bot_account(place.bot),
        "entities": [{ "type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Web", "timezone": "Etc/UTC" }],
        "channelData": channel_data(place),
        "locale": "en-US",
    });
    merged(activity, fields)
}

fn channel_data(place: Place<'_>) -> Value {
    let mut data = json!({ "tenant": { "id": place.from.tenant } });
    if let Some(team) = place.team {
        set(&mut data, "team", json!({ "id": team.id, "name": team.name }));
        set(&mut data, "channel", json!({ "id": team.channel, "name": team.channel_name }));
    }
    if let Some(meeting) = place.meeting {
        set(&mut data, "meeting", json!({ "id": meeting }));
    }
    data
}

/// Sets one member of an object.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// Puts `fields` over an object, member by member; objects merge, anything else replaces, `null` removes.
fn merged(base: Value, fields: Value) -> Value {
    match (base, fields) {
        (Value::Object(mut base), Value::Object(fields)) => {
            for (name, value) in fields {
                if value.is_null() {
                    base.remove(&name);
                    continue;
                }
                let value = match base.remove(&name) {
                    Some(old @ Value::Object(_)) => merged(old, value),
                    _ => value,
                };
                base.insert(name, value);
            }
            Value::Object(base)
        }
        (_, fields) => fields,
    }
}

/// The fields of a user's message. Outside a personal chat it mentions the bot, which is why the bot gets it.
pub(crate) fn message(place: Place<'_>, text: &str) -> Value {
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut fields = Map::new();
    if place.scope == Scope::Personal {
        fields.insert("text".to_owned(), json!(text));
        fields.insert(
            "attachments".to_owned(),
            json!([{ "contentType": "text/html", "content": format!("<p>{html}</p>") }]),
        );
    } else {
        let mention = format!("<at>{BOT_NAME}</at>");
        let content = format!(
            "<p><span itemtype=\"http://schema.skype.com/Mention\" itemscope itemid=\"0\">{BOT_NAME}</span>&nbsp;{html}</p>"
        );
        fields.insert("text".to_owned(), json!(format!("{mention} {text}")));
        fields.insert("attachments".to_owned(), json!([{ "contentType": "text/html", "content": content }]));
        fields.insert(
            "entities".to_owned(),
            json!([
                { "type": "mention", "mentioned": bot_account(place.bot), "text": mention },
                { "type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Web", "timezone": "Etc/UTC" },
            ]),
        );
    }
    fields.insert("textFormat".to_owned(), json!("plain"));
    Value::Object(fields)
}

/// The conversation id of a new message: in a channel it names the thread, which the message itself starts unless one is given.
pub(crate) fn conversation_id(conversation: &str, scope: Scope, thread: Option<&str>, id: &str) -> String {
    match scope {
        Scope::Channel => format!("{};messageid={}", room_id(conversation), thread.unwrap_or(id)),
        Scope::Personal | Scope::GroupChat => conversation.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_merge_into_the_envelope() {
        let base = json!({ "a": { "b": 1, "c": 2 }, "d": [1], "e": 1 });
        let fields = json!({ "a": { "c": 3 }, "d": [2], "e": null, "f": { "g": 1 } });
        assert_eq!(merged(base, fields), json!({ "a": { "b": 1, "c": 3 }, "d": [2], "f": { "g": 1 } }));
    }

    #[test]
    fn a_channel_message_starts_or_joins_a_thread() {
        assert_eq!(conversation_id("19:c@thread.tacv2", Scope::Channel, None, "7"), "19:c@thread.tacv2;messageid=7");
        assert_eq!(
            conversation_id("19:c@thread.tacv2;messageid=1", Scope::Channel, Some("1"), "7"),
            "19:c@thread.tacv2;messageid=1"
        );
        assert_eq!(conversation_id("a:1", Scope::Personal, None, "7"), "a:1");
    }
}
