//! The client's half of single sign-on: it answers a sign-in card without the user, and shows it when that fails.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/authentication/bot-sso-overview`

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Channel;
use super::conversation::Conversation;
use super::post::Posted;
use super::room::{Scope, room_id};
use crate::constants::{SSO_RESOURCE, user_by_mri};
use crate::state::lock;
use crate::tokens;

/// Between the card's arrival and the client's answer.
const THINKING: Duration = Duration::from_millis(20);
/// Teams sends an invoke again when the bot answers 500.
const ATTEMPTS: usize = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// Where a sign-in stands for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The client exchanges a token; the user sees nothing.
    Exchanging,
    /// The card with its button is on the screen.
    CardShown,
    /// The bot answered 200.
    Completed,
    /// The user closed the sign-in window.
    Cancelled,
    /// The bot refused for good, or the client reported a failure.
    Failed,
}

/// One invoke of a sign-in and what the bot answered.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which of the user's clients sent it, from 0.
    pub device: usize,
    /// Invoke name.
    pub name: &'static str,
    /// The answer.
    pub posted: Posted,
}

/// The sign-in a chat is in: the last card the bot sent and all that followed.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where it stands.
    pub stage: Stage,
    /// The card's `connectionName`.
    pub connection: String,
    /// The card's `tokenExchangeResource.id`; a card without one cannot be answered silently.
    pub exchange_id: Option<String>,
    /// The card's button.
    pub link: Option<String>,
    /// What the client sent, in the order of the answers.
    pub steps: Vec<Step>,
    resource: Option<String>,
    conversation: String,
}

impl SignIn {
    /// The sign-in as JSON, for tests in other languages.
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({ "device": step.device, "name": step.name, "posted": step.posted.to_json() }))
            .collect();
        json!({
            "stage": format!("{:?}", self.stage), "connection": self.connection, "exchangeId": self.exchange_id,
            "link": self.link, "steps": steps,
        })
    }
}

/// The sign-ins of all users, and how many clients each of them has.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    flows: Mutex<HashMap<(String, String), SignIn>>,
    devices: Mutex<HashMap<String, usize>>,
    loud: Mutex<HashMap<String, bool>>,
}

impl Clients {
    pub(crate) fn sign_in(&self, conversation: &str, user: &str) -> Option<SignIn> {
        lock(&self.flows).get(&key(conversation, user)).cloned()
    }

    pub(crate) fn set_devices(&self, user: &str, devices: usize) {
        lock(&self.devices).insert(user.to_owned(), devices.max(1));
    }

    pub(crate) fn set_silent(&self, user: &str, silent: bool) {
        lock(&self.loud).insert(user.to_owned(), !silent);
    }

    fn devices(&self, user: &str) -> usize {
        lock(&self.devices).get(user).copied().unwrap_or(1)
    }

    fn is_silent(&self, user: &str) -> bool {
        !lock(&self.loud).get(user).copied().unwrap_or(false)
    }

    fn begin(&self, user: &str, flow: SignIn) {
        lock(&self.flows).insert(key(&flow.conversation, user), flow);
    }

    fn note(&self, conversation: &str, user: &str, step: Step) {
        if let Some(flow) = lock(&self.flows).get_mut(&key(conversation, user)) {
            flow.steps.push(step);
        }
    }

    fn enter(&self, conversation: &str, user: &str, stage: Stage) {
        if let Some(flow) = lock(&self.flows).get_mut(&key(conversation, user)) {
            flow.stage = stage;
        }
    }
}

fn key(conversation: &str, user: &str) -> (String, String) {
    (room_id(conversation).to_owned(), user.to_owned())
}

/// A sign-in card as the client reads it. Member names are read without case, as Teams does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    connection: String,
    link: Option<String>,
    exchange_id: Option<String>,
    resource: Option<String>,
}

