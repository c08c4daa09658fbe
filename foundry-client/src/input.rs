//! Items a client sends.

use serde::Serialize;

use crate::items::Item;
use crate::raw::RawJson;
use crate::vocabulary::Role;

/// An item to add to a conversation or to answer a response with.
///
/// ```
/// # use foundry_client::InputItem;
/// let json = serde_json::to_string(&InputItem::user_text("hello"))?;
/// assert_eq!(json, r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"hello"}]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct InputItem(Repr);

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Repr {
    Message {
        role: Role,
        content: Vec<InputContent>,
    },
    FunctionCallOutput {
        call_id: String,
        output: String,
    },
    McpApprovalResponse {
        approval_request_id: String,
        approve: bool,
        reason: Option<String>,
    },
    ItemReference {
        id: String,
    },
    #[serde(untagged)]
    Raw(RawJson),
}

impl InputItem {
    /// What the user said.
    #[must_use]
    pub fn user_text(text: impl Into<String>) -> Self {
        Self::message(Role::USER, [InputContent::text(text)])
    }

    /// A message of any role with any parts.
    #[must_use]
    pub fn message(role: Role, content: impl IntoIterator<Item = InputContent>) -> Self {
        Self(Repr::Message { role, content: content.into_iter().collect() })
    }

    /// The answer to a function call: `output` is any text, mostly JSON.
    #[must_use]
    pub fn function_call_output(call_id: impl Into<String>, output: impl Into<String>) -> Self {
        Self(Repr::FunctionCallOutput { call_id: call_id.into(), output: output.into() })
    }

    /// The user's decision about an approval request, by the id of that item.
    #[must_use]
    pub fn mcp_approval_response(request_id: impl Into<String>, approve: bool, reason: Option<String>) -> Self {
        Self(Repr::McpApprovalResponse { approval_request_id: request_id.into(), approve, reason })
    }

    /// An item the service already has.
    #[must_use]
    pub fn item_reference(id: impl Into<String>) -> Self {
        Self(Repr::ItemReference { id: id.into() })
    }

    /// Any other item, written as it is.
    #[must_use]
    pub fn raw(json: RawJson) -> Self {
        Self(Repr::Raw(json))
    }
}

impl From<&Item> for InputItem {
    fn from(item: &Item) -> Self {
        Self::raw(item.raw().clone())
    }
}

/// One part of an input message.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct InputContent(Part);

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    InputText {
        text: String,
    },
    OutputText {
        text: String,
    },
    InputImage {
        image_url: String,
        detail: &'static str,
    },
    InputFile {
        file_id: String,
    },
    #[serde(untagged)]
    Raw(RawJson),
}

impl InputContent {
    /// Text of the user.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self(Part::InputText { text: text.into() })
    }

    /// Text the assistant said earlier, when a conversation is rebuilt.
    #[must_use]
    pub fn output_text(text: impl Into<String>) -> Self {
        Self(Part::OutputText { text: text.into() })
    }

    /// A picture, by an address the service can read or as a `data:` address.
    #[must_use]
    pub fn image_url(url: impl Into<String>) -> Self {
        Self(Part::InputImage { image_url: url.into(), detail: "auto" })
    }

    /// An uploaded file.
    #[must_use]
    pub fn file_id(id: impl Into<String>) -> Self {
        Self(Part::InputFile { file_id: id.into() })
    }

    /// Any other part, written as it is.
    #[must_use]
    pub fn raw(json: RawJson) -> Self {
        Self(Part::Raw(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_written_field_by_field() {
        let raw = RawJson::from_value(&serde_json::json!({"type": "x", "n": 1})).unwrap();
        let picture = [InputContent::image_url("data:,"), InputContent::file_id("f_1")];
        let cases = [
            (
                InputItem::message(Role::USER, picture),
                r#"{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:,","detail":"auto"},{"type":"input_file","file_id":"f_1"}]}"#,
            ),
            (
                InputItem::message(Role::ASSISTANT, [InputContent::output_text("a"), InputContent::raw(raw.clone())]),
                r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"},{"n":1,"type":"x"}]}"#,
            ),
            (
                InputItem::function_call_output("call_1", "{}"),
                r#"{"type":"function_call_output","call_id":"call_1","output":"{}"}"#,
            ),
            (
                InputItem::mcp_approval_response("mcpr_1", true, None),
                r#"{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true,"reason":null}"#,
            ),
            (InputItem::item_reference("msg_1"), r#"{"type":"item_reference","id":"msg_1"}"#),
            (InputItem::raw(raw), r#"{"n":1,"type":"x"}"#),
        ];
        for (item, json) in cases {
            assert_eq!(serde_json::to_string(&item).unwrap(), json);
        }
    }
}
