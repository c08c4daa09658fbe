//! The bodies of the typed items. All members but the identifying ones may be missing.

use serde_json::value::RawValue;

use crate::content::Content;
use crate::items::{ItemHead, ItemKind};
use crate::object::{Read, Slot, list, read_object, slots};
use crate::problem::BadBody;
use crate::raw::RawJson;
use crate::vocabulary::{ItemStatus, Phase, Role};

/// How a body is read and what it shares with all items.
pub(crate) trait ItemBody: Sized {
    /// `raw` is the text of the item, which the head keeps.
    fn read(raw: &RawJson, kind: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody>;
    fn kind(&self) -> ItemKind;
    fn head(&self) -> &ItemHead;
}

/// Bodies: what may stand behind a field's type is told in [`slots!`](crate::object::slots).
macro_rules! bodies {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $ty:ty $(=> $how:ident)? $(as $wire:literal)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $ty,)*
            kind: $crate::items::ItemKind,
            head: Box<$crate::items::ItemHead>,
        }

        impl $crate::items::body::ItemBody for $name {
            fn read(
                raw: &RawJson,
                kind: &$crate::items::ItemKind,
                head: Box<$crate::items::ItemHead>,
            ) -> Result<Self, BadBody> {
                let mut it = Self { $($field: Default::default(),)* kind: kind.clone(), head };
                read_object(raw.as_str(), slots![it; $($field $(=> $how)? $(as $wire)?),*])?;
                Ok(it)
            }

            fn kind(&self) -> $crate::items::ItemKind {
                self.kind.clone()
            }

            fn head(&self) -> &$crate::items::ItemHead {
                &self.head
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = RawJson::deserialize(deserializer)?;
                let (tag, head) = $crate::items::ItemHead::read(raw.clone());
                $crate::items::body::ItemBody::read(&raw, &tag.unwrap_or_default().into(), Box::new(head))
                    .map_err(|BadBody| serde::de::Error::custom(concat!("not a ", stringify!($name))))
            }
        }
    )*};
}
pub(crate) use bodies;

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
    fn read(raw: &RawJson, kind: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody> {
        #[derive(Default)]
        struct Wire<'a> {
            role: Option<Role>,
            status: Option<ItemStatus>,
            content: Option<&'a RawValue>,
            phase: Option<Phase>,
        }
        let mut wire = Wire::default();
        read_object(raw.as_str(), slots![wire; role, status, content, phase])?;
        let role = wire.role.ok_or(BadBody)?;
        let content = wire.content.map(|content| parts(raw, content)).transpose()?.unwrap_or_default();
        Ok(Self { role, status: wire.status, content, phase: wire.phase, kind: kind.clone(), head })
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
        let text = String::read(content)?;
        let part = RawJson::from_value(&serde_json::json!({ "type": "input_text", "text": text }))?;
        return Ok(vec![Content::from_raw(part)]);
    }
    Ok(shared_parts(raw, list(content)?))
}

fn shared_parts(raw: &RawJson, parts: Vec<&RawValue>) -> Vec<Content> {
    parts.into_iter().map(|part| Content::from_raw(raw.part(part.get()))).collect()
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
    fn read(raw: &RawJson, _: &ItemKind, head: Box<ItemHead>) -> Result<Self, BadBody> {
        let (mut summary, mut content, mut status) = (Vec::new(), Vec::new(), None);
        read_object(
            raw.as_str(),
            &mut [
                Slot::null("summary", &mut summary),
                Slot::null("content", &mut content),
                Slot::may("status", &mut status),
            ],
        )?;
        let read = |parts: Vec<&RawValue>| shared_parts(raw, parts);
        Ok(Self { summary: read(summary), content: read(content), status, head })
    }

    fn kind(&self) -> ItemKind {
        ItemKind::REASONING
    }

    fn head(&self) -> &ItemHead {
        &self.head
    }
}

bodies! {
    /// The agent asks the application to run a function and to answer with a `function_call_output`.
    FunctionCall {
        /// Ties the answer to the call.
        call_id: String => must,
        /// The function. Chosen by the model: look it up in a closed set.
        name: String => must,
        /// A JSON text made by the model, possibly not valid JSON; empty while it is still being streamed.
        arguments: String => null,
        /// How far it is.
        status: Option<ItemStatus>,
        /// The namespace of the tool, when it has one.
        namespace: Option<String> => text,
    }

    /// The application's answer to a function call.
    FunctionCallOutput {
        /// The call it answers.
        call_id: String => must,
        /// A string, or a list of parts.
        output: RawJson,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The agent asks whether it may call a remote tool. Answer with an `mcp_approval_response` that names the item's id.
    McpApprovalRequest {
        /// The remote server.
        server_label: String => must,
        /// The tool.
        name: String => must,
        /// The arguments as a JSON text made by the model.
        arguments: String => null,
    }

    /// The answer to an approval request.
    McpApprovalResponse {
        /// The id of the request.
        approval_request_id: String => must,
        /// Whether the call may run.
        approve: bool => must,
        /// Why.
        reason: Option<String> => text,
    }

    /// The user must sign in to a connection before the agent can go on.
    OAuthConsentRequest {
        /// Where to sign in. Offer it to the user only when it is an `https` address.
        consent_link: String => must,
        /// The remote server that needs it.
        server_label: Option<String> => text,
    }

    /// A remote tool was called.
    McpCall {
        /// The remote server.
        server_label: String => must,
        /// The tool.
        name: String => must,
        /// The arguments as a JSON text made by the model.
        arguments: String => null,
        /// What the tool answered.
        output: Option<String> => text,
        /// Why it failed: an object, in older answers a string.
        error: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
        /// The approval that allowed it.
        approval_request_id: Option<String> => text,
    }

    /// The tools of a remote server.
    McpListTools {
        /// The remote server.
        server_label: String => must,
        /// Its tools: `name`, `description`, `input_schema`, `annotations`.
        tools: Vec<RawJson> => null,
        /// Why the list could not be read.
        error: Option<RawJson>,
    }

    /// A search in files.
    FileSearchCall {
        /// What was searched for.
        queries: Vec<String> => null,
        /// What was found, when it was asked for with `include`.
        results: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// A search on the web.
    WebSearchCall {
        /// `search`, `open_page` or `find_in_page` with its members.
        action: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// Code that was run for the agent.
    CodeInterpreterCall {
        /// Where its files are.
        container_id: Option<String> => text,
        /// The code.
        code: Option<String> => text,
        /// Logs and pictures.
        outputs: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// A picture that was made.
    ImageGenerationCall {
        /// The picture in base64.
        result: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// A step of a workflow agent.
    WorkflowAction {
        /// What the step does. In JSON the member is `kind`.
        action_kind: Option<String> => text as "kind",
        /// The step.
        action_id: String => must,
        /// The step around it.
        parent_action_id: Option<String> => text,
        /// The step before it.
        previous_action_id: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// A value the agent was asked to produce.
    StructuredOutputs {
        /// Any JSON.
        output: RawJson,
    }

    /// A search in the agent's memory.
    MemorySearchCall {
        /// What was found.
        results: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The agent called one of the service's tools. Which one is [`Item::kind`](crate::Item::kind).
    ToolCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// The function behind the tool, when it has several.
        name: Option<String> => text,
        /// The arguments: mostly a JSON text in a string.
        arguments: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What one of the service's tools answered. Which one is [`Item::kind`](crate::Item::kind).
    ToolOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// The function behind the tool, when it has several.
        name: Option<String> => text,
        /// A string, an object or a list.
        output: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }
}
