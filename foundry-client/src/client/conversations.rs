//! Conversations and their items.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument;

use crate::client::Shared;
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, ErrorKind};
use crate::client::telemetry::call_span;
use crate::conversation::{Conversation, CreateConversation, Page};
use crate::input::InputItem;
use crate::items::Item;

/// The most items the service takes in one request.
const MAX_ITEMS: usize = 20;

/// Conversations of the project; from [`FoundryClient::conversations`](crate::FoundryClient::conversations).
#[derive(Clone)]
pub struct Conversations(Arc<Shared>);

impl Conversations {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Makes a conversation. Its id comes from the service only.
    ///
    /// `POST {project}/openai/v1/conversations`
    /// (<https://platform.openai.com/docs/api-reference/conversations/create>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Repeated only when the service did not act; after an ambiguous failure an empty conversation
    /// may be left behind, which costs nothing.
    pub async fn create(&self, request: CreateConversation) -> Result<Conversation, Error> {
        let operation = Operation::CreateConversation;
        if request.item_count() > MAX_ITEMS {
            return Err(Error::new(ErrorKind::InvalidRequest));
        }
        let url = self.0.endpoint.openai(&["conversations"])?;
        let call = Call::post(&self.0, operation, url, &request)?;
        self.0.json(&call).instrument(call_span(operation, self.0.endpoint.host())).await
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
    /// `POST {project}/openai/v1/conversations/{id}/items`
    /// (<https://platform.openai.com/docs/api-reference/conversations/create-items>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`ErrorKind::InvalidRequest`] without sending anything for no items or more than 20. Repeated
    /// only when the service did not act.
    pub async fn create(&self, items: impl IntoIterator<Item = InputItem> + Send) -> Result<Page<Item>, Error> {
        #[derive(Serialize)]
        struct Request {
            items: Vec<InputItem>,
        }
        let request = Request { items: items.into_iter().collect() };
        if request.items.is_empty() || request.items.len() > MAX_ITEMS {
            return Err(Error::new(ErrorKind::InvalidRequest));
        }
        let url = self.shared.endpoint.openai(&["conversations", &self.conversation, "items"])?;
        let call = Call::post(&self.shared, Operation::CreateItems, url, &request)?;
        self.run(&call, Operation::CreateItems).await
    }

    /// One page of the conversation's items.
    ///
    /// `GET {project}/openai/v1/conversations/{id}/items`
    /// (<https://platform.openai.com/docs/api-reference/conversations/list-items>).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. Passing failures are repeated.
    pub async fn list(&self, query: &ListItems) -> Result<Page<Item>, Error> {
        let call = list_call(&self.shared, &self.conversation, query)?;
        self.run(&call, Operation::ListItems).await
    }

    async fn run(&self, call: &Call, operation: Operation) -> Result<Page<Item>, Error> {
        self.shared.json(call).instrument(call_span(operation, self.shared.endpoint.host())).await
    }
}

pub(crate) fn list_call(shared: &Shared, conversation: &str, query: &ListItems) -> Result<Call, Error> {
    let mut url = shared.endpoint.openai(&["conversations", conversation, "items"])?;
    query.write(&mut url);
    Ok(Call::get(shared, Operation::ListItems, url))
}

/// Which items to list. Without settings: the service's default, the 20 newest, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListItems {
    limit: Option<u32>,
    order: Option<Order>,
    after: Option<String>,
    before: Option<String>,
    include: Vec<String>,
}

/// The order of a list.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl ListItems {
    /// The service's defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most items on a page, 1 to 100.
    #[must_use]
    pub fn limit(mut self, items: u32) -> Self {
        self.limit = Some(items);
        self
    }

    /// The order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = Some(order);
        self
    }

    /// Only items behind this one in the order: [`Page::last_id`] for the next page.
    #[must_use]
    pub fn after(mut self, item_id: impl Into<String>) -> Self {
        self.after = Some(item_id.into());
        self
    }

    /// Only items in front of this one in the order.
    #[must_use]
    pub fn before(mut self, item_id: impl Into<String>) -> Self {
        self.before = Some(item_id.into());
        self
    }

    /// Asks for an additional part of the items, for example `file_search_call.results`.
    #[must_use]
    pub fn include(mut self, part: impl Into<String>) -> Self {
        self.include.push(part.into());
        self
    }

    fn write(&self, url: &mut url::Url) {
        let order = self.order.map(|order| match order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        });
        let limit = self.limit.map(|limit| limit.to_string());
        let members = [
            ("limit", limit.as_deref()),
            ("order", order),
            ("after", self.after.as_deref()),
            ("before", self.before.as_deref()),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let include = self.include.iter().map(|part| ("include[]", part.as_str()));
        let pairs: Vec<_> = members.chain(include).collect();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
    }
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
