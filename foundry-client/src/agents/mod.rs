//! Agents of a project: what they are, their versions, how they are reached.

mod definition;
mod endpoint;

use std::collections::BTreeMap;

use serde_json::value::RawValue;

pub use definition::{
    AgentDefinition, AgentKind, ExternalDefinition, HostedDefinition, PromptDefinition, ProtocolVersion,
    UnknownDefinition, VoiceDefinition, WorkflowDefinition,
};
pub use endpoint::{
    AgentEndpoint, ApprovalStatus, AuthorizationScheme, EndpointChange, Protocol, SchemeKind, VersionRule,
};

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use crate::client::{AgentPatch, CodeArchive, FromManifest, NewVersion};
use crate::conversation::pairs;
use crate::object::{Read, Slot, by_text, read_object, readable};
use crate::raw::RawJson;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// Whether an agent answers.
    AgentState {
        /// It answers.
        ENABLED = "enabled",
        /// It refuses.
        DISABLED = "disabled",
    }
}

vocabulary! {
    /// How far a version is.
    VersionStatus {
        /// Being made.
        CREATING = "creating",
        /// Can be used.
        ACTIVE = "active",
        /// Could not be made.
        FAILED = "failed",
        /// Being deleted.
        DELETING = "deleting",
        /// Gone.
        DELETED = "deleted",
    }
}

vocabulary! {
    /// A preview that a project must opt in to: the header `Foundry-Features`.
    Feature {
        /// Workflow agents.
        WORKFLOW_AGENTS = "WorkflowAgents=V1Preview",
        /// Agents that run elsewhere.
        EXTERNAL_AGENTS = "ExternalAgents=V1Preview",
        /// Drafts of agents.
        DRAFT_AGENTS = "DraftAgents=V1Preview",
        /// Voice agents.
        VOICE_AGENTS = "VoiceAgents=V1Preview",
        /// Digital workers.
        DIGITAL_WORKER = "DigitalWorker=V1Preview",
        /// The tools of GitHub Copilot.
        GITHUB_COPILOT = "GitHubCopilot=V1Preview",
        /// Skills.
        SKILLS = "Skills=V1Preview",
        /// The tools of Microsoft Copilot.
        MICROSOFT_COPILOT = "MicrosoftCopilot=V1Preview",
        /// Memory stores. Calls of memory stores opt in by themselves.
        MEMORY_STORES = "MemoryStores=V1Preview",
        /// Routines.
        ROUTINES = "Routines=V2Preview",
        /// Evaluations.
        EVALUATIONS = "Evaluations=V1Preview",
        /// Schedules.
        SCHEDULES = "Schedules=V1Preview",
        /// Red teams.
        RED_TEAMS = "RedTeams=V1Preview",
        /// Insights.
        INSIGHTS = "Insights=V1Preview",
        /// Insights about agents.
        AGENT_INSIGHTS = "AgentInsights=V1Preview",
        /// Jobs that make data.
        DATA_GENERATION_JOBS = "DataGenerationJobs=V1Preview",
        /// Models.
        MODELS = "Models=V1Preview",
        /// Controls of the model router.
        MODEL_ROUTER_CONTROLS = "ModelRouterControls=V1Preview",
        /// Sessions of fine-tuning.
        FINE_TUNING_SESSIONS = "FineTuningSessions=V1Preview",
    }
}

/// An agent of the project.
///
/// Shape: <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/configure-agent>.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Agent {
    /// Its name: at most 63 letters, digits and inner hyphens.
    pub name: String,
    /// Its id.
    pub id: Option<String>,
    /// Whether it answers.
    pub state: Option<AgentState>,
    /// The newest version.
    pub latest: Option<AgentVersion>,
    /// How it is reached.
    pub endpoint: Option<AgentEndpoint>,
    /// The identity it acts as. An agent of the old kind has none, and cannot be published.
    pub instance_identity: Option<AgentIdentity>,
    /// The blueprint of that identity.
    pub blueprint: Option<AgentIdentity>,
    /// The id of the blueprint that the agent was made with.
    pub blueprint_id: Option<String>,
    /// How far a change of the agent is.
    pub configuration_state: Option<String>,
    /// Who decided about the state, for example an administrator.
    pub state_source: Option<String>,
    /// What kind of digital worker it is.
    pub digital_worker_type: Option<String>,
    /// What other agents are told about this one: a card of the A2A protocol.
    pub card: Option<RawJson>,
    raw: RawJson,
}

/// The Entra identity of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentIdentity {
    /// Its client id: the `msaAppId` of a bot that stands in front of the agent.
    pub client_id: Option<String>,
    /// Its object id. Not the one for a bot.
    pub principal_id: Option<String>,
    /// `active` or `disabled`.
    pub status: Option<String>,
}

/// One version of an agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentVersion {
    /// `name:version`.
    pub id: Option<String>,
    /// The agent.
    pub name: String,
    /// The version.
    pub version: String,
    /// For people.
    pub description: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<i64>,
    /// What it is.
    pub definition: AgentDefinition,
    /// How far it is; absent in older answers.
    pub status: Option<VersionStatus>,
    /// Whether it is a draft.
    pub draft: bool,
    /// Pairs of the application.
    pub metadata: BTreeMap<String, String>,
    /// An id that the old publishing call wants.
    pub agent_guid: Option<String>,
    raw: RawJson,
}

impl Agent {
    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }

    /// The client id of the agent's identity: the app id of a bot in front of it. None for an agent of the old kind.
    #[must_use]
    pub fn bot_app_id(&self) -> Option<&str> {
        self.instance_identity.as_ref()?.client_id.as_deref()
    }

    /// Whether an administrator has approved what was published.
    #[must_use]
    pub fn approval_status(&self) -> Option<&ApprovalStatus> {
        self.endpoint.as_ref()?.publish_approval_status.as_ref()
    }
}

