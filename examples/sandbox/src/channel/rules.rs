//! What the service demands of an activity the bot delivers. Pure checks.

use serde_json::Value;

use super::problem::Problem;
use super::room::{Room, Scope, room_id};

/// How an activity reaches a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door<'a> {
    Send,
    Reply { to: &'a str },
    Update { activity: &'a str },
}

/// The conversation and flags of one delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) door: Door<'a>,
    pub(crate) targeted: bool,
}

/// Checks an activity against the room it is sent to.
///
/// `typing` needs only its type. Everything else mirrors the inbound message: `from`, `recipient`, `conversation`, and `replyToId` on a reply.
///
/// # Errors
/// 400 `MissingProperty` for an absent field, 400 `BadArgument` for a wrong one.
pub(crate) fn check(room: &Room, delivery: Delivery<'_>, activity: &Value) -> Result<(), Problem> {
    let kind = filled(activity.get("type")).ok_or_else(|| Problem::missing("type"))?;
    if let Door::Update { activity: id } = delivery.door {
        return check_update(activity, id, delivery.targeted);
    }
    if matches!(kind, "invoke" | "invokeResponse" | "conversationUpdate" | "installationUpdate" | "messageReaction") {
        return Err(Problem::argument(format!("Activities of type '{kind}' cannot be sent by a bot.")));
    }
    if kind != "typing" {
        mirrored(room, delivery, activity)?;
    }
    given(room, delivery, activity)?;
    if kind == "message" { content(activity) } else { Ok(()) }
}

/// The fields that must be there.
fn mirrored(room: &Room, delivery: Delivery<'_>, activity: &Value) -> Result<(), Problem> {
    let id = |name: &str| filled(activity.get(name).and_then(|object| object.get("id")));
    id("from").ok_or_else(|| Problem::missing("from"))?;
    id("conversation").ok_or_else(|| Problem::missing("conversation"))?;
    let reply = matches!(delivery.door, Door::Reply { .. });
    if id("recipient").is_none() && (reply || delivery.targeted || room.scope != Scope::Channel) {
        return Err(Problem::missing("recipient"));
    }
    if reply && filled(activity.get("replyToId")).is_none() {
        return Err(Problem::missing("replyToId"));
    }
    Ok(())
}

/// The fields that are there must be right.
fn given(room: &Room, delivery: Delivery<'_>, activity: &Value) -> Result<(), Problem> {
    let id = |name: &str| filled(activity.get(name).and_then(|object| object.get("id")));
    if id("from")
        .is_some_and(|from| !is_bot(from, &room.bot) && !room.bot_accounts.iter().any(|account| account == from))
    {
        return Err(Problem::argument("'from' is not the bot of this conversation."));
    }
    if id("recipient").is_some_and(|user| room.member(user).is_none()) {
        return Err(Problem::argument("'recipient' is not a member of this conversation."));
    }
    if id("conversation").is_some_and(|conversation| room_id(conversation) != room_id(delivery.conversation)) {
        return Err(Problem::argument("'conversation' is not the conversation in the path."));
    }
    if let (Door::Reply { to }, Some(reply)) = (delivery.door, filled(activity.get("replyToId")))
        && reply != to
    {
        return Err(Problem::argument("'replyToId' is not the activity in the path."));
    }
    Ok(())
}

fn check_update(activity: &Value, id: &str, targeted: bool) -> Result<(), Problem> {
    if filled(activity.get("id")).is_some_and(|given| given != id) {
        return Err(Problem::argument("'id' is not the activity in the path."));
    }
    if targeted && activity.get("recipient").is_some() {
        return Err(Problem::argument("'recipient' is not allowed in the update of a targeted activity."));
    }
    content(activity)
}

/// A message says something: text, attachments, suggested actions or channel data.
fn content(activity: &Value) -> Result<(), Problem> {
    let text = filled(activity.get("text")).is_some();
    let attachments = activity.get("attachments").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if text || attachments || activity.get("suggestedActions").is_some() || activity.get("channelData").is_some() {
        return Ok(());
    }
    Err(Problem::new(400, "BadSyntax", "Activity must have text, attachments or channelData."))
}

fn filled(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `28:<app id>` and the bare app id name the same bot.
pub(crate) fn is_bot(id: &str, app: &str) -> bool {
    id.strip_prefix("28:").unwrap_or(id).eq_ignore_ascii_case(app)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::channel::people::Person;

    const ROOM: &str = "19:abc@thread.tacv2";

    fn room(scope: Scope) -> Room {
        Room::new(scope, "t", "app", vec![Person::guest("29:u", "t")])
    }

    fn good() -> Value {
        json!({ "type": "message", "text": "hi", "replyToId": "7", "from": { "id": "28:app" }, "recipient": { "id": "29:u" }, "conversation": { "id": ROOM } })
    }

    fn reply(activity: &Value) -> Result<(), Problem> {
        check(
            &room(Scope::Personal),
            Delivery { conversation: ROOM, door: Door::Reply { to: "7" }, targeted: false },
            activity,
        )
    }

    #[test]
    fn each_mirrored_field_is_demanded_by_name() {
        assert_eq!(reply(&good()), Ok(()));
        for field in ["type", "from", "recipient", "conversation", "replyToId"] {
            let mut activity = good();
            activity.as_object_mut().unwrap().remove(field);
            assert_eq!(reply(&activity), Err(Problem::missing(field)), "{field}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for (pointer, value) in [
            ("/from/id", "28:other"),
            ("/recipient/id", "29:other"),
            ("/conversation/id", "a:other"),
            ("/replyToId", "8"),
        ] {
            let mut activity = good();
            *activity.pointer_mut(pointer).unwrap() = json!(value);
            assert_eq!(reply(&activity).unwrap_err().code, "BadArgument", "{pointer}");
        }
        assert_eq!(reply(&json!({ "type": "typing" })), Ok(()));
        assert_eq!(reply(&json!({ "type": "typing", "from": { "id": "28:other" } })).unwrap_err().code, "BadArgument");
        assert_eq!(reply(&json!({ "type": "invoke" })).unwrap_err().code, "BadArgument");
        let mut empty = good();
        empty["text"] = json!("");
        assert_eq!(reply(&empty).unwrap_err().code, "BadSyntax");
    }

    #[test]
    fn a_bot_may_start_in_a_channel_without_a_recipient_but_nowhere_else() {
        let mut activity = good();
        activity.as_object_mut().unwrap().remove("recipient");
        let send = |scope, targeted| {
            check(&room(scope), Delivery { conversation: ROOM, door: Door::Send, targeted }, &activity)
        };
        assert_eq!(send(Scope::Channel, false), Ok(()));
        assert_eq!(send(Scope::Channel, true), Err(Problem::missing("recipient")));
        assert_eq!(send(Scope::Personal, false), Err(Problem::missing("recipient")));
    }
}
