//! One user, one conversation, one connection: steps the machine and carries out what it says.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use botframework_activity::{
    Accepted, Activity, ActivityType, Attachment, ContentType, Delivery, InputHint, QueueErrorKind, SendError,
    SendErrorKind, VerifiedActivity, card::Card as _,
};
use entra_auth::{Change, Key, Namespace, Partition};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span, field::Empty};

use super::{CARDS, Connection, FLOWS, Shared, SignInError, SignInNotice, SignInNoticeKind, host};
use crate::{
    ChannelUser, OAuthCard, SignInResource, TokenServiceClient,
    flow::{Answer, CardLimit, CardReason, CardRefusal, Effect, Event, Flow, Next, Parked, Refusal, Tell, step},
};

/// Words to the user are worth no more waiting than this.
const TELLING: Duration = Duration::from_secs(2);

pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) activity: &'a VerifiedActivity,
    pub(super) user: &'a ChannelUser,
    pub(super) connection: &'a Connection,
    /// Until when an invoke is to be answered.
    pub(super) deadline: Option<Instant>,
    key: Key,
}

/// What came of an event.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// What the invoke is answered.
    pub(super) answer: Option<Answer>,
    /// The token service is to be asked, and the machine told.
    pub(super) asks: bool,
    /// The message at hand is answered elsewhere.
    pub(super) yields: bool,
    /// Why there is no card.
    pub(super) error: Option<SignInError>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        activity: &'a VerifiedActivity,
        user: &'a ChannelUser,
        connection: &'a Connection,
        deadline: Option<Instant>,
    ) -> Self {
        let conversation = activity.conversation_id().unwrap_or_default();
        let key = partition(FLOWS, user, connection.name()).key([conversation]);
        Self { shared, activity, user, connection, deadline, key }
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn tokens(&self) -> TokenServiceClient {
        match self.deadline {
            // What the answer brings must be stored and handed over in time, too.
            Some(deadline) => {
                let spare = self.shared.invoke_timeout / 5;
                self.shared.tokens.until(deadline.checked_sub(spare).unwrap_or(deadline))
            }
            None => self.shared.tokens.clone(),
        }
    }

    pub(super) async fn flow(&self) -> Result<Option<Flow>, SignInError> {
        Ok(self.shared.flows.get(&self.key).await?)
    }

    /// The message at hand as it waits in the store. `id` is that of its turn.
    pub(super) fn park(&self, id: &str) -> Result<Parked, SignInError> {
        let sealed = self.activity.seal(&self.shared.sealer, &self.place(id))?;
        Ok(Parked { id: id.to_owned(), record: STANDARD_NO_PAD.encode(sealed) })
    }

    /// Steps the machine, then does what it says, until there is nothing left to do. Questions to the token service are
    /// left to the caller.
    pub(super) async fn run(&self, event: Event) -> Result<Ran, SignInError> {
        let mut ran = Ran::default();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.advance(event).await? {
                match effect {
                    Effect::ShowCard(reason) => match self.show_card(&reason).await {
                        Ok(None) => events.push_back(Event::CardShown),
                        Ok(Some(refusal)) => events.push_back(Event::CardRefused(refusal)),
                        Err(error) => {
                            tracing::warn!(teams_sso.outcome = error.kind().as_str(), %error, "no sign-in card was sent");
                            // It may be there all the same, and then it may be answered.
                            if !error.is_ambiguous() {
                                events.push_back(Event::CardRefused(CardRefusal::Failed));
                            }
                            ran.error = Some(error);
                        }
                    },
                    Effect::Resume(parked) => {
                        let span = tracing::info_span!(
                            "teams_sso.resume",
                            teams_sso.connection = self.connection.name(),
                            teams_sso.outcome = Empty,
                        );
                        events.push_back(self.resume(parked).instrument(span).await?);
                    }
                    Effect::Tell(tell) => {
                        self.note(tell);
                        self.tell(kind_of(tell)).await;
                    }
                    Effect::Yield => ran.yields = true,
                    Effect::Exchange | Effect::Redeem => ran.asks = true,
                    Effect::Answer(answer) => ran.answer = Some(answer),
                }
            }
        }
        Ok(ran)
    }

    async fn advance(&self, event: Event) -> Result<Vec<Effect>, SignInError> {
        let (now, rules) = (self.shared.now(), &self.shared.rules);
        let effects = self.shared.flows.update(&self.key, |flow| {
            let step = step(flow, event.clone(), now, rules);
            let change = match step.next {
                Next::Keep => Change::Keep,
                Next::Set(flow) => Change::Set(flow),
            };
            (change, step.effects)
        });
        Ok(effects.await?)
    }

    /// Shows a card, unless there is a reason not to.
    async fn show_card(&self, reason: &CardReason) -> Result<Option<CardRefusal>, SignInError> {
        if !host::is_private(self.activity) {
            return Ok(Some(CardRefusal::NotPrivate));
        }
        let resource = self.tokens().get_sign_in_resource(self.user, self.activity, self.connection.name()).await?;
        if !self.may_show_card().await? {
            return Ok(Some(CardRefusal::TooMany));
        }
        let outcome = match self.post(card(self, reason, &resource)?).await {
            Err(error) if error.kind() == SendErrorKind::Refused => {
                tracing::error!(
                    event.name = "sso.card.sent",
                    teams_sso.connection = self.connection.name(),
                    teams_sso.outcome = "card_rejected",
                    %error,
                    "the channel does not take the sign-in card"
                );
                match self.post(link_card(self, &resource)).await {
                    Ok(()) => "link_card_sent",
                    Err(_) => return Ok(Some(CardRefusal::Rejected)),
                }
            }
            Err(error) => return Err(error.into()),
            Ok(()) => "card_sent",
        };
        let conversation_type = host::conversation_type(self.activity);
        tracing::info!(
            event.name = "sso.card.sent",
            teams_sso.connection = self.connection.name(),
            teams_sso.outcome = outcome,
            teams_sso.conversation_type = conversation_type,
            "sign-in card sent"
        );
        Ok(None)
    }

    async fn may_show_card(&self) -> Result<bool, SignInError> {
        let (now, key) = (self.shared.now(), self.cards_key());
        let free = self.shared.cards.update(&key, |limit: Option<CardLimit>| {
            let (limit, free) = limit.unwrap_or_default().take(now);
            (if free { Change::Set(limit) } else { Change::Keep }, free)
        });
        Ok(free.await?)
    }

    /// A message got its token: no loop.
    pub(super) async fn forget_cards(&self) {
        if let Err(error) = self.shared.cards.remove(&self.cards_key()).await {
            tracing::warn!(%error, "the count of sign-in cards was not reset");
        }
    }

    fn cards_key(&self) -> Key {
        partition(CARDS, self.user, self.connection.name()).key(["shown"])
    }

    /// Hands the message to the queue. Repeating it does no harm: the queue takes a name once.
    async fn resume(&self, parked: Parked) -> Result<Event, SignInError> {
        let outcome = match self.hand_over(&parked).await {
            Ok(Accepted::New) => "resumed",
            Ok(Accepted::Duplicate) => "duplicate",
            Ok(Accepted::LaneFull) => "lane_full",
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                tracing::error!(%error, "a message that waited for a sign-in is lost");
                "resume_failed"
            }
        };
        Span::current().record("teams_sso.outcome", outcome);
        tracing::info!(
            event.name = "sso.resumed",
            teams_sso.connection = self.connection.name(),
            teams_sso.outcome = outcome,
            "message resumed after sign-in"
        );
        if matches!(outcome, "lane_full" | "resume_failed") {
            self.tell(SignInNoticeKind::NotResumed).await;
        }
        Ok(Event::Resumed { id: parked.id })
    }

    async fn hand_over(&self, parked: &Parked) -> Result<Accepted, SignInError> {
        let Some(runner) = self.shared.runner.get() else {
            tracing::error!("no turn runner is attached to the sign-in: call SignIn::attach at start");
            return Err(botframework_activity::QueueError::from(QueueErrorKind::Unavailable).into());
        };
        let sealed = STANDARD_NO_PAD.decode(&parked.record).unwrap_or_default();
        let (sealer, policy) = (&self.shared.sealer, &self.shared.policy);
        let activity = VerifiedActivity::restore(&sealed, sealer, &self.place(&parked.id), policy)?;
        Ok(runner.resume(&parked.id, &activity).await?)
    }

    /// Where a sealed message belongs: a record moved to another user or conversation does not open.
    fn place(&self, id: &str) -> Key {
        let conversation = self.activity.conversation_id().unwrap_or_default();
        partition(FLOWS, self.user, self.connection.name()).key([conversation, "parked", id])
    }

    /// The audit events of what the user is told.
    fn note(&self, tell: Tell) {
        let connection = self.connection.name();
        match tell {
            Tell::SignedIn => {
                tracing::info!(event.name = "sso.completed", teams_sso.connection = connection, "signed in")
            }
            Tell::Cancelled => {
                tracing::info!(event.name = "sso.cancelled", teams_sso.connection = connection, "sign-in cancelled");
            }
            Tell::TimedOut => {
                tracing::info!(
                    event.name = "sso.timed_out",
                    teams_sso.connection = connection,
                    "sign-in took too long"
                );
            }
            Tell::TooManyAttempts => tracing::warn!(
                event.name = "sso.verify_state",
                teams_sso.connection = connection,
                teams_sso.outcome = "attempts_exceeded",
                "too many wrong codes"
            ),
            Tell::TooManyCards => tracing::warn!(
                event.name = "sso.card.sent",
                teams_sso.connection = connection,
                teams_sso.outcome = "too_many_cards",
                "no further sign-in card"
            ),
            _ => {}
        }
    }

    /// Says something, if the host has words for it. A failure is no reason to fail the sign-in.
    pub(super) async fn tell(&self, kind: SignInNoticeKind) {
        let Some(text) = self.words(kind) else { return };
        let deadline = Instant::now() + TELLING;
        let deadline = self.deadline.map_or(deadline, |end| end.min(deadline));
        match timeout_at(deadline, self.post(Activity::message(text))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the user was not told about the sign-in"),
            Err(_) => tracing::warn!("the user was not told about the sign-in in time"),
        }
    }

    fn words(&self, kind: SignInNoticeKind) -> Option<String> {
        let notice = SignInNotice::new(kind, self.connection.name()).with_locale(self.activity.locale.as_deref());
        (self.shared.words)(&notice)
    }

    /// As an answer to a message, or as a message of its own: an invoke is nothing that can be answered in the chat.
    async fn post(&self, message: Activity) -> Result<(), SendError> {
        let (connector, url) = (&self.shared.connector, self.activity.service_url());
        let sent = if self.activity.kind == ActivityType::MESSAGE && self.activity.id.is_some() {
            connector.reply(url, &message.reply_to(self.activity)).await
        } else {
            let reference = self.activity.activity().conversation_reference();
            connector.send(url, &message.addressed_to(&reference)).await
        };
        sent.map(|_| ())
    }
}

