//! A response: what the agent made of an input.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::agent::AgentReference;
use crate::citation::{Citation, CitedText};
use crate::conversation::{conversation_id, pairs};
use crate::decision::{ApprovalRequest, ConsentRequest};
use crate::items::Item;
use crate::loose::whole_seconds;
use crate::object::{Read, Slot, by_text, list, read_object, readable, slots};
use crate::problem::BadBody;
use crate::raw::{JsonError, RawJson};
use crate::vocabulary::{IncompleteReason, ResponseStatus, Role};

/// A response of an agent or a model.
///
/// Hosted agents leave out members that the reference calls required, so only `id` and `status`
/// must be there, and `output` in a completed response. Any other member of an unexpected shape reads
/// as absent and is listed in [`problems`](Self::problems).
///
/// Shape: <https://platform.openai.com/docs/api-reference/responses/object>.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The server's id; opaque.
    pub id: String,
    /// How far it is.
    pub status: ResponseStatus,
    /// What was made, in order.
    pub output: Vec<Item>,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it stopped early.
    pub incomplete_reason: Option<IncompleteReason>,
    /// Tokens used; absent until the end.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_at: Option<i64>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// The response before it, when responses are chained.
    pub previous_response_id: Option<String>,
    /// The agent that answered.
    pub agent_reference: Option<AgentReference>,
    /// The sandbox of a hosted agent; send it back to stay in it.
    pub agent_session_id: Option<String>,
    /// What the content filters found; absent until the end.
    pub content_filters: Vec<ContentFilter>,
    /// Pairs of the application.
    pub metadata: BTreeMap<String, String>,
    problems: Vec<&'static str>,
    reconciled: bool,
    raw: RawJson,
}

impl Response {
    pub(crate) fn from_raw(raw: RawJson) -> Result<Self, BadBody> {
        let wire = Wire::read(&raw)?;
        let status = ResponseStatus::from(wire.status.ok_or(BadBody)?);
        let output = output(&raw, wire.output, status == ResponseStatus::COMPLETED)?;
        let mut soft = Soft::default();
        let incomplete = soft.read("incomplete_details", wire.incomplete_details);
        Ok(Self {
            id: wire.id.ok_or(BadBody)?,
            output,
            error: soft.read("error", wire.error),
            incomplete_reason: incomplete.and_then(|IncompleteDetails(reason)| reason),
            usage: soft.read("usage", wire.usage),
            model: wire.model,
            created_at: wire.created_at.and_then(|number| whole_seconds(number.get())),
            conversation_id: wire.conversation.and_then(conversation_id),
            previous_response_id: wire.previous_response_id,
            agent_reference: soft.read("agent_reference", wire.agent_reference),
            agent_session_id: wire.agent_session_id,
            content_filters: soft.read("content_filters", wire.content_filters).unwrap_or_default(),
            metadata: wire.metadata.map(pairs).unwrap_or_default(),
            status,
            problems: soft.problems,
            reconciled: false,
            raw,
        })
    }

    /// All text of the agent's messages, in order.
    #[must_use]
    pub fn output_text(&self) -> String {
        self.agent_messages().map(crate::item::Message::text).collect()
    }

    /// The text of the agent's messages without commentary; all text when everything is commentary.
    #[must_use]
    pub fn answer_text(&self) -> String {
        let answer: String =
            self.agent_messages().filter(|one| !one.is_commentary()).map(crate::item::Message::text).collect();
        if answer.is_empty() { self.output_text() } else { answer }
    }

    /// As [`answer_text`](Self::answer_text), with a mark such as `[1]` for each citation, and the sources behind them.
    #[must_use]
    pub fn cited_answer(&self) -> CitedText {
        let answer = CitedText::of(self.agent_messages().filter(|one| !one.is_commentary()));
        if answer.text.is_empty() { CitedText::of(self.agent_messages()) } else { answer }
    }

    /// The answer as a value: for a request with [`json_schema`](crate::CreateResponse::json_schema).
    ///
    /// # Errors
    ///
    /// When the answer is cut off, a refusal, or not of that shape.
    pub fn output_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, JsonError> {
        RawJson::from_bytes(self.answer_text().into())?.parse()
    }

    /// The functions that the agent wants the application to run.
    pub fn function_calls(&self) -> impl Iterator<Item = &crate::item::FunctionCall> {
        self.output.iter().filter_map(|item| match item {
            Item::FunctionCall(call) => Some(call),
            _ => None,
        })
    }

    /// Remote tools that wait for the user's approval.
    #[must_use]
    pub fn approval_requests(&self) -> Vec<ApprovalRequest> {
        self.output.iter().filter_map(ApprovalRequest::of).collect()
    }

    /// Connections that wait for the user's sign-in. Links that are not `https` are left out.
    #[must_use]
    pub fn consent_requests(&self) -> Vec<ConsentRequest> {
        self.output.iter().filter_map(ConsentRequest::of).collect()
    }

    /// What the answer is based on, message by message.
    #[must_use]
    pub fn citations(&self) -> Vec<Citation> {
        self.agent_messages().flat_map(crate::item::Message::citations).collect()
    }

