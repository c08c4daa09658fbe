//! Applies what the bot delivers to the record: send, reply, update, delete, and the requests of a stream.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::people::Person;
use super::problem::Problem;
use super::room::{Author, Room, Scope, Standing};
use super::rules::{self, Delivery, Door};
use super::store::State;
use super::stream::{Chunk, Stream, StreamInfo};

/// Who calls: an application of the bot's tenant, and the tenant segment of the service URL it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) app: String,
    pub(crate) tenant: String,
    /// Unix seconds, for new ids.
    pub(crate) now: i64,
}

/// The answer to an accepted request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Receipt {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
}

impl Receipt {
    fn id(status: u16, id: &str) -> Self {
        Self { status, body: Some(json!({ "id": id })) }
    }
}

/// Send or reply.
///
/// # Errors
/// Every refusal of the official table that depends on the conversation.
pub(crate) fn post(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    activity: Value,
) -> Result<Receipt, Problem> {
    let room = admit(state.room(&caller.tenant, delivery.conversation)?, caller)?;
    if let Door::Reply { to } = delivery.door {
        room.entry(to).ok_or_else(Problem::activity_not_found)?;
    }
    rules::check(room, delivery, &activity)?;
    if let Some(info) = StreamInfo::of(&activity) {
        return stream(state, caller, delivery, &info, activity);
    }
    let typing = activity.get("type").and_then(Value::as_str) == Some("typing");
    let id = create(state, caller, delivery, activity)?;
    if typing {
        state.counters.typing += 1;
    } else {
        state.counters.creates += 1;
    }
    if state.settings.empty_receipts {
        return Ok(Receipt { status: 201, body: None });
    }
    Ok(Receipt::id(if delivery.targeted { 202 } else { 201 }, &id))
}

/// Update.
///
/// # Errors
/// 404 for an id that is not there, 403 for an activity of somebody else or a deleted one.
pub(crate) fn update(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    id: &str,
    activity: Value,
) -> Result<Receipt, Problem> {
    let started = state.started;
    let room = own(state, caller, delivery.conversation, id)?;
    rules::check(room, delivery, &activity)?;
    let entry = room.entry_mut(id).ok_or_else(Problem::activity_not_found)?;
    entry.history.push(std::mem::replace(&mut entry.activity, activity));
    entry.streaming = false;
    entry.last_changed = started.elapsed();
    state.counters.updates += 1;
    Ok(Receipt::id(200, id))
}

/// Delete.
///
/// # Errors
/// As [`update`].
pub(crate) fn delete(state: &mut State, caller: &Caller, conversation: &str, id: &str) -> Result<Receipt, Problem> {
    let started = state.started;
    let room = own(state, caller, conversation, id)?;
    let entry = room.entry_mut(id).ok_or_else(Problem::activity_not_found)?;
    entry.deleted = true;
    entry.last_changed = started.elapsed();
    state.counters.deletes += 1;
    Ok(Receipt { status: 200, body: None })
}

/// Puts a reaction of the bot on an activity of anybody, or takes it off. Doing it twice is as good as once.
///
/// # Errors
/// 404 for an activity that is not there.
pub(crate) fn react(
    state: &mut State,
    caller: &Caller,
    conversation: &str,
    id: &str,
    reaction: &str,
    add: bool,
) -> Result<Receipt, Problem> {
    let started = state.started;
    let room = state.room_mut(&caller.tenant, conversation)?;
    admit(room, caller)?;
    let entry = room.entry_mut(id).filter(|entry| !entry.deleted).ok_or_else(Problem::activity_not_found)?;
    entry.reactions.retain(|known| known != reaction);
    if add {
        entry.reactions.push(reaction.to_owned());
    }
    entry.last_changed = started.elapsed();
    Ok(Receipt { status: 200, body: None })
}

/// Records a new activity of the bot and returns its id.
pub(crate) fn create(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    activity: Value,
) -> Result<String, Problem> {
    let id = state.activity_id(caller.now);
    let started = state.started;
    let room = state.room_mut(&caller.tenant, delivery.conversation)?;
    let entry = room.push(Author::Bot, &id, delivery.conversation, activity, started);
    entry.targeted = delivery.targeted;
    if let Door::Reply { to } = delivery.door {
        entry.reply_to = Some(to.to_owned());
    }
    Ok(id)
}

