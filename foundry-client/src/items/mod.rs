//! Items of a conversation and of a response's output.

mod body;
mod local;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

pub use body::{
    CodeInterpreterCall, FileSearchCall, FunctionCall, FunctionCallOutput, ImageGenerationCall, McpApprovalRequest,
    McpApprovalResponse, McpCall, McpListTools, MemorySearchCall, Message, OAuthConsentRequest, Reasoning,
    StructuredOutputs, ToolCall, ToolOutput, WebSearchCall, WorkflowAction,
};

pub use local::{
    AdditionalTools, ApplyPatchCall, ApplyPatchCallOutput, Compaction, ComputerCall, ComputerCallOutput,
    CustomToolCall, CustomToolCallOutput, ItemReference, LocalShellCall, LocalShellCallOutput, Program, ProgramOutput,
    ShellCall, ShellCallOutput, ToolSearchCall, ToolSearchOutput,
};

use crate::agent::AgentReference;
use crate::content::raw_json;
use crate::object::{Read, read_object, slots};
use crate::problem::{BadBody, Problem};
use crate::raw::RawJson;
use crate::vocabulary::vocabulary;

use body::ItemBody;

/// What every item carries beside its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct ItemHead {
    id: Option<String>,
    response_id: Option<String>,
    agent_reference: Option<AgentReference>,
    raw: RawJson,
}

/// An item without a type here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnknownItem {
    kind: ItemKind,
    problem: Problem,
    head: Box<ItemHead>,
}