impl AgentVersion {
    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }
}

readable! {
    AgentIdentity { client_id => text, principal_id => text, status => text }
}

impl Read<'_> for Agent {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let (mut versions, mut blueprint_reference) = (None, None);
        let mut it = Self {
            name: String::new(),
            id: None,
            state: None,
            latest: None,
            endpoint: None,
            instance_identity: None,
            blueprint: None,
            blueprint_id: None,
            configuration_state: None,
            state_source: None,
            digital_worker_type: None,
            card: None,
            raw: RawJson::copied(json),
        };
        read_object(
            json.get(),
            &mut [
                Slot::must("name", &mut it.name),
                Slot::text("id", &mut it.id),
                Slot::may("state", &mut it.state),
                Slot::may("versions", &mut versions),
                Slot::may("agent_endpoint", &mut it.endpoint),
                Slot::may("instance_identity", &mut it.instance_identity),
                Slot::may("blueprint", &mut it.blueprint),
                Slot::may("blueprint_reference", &mut blueprint_reference),
                Slot::text("configuration_state", &mut it.configuration_state),
                Slot::text("state_source", &mut it.state_source),
                Slot::text("digital_worker_type", &mut it.digital_worker_type),
                Slot::may("agent_card", &mut it.card),
            ],
        )
        .and_then(|()| within(versions, Slot::may("latest", &mut it.latest)))
        .and_then(|()| within(blueprint_reference, Slot::text("blueprint_id", &mut it.blueprint_id)))
        .map_err(|_| serde::de::Error::custom("not an agent"))?;
        Ok(it)
    }
}

/// The one member that counts in an object that may be missing.
fn within<'a>(object: Option<&'a RawValue>, member: Slot<'_, 'a>) -> Result<(), serde_json::Error> {
    object.map_or(Ok(()), |object| read_object(object.get(), &mut [member]))
}

impl Read<'_> for AgentVersion {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let (mut version, mut definition, mut metadata) = (None, RawValue::NULL, None);
        let mut it = Self {
            id: None,
            name: String::new(),
            version: String::new(),
            description: None,
            created_at: None,
            definition: AgentDefinition::from_raw(RawJson::default()),
            status: None,
            draft: false,
            metadata: BTreeMap::new(),
            agent_guid: None,
            raw: RawJson::copied(json),
        };
        read_object(
            json.get(),
            &mut [
                Slot::text("id", &mut it.id),
                Slot::must("name", &mut it.name),
                Slot::code("version", &mut version),
                Slot::text("description", &mut it.description),
                Slot::time("created_at", &mut it.created_at),
                Slot::may("definition", &mut definition),
                Slot::may("status", &mut it.status),
                Slot::null("draft", &mut it.draft),
                Slot::may("metadata", &mut metadata),
                Slot::text("agent_guid", &mut it.agent_guid),
            ],
        )
        .map_err(|_| serde::de::Error::custom("not a version of an agent"))?;
        it.version = version.unwrap_or_default();
        it.definition = AgentDefinition::from_raw(RawJson::copied(definition));
        it.metadata = metadata.map(pairs).unwrap_or_default();
        Ok(it)
    }
}

by_text!(Agent, AgentVersion);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_reads_with_and_without_its_optional_members() {
        let agent: Agent = serde_json::from_value(json!({"object": "agent", "name": "a"})).unwrap();
        assert!(agent.latest.is_none() && agent.endpoint.is_none() && agent.bot_app_id().is_none());
        let agent: Agent = serde_json::from_value(json!({
            "object": "agent", "id": "a", "name": "a", "state": "enabled", "brand_new": 1,
            "versions": {"latest": {"object": "agent.version", "id": "a:2", "name": "a", "version": "2", "status": "active",
                "created_at": 1_795_341_600, "definition": {"kind": "prompt", "model": "gpt-4.1"}, "metadata": {"k": "v"},
                "agent_guid": "g", "draft": null}},
            "agent_endpoint": {"protocol_configuration": {"responses": {}}, "publish_approval_status": "pending"},
            "instance_identity": {"client_id": "c", "principal_id": "p", "status": "active"}, "blueprint": null,
            "blueprint_reference": {"type": "ManagedAgentIdentityBlueprint", "blueprint_id": "b"}, "agent_card": {"name": "x"},
            "configuration_state": "succeeded", "state_source": "user", "digital_worker_type": 5
        }))
        .unwrap();
        let latest = agent.latest.as_ref().unwrap();
        assert_eq!((latest.version.as_str(), latest.status.clone().unwrap()), ("2", VersionStatus::ACTIVE));
        assert_eq!((latest.metadata["k"].as_str(), latest.created_at), ("v", Some(1_795_341_600)));
        assert_eq!((agent.bot_app_id(), agent.approval_status()), (Some("c"), Some(&ApprovalStatus::PENDING)));
        assert_eq!((agent.blueprint_id.as_deref(), agent.state_source.as_deref()), (Some("b"), Some("user")));
        assert_eq!(
            (agent.configuration_state.as_deref(), agent.digital_worker_type.as_deref()),
            (Some("succeeded"), None)
        );
        assert_eq!(agent.card.as_ref().unwrap().as_str(), r#"{"name":"x"}"#);
        assert!(agent.raw().as_str().contains("brand_new"));
        assert!(serde_json::from_value::<Agent>(json!({"object": "agent"})).is_err());
    }
}
