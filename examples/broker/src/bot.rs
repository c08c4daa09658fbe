//! The bot: what it does with each kind of activity.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use botframework_activity::{
    Activity, ActivityType, ChannelAuthenticator, ConnectorClient, DeliveryMode, ForeignActivity, HandlerError,
    InvokeResponse, MemoryTurnQueue, Outcome, QueueError, Received, RedisReport, ReplyEvents, Turn, TurnRunner,
    VerifiedActivity,
};
use entra_auth::Key;
use foundry_client::{InputContent, InputItem, Role};
use teams_sso::Access;
use tokio::sync::Semaphore;

use crate::{
    agent::{Agent, Decided, Input},
    clients::Shared,
    files::{self, Files},
    profile::Profiles,
    questions::{Choice, Pressed, Questions, Standing},
    settings::Config,
    words,
};

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
    questions: Questions,
    connector: ConnectorClient,
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
    /// 200, and the answers as they come: the body of `deliveryMode: stream`.
    Events(ReplyEvents),
    /// 503: the channel shall send again.
    TryAgain,
}

impl Bot {
    pub(crate) fn start(
        config: &Config,
        authenticator: ChannelAuthenticator,
        connector: ConnectorClient,
        (agent, questions): (Agent, Questions),
        profiles: Option<Profiles>,
        shared: Option<Shared>,
    ) -> Self {
        let desk = Desk { agent, questions, connector: connector.clone(), profiles: profiles.clone() };
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
            return answer_invoke(activity, own.unwrap_or_else(|| unknown_invoke(activity)));
        }
        if !is_turn(activity) {
            return Answer::Received;
        }
        match self.runner.accept(activity).await {
            Ok(Received::Replies(replies)) => match serde_json::to_value(&replies) {
                Ok(body) => Answer::Body(200, body),
                Err(_) => Answer::Body(500, serde_json::Value::Null),
            },
            Ok(Received::Events(events)) => Answer::Events(events),
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

/// The body of the response, or its one event for a sender that asked for a stream.
fn answer_invoke(activity: &VerifiedActivity, response: InvokeResponse) -> Answer {
    if activity.delivery_mode == Some(DeliveryMode::STREAM)
        && let Ok(events) = ReplyEvents::of_invoke(&response)
    {
        return Answer::Events(events);
    }
    let body = response.body.and_then(|body| body.parse().ok()).unwrap_or_default();
    Answer::Body(response.status, body)
}

/// This invoke is not the bot's, and a blanket 200 would look like success to Teams. Universal actions are the exception:
/// their outcome stands in the body of a 200.
fn unknown_invoke(activity: &VerifiedActivity) -> InvokeResponse {
    if activity.name.as_deref() == Some("adaptiveCard/action") {
        let value = serde_json::json!({"code": "NotSupported", "message": "This bot has no actions."});
        let body = serde_json::json!({"statusCode": 400, "type": "application/vnd.microsoft.error", "value": value});
        return InvokeResponse::ok().with_body(&body).unwrap_or_else(|_| InvokeResponse::new(500));
    }
    InvokeResponse::not_implemented()
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
        let pressed = Pressed::of(activity);
        let text = activity.text_without_mentions();
        let text = text.trim();
        if text.is_empty() && pressed.is_none() && !files::has_any(activity) {
            return Ok(Activity::message(words::EMPTY).into());
        }
        let Some(profiles) = &self.profiles else {
            let key = Agent::conversation(activity, None);
            return self.said(&turn, &key, text, pressed, "").await;
        };
        if text.eq_ignore_ascii_case("sign out") {
            profiles.sign_out(activity).await?;
            return Ok(Activity::message(words::SIGNED_OUT).into());
        }
        // Before anything else has an effect: a message that waits comes back and is handled from the start.
        let Access::Ready(name) = profiles.name(&turn).await? else { return Ok(Outcome::Parked) };
        // In a group every user has a conversation of their own with the agent.
        let key = Agent::conversation(activity, activity.user_key().as_ref());
        self.said(&turn, &key, text, pressed, &format!("Hello {name}!\n\n")).await
    }

    /// What the agent says to a message or to a pressed button.
    async fn said(
        &self,
        turn: &Turn,
        key: &Key,
        text: &str,
        pressed: Option<Pressed>,
        greeting: &str,
    ) -> Result<Outcome, HandlerError> {
        if let Some(pressed) = pressed {
            return self.decided(turn, key, &pressed, greeting).await;
        }
        let files = Files::fetch(&self.connector, turn.activity()).await;
        let note = words::declined(&files.declined);
        let words = (!text.is_empty()).then(|| InputContent::text(text));
        let content: Vec<_> = words.into_iter().chain(files.content).collect();
        if content.is_empty() {
            return Ok(Activity::message(note).into());
        }
        let input = Input::Message(InputItem::message(Role::USER, content));
        let note = if note.is_empty() { note } else { format!("\n\n{note}") };
        self.ask(turn, key, input, greeting, &note).await
    }

    async fn decided(
        &self,
        turn: &Turn,
        key: &Key,
        pressed: &Pressed,
        greeting: &str,
    ) -> Result<Outcome, HandlerError> {
        let question = match self.questions.take(turn, pressed).await? {
            Standing::Good(question) => question,
            Standing::Foreign => return Ok(Activity::message(words::NOT_YOURS).into()),
            Standing::Closed => return Ok(Activity::message(words::CLOSED).into()),
        };
        tracing::info!(target: "hop", "the user answered a question of the agent: {:?}", pressed.choice);
        let (conversation, requests) = (question.conversation, question.requests);
        let input = match (pressed.choice, question.item) {
            (Choice::Approve, _) => Input::Decision { conversation, decided: Decided { requests, approve: true } },
            (Choice::Deny, _) => Input::Decision { conversation, decided: Decided { requests, approve: false } },
            (Choice::Continue, None) => return Ok(Activity::message(words::CLOSED).into()),
            (Choice::Continue, Some(item)) => match self.agent.earlier(&conversation, &item).await? {
                Some(message) => Input::Message(message),
                None => return Ok(Activity::message(words::CLOSED).into()),
            },
        };
        let outcome = self.ask(turn, key, input, greeting, "").await?;
        self.questions.close(turn, pressed).await?;
        Ok(outcome)
    }

    async fn ask(
        &self,
        turn: &Turn,
        key: &Key,
        input: Input,
        greeting: &str,
        note: &str,
    ) -> Result<Outcome, HandlerError> {
        let answer = self.agent.answer(turn, key, input, greeting).await?;
        let mut message = answer.said.message(if answer.begins { greeting } else { "" }, note)?;
        if answer.said.asks() {
            let cards = self.questions.ask(turn, &answer).await?;
            if cards.is_empty() {
                let said = message.text.take().filter(|text| text != words::QUESTION);
                let before = said.map(|text| format!("{text}\n\n")).unwrap_or_default();
                message.text = Some(before + words::NOBODY);
            }
            for card in &cards {
                message = message.with_card(card)?;
            }
        }
        Ok(message.into())
    }
}
