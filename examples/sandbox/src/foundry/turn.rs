//! One turn: who asked which agent what, and the response object the service shows for it.

use serde_json::{Map, Value, json};

use super::agents::{Agent, DEPLOYMENT};
use super::brain;
use super::items;
use super::request::CreateRequest;

/// Everything a script needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) response_id: String,
    pub(crate) created_at: i64,
    pub(crate) request: CreateRequest,
    /// `None` when a model was called without an agent.
    pub(crate) agent: Option<Agent>,
    /// What the agent sees before `input`, oldest first.
    pub(crate) history: Vec<Value>,
    pub(crate) input: Vec<Value>,
    /// Name of the user behind a delegated token.
    pub(crate) user: Option<String>,
}

impl Turn {
    /// The newest text of the user, without a `sandbox:` prefix.
    pub(crate) fn question(&self) -> String {
        let text = self.newest_text();
        match scripted(&text) {
            Some((_, rest)) => rest.to_owned(),
            None => text,
        }
    }

    /// The newest text of the user as it was written.
    pub(crate) fn newest_text(&self) -> String {
        self.everything().filter(|item| items::is_user(item)).last().map(items::text).unwrap_or_default()
    }

    /// The answer of the agent that remembers.
    pub(crate) fn answer(&self) -> String {
        let mut texts = brain::user_texts(self.everything());
        texts.pop();
        let newest = self.everything().filter(|item| items::is_user(item)).last();
        let seen = newest.map(items::seen).unwrap_or_default();
        let answer = brain::answer(&texts, &self.question(), self.user.as_deref());
        if seen.is_empty() { answer } else { format!("I see {}. {answer}", seen.join(" and ")) }
    }

    /// The newest item of this type, in the input first.
    pub(crate) fn newest(&self, kind: &str) -> Option<&Value> {
        self.input.iter().rev().chain(self.history.iter().rev()).find(|item| items::kind(item) == kind)
    }

    /// The newest item of this type in the input alone.
    pub(crate) fn given(&self, kind: &str) -> Option<&Value> {
        self.input.iter().rev().find(|item| items::kind(item) == kind)
    }

    pub(crate) fn hosted(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.hosted)
    }

    /// What every output item carries besides its own members.
    pub(crate) fn stamp(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("agent_reference".to_owned(), self.reference());
        members.insert("response_id".to_owned(), self.response_id.clone().into());
        members
    }

    /// The response object in `status` with `output`.
    pub(crate) fn snapshot(&self, status: &str, output: &[Value]) -> Value {
        let mut response = if self.hosted() { self.hosted_members() } else { self.prompt_members() };
        let terminal = super::run::is_terminal(status);
        response.insert("id".to_owned(), self.response_id.clone().into());
        response.insert("object".to_owned(), "response".into());
        response.insert("created_at".to_owned(), self.created_at.into());
        response.insert("status".to_owned(), status.into());
        response.insert("output".to_owned(), output.into());
        response.insert("background".to_owned(), self.request.background.into());
        response.insert("error".to_owned(), Value::Null);
        response.insert("incomplete_details".to_owned(), Value::Null);
        response.insert("agent_reference".to_owned(), self.reference());
        let conversation = self.request.conversation.as_ref().map(|id| json!({"id": id}));
        response.insert("conversation".to_owned(), conversation.into());
        response.insert("previous_response_id".to_owned(), self.request.previous.clone().into());
        if terminal && !self.hosted() {
            response.insert("usage".to_owned(), self.usage(output));
            response.insert("content_filters".to_owned(), self.content_filters(false));
        }
        if status == "completed" {
            response.insert("completed_at".to_owned(), self.created_at.into());
        }
        Value::Object(response)
    }

    /// `content_filters` of a finished response.
    pub(crate) fn content_filters(&self, blocked: bool) -> Value {
        let severity =
            |filtered: bool| json!({"filtered": filtered, "severity": if filtered { "high" } else { "safe" }});
        let entry = |source: &str, blocked: bool| {
            json!({
                "blocked": blocked,
                "source_type": source,
                "content_filter_raw": [],
                "content_filter_results": {
                    "hate": severity(false),
                    "self_harm": severity(false),
                    "sexual": severity(false),
                    "violence": severity(blocked),
                },
                "content_filter_offsets": {"start_offset": 0, "end_offset": 0, "check_offset": 0},
            })
        };
        json!([entry("prompt", false), entry("completion", blocked)])
    }

    fn everything(&self) -> impl Iterator<Item = &Value> {
        self.history.iter().chain(&self.input)
    }

    fn reference(&self) -> Value {
        self.agent.as_ref().map_or(Value::Null, Agent::reference)
    }

    /// A hosted server leaves out much of what is elsewhere required.
    fn hosted_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("response_id".to_owned(), self.response_id.clone().into());
        members.insert("agent_session_id".to_owned(), self.session_id().into());
        members.insert("model".to_owned(), "".into());
        members.insert("store".to_owned(), self.request.store.into());
        members.insert("usage".to_owned(), Value::Null);
        members
    }

    /// The sandbox a hosted agent runs in: the one that is named, or one for each conversation, otherwise for each response.
    pub(crate) fn session_id(&self) -> String {
        if let Some(named) = self.request.members.get("agent_session_id").and_then(Value::as_str) {
            return named.to_owned();
        }
        let source = self.request.conversation.as_deref().unwrap_or(&self.response_id);
        source.chars().filter(char::is_ascii_alphanumeric).take(63).collect::<String>().to_lowercase()
    }

    fn prompt_members(&self) -> Map<String, Value> {
        let given = |name: &str, default: Value| self.request.members.get(name).cloned().unwrap_or(default);
        let model = if self.agent.is_some() { DEPLOYMENT.into() } else { given("model", DEPLOYMENT.into()) };
        let members = json!({
            "model": model,
            "instructions": given("instructions", Value::Null),
            "max_output_tokens": given("max_output_tokens", Value::Null),
            "max_tool_calls": given("max_tool_calls", Value::Null),
            "metadata": given("metadata", json!({})),
            "parallel_tool_calls": given("parallel_tool_calls", true.into()),
            "reasoning": given("reasoning", json!({"effort": null, "summary": null})),
            "service_tier": "default",
            "store": self.request.store,
            "temperature": given("temperature", json!(1.0)),
            "text": given("text", json!({"format": {"type": "text"}})),
            "tool_choice": given("tool_choice", Value::Null),
            "tools": given("tools", json!([])),
            "top_logprobs": given("top_logprobs", json!(0)),
            "top_p": given("top_p", json!(1.0)),
            "truncation": given("truncation", "disabled".into()),
            "usage": null,
            "user": given("user", Value::Null),
            "content_filters": null,
        });
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    fn usage(&self, output: &[Value]) -> Value {
        let words = |items: &mut dyn Iterator<Item = &Value>| {
            items.map(|item| items::text(item).split_whitespace().count()).sum::<usize>()
        };
        let before = words(&mut self.everything());
        let after = words(&mut output.iter());
        json!({
            "input_tokens": before,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": after,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": before + after,
        })
    }
}

/// `sandbox:NAME rest`: the behaviour of another agent for one turn.
pub(crate) fn scripted(text: &str) -> Option<(&str, &str)> {
    let rest = text.trim_start().strip_prefix("sandbox:")?;
    let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some((name, rest.trim_start()))
}
