//! What can be wrong with a conversation, and how a turn gets its answer all the same.

use std::sync::Arc;

use crate::client::Shared;
use crate::client::conversations::{Conversations, Items, MAX_ITEMS};
use crate::client::error::{Error, ErrorKind, Resource};
use crate::client::lists::{ListItems, Order};
use crate::client::responses::Responses;
use crate::client::stream::ResponseStream;
use crate::conversation::{Conversation, CreateConversation};
use crate::input::InputItem;
use crate::items::{Item, ItemKind};
use crate::request::CreateResponse;
use crate::response::Response;

/// The most items that are carried over into a new conversation: the newest.
const MAX_HISTORY: usize = 200;

/// What is wrong with a conversation; from [`Error::conversation_fault`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConversationFault {
    /// Another response is being made in it (400 from models, 409 from hosted agents). The client has already waited and
    /// repeated; serialise turns to avoid it.
    Locked,
    /// A failed turn left a tool call without its output, or the reverse; every later turn in it fails.
    Poisoned,
    /// It is gone, or another user's.
    NotFound,
}

impl Error {
    /// What is wrong with the conversation, when that is why the call failed.
    #[must_use]
    pub fn conversation_fault(&self) -> Option<ConversationFault> {
        match self.kind() {
            ErrorKind::ConversationLocked => Some(ConversationFault::Locked),
            ErrorKind::ConversationPoisoned => Some(ConversationFault::Poisoned),
            ErrorKind::NotFound(Resource::Conversation) => Some(ConversationFault::NotFound),
            _ => None,
        }
    }
}

/// An answer, and the conversation that took the place of the one asked for, if one had to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Healed<T> {
    /// The answer.
    pub answer: T,
    /// The conversation to go on in from now on, when it is another one. Keep its id in place of the old one's.
    pub replaced: Option<Conversation>,
}

impl Conversations {
    /// A new conversation in place of one that a call failed on, or none when the fault is of another kind.
    ///
    /// For one that is [gone](ConversationFault::NotFound) an empty one. For a
    /// [poisoned](ConversationFault::Poisoned) one a copy of its newest 200 items without tool calls that have no output
    /// and outputs that have no call; the old one stays as it is.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn replace(&self, id: &str, fault: ConversationFault) -> Result<Option<Conversation>, Error> {
        match fault {
            ConversationFault::Locked => Ok(None),
            ConversationFault::NotFound => self.create(CreateConversation::new()).await.map(Some),
            ConversationFault::Poisoned => self.copy(id).await.map(Some),
        }
    }

    async fn copy(&self, id: &str) -> Result<Conversation, Error> {
        let shared = self.shared();
        let mut newest = Items::new(Arc::clone(shared), id.to_owned())
            .list_all(&ListItems::new().order(Order::Descending).limit(100));
        let mut items = Vec::new();
        while let Some(item) = newest.next().await {
            items.push(item?);
            if items.len() == MAX_HISTORY {
                break;
            }
        }
        items.reverse();
        let history = replayable(&items);
        let mut groups = history.chunks(MAX_ITEMS);
        let first = groups.next().unwrap_or_default().iter().cloned();
        let made = self.create(first.fold(CreateConversation::new(), CreateConversation::item)).await?;
        let rest = Items::new(Arc::clone(shared), made.id.clone());
        for group in groups {
            rest.create(group.iter().cloned()).await?;
        }
        tracing::info!(target: "foundry_client", { items = history.len() }, "the conversation was copied without its fault");
        Ok(made)
    }
}

/// Items as they can be sent again: without ids of the old conversation, without halves of tool calls, and without what
/// only the service may write.
fn replayable(items: &[Item]) -> Vec<InputItem> {
    let has = |id: &str, output: bool| items.iter().any(|item| call_id(item) == Some((id, output)));
    let whole = |item: &&Item| match call_id(item) {
        Some((id, output)) => has(id, !output),
        None => item.kind() == ItemKind::MESSAGE,
    };
    items.iter().filter(whole).filter_map(InputItem::again).collect()
}

/// The id that ties a function call to its output, and whether the item is the output.
fn call_id(item: &Item) -> Option<(&str, bool)> {
    match item {
        Item::FunctionCall(call) => Some((&call.call_id, false)),
        Item::FunctionCallOutput(output) => Some((&output.call_id, true)),
        _ => None,
    }
}

impl Responses {
    /// As [`create`](Self::create); when the conversation is gone or poisoned, once more in a
    /// [replacement](Conversations::replace) of it.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_healing(&self, request: CreateResponse) -> Result<Healed<Response>, Error> {
        match self.create(request.clone()).await {
            Ok(answer) => Ok(Healed { answer, replaced: None }),
            Err(error) => {
                let (request, replaced) = self.heal(request, error).await?;
                Ok(Healed { answer: self.create(request).await?, replaced: Some(replaced) })
            }
        }
    }

    /// As [`stream`](Self::stream); when the conversation is gone or poisoned, once more in a
    /// [replacement](Conversations::replace) of it. Only what the service says before the stream begins can be healed.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    pub async fn stream_healing(&self, request: CreateResponse) -> Result<Healed<ResponseStream>, Error> {
        match self.stream(request.clone()).await {
            Ok(answer) => Ok(Healed { answer, replaced: None }),
            Err(error) => {
                let (request, replaced) = self.heal(request, error).await?;
                Ok(Healed { answer: self.stream(request).await?, replaced: Some(replaced) })
            }
        }
    }

    async fn heal(&self, request: CreateResponse, error: Error) -> Result<(CreateResponse, Conversation), Error> {
        let (Some(fault), Some(id)) = (error.conversation_fault(), request.conversation_id()) else {
            return Err(error);
        };
        let shared: &Arc<Shared> = self.shared();
        // What healing meets is worth less than what went wrong first.
        match Conversations::new(Arc::clone(shared)).replace(id, fault).await {
            Ok(Some(made)) => Ok((request.moved_to(&made.id), made)),
            Ok(None) => Err(error),
            Err(second) => Err(error.with_source(second)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn halves_of_tool_calls_and_ids_are_left_out() {
        let items: Vec<Item> = serde_json::from_value(json!([
            {"type": "message", "id": "msg_1", "role": "user", "status": "completed",
             "content": [{"type": "input_text", "text": "q"}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "1"},
            {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "id": "fco_3", "call_id": "c3", "output": "1"},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_2", "role": "assistant", "response_id": "resp_1", "phase": "final_answer",
             "agent_reference": null, "content": [{"type": "output_text", "text": "a"}]}
        ]))
        .unwrap();
        let kept: Vec<Value> = replayable(&items).iter().map(|item| serde_json::to_value(item).unwrap()).collect();
        assert_eq!(
            kept,
            [
                json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]}),
                json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}),
                json!({"type": "function_call_output", "call_id": "c1", "output": "1"}),
                json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}),
            ]
        );
    }
}
