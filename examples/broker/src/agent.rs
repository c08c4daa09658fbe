//! The Foundry side: one conversation there for each conversation in Teams, and an answer of the agent in it.

use std::{fmt, sync::Arc, time::Duration};

use botframework_activity::{Turn, TurnOver, VerifiedActivity};
use entra_auth::{Key, Namespace, Store, StoreError, Table, UserKey};
use foundry_client::{
    AgentReference, CreateConversation, CreateResponse, Error as FoundryError, ErrorKind, FoundryClient, InputItem,
    ItemStatus, ListItems, Order, Resource, Role,
};
use serde::{Deserialize, Serialize};

/// Which Foundry conversation belongs to a Teams conversation. It cannot be made again: the memory is in it.
const CONVERSATIONS: Namespace = Namespace::precious("broker-conversations");
/// A conversation that rests longer than this starts anew.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// The agent, with the map of conversations.
#[derive(Clone)]
pub(crate) struct Agent {
    foundry: FoundryClient,
    name: String,
    conversations: Table<Upstream>,
}

/// The record of the map.
#[derive(Serialize, Deserialize)]
struct Upstream {
    conversation: String,
}

/// How far a turn is, for whoever goes on with it after a crash: the message is in the conversation already.
#[derive(Serialize, Deserialize)]
struct Asked {
    conversation: String,
    item: String,
    begins: bool,
}

/// What the agent said.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Whether it is the first of its conversation.
    pub(crate) begins: bool,
}

/// Why there is no answer. What is shown of it names codes and ids, never text.
#[derive(Debug)]
pub(crate) enum AgentError {
    /// Foundry, or the way there.
    Foundry(FoundryError),
    /// The map of conversations.
    Store(StoreError),
    /// Nobody waits for the answer any more.
    Over(TurnOver),
}

impl Agent {
    pub(crate) fn new(foundry: FoundryClient, name: String, store: Arc<dyn Store>) -> Self {
        Self { foundry, name, conversations: Table::new(store, KEPT) }
    }

    /// Under which key a conversation is kept: that of Teams, and of one user where each has one of their own.
    pub(crate) fn conversation(activity: &VerifiedActivity, user: Option<&UserKey>) -> Key {
        let partition = activity.conversation_key().partition(CONVERSATIONS);
        match user {
            None => partition.key(["foundry"]),
            Some(user) => partition.key(["foundry", user.tenant().as_str(), user.object_id().as_str()]),
        }
    }

    /// The agent's answer to a message in a conversation.
    ///
    /// A conversation that Foundry no longer knows, or that a failed turn has made unusable, is made anew, once; after
    /// any other failure the map stays as it is.
    ///
    /// A turn that goes on after a crash does not ask twice: an answer that the agent has given meanwhile is taken.
    ///
    /// `greeting` is shown before the first answer of a conversation, and is not part of the answer.
    pub(crate) async fn answer(
        &self,
        turn: &Turn,
        key: &Key,
        text: &str,
        greeting: &str,
    ) -> Result<Answer, AgentError> {
        let result = match turn.progress::<Asked>() {
            Some(asked) => self.go_on(turn, asked).await,
            None => self.ask(turn, key, text, greeting).await,
        };
        match result {
            Err(AgentError::Foundry(error)) if is_lost(&error) => {
                tracing::warn!(%error, "the conversation in Foundry is lost; a new one begins");
                self.conversations.remove(key).await?;
                self.ask(turn, key, text, greeting).await
            }
            result => result,
        }
    }

    /// The Foundry conversation, and whether it was made just now. Of several who make one at the same time, one is kept.
    async fn upstream(&self, key: &Key) -> Result<(String, bool), AgentError> {
        if let Some(known) = self.conversations.get(key).await? {
            tracing::info!(target: "hop", "conversation found: {}", known.conversation);
            return Ok((known.conversation, false));
        }
        let made = self.foundry.conversations().create(CreateConversation::new()).await?;
        tracing::info!(target: "hop", "conversation created: {}", made.id);
        let made = Upstream { conversation: made.id };
        if self.conversations.insert(key, &made).await? {
            return Ok((made.conversation, true));
        }
        let winner = self.conversations.get(key).await?;
        Ok((winner.map_or(made.conversation, |winner| winner.conversation), false))
    }

    async fn ask(&self, turn: &Turn, key: &Key, text: &str, greeting: &str) -> Result<Answer, AgentError> {
        let (conversation, begins) = self.upstream(key).await?;
        if begins {
            turn.push(greeting);
        }
        let items = self.foundry.items(&conversation).create([InputItem::user_text(text)]).await?;
        let item = items.data.last().and_then(|item| item.id()).map(str::to_owned);
        if let Some(item) = &item {
            let asked = Asked { conversation: conversation.clone(), item: item.clone(), begins };
            turn.checkpoint(&asked).await.map_err(AgentError::Over)?;
        }
        Ok(Answer { text: self.response(turn, &conversation, item.as_deref()).await?, begins })
    }

    async fn go_on(&self, turn: &Turn, asked: Asked) -> Result<Answer, AgentError> {
        let Asked { conversation, item, begins } = asked;
        let text = match self.given(&conversation, &item).await? {
            Some(text) => text,
            None => self.response(turn, &conversation, Some(&item)).await?,
        };
        Ok(Answer { text, begins })
    }

    /// The answer that the agent has finished to this item of the conversation.
    async fn given(&self, conversation: &str, item: &str) -> Result<Option<String>, FoundryError> {
        let query = ListItems::new().order(Order::Ascending).after(item).limit(100);
        let items = self.foundry.items(conversation).list(&query).await?.data;
        let messages = items.iter().filter_map(|item| item.as_message());
        let answers = messages
            .take_while(|message| message.role == Role::ASSISTANT)
            .filter(|message| !message.is_commentary())
            .filter(|message| message.status.as_ref().is_none_or(|status| *status == ItemStatus::COMPLETED));
        Ok(answers.last().map(|message| message.text()))
    }

    async fn response(&self, turn: &Turn, conversation: &str, item: Option<&str>) -> Result<String, FoundryError> {
        let mut request = CreateResponse::new().agent(AgentReference::new(&self.name)).conversation(conversation);
        // With the item named, an answer that got lost on the way is looked for in the conversation.
        if let Some(id) = item {
            request = request.answers_item(id);
        }
        let mut stream = self.foundry.responses().stream(request).await?;
        let mut events = 0_u32;
        while let Some(event) = stream.next().await {
            if let Some(delta) = event?.output_text_delta() {
                turn.push(delta);
            }
            events += 1;
        }
        let answer = stream.output_text();
        tracing::info!(target: "hop", "{events} events received, {} characters of answer", answer.chars().count());
        // An agent may come to nothing, for example after a tool call without a word; silence would look like a fault.
        Ok(if answer.trim().is_empty() { crate::words::NOTHING.to_owned() } else { answer })
    }
}

fn is_lost(error: &FoundryError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound(Resource::Conversation) | ErrorKind::ConversationPoisoned)
}

impl From<FoundryError> for AgentError {
    fn from(error: FoundryError) -> Self {
        Self::Foundry(error)
    }
}

impl From<StoreError> for AgentError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foundry(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Over(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AgentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Foundry(error) => std::error::Error::source(error),
            Self::Store(error) => std::error::Error::source(error),
            Self::Over(error) => std::error::Error::source(error),
        }
    }
}
