//! Items that come in: what is accepted, what is refused, how they are stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::ids;

/// The most items one request may carry.
pub(crate) const MAX_ITEMS: usize = 20;

const ROLES: [&str; 4] = ["assistant", "system", "developer", "user"];

const MESSAGE_MEMBERS: [&str; 9] =
    ["type", "role", "content", "id", "status", "phase", "agent_reference", "response_id", "created_by"];

/// Item types that are kept as they come, with an id of this prefix.
const OTHER_TYPES: [(&str, &str); 21] = [
    ("function_call", "fc"),
    ("function_call_output", "fco"),
    ("mcp_approval_request", "mcpr"),
    ("mcp_approval_response", "mcpa"),
    ("mcp_list_tools", "mcpl"),
    ("mcp_call", "mcp"),
    ("oauth_consent_request", "oauth"),
    ("reasoning", "rs"),
    ("file_search_call", "fs"),
    ("web_search_call", "ws"),
    ("code_interpreter_call", "ci"),
    ("image_generation_call", "ig"),
    ("workflow_action", "wfa"),
    ("memory_search_call", "mem"),
    ("custom_tool_call", "ctc"),
    ("custom_tool_call_output", "ctco"),
    ("computer_call", "cu"),
    ("computer_call_output", "cuo"),
    ("structured_outputs", "so"),
    ("compaction", "cmp"),
    ("item_reference", ""),
];

/// Members an item of the given type cannot do without, each a string.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "function_call" => &["call_id", "name", "arguments"],
        "function_call_output" => &["call_id"],
        "mcp_approval_response" => &["approval_request_id"],
        "mcp_approval_request" => &["server_label", "name", "arguments"],
        "item_reference" => &["id"],
        _ => &[],
    }
}

/// Checks a list of input items and gives each an id and a status. `name` is the parameter to blame, `hint` an id
/// whose partition key the new ids share. At most `limit` items.
pub(crate) fn normalise(list: &[Value], name: &str, hint: &str, limit: Option<usize>) -> Result<Vec<Value>, ApiError> {
    if let Some(limit) = limit.filter(|limit| list.len() > *limit) {
        return Err(ApiError::bad(
            "array_above_max_length",
            format!(
                "Invalid '{name}': array too long. Expected an array with maximum length {limit}, but got an array \
                 with length {} instead.",
                list.len()
            ),
        )
        .param(name));
    }
    list.iter().enumerate().map(|(index, item)| normalise_one(item, &format!("{name}[{index}]"), hint)).collect()
}

/// A user message with one text part.
pub(crate) fn user_text(text: &str, hint: &str) -> Value {
    json!({
        "id": ids::beside("msg", hint),
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_text", "text": text}],
    })
}

/// The text of a message: its text parts, a line each.
pub(crate) fn text(item: &Value) -> String {
    let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
    texts.join("\n")
}

/// Pictures and files of a message, in words: type and size of what was sent along.
pub(crate) fn seen(item: &Value) -> Vec<String> {
    let parts = item.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let described = |url: &str| match data_url(url) {
        Some((media_type, bytes)) => format!("{media_type}, {} bytes", bytes.len()),
        None => "elsewhere".to_owned(),
    };
    parts
        .iter()
        .filter_map(|part| match kind(part) {
            "input_image" => Some(format!("a picture ({})", described(field(part, "image_url")))),
            "input_file" => {
                Some(format!("the file {} ({})", field(part, "filename"), described(field(part, "file_data"))))
            }
            _ => None,
        })
        .collect()
}

