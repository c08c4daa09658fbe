//! The Foundry side: one conversation there for each conversation in Teams, and an answer of the agent in it.

use std::{fmt, sync::Arc, time::Duration};

use botframework_activity::{Turn, TurnOver, VerifiedActivity};
use entra_auth::{Key, Namespace, Store, StoreError, Table, UserKey};
use foundry_client::{
    AgentReference, ConversationFault, CreateConversation, CreateResponse, Decision, Error as FoundryError, ErrorKind,
    FoundryClient, InputItem, Item, ItemStatus, ListItems, Order, Resource, Response, ResponseStatus, ResponseStream,
    Role,
};
use serde::{Deserialize, Serialize};

use crate::answer::{Growing, Said};

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

/// What the agent shall answer to.
#[derive(Debug)]
pub(crate) enum Input {
    /// A message of the user, for the conversation of this key.
    Message(InputItem),
    /// The user's decision about what the agent asked in this conversation.
    Decision { conversation: String, decided: Decided },
}

/// What the user decided about: requests of remote tools, by their ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) requests: Vec<String>,
    pub(crate) approve: bool,
}

/// How far a turn is, for whoever goes on with it after a crash: the message is in the conversation already.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    conversation: String,
    /// The newest item before the answer.
    item: Option<String>,
    begins: bool,
    /// The response that is being made.
    #[serde(default)]
    response: Option<String>,
    /// What goes with the request, because it is no item of the conversation yet.
    #[serde(default)]
    decided: Option<Decided>,
}