macro_rules! items {
    (
        typed { $($(#[$meta:meta])* $variant:ident($body:ty): $($word:ident = $tag:literal),+;)* }
    ) => {
        vocabulary! {
            /// The `type` of an item.
            ItemKind {
                $($(#[doc = concat!("`", $tag, "`")] $word = $tag,)+)*
            }
        }

        /// One item: a message, a tool call, its output, a question to the user, …
        ///
        /// What has no type here, or another shape than documented, is [`Item::Unknown`] with its JSON.
        /// Serializing writes the JSON as it was received.
        ///
        /// Shapes: <https://platform.openai.com/docs/api-reference/responses/object> and, for the
        /// additions of the service, <https://learn.microsoft.com/azure/ai-foundry/agents/>.
        #[non_exhaustive]
        #[derive(Clone, Debug)]
        pub enum Item {
            $($(#[$meta])* $variant($body),)*
            /// Any other item, as raw JSON.
            Unknown(UnknownItem),
        }

        impl Item {
            fn typed(raw: &RawJson, kind: &ItemKind, head: Box<ItemHead>) -> Option<Result<Self, BadBody>> {
                match kind.as_str() {
                    $($($tag)|+ => Some(<$body>::read(raw, kind, head).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// The `type`.
            #[must_use]
            pub fn kind(&self) -> ItemKind {
                match self {
                    $(Self::$variant(body) => body.kind(),)*
                    Self::Unknown(body) => body.kind.clone(),
                }
            }

            fn head(&self) -> &ItemHead {
                match self {
                    $(Self::$variant(body) => body.head(),)*
                    Self::Unknown(body) => &body.head,
                }
            }
        }
    };
}

items! {
    typed {
        /// A message of the user or of the agent.
        Message(Message): MESSAGE = "message", OUTPUT_MESSAGE = "output_message";
        /// The agent asks the application to run a function.
        FunctionCall(FunctionCall): FUNCTION_CALL = "function_call";
        /// The application's answer to a function call.
        FunctionCallOutput(FunctionCallOutput): FUNCTION_CALL_OUTPUT = "function_call_output";
        /// The agent asks whether it may call a remote tool.
        McpApprovalRequest(McpApprovalRequest): MCP_APPROVAL_REQUEST = "mcp_approval_request";
        /// The answer to such a question.
        McpApprovalResponse(McpApprovalResponse): MCP_APPROVAL_RESPONSE = "mcp_approval_response";
        /// The user must sign in to a connection first.
        OAuthConsentRequest(OAuthConsentRequest): OAUTH_CONSENT_REQUEST = "oauth_consent_request";
        /// A remote tool was called.
        McpCall(McpCall): MCP_CALL = "mcp_call";
        /// The tools of a remote server.
        McpListTools(McpListTools): MCP_LIST_TOOLS = "mcp_list_tools";
        /// What the model thought.
        Reasoning(Reasoning): REASONING = "reasoning";
        /// A search in files.
        FileSearchCall(FileSearchCall): FILE_SEARCH_CALL = "file_search_call";
        /// A search on the web.
        WebSearchCall(WebSearchCall): WEB_SEARCH_CALL = "web_search_call";
        /// Code that was run.
        CodeInterpreterCall(CodeInterpreterCall): CODE_INTERPRETER_CALL = "code_interpreter_call";
        /// A picture that was made.
        ImageGenerationCall(ImageGenerationCall): IMAGE_GENERATION_CALL = "image_generation_call";
        /// A step of a workflow agent.
        WorkflowAction(WorkflowAction): WORKFLOW_ACTION = "workflow_action";
        /// A value the agent was asked to produce.
        StructuredOutputs(StructuredOutputs): STRUCTURED_OUTPUTS = "structured_outputs";
        /// A search in the agent's memory.
        MemorySearchCall(MemorySearchCall): MEMORY_SEARCH_CALL = "memory_search_call";
        /// The agent called one of the service's tools.
        ToolCall(ToolCall):
            A2A_PREVIEW_CALL = "a2a_preview_call",
            OPENAPI_CALL = "openapi_call",
            AZURE_FUNCTION_CALL = "azure_function_call",
            BING_GROUNDING_CALL = "bing_grounding_call",
            BING_CUSTOM_SEARCH_PREVIEW_CALL = "bing_custom_search_preview_call",
            SHAREPOINT_GROUNDING_PREVIEW_CALL = "sharepoint_grounding_preview_call",
            AZURE_AI_SEARCH_CALL = "azure_ai_search_call",
            FABRIC_DATAAGENT_PREVIEW_CALL = "fabric_dataagent_preview_call",
            BROWSER_AUTOMATION_PREVIEW_CALL = "browser_automation_preview_call",
            MEMORY_COMMAND_PREVIEW_CALL = "memory_command_preview_call",
            REMOTE_FUNCTION_CALL = "remote_function_call";
        /// What such a tool answered.
        ToolOutput(ToolOutput):
            A2A_PREVIEW_CALL_OUTPUT = "a2a_preview_call_output",
            OPENAPI_CALL_OUTPUT = "openapi_call_output",
            AZURE_FUNCTION_CALL_OUTPUT = "azure_function_call_output",
            BING_GROUNDING_CALL_OUTPUT = "bing_grounding_call_output",
            BING_CUSTOM_SEARCH_PREVIEW_CALL_OUTPUT = "bing_custom_search_preview_call_output",
            SHAREPOINT_GROUNDING_PREVIEW_CALL_OUTPUT = "sharepoint_grounding_preview_call_output",
            AZURE_AI_SEARCH_CALL_OUTPUT = "azure_ai_search_call_output",
            FABRIC_DATAAGENT_PREVIEW_CALL_OUTPUT = "fabric_dataagent_preview_call_output",
            BROWSER_AUTOMATION_PREVIEW_CALL_OUTPUT = "browser_automation_preview_call_output",
            MEMORY_COMMAND_PREVIEW_CALL_OUTPUT = "memory_command_preview_call_output";
        /// Stands for an item the service already has.
        ItemReference(ItemReference): ITEM_REFERENCE = "item_reference";
        /// The model works on a screen.
        ComputerCall(ComputerCall): COMPUTER_CALL = "computer_call";
        /// What the screen shows now.
        ComputerCallOutput(ComputerCallOutput): COMPUTER_CALL_OUTPUT = "computer_call_output";
        /// The agent asks the application to run a tool that takes free text.
        CustomToolCall(CustomToolCall): CUSTOM_TOOL_CALL = "custom_tool_call";
        /// The application's answer to such a call.
        CustomToolCallOutput(CustomToolCallOutput): CUSTOM_TOOL_CALL_OUTPUT = "custom_tool_call_output";
        /// The agent asks the application to run a command on its own machine.
        LocalShellCall(LocalShellCall): LOCAL_SHELL_CALL = "local_shell_call";
        /// What that command printed.
        LocalShellCallOutput(LocalShellCallOutput): LOCAL_SHELL_CALL_OUTPUT = "local_shell_call_output";
        /// Commands in a shell.
        ShellCall(ShellCall): SHELL_CALL = "shell_call";
        /// What those commands printed.
        ShellCallOutput(ShellCallOutput): SHELL_CALL_OUTPUT = "shell_call_output";
        /// A change of files.
        ApplyPatchCall(ApplyPatchCall): APPLY_PATCH_CALL = "apply_patch_call";
        /// Whether the files were changed.
        ApplyPatchCallOutput(ApplyPatchCallOutput): APPLY_PATCH_CALL_OUTPUT = "apply_patch_call_output";
        /// The model looks for tools.
        ToolSearchCall(ToolSearchCall): TOOL_SEARCH_CALL = "tool_search_call";
        /// The tools that were found.
        ToolSearchOutput(ToolSearchOutput): TOOL_SEARCH_OUTPUT = "tool_search_output";
        /// Tools that came in the middle of a conversation.
        AdditionalTools(AdditionalTools): ADDITIONAL_TOOLS = "additional_tools";
        /// A program of the model that calls tools.
        Program(Program): PROGRAM = "program";
        /// What the program returned.
        ProgramOutput(ProgramOutput): PROGRAM_OUTPUT = "program_output";
        /// What stands for the older part of a conversation.
        Compaction(Compaction): COMPACTION = "compaction";
    }
}

impl Item {
    /// Reads an item; what has no type here becomes [`Item::Unknown`].
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Self {
        let (tag, head) = ItemHead::read(raw);
        let raw = head.raw.clone();
        let has_tag = tag.is_some();
        let kind = tag.map(ItemKind::from).unwrap_or_else(|| ItemKind::from(""));
        let head = Box::new(head);
        match Self::typed(&raw, &kind, head.clone()) {
            Some(Ok(item)) => item,
            Some(Err(BadBody)) => Self::Unknown(UnknownItem { kind, problem: Problem::BadBody, head }),
            None => {
                let problem = if has_tag { Problem::UnknownType } else { Problem::MissingType };
                Self::Unknown(UnknownItem { kind, problem, head })
            }
        }
    }

    /// The server's id of the item.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.head().id.as_deref()
    }

    /// The response that made the item; none for items of the user.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.head().response_id.as_deref()
    }

    /// The agent that made the item.
    #[must_use]
    pub fn agent_reference(&self) -> Option<&AgentReference> {
        self.head().agent_reference.as_ref()
    }

    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.head().raw
    }

    /// The message, when it is one.
    #[must_use]
    pub fn as_message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Why this item or a part of it was kept raw; none when all is typed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Message(message) => message.content.iter().find_map(crate::Content::problem),
            Self::Unknown(unknown) => Some(unknown.problem),
            _ => None,
        }
    }
}

raw_json!(Item);

impl ItemHead {
    fn read(raw: RawJson) -> (Option<String>, Self) {
        #[derive(Default)]
        struct Wire<'a> {
            tag: Option<String>,
            id: Option<String>,
            response_id: Option<String>,
            agent_reference: Option<&'a RawValue>,
        }
        let mut wire = Wire::default();
        let read = read_object(
            raw.as_str(),
            slots![wire; tag => text as "type", id => text, response_id => text, agent_reference],
        );
        let Wire { tag, id, response_id, agent_reference } = if read.is_ok() { wire } else { Wire::default() };
        let agent_reference = agent_reference.and_then(|agent| AgentReference::read(agent).ok());
        (tag, Self { id, response_id, agent_reference, raw })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_typed_word_is_known_and_reads_to_itself() {
        for kind in ItemKind::KNOWN {
            assert_eq!(item(&format!("{{\"type\":\"{kind}\"}}")).kind(), *kind);
        }
        assert_eq!(ItemKind::KNOWN.len(), 55);
    }

    #[test]
    fn items_are_written_back_as_they_came() {
        let json = r#"{"type":"function_call","call_id":"c","name":"n","arguments":"{}","new":1.50}"#;
        assert_eq!(serde_json::to_string(&item(json)).unwrap(), json);
    }

    #[test]
    fn a_new_type_and_a_bad_body_are_kept_with_their_reason() {
        let cases = [
            (r#"{"type":"hologram","id":"h_1"}"#, Some(Problem::UnknownType)),
            (r#"{"type":"function_call","call_id":7}"#, Some(Problem::BadBody)),
            (r#"{"id":"x"}"#, Some(Problem::MissingType)),
            (r#"{"type":null}"#, Some(Problem::MissingType)),
            (r#"[1]"#, Some(Problem::MissingType)),
        ];
        for (json, problem) in cases {
            let item = item(json);
            assert!(matches!(item, Item::Unknown(_)), "{json}");
            assert_eq!(item.problem(), problem, "{json}");
            assert_eq!(item.raw().as_str(), json);
        }
    }
}
