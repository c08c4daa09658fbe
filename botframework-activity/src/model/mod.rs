//! The activity model: typed at the top, everything else kept as its own bytes.

pub(crate) mod json;
pub(crate) mod object;
pub(crate) mod tagged;
pub(crate) mod words;

pub mod ai;
pub mod card;
pub mod event;
pub mod invoke;
pub mod view;

mod account;
mod activity;
mod attachment;
mod builder;
mod card_action;
mod channel_data;
mod conversation;
mod entity;
mod error;
mod extra;
mod markdown;
mod raw;
mod response;
mod scalar;
mod scan;
#[cfg(test)]
mod spec;
mod split;
mod text;
mod timestamp;
mod vocabulary;

pub use account::{ChannelAccount, TeamsChannelAccount};
pub use activity::{Activity, MessageReaction, SemanticAction, TextHighlight};
pub use attachment::{Attachment, AttachmentData, AttachmentInfo, AttachmentView};
pub use card_action::{CardAction, SuggestedActions};
pub use channel_data::{
    AppInfo, ChannelInfo, FeedbackLoop, LegacyInfo, MeetingInfo, NotificationInfo, OnBehalfOf, SourceInfo, TeamInfo,
    TeamsActionValue, TeamsButton, TeamsChannelData, TeamsSettings, TenantInfo,
};
pub use conversation::{
    ConversationAccount, ConversationParameters, ConversationReference, ConversationResourceResponse,
    PagedMembersResult, ResourceResponse, Transcript,
};
pub use entity::{
    ActivityTreatment, ClientInfo, Context, Entity, GeoCoordinates, Mention, NumberEntity, Place, ProductInfo,
    QuotedReply, QuotedReplyDetails, ScreenContext, StreamInfo, StringEntity, TargetedMessageInfo, Thing, TypedEntity,
};
pub use error::{ModelError, ModelErrorKind};
pub use extra::Extra;
pub use markdown::MarkdownSanitizer;
pub use raw::RawJson;
pub use response::{ErrorBody, ErrorResponse, ExpectedReplies, InnerHttpError, InvokeResponse};
pub use scalar::{Number, Scalar};
pub use scan::{JsonShape, json_depth, json_shape};
pub use timestamp::Timestamp;
pub use vocabulary::{
    ActionType, ActivityAction, ActivityType, AttachmentLayout, ChannelId, ContentType, ConversationType, DeliveryMode,
    EndOfConversationCode, EntityType, EventName, Importance, InputHint, InvokeName, ReactionType, RoleType,
    SemanticActionState, StreamResult, StreamType, TeamsEventType, TextFormat,
};
