//! What the agent asks the user: a card for each question, and who may answer it.
//!
//! A question belongs to one conversation and to the one user whose message led to it. The card holds its number alone;
//! everything else is kept here, so that nothing that a client sends back can change what is decided, or by whom.

use std::{sync::Arc, time::Duration};

use botframework_activity::{
    RawJson, Turn, VerifiedActivity,
    card::{
        Action, ActionStyle, AdaptiveCard, Color, FontType, OpenUrl, RichTextBlock, Spacing, Submit, TextRun,
        TextWeight,
    },
};
use entra_auth::{Change, Key, Namespace, Store, Table, TableError};
use foundry_client::{ApprovalRequest, ConsentRequest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{agent::Answer, words};

/// Questions that wait for an answer.
const QUESTIONS: Namespace = Namespace::precious("broker-questions");
/// After this time a question is closed.
const OPEN: Duration = Duration::from_secs(86_400);
/// Longer arguments cannot be read by a user, so they cannot be approved either. Characters.
const MOST_ARGUMENTS: usize = 2_000;
/// Ids are the service's; a longer one is none.
const LONGEST_ID: usize = 256;

/// Questions to users.
#[derive(Clone)]
pub(crate) struct Questions(Table<Question>);

/// What is known about a question.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The one who may answer: tenant and object id.
    user: (String, String),
    /// The conversation in Foundry.
    pub(crate) conversation: String,
    /// The user's message that led to it.
    pub(crate) item: Option<String>,
    /// What waits for approval; nothing for a sign-in.
    pub(crate) requests: Vec<String>,
    /// The turn that brought the answer.
    taken: Option<String>,
    /// Whether the agent has answered to it.
    closed: bool,
}

/// A pressed button. Everything in it is a claim of the client.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pressed {
    question: String,
    pub(crate) choice: Choice,
}

/// The buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    Approve,
    Deny,
    /// The user has signed in.
    Continue,
}

/// Whether a pressed button counts.
#[derive(Debug)]
pub(crate) enum Standing {
    Good(Question),
    /// The question is another user's.
    Foreign,
    /// It was answered, is too old, or never was.
    Closed,
}

impl Pressed {
    /// The button behind a message; none in any other message.
    pub(crate) fn of(activity: &VerifiedActivity) -> Option<Self> {
        #[derive(Deserialize)]
        struct Value {
            broker: Pressed,
        }
        let value: Value = activity.value().ok().flatten()?;
        (value.broker.question.len() <= LONGEST_ID).then_some(value.broker)
    }

    fn button(title: &str, question: &str, choice: Choice) -> Submit {
        let pressed = Self { question: question.to_owned(), choice };
        Submit::new(title).data(RawJson::from(json!({ "broker": pressed })))
    }
}

impl Questions {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(Table::new(store, OPEN))
    }

    /// Keeps what the agent asks in this answer, and returns the cards; none when it is not known who the user is, so that
    /// nobody could be held to an answer.
    pub(crate) async fn ask(&self, turn: &Turn, answer: &Answer) -> Result<Vec<AdaptiveCard>, TableError> {
        let Some(user) = turn.activity().user_key() else { return Ok(Vec::new()) };
        let name = turn.activity().from.as_ref().and_then(|from| from.name.as_deref()).unwrap_or_default();
        let question = Question {
            user: (user.tenant().as_str().to_owned(), user.object_id().as_str().to_owned()),
            conversation: answer.conversation.clone(),
            item: answer.item.clone(),
            requests: answer.said.approvals.iter().map(|request| request.id.clone()).collect(),
            taken: None,
            closed: false,
        };
        let mut cards = Vec::new();
        if let Some(id) = question.requests.first().filter(|id| id.len() <= LONGEST_ID) {
            // A turn that is repeated asks the same question: what is known about it stays.
            self.0.insert(&key(turn.activity(), Choice::Approve, id), &question).await?;
            cards.push(approval_card(id, name, &answer.said.approvals));
        }
        if let Some(id) = answer.item.as_deref().filter(|id| id.len() <= LONGEST_ID && !answer.said.consents.is_empty())
        {
            self.0.insert(&key(turn.activity(), Choice::Continue, id), &question).await?;
            cards.extend(answer.said.consents.iter().map(|request| consent_card(id, name, request)));
        }
        Ok(cards)
    }

    /// Takes an answer. The same turn may take it again, and so may another one as long as the agent has not answered.
    pub(crate) async fn take(&self, turn: &Turn, pressed: &Pressed) -> Result<Standing, TableError> {
        let Some(user) = turn.activity().user_key() else { return Ok(Standing::Foreign) };
        let user = (user.tenant().as_str(), user.object_id().as_str());
        let change = |known: Option<Question>| {
            let Some(known) = known else { return (Change::Keep, Standing::Closed) };
            if (known.user.0.as_str(), known.user.1.as_str()) != user {
                return (Change::Keep, Standing::Foreign);
            }
            if known.closed && known.taken.as_deref() != Some(turn.id().as_str()) {
                return (Change::Keep, Standing::Closed);
            }
            let taken = Question { taken: Some(turn.id().as_str().to_owned()), ..known };
            (Change::Set(taken.clone()), Standing::Good(taken))
        };
        self.0.update(&key(turn.activity(), pressed.choice, &pressed.question), change).await
    }

    /// The agent has answered: the question cannot be answered a second time.
    pub(crate) async fn close(&self, turn: &Turn, pressed: &Pressed) -> Result<(), TableError> {
        let change = |known: Option<Question>| match known {
            Some(known) => (Change::Set(Question { closed: true, ..known }), ()),
            None => (Change::Keep, ()),
        };
        self.0.update(&key(turn.activity(), pressed.choice, &pressed.question), change).await
    }
}

