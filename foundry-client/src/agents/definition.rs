//! What a version of an agent is made of.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::object::{Read, Slot, by_text, read_object, read_whole, readable, slots};
use crate::raw::RawJson;
use crate::tool::Tool;
use crate::vocabulary::vocabulary;
use crate::written::{Member, Write, Written, write_object};

vocabulary! {
    /// The `kind` of a definition.
    AgentKind {
        /// A model with instructions and tools.
        PROMPT = "prompt",
        /// A container or code of the developer, run by the service.
        HOSTED = "hosted",
        /// A workflow. Needs [`Feature::WORKFLOW_AGENTS`](super::Feature::WORKFLOW_AGENTS).
        WORKFLOW = "workflow",
        /// An agent that runs elsewhere. Needs [`Feature::EXTERNAL_AGENTS`](super::Feature::EXTERNAL_AGENTS).
        EXTERNAL = "external",
        /// A voice agent. Needs [`Feature::VOICE_AGENTS`](super::Feature::VOICE_AGENTS).
        VOICE = "voice",
    }
}

/// What a version of an agent is made of. Members without a field are in `other` and are written back.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum AgentDefinition {
    /// A model with instructions and tools.
    Prompt(Box<PromptDefinition>),
    /// A container or code of the developer, run by the service.
    Hosted(Box<HostedDefinition>),
    /// A workflow.
    Workflow(WorkflowDefinition),
    /// An agent that runs elsewhere.
    External(ExternalDefinition),
    /// A voice agent.
    Voice(VoiceDefinition),
    /// Anything else, as raw JSON.
    Unknown(UnknownDefinition),
}

/// A model with instructions and tools.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PromptDefinition {
    /// The model deployment.
    pub model: String,
    /// What the agent is told.
    pub instructions: Option<String>,
    /// How freely it chooses its words.
    pub temperature: Option<f64>,
    /// The share of likely words it chooses from.
    pub top_p: Option<f64>,
    /// What it may use.
    pub tools: Option<Vec<Tool>>,
    /// Placeholders of the instructions: name to `{description, default_value, schema, required}`.
    pub structured_inputs: Option<BTreeMap<String, Value>>,
    /// Members without a field here: `reasoning`, `tool_choice`, `text`, `skills`, `harness`, `rai_config`, …
    pub other: Map<String, Value>,
}

impl PromptDefinition {
    /// An agent on this model deployment.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// What the agent is told.
    #[must_use]
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, tool: impl Into<Tool>) -> Self {
        self.tools.get_or_insert_default().push(tool.into());
        self
    }
}

/// A container or code of the developer, run by the service.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HostedDefinition {
    /// Processors, for example `0.5`.
    pub cpu: Option<String>,
    /// Memory, for example `1Gi`.
    pub memory: Option<String>,
    /// `{"image": …}`; excludes `code_configuration`.
    pub container_configuration: Option<Value>,
    /// `{"runtime":…,"entry_point":[…]}`; excludes `container_configuration`.
    pub code_configuration: Option<Value>,
    /// The environment. May hold secrets: keep it out of logs.
    pub environment_variables: Option<BTreeMap<String, String>>,
    /// What the container speaks.
    pub protocol_versions: Vec<ProtocolVersion>,
    /// Members without a field here.
    pub other: Map<String, Value>,
}

/// A protocol that a container speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProtocolVersion {
    /// For example `responses`.
    pub protocol: String,
    /// For example `2.0.0`.
    pub version: String,
}

impl ProtocolVersion {
    /// This version of a protocol.
    #[must_use]
    pub fn new(protocol: impl Into<String>, version: impl Into<String>) -> Self {
        Self { protocol: protocol.into(), version: version.into() }
    }
}

impl HostedDefinition {
    /// A container of this image that speaks the Responses protocol.
    #[must_use]
    pub fn container(image: impl Into<String>, cpu: impl Into<String>, memory: impl Into<String>) -> Self {
        Self {
            cpu: Some(cpu.into()),
            memory: Some(memory.into()),
            container_configuration: Some(serde_json::json!({ "image": image.into() })),
            protocol_versions: vec![ProtocolVersion::new("responses", "2.0.0")],
            ..Self::default()
        }
    }
}

/// A workflow.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkflowDefinition {
    /// The workflow as YAML.
    pub workflow: String,
    /// Members without a field here.
    pub other: Map<String, Value>,
}

impl WorkflowDefinition {
    /// The workflow that this YAML describes.
    #[must_use]
    pub fn new(yaml: impl Into<String>) -> Self {
        Self { workflow: yaml.into(), other: Map::new() }
    }
}

/// An agent that runs elsewhere and sends its traces.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExternalDefinition {
    /// The id it has in its traces.
    pub otel_agent_id: Option<String>,
    /// Members without a field here.
    pub other: Map<String, Value>,
}

impl ExternalDefinition {
    /// The agent that has this id in its traces.
    #[must_use]
    pub fn new(otel_agent_id: impl Into<String>) -> Self {
        Self { otel_agent_id: Some(otel_agent_id.into()), other: Map::new() }
    }
}

/// A voice agent: a preview whose members still move.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VoiceDefinition {
    /// All members.
    pub other: Map<String, Value>,
}

impl VoiceDefinition {
    /// A voice agent of these members.
    #[must_use]
    pub fn new(members: Map<String, Value>) -> Self {
        Self { other: members }
    }
}

/// A definition without a type here, or of another shape than documented.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnknownDefinition {
    kind: AgentKind,
    raw: RawJson,
}

