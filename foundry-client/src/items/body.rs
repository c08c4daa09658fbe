//! The bodies of the typed items. All members but the identifying ones may be missing.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::content::Content;
use crate::items::{ItemHead, ItemKind};
use crate::loose::{self, null_default};
use crate::problem::BadBody;
use crate::raw::RawJson;
use crate::vocabulary::{ItemStatus, Phase, Role};

/// How a body is read and what it shares with all items.
pub(crate) trait ItemBody: Sized {
    fn read(kind: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody>;
    fn kind(&self) -> ItemKind;
    fn head(&self) -> &ItemHead;
}

macro_rules! body {
    ($($name:ident),*) => {$(
        impl ItemBody for $name {
            fn read(kind: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody> {
                let body: Self = head.raw.parse()?;
                Ok(Self { kind: Some(kind.clone()), head, ..body })
            }

            fn kind(&self) -> ItemKind {
                self.kind.clone().unwrap_or_else(|| ItemKind::from(""))
            }

            fn head(&self) -> &ItemHead {
                &self.head
            }
        }
    )*};
}
pub(crate) use body;

body!(
    FunctionCall,
    FunctionCallOutput,
    McpApprovalRequest,
    McpApprovalResponse,
    OAuthConsentRequest,
    McpCall,
    McpListTools,
    FileSearchCall,
    WebSearchCall,
    CodeInterpreterCall,
    ImageGenerationCall,
    WorkflowAction,
    StructuredOutputs,
    MemorySearchCall,
    ToolCall,
    ToolOutput
);

/// A message of the user or of the agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// How far it is; absent in items of the user.
    pub status: Option<ItemStatus>,
    /// Its parts, in order.
    pub content: Vec<Content>,
    /// Commentary or final answer, when the model says so.
    pub phase: Option<Phase>,
    kind: ItemKind,
    head: Box<ItemHead>,
}

impl Message {
    /// All text of the message: output and input text in order, without refusals.
    #[must_use]
    pub fn text(&self) -> String {
        let mut all = String::new();
        for part in &self.content {
            match part {
                Content::OutputText(text) => all.push_str(&text.text),
                Content::InputText(text) => all.push_str(&text.text),
                _ => {}
            }
        }
        all
    }

    /// Why the agent declined, when it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.content.iter().find_map(|part| match part {
            Content::Refusal(refusal) => Some(refusal.text.as_str()),
            _ => None,
        })
    }

    /// Whether the message is thinking aloud, not the answer.
    #[must_use]
    pub fn is_commentary(&self) -> bool {
        self.phase.as_ref() == Some(&Phase::COMMENTARY)
    }
}

impl ItemBody for Message {
    fn read(kind: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            role: Role,
            #[serde(default)]
            status: Option<ItemStatus>,
            #[serde(borrow, default)]
            content: Option<&'a RawValue>,
            #[serde(default)]
            phase: Option<Phase>,
        }
        let raw = head.raw.clone();
        let wire: Wire<'_> = raw.parse()?;
        let content = wire.content.map(|content| parts(&raw, content)).transpose()?.unwrap_or_default();
        Ok(Self { role: wire.role, status: wire.status, content, phase: wire.phase, kind: kind.clone(), head })
    }

    fn kind(&self) -> ItemKind {
        self.kind.clone()
    }

    fn head(&self) -> &ItemHead {
        &self.head
    }
}

/// Content is a list of parts; easy input messages write a bare string instead.
fn parts(raw: &RawJson, content: &RawValue) -> Result<Vec<Content>, BadBody> {
    if content.get().starts_with('"') {
        let text: String = serde_json::from_str(content.get())?;
        let part = RawJson::from_value(&serde_json::json!({ "type": "input_text", "text": text }))?;
        return Ok(vec![Content::from_raw(part)]);
    }
    let list: Vec<&RawValue> = serde_json::from_str(content.get())?;
    Ok(list.into_iter().map(|part| Content::from_raw(raw.part(part.get()))).collect())
}

/// What the model thought, as far as the service shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reasoning {
    /// Summaries for the user.
    pub summary: Vec<Content>,
    /// The reasoning itself; mostly empty.
    pub content: Vec<Content>,
    /// How far it is.
    pub status: Option<ItemStatus>,
    head: Box<ItemHead>,
}

impl ItemBody for Reasoning {
    fn read(_: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow, default, deserialize_with = "null_default")]
            summary: Vec<&'a RawValue>,
            #[serde(borrow, default, deserialize_with = "null_default")]
            content: Vec<&'a RawValue>,
            #[serde(default)]
            status: Option<ItemStatus>,
        }
        let raw = head.raw.clone();
        let wire: Wire<'_> = raw.parse()?;
        let read =
            |list: Vec<&RawValue>| list.into_iter().map(|part| Content::from_raw(raw.part(part.get()))).collect();
        Ok(Self { summary: read(wire.summary), content: read(wire.content), status: wire.status, head })
    }

    fn kind(&self) -> ItemKind {
        ItemKind::REASONING
    }

    fn head(&self) -> &ItemHead {
        &self.head
    }
}