/// The bot must be in the room and allowed to write.
pub(crate) fn admit<'a>(room: &'a Room, caller: &Caller) -> Result<&'a Room, Problem> {
    if !room.bot.eq_ignore_ascii_case(&caller.app) {
        return Err(Problem::not_in_roster());
    }
    match room.standing {
        Standing::Installed => Ok(room),
        Standing::Uninstalled if room.scope == Scope::Personal => {
            Err(Problem::new(403, "ForbiddenOperationException", "The app is not installed in the personal scope."))
        }
        Standing::Uninstalled => Err(Problem::not_in_roster()),
        Standing::Blocked => {
            Err(Problem::new(403, "ConversationBlockedByUser", "User blocked the conversation with the bot."))
        }
        Standing::Disabled => Err(Problem::new(403, "BotDisabledByAdmin", "The tenant admin disabled this bot.")),
    }
}

/// The room, when it holds this activity, the bot wrote it and it still stands.
fn own<'a>(state: &'a mut State, caller: &Caller, conversation: &str, id: &str) -> Result<&'a mut Room, Problem> {
    let room = state.room_mut(&caller.tenant, conversation)?;
    admit(room, caller)?;
    let entry = room.entry(id).ok_or_else(Problem::activity_not_found)?;
    if entry.author != Author::Bot {
        return Err(Problem::new(403, "NotEnoughPermissions", "The bot can change its own activities only."));
    }
    if entry.deleted {
        return Err(Problem::new(403, "ServiceError", "Unknown"));
    }
    Ok(room)
}

fn stream(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    info: &StreamInfo,
    activity: Value,
) -> Result<Receipt, Problem> {
    let expected = if info.kind == "final" { "message" } else { "typing" };
    if activity.get("type").and_then(Value::as_str) != Some(expected) {
        return Err(Problem::argument(format!("A stream request of this kind must have the type '{expected}'.")));
    }
    if state.room(&caller.tenant, delivery.conversation)?.scope != Scope::Personal {
        return Err(Problem::argument("streaming api is not enabled"));
    }
    let text = activity.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    match info.id.as_deref() {
        None => start_stream(state, caller, delivery, info, &text, activity),
        Some(id) => go_on(state, caller, delivery, info, id, &text, activity),
    }
}

fn start_stream(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    info: &StreamInfo,
    text: &str,
    activity: Value,
) -> Result<Receipt, Problem> {
    let stream = Stream::start(info, text, Instant::now())?;
    let id = create(state, caller, delivery, activity)?;
    let room = state.room_mut(&caller.tenant, delivery.conversation)?;
    if let Some(entry) = room.entry_mut(&id) {
        entry.streaming = true;
    }
    room.streams.insert(id.clone(), stream);
    state.counters.typing += 1;
    Ok(Receipt::id(201, &id))
}

fn go_on(
    state: &mut State,
    caller: &Caller,
    delivery: Delivery<'_>,
    info: &StreamInfo,
    id: &str,
    text: &str,
    activity: Value,
) -> Result<Receipt, Problem> {
    let (gap, started) = (state.settings.stream_gap, state.started);
    let room = state.room_mut(&caller.tenant, delivery.conversation)?;
    let stream = room.streams.get_mut(id).ok_or_else(Problem::activity_not_found)?;
    let chunk = stream.accept(info, text, Instant::now(), gap)?;
    if chunk == Chunk::OutOfOrder {
        let problem = Problem::new(202, "ContentStreamSequenceOrderPreConditionFailed", "The chunk was dropped.");
        return Ok(Receipt { status: 202, body: Some(problem.body()) });
    }
    let entry = room.entry_mut(id).ok_or_else(Problem::activity_not_found)?;
    entry.history.push(std::mem::replace(&mut entry.activity, activity));
    entry.last_changed = started.elapsed();
    entry.streaming = chunk == Chunk::Shown;
    if chunk == Chunk::Final {
        state.counters.creates += 1;
        return Ok(Receipt::id(202, id));
    }
    state.counters.typing += 1;
    Ok(Receipt { status: 202, body: Some(json!({})) })
}

/// A user account in the body of a new conversation, resolved by Teams id or object id.
pub(crate) fn known_person(state: &State, id: &str, tenant: &str) -> Option<Person> {
    let rooms = state.rooms.values().filter(|room| room.tenant.eq_ignore_ascii_case(tenant));
    rooms.flat_map(|room| room.members.iter()).find(|person| person.is(id)).cloned()
}