/// Everything of one user and connection: no key without tenant, user, bot, base channel and connection.
pub(super) fn partition(namespace: Namespace, user: &ChannelUser, connection: &str) -> Partition {
    let key = user.key();
    namespace.partition([
        user.bot().as_str(),
        user.channel(),
        key.tenant().as_str(),
        key.object_id().as_str(),
        user.id(),
        connection,
    ])
}

fn card(session: &Session<'_>, reason: &CardReason, resource: &SignInResource) -> Result<Activity, SignInError> {
    let kind = match reason {
        CardReason::Needed => SignInNoticeKind::Card,
        CardReason::ClientFailed(code) => SignInNoticeKind::CardAfter(code.clone()),
    };
    let title = session.words(SignInNoticeKind::CardButton).unwrap_or_else(|| "Sign in".to_owned());
    let mut card = OAuthCard::new(session.connection.name(), title, resource.link());
    if let Some(text) = session.words(kind) {
        card = card.with_text(text);
    }
    if *reason == CardReason::Needed
        && let Some(silent) = resource.token_exchange_resource()
    {
        card = card.with_token_exchange_resource(silent.clone());
    }
    if let Some(post) = resource.token_post_resource() {
        card = card.with_token_post_resource(post.clone());
    }
    if session.user.channel() == "emulator" {
        card = card.opening_url();
    }
    Ok(message(card.to_attachment()?))
}

