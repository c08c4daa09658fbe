//! The connector over HTTP: who calls, then the path, then the body, then the operation.
//! `https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference`

use axum::body::Body;
use axum::extract::{Request, State as With};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::Channel;
use super::deliver::{self, Caller, Receipt};
use super::operation::{Operation, Target};
use super::problem::Problem;
use super::rules::{Delivery, Door};
use super::{batch, create, files, groups, meetings, roster, sso};
use crate::tokens::{self, Refusal};

/// More than this is never read from the socket.
const LARGEST_READ: usize = 4 * 1024 * 1024;

/// Every request below `/connector/`.
pub(crate) async fn serve(With(channel): With<Channel>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
    };
    match answer(&channel, &asked, &parts.headers, body).await {
        Ok(response) => response,
        Err(problem) => {
            channel.store.write(|state| state.count_refusal(problem.status));
            problem.into_response()
        }
    }
}

struct Asked {
    method: http::Method,
    path: String,
    query: String,
}

async fn answer(channel: &Channel, asked: &Asked, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let app = tokens::check_bot(&channel.shared, headers).map_err(refused)?.app_id;
    let target = Target::parse(&asked.method, &asked.path)?;
    if let Some(seconds) = channel.store.write(super::store::State::take_throttle) {
        return Err(Problem::throttled(seconds));
    }
    let caller = Caller { app, tenant: target.tenant, now: channel.shared.clock.now() };
    let body = read(channel, headers, body, &target.operation).await?;
    if let Operation::FileView { file, view } = &target.operation {
        return reading(channel, |state| files::view(state, &caller, file, view));
    }
    run(channel, &caller, target.operation, &asked.query, body).map(Receipt::into_response)
}

/// A token that is good but not of a bot is 401 too: the connector does not know that app.
fn refused(refusal: Refusal) -> Problem {
    if refusal == Refusal::Caller { Problem::not_registered() } else { Problem::unauthorized() }
}

async fn read(channel: &Channel, headers: &HeaderMap, body: Body, operation: &Operation) -> Result<Value, Problem> {
    if !operation.has_body() {
        return Ok(Value::Null);
    }
    let bytes = axum::body::to_bytes(body, LARGEST_READ).await.map_err(|_| Problem::too_big())?;
    let limited = !matches!(operation, Operation::Upload { .. });
    if limited && bytes.len() > channel.store.read(|state| state.settings.max_body) {
        return Err(Problem::too_big());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/json") {
        return Err(Problem::new(415, "BadArgument", "The content type is not application/json."));
    }
    serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object).ok_or_else(Problem::syntax)
}

fn run(channel: &Channel, caller: &Caller, operation: Operation, query: &str, body: Value) -> Result<Receipt, Problem> {
    let targeted = url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name.eq_ignore_ascii_case("isTargetedActivity") && value.eq_ignore_ascii_case("true"));
    match operation {
        Operation::Create => channel.store.write(|state| create::conversation(state, caller, &body)),
        Operation::Send { conversation } => {
            let delivery = Delivery { conversation: &conversation, door: Door::Send, targeted };
            post(channel, caller, delivery, body)
        }
        Operation::Reply { conversation, activity } => {
            let delivery = Delivery { conversation: &conversation, door: Door::Reply { to: &activity }, targeted };
            post(channel, caller, delivery, body)
        }
        Operation::Update { conversation, activity } => {
            let delivery =
                Delivery { conversation: &conversation, door: Door::Update { activity: &activity }, targeted };
            channel.store.write(|state| deliver::update(state, caller, delivery, &activity, body))
        }
        Operation::Delete { conversation, activity } => {
            channel.store.write(|state| deliver::delete(state, caller, &conversation, &activity))
        }
        Operation::Members { conversation } => reading(channel, |state| roster::all(state, caller, &conversation)),
        Operation::Member { conversation, member } => {
            reading(channel, |state| roster::one(state, caller, &conversation, &member))
        }
        Operation::PagedMembers { conversation } => {
            reading(channel, |state| roster::page(state, caller, &conversation, query))
        }
        Operation::ActivityMembers { conversation, activity } => {
            reading(channel, |state| roster::of_activity(state, caller, &conversation, &activity))
        }
        other => other_areas(channel, caller, other, query, body),
    }
}

/// What is not about the messages of a conversation.
fn other_areas(
    channel: &Channel,
    caller: &Caller,
    operation: Operation,
    query: &str,
    body: Value,
) -> Result<Receipt, Problem> {
    match operation {
        Operation::List => reading(channel, |state| Ok(groups::conversations(state, caller))),
        Operation::RemoveMember { conversation, member } => {
            channel.store.write(|state| groups::remove(state, caller, &conversation, &member))
        }
        Operation::React { conversation, activity, reaction, add } => {
            channel.store.write(|state| deliver::react(state, caller, &conversation, &activity, &reaction, add))
        }
        Operation::Upload { conversation } => {
            channel.store.write(|state| files::upload(state, caller, &conversation, &body))
        }
        Operation::FileInfo { file } => reading(channel, |state| files::info(state, caller, &file)),
        Operation::Team { team } => reading(channel, |state| groups::details(state, caller, &team)),
        Operation::Channels { team } => reading(channel, |state| groups::channels(state, caller, &team)),
        Operation::Meeting { meeting } => reading(channel, |state| meetings::details(state, caller, &meeting)),
        Operation::Participant { meeting, person } => {
            reading(channel, |state| meetings::participant(state, caller, &meeting, &person, query))
        }
        Operation::Notify { meeting } => channel.store.write(|state| meetings::notify(state, caller, &meeting, body)),
        Operation::Batch { target } => channel.store.write(|state| batch::start(state, caller, target, &body)),
        Operation::BatchStatus { batch } => channel.store.write(|state| batch::status(state, caller, &batch)),
        Operation::BatchFailures { batch } => {
            channel.store.write(|state| batch::failures(state, caller, &batch, query))
        }
        Operation::BatchCancel { batch } => channel.store.write(|state| batch::cancel(state, caller, &batch)),
        _ => Err(Problem::new(404, "BadArgument", "The connector has no such path.")),
    }
}

fn post(channel: &Channel, caller: &Caller, delivery: Delivery<'_>, body: Value) -> Result<Receipt, Problem> {
    let card = sso::Card::of(&body);
    let recipient = body.pointer("/recipient/id").and_then(Value::as_str).map(str::to_owned);
    let receipt = channel.store.write(|state| deliver::post(state, caller, delivery, body))?;
    if let Some(card) = card {
        sso::arrived(channel, delivery.conversation, recipient.as_deref(), card);
    }
    Ok(receipt)
}

fn reading<T>(channel: &Channel, read: impl FnOnce(&super::store::State) -> Result<T, Problem>) -> Result<T, Problem> {
    channel.store.write(|state| {
        let receipt = read(state)?;
        state.counters.reads += 1;
        Ok(receipt)
    })
}

impl Operation {
    fn has_body(&self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Send { .. }
                | Self::Reply { .. }
                | Self::Update { .. }
                | Self::Upload { .. }
                | Self::Notify { .. }
                | Self::Batch { .. }
        )
    }
}

impl IntoResponse for Receipt {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        match self.body {
            Some(body) => (status, axum::Json(body)).into_response(),
            None => status.into_response(),
        }
    }
}
