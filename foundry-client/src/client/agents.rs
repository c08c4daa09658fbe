//! Agents: CRUD, versions, endpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use crate::agents::{Agent, AgentDefinition, AgentEndpoint, AgentVersion, EndpointChange};
use crate::client::Shared;
use crate::client::about::about;
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, Resource};
use crate::client::lists::{ListAgents, ListVersions};
use crate::client::page::Paged;
use crate::conversation::{Deleted, Page};
use crate::raw::RawJson;

const fn operation(name: &'static str) -> Operation {
    Operation::Plain(name, Resource::Agent)
}

/// Agents of a project; from [`FoundryClient::agents`](crate::FoundryClient::agents).
///
/// Making and changing agents needs a role such as *Foundry User*; kinds in preview need their
/// [feature](crate::agents::Feature), else [`ErrorKind::PreviewRequired`](crate::ErrorKind::PreviewRequired).
///
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/configure-agent>
#[derive(Clone)]
pub struct Agents(Arc<Shared>);

/// What a version is made of.
#[derive(Serialize)]
pub(crate) struct Version<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    definition: &'a AgentDefinition,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blueprint_reference: Option<Blueprint<'a>>,
}

/// The blueprint of an agent's identity, by its id.
#[derive(Serialize)]
struct Blueprint<'a> {
    r#type: &'static str,
    blueprint_id: &'a str,
}

/// What can be changed about an agent beside its versions; see [`Agents::patch`]. What is not set stays.
#[derive(Clone, Debug, Default, Serialize)]
#[must_use]
pub struct AgentPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_endpoint: Option<AgentEndpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_card: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digital_worker_type: Option<String>,
}

impl AgentPatch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How the agent is reached. The service replaces protocols and authorization schemes as a whole: give all that shall
    /// stay, or use [`Agents::update_endpoint`].
    pub fn endpoint(mut self, endpoint: AgentEndpoint) -> Self {
        self.agent_endpoint = Some(endpoint);
        self
    }

    /// What other agents are told about this one: a card of the A2A protocol.
    pub fn card(mut self, card: RawJson) -> Self {
        self.agent_card = Some(card);
        self
    }

    /// What kind of digital worker it is; needs [`Feature::DIGITAL_WORKER`](crate::agents::Feature::DIGITAL_WORKER).
    pub fn digital_worker_type(mut self, kind: impl Into<String>) -> Self {
        self.digital_worker_type = Some(kind.into());
        self
    }
}

/// A new agent, or a new version of one.
///
/// ```
/// # use foundry_client::agents::{NewVersion, PromptDefinition};
/// let version = NewVersion::new(PromptDefinition::new("gpt-4.1").instructions("Be short.")).description("first");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewVersion {
    definition: AgentDefinition,
    description: Option<String>,
    metadata: BTreeMap<String, String>,
    draft: Option<bool>,
    blueprint: Option<String>,
}

impl NewVersion {
    /// Made of this definition.
    pub fn new(definition: impl Into<AgentDefinition>) -> Self {
        Self {
            definition: definition.into(),
            description: None,
            metadata: BTreeMap::new(),
            draft: None,
            blueprint: None,
        }
    }

    /// Whether it is a draft; needs [`Feature::DRAFT_AGENTS`](crate::agents::Feature::DRAFT_AGENTS).
    pub fn draft(mut self, draft: bool) -> Self {
        self.draft = Some(draft);
        self
    }

    /// The blueprint that the agent's identity is made from, by its id.
    pub fn blueprint(mut self, id: impl Into<String>) -> Self {
        self.blueprint = Some(id.into());
        self
    }

    pub(crate) fn body<'a>(&'a self, name: Option<&'a str>) -> Version<'a> {
        let Self { definition, description, metadata, draft, blueprint } = self;
        let reference = |id| Blueprint { r#type: "ManagedAgentIdentityBlueprint", blueprint_id: id };
        let blueprint_reference = blueprint.as_deref().map(reference);
        Version { name, definition, description: description.as_deref(), metadata, draft: *draft, blueprint_reference }
    }
}

about!(NewVersion);

impl Agents {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// One page of the project's agents. `GET {project}/agents`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn list(&self, query: &ListAgents) -> Result<Page<Agent>, Error> {
        self.0.fetch(self.list_call(query)?).await
    }

    /// All of the project's agents, page by page.
    pub fn list_all(&self, query: &ListAgents) -> Paged<Agent> {
        Paged::new(&self.0, self.list_call(query))
    }

    fn list_call(&self, query: &ListAgents) -> Result<Call, Error> {
        let operation = Operation::Plain("list_agents", Resource::Project);
        Ok(self.0.foundry(operation, Method::GET, &["agents"])?.query(query.0.iter()))
    }

