use super::words::vocabulary;

vocabulary! {
    /// What an activity is: `type`.
    ///
    /// A bot ignores types it does not know.
    /// [Activity protocol](https://github.com/microsoft/Agents/blob/main/specs/activity/protocol-activity.md)
    pub struct ActivityType {
        MESSAGE = "message",
        CONTACT_RELATION_UPDATE = "contactRelationUpdate",
        CONVERSATION_UPDATE = "conversationUpdate",
        TYPING = "typing",
        END_OF_CONVERSATION = "endOfConversation",
        EVENT = "event",
        INVOKE = "invoke",
        /// Used inside a turn to carry the answer of an invoke; never sent to a channel.
        INVOKE_RESPONSE = "invokeResponse",
        DELETE_USER_DATA = "deleteUserData",
        MESSAGE_UPDATE = "messageUpdate",
        MESSAGE_DELETE = "messageDelete",
        INSTALLATION_UPDATE = "installationUpdate",
        MESSAGE_REACTION = "messageReaction",
        SUGGESTION = "suggestion",
        TRACE = "trace",
        HANDOFF = "handoff",
        COMMAND = "command",
        COMMAND_RESULT = "commandResult",
    }
}

/// A message without text is the plainest activity.
impl Default for ActivityType {
    fn default() -> Self {
        Self::MESSAGE
    }
}

vocabulary! {
    /// The channel an activity travels through: `channelId`, which may carry a sub-channel as in
    /// `msteams:COPILOT`.
    pub struct ChannelId {
        MSTEAMS = "msteams",
        /// Copilot inside Teams.
        MSTEAMS_COPILOT = "msteams:COPILOT",
        AGENTS = "agents",
        ALEXA = "alexa",
        CONSOLE = "console",
        CORTANA = "cortana",
        DIRECTLINE = "directline",
        DIRECTLINE_SPEECH = "directlinespeech",
        EMAIL = "email",
        EMULATOR = "emulator",
        FACEBOOK = "facebook",
        GROUPME = "groupme",
        KIK = "kik",
        LINE = "line",
        MCP = "mcp",
        OMNICHANNEL = "omnichannel",
        OUTLOOK = "outlook",
        PVA_STUDIO = "pva-studio",
        SKYPE = "skype",
        SKYPE_FOR_BUSINESS = "skypeforbusiness",
        SLACK = "slack",
        SMS = "sms",
        TELEGRAM = "telegram",
        TELEPHONY = "telephony",
        TEST = "test",
        TWILIO_SMS = "twilio-sms",
        WEBCHAT = "webchat",
    }
}

impl ChannelId {
    /// The part before the first colon: the channel whose key signs.
    ///
    /// ```
    /// # use botframework_activity::ChannelId;
    /// assert_eq!(ChannelId::from("msteams:COPILOT").base(), "msteams");
    /// assert_eq!(ChannelId::MSTEAMS.base(), "msteams");
    /// ```
    #[must_use]
    pub fn base(&self) -> &str {
        self.as_str().split_once(':').map_or(self.as_str(), |(base, _)| base)
    }

    /// The part after the first colon.
    #[must_use]
    pub fn sub_channel(&self) -> Option<&str> {
        self.as_str().split_once(':').map(|(_, sub)| sub)
    }

    /// Whether the base channel is Microsoft Teams, in any letter case.
    #[must_use]
    pub fn is_teams(&self) -> bool {
        self.base().eq_ignore_ascii_case(Self::MSTEAMS.as_str())
    }
}

vocabulary! {
    /// How the answers travel: `deliveryMode`.
    pub struct DeliveryMode {
        NORMAL = "normal",
        NOTIFICATION = "notification",
        /// The answers are the body of the HTTP response.
        EXPECT_REPLIES = "expectReplies",
        EPHEMERAL = "ephemeral",
        /// The answers are server-sent events in the HTTP response.
        STREAM = "stream",
    }
}