/// Questions of one conversation are not found from another.
fn key(activity: &VerifiedActivity, choice: Choice, id: &str) -> Key {
    let kind = match choice {
        Choice::Approve | Choice::Deny => "approval",
        Choice::Continue => "sign-in",
    };
    activity.conversation_key().partition(QUESTIONS).key([kind, id])
}

/// One decision about everything that waits: the agent goes on only when all of it is decided.
fn approval_card(id: &str, name: &str, requests: &[ApprovalRequest]) -> AdaptiveCard {
    let mut card = card(words::APPROVE_TITLE, name);
    let mut readable = true;
    for ApprovalRequest { server_label, tool, arguments, .. } in requests {
        let what = [TextRun::new(tool).weight(TextWeight::BOLDER), TextRun::new(format!(" ({server_label})"))];
        card = card.element(RichTextBlock::new(what).spacing(Spacing::MEDIUM));
        let whole = arguments.chars().count() <= MOST_ARGUMENTS;
        readable &= whole;
        let shown = if whole { arguments } else { words::TOO_LONG };
        card = card.element(RichTextBlock::new([TextRun::new(shown).font(FontType::MONOSPACE)]));
    }
    if readable {
        card = card.action(Pressed::button(words::APPROVE, id, Choice::Approve).style(ActionStyle::POSITIVE));
    }
    card.action(Pressed::button(words::DENY, id, Choice::Deny))
}

fn consent_card(id: &str, name: &str, request: &ConsentRequest) -> AdaptiveCard {
    let mut card = card(words::CONSENT_TITLE, name);
    if let Some(server) = &request.server_label {
        card = card.element(RichTextBlock::new([TextRun::new(server).weight(TextWeight::BOLDER)]));
    }
    card.element(RichTextBlock::new([TextRun::new(words::CONSENT_HOW)]))
        .action(Action::from(OpenUrl::new(words::SIGN_IN, request.link.as_str())))
        .action(Pressed::button(words::CONTINUE, id, Choice::Continue))
}

/// Texts of agents and users are runs, which know no Markdown: nothing in them can pass for a link or a heading.
fn card(title: &str, name: &str) -> AdaptiveCard {
    let card = AdaptiveCard::new().element(RichTextBlock::new([TextRun::new(title).weight(TextWeight::BOLDER)]));
    if name.is_empty() {
        return card.fallback_text(title);
    }
    let only = TextRun::new(format!("{}{name}", words::ONLY_FOR)).subtle(true).color(Color::DEFAULT);
    card.fallback_text(title).element(RichTextBlock::new([only]))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn request(arguments: &str) -> ApprovalRequest {
        let item = json!({"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "tickets", "name": "close",
                          "arguments": arguments});
        ApprovalRequest::of(&serde_json::from_value(item).unwrap()).unwrap()
    }

    fn buttons(card: &AdaptiveCard) -> Vec<Value> {
        serde_json::to_value(card).unwrap()["actions"].as_array().unwrap().clone()
    }

    #[test]
    fn the_card_shows_the_call_and_holds_the_question_alone() {
        let card = approval_card("mcpr_1", "Ada", &[request(r#"{"id":"[click](https://evil.example)"}"#)]);
        let text = serde_json::to_string(&card).unwrap();
        assert!(text.contains("close") && text.contains("tickets") && text.contains("evil.example"));
        assert!(!text.contains("TextBlock\",\"text"), "no element that reads Markdown: {text}");
        let data: Vec<_> = buttons(&card).iter().map(|button| button["data"].clone()).collect();
        let press = |choice: &str| json!({"broker": {"question": "mcpr_1", "choice": choice}});
        assert_eq!(data, [press("approve"), press("deny")]);
    }

    #[test]
    fn what_cannot_be_read_cannot_be_approved() {
        let card = approval_card("mcpr_1", "", &[request("{}"), request(&"x".repeat(MOST_ARGUMENTS + 1))]);
        let titles: Vec<_> = buttons(&card).iter().map(|button| button["title"].clone()).collect();
        assert_eq!(titles, [words::DENY]);
    }

    #[test]
    fn a_sign_in_is_a_link_and_a_button_for_afterwards() {
        let item =
            json!({"type": "oauth_consent_request", "consent_link": "https://login.example/x", "server_label": "cal"});
        let request = ConsentRequest::of(&serde_json::from_value(item).unwrap()).unwrap();
        let card = consent_card("msg_1", "Ada", &request);
        let [link, button] = &buttons(&card)[..] else { panic!("{card:?}") };
        assert_eq!((&link["type"], &link["url"]), (&json!("Action.OpenUrl"), &json!("https://login.example/x")));
        assert_eq!(button["data"]["broker"]["choice"], "continue");
    }
}
