//! What else a user can do in a conversation, and what Teams tells the bot about it.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/subscribe-to-conversation-events`

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::people::{Person, bot_account};
use super::post::Posted;
use super::room::{Author, Standing};
use crate::constants::User;

impl Conversation {
    /// Edits an earlier message of the user: `messageUpdate` with the same id.
    pub async fn edit(&self, message: &str, text: &str) -> Posted {
        let fields = json!({ "text": text, "textFormat": "plain", "channelData": { "eventType": "editMessage" } });
        self.changed("messageUpdate", message, fields).await
    }

    /// Deletes an earlier message of the user: `messageDelete`.
    pub async fn delete(&self, message: &str) -> Posted {
        self.changed("messageDelete", message, json!({ "channelData": { "eventType": "softDeleteMessage" } })).await
    }

    /// Undoes [`Self::delete`]: `messageUpdate` with `undeleteMessage`.
    pub async fn undelete(&self, message: &str, text: &str) -> Posted {
        let fields = json!({ "text": text, "textFormat": "plain", "channelData": { "eventType": "undeleteMessage" } });
        self.changed("messageUpdate", message, fields).await
    }

    /// Adds a reaction such as `like` to a message of the bot.
    pub async fn react(&self, message: &str, reaction: &str) -> Posted {
        self.post("messageReaction", json!({ "replyToId": message, "reactionsAdded": [{ "type": reaction }] })).await
    }

    /// Takes a reaction back.
    pub async fn unreact(&self, message: &str, reaction: &str) -> Posted {
        self.post("messageReaction", json!({ "replyToId": message, "reactionsRemoved": [{ "type": reaction }] })).await
    }

    /// Shows the bot that the user types.
    pub async fn typing(&self) -> Posted {
        self.post("typing", json!({})).await
    }

    /// Adds the app: `installationUpdate`, then `conversationUpdate` with the bot in `membersAdded`. The second answer is returned.
    pub async fn install(&self) -> Posted {
        self.set_standing(Standing::Installed);
        let source = json!({ "action": "add", "channelData": { "settings": { "selectedChannel": { "id": self.id() } }, "source": { "name": "message" } } });
        self.post("installationUpdate", source).await;
        self.post("conversationUpdate", json!({ "membersAdded": [bot_account(&self.bot)] })).await
    }

    /// Removes the app: `installationUpdate`. From then on the connector refuses the bot here.
    pub async fn uninstall(&self) -> Posted {
        let posted = self.post("installationUpdate", json!({ "action": "remove" })).await;
        self.set_standing(Standing::Uninstalled);
        posted
    }

    /// Somebody joins: the roster grows and the bot gets `conversationUpdate`.
    pub async fn add_member(&self, user: User) -> Posted {
        let person = Person::from(user);
        self.channel.store.write(|state| {
            if let Some(room) = state.rooms.get_mut(super::room::room_id(&self.id))
                && room.member(&person.mri).is_none()
            {
                room.members.push(person.clone());
            }
        });
        self.post(
            "conversationUpdate",
            json!({ "membersAdded": [person.brief()], "channelData": self.event("teamMemberAdded") }),
        )
        .await
    }

    /// Somebody leaves.
    pub async fn remove_member(&self, user: User) -> Posted {
        let person = Person::from(user);
        self.channel.store.write(|state| {
            if let Some(room) = state.rooms.get_mut(super::room::room_id(&self.id)) {
                room.members.retain(|member| member.mri != person.mri);
            }
        });
        self.post(
            "conversationUpdate",
            json!({ "membersRemoved": [person.brief()], "channelData": self.event("teamMemberRemoved") }),
        )
        .await
    }

    /// A change of team or channel, such as `channelRenamed` or `teamRenamed`.
    pub async fn team_event(&self, event: &str) -> Posted {
        self.post("conversationUpdate", json!({ "channelData": { "eventType": event } })).await
    }

    /// An event, such as `application/vnd.microsoft.meetingStart`.
    pub async fn event_named(&self, name: &str, value: Value) -> Posted {
        self.post("event", json!({ "name": name, "value": value })).await
    }

    /// Presses an `Action.Submit` button: a message with a value and no text.
    pub async fn submit(&self, card: &str, value: Value) -> super::Exchange {
        self.post_and_wait(
            "message",
            json!({ "replyToId": card, "value": value, "channelData": { "source": { "name": "message" } } }),
        )
        .await
    }

    fn event(&self, name: &str) -> Value {
        if self.team.is_some() { json!({ "eventType": name }) } else { json!({}) }
    }

    /// An activity that carries the id of the message it changes; it makes no new entry.
    async fn changed(&self, kind: &str, message: &str, fields: Value) -> Posted {
        let prepared = self.prepare(kind, Some(message.to_owned()), |_| fields);
        self.channel.store.write(|state| {
            if let Some(room) = state.rooms.get_mut(super::room::room_id(&self.id)) {
                absorb(room, message, kind);
            }
        });
        self.deliver(&prepared).await
    }
}

/// The change was recorded as an entry of its own: folds it into the message it changes.
fn absorb(room: &mut super::room::Room, message: &str, kind: &str) {
    let Some(last) = room.entries.pop_if(|entry| entry.id == message && entry.kind() == kind) else { return };
    let Some(entry) = room.entries.iter_mut().find(|entry| entry.id == message && entry.author == Author::User) else {
        room.entries.push(last);
        return;
    };
    entry.deleted = kind == "messageDelete";
    entry.last_changed = last.last_changed;
    if let (false, Some(text)) = (entry.deleted, last.activity.get("text")) {
        let mut next = entry.activity.clone();
        if let Some(fields) = next.as_object_mut() {
            fields.insert("text".to_owned(), text.clone());
        }
        entry.history.push(std::mem::replace(&mut entry.activity, next));
    }
}
