//! The agents of the project: a name, a behaviour, and how the bytes of their streams are laid out.

use http::StatusCode;
use serde_json::{Value, json};

use super::error::ApiError;
use super::sse::Framing;

/// The only model deployment of the project.
pub(crate) const DEPLOYMENT: &str = "gpt-4.1";
/// The only version of every agent.
pub(crate) const VERSION: &str = "1";
/// The opt-in that `preview-agent` asks for.
pub(crate) const PREVIEW: &str = "WorkflowAgents=V1Preview";

/// What an agent does with a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Memory,
    Slow,
    Hang,
    Silent,
    ErrorFlat,
    ErrorNested,
    ErrorBare,
    Failed,
    Truncated,
    EndsEarly,
    Dropped,
    Unclosed,
    UnknownEvent,
    UnknownItem,
    Refusal,
    Incomplete,
    ContentFilter,
    Function,
    Approval,
    Consent,
    ConsentCompleted,
    Big,
    DoneMarker,
    Json,
    Citation,
    Reasoning,
    Workflow,
    Gap,
    Lost,
    Throttled,
    ThrottledOnce,
    GatewayThrottled,
    Unavailable,
    UnavailableOnce,
    ServerError,
    Html,
    TimedOut,
    NotReady,
}

/// One agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) behaviour: Behaviour,
    /// A hosted agent: other id prefix, leaner objects, other error forms.
    pub(crate) hosted: bool,
    pub(crate) framing: Framing,
    /// Needs [`PREVIEW`] in `Foundry-Features`.
    pub(crate) preview: bool,
}

/// Names and behaviours besides the default agent. The table in the module documentation explains them.
const SPECIAL: [(&str, Behaviour); 47] = [
    ("slow-agent", Behaviour::Slow),
    ("hang-agent", Behaviour::Hang),
    ("silent-agent", Behaviour::Silent),
    ("error-flat-agent", Behaviour::ErrorFlat),
    ("error-nested-agent", Behaviour::ErrorNested),
    ("error-bare-agent", Behaviour::ErrorBare),
    ("failed-agent", Behaviour::Failed),
    ("truncated-agent", Behaviour::Truncated),
    ("ends-early-agent", Behaviour::EndsEarly),
    ("dropped-agent", Behaviour::Dropped),
    ("unclosed-agent", Behaviour::Unclosed),
    ("unknown-event-agent", Behaviour::UnknownEvent),
    ("unknown-item-agent", Behaviour::UnknownItem),
    ("refusal-agent", Behaviour::Refusal),
    ("incomplete-agent", Behaviour::Incomplete),
    ("content-filter-agent", Behaviour::ContentFilter),
    ("function-agent", Behaviour::Function),
    ("approval-agent", Behaviour::Approval),
    ("consent-agent", Behaviour::Consent),
    ("consent-completed-agent", Behaviour::ConsentCompleted),
    ("big-agent", Behaviour::Big),
    ("done-agent", Behaviour::DoneMarker),
    ("json-agent", Behaviour::Json),
    ("citation-agent", Behaviour::Citation),
    ("reasoning-agent", Behaviour::Reasoning),
    ("workflow-agent", Behaviour::Workflow),
    ("gap-agent", Behaviour::Gap),
    ("lost-agent", Behaviour::Lost),
    ("throttled-agent", Behaviour::Throttled),
    ("throttled-once-agent", Behaviour::ThrottledOnce),
    ("gateway-throttled-agent", Behaviour::GatewayThrottled),
    ("unavailable-agent", Behaviour::Unavailable),
    ("unavailable-once-agent", Behaviour::UnavailableOnce),
    ("server-error-agent", Behaviour::ServerError),
    ("html-agent", Behaviour::Html),
    ("timed-out-agent", Behaviour::TimedOut),
    ("not-ready-agent", Behaviour::NotReady),
    ("hosted-agent", Behaviour::Memory),
    ("hosted-slow-agent", Behaviour::Slow),
    ("hosted-hang-agent", Behaviour::Hang),
    ("hosted-failed-agent", Behaviour::Failed),
    ("hosted-consent-agent", Behaviour::Consent),
    ("crlf-agent", Behaviour::Memory),
    ("cr-agent", Behaviour::Memory),
    ("multiline-agent", Behaviour::Memory),
    ("split-agent", Behaviour::Memory),
    ("preview-agent", Behaviour::Memory),
];

impl Agent {
    /// The agent `name`, where `default` is the name of the one that remembers.
    pub(crate) fn find(name: &str, default: &str) -> Option<Self> {
        let behaviour = if name == default {
            Behaviour::Memory
        } else {
            SPECIAL.iter().find(|(special, _)| *special == name).map(|(_, behaviour)| *behaviour)?
        };
        Some(Self {
            name: name.to_owned(),
            behaviour,
            hosted: name.starts_with("hosted-"),
            framing: match name {
                "crlf-agent" => Framing::CrLfBom,
                "cr-agent" => Framing::CrBom,
                "multiline-agent" => Framing::MultiLine,
                "split-agent" => Framing::Split,
                _ => Framing::Lf,
            },
            preview: name == "preview-agent",
        })
    }