/// Media type and content of a `data:` address in base64.
fn data_url(url: &str) -> Option<(&str, Vec<u8>)> {
    let (media_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((media_type, STANDARD.decode(data).ok()?))
}

pub(crate) fn kind(item: &Value) -> &str {
    item.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn field<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the item is a message of the user.
pub(crate) fn is_user(item: &Value) -> bool {
    kind(item) == "message" && field(item, "role") == "user"
}

/// Checks that calls and their answers match, over everything a new response would see.
pub(crate) fn check_pairs(history: &[Value], input: &[Value]) -> Result<(), ApiError> {
    let all = || history.iter().chain(input);
    let has = |kind_wanted: &str, member: &str, value: &str| {
        all().any(|item| kind(item) == kind_wanted && field(item, member) == value)
    };
    for item in all() {
        match kind(item) {
            "function_call" if !has("function_call_output", "call_id", field(item, "call_id")) => {
                return Err(ApiError::invalid(
                    "input",
                    format!("No tool output found for function call {}.", field(item, "call_id")),
                ));
            }
            "function_call_output" if !has("function_call", "call_id", field(item, "call_id")) => {
                return Err(ApiError::invalid(
                    "input",
                    format!("No tool call found for function call output with call_id {}.", field(item, "call_id")),
                ));
            }
            "mcp_approval_response" if !has("mcp_approval_request", "id", field(item, "approval_request_id")) => {
                return Err(ApiError::invalid(
                    "input",
                    format!(
                        "No approval request found for approval response with approval_request_id {}.",
                        field(item, "approval_request_id")
                    ),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn normalise_one(item: &Value, path: &str, hint: &str) -> Result<Value, ApiError> {
    let Value::Object(members) = item else {
        return Err(invalid_type(path, "an object", item));
    };
    let kind = match members.get("type") {
        None if members.contains_key("role") => "message",
        None => return Err(missing(&format!("{path}.type"))),
        Some(Value::String(kind)) => kind,
        Some(other) => return Err(invalid_type(&format!("{path}.type"), "a string", other)),
    };
    if kind == "message" {
        return message(members, path, hint);
    }
    let Some((_, prefix)) = OTHER_TYPES.iter().find(|(name, _)| *name == kind) else {
        let known: Vec<String> = OTHER_TYPES.iter().map(|(name, _)| format!("'{name}'")).collect();
        return Err(ApiError::bad(
            "invalid_value",
            format!("Invalid value: '{kind}'. Supported values are: 'message', {}.", known.join(", ")),
        )
        .param(path));
    };
    for member in required(kind) {
        match members.get(*member) {
            None => return Err(missing(&format!("{path}.{member}"))),
            Some(Value::String(_)) => {}
            Some(other) => {
                return Err(invalid_type(&format!("{path}.{member}"), "a string", other));
            }
        }
    }
    check_members(kind, members, path)?;
    let mut stored = members.clone();
    if !prefix.is_empty() {
        stored.entry("id").or_insert_with(|| ids::beside(prefix, hint).into());
    }
    Ok(Value::Object(stored))
}

fn check_members(kind: &str, members: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
    match (kind, members.get("output"), members.get("approve")) {
        ("function_call_output", None, _) => Err(missing(&format!("{path}.output"))),
        ("function_call_output", Some(Value::String(_) | Value::Array(_)), _) => Ok(()),
        ("function_call_output", Some(other), _) => {
            Err(invalid_type(&format!("{path}.output"), "a string or an array", other))
        }
        ("mcp_approval_response", _, None) => Err(missing(&format!("{path}.approve"))),
        ("mcp_approval_response", _, Some(Value::Bool(_))) => Ok(()),
        ("mcp_approval_response", _, Some(other)) => Err(invalid_type(&format!("{path}.approve"), "a boolean", other)),
        _ => Ok(()),
    }
}

fn message(members: &Map<String, Value>, path: &str, hint: &str) -> Result<Value, ApiError> {
    if let Some(unknown) = members.keys().find(|name| !MESSAGE_MEMBERS.contains(&name.as_str())) {
        return Err(unknown_parameter(&format!("{path}.{unknown}")));
    }
    let role = match members.get("role") {
        None => return Err(missing(&format!("{path}.role"))),
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => role,
        Some(other) => {
            let shown = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            return Err(ApiError::bad(
                "invalid_value",
                format!(
                    "Invalid value: '{shown}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
                ),
            )
            .param(&format!("{path}.role")));
        }
    };
    let text_type = if role == "assistant" { "output_text" } else { "input_text" };
    let content = match members.get("content") {
        None => return Err(missing(&format!("{path}.content"))),
        Some(Value::String(text)) => vec![part_of(text_type, text)],
        Some(Value::Array(parts)) => {
            for (index, part) in parts.iter().enumerate() {
                check_part(part, role, &format!("{path}.content[{index}]"))?;
            }
            parts.clone()
        }
        Some(other) => {
            return Err(invalid_type(&format!("{path}.content"), "a string or an array", other));
        }
    };
    let mut stored = members.clone();
    stored.insert("type".to_owned(), "message".into());
    stored.insert("content".to_owned(), Value::Array(content));
    stored.entry("status").or_insert_with(|| "completed".into());
    stored.entry("id").or_insert_with(|| ids::beside("msg", hint).into());
    Ok(Value::Object(stored))
}

fn part_of(kind: &str, text: &str) -> Value {
    if kind == "output_text" {
        json!({"type": kind, "text": text, "annotations": [], "logprobs": []})
    } else {
        json!({"type": kind, "text": text})
    }
}

fn check_part(part: &Value, role: &str, path: &str) -> Result<(), ApiError> {
    if !part.is_object() {
        return Err(invalid_type(path, "an object", part));
    }
    let allowed: &[(&str, Option<&str>)] = if role == "assistant" {
        &[("output_text", Some("text")), ("refusal", Some("refusal"))]
    } else {
        &[("input_text", Some("text")), ("input_image", None), ("input_file", None)]
    };
    let Some((_, member)) = allowed.iter().find(|(name, _)| *name == kind(part)) else {
        let known: Vec<String> = allowed.iter().map(|(name, _)| format!("'{name}'")).collect();
        return Err(ApiError::bad(
            "invalid_value",
            format!("Invalid value: '{}'. Supported values are: {}.", kind(part), known.join(", ")),
        )
        .param(&format!("{path}.type")));
    };
    match member.map(|name| (name, part.get(name))) {
        Some((name, None)) => Err(missing(&format!("{path}.{name}"))),
        Some((name, Some(other))) if !other.is_string() => {
            Err(invalid_type(&format!("{path}.{name}"), "a string", other))
        }
        _ => check_sources(part, path),
    }
}

/// A picture is at an address, sent along, or uploaded; so is a file, and one that is sent along has a name.
fn check_sources(part: &Value, path: &str) -> Result<(), ApiError> {
    const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
    let given = |name: &str| part.get(name).is_some_and(|value| !value.is_null());
    let refused =
        |name: &str, message: &str| Err(ApiError::bad("invalid_value", message).param(&format!("{path}.{name}")));
    let (sources, data): (&[&str], _) = match kind(part) {
        "input_image" => (&["image_url", "file_id"], "image_url"),
        "input_file" => (&["file_id", "file_url", "file_data"], "file_data"),
        _ => return Ok(()),
    };
    for name in sources.iter().chain(&["filename", "detail"]) {
        if let Some(other) = part.get(*name).filter(|value| !value.is_string() && !value.is_null()) {
            return Err(invalid_type(&format!("{path}.{name}"), "a string", other));
        }
    }
    if sources.iter().filter(|name| given(name)).count() != 1 {
        return refused(data, &format!("Exactly one of {} must be given.", sources.join(", ")));
    }
    let url = field(part, data);
    match (kind(part), data_url(url)) {
        ("input_image", Some((media_type, _))) if PICTURES.contains(&media_type) => Ok(()),
        ("input_image", None) if !url.starts_with("data:") => Ok(()),
        ("input_image", _) => refused(data, "The picture is not a valid base64 data URL of png, jpeg, gif or webp."),
        (_, None) if given(data) => refused(data, "The file is not a valid base64 data URL."),
        (_, Some(_)) if !given("filename") => Err(missing(&format!("{path}.filename"))),
        _ => Ok(()),
    }
}

/// 400 for a member that has to be there.
pub(crate) fn missing(path: &str) -> ApiError {
    ApiError::bad("missing_required_parameter", format!("Missing required parameter: '{path}'.")).param(path)
}

/// 400 for a member nobody knows.
pub(crate) fn unknown_parameter(path: &str) -> ApiError {
    ApiError::bad("unknown_parameter", format!("Unknown parameter: '{path}'.")).param(path)
}

/// 400 for a member of the wrong JSON type.
pub(crate) fn invalid_type(path: &str, expected: &str, got: &Value) -> ApiError {
    let name = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ApiError::bad("invalid_type", format!("Invalid type for '{path}': expected {expected}, but got {name} instead."))
        .param(path)
}
