//! A conversation as the user's client holds it: it posts, and it waits for what appears.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::Channel;
use super::compose::{self, Place, Team};
use super::exchange::{self, Exchange, Looking, Wait};
use super::files;
use super::inline;
use super::people::Person;
use super::post::{self, Posted};
use super::room::{Author, Entry, Scope, Standing, room_id};
use super::sso::SignIn;
use crate::constants::{REGION, User};

/// One chat, group chat or channel of one user with the bot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub(crate) channel: Channel,
    pub(crate) user: Person,
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) bot: String,
    pub(crate) team: Option<Team>,
    pub(crate) thread: Option<String>,
    pub(crate) meeting: Option<String>,
    pub(crate) region: String,
    pub(crate) wait: Wait,
}

impl Conversation {
    pub(crate) fn open(
        channel: Channel,
        user: Person,
        id: String,
        scope: Scope,
        bot: &str,
        members: Vec<Person>,
    ) -> Self {
        channel.store.write(|state| {
            state.open(&id, scope, &user.tenant, bot, members);
        });
        Self {
            channel,
            user,
            id,
            scope,
            bot: bot.to_owned(),
            team: None,
            thread: None,
            meeting: None,
            region: REGION.to_owned(),
            wait: Wait::default(),
        }
    }

    /// The conversation id. In a channel it has no thread suffix, unless the conversation is a [thread](Self::in_thread).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same conversation with another patience.
    #[must_use]
    pub fn waiting(&self, wait: Wait) -> Self {
        Self { wait, ..self.clone() }
    }

    /// The same channel, where every message joins the thread of this root message.
    #[must_use]
    pub fn in_thread(&self, root: &str) -> Self {
        Self { thread: Some(root.to_owned()), ..self.clone() }
    }

    /// The same conversation in another region segment of the service URL, as after a move of the tenant.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// The service URL in the activities of this conversation.
    pub fn service_url(&self) -> String {
        self.channel.shared.service_url(&self.region, &self.user.tenant)
    }

    /// Writes a message and waits for the answer. Outside a personal chat the message mentions the bot.
    pub async fn say(&self, text: &str) -> Exchange {
        self.say_with(text, json!({})).await
    }

    /// [`Self::say`] with more or other fields, for attachments and channel data. `null` removes a field.
    pub async fn say_with(&self, text: &str, fields: Value) -> Exchange {
        let prepared = self.prepare("message", None, |place| merge_fields(compose::message(place, text), fields));
        self.run(prepared, false).await
    }

    /// Posts any activity: the envelope of this conversation with these fields over it. Does not wait for answers in the chat.
    pub async fn post(&self, kind: &str, fields: Value) -> Posted {
        self.deliver(&self.prepare(kind, None, |_| fields)).await
    }

    /// Posts any activity and waits for what the bot writes into the chat.
    pub async fn post_and_wait(&self, kind: &str, fields: Value) -> Exchange {
        let prepared = self.prepare(kind, None, |_| fields);
        self.run(prepared, false).await
    }

    /// Posts an invoke. Its result is the answer's status and body.
    pub async fn invoke(&self, name: &str, value: Value) -> Posted {
        self.deliver(&self.invocation(name, value)).await
    }

    /// The id of the meeting whose chat this is.
    pub fn meeting_id(&self) -> Option<&str> {
        self.meeting.as_deref()
    }

    /// Lets a member of the meeting's chat enter the meeting, or leave it. Nobody is in it at first.
    pub fn set_in_meeting(&self, user: User, inside: bool) {
        self.channel.store.write(|state| {
            if let Some(meeting) = self.meeting.as_ref().and_then(|id| state.meetings.get_mut(id)) {
                meeting.present.retain(|mri| mri != user.mri);
                if inside {
                    meeting.present.push(user.mri.to_owned());
                }
            }
        });
    }

    /// What the bot has shown to participants of the meeting, oldest first.
    pub fn meeting_notifications(&self) -> Vec<Value> {
        let notifications =
            |state: &super::store::State| Some(state.meetings.get(self.meeting.as_ref()?)?.notifications.clone());
        self.channel.store.read(notifications).unwrap_or_default()
    }

    /// A picture that the user pastes into a message, as an entry of `attachments` for [`say_with`](Self::say_with).
    pub fn picture(&self, media_type: &str, bytes: impl Into<Bytes>) -> Value {
        json!({"contentType": "image/*", "contentUrl": self.store_picture("", media_type, bytes)})
    }

    /// Puts a picture into the store, as a client does with one in the text of a message. Returns its address for an
    /// attachment's `contentUrl`, which the bot reads with its own token.
    pub fn store_picture(&self, name: &str, content_type: &str, bytes: impl Into<Bytes>) -> String {
        let id = self
            .channel
            .store
            .write(|state| files::keep(state, &self.bot, &self.user.tenant, name, content_type, bytes.into(), None));
        format!("{}v3/attachments/{id}/views/original", self.service_url())
    }

    /// Everything said here so far, oldest first.
    pub fn transcript(&self) -> Vec<Entry> {
        self.channel.store.read(|state| state.transcript(&self.id))
    }

