//! What the connector answers beside activities.

use crate::model::{object::wire_object, words::vocabulary};
use crate::{ChannelAccount, ChannelInfo, ConversationAccount, RawJson, TeamsChannelAccount, Timestamp};

wire_object! {
    /// One conversation of the bot in a list of them.
    pub struct ConversationMembers {
        /// Its id.
        pub id: Option<String> = "id" show;
        /// Who takes part.
        pub members: Vec<ChannelAccount> = "members";
    }
}

wire_object! {
    /// A page of conversations.
    pub(super) struct ConversationsResult {
        pub conversations: Vec<ConversationMembers> = "conversations";
        pub continuation_token: Option<String> = "continuationToken";
    }
}

wire_object! {
    /// A team of Teams:
    /// [team details](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context).
    pub struct TeamDetails {
        /// Its id, `19:…`.
        pub id: Option<String> = "id" show;
        /// Its name.
        pub name: Option<String> = "name";
        /// The id of its Entra group, for Graph.
        pub aad_group_id: Option<String> = "aadGroupId" show;
        /// `standard`, `sharedChannel` or `privateChannel`.
        pub kind: Option<String> = "type";
        /// Its tenant.
        pub tenant_id: Option<String> = "tenantId" show;
        /// How many members it has.
        pub member_count: Option<i64> = "memberCount";
        /// How many channels it has.
        pub channel_count: Option<i64> = "channelCount";
    }
}

wire_object! {
    /// The channels of a team.
    pub(super) struct ChannelList {
        pub conversations: Option<Vec<ChannelInfo>> = "conversations";
    }
}

wire_object! {
    /// A meeting:
    /// [meeting details](https://learn.microsoft.com/microsoftteams/platform/apps-in-teams-meetings/meeting-apps-apis).
    pub struct Meeting {
        /// What is planned.
        pub details: Option<MeetingDetails> = "details";
        /// Its chat.
        pub conversation: Option<ConversationAccount> = "conversation";
        /// Who made it.
        pub organizer: Option<TeamsChannelAccount> = "organizer";
    }
}

wire_object! {
    /// What is planned for a meeting.
    pub struct MeetingDetails {
        /// Its id for these calls.
        pub id: Option<String> = "id" show;
        /// Its id in Graph.
        pub ms_graph_resource_id: Option<String> = "msGraphResourceId" show;
        /// The planned start.
        pub scheduled_start_time: Option<Timestamp> = "scheduledStartTime";
        /// The planned end.
        pub scheduled_end_time: Option<Timestamp> = "scheduledEndTime";
        /// Where one joins it.
        pub join_url: Option<String> = "joinUrl";
        /// Its title.
        pub title: Option<String> = "title";
        /// `Scheduled`, `Recurring`, `Adhoc`, `ChannelScheduled`, …
        pub kind: Option<String> = "type";
    }
}

wire_object! {
    /// What somebody is in a meeting.
    pub struct MeetingParticipant {
        /// Who.
        pub user: Option<TeamsChannelAccount> = "user";
        /// As what.
        pub meeting: Option<MeetingPresence> = "meeting";
        /// The chat of the meeting.
        pub conversation: Option<ConversationAccount> = "conversation";
    }
}

wire_object! {
    /// The part somebody plays in a meeting.
    pub struct MeetingPresence {
        /// `Organizer`, `Presenter` or `Attendee`.
        pub role: Option<String> = "role";
        /// Whether they are in it now.
        pub in_meeting: Option<bool> = "inMeeting";
    }
}

wire_object! {
    /// Content for some participants of a running meeting:
    /// [targeted meeting notification](https://learn.microsoft.com/microsoftteams/platform/apps-in-teams-meetings/in-meeting-notification-for-meeting).
    pub struct MeetingNotification {
        /// `targetedMeetingNotification`.
        pub kind: Option<String> = "type";
        /// To whom, and what.
        pub value: Option<MeetingNotificationValue> = "value";
        /// On whose behalf; see [`OnBehalfOf`](crate::OnBehalfOf).
        pub channel_data: Option<RawJson> = "channelData";
    }
}

wire_object! {
    /// To whom a meeting notification goes, and what it shows.
    pub struct MeetingNotificationValue {
        /// The members' ids, `29:…`.
        pub recipients: Vec<String> = "recipients";
        /// Where it shows.
        pub surfaces: Vec<MeetingSurface> = "surfaces";
    }
}

