//! Member lists. A thread id is refused here: the service knows members of the channel, not of the thread.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::compose::set;
use super::deliver::{self, Caller, Receipt};
use super::problem::Problem;
use super::room::Room;
use super::store::State;

const LARGEST_PAGE: usize = 500;

/// All members, Entra id as `objectId`.
pub(crate) fn all(state: &State, caller: &Caller, conversation: &str) -> Result<Receipt, Problem> {
    let members: Vec<Value> =
        room(state, caller, conversation)?.members.iter().map(|person| person.roster("objectId")).collect();
    Ok(Receipt { status: 200, body: Some(Value::Array(members)) })
}

/// Members who can see an activity: all of them.
pub(crate) fn of_activity(
    state: &State,
    caller: &Caller,
    conversation: &str,
    activity: &str,
) -> Result<Receipt, Problem> {
    room(state, caller, conversation)?.entry(activity).ok_or_else(Problem::activity_not_found)?;
    all(state, caller, conversation)
}

/// One member by Teams id or Entra object id, Entra id as `aadObjectId`.
pub(crate) fn one(state: &State, caller: &Caller, conversation: &str, member: &str) -> Result<Receipt, Problem> {
    let person = room(state, caller, conversation)?.member(member).ok_or_else(Problem::member_not_found)?;
    Ok(Receipt { status: 200, body: Some(person.roster("aadObjectId")) })
}

/// A page of members. `pageSize` is cut to 1..=500, default 200.
pub(crate) fn page(state: &State, caller: &Caller, conversation: &str, query: &str) -> Result<Receipt, Problem> {
    let room = room(state, caller, conversation)?;
    let (mut size, mut from) = (200_usize, 0_usize);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "pageSize" => size = value.parse().map_err(|_| Problem::argument("'pageSize' is not a number."))?,
            "continuationToken" if !value.is_empty() => {
                from = offset(&value).ok_or_else(|| Problem::argument("Invalid continuation token"))?
            }
            _ => {}
        }
    }
    let size = size.clamp(1, LARGEST_PAGE);
    let members: Vec<Value> =
        room.members.iter().skip(from).take(size).map(|person| person.roster("objectId")).collect();
    let mut answer = json!({ "members": members });
    let next = from.saturating_add(size);
    if next < room.members.len() {
        set(&mut answer, "continuationToken", json!(URL_SAFE_NO_PAD.encode(format!("page:{next}"))));
    }
    Ok(Receipt { status: 200, body: Some(answer) })
}

fn room<'a>(state: &'a State, caller: &Caller, conversation: &str) -> Result<&'a Room, Problem> {
    if conversation.contains(";messageid=") {
        return Err(Problem::conversation_not_found());
    }
    deliver::admit(state.room(&caller.tenant, conversation)?, caller)
}

fn offset(token: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    std::str::from_utf8(&bytes).ok()?.strip_prefix("page:")?.parse().ok()
}
