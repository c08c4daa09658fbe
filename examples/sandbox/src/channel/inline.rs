//! Answers inside the HTTP response: `deliveryMode` `expectReplies` and `stream`.
//! `https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md#delivery-mode`

use serde_json::Value;

use super::post::Posted;

/// The activities in the response to an activity with this `deliveryMode`, in order.
pub(crate) fn replies(mode: &str, posted: &Posted) -> Vec<Value> {
    if !posted.is_success() {
        return Vec::new();
    }
    match mode {
        "expectReplies" => {
            let body = posted.json().unwrap_or_default();
            body.get("activities").and_then(Value::as_array).cloned().unwrap_or_default()
        }
        "stream" => events(&posted.text()),
        _ => Vec::new(),
    }
}

/// The data of every `activity` event of an event stream.
fn events(text: &str) -> Vec<Value> {
    let text = text.replace("\r\n", "\n");
    let blocks = text.split("\n\n").filter(|block| field(block, "event").as_deref() == Some("activity"));
    blocks.filter_map(|block| serde_json::from_str(&field(block, "data")?).ok()).collect()
}

fn field(block: &str, name: &str) -> Option<String> {
    let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let values: Vec<&str> = lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
    if values.is_empty() { None } else { Some(values.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_gives_its_activities() {
        let text = "event: activity\r\ndata: {\"type\":\"typing\"}\r\n\r\nevent: invokeResponse\r\ndata: {}\r\n\r\nevent: activity\r\ndata: {\"type\":\"message\"}\r\n\r\n";
        let kinds: Vec<String> = events(text).iter().map(|event| event["type"].to_string()).collect();
        assert_eq!(kinds, ["\"typing\"", "\"message\""]);
    }
}
