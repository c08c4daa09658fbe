//! One message to many. The sandbox delivers at once; the first question about an operation is still answered `Ongoing`.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages`

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::compose::set;
use super::deliver::{self, Caller, Receipt};
use super::groups;
use super::ids;
use super::people::Person;
use super::problem::Problem;
use super::room::{Author, Scope};
use super::store::State;
use crate::constants::USERS;

/// To whom a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Users,
    Tenant,
    Team,
    Channels,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Batch {
    app: String,
    tenant: String,
    /// How many entries had which status.
    statuses: BTreeMap<u16, u64>,
    failed: Vec<Value>,
    /// Whether somebody has asked before.
    asked: bool,
}

/// Failed entries on one page.
const PAGE: usize = 2;

/// Takes a batch and delivers it.
///
/// # Errors
/// 400 without an activity, a list, a team or the tenant of the service URL; 404 for an unknown team.
pub(crate) fn start(state: &mut State, caller: &Caller, target: Target, body: &Value) -> Result<Receipt, Problem> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let tenant = text("tenantId").ok_or_else(|| Problem::missing("tenantId"))?;
    if !tenant.eq_ignore_ascii_case(&caller.tenant) {
        return Err(Problem::argument("'tenantId' is not the tenant of the service URL."));
    }
    let activity = body.get("activity").filter(|activity| activity.get("type").is_some_and(Value::is_string));
    let activity = activity.ok_or_else(|| Problem::missing("activity"))?;
    let entries: Vec<String> = match target {
        Target::Users | Target::Channels => members(body)?,
        Target::Team => {
            let (_, members) = groups::find(state, caller, text("teamId").ok_or_else(|| Problem::missing("teamId"))?)?;
            members.iter().map(|person| person.mri.clone()).collect()
        }
        Target::Tenant => {
            let rooms = state.rooms.values().filter(|room| room.scope == Scope::Personal);
            let rooms = rooms.filter(|room| room.tenant == caller.tenant && deliver::admit(room, caller).is_ok());
            rooms.flat_map(|room| room.members.iter().map(|person| person.mri.clone())).collect()
        }
    };
    let (mut statuses, mut failed) = (BTreeMap::<u16, u64>::new(), Vec::new());
    for entry in entries {
        let delivered = match target {
            Target::Channels => post(state, caller, &entry, None, activity),
            _ => to_person(state, caller, &entry, activity),
        };
        let status = delivered.as_ref().map_or_else(|problem| problem.status, |()| 201);
        *statuses.entry(status).or_default() += 1;
        if let Err(problem) = delivered {
            failed.push(json!({ "entryId": entry, "error": problem.code }));
        }
    }
    let id = crate::state::uuid();
    let (app, tenant) = (caller.app.clone(), caller.tenant.clone());
    state.batches.insert(id.clone(), Batch { app, tenant, statuses, failed, asked: false });
    Ok(Receipt { status: 201, body: Some(Value::String(id)) })
}

fn members(body: &Value) -> Result<Vec<String>, Problem> {
    let members = body.get("members").and_then(Value::as_array).filter(|members| !members.is_empty());
    let ids = members.ok_or_else(|| Problem::missing("members"))?.iter().map(|member| {
        let id = member.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or_else(|| Problem::missing("members"))
    });
    ids.collect()
}

fn to_person(state: &mut State, caller: &Caller, id: &str, activity: &Value) -> Result<(), Problem> {
    let known = USERS.into_iter().map(Person::from).find(|person| person.is(id));
    let person = known.or_else(|| deliver::known_person(state, id, &caller.tenant));
    let person = person.ok_or_else(Problem::member_not_found)?;
    let conversation = ids::personal(&person.mri, &caller.app);
    post(state, caller, &conversation, Some(&person), activity)
}

fn post(
    state: &mut State,
    caller: &Caller,
    conversation: &str,
    recipient: Option<&Person>,
    activity: &Value,
) -> Result<(), Problem> {
    deliver::admit(state.room(&caller.tenant, conversation)?, caller)?;
    let (id, started) = (state.activity_id(caller.now), state.started);
    let mut activity = activity.clone();
    set(&mut activity, "conversation", json!({ "id": conversation }));
    if let Some(person) = recipient {
        set(&mut activity, "recipient", person.account());
    }
    state.room_mut(&caller.tenant, conversation)?.push(Author::Bot, &id, conversation, activity, started);
    state.counters.creates += 1;
    Ok(())
}

/// How far a batch is.
///
/// # Errors
/// 404 for one that is not there.
pub(crate) fn status(state: &mut State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    let now = OffsetDateTime::from_unix_timestamp(caller.now).ok().and_then(|now| now.format(&Rfc3339).ok());
    let batch = find(state, caller, id)?;
    let total: u64 = batch.statuses.values().sum();
    let answer = if std::mem::replace(&mut batch.asked, true) {
        let map: BTreeMap<String, u64> =
            batch.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect();
        json!({ "state": "Completed", "statusMap": map, "totalEntriesCount": total })
    } else {
        json!({ "state": "Ongoing", "statusMap": {}, "retryAfter": now, "totalEntriesCount": total })
    };
    Ok(Receipt { status: 200, body: Some(answer) })
}

/// What a batch could not deliver, a page at a time.
///
/// # Errors
/// 404 for a batch that is not there, 400 for a token that is none.
pub(crate) fn failures(state: &mut State, caller: &Caller, id: &str, query: &str) -> Result<Receipt, Problem> {
    let batch = find(state, caller, id)?;
    let token = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "continuationToken");
    let from = match token {
        Some((_, token)) if !token.is_empty() => {
            token.parse::<usize>().map_err(|_| Problem::argument("Invalid continuation token"))?
        }
        _ => 0,
    };
    let page: Vec<&Value> = batch.failed.iter().skip(from).take(PAGE).collect();
    let mut answer = json!({ "failedEntryResponses": page });
    let next = from.saturating_add(PAGE);
    if next < batch.failed.len() {
        set(&mut answer, "continuationToken", json!(next.to_string()));
    }
    Ok(Receipt { status: 200, body: Some(answer) })
}

/// Ends a batch. What was delivered stays; the operation is not there any more.
///
/// # Errors
/// 404 for one that is not there.
pub(crate) fn cancel(state: &mut State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    find(state, caller, id)?;
    state.batches.remove(id);
    Ok(Receipt { status: 200, body: None })
}

fn find<'a>(state: &'a mut State, caller: &Caller, id: &str) -> Result<&'a mut Batch, Problem> {
    let batch = state.batches.get_mut(id);
    let batch = batch.filter(|batch| batch.app.eq_ignore_ascii_case(&caller.app) && batch.tenant == caller.tenant);
    batch.ok_or_else(|| Problem::new(404, "BadArgument", "There is no such operation."))
}