    /// An agent that was made by a call: it answers like the default one.
    pub(crate) fn made(name: &str, hosted: bool) -> Self {
        Self { name: name.to_owned(), behaviour: Behaviour::Memory, hosted, framing: Framing::Lf, preview: false }
    }

    /// All names, the default first.
    pub(crate) fn names(default: &str) -> Vec<String> {
        let others = SPECIAL.iter().map(|(name, _)| (*name).to_owned());
        std::iter::once(default.to_owned()).chain(others).collect()
    }

    /// The answer given before any work is done; `calls` is how often the agent was asked before.
    pub(crate) fn refusal(&self, calls: u64) -> Option<ApiError> {
        let too_many = || {
            ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too Many Requests. Rate limit is exceeded. Try again in 1 second.",
            )
            .kind("too_many_requests")
            .retry_after(1)
        };
        let unavailable = || ApiError::verbatim(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "");
        match self.behaviour {
            Behaviour::Throttled => Some(too_many()),
            Behaviour::ThrottledOnce => (calls == 0).then(too_many),
            Behaviour::GatewayThrottled => Some(
                ApiError::verbatim(
                    StatusCode::TOO_MANY_REQUESTS,
                    "application/json",
                    r#"{ "statusCode": 429, "message": "Rate limit is exceeded. Try again in 1 seconds." }"#,
                )
                .retry_after(1),
            ),
            Behaviour::Unavailable => Some(unavailable()),
            Behaviour::UnavailableOnce => (calls == 0).then(unavailable),
            Behaviour::ServerError => Some(ApiError::server(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "The server had an error processing your request. Sorry about that!",
            )),
            Behaviour::Html => Some(ApiError::verbatim(
                StatusCode::BAD_GATEWAY,
                "text/html",
                "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>",
            )),
            Behaviour::TimedOut => Some(ApiError::verbatim(
                StatusCode::REQUEST_TIMEOUT,
                "application/json",
                r#"{"error":"RequestTimedOut","reason":"The request timed out."}"#,
            )),
            Behaviour::NotReady => Some(ApiError::server(
                StatusCode::FAILED_DEPENDENCY,
                "session_not_ready",
                "The session did not become ready in time.",
            )),
            _ => None,
        }
    }

    /// The object that names this agent in responses and items.
    pub(crate) fn reference(&self) -> Value {
        json!({"type": "agent_reference", "name": self.name, "version": VERSION})
    }

    /// `name:version`.
    pub(crate) fn id(&self) -> String {
        format!("{}:{VERSION}", self.name)
    }

    /// The agent resource of `GET /agents/{name}`.
    pub(crate) fn resource(&self, created_at: i64) -> Value {
        let definition = if self.hosted {
            json!({
                "kind": "hosted",
                "cpu": "0.5",
                "memory": "1Gi",
                "container_configuration": {"image": "sandbox.example/agent:1"},
                "protocol_versions": [{"protocol": "responses", "version": "2.0.0"}],
            })
        } else {
            json!({"kind": "prompt", "model": DEPLOYMENT, "instructions": "Answer from the conversation."})
        };
        json!({
            "object": "agent",
            "id": self.name,
            "name": self.name,
            "state": "enabled",
            "versions": {"latest": {
                "object": "agent.version",
                "id": self.id(),
                "name": self.name,
                "version": VERSION,
                "description": null,
                "created_at": created_at,
                "definition": definition,
                "draft": false,
                "status": "active",
                "metadata": {},
            }},
            "agent_endpoint": {
                "version_selector": {"version_selection_rules": [
                    {"type": "FixedRatio", "agent_version": VERSION, "traffic_percentage": 100},
                ]},
                "protocol_configuration": {"responses": {}},
                "authorization_schemes": [{"type": "Entra"}],
                "publish_approval_status": "not_published",
            },
            "instance_identity": null,
            "blueprint": null,
            "agent_card": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_all_found() {
        let names = Agent::names("sandbox-agent");
        for (index, name) in names.iter().enumerate() {
            assert!(!names[index + 1..].contains(name), "{name} twice");
            let agent = Agent::find(name, "sandbox-agent").expect("listed");
            assert!(agent.name.len() <= 63);
        }
        assert!(Agent::find("nobody", "sandbox-agent").is_none());
    }

    #[test]
    fn once_means_once() {
        let agent = Agent::find("throttled-once-agent", "x").expect("known");
        assert!(agent.refusal(0).is_some());
        assert!(agent.refusal(1).is_none());
    }
}
