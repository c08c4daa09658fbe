//! Teams with their channels, and the bot's list of conversations.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context`

use serde_json::{Value, json};

use super::deliver::{self, Caller, Receipt};
use super::people::Person;
use super::problem::Problem;
use super::room::Scope;
use super::store::State;

/// A team as the service keeps it. Its id is that of its first channel.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) entra_group: String,
    /// Id and name, the first one first.
    pub(crate) channels: Vec<(String, String)>,
}

impl Group {
    /// Adds a channel that it does not have yet.
    pub(crate) fn add(&mut self, id: &str, name: &str) {
        if !self.channels.iter().any(|(known, _)| known == id) {
            self.channels.push((id.to_owned(), name.to_owned()));
        }
    }
}

/// What a team is.
///
/// # Errors
/// 404 for an unknown team, 403 when the bot is in none of its channels.
pub(crate) fn details(state: &State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    let (group, members) = find(state, caller, id)?;
    let answer = json!({
        "id": id, "name": group.name, "aadGroupId": group.entra_group, "type": "standard", "tenantId": group.tenant,
        "memberCount": members.len(), "channelCount": group.channels.len(),
    });
    Ok(Receipt { status: 200, body: Some(answer) })
}

/// The channels of a team.
///
/// # Errors
/// As [`details`].
pub(crate) fn channels(state: &State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    let (group, _) = find(state, caller, id)?;
    let channels: Vec<Value> =
        group.channels.iter().map(|(id, name)| json!({ "id": id, "name": name, "type": "standard" })).collect();
    Ok(Receipt { status: 200, body: Some(json!({ "conversations": channels })) })
}

/// The conversations of the bot in this tenant, on one page.
pub(crate) fn conversations(state: &State, caller: &Caller) -> Receipt {
    let mut rooms: Vec<_> = state
        .rooms
        .iter()
        .filter(|(_, room)| room.tenant.eq_ignore_ascii_case(&caller.tenant) && deliver::admit(room, caller).is_ok())
        .map(|(id, room)| (id, room.members.iter().map(Person::account).collect::<Vec<_>>()))
        .collect();
    rooms.sort_by_key(|(id, _)| id.as_str());
    let list: Vec<Value> = rooms.iter().map(|(id, members)| json!({ "id": id, "members": members })).collect();
    Receipt { status: 200, body: Some(json!({ "conversations": list })) }
}

/// Takes a member out of a group chat or channel.
///
/// # Errors
/// 404 for who is no member, 403 in a personal chat.
pub(crate) fn remove(state: &mut State, caller: &Caller, conversation: &str, member: &str) -> Result<Receipt, Problem> {
    let room = state.room_mut(&caller.tenant, conversation)?;
    deliver::admit(room, caller)?;
    if room.scope == Scope::Personal {
        return Err(Problem::new(403, "NotEnoughPermissions", "Nobody leaves a personal chat."));
    }
    let at = room.members.iter().position(|person| person.is(member)).ok_or_else(Problem::member_not_found)?;
    room.members.remove(at);
    Ok(Receipt { status: 200, body: None })
}

/// A team in which the bot is, and the members of all its channels.
pub(crate) fn find<'a>(state: &'a State, caller: &Caller, id: &str) -> Result<(&'a Group, Vec<&'a Person>), Problem> {
    let group = state.groups.get(id).filter(|group| group.tenant.eq_ignore_ascii_case(&caller.tenant));
    let group = group.ok_or_else(Problem::conversation_not_found)?;
    let rooms: Vec<_> = group.channels.iter().filter_map(|(id, _)| state.rooms.get(id)).collect();
    if !rooms.iter().any(|room| deliver::admit(room, caller).is_ok()) {
        return Err(Problem::not_in_roster());
    }
    let mut members: Vec<&Person> = Vec::new();
    for person in rooms.iter().flat_map(|room| &room.members) {
        if !members.iter().any(|known| known.mri == person.mri) {
            members.push(person);
        }
    }
    Ok((group, members))
}
