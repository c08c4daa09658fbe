//! Meetings: what is planned, who takes part, and what a bot shows to some of them.
//! `https://learn.microsoft.com/microsoftteams/platform/apps-in-teams-meetings/meeting-apps-apis`

use serde_json::{Value, json};

use super::deliver::{self, Caller, Receipt};
use super::people::Person;
use super::problem::Problem;
use super::room::Scope;
use super::store::State;

/// A meeting. Its chat is a room with the same members.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) conversation: String,
    pub(crate) title: String,
    pub(crate) organizer: Person,
    /// Who is in it now, by Teams id.
    pub(crate) present: Vec<String>,
    /// What bots have shown, oldest first.
    pub(crate) notifications: Vec<Value>,
}

/// What is planned.
///
/// # Errors
/// 404 for an unknown meeting, 403 when the bot is not in its chat.
pub(crate) fn details(state: &State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    let meeting = find(state, caller, id)?;
    let answer = json!({
        "details": {
            "id": id, "title": meeting.title, "type": "Scheduled",
            "msGraphResourceId": format!("graph-{}", meeting.conversation),
            "scheduledStartTime": "2026-06-01T09:00:00Z", "scheduledEndTime": "2026-06-01T09:30:00Z",
            "joinUrl": "https://teams.microsoft.com/l/meetup-join/sandbox",
        },
        "conversation": conversation(meeting),
        "organizer": meeting.organizer.roster("aadObjectId"),
    });
    Ok(Receipt { status: 200, body: Some(answer) })
}

/// What somebody is in a meeting, by Entra object id.
///
/// # Errors
/// 400 for another tenant than the meeting's, 404 for who was not invited.
pub(crate) fn participant(
    state: &State,
    caller: &Caller,
    id: &str,
    person: &str,
    query: &str,
) -> Result<Receipt, Problem> {
    let meeting = find(state, caller, id)?;
    let tenant = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "tenantId");
    if !tenant.is_some_and(|(_, tenant)| tenant.eq_ignore_ascii_case(&caller.tenant)) {
        return Err(Problem::argument("'tenantId' is not the tenant of the meeting."));
    }
    let room = state.room(&caller.tenant, &meeting.conversation)?;
    let invited = room.members.iter().find(|member| !member.oid.is_empty() && member.oid.eq_ignore_ascii_case(person));
    let person = invited.ok_or_else(Problem::member_not_found)?;
    let role = if person.mri == meeting.organizer.mri { "Organizer" } else { "Attendee" };
    let answer = json!({
        "user": person.roster("aadObjectId"),
        "meeting": { "role": role, "inMeeting": meeting.present.contains(&person.mri) },
        "conversation": conversation(meeting),
    });
    Ok(Receipt { status: 200, body: Some(answer) })
}

/// Shows content to some participants: 202 when all have it, 207 with those who have not.
///
/// # Errors
/// 400 for a notification of another shape.
pub(crate) fn notify(state: &mut State, caller: &Caller, id: &str, body: Value) -> Result<Receipt, Problem> {
    find(state, caller, id)?;
    if body.get("type").and_then(Value::as_str) != Some("targetedMeetingNotification") {
        return Err(Problem::argument("'type' must be targetedMeetingNotification."));
    }
    let list = |name: &str| {
        let list = body.pointer(&format!("/value/{name}")).and_then(Value::as_array);
        list.filter(|list| !list.is_empty()).cloned().ok_or_else(|| Problem::missing(name))
    };
    let (recipients, surfaces) = (list("recipients")?, list("surfaces")?);
    for surface in &surfaces {
        let kind = surface.get("surface").and_then(Value::as_str).unwrap_or_default();
        let stage = kind == "meetingStage" && surface.get("contentType").and_then(Value::as_str) == Some("task");
        if !stage && kind != "meetingTabIcon" {
            return Err(Problem::argument("A surface is meetingStage with a task, or meetingTabIcon."));
        }
    }
    let meeting = state.meetings.get_mut(id).ok_or_else(Problem::conversation_not_found)?;
    let reached = |recipient: &Value| recipient.as_str().is_some_and(|mri| meeting.present.iter().any(|id| id == mri));
    let failed: Vec<Value> = recipients
        .iter()
        .filter(|recipient| !reached(recipient))
        .map(|recipient| {
            json!({
                "recipientMri": recipient, "errorCode": "MemberNotFoundInConversation",
                "failureReason": "The recipient is not in the meeting.",
            })
        })
        .collect();
    meeting.notifications.push(body);
    if failed.is_empty() {
        return Ok(Receipt { status: 202, body: None });
    }
    Ok(Receipt { status: 207, body: Some(json!({ "recipientsFailureInfo": failed })) })
}

fn find<'a>(state: &'a State, caller: &Caller, id: &str) -> Result<&'a Meeting, Problem> {
    let meeting = state.meetings.get(id).ok_or_else(Problem::conversation_not_found)?;
    deliver::admit(state.room(&caller.tenant, &meeting.conversation)?, caller)?;
    Ok(meeting)
}

fn conversation(meeting: &Meeting) -> Value {
    json!({ "isGroup": true, "conversationType": Scope::GroupChat.as_str(), "id": meeting.conversation })
}