    /// Reads an agent with its newest version and its endpoint. `GET {project}/agents/{name}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn get(&self, name: &str) -> Result<Agent, Error> {
        self.0.fetch(self.call("get_agent", Method::GET, &["agents", name])?).await
    }

    /// Makes an agent with its first version. `POST {project}/agents`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind): [`Conflict`](crate::ErrorKind::Conflict) when the name is taken. Repeated
    /// only when the service did not act.
    pub async fn create(&self, name: &str, version: &NewVersion) -> Result<Agent, Error> {
        let operation = Operation::Plain("create_agent", Resource::Project);
        let call = self.0.foundry(operation, Method::POST, &["agents"])?.json(&version.body(Some(name)))?;
        self.0.fetch(call).await
    }

    /// Makes a new version from these parts and returns the agent. `POST {project}/agents/{name}`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn update(&self, name: &str, version: &NewVersion) -> Result<Agent, Error> {
        let call = self.call("update_agent", Method::POST, &["agents", name])?.json(&version.body(None))?;
        self.0.fetch(call).await
    }

    /// Makes a new version; makes the agent, too, when there is none of that name.
    /// `POST {project}/agents/{name}/versions`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub async fn create_version(&self, name: &str, version: &NewVersion) -> Result<AgentVersion, Error> {
        let path = ["agents", name, "versions"];
        self.0.fetch(self.call("create_agent_version", Method::POST, &path)?.json(&version.body(None))?).await
    }

    /// Deletes an agent with all its versions. `DELETE {project}/agents/{name}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind): [`Conflict`](crate::ErrorKind::Conflict) while hosted sessions are active,
    /// unless `force`.
    pub async fn delete(&self, name: &str, force: bool) -> Result<Deleted, Error> {
        let call = self.call("delete_agent", Method::DELETE, &["agents", name])?;
        self.0.delete(call.query(force.then_some(("force", "true"))), name).await
    }

    /// One page of an agent's versions. `GET {project}/agents/{name}/versions`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn versions(&self, name: &str, query: &ListVersions) -> Result<Page<AgentVersion>, Error> {
        self.0.fetch(self.versions_call(name, query)?).await
    }

    /// All versions of an agent, page by page.
    pub fn versions_all(&self, name: &str, query: &ListVersions) -> Paged<AgentVersion> {
        Paged::new(&self.0, self.versions_call(name, query))
    }

    fn versions_call(&self, name: &str, query: &ListVersions) -> Result<Call, Error> {
        let call = self.call("list_agent_versions", Method::GET, &["agents", name, "versions"])?;
        Ok(call.query(query.0.iter()))
    }

    /// Reads one version. `GET {project}/agents/{name}/versions/{version}`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn version(&self, name: &str, version: &str) -> Result<AgentVersion, Error> {
        self.0.fetch(self.call("get_agent_version", Method::GET, &["agents", name, "versions", version])?).await
    }

    /// Deletes one version. `DELETE {project}/agents/{name}/versions/{version}`.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete).
    pub async fn delete_version(&self, name: &str, version: &str, force: bool) -> Result<Deleted, Error> {
        let call = self.call("delete_agent_version", Method::DELETE, &["agents", name, "versions", version])?;
        self.0.delete(call.query(force.then_some(("force", "true"))), version).await
    }

    /// Lets an agent answer. `POST {project}/agents/{name}:enable`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn enable(&self, name: &str) -> Result<(), Error> {
        self.switch("enable_agent", name, "enable").await
    }

    /// Lets an agent refuse. `POST {project}/agents/{name}:disable`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn disable(&self, name: &str) -> Result<(), Error> {
        self.switch("disable_agent", name, "disable").await
    }

    async fn switch(&self, operation: &'static str, name: &str, verb: &str) -> Result<(), Error> {
        // A colon in the name would make another verb of it.
        if name.is_empty() || name.contains(':') {
            return Err(Error::misuse("an agent's name is letters, digits and hyphens"));
        }
        let call = self.call(operation, Method::POST, &["agents", &format!("{name}:{verb}")])?;
        self.0.done(call.idempotent()).await.map(drop)
    }

    /// Changes how an agent is reached: reads the endpoint, applies the change, writes it.
    ///
    /// `PATCH {project}/agents/{name}` as a merge patch. Protocols and authorization schemes are replaced by the service
    /// as a whole, so everything to keep is written back. Nothing is sent when there is nothing to change. Two changes
    /// at the same moment can undo each other; the service offers no protection against that.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn update_endpoint(&self, name: &str, change: &EndpointChange) -> Result<Agent, Error> {
        let agent = self.get(name).await?;
        let before = agent.endpoint.clone().unwrap_or_default();
        let after = change.apply(&before);
        if agent.endpoint.is_some() && after == before {
            return Ok(agent);
        }
        self.patch_endpoint(name, &after).await
    }

    /// Replaces how an agent is reached, as it is given. [`update_endpoint`](Self::update_endpoint) is what one mostly
    /// wants.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn patch_endpoint(&self, name: &str, endpoint: &AgentEndpoint) -> Result<Agent, Error> {
        self.patch(name, &AgentPatch::new().endpoint(endpoint.clone())).await
    }

    /// Changes an agent beside its versions. `PATCH {project}/agents/{name}` as a merge patch.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn patch(&self, name: &str, change: &AgentPatch) -> Result<Agent, Error> {
        let call = self.call("patch_agent", Method::PATCH, &["agents", name])?.merge_patch();
        self.0.fetch(call.json(change)?).await
    }

    fn call(&self, name: &'static str, method: Method, path: &[&str]) -> Result<Call, Error> {
        self.0.foundry(operation(name), method, path)
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agents")
    }
}