/// What is left when the channel does not take the card: a plain one with a link.
fn link_card(session: &Session<'_>, resource: &SignInResource) -> Activity {
    let title = session.words(SignInNoticeKind::CardButton).unwrap_or_else(|| "Sign in".to_owned());
    let text = session.words(SignInNoticeKind::Card).unwrap_or_default();
    let content = json!({
        "text": text,
        "buttons": [{"type": "openUrl", "title": title, "value": resource.link()}],
    });
    let mut attachment = Attachment::default();
    attachment.content_type = Some(ContentType::SIGNIN_CARD);
    attachment.content = Some(content.into());
    message(attachment)
}

fn message(attachment: Attachment) -> Activity {
    Activity::new(ActivityType::MESSAGE).with_attachment(attachment).with_input_hint(InputHint::ACCEPTING_INPUT)
}

fn kind_of(tell: Tell) -> SignInNoticeKind {
    match tell {
        Tell::InProgress => SignInNoticeKind::InProgress,
        Tell::SignedIn => SignInNoticeKind::SignedIn,
        Tell::Cancelled => SignInNoticeKind::Cancelled,
        Tell::TimedOut => SignInNoticeKind::TimedOut,
        Tell::BadCode(attempts_left) => SignInNoticeKind::BadCode { attempts_left },
        Tell::TooManyAttempts => SignInNoticeKind::TooManyAttempts,
        Tell::TooManyCards => SignInNoticeKind::TooManyCards,
        Tell::CardRejected => SignInNoticeKind::CardRejected,
        Tell::NotPrivate => SignInNoticeKind::NotPrivate,
        Tell::InstallApp => SignInNoticeKind::InstallApp,
        Tell::Refused(Refusal::BadConnection | Refusal::BotCredential) => SignInNoticeKind::NotConfigured,
        Tell::Refused(_) => SignInNoticeKind::Refused,
    }
}

impl SignInError {
    /// Whether the card may have reached the chat although sending it failed.
    fn is_ambiguous(&self) -> bool {
        self.send_error().is_some_and(|error| error.delivery() == Delivery::Ambiguous)
    }
}
