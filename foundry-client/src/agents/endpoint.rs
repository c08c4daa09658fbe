//! How an agent is reached, and changes of that.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::object::{Read, by_text, read_whole, slots};
use crate::vocabulary::vocabulary;

vocabulary! {
    /// A protocol of an agent's endpoint: a key of `protocol_configuration`.
    Protocol {
        /// What this crate speaks.
        RESPONSES = "responses",
        /// What Bot Service speaks.
        ACTIVITY = "activity",
        /// Between agents.
        A2A = "a2a",
        /// Tools.
        MCP = "mcp",
        /// Free-form calls of hosted agents.
        INVOCATIONS = "invocations",
        /// The same over a socket.
        INVOCATIONS_WS = "invocations_ws",
        /// Voice.
        VOICE = "voice",
        /// Voice, the engine.
        VOICE_CONVERSATION_ENGINE = "voice_conversation_engine",
    }
}

vocabulary! {
    /// Who may call an agent's endpoint: the `type` of an authorization scheme.
    SchemeKind {
        /// Callers with a role in Foundry.
        ENTRA = "Entra",
        /// The older word for callers through Bot Service.
        BOT_SERVICE = "BotService",
        /// Callers through Bot Service who have a role in Foundry.
        BOT_SERVICE_RBAC = "BotServiceRbac",
        /// Everybody of the project's tenant, through Bot Service; guests are refused.
        BOT_SERVICE_TENANT = "BotServiceTenant",
        /// The newer word for [`ENTRA`](Self::ENTRA).
        AZURE_RBAC = "AzureRbac",
        /// Agents of a blueprint.
        AGENT_BLUEPRINT = "AgentBlueprint",
    }
}

vocabulary! {
    /// Whether an administrator has approved what was published.
    ApprovalStatus {
        /// Nothing was published.
        NOT_PUBLISHED = "not_published",
        /// Waits for an administrator.
        PENDING = "pending",
        /// Approved.
        APPROVED = "approved",
        /// Rejected.
        REJECTED = "rejected",
        /// Needs no approval.
        NO_APPROVAL_NEEDED = "no_approval_needed",
    }
}

/// How an agent is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AgentEndpoint {
    /// Which version answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_selector: Option<Value>,
    /// The protocols; a key that is there enables its protocol.
    pub protocol_configuration: BTreeMap<String, Value>,
    /// Who may call.
    pub authorization_schemes: Vec<AuthorizationScheme>,
    /// Set by the service alone.
    #[serde(skip_serializing)]
    pub publish_approval_status: Option<ApprovalStatus>,
    /// Members without a field here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Who may call an agent's endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuthorizationScheme {
    /// Which callers.
    #[serde(rename = "type")]
    pub kind: SchemeKind,
    /// Members without a field here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Read<'_> for AgentEndpoint {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let mut it = Self::default();
        let slots = slots![it; version_selector, protocol_configuration => null, authorization_schemes => null,
            publish_approval_status];
        read_whole(json.get(), slots, &mut it.other)?;
        Ok(it)
    }
}

impl Read<'_> for AuthorizationScheme {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let mut it = Self::from(SchemeKind::from(""));
        read_whole(json.get(), slots![it; kind => must as "type"], &mut it.other)?;
        Ok(it)
    }
}

by_text!(AgentEndpoint, AuthorizationScheme);

impl From<SchemeKind> for AuthorizationScheme {
    fn from(kind: SchemeKind) -> Self {
        Self { kind, other: Map::new() }
    }
}

impl AgentEndpoint {
    /// Whether a protocol is enabled.
    #[must_use]
    pub fn speaks(&self, protocol: &Protocol) -> bool {
        self.protocol_configuration.contains_key(protocol.as_str())
    }

    /// Whether these callers are let in.
    #[must_use]
    pub fn admits(&self, kind: &SchemeKind) -> bool {
        self.authorization_schemes.iter().any(|scheme| scheme.kind == *kind)
    }
}

/// One version in a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionRule {
    /// The version; `@latest` for the newest.
    pub version: String,
    /// Its share of the traffic, in percent.
    pub percent: u8,
}

impl VersionRule {
    /// A version and its share of the traffic in percent.
    #[must_use]
    pub fn new(version: impl Into<String>, percent: u8) -> Self {
        Self { version: version.into(), percent }
    }
}

/// What to change of an agent's endpoint. Everything else stays: the service replaces protocols and schemes as a whole,
/// so `agents().update_endpoint` reads them, applies this and writes all of them back.
///
/// ```
/// # use foundry_client::agents::{EndpointChange, Protocol, SchemeKind};
/// let change = EndpointChange::new().enable(Protocol::ACTIVITY).admit(SchemeKind::BOT_SERVICE_TENANT);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct EndpointChange {
    enable: Vec<(Protocol, Option<Value>)>,
    disable: Vec<Protocol>,
    admit: Vec<SchemeKind>,
    dismiss: Vec<SchemeKind>,
    versions: Vec<VersionRule>,
}

