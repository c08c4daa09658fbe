//! What the project remembers: conversations with their items, responses with their events.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::ids;
use super::memory::MemoryStores;
use super::microsoft365::Publication;
use super::registry::Registered;
use super::resources::Stored;
use super::sessions::Session;
use super::sse::Frame;

/// All state of one project, behind one lock that is never held over an await.
#[derive(Debug, Default)]
pub(crate) struct Store {
    conversations: Vec<Conversation>,
    responses: Vec<Record>,
    /// How often each agent was asked, for the behaviours that change with the attempt.
    pub(crate) calls: HashMap<String, u64>,
    /// Agents that were made or changed.
    pub(crate) agents: Vec<Registered>,
    pub(crate) publications: Vec<Publication>,
    pub(crate) files: Vec<Stored>,
    pub(crate) vector_stores: Vec<Value>,
    pub(crate) memory: MemoryStores,
    /// Of all hosted agents.
    pub(crate) sessions: Vec<Session>,
    /// Resources of Resource Manager, by id.
    pub(crate) azure: BTreeMap<String, Value>,
    pub(crate) provider_registered: bool,
}

/// One conversation. `items` is oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) id: String,
    pub(crate) created_at: i64,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) items: Vec<Value>,
    /// The response that is running on it, if any.
    pub(crate) locked_by: Option<String>,
    /// `name:version` of the agents that have answered in it.
    pub(crate) agents: Vec<String>,
}

impl Conversation {
    /// The resource as the wire shows it.
    pub(crate) fn resource(&self) -> Value {
        json!({
            "id": self.id,
            "object": "conversation",
            "created_at": self.created_at,
            "metadata": self.metadata,
        })
    }
}

/// One response: its request, its latest snapshot, and every frame its stream has produced.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) snapshot: Value,
    pub(crate) input: Vec<Value>,
    /// Everything the agent saw before `input`, oldest first.
    pub(crate) history: Vec<Value>,
    pub(crate) conversation: Option<String>,
    pub(crate) previous: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) stored: bool,
    pub(crate) background: bool,
    pub(crate) streamed: bool,
    /// The frames of a background response, for those who come back. Others have one reader, who holds them.
    pub(crate) feed: Option<Arc<Feed>>,
}

impl Record {
    pub(crate) fn status(&self) -> &str {
        self.snapshot.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn output(&self) -> Vec<Value> {
        self.snapshot.get("output").and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

/// The frames of one run. Writers append, readers follow by index.
#[derive(Debug)]
pub(crate) struct Feed {
    frames: std::sync::Mutex<Vec<Frame>>,
    length: watch::Sender<usize>,
    stop: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { frames: std::sync::Mutex::default(), length: watch::Sender::new(0), stop: watch::Sender::new(false) }
    }
}

impl Feed {
    /// Appends a frame and wakes the readers.
    pub(crate) fn push(&self, frame: Frame) {
        let length = {
            let mut frames = self.frames.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            frames.push(frame);
            frames.len()
        };
        self.length.send_replace(length);
    }

    /// Waits for the frame at `index`.
    pub(crate) async fn frame(&self, index: usize) -> Frame {
        let mut length = self.length.subscribe();
        loop {
            let found = {
                let frames = self.frames.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                frames.get(index).cloned()
            };
            if let Some(frame) = found {
                return frame;
            }
            if length.changed().await.is_err() {
                return Frame::End;
            }
        }
    }

    /// Tells the run to stop where it is.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when the run was told to stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Store {
    pub(crate) fn create_conversation(
        &mut self,
        now: i64,
        metadata: Map<String, Value>,
        items: Vec<Value>,
    ) -> Conversation {
        let conversation = Conversation {
            id: ids::fresh("conv"),
            created_at: now,
            metadata,
            items,
            locked_by: None,
            agents: Vec::new(),
        };
        self.conversations.push(conversation.clone());
        conversation
    }

    pub(crate) fn conversation(&self, id: &str) -> Option<&Conversation> {
        self.conversations.iter().rfind(|conversation| conversation.id == id)
    }

    pub(crate) fn conversation_mut(&mut self, id: &str) -> Option<&mut Conversation> {
        self.conversations.iter_mut().rfind(|conversation| conversation.id == id)
    }

    pub(crate) fn remove_conversation(&mut self, id: &str) -> bool {
        let before = self.conversations.len();
        self.conversations.retain(|conversation| conversation.id != id);
        self.conversations.len() != before
    }

    /// All conversations, oldest first.
    pub(crate) fn conversations(&self) -> &[Conversation] {
        &self.conversations
    }

    pub(crate) fn insert(&mut self, record: Record) {
        self.responses.push(record);
    }

    /// A response, whether or not the caller asked to store it.
    pub(crate) fn running(&mut self, id: &str) -> Option<&mut Record> {
        self.responses.iter_mut().rfind(|record| record.id == id)
    }

    /// A response that GET can see.
    pub(crate) fn response(&self, id: &str) -> Option<&Record> {
        self.responses.iter().rfind(|record| record.id == id && record.stored)
    }

    pub(crate) fn remove_response(&mut self, id: &str) {
        self.responses.retain(|record| record.id != id);
    }

    /// All responses GET can see, oldest first.
    pub(crate) fn responses(&self) -> impl Iterator<Item = &Record> {
        self.responses.iter().filter(|record| record.stored)
    }

    /// Ends a run: the snapshot is final, the items go to the conversation, the lock is gone.
    pub(crate) fn settle(&mut self, id: &str, snapshot: Value) {
        let Some(record) = self.running(id) else {
            return;
        };
        let keep_items = !matches!(snapshot.get("status").and_then(Value::as_str), Some("failed" | "cancelled"));
        record.snapshot = snapshot;
        let (output, conversation) = (record.output(), record.conversation.clone());
        if let Some(conversation) = conversation.and_then(|id| self.conversation_mut(&id)) {
            if keep_items {
                conversation.items.extend(output);
            }
            if conversation.locked_by.as_deref() == Some(id) {
                conversation.locked_by = None;
            }
        }
    }

    /// Counts a call of `agent` and returns how many came before it.
    pub(crate) fn count(&mut self, agent: &str) -> u64 {
        let calls = self.calls.entry(agent.to_owned()).or_default();
        *calls += 1;
        *calls - 1
    }
}
