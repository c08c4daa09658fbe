//! Conversations and lists.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::input::InputItem;
use crate::object::{Read, Slot, by_text, read_object, read_texts, string};
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

impl Read<'_> for Conversation {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let raw = RawJson::copied(json);
        let (mut id, mut created_at, mut metadata) = (String::new(), None, None);
        read_object(
            json.get(),
            &mut [
                Slot::must("id", &mut id),
                Slot::time("created_at", &mut created_at),
                Slot::may("metadata", &mut metadata),
            ],
        )
        .map_err(|_| serde::de::Error::custom("not a conversation"))?;
        Ok(Self { id, created_at, metadata: metadata.map(pairs).unwrap_or_default(), raw })
    }
}

by_text!(Conversation);

/// Pairs whose value is a string; other members stay in the raw JSON only.
pub(crate) fn pairs(json: &RawValue) -> BTreeMap<String, String> {
    read_texts(json).unwrap_or_default()
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

impl<T> Page<T> {
    pub(crate) fn read_with<'a>(
        json: &'a RawValue,
        entry: impl Fn(&'a RawValue) -> Result<T, serde_json::Error>,
    ) -> Result<Self, serde_json::Error> {
        let (entries, page) = Page::parts(json)?;
        let mut data = Vec::with_capacity(entries.len());
        for json in entries {
            data.push(entry(json)?);
        }
        Ok(Self {
            data,
            first_id: page.first_id,
            last_id: page.last_id,
            has_more: page.has_more,
            next_link: page.next_link,
        })
    }
}

impl Page<()> {
    /// The entries, and the page around them.
    fn parts(json: &RawValue) -> Result<(Vec<&RawValue>, Self), serde_json::Error> {
        let mut it = Self { data: Vec::new(), first_id: None, last_id: None, has_more: false, next_link: None };
        let (mut data, mut value, mut entries) = (None, None, None);
        read_object(
            json.get(),
            &mut [
                Slot::may("data", &mut data),
                Slot::may("value", &mut value),
                Slot::may("entries", &mut entries),
                Slot::text("first_id", &mut it.first_id),
                Slot::text("last_id", &mut it.last_id),
                Slot::null("has_more", &mut it.has_more),
                Slot::text("nextLink", &mut it.next_link),
            ],
        )?;
        let entries = data.or(value).or(entries).ok_or_else(|| serde::de::Error::missing_field("data"))?;
        Ok((entries, it))
    }
}

impl<'a, T: Read<'a>> Read<'a> for Page<T> {
    fn read(json: &'a RawValue) -> Result<Self, serde_json::Error> {
        Self::read_with(json, T::read)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Page<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Self::read_with(&json, |entry| serde_json::from_str(entry.get())).map_err(serde::de::Error::custom)
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
        let (mut named, mut deleted) = (None, None);
        let read = std::str::from_utf8(body).is_ok_and(|body| {
            read_object(body, &mut [Slot::text("id", &mut named), Slot::may("deleted", &mut deleted)]).is_ok()
        });
        let (named, deleted) = if read { (named, deleted) } else { (None, None) };
        Self { id: named.unwrap_or_else(|| id.to_owned()), deleted: deleted.unwrap_or(true) }
    }
}

/// The id in `"conv_…"` or `{"id":"conv_…"}`; hosted agents also send `null`.
pub(crate) fn conversation_id(json: &RawValue) -> Option<String> {
    if let Some(id) = string(json).ok()? {
        return Some(id.into_owned());
    }
    let mut id = None;
    read_object(json.get(), &mut [Slot::text("id", &mut id)]).ok()?;
    id
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
