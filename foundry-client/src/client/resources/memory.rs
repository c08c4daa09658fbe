//! Memory stores: what agents remember of users between conversations.

use std::collections::BTreeMap;

use http::Method;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::types::{Memories, MemoryItem, MemoryKind, MemoryStore, MemoryUpdate};
use super::{MemoryStores, named};
use crate::client::about::about;
use crate::client::call::Call;
use crate::client::error::{Error, ErrorKind, Resource};
use crate::client::lists::ListPage;
use crate::client::page::Paged;
use crate::client::responses::Polling;
use crate::conversation::{Deleted, Page};
use crate::input::InputItem;

/// The opt-in that every call of memory stores needs.
const MEMORY: &str = "MemoryStores=V1Preview";

/// A new memory store.
///
/// ```
/// # use foundry_client::resource::NewMemoryStore;
/// let store = NewMemoryStore::new("preferences", "gpt-4.1", "text-embedding-3-small")
///     .description("What users like")
///     .option("user_profile_enabled", true.into());
/// ```
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct NewMemoryStore {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    definition: Definition,
}

#[derive(Clone, Debug, Serialize)]
struct Definition {
    kind: &'static str,
    chat_model: String,
    embedding_model: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
}

impl NewMemoryStore {
    /// Of the kind `default`, with a deployment that reads conversations and one that finds memories again.
    pub fn new(name: impl Into<String>, chat_model: impl Into<String>, embedding_model: impl Into<String>) -> Self {
        let definition = Definition {
            kind: "default",
            chat_model: chat_model.into(),
            embedding_model: embedding_model.into(),
            options: Map::new(),
        };
        Self { name: name.into(), description: None, metadata: BTreeMap::new(), definition }
    }

    /// Sets an option, for example `user_profile_enabled` or `chat_summary_enabled`.
    pub fn option(mut self, name: impl Into<String>, value: Value) -> Self {
        self.definition.options.insert(name.into(), value);
        self
    }
}

about!(NewMemoryStore);

/// What shall be remembered; see [`MemoryStores::remember`].
#[derive(Clone, Debug, Serialize)]
#[must_use]
pub struct Remember {
    scope: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<InputItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_update_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_delay: Option<u64>,
}

impl Remember {
    /// These items of a conversation, for one scope (mostly one user).
    pub fn new(scope: impl Into<String>, items: impl IntoIterator<Item = InputItem>) -> Self {
        let items = items.into_iter().collect();
        Self { scope: scope.into(), items, previous_update_id: None, update_delay: None }
    }

    /// Goes on after an update: the items are what came since.
    pub fn after(mut self, update_id: impl Into<String>) -> Self {
        self.previous_update_id = Some(update_id.into());
        self
    }

    /// How long the service waits for more before it works, in seconds. A later update within that time takes the place of
    /// this one.
    pub fn delay_seconds(mut self, seconds: u64) -> Self {
        self.update_delay = Some(seconds);
        self
    }
}

