//! The bot: what it does with each kind of activity.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use botframework_activity::{
    Activity, ActivityType, ChannelAuthenticator, ConnectorClient, ForeignActivity, HandlerError, InvokeResponse,
    MemoryTurnQueue, Outcome, QueueError, Received, RedisReport, Turn, TurnRunner, VerifiedActivity,
};
use teams_sso::Access;
use tokio::sync::Semaphore;

use crate::{agent::Agent, clients::Shared, profile::Profiles, settings::Config, words};

/// The bot as the server sees it. A clone is the same bot.
#[derive(Clone)]
pub(crate) struct Bot {
    pub(crate) authenticator: ChannelAuthenticator,
    pub(crate) turn_timeout: Duration,
    connector: ConnectorClient,
    runner: TurnRunner,
    shared: Option<Shared>,
    stopping: Arc<AtomicBool>,
    profiles: Option<Profiles>,
    /// One permit for each polite refusal under way.
    refusals: Arc<Semaphore>,
}

/// What a turn needs.
#[derive(Clone)]
struct Desk {
    agent: Agent,
    profiles: Option<Profiles>,
}

/// How often a turn is begun before it is given up: processes can die while it runs.
const ATTEMPTS: u32 = 12;
/// Polite refusals under way at once.
const REFUSALS: usize = 32;

/// The HTTP answer to an activity.
pub(crate) enum Answer {
    /// 200 without a body.
    Received,
    /// The body of an invoke, or of `expectReplies`, with its status.
    Body(u16, serde_json::Value),
    /// 503: the channel shall send again.
    TryAgain,
}

impl Bot {
    pub(crate) fn start(
        config: &Config,
        authenticator: ChannelAuthenticator,
        connector: ConnectorClient,
        agent: Agent,
        profiles: Option<Profiles>,
        shared: Option<Shared>,
    ) -> Self {
        let desk = Desk { agent, profiles: profiles.clone() };
        let policy = authenticator.policy().clone();
        let runner = match &shared {
            Some(Shared { queue, sealer, .. }) => {
                TurnRunner::durable(Arc::new(queue.clone()), sealer.clone(), policy, connector.clone())
                    .max_attempts(ATTEMPTS)
            }
            None => TurnRunner::in_memory(MemoryTurnQueue::default(), policy, connector.clone())
                .ack_threshold((!config.ack_threshold.is_zero()).then_some(config.ack_threshold)),
        };
        let runner = runner
            .turn_timeout(config.turn_timeout)
            .streaming(true)
            .start(move |turn| desk.clone().answer(turn), |notice, _| Some(words::of(notice)));
        if let Some(profiles) = &profiles {
            profiles.attach(&runner);
        }
        Self {
            authenticator,
            turn_timeout: config.turn_timeout,
            connector,
            runner,
            shared,
            stopping: Arc::default(),
            profiles,
            refusals: Arc::new(Semaphore::new(REFUSALS)),
        }
    }

    /// Takes an activity in and says what to answer to the request. No long work happens here.
    pub(crate) async fn receive(&self, activity: &VerifiedActivity) -> Answer {
        if activity.kind == ActivityType::INVOKE {
            let own = match &self.profiles {
                Some(profiles) => profiles.invoke(activity).await,
                None => None,
            };
            return own.map_or_else(|| unknown_invoke(activity), of_invoke);
        }
        if !is_turn(activity) {
            return Answer::Received;
        }
        match self.runner.accept(activity).await {
            Ok(Received::Replies(replies)) => match serde_json::to_value(&replies) {
                Ok(body) => Answer::Body(200, body),
                Err(_) => Answer::Body(500, serde_json::Value::Null),
            },
            Ok(_) => Answer::Received,
            Err(error) => refused(&error),
        }
    }