vocabulary! {
    /// What an account is: `role`. The protocol's generations disagree about the names; compare with the
    /// predicates.
    pub struct RoleType {
        USER = "user",
        BOT = "bot",
        /// The newer name of `bot`.
        AGENT = "agent",
        SKILL = "skill",
        CONNECTOR_USER = "connectoruser",
        AGENTIC_APP_INSTANCE = "agenticAppInstance",
        /// The prose specification's name of `agenticAppInstance`.
        AGENTIC_INSTANCE = "agenticInstance",
        AGENTIC_USER = "agenticUser",
    }
}

impl RoleType {
    /// `bot` or `agent`.
    #[must_use]
    pub fn is_bot(&self) -> bool {
        *self == Self::BOT || *self == Self::AGENT
    }

    /// `agenticAppInstance` or `agenticInstance`.
    #[must_use]
    pub fn is_agentic_instance(&self) -> bool {
        *self == Self::AGENTIC_APP_INSTANCE || *self == Self::AGENTIC_INSTANCE
    }

    /// Any agentic identity: an instance or an agentic user.
    #[must_use]
    pub fn is_agentic(&self) -> bool {
        self.is_agentic_instance() || *self == Self::AGENTIC_USER
    }
}

vocabulary! {
    /// How `text` is written: `textFormat`.
    pub struct TextFormat {
        MARKDOWN = "markdown",
        PLAIN = "plain",
        XML = "xml",
        EXTENDED_MARKDOWN = "extendedmarkdown",
    }
}

vocabulary! {
    /// Whether the sender waits for input: `inputHint`.
    pub struct InputHint {
        ACCEPTING_INPUT = "acceptingInput",
        IGNORING_INPUT = "ignoringInput",
        EXPECTING_INPUT = "expectingInput",
    }
}

vocabulary! {
    /// How several attachments are laid out: `attachmentLayout`.
    pub struct AttachmentLayout {
        LIST = "list",
        CAROUSEL = "carousel",
    }
}

vocabulary! {
    /// `importance`.
    pub struct Importance {
        LOW = "low",
        NORMAL = "normal",
        HIGH = "high",
    }
}

vocabulary! {
    /// The kind of a conversation in Teams: `conversation.conversationType`.
    pub struct ConversationType {
        PERSONAL = "personal",
        GROUP_CHAT = "groupChat",
        CHANNEL = "channel",
    }
}

vocabulary! {
    /// Why a conversation ended: `code`. The generations disagree; compare with the predicates.
    pub struct EndOfConversationCode {
        UNKNOWN = "unknown",
        COMPLETED_SUCCESSFULLY = "completedSuccessfully",
        USER_CANCELLED = "userCancelled",
        TIMED_OUT = "timedOut",
        BOT_TIMED_OUT = "botTimedOut",
        AGENT_TIMED_OUT = "agentTimedOut",
        BOT_ISSUED_INVALID_MESSAGE = "botIssuedInvalidMessage",
        AGENT_ISSUED_INVALID_MESSAGE = "agentIssuedInvalidMessage",
        CHANNEL_FAILED = "channelFailed",
        ERROR = "error",
    }
}

impl EndOfConversationCode {
    /// Any of the three spellings of a time-out.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        [Self::TIMED_OUT, Self::BOT_TIMED_OUT, Self::AGENT_TIMED_OUT].contains(self)
    }

    /// Either spelling of an invalid message.
    #[must_use]
    pub fn is_invalid_message(&self) -> bool {
        *self == Self::BOT_ISSUED_INVALID_MESSAGE || *self == Self::AGENT_ISSUED_INVALID_MESSAGE
    }
}

vocabulary! {
    /// What happened to an installation or a contact: `action`.
    pub struct ActivityAction {
        ADD = "add",
        REMOVE = "remove",
        /// Teams: a new version of the app.
        ADD_UPGRADE = "add-upgrade",
        /// Teams: the old version of the app goes.
        REMOVE_UPGRADE = "remove-upgrade",
    }
}