    /// Why the agent declined, when it did.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.agent_messages().find_map(crate::item::Message::refusal)
    }

    /// Whether a content filter stopped the response.
    #[must_use]
    pub fn is_content_filtered(&self) -> bool {
        self.incomplete_reason.as_ref() == Some(&IncompleteReason::CONTENT_FILTER)
            || self.content_filters.iter().any(|filter| filter.blocked)
    }

    /// Members that were there in another shape than documented, and therefore read as absent.
    #[must_use]
    pub fn problems(&self) -> &[&'static str] {
        &self.problems
    }

    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }

    /// Whether the service failed to send this response and it was put together from the items of the conversation.
    /// Usage, model and the like are unknown then.
    #[must_use]
    pub fn is_reconciled(&self) -> bool {
        self.reconciled
    }

    /// The sandbox as the head of the answer names it, when the body does not.
    #[cfg(feature = "client")]
    pub(crate) fn with_session(mut self, session: Option<String>) -> Self {
        self.agent_session_id = self.agent_session_id.or(session);
        self
    }

    #[cfg(feature = "client")]
    pub(crate) fn reconciled(mut self) -> Self {
        self.reconciled = true;
        self
    }

    fn agent_messages(&self) -> impl Iterator<Item = &crate::item::Message> {
        self.output.iter().filter_map(Item::as_message).filter(|message| message.role == Role::ASSISTANT)
    }
}

/// Writes the JSON as it was received.
impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

#[derive(Default)]
struct Wire<'a> {
    id: Option<String>,
    status: Option<String>,
    output: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    incomplete_details: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
    model: Option<String>,
    created_at: Option<&'a RawValue>,
    conversation: Option<&'a RawValue>,
    previous_response_id: Option<String>,
    agent_reference: Option<&'a RawValue>,
    agent_session_id: Option<String>,
    content_filters: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

impl<'a> Wire<'a> {
    fn read(raw: &'a RawJson) -> Result<Self, BadBody> {
        let mut it = Self::default();
        read_object(
            raw.as_str(),
            slots![it; id => text, status => text, output, error, incomplete_details, usage, model => text, created_at,
                   conversation, previous_response_id => text, agent_reference, agent_session_id => text,
                   content_filters, metadata],
        )?;
        Ok(it)
    }
}

fn output(raw: &RawJson, items: Option<&RawValue>, required: bool) -> Result<Vec<Item>, BadBody> {
    let Some(items) = items else {
        return if required { Err(BadBody) } else { Ok(Vec::new()) };
    };
    Ok(list(items)?.into_iter().map(|item| Item::from_raw(raw.part(item.get()))).collect())
}

/// Reads members that may be wrong without harm.
#[derive(Default)]
struct Soft {
    problems: Vec<&'static str>,
}

impl Soft {
    fn read<'a, T: Read<'a>>(&mut self, name: &'static str, json: Option<&'a RawValue>) -> Option<T> {
        match T::read(json?) {
            Ok(value) => Some(value),
            Err(_) => {
                self.problems.push(name);
                None
            }
        }
    }
}

struct IncompleteDetails(Option<IncompleteReason>);

impl Read<'_> for IncompleteDetails {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let mut reason = None;
        read_object(json.get(), &mut [Slot::may("reason", &mut reason)])?;
        Ok(Self(reason))
    }
}

/// Why a response failed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseError {
    /// A word such as `server_error` or `rate_limit_exceeded`.
    pub code: Option<String>,
    /// For people; may quote the conversation, so keep it out of logs.
    pub message: Option<String>,
}

readable! {
    ResponseError { code => code, message => text }
}

/// Shows the code, not the message.
impl std::fmt::Debug for ResponseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseError").field("code", &self.code).finish_non_exhaustive()
    }
}

/// Tokens used by a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens of these that came from the prompt cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens of these spent on reasoning.
    pub reasoning_tokens: u64,
    /// All tokens.
    pub total_tokens: u64,
}

impl Read<'_> for Usage {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let (mut input, mut output, mut total) = (None, None, None);
        let (mut input_details, mut output_details) = (None, None);
        read_object(
            json.get(),
            &mut [
                Slot::int("input_tokens", &mut input),
                Slot::may("input_tokens_details", &mut input_details),
                Slot::int("output_tokens", &mut output),
                Slot::may("output_tokens_details", &mut output_details),
                Slot::int("total_tokens", &mut total),
            ],
        )?;
        Ok(Self {
            input_tokens: input.unwrap_or_default(),
            cached_tokens: detail(input_details, "cached_tokens")?,
            output_tokens: output.unwrap_or_default(),
            reasoning_tokens: detail(output_details, "reasoning_tokens")?,
            total_tokens: total.unwrap_or_default(),
        })
    }
}

fn detail(details: Option<&RawValue>, name: &'static str) -> Result<u64, serde_json::Error> {
    let mut tokens = None;
    if let Some(details) = details {
        read_object(details.get(), &mut [Slot::int(name, &mut tokens)])?;
    }
    Ok(tokens.unwrap_or_default())
}

/// What a content filter found in one place.
///
/// The service's addition to a response; members: <https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter>.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContentFilter {
    /// Whether it stopped the response.
    pub blocked: bool,
    /// Where it looked: `prompt`, `completion`, `response`, `pre_tool_call`, `post_tool_call`.
    pub source_type: Option<String>,
    /// The tool call it looked at.
    pub tool_call_id: Option<String>,
    /// Findings by category.
    pub content_filter_results: Option<RawJson>,
}

/// What is left of a conversation that was made shorter: the answer to `responses().compact`.
///
/// Send [`output`](Self::output) as the input of the next request, as it is.
///
/// Shape: <https://platform.openai.com/docs/api-reference/responses/compact>.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compaction {
    /// The server's id.
    pub id: String,
    /// The items that stand for all of the conversation.
    pub output: Vec<Item>,
    /// Tokens used to make it.
    pub usage: Option<Usage>,
}

readable! {
    ContentFilter { blocked => null, source_type => text, tool_call_id => text, content_filter_results }
    Compaction { id => must, output => null, usage }
}

impl Read<'_> for Response {
    fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
        let raw = RawJson::copied(json);
        Self::from_raw(raw).map_err(|BadBody| serde::de::Error::custom("not a response"))
    }
}

by_text!(Response, Usage);
