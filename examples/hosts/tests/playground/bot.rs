//! The bot: what the tool can show, each by a word.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{FromRef, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use botframework_activity::{
    Activity, ActivityType, CallerAuthenticator, ChannelAuthenticator, ChannelKeys, ConnectorClient, HandlerError,
    InboundRequest, InvokeResponse, MemoryTurnQueue, ModelError, Notice, Outcome, QueueError, RawJson, Turn,
    TurnRunner, VerifiedActivity,
    card::{AdaptiveCard, Execute, Submit},
    invoke,
};
use entra_auth::{Authority, ConfidentialClient, HttpTransport, ReqwestTransport, TenantPolicy};
use futures_util::{StreamExt as _, stream};
use http::{StatusCode, header};
use m365_sandbox::{
    Sandbox,
    constants::{BOT_APP_ID, BOT_APP_SECRET, RESOURCE_TENANT},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

/// What the bot counts when it is asked to stream.
pub(crate) const COUNT: &str = "one two three four five six seven eight nine ten ";

/// Whom the bot lets in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callers {
    Channel,
    /// And the Emulator, which holds the bot's own credential.
    Emulator,
}

/// The token of a request, and its status.
type Asked = (Option<String>, u16);

#[derive(Clone)]
pub(crate) struct Bot {
    pub(crate) url: String,
    authenticator: CallerAuthenticator,
    connector: ConnectorClient,
    runner: TurnRunner,
    seen: Arc<Mutex<Vec<Value>>>,
    requests: Arc<Mutex<Vec<Asked>>>,
}

impl FromRef<Bot> for CallerAuthenticator {
    fn from_ref(bot: &Bot) -> Self {
        bot.authenticator.clone()
    }
}

impl Bot {
    pub(crate) async fn start(sandbox: &Sandbox, callers: Callers) -> Self {
        let setting = |name: &str| {
            let settings = sandbox.settings();
            settings.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value).unwrap()
        };
        let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new().unwrap());
        let authority: Authority = setting("AZURE_AUTHORITY_HOST").parse().unwrap();
        // The tenant of the tool is no GUID, so only a bot that takes anybody takes it.
        let keys = ChannelKeys::fetched(Arc::clone(&transport));
        let mut channel = ChannelAuthenticator::builder(BOT_APP_ID.parse().unwrap(), TenantPolicy::Any, keys)
            .metadata_url(setting("BOT_OPENID_METADATA_URL").parse().unwrap())
            .connector_host("localhost");
        if callers == Callers::Emulator {
            channel = channel.loopback_connectors();
        }
        let mut authenticator = CallerAuthenticator::builder(channel.build().unwrap())
            .authority(authority.clone())
            .transport(Arc::clone(&transport));
        if callers == Callers::Emulator {
            authenticator = authenticator.emulator_for_development(RESOURCE_TENANT.parse().unwrap());
        }
        let authenticator = authenticator.build().unwrap();
        let secret = BOT_APP_SECRET.to_owned();
        let credential = ConfidentialClient::builder(
            RESOURCE_TENANT.parse().unwrap(),
            BOT_APP_ID.parse().unwrap(),
            entra_auth::Secret::from(secret),
        )
        .authority(authority)
        .transport(Arc::clone(&transport))
        .build()
        .unwrap();
        let connector = ConnectorClient::builder(transport, Arc::new(credential)).build().unwrap();
        let policy = authenticator.channel().policy().clone();
        let desk = connector.clone();
        let runner = TurnRunner::in_memory(MemoryTurnQueue::default(), policy, connector.clone())
            .ack_threshold(Some(Duration::from_millis(300)))
            .streaming(true)
            .start(move |turn| answer(desk.clone(), turn), voice);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/messages", listener.local_addr().unwrap());
        let bot = Self { url, authenticator, connector, runner, seen: Arc::default(), requests: Arc::default() };
        let router = Router::new()
            .route("/api/messages", post(messages))
            .layer(middleware::from_fn_with_state(bot.clone(), record))
            .with_state(bot.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        bot
    }

    /// The activities of this type that were let in.
    pub(crate) fn got(&self, kind: &str) -> Vec<Value> {
        self.seen.lock().unwrap().iter().filter(|activity| activity["type"] == kind).cloned().collect()
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.requests.lock().unwrap().iter().map(|(_, status)| *status).collect()
    }

    /// The status of the request that came after so many.
    pub(crate) async fn status_after(&self, count: usize) -> u16 {
        let wait = async {
            loop {
                if let Some(status) = self.statuses().get(count) {
                    return *status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect("no request came")
    }

    /// The claims of a request's token.
    pub(crate) fn claims(&self, request: usize) -> Value {
        let token = self.tokens()[request].clone().expect("the request has a token");
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&claims).unwrap()
    }

    /// What every request had for a token.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        self.requests.lock().unwrap().iter().map(|(token, _)| token.clone()).collect()
    }
}