impl MemoryStores {
    /// One page of the memory stores. `GET {project}/memory_stores`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn list(&self, query: &ListPage) -> Result<Page<MemoryStore>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All memory stores, page by page.
    pub fn list_all(&self, query: &ListPage) -> Paged<MemoryStore> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListPage) -> Result<Call, Error> {
        Ok(self.project("list_memory_stores", Method::GET)?.query(query.0.iter()))
    }

    /// Reads what is known about a memory store. `GET {project}/memory_stores/{name}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn get(&self, name: &str) -> Result<MemoryStore, Error> {
        self.0.fetch(self.call("get_memory_store", Method::GET, &[name])?).await
    }

    /// Makes a memory store. `POST {project}/memory_stores`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]: [`Conflict`](ErrorKind::Conflict) when the name is taken. Repeated only when the service did not
    /// act.
    pub async fn create(&self, store: &NewMemoryStore) -> Result<MemoryStore, Error> {
        self.0.fetch(self.project("create_memory_store", Method::POST)?.json(store)?).await
    }

    /// Changes the words about a memory store. `POST {project}/memory_stores/{name}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn update(
        &self,
        name: &str,
        description: Option<&str>,
        metadata: Option<&BTreeMap<String, String>>,
    ) -> Result<MemoryStore, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'a BTreeMap<String, String>>,
        }
        // A colon in the name would make a verb of it.
        let call = self.call("update_memory_store", Method::POST, &[plain(name)?])?;
        self.0.fetch(call.json(&Request { description, metadata })?.idempotent()).await
    }

    /// Deletes a memory store with everything in it. `DELETE {project}/memory_stores/{name}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn delete(&self, name: &str) -> Result<Deleted, Error> {
        self.0.delete(self.call("delete_memory_store", Method::DELETE, &[name])?, name).await
    }

    /// Searches the memory of one scope (mostly one user) for what belongs to these items.
    /// `POST {project}/memory_stores/{name}:search_memories`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn search(
        &self,
        name: &str,
        scope: &str,
        items: &[InputItem],
        max_memories: Option<u32>,
    ) -> Result<Memories, Error> {
        self.search_after(name, scope, items, max_memories, None).await
    }

    /// As [`search`](Self::search), as a part of the search before: the items are what came since.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub async fn search_after(
        &self,
        name: &str,
        scope: &str,
        items: &[InputItem],
        max_memories: Option<u32>,
        previous_search_id: Option<&str>,
    ) -> Result<Memories, Error> {
        #[derive(Serialize)]
        struct Request<'a> {
            scope: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            items: &'a [InputItem],
            #[serde(skip_serializing_if = "Option::is_none")]
            previous_search_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            options: Option<Options>,
        }
        #[derive(Serialize)]
        struct Options {
            max_memories: u32,
        }
        let options = max_memories.map(|max_memories| Options { max_memories });
        let request = Request { scope, items, previous_search_id, options };
        let call = self.verb("search_memories", name, "search_memories")?.json(&request)?;
        self.0.fetch(call.idempotent()).await
    }

    /// Lets the service remember what is worth it. It works on its own: look with [`remembered`](Self::remembered), or
    /// [wait](Self::wait_remembered). `POST {project}/memory_stores/{name}:update_memories`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Repeated only when the service did not act.
    pub async fn remember(&self, name: &str, what: &Remember) -> Result<MemoryUpdate, Error> {
        self.0.fetch(self.verb("update_memories", name, "update_memories")?.json(what)?).await
    }

    /// How far an update is. `GET {project}/memory_stores/{name}/updates/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. An update that failed is no error here: look at its status.
    pub async fn remembered(&self, name: &str, update_id: &str) -> Result<MemoryUpdate, Error> {
        self.0.fetch(self.call("get_memory_update", Method::GET, &[name, "updates", update_id])?).await
    }

    /// Waits until an update is done: completed, failed, or superseded by a later one.
    ///
    /// # Errors
    ///
    /// As [`remembered`](Self::remembered); [`Timeout`](ErrorKind::Timeout) at the end of the patience.
    pub async fn wait_remembered(&self, name: &str, update_id: &str, polling: Polling) -> Result<MemoryUpdate, Error> {
        let deadline = Instant::now() + polling.at_most;
        loop {
            let update = self.remembered(name, update_id).await?;
            if !update.is_pending() {
                return Ok(update);
            }
            let next = Instant::now() + polling.every;
            if next > deadline {
                return Err(Error::new(ErrorKind::Timeout));
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Forgets everything of one scope. `POST {project}/memory_stores/{name}:delete_scope`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn delete_scope(&self, name: &str, scope: &str) -> Result<Deleted, Error> {
        let call = self.verb("delete_memory_scope", name, "delete_scope")?;
        self.0.delete(call.json(&serde_json::json!({ "scope": scope }))?.idempotent(), scope).await
    }

    /// Writes one memory. `POST {project}/memory_stores/{name}/items`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Repeated only when the service did not act.
    pub async fn create_item(
        &self,
        name: &str,
        scope: &str,
        kind: &MemoryKind,
        content: &str,
    ) -> Result<MemoryItem, Error> {
        let body = serde_json::json!({ "scope": scope, "kind": kind, "content": content });
        self.0.fetch(self.call("create_memory", Method::POST, &[name, "items"])?.json(&body)?).await
    }

    /// Reads one memory. `GET {project}/memory_stores/{name}/items/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn item(&self, name: &str, id: &str) -> Result<MemoryItem, Error> {
        self.0.fetch(self.call("get_memory", Method::GET, &[name, "items", id])?).await
    }

    /// Writes a memory anew. `POST {project}/memory_stores/{name}/items/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn update_item(&self, name: &str, id: &str, content: &str) -> Result<MemoryItem, Error> {
        let call = self.call("update_memory", Method::POST, &[name, "items", id])?;
        self.0.fetch(call.json(&serde_json::json!({ "content": content }))?.idempotent()).await
    }

    /// Deletes one memory. `DELETE {project}/memory_stores/{name}/items/{id}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn delete_item(&self, name: &str, id: &str) -> Result<Deleted, Error> {
        self.0.delete(self.call("delete_memory", Method::DELETE, &[name, "items", id])?, id).await
    }

    /// One page of the memories of one scope. `POST {project}/memory_stores/{name}/items:list`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn items(
        &self,
        name: &str,
        scope: &str,
        kind: Option<&MemoryKind>,
        query: &ListPage,
    ) -> Result<Page<MemoryItem>, Error> {
        self.0.fetch(self.items_call(name, scope, kind, query)?).await
    }

    /// All memories of one scope, page by page.
    pub fn items_all(&self, name: &str, scope: &str, kind: Option<&MemoryKind>, query: &ListPage) -> Paged<MemoryItem> {
        Paged::new(&self.0, self.items_call(name, scope, kind, query))
    }

    fn items_call(&self, name: &str, scope: &str, kind: Option<&MemoryKind>, query: &ListPage) -> Result<Call, Error> {
        let call = self.call("list_memories", Method::POST, &[name, "items:list"])?;
        let call = call.query(kind.map(|kind| ("kind", kind.as_str()))).query(query.0.iter());
        Ok(call.json(&serde_json::json!({ "scope": scope }))?.idempotent())
    }

    fn verb(&self, operation: &'static str, name: &str, verb: &str) -> Result<Call, Error> {
        self.call(operation, Method::POST, &[&format!("{}:{verb}", plain(name)?)])
    }

    fn project(&self, operation: &'static str, method: Method) -> Result<Call, Error> {
        Ok(self.0.foundry(named(operation, Resource::Project), method, &["memory_stores"])?.feature(MEMORY))
    }

    fn call(&self, operation: &'static str, method: Method, path: &[&str]) -> Result<Call, Error> {
        let path: Vec<&str> = ["memory_stores"].iter().chain(path).copied().collect();
        Ok(self.0.foundry(named(operation, Resource::MemoryStore), method, &path)?.feature(MEMORY))
    }
}

fn plain(name: &str) -> Result<&str, Error> {
    if name.is_empty() || name.contains(':') {
        return Err(Error::misuse("a memory store's name has no colon"));
    }
    Ok(name)
}