impl EndpointChange {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enables a protocol; what is set for it already stays.
    pub fn enable(mut self, protocol: Protocol) -> Self {
        self.enable.push((protocol, None));
        self
    }

    /// Enables a protocol with these settings; settings of other names stay.
    pub fn enable_with(mut self, protocol: Protocol, settings: Value) -> Self {
        self.enable.push((protocol, Some(settings)));
        self
    }

    /// Disables a protocol.
    pub fn disable(mut self, protocol: Protocol) -> Self {
        self.disable.push(protocol);
        self
    }

    /// Lets these callers in. `BotServiceRbac` and `BotServiceTenant` exclude each other: the one replaces the other.
    pub fn admit(mut self, kind: SchemeKind) -> Self {
        self.admit.push(kind);
        self
    }

    /// Keeps these callers out.
    pub fn dismiss(mut self, kind: SchemeKind) -> Self {
        self.dismiss.push(kind);
        self
    }

    /// Which versions answer. The shares must add up to 100.
    pub fn versions(mut self, rules: impl IntoIterator<Item = VersionRule>) -> Self {
        self.versions = rules.into_iter().collect();
        self
    }

    /// The endpoint after the change: pure.
    #[must_use]
    pub fn apply(&self, before: &AgentEndpoint) -> AgentEndpoint {
        let mut after = before.clone();
        for protocol in &self.disable {
            after.protocol_configuration.remove(protocol.as_str());
        }
        for (protocol, settings) in &self.enable {
            let slot = after.protocol_configuration.entry(protocol.as_str().to_owned());
            let slot = slot.or_insert_with(|| Value::Object(Map::new()));
            if slot.is_null() {
                *slot = Value::Object(Map::new());
            }
            match (slot, settings) {
                (Value::Object(old), Some(Value::Object(new))) => old.extend(new.clone()),
                (slot, Some(new)) => *slot = new.clone(),
                (_, None) => {}
            }
            // Set by the service alone.
            if let Some(Value::Object(settings)) = after.protocol_configuration.get_mut(protocol.as_str()) {
                settings.remove("access_boundaries");
            }
        }
        for kind in &self.admit {
            let rival = match kind.as_str() {
                "BotServiceRbac" => Some(SchemeKind::BOT_SERVICE_TENANT),
                "BotServiceTenant" => Some(SchemeKind::BOT_SERVICE_RBAC),
                _ => None,
            };
            after.authorization_schemes.retain(|scheme| Some(&scheme.kind) != rival.as_ref());
            if !after.admits(kind) {
                after.authorization_schemes.push(kind.clone().into());
            }
        }
        after.authorization_schemes.retain(|scheme| !self.dismiss.contains(&scheme.kind));
        if !self.versions.is_empty() {
            let rule = |rule: &VersionRule| serde_json::json!({"type": "FixedRatio", "agent_version": rule.version, "traffic_percentage": rule.percent});
            let rules: Vec<Value> = self.versions.iter().map(rule).collect();
            after.version_selector = Some(serde_json::json!({ "version_selection_rules": rules }));
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before: AgentEndpoint = serde_json::from_value(json!({
            "protocol_configuration": {"responses": {"x": 1}, "mcp": {}, "activity": {"access_boundaries": ["a"], "y": 1}},
            "authorization_schemes": [{"type": "Entra", "z": 1}, {"type": "BotServiceRbac"}],
            "version_selector": {"version_selection_rules": []},
            "publish_approval_status": "approved",
            "brand_new": true
        }))
        .unwrap();
        let change = EndpointChange::new()
            .enable_with(Protocol::ACTIVITY, json!({"enable_m365_public_endpoint": true}))
            .disable(Protocol::MCP)
            .admit(SchemeKind::BOT_SERVICE_TENANT);
        let after = change.apply(&before);
        assert!(after.speaks(&Protocol::ACTIVITY) && !after.admits(&SchemeKind::BOT_SERVICE_RBAC));
        assert_eq!(
            serde_json::to_value(&after).unwrap(),
            json!({
                "protocol_configuration": {"responses": {"x": 1},
                                           "activity": {"y": 1, "enable_m365_public_endpoint": true}},
                "authorization_schemes": [{"type": "Entra", "z": 1}, {"type": "BotServiceTenant"}],
                "version_selector": {"version_selection_rules": []},
                "brand_new": true
            })
        );
        let pinned =
            EndpointChange::new().versions([VersionRule::new("2", 100)]).dismiss(SchemeKind::ENTRA).apply(&before);
        assert_eq!(
            pinned.version_selector,
            Some(json!({"version_selection_rules": [
                {"type": "FixedRatio", "agent_version": "2", "traffic_percentage": 100}]}))
        );
        assert!(!pinned.admits(&SchemeKind::ENTRA));
        assert_eq!(EndpointChange::new().apply(&before), before);
    }
}