/// The tool looks with HEAD whether there is anybody; that is no request of its users.
async fn record(State(bot): State<Bot>, request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let counts = request.method() == http::Method::POST;
    let response = next.run(request).await;
    if counts {
        bot.requests.lock().unwrap().push((token, response.status().as_u16()));
    }
    response
}

async fn messages(State(bot): State<Bot>, request: InboundRequest) -> Response {
    let InboundRequest::Verified(activity) = request else { return StatusCode::FORBIDDEN.into_response() };
    bot.seen.lock().unwrap().push(serde_json::to_value(activity.activity()).unwrap());
    if activity.kind == ActivityType::INVOKE {
        return match pressed(&activity) {
            Ok(response) => {
                let status = StatusCode::from_u16(response.status).unwrap();
                response.body.map_or_else(|| status.into_response(), |body| (status, Json(body)).into_response())
            }
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        };
    }
    let joined = |activity: &VerifiedActivity| {
        let me = activity.recipient.as_ref().and_then(|bot| bot.id.clone());
        activity.members_added().is_ok_and(|members| members.iter().any(|member| member.id == me))
    };
    let taken = match activity.kind.as_str() {
        "message" => bot.runner.accept(&activity).await.map(drop),
        "conversationUpdate" if joined(&activity) => {
            let welcome = Activity::message("Welcome!").reply_to(&activity);
            bot.connector.send(activity.service_url(), &welcome).await.unwrap();
            Ok(())
        }
        _ => Ok(()),
    };
    taken.map_or_else(
        |_: QueueError| StatusCode::SERVICE_UNAVAILABLE.into_response(),
        |()| StatusCode::OK.into_response(),
    )
}

/// What answers an invoke. An error says that the request is of another shape than its name.
fn pressed(activity: &Activity) -> Result<InvokeResponse, ModelError> {
    if let Some(request) = activity.invoke_as::<invoke::AdaptiveCardAction>()? {
        let data = request.action.and_then(|action| action.data).map(|data| data.parse::<Value>()).transpose()?;
        let amount = data.map(|data| data["amount"].clone()).unwrap_or_default();
        let card = AdaptiveCard::new().element(format!("Approved: {amount}").as_str());
        return invoke::respond::<invoke::AdaptiveCardAction>(&invoke::CardActionAnswer::card(&card)?);
    }
    if let Some(query) = activity.invoke_as::<invoke::ComposeQuery>()? {
        let word = query.parameter("q").unwrap_or_default();
        let answer = invoke::ComposeAnswer::message(format!("Nothing about {word}"));
        return invoke::respond::<invoke::ComposeQuery>(&answer);
    }
    if activity.invoke_as::<invoke::MessageSubmitAction>()?.is_some() {
        return invoke::respond::<invoke::MessageSubmitAction>(&invoke::Done);
    }
    if let Some(request) = activity.invoke_as::<invoke::TaskFetch>()? {
        let theme = request.context.and_then(|context| context.theme).unwrap_or_default();
        return invoke::respond::<invoke::TaskFetch>(&invoke::TaskAnswer::message(theme));
    }
    Ok(InvokeResponse::not_implemented())
}

async fn answer(connector: ConnectorClient, turn: Turn) -> Result<Outcome, HandlerError> {
    let activity = turn.activity();
    let answer = match activity.prompt_text().trim() {
        "" => Activity::message(format!("You sent {}", activity.value.as_ref().map_or("nothing", RawJson::get))),
        "slow" => {
            sleep(Duration::from_secs(1)).await;
            Activity::message("Here it is.")
        }
        "typing" => {
            connector.typing(activity.service_url(), activity).await?;
            Activity::message("I typed.")
        }
        "stream" => {
            turn.show(Activity::message("Counting …"));
            sleep(Duration::from_millis(700)).await;
            let words = stream::iter(COUNT.split_inclusive(' ')).then(|word| async move {
                sleep(Duration::from_millis(250)).await;
                Ok::<_, Infallible>(word.to_owned())
            });
            Activity::message(turn.stream(words).await?)
        }
        "who" => {
            let (url, chat) = (activity.service_url(), activity.conversation_id().unwrap_or_default());
            let mut members = connector.members_by(url, chat, 50);
            let mut count = 0;
            while let Some(member) = members.next().await {
                member?;
                count += 1;
            }
            let me = activity.from.as_ref().and_then(|from| from.id.as_deref()).unwrap_or_default();
            let me = connector.member(url, chat, me).await?.name.unwrap_or_default();
            Activity::message(format!("{count} here, you are {me}"))
        }
        "card" => {
            let card = AdaptiveCard::new()
                .element("Approve?")
                .action(Execute::new("Yes").verb("approve").data(json!({"amount": 7})))
                .action(Submit::new("Later").data(json!({"amount": 8})));
            Activity::message("").with_adaptive_card(&card)?
        }
        text => Activity::message(format!("You said: {text}")),
    };
    Ok(answer.into())
}

fn voice(notice: Notice<'_>, _: &VerifiedActivity) -> Option<Activity> {
    Some(Activity::message(if matches!(notice, Notice::Working) { "One moment …" } else { "Sorry." }))
}
