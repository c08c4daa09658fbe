//! `POST /v3/conversations`: a personal chat the bot starts, or a new thread in a channel.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages`

use serde_json::{Value, json};

use super::compose::set;
use super::deliver::{self, Caller, Receipt};
use super::ids;
use super::people::Person;
use super::problem::Problem;
use super::room::{Scope, room_id};
use super::rules::{Delivery, Door, is_bot};
use super::store::State;
use crate::constants::USERS;

/// Makes the conversation and delivers its first activity, when there is one.
///
/// # Errors
/// 400 for wrong members or tenant, 403 for a user who does not have the app, 404 for an unknown channel.
pub(crate) fn conversation(state: &mut State, caller: &Caller, body: &Value) -> Result<Receipt, Problem> {
    let bot = text(body, "/bot/id");
    if bot.is_some_and(|bot| !is_bot(bot, &caller.app)) {
        return Err(Problem::argument("'bot' is not the calling bot."));
    }
    if let Some(channel) = text(body, "/channelData/channel/id") {
        return thread(state, caller, channel, body);
    }
    personal(state, caller, body)
}

fn personal(state: &mut State, caller: &Caller, body: &Value) -> Result<Receipt, Problem> {
    let tenants = [text(body, "/tenantId"), text(body, "/channelData/tenant/id")];
    if tenants.iter().all(Option::is_none) {
        return Err(Problem::missing("tenantId"));
    }
    if tenants.iter().flatten().any(|tenant| !tenant.eq_ignore_ascii_case(&caller.tenant)) {
        return Err(Problem::argument("The tenant is not the tenant of the service URL."));
    }
    let person = the_member(state, caller, body)?;
    let id = ids::personal(&person.mri, &caller.app);
    let room = state.open(&id, Scope::Personal, &caller.tenant, &caller.app, vec![person]);
    deliver::admit(room, caller)?;
    state.counters.conversations += 1;
    let mut answer = json!({ "id": id });
    if let Some(activity) = body.get("activity").filter(|activity| activity.is_object()) {
        set(&mut answer, "activityId", json!(first(state, caller, &id, activity)?));
    }
    Ok(Receipt { status: 201, body: Some(answer) })
}

fn the_member(state: &State, caller: &Caller, body: &Value) -> Result<Person, Problem> {
    let members = body.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let id = match members {
        [] => return Err(Problem::missing("members")),
        [one] => one
            .get("id")
            .and_then(Value::as_str)
            .filter(|id| !id.is_empty())
            .ok_or_else(|| Problem::missing("members"))?,
        _ => return Err(Problem::argument("Conversations must be to a single member")),
    };
    if id.starts_with("28:") {
        return Err(Problem::argument("Bots cannot IM other bots"));
    }
    let user = USERS
        .into_iter()
        .map(Person::from)
        .find(|person| person.is(id) && person.tenant.eq_ignore_ascii_case(&caller.tenant));
    user.or_else(|| deliver::known_person(state, id, &caller.tenant))
        .ok_or_else(|| Problem::new(403, "ForbiddenOperationException", "The app is not installed for this user."))
}

fn thread(state: &mut State, caller: &Caller, channel: &str, body: &Value) -> Result<Receipt, Problem> {
    let room = deliver::admit(state.room(&caller.tenant, channel)?, caller)?;
    if room.scope != Scope::Channel {
        return Err(Problem::argument("'channelData.channel.id' is not a channel."));
    }
    if body.get("isGroup").and_then(Value::as_bool) != Some(true) {
        return Err(Problem::argument("'isGroup' must be true for a thread of a channel."));
    }
    let activity =
        body.get("activity").filter(|activity| activity.is_object()).ok_or_else(|| Problem::missing("activity"))?;
    let id = first(state, caller, channel, activity)?;
    let conversation = format!("{};messageid={id}", room_id(channel));
    if let Some(entry) = state.room_mut(&caller.tenant, channel)?.entry_mut(&id) {
        entry.conversation.clone_from(&conversation);
    }
    state.counters.conversations += 1;
    Ok(Receipt { status: 201, body: Some(json!({ "id": conversation, "activityId": id })) })
}

/// The first activity of a new conversation mirrors nothing yet; it needs a type.
fn first(state: &mut State, caller: &Caller, conversation: &str, activity: &Value) -> Result<String, Problem> {
    text(activity, "/type").ok_or_else(|| Problem::missing("type"))?;
    let delivery = Delivery { conversation, door: Door::Send, targeted: false };
    let id = deliver::create(state, caller, delivery, activity.clone())?;
    state.counters.creates += 1;
    Ok(id)
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