impl Card {
    /// The first OAuth card of an activity.
    pub(crate) fn of(activity: &Value) -> Option<Self> {
        let attachments = activity.get("attachments")?.as_array()?;
        let card = attachments
            .iter()
            .find(|card| {
                card.get("contentType").and_then(Value::as_str) == Some("application/vnd.microsoft.card.oauth")
            })?
            .get("content")?;
        let text = |value: &Value, name: &str| member(value, name).and_then(Value::as_str).map(str::to_owned);
        let button = member(card, "buttons").and_then(Value::as_array).and_then(|buttons| buttons.first());
        let exchange = member(card, "tokenExchangeResource");
        Some(Self {
            connection: text(card, "connectionName").unwrap_or_default(),
            link: button.and_then(|button| text(button, "value")),
            exchange_id: exchange.and_then(|exchange| text(exchange, "id")),
            resource: exchange.and_then(|exchange| text(exchange, "uri")),
        })
    }
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The bot delivered a sign-in card to a user: the clients of that user answer it, or show it.
pub(crate) fn arrived(channel: &Channel, conversation: &str, recipient: Option<&str>, card: Card) {
    let found = channel.store.read(|state| {
        let room = state.rooms.get(room_id(conversation))?;
        let person = match recipient {
            Some(id) => room.member(id),
            None => room.members.first(),
        }?;
        Some((room.scope, room.bot.clone(), person.clone()))
    });
    let Some((scope, bot, person)) = found else { return };
    // No silent sign-in in channels; and only users of the directory have tokens.
    let silent = scope != Scope::Channel
        && card.exchange_id.is_some()
        && user_by_mri(&person.mri).is_some()
        && channel.clients.is_silent(&person.mri);
    let user = person.mri.clone();
    let flow = SignIn {
        stage: if silent { Stage::Exchanging } else { Stage::CardShown },
        connection: card.connection,
        exchange_id: card.exchange_id,
        link: card.link,
        steps: Vec::new(),
        resource: card.resource,
        conversation: conversation.to_owned(),
    };
    channel.clients.begin(&user, flow.clone());
    if silent {
        let chat = Conversation::open(channel.clone(), person, conversation.to_owned(), scope, &bot, Vec::new());
        tokio::spawn(async move {
            tokio::time::sleep(THINKING).await;
            chat.answer_card(&flow).await;
        });
    }
}

impl Conversation {
    /// All clients send the same exchange; the first good answer completes the sign-in.
    async fn answer_card(&self, flow: &SignIn) {
        if flow.resource.as_deref() != Some(SSO_RESOURCE) {
            self.report("resourcematchfailed", "The resource of the card is not the app-id URI of the app.").await;
            return;
        }
        let devices = self.channel.clients.devices(&self.user.mri);
        let answers = join_all((0..devices).map(|device| self.exchange_token(flow, device))).await;
        let stage = if answers.iter().any(Posted::is_success) {
            Stage::Completed
        } else if answers.iter().any(|answer| answer.status == 412) {
            Stage::CardShown
        } else {
            Stage::Failed
        };
        self.enter(stage);
    }

    async fn exchange_token(&self, flow: &SignIn, device: usize) -> Posted {
        let token =
            user_by_mri(&self.user.mri).map(|user| tokens::sso_token(&self.channel.shared, user)).unwrap_or_default();
        let value = json!({ "id": flow.exchange_id, "connectionName": flow.connection, "token": token });
        self.step(device, "signin/tokenExchange", value).await
    }

    /// Reports that the client could not sign in silently, with a code of the official table such as `installedappnotfound`.
    pub async fn fail_sign_in(&self, code: &str, message: &str) -> Posted {
        self.report(code, message).await
    }

    async fn report(&self, code: &str, message: &str) -> Posted {
        let posted = self.step(0, "signin/failure", json!({ "code": code, "message": message })).await;
        self.enter(Stage::Failed);
        posted
    }

    /// The user presses the button, consents, and the window hands over its code: `signin/verifyState`.
    /// Waits for the answer in the chat. `None` when no card with a link is there, or its page shows no code.
    pub async fn consent(&self) -> Option<super::Exchange> {
        let link = self.sign_in()?.link?;
        self.accept();
        let code = self.open_sign_in(&link).await?;
        Some(self.enter_code(&code).await)
    }

    /// The user consents in the window Teams opens after 412, and the client sends the same exchange again.
    /// `None` when the card cannot be answered silently.
    pub async fn consent_and_retry(&self) -> Option<super::Exchange> {
        let flow = self.sign_in()?;
        flow.exchange_id.as_ref()?;
        self.accept();
        let token =
            user_by_mri(&self.user.mri).map(|user| tokens::sso_token(&self.channel.shared, user)).unwrap_or_default();
        let value = json!({ "id": flow.exchange_id, "connectionName": flow.connection, "token": token });
        Some(self.finishing("signin/tokenExchange", value).await)
    }

