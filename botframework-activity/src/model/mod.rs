//! The activity model: typed at the top, everything else kept as its own bytes.

pub(crate) mod object;
pub(crate) mod words;

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
mod invoke;
mod raw;
mod scan;
mod split;
mod text;
mod timestamp;
mod vocabulary;

pub use account::{ChannelAccount, TeamsChannelAccount};
pub use activity::{Activity, MessageReaction, SemanticAction, TextHighlight};
pub use attachment::{Attachment, AttachmentData, AttachmentInfo, AttachmentView};
pub use card_action::{CardAction, SuggestedActions};
pub use channel_data::{
    AppInfo, ChannelInfo, FeedbackLoop, MeetingInfo, NotificationInfo, OnBehalfOf, SourceInfo, TeamInfo,
    TeamsChannelData, TeamsSettings, TenantInfo,
};
pub use conversation::{
    ConversationAccount, ConversationParameters, ConversationReference, ConversationResourceResponse,
    PagedMembersResult, ResourceResponse, Transcript,
};
pub use entity::{
    ActivityTreatment, ClientInfo, Entity, GeoCoordinates, Mention, Place, ProductInfo, QuotedReply,
    QuotedReplyDetails, StreamInfo, TargetedMessageInfo, TypedEntity,
};
pub use error::{ModelError, ModelErrorKind};
pub use extra::Extra;
pub use invoke::{ExpectedReplies, InvokeResponse};
pub use raw::RawJson;
pub use scan::{JsonShape, json_depth, json_shape};
pub use timestamp::Timestamp;
pub use vocabulary::{
    ActionType, ActivityAction, ActivityType, AttachmentLayout, ChannelId, ContentType, ConversationType, DeliveryMode,
    EndOfConversationCode, EntityType, EventName, Importance, InputHint, InvokeName, ReactionType, RoleType,
    SemanticActionState, StreamResult, StreamType, TeamsEventType, TextFormat,
};
