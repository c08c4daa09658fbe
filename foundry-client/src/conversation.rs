//! Conversations and lists.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::input::InputItem;
use crate::loose::{self, Loose, null_default};
use crate::raw::RawJson;

/// A conversation of the project: the agent's memory between turns.
///
/// Shape: <https://platform.openai.com/docs/api-reference/conversations/object>.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Conversation {
    /// The server's id; opaque, made by the server only.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<i64>,
    /// Up to 16 pairs of the application.
    pub metadata: BTreeMap<String, String>,
    raw: RawJson,
}

impl Conversation {
    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }
}

impl<'de> Deserialize<'de> for Conversation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            #[serde(default, deserialize_with = "loose::unix_time")]
            created_at: Option<i64>,
            #[serde(default)]
            metadata: Option<RawJson>,
        }
        let raw = RawJson::deserialize(deserializer)?;
        let wire: Wire = raw.parse().map_err(|_| serde::de::Error::custom("not a conversation"))?;
        let metadata = wire.metadata.as_ref().map(pairs).unwrap_or_default();
        Ok(Self { id: wire.id, created_at: wire.created_at, metadata, raw })
    }
}

/// Pairs whose value is a string; other members stay in the raw JSON only.
pub(crate) fn pairs(json: &RawJson) -> BTreeMap<String, String> {
    let all: BTreeMap<String, Loose<'_>> = json.parse().unwrap_or_default();
    all.into_iter().filter_map(|(key, value)| Some((key, value.string()?))).collect()
}

/// What a new conversation starts with.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CreateConversation {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<InputItem>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl CreateConversation {
    #[cfg(feature = "client")]
    pub(crate) fn item_count(&self) -> usize {
        self.items.len()
    }

    /// An empty conversation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a first item. The service takes at most 20.
    #[must_use]
    pub fn item(mut self, item: InputItem) -> Self {
        self.items.push(item);
        self
    }

    /// Adds a pair of the application. The service takes at most 16, keys of 64 and values of 512 characters.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, in the order asked for.
    pub data: Vec<T>,
    /// Id of the first entry.
    pub first_id: Option<String>,
    /// Id of the last entry: `after` of the next page.
    pub last_id: Option<String>,
    /// Whether more entries follow.
    pub has_more: bool,
    /// The address of the next page, in lists that are paged by links.
    pub next_link: Option<String>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Page<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(bound = "T: Deserialize<'de>")]
        struct Wire<T> {
            #[serde(alias = "value", alias = "entries")]
            data: Vec<T>,
            #[serde(default, deserialize_with = "loose::text")]
            first_id: Option<String>,
            #[serde(default, deserialize_with = "loose::text")]
            last_id: Option<String>,
            #[serde(default, deserialize_with = "null_default")]
            has_more: bool,
            #[serde(default, deserialize_with = "loose::text", rename = "nextLink")]
            next_link: Option<String>,
        }
        let Wire { data, first_id, last_id, has_more, next_link } = Wire::deserialize(deserializer)?;
        Ok(Self { data, first_id, last_id, has_more, next_link })
    }
}

/// Something that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// What was deleted: its id, or its name where things go by name.
    pub id: String,
    /// Whether it is gone.
    pub deleted: bool,
}

#[cfg(feature = "client")]
impl Deleted {
    /// Reads the answer to a deletion, which may also be empty.
    pub(crate) fn read(id: &str, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        struct Wire {
            #[serde(default, deserialize_with = "loose::text")]
            id: Option<String>,
            #[serde(default)]
            deleted: Option<bool>,
        }
        let wire: Wire = serde_json::from_slice(body).unwrap_or_default();
        Self { id: wire.id.unwrap_or_else(|| id.to_owned()), deleted: wire.deleted.unwrap_or(true) }
    }
}

/// The id in `"conv_…"` or `{"id":"conv_…"}`; hosted agents also send `null`.
pub(crate) fn conversation_id(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow, default)]
        id: Loose<'a>,
    }
    let text = json.get();
    match serde_json::from_str::<Loose<'_>>(text).ok()? {
        Loose::Text(id) => Some(id.into_owned()),
        _ => serde_json::from_str::<Object<'_>>(text).ok()?.id.string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_reads_without_its_optional_members() {
        for json in [
            r#"{"id":"conv_1"}"#,
            r#"{"id":"conv_1","object":"conversation","created_at":null,"metadata":null}"#,
            r#"{"id":"conv_1","metadata":[1],"created_at":"soon"}"#,
        ] {
            let found: Conversation = serde_json::from_str(json).unwrap();
            assert_eq!((found.id.as_str(), found.created_at), ("conv_1", None));
            assert!(found.metadata.is_empty());
            assert_eq!(found.raw().as_str(), json);
        }
        let json = r#"{"id":"conv_1","created_at":1741476777.0,"metadata":{"a":"b","n":1}}"#;
        let found: Conversation = serde_json::from_str(json).unwrap();
        assert_eq!(found.created_at, Some(1_741_476_777));
        assert_eq!(found.metadata, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
        assert!(serde_json::from_str::<Conversation>(r#"{"object":"conversation"}"#).is_err());
    }

    #[test]
    fn a_new_conversation_writes_only_what_it_has() {
        let json = |request: &CreateConversation| serde_json::to_string(request).unwrap();
        assert_eq!(json(&CreateConversation::new()), "{}");
        let full = CreateConversation::new().item(InputItem::item_reference("i")).metadata("k", "v");
        assert_eq!(json(&full), r#"{"items":[{"type":"item_reference","id":"i"}],"metadata":{"k":"v"}}"#);
    }

    #[test]
    fn the_conversation_of_a_response_has_three_forms() {
        let id = |json: &str| conversation_id(&RawValue::from_string(json.to_owned()).unwrap());
        assert_eq!(id(r#""conv_1""#).as_deref(), Some("conv_1"));
        assert_eq!(id(r#"{"id":"conv_1"}"#).as_deref(), Some("conv_1"));
        assert_eq!(id("null"), None);
    }
}
