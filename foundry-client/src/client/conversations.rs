//! Conversations and their items.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use crate::client::Shared;
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, ErrorKind, Resource};
use crate::client::lists::{ListConversations, ListItems};
use crate::client::page::Paged;
use crate::conversation::{Conversation, CreateConversation, Deleted, Page};
use crate::input::InputItem;
use crate::items::Item;

/// The most items the service takes in one request.
pub(crate) const MAX_ITEMS: usize = 20;

const GET: Operation = Operation::Plain("get_conversation", Resource::Conversation);
const UPDATE: Operation = Operation::Plain("update_conversation", Resource::Conversation);
const DELETE: Operation = Operation::Plain("delete_conversation", Resource::Conversation);
const LIST: Operation = Operation::Plain("list_conversations", Resource::Project);
const GET_ITEM: Operation = Operation::Plain("get_item", Resource::Item);
const DELETE_ITEM: Operation = Operation::Plain("delete_item", Resource::Item);

/// Conversations of the project; from [`FoundryClient::conversations`](crate::FoundryClient::conversations).
///
/// Shapes: <https://platform.openai.com/docs/api-reference/conversations>. All errors are told by their
/// [`ErrorKind`]; a conversation that is gone, or is another user's, is
/// [`NotFound`](ErrorKind::NotFound)([`Conversation`](Resource::Conversation)).
#[derive(Clone)]
pub struct Conversations(Arc<Shared>);

impl Conversations {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Makes a conversation. Its id comes from the service only.
    ///
    /// `POST {base}/conversations` (<https://platform.openai.com/docs/api-reference/conversations/create>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Repeated only when the service did not act; after an ambiguous failure an empty conversation
    /// may be left behind, which costs nothing.
    pub async fn create(&self, request: CreateConversation) -> Result<Conversation, Error> {
        if request.item_count() > MAX_ITEMS {
            return Err(Error::new(ErrorKind::InvalidRequest));
        }
        let call = self.0.openai(Operation::CreateConversation, Method::POST, &["conversations"])?.json(&request)?;
        self.0.fetch(call).await
    }

    /// Reads a conversation: when it was made, and its metadata. `GET {base}/conversations/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn get(&self, id: &str) -> Result<Conversation, Error> {
        self.0.fetch(self.0.openai(GET, Method::GET, &["conversations", id])?).await
    }

    /// Replaces the metadata: at most 16 pairs, keys of 64 and values of 512 characters.
    /// `POST {base}/conversations/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated: the last writer wins anyway.
    pub async fn update<K: Into<String>, V: Into<String>>(
        &self,
        id: &str,
        metadata: impl IntoIterator<Item = (K, V)> + Send,
    ) -> Result<Conversation, Error> {
        #[derive(Serialize)]
        struct Request {
            metadata: BTreeMap<String, String>,
        }
        let metadata = metadata.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let call = self.0.openai(UPDATE, Method::POST, &["conversations", id])?.json(&Request { metadata })?;
        self.0.fetch(call.idempotent()).await
    }

    /// Deletes a conversation. Its items are not deleted with it, the service says.
    /// `DELETE {base}/conversations/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated; one that is gone by then counts as deleted.
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        self.0.delete(self.0.openai(DELETE, Method::DELETE, &["conversations", id])?, id).await
    }

    /// One page of the project's conversations. The service's own addition; other servers have no such list.
    /// `GET {base}/conversations`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn list(&self, query: &ListConversations) -> Result<Page<Conversation>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All of the project's conversations, page by page.
    pub fn list_all(&self, query: &ListConversations) -> Paged<Conversation> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListConversations) -> Result<Call, Error> {
        Ok(self.0.openai(LIST, Method::GET, &["conversations"])?.query(query.0.iter()))
    }
}

/// Items of one conversation; from [`FoundryClient::items`](crate::FoundryClient::items).
#[derive(Clone)]
pub struct Items {
    shared: Arc<Shared>,
    conversation: String,
}

impl Items {
    pub(crate) fn new(shared: Arc<Shared>, conversation: String) -> Self {
        Self { shared, conversation }
    }

    /// Adds at most 20 items and returns them with their ids.
    ///
    /// `POST {base}/conversations/{id}/items`
    /// (<https://platform.openai.com/docs/api-reference/conversations/create-items>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`ErrorKind::InvalidRequest`] without sending anything for no items or more than 20. Repeated
    /// only when the service did not act.
    pub async fn create(&self, items: impl IntoIterator<Item = InputItem> + Send) -> Result<Page<Item>, Error> {
        self.create_with(items, &[]).await
    }

    /// As [`create`](Self::create), with additional parts in the answer, for example `file_search_call.results`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_with(
        &self,
        items: impl IntoIterator<Item = InputItem> + Send,
        include: &[&str],
    ) -> Result<Page<Item>, Error> {
        #[derive(Serialize)]
        struct Request {
            items: Vec<InputItem>,
        }
        let request = Request { items: items.into_iter().collect() };
        if request.items.is_empty() || request.items.len() > MAX_ITEMS {
            return Err(Error::new(ErrorKind::InvalidRequest));
        }
        let path = ["conversations", &self.conversation, "items"];
        let call = self.shared.openai(Operation::CreateItems, Method::POST, &path)?.json(&request)?;
        self.shared.fetch(call.query(include.iter().map(|part| ("include[]", *part)))).await
    }

    /// One page of the conversation's items.
    ///
    /// `GET {base}/conversations/{id}/items`
    /// (<https://platform.openai.com/docs/api-reference/conversations/list-items>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn list(&self, query: &ListItems) -> Result<Page<Item>, Error> {
        self.shared.fetch(list_call(&self.shared, &self.conversation, query)?).await
    }

    /// All of the conversation's items, page by page.
    pub fn list_all(&self, query: &ListItems) -> Paged<Item> {
        Paged::new(&self.shared, list_call(&self.shared, &self.conversation, query))
    }

    /// Reads one item. `GET {base}/conversations/{id}/items/{item}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn get(&self, item_id: &str) -> Result<Item, Error> {
        self.shared.fetch(self.one(GET_ITEM, Method::GET, item_id)?).await
    }

    /// Takes an item out of the conversation, and returns the conversation.
    /// `DELETE {base}/conversations/{id}/items/{item}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn delete(&self, item_id: &str) -> Result<Conversation, Error> {
        self.shared.fetch(self.one(DELETE_ITEM, Method::DELETE, item_id)?).await
    }

    fn one(&self, operation: Operation, method: Method, item: &str) -> Result<Call, Error> {
        self.shared.openai(operation, method, &["conversations", &self.conversation, "items", item])
    }
}

pub(crate) fn list_call(shared: &Shared, conversation: &str, query: &ListItems) -> Result<Call, Error> {
    let call = shared.openai(Operation::ListItems, Method::GET, &["conversations", conversation, "items"])?;
    Ok(call.query(query.0.iter()))
}

impl fmt::Debug for Conversations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversations")
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}
