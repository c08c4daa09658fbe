//! Everything the channel remembers: conversations, what was delivered, counters. One lock, and a watch that tells waiters of a change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::batch::Batch;
use super::files::File;
use super::groups::Group;
use super::meetings::Meeting;
use super::people::Person;
use super::problem::Problem;
use super::room::{Author, Entry, Room, Scope, room_id};

/// How often the bot called each connector operation, and how often it was refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages and other activities created by send, reply or a new conversation; typing and stream chunks are not counted.
    pub creates: u64,
    /// Accepted `typing` activities, stream chunks included.
    pub typing: u64,
    /// Accepted updates.
    pub updates: u64,
    /// Accepted deletes.
    pub deletes: u64,
    /// New conversations and threads.
    pub conversations: u64,
    /// Everything that was read: rosters, teams, meetings, files.
    pub reads: u64,
    /// Refused requests, whatever the reason.
    pub refused: u64,
    /// Of the refused: 401.
    pub unauthorized: u64,
    /// Of the refused: 429.
    pub throttled: u64,
}

impl Counters {
    /// The counters as JSON, for tests in other languages.
    pub fn to_json(self) -> Value {
        json!({
            "creates": self.creates, "typing": self.typing, "updates": self.updates, "deletes": self.deletes,
            "conversations": self.conversations, "reads": self.reads, "refused": self.refused,
            "unauthorized": self.unauthorized, "throttled": self.throttled,
        })
    }
}

/// What the connector demands and how it answers.
#[derive(Debug, Clone)]
pub struct ConnectorSettings {
    /// Largest body in bytes; more is 413. Default 102,400.
    pub max_body: usize,
    /// Least time between two requests of one stream; less is 429. Default none.
    pub stream_gap: Option<Duration>,
    /// Answer a send with 201 and no body, as Teams sometimes does. Default false.
    pub empty_receipts: bool,
}

impl Default for ConnectorSettings {
    fn default() -> Self {
        Self { max_body: 100 * 1024, stream_gap: None, empty_receipts: false }
    }
}

/// State behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rooms: HashMap<String, Room>,
    /// Teams, by the id of their first channel.
    pub(crate) groups: HashMap<String, Group>,
    pub(crate) meetings: HashMap<String, Meeting>,
    pub(crate) files: HashMap<String, File>,
    pub(crate) batches: HashMap<String, Batch>,
    pub(crate) counters: Counters,
    pub(crate) settings: ConnectorSettings,
    pub(crate) started: Instant,
    throttles: Vec<u64>,
}

/// The record of the whole channel.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        let state = State {
            rooms: HashMap::new(),
            groups: HashMap::new(),
            meetings: HashMap::new(),
            files: HashMap::new(),
            batches: HashMap::new(),
            counters: Counters::default(),
            settings: ConnectorSettings::default(),
            started: Instant::now(),
            throttles: Vec::new(),
        };
        Self { state: Mutex::new(state), version: watch::Sender::new(0) }
    }
}

impl Store {
    /// Reads, and wakes nobody.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes, then wakes everybody who waits.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Fires after each change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An activity id in the form of Teams: 13 digits of milliseconds, never given twice, not by a fresh world either: a
    /// bot that lives on would take it for a message that it knows.
    pub(crate) fn activity_id(&mut self, now: i64) -> String {
        static LAST: AtomicI64 = AtomicI64::new(0);
        let next = |last: i64| now.saturating_mul(1000).max(last.saturating_add(1));
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last)).to_string()
    }

    /// The room of a conversation id in this tenant.
    pub(crate) fn room(&self, tenant: &str, conversation: &str) -> Result<&Room, Problem> {
        let room = self.rooms.get(room_id(conversation)).ok_or_else(Problem::conversation_not_found)?;
        if room.tenant.eq_ignore_ascii_case(tenant) { Ok(room) } else { Err(Problem::conversation_not_found()) }
    }

    pub(crate) fn room_mut(&mut self, tenant: &str, conversation: &str) -> Result<&mut Room, Problem> {
        let room = self.rooms.get_mut(room_id(conversation)).ok_or_else(Problem::conversation_not_found)?;
        if room.tenant.eq_ignore_ascii_case(tenant) { Ok(room) } else { Err(Problem::conversation_not_found()) }
    }

    /// Makes the room if it is new, and adds members it does not have.
    pub(crate) fn open(
        &mut self,
        conversation: &str,
        scope: Scope,
        tenant: &str,
        bot: &str,
        members: Vec<Person>,
    ) -> &mut Room {
        let id = room_id(conversation);
        let room = self.rooms.entry(id.to_owned()).or_insert_with(|| Room::new(scope, tenant, bot, Vec::new()));
        for member in members {
            if room.member(&member.mri).is_none() {
                room.members.push(member);
            }
        }
        room
    }

    /// Records what a user's client is about to post to the bot.
    pub(crate) fn hear(&mut self, conversation: &str, id: &str, activity: Value) {
        let started = self.started;
        if let Some(room) = self.rooms.get_mut(room_id(conversation)) {
            room.push(Author::User, id, conversation, activity, started);
        }
    }

    /// Entries of one room, oldest first.
    pub(crate) fn transcript(&self, conversation: &str) -> Vec<Entry> {
        self.rooms.get(room_id(conversation)).map(|room| room.entries.clone()).unwrap_or_default()
    }

    /// The next `times` authenticated requests are answered 429 with this `Retry-After` in seconds.
    pub(crate) fn throttle(&mut self, times: usize, retry_after: u64) {
        self.throttles.extend(std::iter::repeat_n(retry_after, times));
    }

    pub(crate) fn take_throttle(&mut self) -> Option<u64> {
        if self.throttles.is_empty() { None } else { Some(self.throttles.remove(0)) }
    }

    pub(crate) fn count_refusal(&mut self, status: u16) {
        self.counters.refused += 1;
        match status {
            401 => self.counters.unauthorized += 1,
            429 => self.counters.throttled += 1,
            _ => {}
        }
    }
}