impl AgentDefinition {
    /// Reads a definition.
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Self {
        fn body<T: for<'a> Read<'a>>(raw: &RawJson) -> Option<T> {
            T::read(raw.value().ok()?).ok()
        }
        let mut kind = None;
        let tag = read_object(raw.as_str(), &mut [Slot::text("kind", &mut kind)]);
        let kind = kind.filter(|_| tag.is_ok()).unwrap_or_default();
        let typed = match kind.as_str() {
            "prompt" => body(&raw).map(|body| Self::Prompt(Box::new(body))),
            "hosted" => body(&raw).map(|body| Self::Hosted(Box::new(body))),
            "workflow" => body(&raw).map(Self::Workflow),
            "external" => body(&raw).map(Self::External),
            "voice" => body(&raw).map(Self::Voice),
            _ => None,
        };
        typed.unwrap_or_else(|| Self::Unknown(UnknownDefinition { kind: kind.into(), raw }))
    }

    /// The `kind`.
    #[must_use]
    pub fn kind(&self) -> AgentKind {
        match self {
            Self::Prompt(_) => AgentKind::PROMPT,
            Self::Hosted(_) => AgentKind::HOSTED,
            Self::Workflow(_) => AgentKind::WORKFLOW,
            Self::External(_) => AgentKind::EXTERNAL,
            Self::Voice(_) => AgentKind::VOICE,
            Self::Unknown(unknown) => unknown.kind.clone(),
        }
    }

    /// The JSON of the definition.
    #[must_use]
    pub fn raw(&self) -> RawJson {
        match self {
            Self::Unknown(unknown) => unknown.raw.clone(),
            known => RawJson::from_value(known).unwrap_or_default(),
        }
    }
}

impl Serialize for AgentDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut members, other) = match self {
            Self::Prompt(body) => (body.members(), &body.other),
            Self::Hosted(body) => (body.members(), &body.other),
            Self::Workflow(body) => (body.members(), &body.other),
            Self::External(body) => (body.members(), &body.other),
            Self::Voice(body) => (body.members(), &body.other),
            Self::Unknown(unknown) => return unknown.raw.serialize(serializer),
        };
        let kind = self.kind();
        members.insert(0, ("kind", Some(Written::Text(kind.as_str()))));
        write_object(&members, other, serializer)
    }
}

impl Read<'_> for AgentDefinition {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(Self::from_raw(RawJson::copied(json)))
    }
}

by_text!(AgentDefinition);

readable! {
    ProtocolVersion { protocol => must, version => must }
}

/// Bodies with members of any name; the `kind` is none of them.
macro_rules! bodies {
    ($($name:ident { $($field:ident $(=> $how:ident)? $(, or $empty:expr)?;)* })*) => {$(
        impl Read<'_> for $name {
            fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
                let mut it = Self { $($field: Default::default(),)* other: Map::new() };
                read_whole(json.get(), slots![it; $($field $(=> $how)?),*], &mut it.other)?;
                it.other.remove("kind");
                Ok(it)
            }
        }

        by_text!($name);

        impl $name {
            fn members(&self) -> Vec<Member<'_>> {
                vec![$((stringify!($field), self.$field.written()$(.or($empty))?),)*]
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write_object(&self.members(), &self.other, serializer)
            }
        }
    )*};
}
bodies! {
    PromptDefinition { model => must; instructions; temperature; top_p; tools; structured_inputs; }
    HostedDefinition {
        cpu;
        memory;
        container_configuration;
        code_configuration;
        environment_variables;
        protocol_versions;
    }
    WorkflowDefinition { workflow; }
    ExternalDefinition { otel_agent_id, or Some(Written::Null); }
    VoiceDefinition {}
}

macro_rules! into_definition {
    ($($body:ty => $variant:ident($wrap:expr);)*) => {$(
        impl From<$body> for AgentDefinition {
            fn from(body: $body) -> Self {
                Self::$variant($wrap(body))
            }
        }
    )*};
}
into_definition! {
    PromptDefinition => Prompt(Box::new);
    HostedDefinition => Hosted(Box::new);
    WorkflowDefinition => Workflow(std::convert::identity);
    ExternalDefinition => External(std::convert::identity);
    VoiceDefinition => Voice(std::convert::identity);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::FunctionTool;
    use serde_json::json;

    #[test]
    fn every_kind_reads_and_is_written_back() {
        for json in [
            json!({"kind": "prompt", "model": "m", "instructions": "i", "temperature": 0.5, "tools": [{"type": "shell"}],
                   "structured_inputs": {"x": {"required": false}}, "rai_config": {"rai_policy_name": "p"}}),
            json!({"kind": "hosted", "cpu": "0.5", "memory": "1Gi", "container_configuration": {"image": "r/i:t"},
                   "environment_variables": {"K": "V"},
                   "protocol_versions": [{"protocol": "responses", "version": "2.0.0"}]}),
            json!({"kind": "workflow", "workflow": "a: b"}),
            json!({"kind": "external", "otel_agent_id": "o"}),
            json!({"kind": "voice", "anything": [1]}),
            json!({"kind": "hologram", "x": 1}),
            json!({"kind": "prompt"}),
        ] {
            let definition: AgentDefinition = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(definition.kind().as_str(), json["kind"]);
            assert_eq!(serde_json::to_value(&definition).unwrap(), json);
            let known = definition.kind().is_known() && json != json!({"kind": "prompt"});
            assert_eq!(!matches!(definition, AgentDefinition::Unknown(_)), known, "{json}");
        }
    }

    #[test]
    fn a_prompt_agent_is_written_field_by_field() {
        let tool = FunctionTool::new("f", json!({"type": "object"})).description("d");
        let definition: AgentDefinition = PromptDefinition::new("m").instructions("i").tool(tool).into();
        assert_eq!(
            serde_json::to_value(&definition).unwrap(),
            json!({"kind": "prompt", "model": "m", "instructions": "i", "tools": [
                {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": false}]})
        );
    }
}
