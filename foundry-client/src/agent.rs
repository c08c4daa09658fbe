//! Which agent a request is for, and which one made an item.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::object::{Read, by_text, read_object, slots};

/// Names an agent of the project and, if wanted, one version of it.
///
/// On the wire: `{"type":"agent_reference","name":…,"version":…}`
/// (<https://learn.microsoft.com/azure/ai-foundry/agents/>).
///
/// ```
/// # use foundry_client::AgentReference;
/// let agent = AgentReference::new("helpdesk").with_version("3");
/// assert_eq!(
///     serde_json::to_string(&agent)?,
///     r#"{"type":"agent_reference","name":"helpdesk","version":"3"}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct AgentReference {
    #[serde(rename = "type")]
    tag: Tag,
    /// The agent's name.
    pub name: String,
    /// The version; none for the one the agent's selector serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
enum Tag {
    #[serde(rename = "agent_reference")]
    AgentReference,
}

impl AgentReference {
    /// The agent with this name, in the version its selector serves.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { tag: Tag::AgentReference, name: name.into(), version: None }
    }

    /// One version of the agent.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

impl Read<'_> for AgentReference {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let mut it = Self::new("");
        read_object(json.get(), slots![it; name => must, version])?;
        Ok(it)
    }
}

by_text!(AgentReference);

impl From<&str> for AgentReference {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for AgentReference {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
