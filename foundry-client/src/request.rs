//! The request that makes an agent answer.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::agent::AgentReference;
use crate::input::InputItem;
use crate::raw::RawJson;

/// What the agent or model shall answer to.
///
/// Everything is optional; a usual turn of a bot is a conversation, an agent and the user's text:
///
/// ```
/// # use foundry_client::CreateResponse;
/// let request = CreateResponse::new().agent("helpdesk").conversation("conv_1").text("hello");
/// assert_eq!(
///     serde_json::to_string(&request)?,
///     r#"{"agent_reference":{"type":"agent_reference","name":"helpdesk"},"conversation":"conv_1","input":"hello"}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Members: <https://platform.openai.com/docs/api-reference/responses/create>.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CreateResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_reference: Option<AgentReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_session_id: Option<String>,
    #[serde(flatten)]
    after: Option<After>,
    #[serde(skip_serializing_if = "Input::is_empty")]
    input: Input,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    structured_inputs: BTreeMap<String, RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    other: BTreeMap<String, serde_json::Value>,
    #[serde(skip)]
    anchor: Option<String>,
}

/// The service refuses both in one request.
#[derive(Clone, Debug, Serialize)]
enum After {
    #[serde(rename = "conversation")]
    Conversation(String),
    #[serde(rename = "previous_response_id")]
    Response(String),
}

#[derive(Clone, Debug, Default)]
enum Input {
    #[default]
    None,
    Text(String),
    Items(Vec<InputItem>),
}

#[derive(Clone, Debug, Serialize)]
struct StreamOptions {
    include_obfuscation: bool,
}

impl CreateResponse {
    /// A request without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent of the project that shall answer.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<AgentReference>) -> Self {
        self.agent_reference = Some(agent.into());
        self
    }

    /// The model deployment that shall answer; only without an agent.
    #[must_use]
    pub fn model(mut self, deployment: impl Into<String>) -> Self {
        self.model = Some(deployment.into());
        self
    }

    /// Goes on in a conversation, by its id. Replaces [`previous_response_id`](Self::previous_response_id).
    #[must_use]
    pub fn conversation(mut self, id: impl Into<String>) -> Self {
        self.after = Some(After::Conversation(id.into()));
        self
    }

    /// Goes on after a response, by its id. Replaces [`conversation`](Self::conversation): the service
    /// refuses both together.
    #[must_use]
    pub fn previous_response_id(mut self, id: impl Into<String>) -> Self {
        self.after = Some(After::Response(id.into()));
        self
    }

    /// What the user says, as plain text. Replaces items given before.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.input = Input::Text(text.into());
        self
    }

    /// Adds an input item. A text given before becomes the item before it.
    #[must_use]
    pub fn item(mut self, item: InputItem) -> Self {
        self.input = match self.input {
            Input::None => Input::Items(vec![item]),
            Input::Text(text) => Input::Items(vec![InputItem::user_text(text), item]),
            Input::Items(mut items) => {
                items.push(item);
                Input::Items(items)
            }
        };
        self
    }

    /// Instructions of the application for this response.
    #[must_use]
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// The most tokens to write, reasoning included.
    #[must_use]
    pub fn max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = Some(tokens);
        self
    }

    /// Whether the service keeps the response. Its default is to keep it.
    #[must_use]
    pub fn store(mut self, store: bool) -> Self {
        self.store = Some(store);
        self
    }

    /// Asks for an additional part of the output, for example `file_search_call.results`.
    #[must_use]
    pub fn include(mut self, part: impl Into<String>) -> Self {
        self.include.push(part.into());
        self
    }

    /// Adds a pair of the application. The service takes at most 16.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// A value for a placeholder in the agent's definition.
    #[must_use]
    pub fn structured_input(mut self, name: impl Into<String>, value: RawJson) -> Self {
        self.structured_inputs.insert(name.into(), value);
        self
    }

    /// Stays in a hosted agent's sandbox; from [`Response::agent_session_id`](crate::Response::agent_session_id).
    #[must_use]
    pub fn agent_session_id(mut self, id: impl Into<String>) -> Self {
        self.agent_session_id = Some(id.into());
        self
    }

    /// Whether deltas of a stream are padded against traffic analysis. The service's default is to pad.
    #[must_use]
    pub fn include_obfuscation(mut self, include: bool) -> Self {
        self.stream_options = Some(StreamOptions { include_obfuscation: include });
        self
    }

    /// Any other member of the request body. Names of members that have a method here, and `stream`, are ignored.
    #[must_use]
    pub fn other(mut self, name: impl Into<String>, value: serde_json::Value) -> Self {
        let name = name.into();
        if !OWN_MEMBERS.contains(&name.as_str()) {
            self.other.insert(name, value);
        }
        self
    }

    /// The id of the last item in the conversation before the answer: the user's item made with
    /// `items().create`, or the newest item when the input rides in this request.
    ///
    /// Not sent. When the service's answer to this request is lost, the client looks for an assistant
    /// message behind this item before it gives up; without it, such a failure is always ambiguous.
    #[must_use]
    pub fn answers_item(mut self, item_id: impl Into<String>) -> Self {
        self.anchor = Some(item_id.into());
        self
    }

    /// The agent, when one is named.
    #[must_use]
    pub fn agent_name(&self) -> Option<&str> {
        self.agent_reference.as_ref().map(|agent| agent.name.as_str())
    }

    /// The conversation, when the request goes on in one.
    #[must_use]
    pub fn conversation_id(&self) -> Option<&str> {
        match &self.after {
            Some(After::Conversation(id)) => Some(id),
            _ => None,
        }
    }

    #[cfg(feature = "client")]
    pub(crate) fn model_name(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The item set with [`answers_item`](Self::answers_item).
    #[must_use]
    pub fn answered_item_id(&self) -> Option<&str> {
        self.anchor.as_deref()
    }

    #[cfg(feature = "client")]
    pub(crate) fn streamed(mut self) -> Self {
        self.stream = Some(true);
        self
    }
}

