//! Replays of recorded requests: a new token, the sandbox's service URL, everything else byte for byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Channel;
use super::exchange::{self, Exchange, Looking, Wait};
use super::people::Person;
use super::post;
use super::room::{Scope, room_id};
use crate::constants::{BOT_APP_ID, HOME_TENANT, REGION};

#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Box<RawValue>,
}

/// Reads one line of recorded requests. Headers that HTTP does not allow are left out.
pub(crate) fn recorded(line: &str) -> Option<(HeaderMap, Bytes)> {
    let recorded: Recorded = serde_json::from_str(line).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in recorded.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    Some((headers, Bytes::from(recorded.body.get().to_owned())))
}

/// Posts a recorded request and waits for an answer when it is a message.
pub(crate) async fn replay(channel: &Channel, mut headers: HeaderMap, body: &Bytes, wait: &Wait) -> Exchange {
    let activity: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| activity.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let tenant =
        text("/conversation/tenantId").or_else(|| text("/channelData/tenant/id")).unwrap_or(HOME_TENANT).to_owned();
    let service_url = channel.shared.service_url(text("/serviceUrl").and_then(region).unwrap_or(REGION), &tenant);
    let body = with_service_url(body, &service_url).unwrap_or_else(|| body.clone());
    for name in
        [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION]
    {
        headers.remove(name);
    }
    headers.insert(header::AUTHORIZATION, post::authorization(&channel.shared, &service_url));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json; charset=utf-8"));
    let from = remember(channel, &activity, &tenant);
    let endpoint = channel.shared.bot_endpoint();
    let posted = post::send(&channel.client(), endpoint.as_deref(), headers, body, wait.post).await;
    let looking = Looking {
        conversation: text("/conversation/id").unwrap_or_default(),
        user: text("/from/id").unwrap_or_default(),
        activity: text("/id").unwrap_or_default(),
        from,
        any: false,
    };
    let patience =
        if text("/type") == Some("message") { wait.clone() } else { Wait { first: wait.settle, ..wait.clone() } };
    exchange::answers(channel, looking, &patience, posted).await
}

/// Makes the recorded conversation known to the connector, so that the answer finds it. Returns the place of later entries.
fn remember(channel: &Channel, activity: &Value, tenant: &str) -> usize {
    let text = |pointer: &str| activity.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let conversation = text("/conversation/id");
    if conversation.is_empty() {
        return 0;
    }
    let scope = Scope::parse(text("/conversation/conversationType"));
    let sender = activity.get("from").and_then(|from| Person::from_account(from, tenant));
    let recorded_bot = text("/recipient/id").to_owned();
    channel.store.write(|state| {
        let room = state.open(conversation, scope, tenant, BOT_APP_ID, sender.into_iter().collect());
        if !recorded_bot.is_empty() && !room.bot_accounts.contains(&recorded_bot) {
            room.bot_accounts.push(recorded_bot);
        }
        state.hear(conversation, text("/id"), activity.clone());
        state.rooms.get(room_id(conversation)).map_or(0, |room| room.entries.len())
    })
}

/// Replaces one member; the other members keep their own bytes.
fn with_service_url(body: &Bytes, service_url: &str) -> Option<Bytes> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).ok()?;
    members.insert("serviceUrl".to_owned(), serde_json::value::to_raw_value(service_url).ok()?);
    serde_json::to_vec(&members).ok().map(Bytes::from)
}

/// The region segment of a service URL: the first of its path.
fn region(service_url: &str) -> Option<&str> {
    let path = service_url.split_once("://")?.1.split_once('/')?.1;
    let path = path.strip_prefix("connector/").unwrap_or(path);
    let first = path.split('/').next()?;
    (!first.is_empty() && first.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_url_changes() {
        let body = Bytes::from_static(br#"{"value":{"n":12345678901234567890123},"serviceUrl":"https://smba.trafficmanager.net/emea/t/","text":"\u00e9"}"#);
        let changed = with_service_url(&body, "http://127.0.0.1/").unwrap();
        let text = std::str::from_utf8(&changed).unwrap();
        assert!(
            text.contains(r#""value":{"n":12345678901234567890123}"#) && text.contains(r#""text":"\u00e9""#),
            "{text}"
        );
        assert!(text.contains(r#""serviceUrl":"http://127.0.0.1/""#));
        assert_eq!(with_service_url(&Bytes::from_static(b"[1]"), "x"), None);
    }

    #[test]
    fn the_region_stays() {
        assert_eq!(region("https://smba.trafficmanager.net/emea/t/"), Some("emea"));
        assert_eq!(region("http://127.0.0.1:1/connector/au/t/"), Some("au"));
        assert_eq!(region("https://smba.trafficmanager.net/"), None);
        assert_eq!(region("x"), None);
    }
}