/// What the agent said, and where.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// Whether it is the first of its conversation.
    pub(crate) begins: bool,
    /// The conversation in Foundry.
    pub(crate) conversation: String,
    /// The item of the conversation that was answered.
    pub(crate) item: Option<String>,
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

    /// The agent's answer.
    ///
    /// A conversation that Foundry no longer knows is made anew; one that a failed turn has made unusable is copied without
    /// its fault. Each once; after any other failure the map stays as it is.
    ///
    /// A turn that goes on after a crash does not ask twice: an answer that the agent has given meanwhile is taken, and to
    /// one that it is giving is listened.
    ///
    /// `greeting` is shown before the first answer of a conversation, and is not part of the answer.
    pub(crate) async fn answer(
        &self,
        turn: &Turn,
        key: &Key,
        input: Input,
        greeting: &str,
    ) -> Result<Answer, AgentError> {
        let (mut asked, again) = match turn.progress::<Asked>() {
            Some(asked) => (asked, true),
            None => (self.ask(turn, key, &input, greeting).await?, false),
        };
        let said = match self.hear(turn, &mut asked, again).await {
            Err(AgentError::Foundry(error)) => {
                asked = self.heal(turn, key, asked, &input, greeting, error).await?;
                self.hear(turn, &mut asked, false).await?
            }
            said => said?,
        };
        let Asked { conversation, item, begins, .. } = asked;
        Ok(Answer { said, begins, conversation, item })
    }

    /// An earlier message of the user, to send it again.
    pub(crate) async fn earlier(&self, conversation: &str, item: &str) -> Result<Option<InputItem>, AgentError> {
        match self.foundry.items(conversation).get(item).await {
            Ok(item) => Ok(InputItem::again(&item)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The Foundry conversation, and whether it was made just now.
    async fn upstream(&self, key: &Key) -> Result<(String, bool), AgentError> {
        if let Some(known) = self.conversations.get(key).await? {
            tracing::info!(target: "hop", "conversation found: {}", known.conversation);
            return Ok((known.conversation, false));
        }
        let made = self.foundry.conversations().create(CreateConversation::new()).await?;
        tracing::info!(target: "hop", "conversation created: {}", made.id);
        self.keep(key, made.id).await
    }

    /// Of several who make a conversation at the same time, one is kept.
    async fn keep(&self, key: &Key, made: String) -> Result<(String, bool), AgentError> {
        let made = Upstream { conversation: made };
        if self.conversations.insert(key, &made).await? {
            return Ok((made.conversation, true));
        }
        let winner = self.conversations.get(key).await?;
        Ok((winner.map_or(made.conversation, |winner| winner.conversation), false))
    }

    /// Puts what the user said where the agent sees it.
    async fn ask(&self, turn: &Turn, key: &Key, input: &Input, greeting: &str) -> Result<Asked, AgentError> {
        let message = match input {
            Input::Message(message) => message,
            Input::Decision { conversation, decided } => {
                let item = decided.requests.last().cloned();
                let decided = Some(decided.clone());
                let conversation = conversation.clone();
                return self.noted(turn, Asked { conversation, item, begins: false, response: None, decided }).await;
            }
        };
        let (conversation, begins) = self.upstream(key).await?;
        match self.put(turn, conversation.clone(), begins, message, greeting).await {
            Err(AgentError::Foundry(error)) if is_gone(&error) => {
                let (conversation, begins) = self.replace(key, &conversation, error).await?;
                self.put(turn, conversation, begins, message, greeting).await
            }
            asked => asked,
        }
    }

    async fn put(
        &self,
        turn: &Turn,
        conversation: String,
        begins: bool,
        message: &InputItem,
        greeting: &str,
    ) -> Result<Asked, AgentError> {
        let items = self.foundry.items(&conversation).create([message.clone()]).await?;
        if begins {
            turn.push(greeting);
        }
        let item = items.data.last().and_then(Item::id).map(str::to_owned);
        self.noted(turn, Asked { conversation, item, begins, response: None, decided: None }).await
    }

    /// With the item noted, whoever goes on with the turn knows where to look for an answer.
    async fn noted(&self, turn: &Turn, asked: Asked) -> Result<Asked, AgentError> {
        if asked.item.is_some() {
            turn.checkpoint(&asked).await.map_err(AgentError::Over)?;
        }
        Ok(asked)
    }

    /// What the agent says. `again` when it may have said it already, or be saying it.
    async fn hear(&self, turn: &Turn, asked: &mut Asked, again: bool) -> Result<Said, AgentError> {
        let mut is_told = false;
        if again {
            if let Some(response) = self.begun(asked).await? {
                if !response.status.is_pending() {
                    return Ok(Said::of(response.output.iter()));
                }
                tracing::info!(target: "hop", "the agent is still answering; its answer is heard from the beginning");
                let stream = self.foundry.responses().resume(&response.id, None).await?;
                return self.listen(turn, stream, asked).await;
            }
            let items = self.behind(asked).await?;
            if let Some(said) = given(&items) {
                return Ok(said);
            }
            is_told = items.iter().any(|item| matches!(item, Item::McpApprovalResponse(_)));
        }
        // In the background: a stream that breaks goes on where it broke.
        let mut request = CreateResponse::new()
            .agent(AgentReference::new(&self.name))
            .conversation(&asked.conversation)
            .background(true);
        // With the item named, an answer that got lost on the way is looked for in the conversation.
        if let Some(item) = &asked.item {
            request = request.answers_item(item);
        }
        for (id, decision) in asked.decided.iter().filter(|_| !is_told).flat_map(Decided::each) {
            request = request.item(decision.about(id));
        }
        let stream = self.foundry.responses().stream(request).await?;
        self.listen(turn, stream, asked).await
    }

    /// The response that an earlier attempt has begun; none when it came to nothing.
    async fn begun(&self, asked: &mut Asked) -> Result<Option<Response>, FoundryError> {
        let Some(id) = asked.response.take() else { return Ok(None) };
        let useful = [ResponseStatus::COMPLETED, ResponseStatus::INCOMPLETE];
        match self.foundry.responses().get(&id).await {
            Ok(response) if response.status.is_pending() || useful.contains(&response.status) => Ok(Some(response)),
            Err(error) if error.kind() != ErrorKind::NotFound(Resource::Response) => Err(error),
            _ => Ok(None),
        }
    }

    /// What stands in the conversation behind what was asked, up to the next message of a user.
    async fn behind(&self, asked: &Asked) -> Result<Vec<Item>, FoundryError> {
        let Some(item) = &asked.item else { return Ok(Vec::new()) };
        let query = ListItems::new().order(Order::Ascending).after(item).limit(100);
        let items = self.foundry.items(&asked.conversation).list(&query).await?.data;
        let of_agent = |item: &Item| item.as_message().is_none_or(|message| message.role == Role::ASSISTANT);
        Ok(items.into_iter().take_while(of_agent).collect())
    }

    async fn listen(&self, turn: &Turn, mut stream: ResponseStream, asked: &mut Asked) -> Result<Said, AgentError> {
        let mut running = Running { foundry: &self.foundry, response: None };
        let mut growing = Growing::default();
        let mut events = 0_u32;
        while let Some(event) = stream.next().await {
            let event = event?;
            events += 1;
            if event.is_terminal() {
                running.response = None;
            } else if running.response.is_none()
                && let Some(id) = stream.response_id()
            {
                running.response = Some(id.to_owned());
                asked.response = running.response.clone();
                turn.checkpoint(asked).await.map_err(AgentError::Over)?;
            }
            if let Some(text) = growing.more(&event) {
                turn.push(text);
            }
        }
        let response = stream.finish().await?;
        let said = Said::of(response.output.iter());
        let length = said.text.text.chars().count();
        tracing::info!(target: "hop", "{events} events received, {length} characters of answer");
        Ok(said)
    }

    /// What was asked, in a conversation in place of one that does not work any more.
    async fn heal(
        &self,
        turn: &Turn,
        key: &Key,
        asked: Asked,
        input: &Input,
        greeting: &str,
        error: FoundryError,
    ) -> Result<Asked, AgentError> {
        // A question of the agent lives in its conversation, and dies with it.
        let Input::Message(message) = input else { return Err(error.into()) };
        let gone = is_gone(&error);
        let (conversation, begins) = self.replace(key, &asked.conversation, error).await?;
        if gone {
            return self.put(turn, conversation, begins, message, greeting).await;
        }
        // The message was copied with the rest: it is the newest item.
        let newest = ListItems::new().order(Order::Descending).limit(1);
        let items = self.foundry.items(&conversation).list(&newest).await?;
        let item = items.data.last().and_then(Item::id).map(str::to_owned);
        self.noted(turn, Asked { conversation, item, begins: asked.begins, response: None, decided: None }).await
    }

    /// A conversation in place of this one, and whether it was made just now; the error itself when that is no help.
    async fn replace(&self, key: &Key, old: &str, error: FoundryError) -> Result<(String, bool), AgentError> {
        let Some(fault) = error.conversation_fault() else { return Err(error.into()) };
        let Some(made) = self.foundry.conversations().replace(old, fault).await? else { return Err(error.into()) };
        tracing::warn!(%error, "the conversation in Foundry does not work any more; another one takes its place");
        self.conversations.remove(key).await?;
        self.keep(key, made.id).await
    }
}

impl Decided {
    /// Each request with the decision about it.
    fn each(&self) -> impl Iterator<Item = (&str, Decision)> {
        let decision = match self.approve {
            true => Decision::Approve,
            false => Decision::Deny { reason: Some("The user declined.".to_owned()) },
        };
        self.requests.iter().map(move |id| (id.as_str(), decision.clone()))
    }
}

/// Stops the agent when nobody listens any more: the response would keep the conversation busy. Before the first event,
/// when its id is not known, the client does so by itself.
struct Running<'a> {
    foundry: &'a FoundryClient,
    response: Option<String>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.response.take(), tokio::runtime::Handle::try_current()) else { return };
        let responses = self.foundry.responses();
        runtime.spawn(async move {
            // One that has ended meanwhile cannot be cancelled, and need not be.
            let result = responses.cancel(&id).await;
            tracing::debug!(cancelled = result.is_ok(), "nobody waits for the response any more");
        });
    }
}

/// The answer that the agent has finished, among the items behind what was asked.
fn given(items: &[Item]) -> Option<Said> {
    let is_whole = |item: &&Item| match item.as_message() {
        Some(message) => message.status.as_ref().is_none_or(|status| *status == ItemStatus::COMPLETED),
        None => true,
    };
    let spoke = items.iter().filter(is_whole).filter_map(Item::as_message).any(|message| !message.is_commentary());
    let said = Said::of(items.iter().filter(is_whole));
    (spoke || said.asks()).then_some(said)
}

fn is_gone(error: &FoundryError) -> bool {
    error.conversation_fault() == Some(ConversationFault::NotFound)
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