/// The agent asks the application to run a function and to answer with a `function_call_output`.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct FunctionCall {
    /// Ties the answer to the call.
    pub call_id: String,
    /// The function. Chosen by the model: look it up in a closed set.
    pub name: String,
    /// A JSON text made by the model, possibly not valid JSON; empty while it is still being streamed.
    #[serde(default, deserialize_with = "null_default")]
    pub arguments: String,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    /// The namespace of the tool, when it has one.
    #[serde(default, deserialize_with = "loose::text")]
    pub namespace: Option<String>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The application's answer to a function call.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct FunctionCallOutput {
    /// The call it answers.
    pub call_id: String,
    /// A string, or a list of parts.
    #[serde(default)]
    pub output: RawJson,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The agent asks whether it may call a remote tool. Answer with an `mcp_approval_response` that names the item's id.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct McpApprovalRequest {
    /// The remote server.
    pub server_label: String,
    /// The tool.
    pub name: String,
    /// The arguments as a JSON text made by the model.
    #[serde(default, deserialize_with = "null_default")]
    pub arguments: String,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The answer to an approval request.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct McpApprovalResponse {
    /// The id of the request.
    pub approval_request_id: String,
    /// Whether the call may run.
    pub approve: bool,
    /// Why.
    #[serde(default, deserialize_with = "loose::text")]
    pub reason: Option<String>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The user must sign in to a connection before the agent can go on.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct OAuthConsentRequest {
    /// Where to sign in. Offer it to the user only when it is an `https` address.
    pub consent_link: String,
    /// The remote server that needs it.
    #[serde(default, deserialize_with = "loose::text")]
    pub server_label: Option<String>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A remote tool was called.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct McpCall {
    /// The remote server.
    pub server_label: String,
    /// The tool.
    pub name: String,
    /// The arguments as a JSON text made by the model.
    #[serde(default, deserialize_with = "null_default")]
    pub arguments: String,
    /// What the tool answered.
    #[serde(default, deserialize_with = "loose::text")]
    pub output: Option<String>,
    /// Why it failed: an object, in older answers a string.
    #[serde(default)]
    pub error: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    /// The approval that allowed it.
    #[serde(default, deserialize_with = "loose::text")]
    pub approval_request_id: Option<String>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The tools of a remote server.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct McpListTools {
    /// The remote server.
    pub server_label: String,
    /// Its tools: `name`, `description`, `input_schema`, `annotations`.
    #[serde(default, deserialize_with = "null_default")]
    pub tools: Vec<RawJson>,
    /// Why the list could not be read.
    #[serde(default)]
    pub error: Option<RawJson>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A search in files.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct FileSearchCall {
    /// What was searched for.
    #[serde(default, deserialize_with = "null_default")]
    pub queries: Vec<String>,
    /// What was found, when it was asked for with `include`.
    #[serde(default)]
    pub results: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A search on the web.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct WebSearchCall {
    /// `search`, `open_page` or `find_in_page` with its members.
    #[serde(default)]
    pub action: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// Code that was run for the agent.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct CodeInterpreterCall {
    /// Where its files are.
    #[serde(default, deserialize_with = "loose::text")]
    pub container_id: Option<String>,
    /// The code.
    #[serde(default, deserialize_with = "loose::text")]
    pub code: Option<String>,
    /// Logs and pictures.
    #[serde(default)]
    pub outputs: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A picture that was made.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ImageGenerationCall {
    /// The picture in base64.
    #[serde(default, deserialize_with = "loose::text")]
    pub result: Option<String>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A step of a workflow agent.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct WorkflowAction {
    /// What the step does. In JSON the member is `kind`.
    #[serde(rename = "kind", default, deserialize_with = "loose::text")]
    pub action_kind: Option<String>,
    /// The step.
    pub action_id: String,
    /// The step around it.
    #[serde(default, deserialize_with = "loose::text")]
    pub parent_action_id: Option<String>,
    /// The step before it.
    #[serde(default, deserialize_with = "loose::text")]
    pub previous_action_id: Option<String>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A value the agent was asked to produce.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct StructuredOutputs {
    /// Any JSON.
    #[serde(default)]
    pub output: RawJson,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// A search in the agent's memory.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct MemorySearchCall {
    /// What was found.
    #[serde(default)]
    pub results: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// The agent called one of the service's tools. Which one is [`Item::kind`](crate::Item::kind).
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ToolCall {
    /// Ties the output to the call.
    #[serde(default, deserialize_with = "loose::text")]
    pub call_id: Option<String>,
    /// The function behind the tool, when it has several.
    #[serde(default, deserialize_with = "loose::text")]
    pub name: Option<String>,
    /// The arguments: mostly a JSON text in a string.
    #[serde(default)]
    pub arguments: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}

/// What one of the service's tools answered. Which one is [`Item::kind`](crate::Item::kind).
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct ToolOutput {
    /// The call it answers.
    #[serde(default, deserialize_with = "loose::text")]
    pub call_id: Option<String>,
    /// The function behind the tool, when it has several.
    #[serde(default, deserialize_with = "loose::text")]
    pub name: Option<String>,
    /// A string, an object or a list.
    #[serde(default)]
    pub output: Option<RawJson>,
    /// How far it is.
    #[serde(default)]
    pub status: Option<ItemStatus>,
    #[serde(skip)]
    kind: Option<ItemKind>,
    #[serde(skip)]
    head: Box<ItemHead>,
}