    /// Tells a user of an organisation that is not let in, behind the answer to the request. Nothing else is done for
    /// such a request.
    pub(crate) fn refuse(&self, foreign: ForeignActivity) {
        tracing::warn!(tenant = ?foreign.tenant(), "a user of a tenant that is not allowed was refused");
        if foreign.activity().kind != ActivityType::MESSAGE {
            return;
        }
        // Whoever can write from a foreign tenant can do so often; beyond this many at once nobody is told.
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let connector = self.connector.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let text = Activity::message(words::FOREIGN).reply_to(foreign.activity());
            if let Err(error) = connector.reply(foreign.reference().service_url(), &text).await {
                tracing::warn!(%error, "the refusal was not delivered");
            }
        });
    }

    /// What the Redis server promises; `None` without one.
    pub(crate) async fn check(&self) -> Option<Result<RedisReport, QueueError>> {
        Some(self.shared.as_ref()?.queue.check().await)
    }

    /// Whether requests are turned away, because the process is about to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Takes no more requests, lets running turns end, and hands back what has not ended after that time.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        self.runner.shutdown(grace).await;
    }
}

fn of_invoke(response: InvokeResponse) -> Answer {
    let body = response.body.and_then(|body| body.parse().ok()).unwrap_or_default();
    Answer::Body(response.status, body)
}

/// This invoke is not the bot's, and a blanket 200 would look like success to Teams. Universal actions are the exception:
/// their outcome stands in the body of a 200.
fn unknown_invoke(activity: &VerifiedActivity) -> Answer {
    if activity.name.as_deref() == Some("adaptiveCard/action") {
        let value = serde_json::json!({"code": "NotSupported", "message": "This bot has no actions."});
        let body = serde_json::json!({"statusCode": 400, "type": "application/vnd.microsoft.error", "value": value});
        return Answer::Body(200, body);
    }
    Answer::Body(501, serde_json::Value::Null)
}

fn refused(error: &QueueError) -> Answer {
    if error.is_retryable() { Answer::TryAgain } else { Answer::Body(400, serde_json::Value::Null) }
}

/// Messages, and the news that the bot has been added: all that is worth a turn.
fn is_turn(activity: &VerifiedActivity) -> bool {
    activity.kind == ActivityType::MESSAGE || is_welcome(activity)
}

/// Whether the bot itself has just come into the conversation.
fn is_welcome(activity: &VerifiedActivity) -> bool {
    let bot = activity.recipient.as_ref().and_then(|bot| bot.id.as_deref());
    let added = activity.members_added().unwrap_or_default();
    activity.kind == ActivityType::CONVERSATION_UPDATE
        && bot.is_some()
        && added.iter().any(|member| member.id.as_deref() == bot)
}

impl Desk {
    async fn answer(self, turn: Turn) -> Result<Outcome, HandlerError> {
        let activity = turn.activity();
        if is_welcome(activity) {
            return Ok(Activity::message(words::WELCOME).into());
        }
        let text = activity.text_without_mentions();
        let text = text.trim();
        if text.is_empty() {
            let hint = if has_files(activity) { words::ATTACHMENTS } else { words::EMPTY };
            return Ok(Activity::message(hint).into());
        }
        let Some(profiles) = &self.profiles else {
            let key = Agent::conversation(activity, None);
            return Ok(Activity::message(self.agent.answer(&turn, &key, text, "").await?.text).into());
        };
        if text.eq_ignore_ascii_case("sign out") {
            profiles.sign_out(activity).await?;
            return Ok(Activity::message(words::SIGNED_OUT).into());
        }
        // Before anything else has an effect: a message that waits comes back and is handled from the start.
        let Access::Ready(name) = profiles.name(&turn).await? else { return Ok(Outcome::Parked) };
        // In a group every user has a conversation of their own with the agent.
        let key = Agent::conversation(activity, activity.user_key().as_ref());
        let greeting = format!("Hello {name}!\n\n");
        let answer = self.agent.answer(&turn, &key, text, &greeting).await?;
        let text = if answer.begins { greeting + &answer.text } else { answer.text };
        Ok(Activity::message(text).into())
    }
}

/// Teams adds an HTML copy of the text as an attachment; that is no file.
fn has_files(activity: &VerifiedActivity) -> bool {
    activity
        .attachments
        .iter()
        .any(|attachment| attachment.content_type.as_ref().is_none_or(|kind| kind.as_str() != "text/html"))
}
