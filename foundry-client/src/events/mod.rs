//! Events of a response stream: one frame in, one typed event out.

mod body;
mod error;
mod frame;
mod scan;

pub use body::{AnnotationAdded, Delta, ItemEvent, PartEvent, PartialImage, Progress, ShellOutput, Snapshot, TextDone};
#[cfg(feature = "client")]
pub(crate) use error::word;
pub use error::{EventError, StreamError};

use crate::problem::{BadBody, Problem};
use crate::raw::RawJson;
use crate::sse::SseFrame;
use crate::vocabulary::vocabulary;

use body::{BareDelta, EventBody};
use frame::Frame;

macro_rules! events {
    ($($(#[$meta:meta])* $variant:ident($body:ty): $word:ident = $tag:literal;)*) => {
        vocabulary! {
            /// The `type` of an event.
            EventKind {
                $(#[doc = concat!("`", $tag, "`")] $word = $tag,)*
            }
        }

        /// One event of a response stream.
        ///
        /// All 59 documented types have a variant. A new type, and a documented type with another body
        /// than documented, is [`ResponseEvent::Unknown`] with its JSON and a [`Problem`]; terminal
        /// events and errors are the exception: a bad body there is an [`EventError`], because a stream
        /// whose end cannot be read has no trustworthy answer.
        ///
        /// Shapes: <https://platform.openai.com/docs/api-reference/responses-streaming>.
        #[non_exhaustive]
        #[derive(Clone, Debug)]
        pub enum ResponseEvent {
            $($(#[$meta])* $variant($body),)*
            /// Any other event, as raw JSON.
            Unknown(UnknownEvent),
        }

        impl ResponseEvent {
            fn typed(tag: &str, frame: &mut Frame<'_>) -> Option<Result<Self, BadBody>> {
                match tag {
                    $($tag => Some(<$body>::read(frame).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// The `type`.
            #[must_use]
            pub fn kind(&self) -> EventKind {
                match self {
                    $(Self::$variant(_) => EventKind::$word,)*
                    Self::Unknown(event) => event.kind.clone(),
                }
            }

            /// The position in the stream, counted from 0: the cursor for resuming. Some gateways leave it out.
            #[must_use]
            pub fn sequence_number(&self) -> Option<u64> {
                match self {
                    $(Self::$variant(body) => body.head().sequence_number,)*
                    Self::Unknown(event) => event.sequence_number,
                }
            }

            /// The JSON as received: the frame's own bytes.
            #[must_use]
            pub fn raw(&self) -> &RawJson {
                match self {
                    $(Self::$variant(body) => &body.head().raw,)*
                    Self::Unknown(event) => &event.raw,
                }
            }
        }
    };
}

events! {
    /// The response exists.
    Created(Snapshot): CREATED = "response.created";
    /// The response waits (background only).
    Queued(Snapshot): QUEUED = "response.queued";
    /// The response runs. A second one replaces all that was accumulated by its snapshot.
    InProgress(Snapshot): IN_PROGRESS = "response.in_progress";
    /// Terminal: the whole answer.
    Completed(Snapshot): COMPLETED = "response.completed";
    /// Terminal: the response failed.
    Failed(Snapshot): FAILED = "response.failed";
    /// Terminal: the response stopped early.
    Incomplete(Snapshot): INCOMPLETE = "response.incomplete";
    /// Terminal: the stream failed.
    Error(StreamError): ERROR = "error";
    /// An item begins.
    OutputItemAdded(Box<ItemEvent>): OUTPUT_ITEM_ADDED = "response.output_item.added";
    /// An item is complete.
    OutputItemDone(Box<ItemEvent>): OUTPUT_ITEM_DONE = "response.output_item.done";
    /// A part of a message begins.
    ContentPartAdded(Box<PartEvent>): CONTENT_PART_ADDED = "response.content_part.added";
    /// A part of a message is complete.
    ContentPartDone(Box<PartEvent>): CONTENT_PART_DONE = "response.content_part.done";
    /// More text of the answer.
    OutputTextDelta(Delta): OUTPUT_TEXT_DELTA = "response.output_text.delta";
    /// The text of one part is complete.
    OutputTextDone(TextDone): OUTPUT_TEXT_DONE = "response.output_text.done";
    /// A citation.
    OutputTextAnnotationAdded(Box<AnnotationAdded>): OUTPUT_TEXT_ANNOTATION_ADDED = "response.output_text.annotation.added";
    /// More text of a refusal.
    RefusalDelta(Delta): REFUSAL_DELTA = "response.refusal.delta";
    /// A refusal is complete.
    RefusalDone(TextDone): REFUSAL_DONE = "response.refusal.done";
    /// More arguments of a function call.
    FunctionCallArgumentsDelta(Delta): FUNCTION_CALL_ARGUMENTS_DELTA = "response.function_call_arguments.delta";
    /// The arguments of a function call are complete.
    FunctionCallArgumentsDone(TextDone): FUNCTION_CALL_ARGUMENTS_DONE = "response.function_call_arguments.done";
    /// More input of a custom tool.
    CustomToolCallInputDelta(Delta): CUSTOM_TOOL_CALL_INPUT_DELTA = "response.custom_tool_call_input.delta";
    /// The input of a custom tool is complete.
    CustomToolCallInputDone(TextDone): CUSTOM_TOOL_CALL_INPUT_DONE = "response.custom_tool_call_input.done";
    /// The tools of a remote server are being listed.
    McpListToolsInProgress(Progress): MCP_LIST_TOOLS_IN_PROGRESS = "response.mcp_list_tools.in_progress";
    /// The tools of a remote server are listed.
    McpListToolsCompleted(Progress): MCP_LIST_TOOLS_COMPLETED = "response.mcp_list_tools.completed";
    /// The tools of a remote server could not be listed.
    McpListToolsFailed(Progress): MCP_LIST_TOOLS_FAILED = "response.mcp_list_tools.failed";
    /// A remote tool is being called.
    McpCallInProgress(Progress): MCP_CALL_IN_PROGRESS = "response.mcp_call.in_progress";
    /// A remote tool answered.
    McpCallCompleted(Progress): MCP_CALL_COMPLETED = "response.mcp_call.completed";
    /// A remote tool failed.
    McpCallFailed(Progress): MCP_CALL_FAILED = "response.mcp_call.failed";
    /// More arguments of a remote tool.
    McpCallArgumentsDelta(Delta): MCP_CALL_ARGUMENTS_DELTA = "response.mcp_call_arguments.delta";
    /// The arguments of a remote tool are complete.
    McpCallArgumentsDone(TextDone): MCP_CALL_ARGUMENTS_DONE = "response.mcp_call_arguments.done";
    /// A file search begins.
    FileSearchCallInProgress(Progress): FILE_SEARCH_CALL_IN_PROGRESS = "response.file_search_call.in_progress";
    /// A file search runs.
    FileSearchCallSearching(Progress): FILE_SEARCH_CALL_SEARCHING = "response.file_search_call.searching";
    /// A file search is complete.
    FileSearchCallCompleted(Progress): FILE_SEARCH_CALL_COMPLETED = "response.file_search_call.completed";
    /// A web search begins.
    WebSearchCallInProgress(Progress): WEB_SEARCH_CALL_IN_PROGRESS = "response.web_search_call.in_progress";
    /// A web search runs.
    WebSearchCallSearching(Progress): WEB_SEARCH_CALL_SEARCHING = "response.web_search_call.searching";
    /// A web search is complete.
    WebSearchCallCompleted(Progress): WEB_SEARCH_CALL_COMPLETED = "response.web_search_call.completed";
    /// Code is being written.
    CodeInterpreterCallInProgress(Progress): CODE_INTERPRETER_CALL_IN_PROGRESS = "response.code_interpreter_call.in_progress";
    /// Code runs.
    CodeInterpreterCallInterpreting(Progress): CODE_INTERPRETER_CALL_INTERPRETING = "response.code_interpreter_call.interpreting";
    /// Code ran.
    CodeInterpreterCallCompleted(Progress): CODE_INTERPRETER_CALL_COMPLETED = "response.code_interpreter_call.completed";
    /// More code.
    CodeInterpreterCallCodeDelta(Delta): CODE_INTERPRETER_CALL_CODE_DELTA = "response.code_interpreter_call_code.delta";
    /// The code is complete.
    CodeInterpreterCallCodeDone(TextDone): CODE_INTERPRETER_CALL_CODE_DONE = "response.code_interpreter_call_code.done";
    /// A picture begins.
    ImageGenerationCallInProgress(Progress): IMAGE_GENERATION_CALL_IN_PROGRESS = "response.image_generation_call.in_progress";
    /// A picture is being made.
    ImageGenerationCallGenerating(Progress): IMAGE_GENERATION_CALL_GENERATING = "response.image_generation_call.generating";
    /// A picture is complete.
    ImageGenerationCallCompleted(Progress): IMAGE_GENERATION_CALL_COMPLETED = "response.image_generation_call.completed";
    /// A preview of a picture.
    ImageGenerationCallPartialImage(Box<PartialImage>): IMAGE_GENERATION_CALL_PARTIAL_IMAGE = "response.image_generation_call.partial_image";
    /// A part of a reasoning summary begins.
    ReasoningSummaryPartAdded(Box<PartEvent>): REASONING_SUMMARY_PART_ADDED = "response.reasoning_summary_part.added";
    /// A part of a reasoning summary is complete.
    ReasoningSummaryPartDone(Box<PartEvent>): REASONING_SUMMARY_PART_DONE = "response.reasoning_summary_part.done";
    /// More text of a reasoning summary.
    ReasoningSummaryTextDelta(Delta): REASONING_SUMMARY_TEXT_DELTA = "response.reasoning_summary_text.delta";
    /// The text of a reasoning summary is complete.
    ReasoningSummaryTextDone(TextDone): REASONING_SUMMARY_TEXT_DONE = "response.reasoning_summary_text.done";
    /// More reasoning.
    ReasoningTextDelta(Delta): REASONING_TEXT_DELTA = "response.reasoning_text.delta";
    /// Reasoning is complete.
    ReasoningTextDone(TextDone): REASONING_TEXT_DONE = "response.reasoning_text.done";
    /// A shell command begins.
    ShellCallCommandAdded(TextDone): SHELL_CALL_COMMAND_ADDED = "response.shell_call_command.added";
    /// More of a shell command.
    ShellCallCommandDelta(Delta): SHELL_CALL_COMMAND_DELTA = "response.shell_call_command.delta";
    /// A shell command is complete.
    ShellCallCommandDone(TextDone): SHELL_CALL_COMMAND_DONE = "response.shell_call_command.done";
    /// More output of a shell command.
    ShellCallOutputContentDelta(Box<ShellOutput>): SHELL_CALL_OUTPUT_CONTENT_DELTA = "response.shell_call_output_content.delta";
    /// The output of a shell command is complete.
    ShellCallOutputContentDone(Box<ShellOutput>): SHELL_CALL_OUTPUT_CONTENT_DONE = "response.shell_call_output_content.done";
    /// The conversation is being compacted.
    CompactionCompacting(Progress): COMPACTION_COMPACTING = "response.compaction.compacting";
    /// More sound, in base64.
    AudioDelta(Delta): AUDIO_DELTA = "response.audio.delta";
    /// The sound is complete.
    AudioDone(Progress): AUDIO_DONE = "response.audio.done";
    /// More transcript of the sound.
    AudioTranscriptDelta(Delta): AUDIO_TRANSCRIPT_DELTA = "response.audio.transcript.delta";
    /// The transcript is complete.
    AudioTranscriptDone(Progress): AUDIO_TRANSCRIPT_DONE = "response.audio.transcript.done";
}

/// An event without a type here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnknownEvent {
    kind: EventKind,
    sequence_number: Option<u64>,
    problem: Problem,
    raw: RawJson,
}

impl ResponseEvent {
    /// Reads one frame. None for the `[DONE]` mark that some servers send; the stream is over then.
    ///
    /// # Errors
    ///
    /// When the data is not a JSON object, or a terminal event or an error cannot be read. The stream
    /// has to be given up; what the server did is unknown.
    pub fn from_frame(frame: SseFrame) -> Result<Option<Self>, EventError> {
        let (event, data) = frame.into_parts();
        if data.starts_with(b"[DONE]") {
            return Ok(None);
        }
        let raw = RawJson::trusted(data);
        let text = std::str::from_utf8(raw.as_bytes()).map_err(|_| EventError::NotJson)?;
        // Most of a stream: one pass over a flat object.
        if event.as_deref() == Some(b"response.output_text.delta")
            && let Some(delta) = BareDelta::output_text(text)
        {
            return Ok(Some(Self::OutputTextDelta(delta.with(raw))));
        }
        let mut parsed = Frame::read(text, &raw).ok_or(EventError::NotJson)?;
        let name = event.as_deref().and_then(|name| std::str::from_utf8(name).ok());
        parsed.name_from(name.filter(|name| !name.is_empty()));
        Self::from_parsed(&mut parsed).map(Some)
    }

    fn from_parsed(frame: &mut Frame<'_>) -> Result<Self, EventError> {
        let tag = std::mem::take(&mut frame.tag);
        let tag = tag.text().unwrap_or_default();
        let problem = match Self::typed(tag, frame) {
            Some(Ok(event)) => return Ok(event),
            Some(Err(BadBody)) if is_terminal(tag) => return Err(EventError::BadTerminal(EventKind::from(tag))),
            Some(Err(BadBody)) => Problem::BadBody,
            None if tag.is_empty() => Problem::MissingType,
            None => Problem::UnknownType,
        };
        Ok(Self::Unknown(UnknownEvent {
            kind: EventKind::from(tag),
            sequence_number: frame.sequence_number.int(),
            problem,
            raw: frame.raw.clone(),
        }))
    }

    /// Whether the stream ends with this event: completed, failed, incomplete or error.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_) | Self::Incomplete(_) | Self::Error(_))
    }

    /// The text to append to the answer, when the event is one more piece of it.
    #[must_use]
    pub fn output_text_delta(&self) -> Option<&str> {
        match self {
            Self::OutputTextDelta(delta) => Some(delta.delta()),
            _ => None,
        }
    }

    /// The whole response, in events that carry it.
    #[must_use]
    pub fn response(&self) -> Option<&crate::Response> {
        match self {
            Self::Created(snapshot)
            | Self::Queued(snapshot)
            | Self::InProgress(snapshot)
            | Self::Completed(snapshot)
            | Self::Failed(snapshot)
            | Self::Incomplete(snapshot) => Some(&snapshot.response),
            _ => None,
        }
    }

    /// Why this event or something in it was kept raw; none when all is typed or raw on purpose.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Unknown(event) => Some(event.problem),
            Self::OutputItemAdded(event) | Self::OutputItemDone(event) => event.item.problem(),
            Self::ContentPartAdded(event)
            | Self::ContentPartDone(event)
            | Self::ReasoningSummaryPartAdded(event)
            | Self::ReasoningSummaryPartDone(event) => event.part.problem(),
            Self::OutputTextAnnotationAdded(event) => event.annotation.problem(),
            Self::Completed(snapshot) | Self::Failed(snapshot) | Self::Incomplete(snapshot) => {
                let items = snapshot.response.output.iter().find_map(crate::Item::problem);
                items.or_else(|| (!snapshot.response.problems().is_empty()).then_some(Problem::BadBody))
            }
            _ => None,
        }
    }
}

fn is_terminal(tag: &str) -> bool {
    matches!(tag, "response.completed" | "response.failed" | "response.incomplete" | "error")
}
