//! Tools of a prompt agent or of a request.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::content::tag_of;
use crate::object::{Read, by_text, read_whole, slots};
use crate::raw::RawJson;
use crate::vocabulary::vocabulary;
use crate::written::{Member, Write, Written, write_object};

macro_rules! tools {
    ($($(#[$meta:meta])* $variant:ident($body:ty): $($word:ident = $tag:literal),+;)*) => {
        vocabulary! {
            /// The `type` of a tool.
            ToolKind {
                $($(#[doc = concat!("`", $tag, "`")] $word = $tag,)+)*
            }
        }

        /// One tool.
        ///
        /// Members that a body has no field for are kept in its `other`, so what is read can be written back. A new
        /// type is [`Tool::Unknown`] with its JSON.
        ///
        /// Shapes: <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/overview> and
        /// <https://platform.openai.com/docs/api-reference/responses/create>.
        #[non_exhaustive]
        #[derive(Clone, Debug)]
        pub enum Tool {
            $($(#[$meta])* $variant(Box<$body>),)*
            /// A tool without a type here, or with another shape than documented.
            Unknown(RawJson),
        }

        impl Tool {
            fn typed(kind: &str, json: &RawValue) -> Option<Self> {
                match kind {
                    $($($tag)|+ => body(json).map(Self::$variant),)*
                    _ => None,
                }
            }

            /// The `type`.
            #[must_use]
            pub fn kind(&self) -> ToolKind {
                match self {
                    $(Self::$variant(body) => body.kind.clone(),)*
                    Self::Unknown(raw) => ToolKind::from(tag_of(raw).unwrap_or_default()),
                }
            }
        }

        impl Serialize for Tool {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(body) => body.serialize(serializer),)*
                    Self::Unknown(raw) => raw.serialize(serializer),
                }
            }
        }

        $(impl From<$body> for Tool {
            fn from(body: $body) -> Self {
                Self::$variant(Box::new(body))
            }
        })*
    };
}

tools! {
    /// A function of the application.
    Function(FunctionTool): FUNCTION = "function";
    /// A tool of the application that takes free text.
    Custom(CustomTool): CUSTOM = "custom";
    /// A group of functions under one name.
    Namespace(NamespaceTool): NAMESPACE = "namespace";
    /// A remote server that speaks MCP.
    Mcp(McpTool): MCP = "mcp";
    /// The web.
    WebSearch(WebSearchTool): WEB_SEARCH = "web_search", WEB_SEARCH_PREVIEW = "web_search_preview";
    /// Files in vector stores.
    FileSearch(FileSearchTool): FILE_SEARCH = "file_search";
    /// Code in a container.
    CodeInterpreter(CodeInterpreterTool): CODE_INTERPRETER = "code_interpreter";
    /// Pictures.
    ImageGeneration(ImageGenerationTool): IMAGE_GENERATION = "image_generation";
    /// A screen.
    Computer(ComputerTool): COMPUTER = "computer", COMPUTER_USE_PREVIEW = "computer_use_preview";
    /// The user's memory.
    MemorySearch(MemorySearchTool): MEMORY_SEARCH_PREVIEW = "memory_search_preview";
    /// Another agent.
    A2a(A2aTool): A2A = "a2a", A2A_PREVIEW = "a2a_preview";
    /// Bing.
    BingGrounding(BingGroundingTool): BING_GROUNDING = "bing_grounding";
    /// A part of the web that Bing searches.
    BingCustomSearch(BingCustomSearchTool): BING_CUSTOM_SEARCH_PREVIEW = "bing_custom_search_preview";
    /// An index of Azure AI Search.
    AzureAiSearch(AzureAiSearchTool): AZURE_AI_SEARCH = "azure_ai_search";
    /// SharePoint.
    SharepointGrounding(SharepointGroundingTool): SHAREPOINT_GROUNDING_PREVIEW = "sharepoint_grounding_preview";
    /// A data agent of Fabric.
    FabricDataAgent(FabricDataAgentTool): FABRIC_DATAAGENT_PREVIEW = "fabric_dataagent_preview";
    /// An interface that is described by OpenAPI.
    OpenApi(OpenApiTool): OPENAPI = "openapi";
    /// An Azure function behind a queue.
    AzureFunction(AzureFunctionTool): AZURE_FUNCTION = "azure_function";
    /// A browser.
    BrowserAutomation(BrowserAutomationTool):
        BROWSER_AUTOMATION = "browser_automation", BROWSER_AUTOMATION_PREVIEW = "browser_automation_preview";
    /// A value the agent has to produce.
    CaptureStructuredOutputs(CaptureStructuredOutputsTool): CAPTURE_STRUCTURED_OUTPUTS = "capture_structured_outputs";
    /// Work IQ, Fabric IQ or Web IQ through a connection of the project.
    Iq(IqTool):
        WORK_IQ_PREVIEW = "work_iq_preview",
        FABRIC_IQ_PREVIEW = "fabric_iq_preview",
        WEB_IQ_PREVIEW = "web_iq_preview";
    /// Tools without settings of their own, or whose settings are in `other`.
    Plain(PlainTool):
        SHELL = "shell",
        LOCAL_SHELL = "local_shell",
        APPLY_PATCH = "apply_patch",
        TOOL_SEARCH = "tool_search",
        TOOLBOX_SEARCH_PREVIEW = "toolbox_search_preview",
        PROGRAMMATIC_TOOL_CALLING = "programmatic_tool_calling",
        GITHUB_COPILOT_TOOLSET_PREVIEW = "github_copilot_toolset_preview",
        MICROSOFT_COPILOT_TOOLSET_PREVIEW = "microsoft_copilot_toolset_preview";
}

fn body<T: for<'a> Read<'a>>(json: &RawValue) -> Option<Box<T>> {
    T::read(json).ok().map(Box::new)
}

impl Tool {
    /// Any tool, written as it is.
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Self {
        let kind = tag_of(&raw).unwrap_or_default();
        let typed = raw.value().ok().and_then(|json| Self::typed(&kind, json));
        typed.unwrap_or(Self::Unknown(raw))
    }

    /// The JSON of the tool.
    #[must_use]
    pub fn raw(&self) -> RawJson {
        match self {
            Self::Unknown(raw) => raw.clone(),
            tool => RawJson::from_value(tool).unwrap_or_default(),
        }
    }
}

impl Read<'_> for Tool {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(Self::from_raw(RawJson::copied(json)))
    }
}

by_text!(Tool);

/// Makes a body: its `type`, members it must have, members it may have, and whatever else there is.
macro_rules! tool_body {
    (
        $(#[$meta:meta])* $name:ident ($kind:expr)
        { $($(#[$must_meta:meta])* $must:ident: $must_ty:ty,)* }
        { $($(#[$may_meta:meta])* $may:ident: $may_ty:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            pub(crate) kind: ToolKind,
            $($(#[$must_meta])* pub $must: $must_ty,)*
            $($(#[$may_meta])* pub $may: Option<$may_ty>,)*
            /// Members without a field here.
            pub other: Map<String, Value>,
        }

        impl Read<'_> for $name {
            fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
                let mut it = Self::of($(<$must_ty>::default()),*);
                let slots = slots![it; kind => must as "type", $($must => must,)* $($may),*];
                read_whole(json.get(), slots, &mut it.other)?;
                Ok(it)
            }
        }

        by_text!($name);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write_object(&self.members(), &self.other, serializer)
            }
        }

        impl $name {
            /// The tool with what it must have; set the rest in its fields.
            #[must_use]
            pub fn of($($must: impl Into<$must_ty>),*) -> Self {
                Self { kind: $kind, $($must: $must.into(),)* $($may: None,)* other: Map::new() }
            }

            fn members(&self) -> Vec<Member<'_>> {
                vec![
                    ("type", Some(Written::Text(self.kind.as_str()))),
                    $((stringify!($must), self.$must.written()),)*
                    $((stringify!($may), self.$may.written()),)*
                ]
            }
        }
    };
}

tool_body! {
    /// A function of the application; the agent asks for it with a `function_call`.
    FunctionTool(ToolKind::FUNCTION)
    {
        /// The name: letters, digits, `_` and `-`, at most 64.
        name: String,
        /// The JSON schema of the arguments.
        parameters: Value,
    }
    {
        /// When to use it, for the model.
        description: String,
        /// Whether the service holds the model to the schema. It then wants every property required and no others.
        strict: bool,
        /// The JSON schema of the result.
        output_schema: Value,
        /// Whether the model sees it only after a tool search.
        defer_loading: bool,
    }
}

impl FunctionTool {
    /// A function with a schema of its arguments; not strict.
    #[must_use]
    pub fn new(name: impl Into<String>, parameters: Value) -> Self {
        Self { strict: Some(false), ..Self::of(name, parameters) }
    }

    /// When to use it, for the model.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

tool_body! {
    /// A tool of the application that takes free text.
    CustomTool(ToolKind::CUSTOM)
    {
        /// The name.
        name: String,
    }
    {
        /// When to use it, for the model.
        description: String,
        /// What the text must look like.
        format: Value,
    }
}

tool_body! {
    /// A group of functions under one name.
    NamespaceTool(ToolKind::NAMESPACE)
    {
        /// The name.
        name: String,
        /// The functions.
        tools: Vec<Value>,
    }
    {
        /// When to use them, for the model.
        description: String,
    }
}

tool_body! {
    /// A remote server that speaks the Model Context Protocol.
    McpTool(ToolKind::MCP)
    {
        /// The name under which its calls appear.
        server_label: String,
    }
    {
        /// Its address.
        server_url: String,
        /// A connector of the service instead of an address.
        connector_id: String,
        /// A tunnel instead of an address.
        tunnel_id: String,
        /// What it is for, for the model.
        server_description: String,
        /// `"always"`, `"never"`, or an object that names tools.
        require_approval: Value,
        /// Names of tools, or an object that filters them.
        allowed_tools: Value,
        /// The connection of the project that holds its credentials.
        project_connection_id: String,
    }
}

tool_body! {
    /// The web.
    WebSearchTool(ToolKind::WEB_SEARCH)
    {}
    {
        /// Which sites.
        filters: Value,
        /// Where the user is, roughly.
        user_location: Value,
        /// `low`, `medium` or `high`.
        search_context_size: String,
        /// A custom search of Bing.
        custom_search_configuration: Value,
        /// Whether live pages may be read.
        external_web_access: bool,
    }
}

tool_body! {
    /// Files in vector stores.
    FileSearchTool(ToolKind::FILE_SEARCH)
    {
        /// The stores.
        vector_store_ids: Vec<String>,
    }
    {
        /// The most hits, 1 to 50.
        max_num_results: u32,
        /// How hits are ranked.
        ranking_options: Value,
        /// Which files.
        filters: Value,
    }
}

tool_body! {
    /// Code in a container.
    CodeInterpreterTool(ToolKind::CODE_INTERPRETER)
    {}
    {
        /// The container's id, or `{"type":"auto","file_ids":[…]}`.
        container: Value,
    }
}

tool_body! {
    /// Pictures.
    ImageGenerationTool(ToolKind::IMAGE_GENERATION)
    {}
    {
        /// The model deployment.
        model: String,
        /// For example `high`.
        quality: String,
        /// For example `1024x1024`.
        size: String,
        /// For example `png`.
        output_format: String,
        /// How many previews are streamed, 0 to 3.
        partial_images: u32,
    }
}

tool_body! {
    /// A screen that the model sees and works on.
    ComputerTool(ToolKind::COMPUTER)
    {}
    {
        /// In pixels.
        display_width: u32,
        /// In pixels.
        display_height: u32,
        /// For example `browser`.
        environment: String,
    }
}

tool_body! {
    /// The memory of one scope, mostly one user.
    MemorySearchTool(ToolKind::MEMORY_SEARCH_PREVIEW)
    {
        /// The memory store.
        memory_store_name: String,
        /// Whose memory it is.
        scope: String,
    }
    {
        /// How to search.
        search_options: Value,
        /// Seconds after the last message before the memory is written.
        update_delay: u32,
    }
}

tool_body! {
    /// Another agent, by the A2A protocol.
    A2aTool(ToolKind::A2A)
    {}
    {
        /// Its address.
        base_url: String,
        /// Where its card is below the address.
        agent_card_path: String,
        /// The connection of the project that holds its credentials.
        project_connection_id: String,
        /// The version of the protocol.
        a2a_version: String,
    }
}

tool_body! {
    /// Bing, through a connection.
    BingGroundingTool(ToolKind::BING_GROUNDING)
    {
        /// `{"search_configurations":[{"project_connection_id":…,"market":…,"count":…,"freshness":…}]}`.
        bing_grounding: Value,
    }
    {}
}

tool_body! {
    /// A part of the web that Bing searches, through a connection.
    BingCustomSearchTool(ToolKind::BING_CUSTOM_SEARCH_PREVIEW)
    {
        /// `{"search_configurations":[…]}`.
        bing_custom_search_preview: Value,
    }
    {}
}

tool_body! {
    /// An index of Azure AI Search.
    AzureAiSearchTool(ToolKind::AZURE_AI_SEARCH)
    {
        /// `{"indexes":[{"project_connection_id":…,"index_name":…,"query_type":…,"top_k":…,"filter":…}]}`.
        azure_ai_search: Value,
    }
    {}
}

tool_body! {
    /// SharePoint, as the signed-in user.
    SharepointGroundingTool(ToolKind::SHAREPOINT_GROUNDING_PREVIEW)
    {
        /// `{"project_connections":[…]}`.
        sharepoint_grounding_preview: Value,
    }
    {}
}

tool_body! {
    /// A data agent of Fabric, as the signed-in user.
    FabricDataAgentTool(ToolKind::FABRIC_DATAAGENT_PREVIEW)
    {
        /// `{"project_connections":[…]}`.
        fabric_dataagent_preview: Value,
    }
    {}
}

tool_body! {
    /// An interface that is described by OpenAPI.
    OpenApiTool(ToolKind::OPENAPI)
    {
        /// `{"name":…,"spec":{…},"auth":{"type":"anonymous"}}`.
        openapi: Value,
    }
    {}
}

tool_body! {
    /// An Azure function behind a queue.
    AzureFunctionTool(ToolKind::AZURE_FUNCTION)
    {
        /// `{"function":{…},"input_binding":{…},"output_binding":{…}}`.
        azure_function: Value,
    }
    {}
}

tool_body! {
    /// A browser.
    BrowserAutomationTool(ToolKind::BROWSER_AUTOMATION)
    {}
    {
        /// Settings of the preview: `{"connection":{"project_connection_id":…}}`.
        browser_automation_preview: Value,
    }
}

tool_body! {
    /// A value the agent has to produce; it arrives as a `structured_outputs` item.
    CaptureStructuredOutputsTool(ToolKind::CAPTURE_STRUCTURED_OUTPUTS)
    {}
    {
        /// `{"name":…,"description":…,"schema":{…},"strict":…}`.
        outputs: Value,
    }
}

tool_body! {
    /// Work IQ, Fabric IQ or Web IQ.
    IqTool(ToolKind::WORK_IQ_PREVIEW)
    {}
    {
        /// The connection of the project.
        project_connection_id: String,
    }
}

tool_body! {
    /// A tool without settings of its own.
    PlainTool(ToolKind::SHELL)
    {}
    {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tool_is_written_back_with_what_is_new_in_it() {
        let json = json!({"type": "mcp", "server_label": "jira", "require_approval": "always", "brand_new": [1]});
        let tool: Tool = serde_json::from_value(json.clone()).unwrap();
        assert!(matches!(&tool, Tool::Mcp(mcp) if mcp.server_label == "jira" && mcp.other.contains_key("brand_new")));
        assert_eq!(serde_json::to_value(&tool).unwrap(), json);
        let odd = json!({"type": "mcp", "server_label": 5});
        let tool: Tool = serde_json::from_value(odd.clone()).unwrap();
        assert!(matches!(tool, Tool::Unknown(_)));
        assert_eq!((tool.kind(), serde_json::to_value(&tool).unwrap()), (ToolKind::MCP, odd));
    }
}
