#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Functions that few programs use are `#[inline]`: they are compiled by those who call them.

mod agent;
pub mod agents;
mod citation;
#[cfg(feature = "client")]
mod client;
mod content;
mod conversation;
mod decision;
mod events;
mod input;
mod items;
mod loose;
mod object;
mod output_text;
mod problem;
mod raw;
mod request;
mod response;
mod sse;
pub mod tool;
#[cfg(feature = "tools")]
#[cfg_attr(docsrs, doc(cfg(feature = "tools")))]
pub mod tools;
mod vocabulary;
mod written;

pub use agent::AgentReference;
pub use citation::{Citation, CitationSource, CitedText};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use client::{
    Agents, CompactResponse, Connections, ConversationFault, Conversations, DangerousFoundryBuilder, Delivery,
    Deployments, Error, ErrorKind, Files, FoundryClient, FoundryClientBuilder, Healed, Items, Limits, ListAgents,
    ListConversations, ListFiles, ListItems, ListPage, ListResponses, ListVersions, MemoryStores, MissingRole, Order,
    Paged, Polling, RawAnswer, RawCall, RequestIds, Resource, ResponseStream, Responses, SessionLogs, Sessions, Target,
    Toolboxes, VectorStores,
};
pub use content::{Annotation, AnnotationKind, Content, ContentKind};
pub use conversation::{Conversation, CreateConversation, Deleted, Page};
pub use decision::{ApprovalRequest, ConsentRequest, Decision};
pub use events::{EventError, EventKind, ResponseEvent, StreamError};
pub use input::{InputContent, InputItem};
pub use items::{Item, ItemKind};
pub use output_text::OutputTextFold;
pub use problem::Problem;
pub use raw::{JsonError, RawJson};
pub use request::CreateResponse;
pub use response::{Compaction, ContentFilter, Response, ResponseError, Usage};
pub use sse::{SseCounters, SseDecoder, SseError, SseFrame, SseLimits};
pub use vocabulary::{IncompleteReason, ItemStatus, Phase, ResponseStatus, Role};

/// Bodies of items: what the variants of [`Item`] hold.
pub mod item {
    pub use crate::items::{
        AdditionalTools, ApplyPatchCall, ApplyPatchCallOutput, CodeInterpreterCall, Compaction, ComputerCall,
        ComputerCallOutput, CustomToolCall, CustomToolCallOutput, FileSearchCall, FunctionCall, FunctionCallOutput,
        ImageGenerationCall, ItemReference, LocalShellCall, LocalShellCallOutput, McpApprovalRequest,
        McpApprovalResponse, McpCall, McpListTools, MemorySearchCall, Message, OAuthConsentRequest, Program,
        ProgramOutput, Reasoning, ShellCall, ShellCallOutput, StructuredOutputs, ToolCall, ToolOutput, ToolSearchCall,
        ToolSearchOutput, UnknownItem, WebSearchCall, WorkflowAction,
    };
}

/// Parts of messages and their annotations: what the variants of [`Content`] and [`Annotation`] hold.
pub mod content_part {
    pub use crate::content::{
        ComputerScreenshot, ContainerFileCitation, FileCitation, FilePath, InputFile, InputImage, OutputText,
        PlainText, UnknownAnnotation, UnknownContent, UrlCitation,
    };
}

/// Bodies of events: what the variants of [`ResponseEvent`] hold.
pub mod event {
    pub use crate::events::{
        AnnotationAdded, Delta, ItemEvent, PartEvent, PartialImage, Progress, ShellOutput, Snapshot, TextDone,
        UnknownEvent,
    };
}

/// Things of a project beside agents: files, vector stores, connections, deployments, memory stores, toolboxes.
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod resource {
    pub use crate::client::resource_types::*;
    pub use crate::client::{NewMemoryStore, Remember};
}

/// Publishing agents to Microsoft 365 and Teams.
#[cfg(feature = "publish")]
#[cfg_attr(docsrs, doc(cfg(feature = "publish")))]
pub mod publish {
    pub use crate::client::{ActivityAccess, Microsoft365, PublishDefaults, PublishRequest, PublishScope, Published};
}

/// Azure Resource Manager: the Azure Bot in front of an agent or of a bot of your own.
#[cfg(feature = "arm")]
#[cfg_attr(docsrs, doc(cfg(feature = "arm")))]
pub mod arm {
    pub use crate::client::{
        ArmClient, ArmClientBuilder, ArmResource, AuthProvider, BotSpec, NameAvailability, OAuthConnectionSpec,
    };
}
