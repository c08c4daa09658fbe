//! The body of `POST /responses`: every member is known, typed and in range, or the request is refused.

use http::StatusCode;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::ids;
use super::items;

/// Members the service knows. `agent`, the old name of `agent_reference`, is not one of them.
const MEMBERS: [&str; 37] = [
    "input",
    "model",
    "instructions",
    "previous_response_id",
    "conversation",
    "store",
    "stream",
    "stream_options",
    "background",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "reasoning",
    "text",
    "truncation",
    "metadata",
    "user",
    "safety_identifier",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "service_tier",
    "context_management",
    "moderation",
    "agent_reference",
    "agent_session_id",
    "structured_inputs",
    "user_security_context",
    "routing_config",
    "verbosity",
];

/// A checked request.
#[derive(Debug, Clone)]
pub(crate) struct CreateRequest {
    /// The members as they came, without nulls; for the values the response repeats.
    pub(crate) members: Map<String, Value>,
    pub(crate) input: Option<Value>,
    pub(crate) conversation: Option<String>,
    pub(crate) previous: Option<String>,
    pub(crate) stream: bool,
    pub(crate) background: bool,
    pub(crate) store: bool,
    pub(crate) obfuscation: bool,
    pub(crate) agent: Option<AgentReference>,
    pub(crate) max_output_tokens: Option<u64>,
}

/// Whom the caller wants to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentReference {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl CreateRequest {
    /// Checks the members. `endpoint_agent` is the agent of the URL, on an agent's own endpoint.
    pub(crate) fn parse(mut members: Map<String, Value>, endpoint_agent: Option<&str>) -> Result<Self, ApiError> {
        members.retain(|_, value| !value.is_null());
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(items::unknown_parameter(unknown));
        }
        check_types(&members)?;
        let metadata = members.get("metadata");
        metadata.map_or(Ok(()), |metadata| check_metadata(metadata).map(drop))?;
        let request = Self {
            input: members.get("input").cloned(),
            conversation: conversation(&members)?,
            previous: previous(&members)?,
            stream: flag(&members, "stream", false),
            background: flag(&members, "background", false),
            store: flag(&members, "store", true),
            obfuscation: obfuscation(&members)?,
            agent: agent(&members, endpoint_agent)?,
            max_output_tokens: max_output_tokens(&members)?,
            members,
        };
        request.check_combination()?;
        Ok(request)
    }

    /// The input as items with ids. A string is one user message.
    pub(crate) fn input_items(&self, response_id: &str) -> Result<Vec<Value>, ApiError> {
        match &self.input {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![items::user_text(text, response_id)]),
            Some(Value::Array(list)) => items::normalise(list, "input", response_id, None),
            Some(other) => Err(items::invalid_type("input", "a string or an array", other)),
        }
    }

    fn check_combination(&self) -> Result<(), ApiError> {
        if self.conversation.is_some() && self.previous.is_some() {
            return Err(ApiError::bad(
                "mutually_exclusive_parameters",
                "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Ensure you are only \
                 providing one of: 'previous_response_id' or 'conversation'.",
            )
            .param("previous_response_id"));
        }
        if self.input.is_none() && self.conversation.is_none() && self.previous.is_none() {
            return Err(ApiError::bad(
                "missing_required_parameter",
                "One of \"input\" or \"previous_response_id\" or \"prompt\" or \"conversation\" must be provided.",
            )
            .param("input"));
        }
        if self.background && !self.store {
            return Err(
                ApiError::bad("unsupported_parameter", "background=true requires store=true").param("background")
            );
        }
        if self.members.contains_key("stream_options") && !self.stream {
            return Err(ApiError::bad("invalid_mode", "stream_options requires stream=true").param("stream"));
        }
        if self.agent.is_none() && !self.members.contains_key("model") {
            return Err(items::missing("model"));
        }
        Ok(())
    }
}

/// At most 16 pairs of a name (64 characters) and a string (512 characters).
pub(crate) fn check_metadata(value: &Value) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(pairs) = value else {
        return Err(items::invalid_type("metadata", "an object", value));
    };
    if pairs.len() > 16 {
        return Err(ApiError::bad(
            "object_above_max_properties",
            format!(
                "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an \
                 object with {} properties instead.",
                pairs.len()
            ),
        )
        .param("metadata"));
    }
    for (name, value) in pairs {
        let path = format!("metadata.{name}");
        if name.chars().count() > 64 {
            return Err(ApiError::bad("string_above_max_length", "Invalid 'metadata': a key is longer than 64.")
                .param("metadata"));
        }
        match value {
            Value::String(text) if text.chars().count() <= 512 => {}
            Value::String(_) => {
                return Err(ApiError::bad(
                    "string_above_max_length",
                    format!("Invalid '{path}': string too long. Expected a string with maximum length 512."),
                )
                .param(&path));
            }
            other => return Err(items::invalid_type(&path, "a string", other)),
        }
    }
    Ok(pairs.clone())
}

