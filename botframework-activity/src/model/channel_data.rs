use super::object::wire_object;
use super::raw::RawJson;
use super::vocabulary::{ActionType, StreamType, TeamsEventType};

wire_object! {
    /// What Teams puts into `channelData`, and reads from it:
    /// [Teams channel data](https://learn.microsoft.com/microsoftteams/platform/resources/bot-v3/bots-conversations#teams-channel-data).
    ///
    /// Read it with [`Activity::channel_data`](crate::Activity::channel_data).
    pub struct TeamsChannelData {
        /// The tenant; always present in what Teams sends.
        pub tenant: Option<TenantInfo> = "tenant";
        /// The team, in the scope of a channel.
        pub team: Option<TeamInfo> = "team";
        /// The channel, in the scope of a channel.
        pub channel: Option<ChannelInfo> = "channel";
        /// What happened, for updates.
        pub event_type: Option<TeamsEventType> = "eventType";
        /// The meeting of the chat.
        pub meeting: Option<MeetingInfo> = "meeting";
        /// Where the user came from.
        pub source: Option<SourceInfo> = "source";
        /// What older clients of Teams read.
        pub legacy: Option<LegacyInfo> = "legacy";
        /// What the user chose while installing.
        pub settings: Option<TeamsSettings> = "settings";
        /// Outbound: how the user is told.
        pub notification: Option<NotificationInfo> = "notification";
        /// Outbound: for whom the bot posts.
        pub on_behalf_of: Vec<OnBehalfOf> = "onBehalfOf";
        /// Outbound: asks for feedback on the message. Never together with `feedback_loop_enabled`.
        pub feedback_loop: Option<FeedbackLoop> = "feedbackLoop";
        /// Outbound: the older form of `feedback_loop`.
        pub feedback_loop_enabled: Option<bool> = "feedbackLoopEnabled";
        /// Outbound: the stream this piece belongs to; the older place of the `streaminfo` entity.
        pub stream_id: Option<String> = "streamId" show;
        /// Outbound: what this piece of a stream is.
        pub stream_type: Option<StreamType> = "streamType";
        /// Outbound: the number of this piece, from 1.
        pub stream_sequence: Option<i64> = "streamSequence";
        /// The app the activity is about.
        pub app: Option<AppInfo> = "app";
        /// Deprecated: the team's id.
        pub teams_team_id: Option<String> = "teamsTeamId";
        /// Deprecated: the channel's id.
        pub teams_channel_id: Option<String> = "teamsChannelId";
    }
}

wire_object! {
    /// A tenant.
    pub struct TenantInfo {
        /// The Entra tenant id.
        pub id: Option<String> = "id" show;
    }
}

wire_object! {
    /// A team.
    pub struct TeamInfo {
        /// The id, `19:…`.
        pub id: Option<String> = "id" show;
        /// The name.
        pub name: Option<String> = "name";
        /// The id of the Microsoft 365 group.
        pub aad_group_id: Option<String> = "aadGroupId" show;
        /// `standard`, `sharedChannel` or `privateChannel`.
        pub team_type: Option<String> = "teamType";
        /// How many members.
        pub member_count: Option<i64> = "memberCount";
        /// How many channels.
        pub channel_count: Option<i64> = "channelCount";
    }
}

wire_object! {
    /// A channel of a team.
    pub struct ChannelInfo {
        /// The id, `19:…`.
        pub id: Option<String> = "id" show;
        /// The name; the general channel has none.
        pub name: Option<String> = "name";
        /// `standard`, `shared` or `private`.
        pub kind: Option<String> = "type";
    }
}

wire_object! {
    /// A meeting.
    pub struct MeetingInfo {
        /// The id.
        pub id: Option<String> = "id" show;
    }
}

wire_object! {
    /// Where the user came from.
    pub struct SourceInfo {
        /// The name of the place, `message` for one.
        pub name: Option<String> = "name";
    }
}

wire_object! {
    /// What older clients of Teams read.
    pub struct LegacyInfo {
        /// The message that this one answers.
        pub reply_to_id: Option<String> = "replyToId" show;
    }
}

