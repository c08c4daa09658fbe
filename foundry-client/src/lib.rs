#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod agent;
#[cfg(feature = "client")]
mod client;
mod content;
mod conversation;
mod events;
mod input;
mod items;
mod loose;
mod output_text;
mod problem;
mod raw;
mod request;
mod response;
mod sse;
mod vocabulary;

pub use agent::AgentReference;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use client::{
    Conversations, DangerousFoundryBuilder, Delivery, Error, ErrorKind, FoundryClient, FoundryClientBuilder, Items,
    Limits, ListItems, Order, RequestIds, Resource, ResponseStream, Responses,
};
pub use content::{Annotation, AnnotationKind, Content, ContentKind};
pub use conversation::{Conversation, CreateConversation, Page};
pub use events::{EventError, EventKind, ResponseEvent, StreamError};
pub use input::{InputContent, InputItem};
pub use items::{Item, ItemKind};
pub use output_text::OutputTextFold;
pub use problem::Problem;
pub use raw::{JsonError, RawJson};
pub use request::CreateResponse;
pub use response::{ContentFilter, Response, ResponseError, Usage};
pub use sse::{SseCounters, SseDecoder, SseError, SseFrame, SseLimits};
pub use vocabulary::{IncompleteReason, ItemStatus, Phase, ResponseStatus, Role};

/// Bodies of items: what the variants of [`Item`] hold.
pub mod item {
    pub use crate::items::{
        CodeInterpreterCall, FileSearchCall, FunctionCall, FunctionCallOutput, ImageGenerationCall, McpApprovalRequest,
        McpApprovalResponse, McpCall, McpListTools, MemorySearchCall, Message, OAuthConsentRequest, Reasoning,
        StructuredOutputs, ToolCall, ToolOutput, UnknownItem, WebSearchCall, WorkflowAction,
    };
}

/// Parts of messages and their annotations: what the variants of [`Content`] and [`Annotation`] hold.
pub mod content_part {
    pub use crate::content::{
        ContainerFileCitation, FileCitation, FilePath, OutputText, PlainText, UnknownAnnotation, UnknownContent,
        UrlCitation,
    };
}

/// Bodies of events: what the variants of [`ResponseEvent`] hold.
pub mod event {
    pub use crate::events::{
        AnnotationAdded, Delta, ItemEvent, PartEvent, PartialImage, Progress, ShellOutput, Snapshot, TextDone,
        UnknownEvent,
    };
}
