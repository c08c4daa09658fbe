//! The request that makes an agent answer.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::agent::AgentReference;
use crate::input::InputItem;
use crate::raw::RawJson;
use crate::tool::Tool;

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

    /// Lets the service go on when nobody listens, and keeps the response: poll it with `responses().wait`, or stream
    /// it and resume a stream that broke.
    #[must_use]
    pub fn background(self, background: bool) -> Self {
        let this = self.set("background", background.into());
        if background { this.store(true) } else { this }
    }

    /// Adds a tool for this response. A prompt agent brings its own tools; this is mostly for models.
    #[must_use]
    pub fn tool(mut self, tool: &Tool) -> Self {
        let tool = serde_json::to_value(tool).unwrap_or_default();
        match self.other.get_mut("tools").and_then(serde_json::Value::as_array_mut) {
            Some(tools) => tools.push(tool),
            None => return self.set("tools", serde_json::Value::Array(vec![tool])),
        }
        self
    }

    /// Which tool the model shall use: `auto`, `none`, `required`, or the object that names one.
    #[must_use]
    pub fn tool_choice(self, choice: impl Into<serde_json::Value>) -> Self {
        self.set("tool_choice", choice.into())
    }

    /// Whether the model may call several functions at once. The service's default is yes.
    #[must_use]
    pub fn parallel_tool_calls(self, parallel: bool) -> Self {
        self.set("parallel_tool_calls", parallel.into())
    }

    /// The most calls of the service's own tools.
    #[must_use]
    pub fn max_tool_calls(self, calls: u32) -> Self {
        self.set("max_tool_calls", calls.into())
    }

    /// How freely the model chooses its words, 0 to 2. Reasoning models take none.
    #[must_use]
    pub fn temperature(self, temperature: f64) -> Self {
        self.set("temperature", temperature.into())
    }

    /// The share of likely words the model chooses from, 0 to 1.
    #[must_use]
    pub fn top_p(self, share: f64) -> Self {
        self.set("top_p", share.into())
    }

    /// How much a reasoning model thinks: `minimal`, `low`, `medium`, `high`.
    #[must_use]
    pub fn reasoning_effort(self, effort: impl Into<String>) -> Self {
        self.set("reasoning", serde_json::json!({ "effort": effort.into() }))
    }

    /// What happens when the conversation is longer than the model can read: `auto` drops its middle, `disabled` fails.
    #[must_use]
    pub fn truncation(self, how: impl Into<String>) -> Self {
        self.set("truncation", how.into().into())
    }

    /// A stable id of the user for the service's abuse detection. Give a hash, not a name.
    #[must_use]
    pub fn safety_identifier(self, id: impl Into<String>) -> Self {
        self.set("safety_identifier", id.into().into())
    }

    /// Keeps a conversation on one model when a router chooses among several.
    #[must_use]
    pub fn session_affinity(self, session_id: impl Into<String>) -> Self {
        let affinity = serde_json::json!({ "mode": "sticky", "session_id": session_id.into() });
        self.set("routing_config", serde_json::json!({ "session_affinity": affinity }))
    }

    /// The answer shall be JSON of this schema. `name` has letters, digits, `_` and `-`, at most 64.
    ///
    /// Strict: the service wants `additionalProperties: false` and every property required, and then holds the model to
    /// it. Read the answer with [`Response::output_json`](crate::Response::output_json).
    #[must_use]
    pub fn json_schema(self, name: impl Into<String>, schema: &serde_json::Value) -> Self {
        let name: String = name.into();
        let format = serde_json::json!({ "type": "json_schema", "name": name, "schema": schema, "strict": true });
        self.set("text", serde_json::json!({ "format": format }))
    }

    /// The answer shall be JSON that reads as `T`: [`json_schema`](Self::json_schema) with the schema of the type.
    #[cfg(feature = "tools")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tools")))]
    #[must_use]
    pub fn output_type<T: schemars::JsonSchema>(self) -> Self {
        self.json_schema(crate::tools::type_name::<T>(), &crate::tools::strict_schema::<T>())
    }

    fn set(mut self, name: &str, value: serde_json::Value) -> Self {
        self.other.insert(name.to_owned(), value);
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
    pub(crate) fn is_background(&self) -> bool {
        self.other.get("background").and_then(serde_json::Value::as_bool) == Some(true)
    }

    /// The same turn in another conversation. Its items have other ids.
    #[cfg(feature = "client")]
    pub(crate) fn moved_to(mut self, conversation: &str) -> Self {
        self.after = Some(After::Conversation(conversation.to_owned()));
        self.anchor = None;
        self
    }

    /// The request that follows on a response with this input, in the same conversation if there is one.
    #[cfg(feature = "tools")]
    pub(crate) fn follow_up(&self, response_id: &str, input: Vec<InputItem>) -> Self {
        let mut next = self.clone();
        next.input = Input::Items(input);
        next.anchor = None;
        // A forced call would be forced for ever.
        if next.other.get("tool_choice").is_some_and(|choice| choice != "none") {
            next.other.remove("tool_choice");
        }
        if next.conversation_id().is_none() {
            next.after = Some(After::Response(response_id.to_owned()));
        }
        next
    }

    /// What the user says, when it is plain text: for spans that were asked to show it.
    #[cfg(feature = "client")]
    pub(crate) fn input_json(&self) -> String {
        serde_json::to_string(&self.input).unwrap_or_default()
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

    #[test]
    fn settings_of_the_model_are_written_under_their_names() {
        let tool = Tool::from(crate::tool::FunctionTool::new("f", json!({"type": "object"})));
        let request = CreateResponse::new()
            .background(true)
            .tool(&tool)
            .tool(&tool)
            .tool_choice("required")
            .parallel_tool_calls(false)
            .max_tool_calls(3)
            .temperature(0.5)
            .top_p(0.25)
            .reasoning_effort("low")
            .truncation("auto")
            .safety_identifier("hash")
            .session_affinity("s1")
            .json_schema("answer", &json!({"type": "object"}));
        let function = json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false});
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({
                "background": true, "store": true, "tools": [function, function], "tool_choice": "required",
                "parallel_tool_calls": false, "max_tool_calls": 3, "temperature": 0.5, "top_p": 0.25,
                "reasoning": {"effort": "low"}, "truncation": "auto", "safety_identifier": "hash",
                "routing_config": {"session_affinity": {"mode": "sticky", "session_id": "s1"}},
                "text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"},
                                    "strict": true}}
            })
        );
    }
}
