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

    /// What an item says once more, as a new item: without its id and what else only the service may write. For a user's
    /// message that has to be sent again, for example after a [consent](crate::ConsentRequest). None for an item that is
    /// no JSON object.
    #[must_use]
    pub fn again(item: &Item) -> Option<Self> {
        let mut members: serde_json::Map<String, serde_json::Value> = item.raw().parse().ok()?;
        for member in ["id", "status", "response_id", "agent_reference", "created_by", "phase"] {
            members.remove(member);
        }
        Some(Self::raw(RawJson::from_value(&members).ok()?))
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
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<String>,
        detail: &'static str,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
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
        Self(Part::InputImage { image_url: Some(url.into()), file_id: None, detail: "auto" })
    }

    /// A picture that was uploaded.
    #[must_use]
    pub fn image_id(file_id: impl Into<String>) -> Self {
        Self(Part::InputImage { image_url: None, file_id: Some(file_id.into()), detail: "auto" })
    }

    /// A picture itself, sent along as a `data:` address. `media_type` is for example `image/png`.
    #[must_use]
    pub fn image(media_type: &str, picture: &[u8]) -> Self {
        Self::image_url(data_url(media_type, picture))
    }

    /// An uploaded file.
    #[must_use]
    pub fn file_id(id: impl Into<String>) -> Self {
        Self(Part::InputFile { file_id: Some(id.into()), file_url: None, filename: None, file_data: None })
    }

    /// A file at an address the service can read.
    #[must_use]
    pub fn file_url(url: impl Into<String>) -> Self {
        Self(Part::InputFile { file_id: None, file_url: Some(url.into()), filename: None, file_data: None })
    }

    /// A file itself, sent along. `media_type` is for example `application/pdf`.
    #[must_use]
    pub fn file(filename: impl Into<String>, media_type: &str, content: &[u8]) -> Self {
        let data = data_url(media_type, content);
        Self(Part::InputFile { file_id: None, file_url: None, filename: Some(filename.into()), file_data: Some(data) })
    }

    /// Any other part, written as it is.
    #[must_use]
    pub fn raw(json: RawJson) -> Self {
        Self(Part::Raw(json))
    }
}

fn data_url(media_type: &str, content: &[u8]) -> String {
    let mut url = String::with_capacity(media_type.len() + 13 + content.len().div_ceil(3) * 4);
    url.extend(["data:", media_type, ";base64,"]);
    for group in content.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            url.push(if place > group.len() { '=' } else { base64(bits >> (18 - 6 * place) & 63) });
        }
    }
    url
}

/// The character of a value from 0 to 63.
fn base64(value: u32) -> char {
    let value = u8::try_from(value).unwrap_or_default();
    char::from(match value {
        0..=25 => b'A' + value,
        26..=51 => b'a' + (value - 26),
        52..=61 => b'0' + (value - 52),
        62 => b'+',
        _ => b'/',
    })
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

    #[test]
    fn pictures_and_files_are_sent_in_each_form() {
        let json = |part: InputContent| serde_json::to_string(&part).unwrap();
        for (bytes, base64) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xfb\xff\xbf", "+/+/")]
        {
            assert_eq!(
                json(InputContent::image("image/png", bytes)),
                format!(r#"{{"type":"input_image","image_url":"data:image/png;base64,{base64}","detail":"auto"}}"#)
            );
        }
        assert_eq!(json(InputContent::image_id("f_1")), r#"{"type":"input_image","file_id":"f_1","detail":"auto"}"#);
        assert_eq!(json(InputContent::file_url("https://x")), r#"{"type":"input_file","file_url":"https://x"}"#);
        assert_eq!(
            json(InputContent::file("a.pdf", "application/pdf", b"foobar")),
            r#"{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,Zm9vYmFy"}"#
        );
    }
}