vocabulary! {
    /// The `name` of an invoke.
    pub struct InvokeName {
        ADAPTIVE_CARD_ACTION = "adaptiveCard/action",
        SIGN_IN_TOKEN_EXCHANGE = "signin/tokenExchange",
        SIGN_IN_VERIFY_STATE = "signin/verifyState",
        SIGN_IN_FAILURE = "signin/failure",
        TASK_FETCH = "task/fetch",
        TASK_SUBMIT = "task/submit",
        COMPOSE_EXTENSION_QUERY = "composeExtension/query",
        COMPOSE_EXTENSION_QUERY_LINK = "composeExtension/queryLink",
        COMPOSE_EXTENSION_ANONYMOUS_QUERY_LINK = "composeExtension/anonymousQueryLink",
        COMPOSE_EXTENSION_SELECT_ITEM = "composeExtension/selectItem",
        COMPOSE_EXTENSION_FETCH_TASK = "composeExtension/fetchTask",
        COMPOSE_EXTENSION_SUBMIT_ACTION = "composeExtension/submitAction",
        COMPOSE_EXTENSION_QUERY_SETTING_URL = "composeExtension/querySettingUrl",
        COMPOSE_EXTENSION_SETTING = "composeExtension/setting",
        COMPOSE_EXTENSION_ON_CARD_BUTTON_CLICKED = "composeExtension/onCardButtonClicked",
        FILE_CONSENT = "fileConsent/invoke",
        MESSAGE_SUBMIT_ACTION = "message/submitAction",
        MESSAGE_FETCH_TASK = "message/fetchTask",
        SUGGESTED_ACTIONS_SUBMIT = "suggestedActions/submit",
        APPLICATION_SEARCH = "application/search",
        CONFIG_FETCH = "config/fetch",
        CONFIG_SUBMIT = "config/submit",
        HANDOFF_ACTION = "handoff/action",
        TAB_FETCH = "tab/fetch",
        TAB_SUBMIT = "tab/submit",
        ACTIONABLE_MESSAGE_EXECUTE_ACTION = "actionableMessage/executeAction",
        CARD_EXTENSION_TOKEN = "cardExtension/token",
    }
}

vocabulary! {
    /// The `name` of an event.
    pub struct EventName {
        TOKENS_RESPONSE = "tokens/response",
        CONTINUE_CONVERSATION = "ContinueConversation",
        CREATE_CONVERSATION = "CreateConversation",
        HANDOFF_INITIATE = "handoff.initiate",
        HANDOFF_STATUS = "handoff.status",
        MEETING_START = "application/vnd.microsoft.meetingStart",
        MEETING_END = "application/vnd.microsoft.meetingEnd",
        MEETING_PARTICIPANT_JOIN = "application/vnd.microsoft.meetingParticipantJoin",
        MEETING_PARTICIPANT_LEAVE = "application/vnd.microsoft.meetingParticipantLeave",
        READ_RECEIPT = "application/vnd.microsoft.readReceipt",
        AGENT_LIFECYCLE = "agentLifecycle",
        CONSENT_RESPONSE = "Sys.ConsentResponseEvent",
        PVA_SET_CONTEXT = "pvaSetContext",
        START_CONVERSATION = "startConversation",
        MEDIA_START = "Media.Start",
        MEDIA_CHUNK = "Media.Chunk",
        MEDIA_END = "Media.End",
    }
}