wire_object! {
    /// What the user chose while installing.
    pub struct TeamsSettings {
        /// The channel chosen.
        pub selected_channel: Option<ChannelInfo> = "selectedChannel";
        /// The agents chosen, in their own bytes.
        pub selected_agents: Option<RawJson> = "selectedAgents";
    }
}

wire_object! {
    /// How the user is told about a message.
    pub struct NotificationInfo {
        /// Show it in the activity feed.
        pub alert: Option<bool> = "alert";
        /// Show it in the meeting.
        pub alert_in_meeting: Option<bool> = "alertInMeeting";
        /// A deep link shown in the meeting.
        pub external_resource_url: Option<String> = "externalResourceUrl";
    }
}

wire_object! {
    /// For whom the bot posts.
    pub struct OnBehalfOf {
        /// Always 0.
        pub item_id: Option<i64> = "itemid";
        /// Always `person`.
        pub mention_type: Option<String> = "mentionType";
        /// The user's id, `29:…`.
        pub mri: Option<String> = "mri";
        /// The user's name.
        pub display_name: Option<String> = "displayName";
    }
}

wire_object! {
    /// How feedback is asked for.
    pub struct FeedbackLoop {
        /// `default` or `custom`.
        pub kind: Option<String> = "type" show;
    }
}

wire_object! {
    /// An app.
    pub struct AppInfo {
        /// The id.
        pub id: Option<String> = "id" show;
        /// The version.
        pub version: Option<String> = "version" show;
    }
}

wire_object! {
    /// What Teams reads in the `value` of a card button, beside the bot's own members.
    ///
    /// ```
    /// use botframework_activity::{TeamsActionValue, TeamsButton};
    ///
    /// let value = TeamsActionValue::from(TeamsButton::message_back("Approved"));
    /// assert_eq!(serde_json::to_string(&value)?, r#"{"msteams":{"type":"messageBack","displayText":"Approved"}}"#);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct TeamsActionValue {
        /// What Teams does; the bot does not get it back.
        pub msteams: Option<TeamsButton> = "msteams";
    }
}

wire_object! {
    /// What Teams does when the button of an Adaptive Card is pressed.
    pub struct TeamsButton {
        /// The kind of action.
        pub kind: ActionType = "type" [ActionType::MESSAGE_BACK];
        /// The text that the bot receives.
        pub text: Option<String> = "text";
        /// The text that the chat shows.
        pub display_text: Option<String> = "displayText";
        /// What the bot receives: any JSON.
        pub value: Option<RawJson> = "value";
    }
}

impl TeamsButton {
    /// Sends a message that the chat shows as this text.
    #[inline]
    pub fn message_back(display_text: impl Into<String>) -> Self {
        Self { display_text: Some(display_text.into()), ..Self::default() }
    }

    /// Opens a dialog: the bot gets a `task/fetch` invoke.
    #[must_use]
    #[inline]
    pub fn task_fetch() -> Self {
        Self { kind: ActionType::from_static("task/fetch"), ..Self::default() }
    }
}

impl From<TeamsButton> for TeamsActionValue {
    #[inline]
    fn from(button: TeamsButton) -> Self {
        Self { msteams: Some(button), ..Self::default() }
    }
}

impl FeedbackLoop {
    /// Teams' own form.
    #[must_use]
    #[inline]
    pub fn standard() -> Self {
        Self { kind: Some("default".into()), ..Self::default() }
    }

    /// A form of the bot's: the bot gets a `message/fetchTask` invoke.
    #[must_use]
    #[inline]
    pub fn custom() -> Self {
        Self { kind: Some("custom".into()), ..Self::default() }
    }
}

impl TeamsChannelData {
    /// The tenant id, when it is there and not empty.
    #[must_use]
    #[inline]
    pub fn tenant_id(&self) -> Option<&str> {
        self.tenant.as_ref()?.id.as_deref().filter(|id| !id.is_empty())
    }
}