    /// How many messages the bot made in answer to this activity. More than one is a second answer.
    pub fn answers_to(&self, activity: &str) -> usize {
        let answer = |entry: &&Entry| entry.kind() == "message" && entry.reply_to.as_deref() == Some(activity);
        self.transcript().iter().filter(|entry| entry.author == Author::Bot).filter(answer).count()
    }

    /// The sign-in this chat is in, if the bot ever sent a sign-in card.
    pub fn sign_in(&self) -> Option<SignIn> {
        self.channel.clients.sign_in(&self.id, &self.user.mri)
    }

    /// Changes what the bot may do here.
    pub fn set_standing(&self, standing: Standing) {
        self.channel.store.write(|state| {
            if let Some(room) = state.rooms.get_mut(room_id(&self.id)) {
                room.standing = standing;
            }
        });
    }

    /// The user presses Stop: streams that are open here are refused from now on.
    pub fn stop_streams(&self) {
        self.channel.store.write(|state| {
            if let Some(room) = state.rooms.get_mut(room_id(&self.id)) {
                room.streams.values_mut().for_each(super::stream::Stream::cancel);
            }
        });
    }

    /// An activity with its id, recorded as said.
    pub(crate) fn prepare(&self, kind: &str, id: Option<String>, fields: impl FnOnce(Place<'_>) -> Value) -> Prepared {
        let now = self.channel.shared.clock.now();
        let id = id.unwrap_or_else(|| self.channel.store.write(|state| state.activity_id(now)));
        let conversation = compose::conversation_id(&self.id, self.scope, self.thread.as_deref(), &id);
        let service_url = self.service_url();
        let timestamp = self.channel.shared.clock.rfc3339();
        let place = Place {
            service_url: &service_url,
            conversation: &conversation,
            scope: self.scope,
            from: &self.user,
            bot: &self.bot,
            team: self.team.as_ref(),
            meeting: self.meeting.as_deref(),
            timestamp: &timestamp,
        };
        let activity = compose::activity(place, kind, &id, fields(place));
        let from = self.channel.store.write(|state| {
            state.hear(&conversation, &id, activity.clone());
            state.rooms.get(room_id(&conversation)).map_or(0, |room| room.entries.len())
        });
        Prepared { id, from, activity }
    }

    pub(crate) fn invocation(&self, name: &str, value: Value) -> Prepared {
        let id = format!("f:{}", crate::state::uuid());
        let fields = Map::from_iter([("name".to_owned(), json!(name)), ("value".to_owned(), value)]);
        self.prepare("invoke", Some(id), |_| Value::Object(fields))
    }

    pub(crate) async fn deliver(&self, prepared: &Prepared) -> Posted {
        deliver(&self.channel, &prepared.activity, self.wait.post).await
    }

    /// Posts, then waits for answers; `any` takes answers to other activities too.
    pub(crate) async fn run(&self, prepared: Prepared, any: bool) -> Exchange {
        let posted = self.deliver(&prepared).await;
        self.take_inline(&prepared, &posted);
        self.look(&prepared, posted, any).await
    }

    /// Answers inside the response appear in the chat like any other.
    fn take_inline(&self, prepared: &Prepared, posted: &Posted) {
        let Some(mode) = prepared.activity.get("deliveryMode").and_then(Value::as_str) else { return };
        let conversation = prepared.activity.pointer("/conversation/id").and_then(Value::as_str).unwrap_or(&self.id);
        let now = self.channel.shared.clock.now();
        for activity in inline::replies(mode, posted) {
            self.channel.store.write(|state| {
                let (id, started) = (state.activity_id(now), state.started);
                if let Some(room) = state.rooms.get_mut(room_id(conversation)) {
                    room.push(Author::Bot, &id, conversation, activity, started).reply_to = Some(prepared.id.clone());
                }
            });
        }
    }

    pub(crate) async fn look(&self, prepared: &Prepared, posted: Posted, any: bool) -> Exchange {
        let looking =
            Looking { conversation: &self.id, user: &self.user.mri, activity: &prepared.id, from: prepared.from, any };
        exchange::answers(&self.channel, looking, &self.wait, posted).await
    }
}

/// An activity that is about to be posted.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) id: String,
    /// How many entries the room had with this one.
    pub(crate) from: usize,
    pub(crate) activity: Value,
}

/// Signs and posts an activity with its own service URL.
pub(crate) async fn deliver(channel: &Channel, activity: &Value, limit: std::time::Duration) -> Posted {
    let service_url = activity.get("serviceUrl").and_then(Value::as_str).unwrap_or_default();
    let mut headers = post::headers(activity);
    headers.insert(http::header::AUTHORIZATION, post::authorization(&channel.shared, service_url));
    let endpoint = channel.shared.bot_endpoint();
    post::send(&channel.client(), endpoint.as_deref(), headers, Bytes::from(activity.to_string()), limit).await
}

fn merge_fields(mut message: Value, fields: Value) -> Value {
    if let (Some(message), Value::Object(fields)) = (message.as_object_mut(), fields) {
        message.extend(fields);
    }
    message
}
