//! The REST client of the connector.

mod address;
mod agent;
mod answer;
mod attachments;
mod batch;
mod call;
mod client;
mod conversations;
mod download;
mod error;
mod members;
mod messages;
mod pages;
mod rates;
mod references;
mod teams;
mod types;

pub use agent::AgentIdentity;
pub use attachments::Downloaded;
pub use batch::BatchTarget;
pub use client::{ConnectorClient, ConnectorClientBuilder, Sent};
pub use error::{ConnectorErrorCode, Delivery, SendAdvice, SendError, SendErrorKind};
pub use pages::Pages;
pub use rates::ConversationRates;
pub use references::{InstallChange, ReferenceError, References};
pub use types::{
    BatchFailure, BatchState, BatchStatus, ConversationMembers, Meeting, MeetingDetails, MeetingNotification,
    MeetingNotificationResponse, MeetingNotificationValue, MeetingParticipant, MeetingPresence,
    MeetingRecipientFailure, MeetingSurface, TeamDetails,
};