wire_object! {
    /// One place of a meeting where a notification shows.
    pub struct MeetingSurface {
        /// `meetingStage` or `meetingTabIcon`.
        pub surface: Option<String> = "surface";
        /// `task` for the stage.
        pub content_type: Option<String> = "contentType";
        /// The content: a task module's answer.
        pub content: Option<RawJson> = "content";
        /// Which tab, for the icon.
        pub tab_entity_id: Option<String> = "tabEntityId";
    }
}

wire_object! {
    /// Who was not reached by a meeting notification. Empty when all were.
    pub struct MeetingNotificationResponse {
        /// The recipients that were not reached.
        pub recipients_failure_info: Vec<MeetingRecipientFailure> = "recipientsFailureInfo";
    }
}

wire_object! {
    /// Why one recipient of a meeting notification was not reached.
    pub struct MeetingRecipientFailure {
        /// Who.
        pub recipient_mri: Option<String> = "recipientMri";
        /// Such as `BadArgument` or `MemberNotFoundInConversation`.
        pub error_code: Option<String> = "errorCode";
        /// In words of the service.
        pub failure_reason: Option<String> = "failureReason";
    }
}

vocabulary! {
    /// How far a batch is.
    pub struct BatchState {
        ONGOING = "Ongoing",
        COMPLETED = "Completed",
        FAILED = "Failed",
    }
}

wire_object! {
    /// How far a batch is:
    /// [state of an operation](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages#get-operation-state).
    pub struct BatchStatus {
        /// Running, done or failed.
        pub state: Option<BatchState> = "state";
        /// How many messages had which HTTP status: an object of counts by status.
        pub status_map: Option<RawJson> = "statusMap";
        /// When to ask again.
        pub retry_after: Option<Timestamp> = "retryAfter";
        /// How many messages it has in all.
        pub total_entries_count: Option<i64> = "totalEntriesCount";
    }
}

impl BatchStatus {
    /// How many messages had this HTTP status so far.
    #[must_use]
    #[inline]
    pub fn count(&self, status: u16) -> u64 {
        let counts =
            self.status_map.as_ref().and_then(|map| map.parse::<std::collections::HashMap<String, u64>>().ok());
        counts.and_then(|counts| counts.get(&status.to_string()).copied()).unwrap_or_default()
    }
}

wire_object! {
    /// A page of what a batch could not deliver. The service has spelled the list in two ways.
    pub(super) struct BatchFailures {
        pub continuation_token: Option<String> = "continuationToken";
        pub failed_entry_responses: Vec<BatchFailure> = "failedEntryResponses" | "failedEntries";
    }
}

wire_object! {
    /// One message of a batch that was not delivered.
    pub struct BatchFailure {
        /// To whom: a user or a conversation.
        pub entry_id: Option<String> = "entryId" | "id";
        /// Why, in words of the service.
        pub error: Option<String> = "error";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_status() {
        for state in BatchState::KNOWN {
            let json = format!(r#"{{"state":"{state}","statusMap":{{"201":7,"404":"x"}},"totalEntriesCount":9}}"#);
            let status: BatchStatus = serde_json::from_str(&json).unwrap();
            assert!(status.state.as_ref().is_some_and(BatchState::is_known), "{state}");
            assert_eq!(serde_json::to_string(&status).unwrap(), json);
            // A map that is no map of counts tells nothing.
            assert_eq!((status.count(201), status.count(404)), (0, 0));
        }
        let status: BatchStatus = serde_json::from_str(r#"{"statusMap":{"201":7,"404":2}}"#).unwrap();
        assert_eq!((status.count(201), status.count(404), status.count(500)), (7, 2, 0));
    }

    #[test]
    fn failures_are_read_in_both_spellings() {
        for name in ["failedEntryResponses", "failedEntries"] {
            let json = format!(r#"{{"{name}":[{{"entryId":"29:u","error":"gone"}}]}}"#);
            let page: BatchFailures = serde_json::from_str(&json).unwrap();
            assert_eq!(page.failed_entry_responses[0].entry_id.as_deref(), Some("29:u"), "{name}");
        }
    }
}