vocabulary! {
    /// What an attachment or an invoke answer holds: `contentType`.
    pub struct ContentType {
        ADAPTIVE_CARD = "application/vnd.microsoft.card.adaptive",
        HERO_CARD = "application/vnd.microsoft.card.hero",
        THUMBNAIL_CARD = "application/vnd.microsoft.card.thumbnail",
        OAUTH_CARD = "application/vnd.microsoft.card.oauth",
        SIGNIN_CARD = "application/vnd.microsoft.card.signin",
        RECEIPT_CARD = "application/vnd.microsoft.card.receipt",
        ANIMATION_CARD = "application/vnd.microsoft.card.animation",
        AUDIO_CARD = "application/vnd.microsoft.card.audio",
        VIDEO_CARD = "application/vnd.microsoft.card.video",
        O365_CONNECTOR_CARD = "application/vnd.microsoft.teams.card.o365connector",
        LIST_CARD = "application/vnd.microsoft.teams.card.list",
        FILE_CONSENT_CARD = "application/vnd.microsoft.teams.card.file.consent",
        FILE_INFO_CARD = "application/vnd.microsoft.teams.card.file.info",
        FILE_DOWNLOAD_INFO = "application/vnd.microsoft.teams.file.download.info",
        ACTIVITY = "application/vnd.microsoft.activity",
        ACTIVITY_MESSAGE = "application/vnd.microsoft.activity.message",
        LOGIN_REQUEST = "application/vnd.microsoft.activity.loginRequest",
        ERROR = "application/vnd.microsoft.error",
        INCORRECT_AUTH_CODE = "application/vnd.microsoft.error.incorrectAuthCode",
        PRECONDITION_FAILED = "application/vnd.microsoft.error.preconditionFailed",
        SEARCH_RESPONSE = "application/vnd.microsoft.search.searchResponse",
        /// Teams adds it beside the plain text of a user's message.
        HTML = "text/html",
        PNG = "image/png",
        JPEG = "image/jpeg",
        GIF = "image/gif",
    }
}

vocabulary! {
    /// What an entity is: its `type`.
    pub struct EntityType {
        MENTION = "mention",
        CLIENT_INFO = "clientInfo",
        STREAM_INFO = "streaminfo",
        PRODUCT_INFO = "ProductInfo",
        PLACE = "Place",
        GEO_COORDINATES = "GeoCoordinates",
        THING = "Thing",
        ACTIVITY_TREATMENT = "activityTreatment",
        TARGETED_MESSAGE_INFO = "targetedMessageInfo",
        QUOTED_REPLY = "quotedReply",
        CONTEXT = "context",
        STRING = "string",
        NUMBER = "number",
        /// Citations, the AI label and the sensitivity label of a message.
        SCHEMA_ORG_MESSAGE = "https://schema.org/Message",
    }
}

vocabulary! {
    /// What a card button does: the `type` of a card action.
    pub struct ActionType {
        OPEN_URL = "openUrl",
        IM_BACK = "imBack",
        POST_BACK = "postBack",
        PLAY_AUDIO = "playAudio",
        PLAY_VIDEO = "playVideo",
        SHOW_IMAGE = "showImage",
        DOWNLOAD_FILE = "downloadFile",
        SIGNIN = "signin",
        CALL = "call",
        PAYMENT = "payment",
        MESSAGE_BACK = "messageBack",
        OPEN_APP = "openApp",
        INVOKE = "invoke",
    }
}

vocabulary! {
    /// A reaction to a message: the `type` of a message reaction. Teams also sends code-point names such
    /// as `1f440_eyes`.
    pub struct ReactionType {
        LIKE = "like",
        PLUS_ONE = "plusOne",
        HEART = "heart",
        LAUGH = "laugh",
        SURPRISED = "surprised",
        SAD = "sad",
        ANGRY = "angry",
    }
}

vocabulary! {
    /// How far a semantic action is: `semanticAction.state`.
    pub struct SemanticActionState {
        START = "start",
        CONTINUE = "continue",
        DONE = "done",
    }
}

vocabulary! {
    /// What a piece of a streamed message is: `streamType`.
    pub struct StreamType {
        INFORMATIVE = "informative",
        STREAMING = "streaming",
        FINAL = "final",
    }
}

vocabulary! {
    /// How a streamed message ended: `streamResult`.
    pub struct StreamResult {
        SUCCESS = "success",
        TIMEOUT = "timeout",
        ERROR = "error",
    }
}

