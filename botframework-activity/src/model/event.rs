//! Events: what the `value` of each holds.
//!
//! ```
//! use botframework_activity::{Activity, event};
//!
//! let activity = Activity::from_json(
//!     br#"{"type":"event","name":"application/vnd.microsoft.meetingStart","value":{"Title":"Weekly"}}"#,
//! )?;
//! let meeting = activity.event_as::<event::MeetingStart>()?;
//! assert_eq!(meeting.and_then(|meeting| meeting.title).as_deref(), Some("Weekly"));
//! # Ok::<(), botframework_activity::ModelError>(())
//! ```

use serde_core::de::DeserializeOwned;

use super::account::TeamsChannelAccount;
use super::activity::Activity;
use super::error::ModelError;
use super::object::wire_object;
use super::raw::RawJson;
use super::scalar::Scalar;
use super::timestamp::Timestamp;
use super::vocabulary::{ActivityType, ChannelId, EventName};

/// The value of an event with a name of its own. Implement it for events of yours.
pub trait TypedEvent: DeserializeOwned {
    /// The name that marks it.
    const NAME: EventName;
}

impl Activity {
    /// The value of an event of kind `T`; `None` for any other activity, and for an event without a value.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the value is of another shape.
    #[inline]
    pub fn event_as<T: TypedEvent>(&self) -> Result<Option<T>, ModelError> {
        if self.kind == ActivityType::EVENT && self.name.as_deref() == Some(T::NAME.as_str()) {
            self.value()
        } else {
            Ok(None)
        }
    }
}

wire_object! {
    /// A token that a sign-in brought: `tokens/response`.
    pub struct TokenResponse {
        /// The channel of the user.
        pub channel_id: Option<ChannelId> = "channelId";
        /// The connection.
        pub connection_name: Option<String> = "connectionName" show;
        /// The token.
        pub token: Option<String> = "token";
        /// When it ends.
        pub expiration: Option<Timestamp> = "expiration";
    }
}

impl TypedEvent for TokenResponse {
    const NAME: EventName = EventName::TOKENS_RESPONSE;
}

macro_rules! meeting {
    ($(#[$meta:meta])* $name:ident = $constant:ident, $time:ident = $wire:literal) => {
        wire_object! {
            $(#[$meta])*
            pub struct $name {
                /// The kind of meeting, `Scheduled` for one.
                pub meeting_type: Option<String> = "MeetingType" show;
                /// The title.
                pub title: Option<String> = "Title";
                /// The id, base64.
                pub id: Option<String> = "Id" show;
                /// Where to join. As good as an invitation.
                pub join_url: Option<String> = "JoinUrl";
                /// The time.
                pub $time: Option<Timestamp> = $wire;
            }
        }

        impl TypedEvent for $name {
            const NAME: EventName = EventName::$constant;
        }
    };
}

meeting! {
    /// A meeting has begun.
    MeetingStart = MEETING_START, start_time = "StartTime"
}

meeting! {
    /// A meeting has ended.
    MeetingEnd = MEETING_END, end_time = "EndTime"
}

macro_rules! participants {
    ($(#[$meta:meta])* $name:ident = $constant:ident) => {
        wire_object! {
            $(#[$meta])*
            pub struct $name {
                /// Who.
                pub members: Vec<MeetingMember> = "members";
            }
        }

        impl TypedEvent for $name {
            const NAME: EventName = EventName::$constant;
        }
    };
}

participants! {
    /// Somebody joined a meeting.
    MeetingParticipantJoin = MEETING_PARTICIPANT_JOIN
}

participants! {
    /// Somebody left a meeting.
    MeetingParticipantLeave = MEETING_PARTICIPANT_LEAVE
}

wire_object! {
    /// Somebody in a meeting.
    pub struct MeetingMember {
        /// The account.
        pub user: Option<TeamsChannelAccount> = "user";
        /// What they are in the meeting.
        pub meeting: Option<MeetingPresence> = "meeting";
    }
}

wire_object! {
    /// What somebody is in a meeting.
    pub struct MeetingPresence {
        /// Whether they are in it.
        pub in_meeting: Option<bool> = "inMeeting";
        /// `Organizer`, `Presenter` or `Attendee`.
        pub role: Option<String> = "role" show;
    }
}

wire_object! {
    /// The user has read messages of the bot.
    pub struct ReadReceipt {
        /// The last message that was read.
        pub last_read_message_id: Option<String> = "lastReadMessageId" show;
    }
}

impl TypedEvent for ReadReceipt {
    const NAME: EventName = EventName::READ_RECEIPT;
}

wire_object! {
    /// How far a hand-off to people is: `handoff.status`.
    pub struct HandoffStatus {
        /// `accepted`, `failed` or `completed`.
        pub state: Option<String> = "state" show;
        /// A text for people.
        pub message: Option<String> = "message";
    }
}

impl TypedEvent for HandoffStatus {
    const NAME: EventName = EventName::HANDOFF_STATUS;
}

wire_object! {
    /// What a user answered when they were asked for consent to a recording: `Sys.ConsentResponseEvent`, from the bot to
    /// the channel.
    /// [Reserved events](https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md#event-activity)
    pub struct ConsentResponse {
        /// `True` or `False`, as text.
        pub consent_value: Option<Scalar> = "consentValue";
        /// To what: `audio`, `video`, `text`, `screen` or `all`.
        pub content_type: Option<String> = "contentType" show;
    }
}

impl TypedEvent for ConsentResponse {
    const NAME: EventName = EventName::CONSENT_RESPONSE;
}

wire_object! {
    /// A stream of sound or pictures begins: `Media.Start`. Which stream is in the activity's [`StreamInfo`].
    /// [Media streaming](https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md#event-activity)
    ///
    /// [`StreamInfo`]: crate::StreamInfo
    pub struct MediaStart {
        /// `audio` for one.
        pub media_type: Option<String> = "mediaType" show;
        /// The MIME type of what comes.
        pub content_type: Option<String> = "contentType" show;
    }
}

impl TypedEvent for MediaStart {
    const NAME: EventName = EventName::MEDIA_START;
}

wire_object! {
    /// A piece of a stream of sound or pictures: `Media.Chunk`. Its place is the number in the activity's
    /// [`StreamInfo`](crate::StreamInfo). `Media.End`, which ends the stream, has no value.
    pub struct MediaChunk {
        /// The MIME type.
        pub content_type: Option<String> = "contentType" show;
        /// The piece itself, as a `data:` address in base64.
        pub content_url: Option<String> = "contentUrl";
        /// Its length in milliseconds.
        pub duration_ms: Option<i64> = "durationMs";
        /// When it was taken.
        pub timestamp: Option<Timestamp> = "timestamp";
        /// What was said in it.
        pub transcription: Option<String> = "transcription";
    }
}

impl TypedEvent for MediaChunk {
    const NAME: EventName = EventName::MEDIA_CHUNK;
}

wire_object! {
    /// The value of a command: its id, and what it is about.
    pub struct CommandValue {
        /// Ties a command and its result together.
        pub command_id: Option<String> = "commandId" show;
        /// What it is about: any JSON.
        pub data: Option<RawJson> = "data";
        /// What went wrong, in a result.
        pub error: Option<crate::ErrorBody> = "error";
    }
}