fn check_types(members: &Map<String, Value>) -> Result<(), ApiError> {
    type Check = (&'static [&'static str], fn(&Value) -> bool, &'static str);
    const CHECKS: [Check; 5] = [
        (&["store", "stream", "background", "parallel_tool_calls"], Value::is_boolean, "a boolean"),
        (
            &["model", "instructions", "previous_response_id", "user", "agent_session_id", "truncation"],
            Value::is_string,
            "a string",
        ),
        (&["temperature", "top_p"], Value::is_number, "a number"),
        (&["tools", "include"], Value::is_array, "an array"),
        (
            &["stream_options", "reasoning", "text", "structured_inputs", "routing_config"],
            Value::is_object,
            "an object",
        ),
    ];
    for (names, fits, expected) in CHECKS {
        for name in names {
            if let Some(value) = members.get(*name).filter(|value| !fits(value)) {
                return Err(items::invalid_type(name, expected, value));
            }
        }
    }
    for (name, highest) in [("temperature", 2.0), ("top_p", 1.0)] {
        let value = members.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        if !(0.0..=highest).contains(&value) {
            let code = if value < 0.0 { "decimal_below_min_value" } else { "decimal_above_max_value" };
            return Err(ApiError::bad(
                code,
                format!("Invalid '{name}': expected a value between 0 and {highest}, but got {value} instead."),
            )
            .param(name));
        }
    }
    Ok(())
}

fn conversation(members: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    let id = match members.get("conversation") {
        None => return Ok(None),
        Some(Value::String(id)) => id,
        Some(Value::Object(object)) => match object.get("id") {
            Some(Value::String(id)) => id,
            Some(other) => return Err(items::invalid_type("conversation.id", "a string", other)),
            None => return Err(items::missing("conversation.id")),
        },
        Some(other) => {
            return Err(items::invalid_type("conversation", "a string or an object", other));
        }
    };
    if !ids::is_well_formed(id, &["conv"]) {
        return Err(ApiError::malformed_id("conversation"));
    }
    Ok(Some(id.clone()))
}

fn previous(members: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    match members.get("previous_response_id").and_then(Value::as_str) {
        None => Ok(None),
        Some(id) if ids::is_well_formed(id, &["resp", "caresp"]) => Ok(Some(id.to_owned())),
        Some(_) => Err(ApiError::malformed_id("previous_response_id")),
    }
}

fn agent(members: &Map<String, Value>, endpoint_agent: Option<&str>) -> Result<Option<AgentReference>, ApiError> {
    let refused = |param: &str, message: &str| Err(ApiError::bad("invalid_request", message).param(param));
    let reference = members.get("agent_reference");
    if let Some(name) = endpoint_agent {
        return match reference {
            Some(_) => refused("agent_reference", "agent_reference is not allowed on the endpoint of an agent"),
            None => Ok(Some(AgentReference { name: name.to_owned(), version: None })),
        };
    }
    let Some(reference) = reference else {
        return Ok(None);
    };
    let Value::Object(reference) = reference else {
        return refused("agent_reference", "agent_reference must be an object");
    };
    if reference.get("type").and_then(Value::as_str) != Some("agent_reference") {
        return refused("agent_reference.type", "agent_reference.type must be 'agent_reference'");
    }
    let name = reference.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return refused("agent_reference.name", "agent_reference.name must be a non-empty string");
    }
    match reference.get("version") {
        None | Some(Value::Null) => Ok(Some(AgentReference { name: name.to_owned(), version: None })),
        Some(Value::String(version)) => {
            Ok(Some(AgentReference { name: name.to_owned(), version: Some(version.clone()) }))
        }
        Some(_) => refused("agent_reference.version", "agent_reference.version must be a string"),
    }
}

fn obfuscation(members: &Map<String, Value>) -> Result<bool, ApiError> {
    let Some(Value::Object(options)) = members.get("stream_options") else {
        return Ok(true);
    };
    if let Some(unknown) = options.keys().find(|name| *name != "include_obfuscation") {
        return Err(items::unknown_parameter(&format!("stream_options.{unknown}")));
    }
    Ok(flag(options, "include_obfuscation", true))
}

fn max_output_tokens(members: &Map<String, Value>) -> Result<Option<u64>, ApiError> {
    match members.get("max_output_tokens") {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(tokens) if tokens >= 16 => Ok(Some(tokens)),
            Some(tokens) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "integer_below_min_value",
                format!(
                    "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got \
                     {tokens} instead."
                ),
            )
            .param("max_output_tokens")),
            None => Err(items::invalid_type("max_output_tokens", "an integer", value)),
        },
    }
}

fn flag(members: &Map<String, Value>, name: &str, default: bool) -> bool {
    members.get(name).and_then(Value::as_bool).unwrap_or(default)
}