    /// Hands a code over as the sign-in window does: `signin/verifyState`. Waits for the answer in the chat.
    pub async fn enter_code(&self, code: &str) -> super::Exchange {
        self.finishing("signin/verifyState", json!({ "state": code })).await
    }

    /// The user closes the sign-in window: `signin/verifyState` with `CancelledByUser`.
    pub async fn cancel(&self) -> super::Exchange {
        let exchange = self.finishing("signin/verifyState", json!({ "state": "CancelledByUser" })).await;
        self.enter(Stage::Cancelled);
        exchange
    }

    /// Opens a sign-in link in the user's browser and returns the six-digit code its page shows.
    pub async fn open_sign_in(&self, link: &str) -> Option<String> {
        let oid = self.user.oid.as_str();
        let request = self
            .channel
            .client()
            .get(super::post::loopback(link)?)
            .header("x-sandbox-user", oid)
            .header("accept", "application/json");
        let response = tokio::time::timeout(self.wait.post, request.send()).await.ok()?.ok()?;
        let text = tokio::time::timeout(self.wait.post, response.text()).await.ok()?.ok()?;
        six_digits(&text)
    }

    fn accept(&self) {
        if let Some(user) = user_by_mri(&self.user.mri) {
            self.channel.shared.accept_consent(user);
        }
    }

    /// Sends an invoke that can complete the sign-in, then waits for what the bot writes.
    async fn finishing(&self, name: &'static str, value: Value) -> super::Exchange {
        let prepared = self.invocation(name, value);
        let posted = self.deliver(&prepared).await;
        self.channel.clients.note(&self.id, &self.user.mri, Step { device: 0, name, posted: posted.clone() });
        if posted.is_success() {
            self.enter(Stage::Completed);
        }
        self.look(&prepared, posted, true).await
    }

    /// Sends an invoke, again when the bot answers 500, and notes the last answer.
    async fn step(&self, device: usize, name: &'static str, value: Value) -> Posted {
        let prepared = self.invocation(name, value);
        let mut posted = self.deliver(&prepared).await;
        for _ in 1..ATTEMPTS {
            if posted.status != 500 {
                break;
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            posted = self.deliver(&prepared).await;
        }
        self.channel.clients.note(&self.id, &self.user.mri, Step { device, name, posted: posted.clone() });
        posted
    }

    fn enter(&self, stage: Stage) {
        self.channel.clients.enter(&self.id, &self.user.mri, stage);
        self.channel.store.write(|_| ()); // wakes who waits for an answer
    }
}

/// The first run of exactly six digits.
fn six_digits(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_read_in_both_letter_cases() {
        let camel = json!({ "attachments": [{ "contentType": "text/plain" }, { "contentType": "application/vnd.microsoft.card.oauth", "content": {
            "connectionName": "sso", "buttons": [{ "type": "signin", "value": "http://127.0.0.1/x" }], "tokenExchangeResource": { "id": "1", "uri": "api://a" } } }] });
        let pascal = json!({ "attachments": [{ "contentType": "application/vnd.microsoft.card.oauth", "content": {
            "connectionName": "sso", "buttons": [{ "type": "signin", "value": "http://127.0.0.1/x" }], "tokenExchangeResource": { "Id": "1", "Uri": "api://a" } } }] });
        assert_eq!(Card::of(&camel), Card::of(&pascal));
        assert_eq!(Card::of(&camel).unwrap().resource.as_deref(), Some("api://a"));
        assert_eq!(Card::of(&json!({ "attachments": [{ "contentType": "text/html" }] })), None);
    }

    #[test]
    fn a_code_is_exactly_six_digits() {
        assert_eq!(six_digits("{\"code\":\"123456\"}").as_deref(), Some("123456"));
        assert_eq!(six_digits("id 1234567 a123456 <b>654321</b>").as_deref(), Some("654321"));
        assert_eq!(six_digits("12345"), None);
    }
}
