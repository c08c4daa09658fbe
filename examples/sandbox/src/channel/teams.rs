//! `Sandbox::teams`: the Teams service seen from its users.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::Channel;
use super::compose::Team;
use super::conversation::Conversation;
use super::exchange::{Exchange, Wait};
use super::groups::Group;
use super::meetings::Meeting;
use super::people::Person;
use super::post::{self, Posted};
use super::room::{Entry, Scope};
use super::store::{ConnectorSettings, Counters};
use super::{ids, signing};
use crate::constants::{BOT_APP_ID, REGION, User};
use crate::state::Shared;

/// The Teams service: its users, and what it recorded. Cheap to clone.
///
/// It posts to the bot endpoint the sandbox was told, on loopback only.
#[derive(Debug, Clone)]
pub struct Teams {
    channel: Channel,
}

impl Teams {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { channel: Channel::new(shared) }
    }

    pub(crate) fn of(channel: Channel) -> Self {
        Self { channel }
    }

    /// One user's client.
    pub fn user(&self, user: User) -> TeamsUser {
        TeamsUser { channel: self.channel.clone(), user: Person::from(user) }
    }

    /// Every activity of a conversation, oldest first; empty for an unknown id.
    pub fn transcript(&self, conversation: &str) -> Vec<Entry> {
        self.channel.store.read(|state| state.transcript(conversation))
    }

    /// What the bot asked of the connector so far.
    pub fn counters(&self) -> Counters {
        self.channel.store.read(|state| state.counters)
    }

    /// Changes what the connector demands and how it answers.
    pub fn configure(&self, change: impl FnOnce(&mut ConnectorSettings)) {
        self.channel.store.write(|state| change(&mut state.settings));
    }

    /// Answers the next `times` authenticated connector requests with 429 and this `Retry-After` in seconds.
    pub fn throttle(&self, times: usize, retry_after: u64) {
        self.channel.store.write(|state| state.throttle(times, retry_after));
    }

    /// Posts a recorded request. Only `Authorization` is made new, and `serviceUrl` is replaced by the sandbox's, so that answers
    /// stay on loopback; every other header and every other member of the body is sent as it was recorded.
    ///
    /// Waits for an answer in the chat when the activity is a message. A body that is no JSON object is posted unchanged.
    pub async fn send_raw(&self, headers: HeaderMap, body: Bytes) -> Exchange {
        signing::replay(&self.channel, headers, &body, &Wait::default()).await
    }

    /// [`Self::send_raw`] for one line `{"headers":{…},"body":{…}}` of a file of recorded requests. `None` when it is no such line.
    pub async fn replay(&self, line: &str, wait: &Wait) -> Option<Exchange> {
        let (headers, body) = signing::recorded(line)?;
        Some(signing::replay(&self.channel, headers, &body, wait).await)
    }

    /// [`Self::send_raw`] with another patience.
    pub async fn send_raw_waiting(&self, headers: HeaderMap, body: Bytes, wait: &Wait) -> Exchange {
        signing::replay(&self.channel, headers, &body, wait).await
    }

    /// Posts exactly these headers and bytes to the bot: for requests no channel would send.
    pub async fn post_unsigned(&self, headers: HeaderMap, body: Bytes) -> Posted {
        let endpoint = self.channel.shared.bot_endpoint();
        post::send(&self.channel.client(), endpoint.as_deref(), headers, body, Wait::default().post).await
    }
}

/// One signed-in Teams user.
#[derive(Debug, Clone)]
pub struct TeamsUser {
    channel: Channel,
    user: Person,
}

impl TeamsUser {
    /// The account id the bot knows the user by, `29:…`.
    pub fn id(&self) -> &str {
        &self.user.mri
    }

    /// The personal chat with the bot: always the same one.
    pub fn conversation(&self) -> Conversation {
        let id = ids::personal(&self.user.mri, BOT_APP_ID);
        self.enter(id, Scope::Personal, Vec::new())
    }

    /// A group chat by name. The user and these others are its members.
    pub fn group(&self, name: &str, others: &[User]) -> Conversation {
        self.enter(ids::group(name), Scope::GroupChat, others.iter().copied().map(Person::from).collect())
    }

    /// A channel of a team by names. Every message starts a thread of its own; see [`Conversation::in_thread`].
    pub fn channel(&self, team: &str, channel: &str, others: &[User]) -> Conversation {
        let id = ids::channel(&format!("{team}/{channel}"));
        let mut conversation =
            self.enter(id.clone(), Scope::Channel, others.iter().copied().map(Person::from).collect());
        let first = ids::channel(&format!("{team}/General"));
        self.channel.store.write(|state| {
            let group = state.groups.entry(first.clone()).or_insert_with(|| Group {
                name: team.to_owned(),
                tenant: self.user.tenant.clone(),
                entra_group: crate::state::uuid(),
                channels: Vec::new(),
            });
            group.add(&first, "General");
            group.add(&id, channel);
        });
        conversation.team =
            Some(Team { id: first, name: team.to_owned(), channel: id, channel_name: channel.to_owned() });
        conversation
    }

    /// The chat of a meeting by its title. The user has planned it and these others are invited.
    pub fn meeting(&self, title: &str, others: &[User]) -> Conversation {
        let id = ids::meeting(title);
        let mut conversation =
            self.enter(id.clone(), Scope::GroupChat, others.iter().copied().map(Person::from).collect());
        let meeting = ids::meeting_in(&id);
        self.channel.store.write(|state| {
            state.meetings.entry(meeting.clone()).or_insert_with(|| Meeting {
                conversation: id,
                title: title.to_owned(),
                organizer: self.user.clone(),
                present: Vec::new(),
                notifications: Vec::new(),
            });
        });
        conversation.meeting = Some(meeting);
        conversation
    }

    /// How many clients (desktop, web, mobile) answer a sign-in card at the same time. Default 1.
    pub fn set_devices(&self, devices: usize) {
        self.channel.clients.set_devices(&self.user.mri, devices);
    }

    /// Whether the clients answer a sign-in card silently at all. Default true.
    pub fn set_silent_sign_in(&self, silent: bool) {
        self.channel.clients.set_silent(&self.user.mri, silent);
    }

    fn enter(&self, id: String, scope: Scope, others: Vec<Person>) -> Conversation {
        let mut members = vec![self.user.clone()];
        members.extend(others);
        let mut conversation =
            Conversation::open(self.channel.clone(), self.user.clone(), id, scope, BOT_APP_ID, members);
        REGION.clone_into(&mut conversation.region);
        conversation
    }
}
