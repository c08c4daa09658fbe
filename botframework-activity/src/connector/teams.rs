//! Teams, their channels, and meetings.

use super::{
    ConnectorClient, address,
    answer::{Json, MaybeJson, Operation},
    client::at,
    error::{Delivery, SendError, SendErrorKind},
    types::{ChannelList, Meeting, MeetingNotification, MeetingNotificationResponse, MeetingParticipant, TeamDetails},
};
use crate::{ChannelInfo, ServiceUrl};

static TEAM: Operation = Operation::get("team", "/v3/teams/{team}");
static CHANNELS: Operation = Operation::get("channels", "/v3/teams/{team}/conversations");
static MEETING: Operation = Operation::get("meeting", "/v1/meetings/{meeting}").free();
static PARTICIPANT: Operation =
    Operation::get("meeting participant", "/v1/meetings/{meeting}/participants/{participant}").free();
static NOTIFY: Operation = Operation::post("notify meeting", "/v1/meetings/{meeting}/notification").free();

impl ConnectorClient {
    /// A team. `team_id` is `channelData.team.id` of an activity.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn team(&self, service_url: &ServiceUrl, team_id: &str) -> Result<TeamDetails, SendError> {
        let uri = at(service_url, &["v3", "teams", team_id])?;
        let Json(team) = self.request(service_url, &TEAM, uri).of(Some(team_id)).run().await?;
        Ok(team)
    }

    /// The channels of a team. The general one has no name.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn channels(&self, service_url: &ServiceUrl, team_id: &str) -> Result<Vec<ChannelInfo>, SendError> {
        let uri = at(service_url, &["v3", "teams", team_id, "conversations"])?;
        let Json(list) = self.request(service_url, &CHANNELS, uri).of(Some(team_id)).run::<Json<ChannelList>>().await?;
        // A team has at least its general channel.
        list.conversations.ok_or_else(|| SendError::new(SendErrorKind::Protocol, Delivery::NotSent))
    }

    /// A meeting. `meeting_id` is `channelData.meeting.id` of an activity.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; [`SendErrorKind::Forbidden`](crate::SendErrorKind::Forbidden) without the permission
    /// of the app in the meeting: the operator.
    pub async fn meeting(&self, service_url: &ServiceUrl, meeting_id: &str) -> Result<Meeting, SendError> {
        let uri = at(service_url, &["v1", "meetings", meeting_id])?;
        let Json(meeting) = self.request(service_url, &MEETING, uri).run().await?;
        Ok(meeting)
    }

    /// What somebody is in a meeting. `participant` is an Entra object id.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::meeting`].
    pub async fn meeting_participant(
        &self,
        service_url: &ServiceUrl,
        meeting_id: &str,
        participant: &str,
        tenant_id: &str,
    ) -> Result<MeetingParticipant, SendError> {
        let segments = ["v1", "meetings", meeting_id, "participants", participant];
        let query = [("tenantId", Some(tenant_id))];
        let uri = address::join(service_url, &segments, &query).ok_or_else(SendError::invalid)?;
        let Json(participant) = self.request(service_url, &PARTICIPANT, uri).run().await?;
        Ok(participant)
    }

    /// Shows content to some participants of a running meeting. The answer names those who were not reached; it is empty
    /// when all were.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::meeting`].
    pub async fn notify_meeting(
        &self,
        service_url: &ServiceUrl,
        meeting_id: &str,
        notification: &MeetingNotification,
    ) -> Result<MeetingNotificationResponse, SendError> {
        let uri = at(service_url, &["v1", "meetings", meeting_id, "notification"])?;
        let call = self.request(service_url, &NOTIFY, uri).json(notification)?;
        let MaybeJson(answer) = call.run().await?;
        Ok(answer.unwrap_or_default())
    }
}