vocabulary! {
    /// What happened in Teams: `channelData.eventType`.
    pub struct TeamsEventType {
        CHANNEL_CREATED = "channelCreated",
        CHANNEL_DELETED = "channelDeleted",
        CHANNEL_RENAMED = "channelRenamed",
        CHANNEL_RESTORED = "channelRestored",
        CHANNEL_SHARED = "channelShared",
        CHANNEL_UNSHARED = "channelUnshared",
        CHANNEL_MEMBER_ADDED = "channelMemberAdded",
        CHANNEL_MEMBER_REMOVED = "channelMemberRemoved",
        TEAM_ARCHIVED = "teamArchived",
        TEAM_UNARCHIVED = "teamUnarchived",
        TEAM_DELETED = "teamDeleted",
        TEAM_HARD_DELETED = "teamHardDeleted",
        TEAM_RENAMED = "teamRenamed",
        TEAM_RESTORED = "teamRestored",
        TEAM_MEMBER_ADDED = "teamMemberAdded",
        TEAM_MEMBER_REMOVED = "teamMemberRemoved",
        EDIT_MESSAGE = "editMessage",
        UNDELETE_MESSAGE = "undeleteMessage",
        SOFT_DELETE_MESSAGE = "softDeleteMessage",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! round_trips {
        ($($name:ident),*) => {$(
            for text in $name::KNOWN.iter().copied().chain(["someNewValue", "", "MESSAGE", "a\"b"]) {
                let json = serde_json::to_string(text).unwrap();
                let word: $name = serde_json::from_str(&json).unwrap();
                assert_eq!(word, *text, "{}", stringify!($name));
                assert_eq!(serde_json::to_string(&word).unwrap(), json);
                assert_eq!(word, $name::from(text.to_owned()));
            }
        )*};
    }

    #[test]
    fn every_known_and_unknown_value_is_kept() {
        round_trips!(
            ActionType,
            ActivityAction,
            ActivityType,
            AttachmentLayout,
            ChannelId,
            ContentType,
            ConversationType,
            DeliveryMode,
            EndOfConversationCode,
            EntityType,
            EventName,
            Importance,
            InputHint,
            InvokeName,
            ReactionType,
            RoleType,
            SemanticActionState,
            StreamResult,
            StreamType,
            TeamsEventType,
            TextFormat
        );
    }

    #[test]
    fn comparison_is_exact() {
        assert_ne!(ActivityType::from("Message"), ActivityType::MESSAGE);
        assert_eq!(ActivityType::from("message"), ActivityType::MESSAGE);
        assert_eq!(ActivityType::KNOWN.len(), 18);
    }

    #[test]
    fn sub_channels_split_at_the_first_colon() {
        let id = ChannelId::from("agents:email:x");
        assert_eq!((id.base(), id.sub_channel()), ("agents", Some("email:x")));
        assert_eq!(ChannelId::from("").base(), "");
        assert!(ChannelId::from("MsTeams:COPILOT").is_teams());
        assert!(!ChannelId::from("msteamsx").is_teams());
        assert_eq!(ChannelId::MSTEAMS.sub_channel(), None);
    }

    #[test]
    fn aliases_compare_through_predicates_and_keep_their_spelling() {
        for word in ["bot", "agent"] {
            assert!(RoleType::from(word).is_bot());
            assert_eq!(RoleType::from(word).as_str(), word);
        }
        assert!(RoleType::from("agenticInstance").is_agentic_instance());
        assert!(!RoleType::USER.is_agentic());
        for word in ["timedOut", "botTimedOut", "agentTimedOut"] {
            assert!(EndOfConversationCode::from(word).is_timed_out());
        }
        assert!(!EndOfConversationCode::ERROR.is_timed_out());
    }

    #[test]
    fn debug_quotes_only_what_the_protocol_defines() {
        assert_eq!(format!("{:?}", ActivityType::MESSAGE), "\"message\"");
        assert_eq!(format!("{:?}", ActivityType::from("evil\n")), "<other, 5 bytes>");
    }
}