const OWN_MEMBERS: &[&str] = &[
    "model",
    "agent_reference",
    "agent_session_id",
    "conversation",
    "previous_response_id",
    "input",
    "instructions",
    "max_output_tokens",
    "store",
    "include",
    "metadata",
    "structured_inputs",
    "stream",
    "stream_options",
];

impl Input {
    fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Items(items) => items.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_member_is_written_under_its_name() {
        let request = CreateResponse::new()
            .model("gpt")
            .agent(AgentReference::new("a").with_version("2"))
            .previous_response_id("resp_0")
            .text("one")
            .item(InputItem::function_call_output("c", "2"))
            .instructions("short")
            .max_output_tokens(9)
            .store(false)
            .include("x.y")
            .metadata("k", "v")
            .structured_input("customer", RawJson::from_value(&"Contoso").unwrap())
            .agent_session_id("s")
            .include_obfuscation(false)
            .other("temperature", json!(0.5))
            .other("stream", json!(true))
            .answers_item("msg_1");
        let expected = json!({
            "model": "gpt",
            "agent_reference": {"type": "agent_reference", "name": "a", "version": "2"},
            "previous_response_id": "resp_0",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
                {"type": "function_call_output", "call_id": "c", "output": "2"}
            ],
            "instructions": "short",
            "max_output_tokens": 9,
            "store": false,
            "include": ["x.y"],
            "metadata": {"k": "v"},
            "structured_inputs": {"customer": "Contoso"},
            "agent_session_id": "s",
            "stream_options": {"include_obfuscation": false},
            "temperature": 0.5
        });
        let written = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), expected);
    }

    #[test]
    fn a_conversation_and_a_previous_response_never_meet() {
        let request = CreateResponse::new().previous_response_id("r").conversation("c");
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"conversation":"c"}"#);
        let request = CreateResponse::new().conversation("c").previous_response_id("r");
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"previous_response_id":"r"}"#);
        assert_eq!(request.conversation_id(), None);
    }
}
