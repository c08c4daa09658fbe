//! Every typed body, read and written: the same document, with members that nobody knows at every level.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod doc;

use std::collections::BTreeSet;

use botframework_activity::{invoke::InvokeKind, *};
use doc::Doc;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    body: Box<RawValue>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/bodies.json")).unwrap()
}

fn rewritten<T: DeserializeOwned + Serialize + std::fmt::Debug + PartialEq>(json: &str) -> String {
    let typed: T = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    let written = serde_json::to_string(&typed).unwrap();
    assert_eq!(serde_json::from_str::<T>(&written).unwrap(), typed, "writing is stable");
    let debug = format!("{typed:?}");
    for private in ["not-a-token", "https://contoso.com", "ada@", "\"Ada\"", "\"123456\""] {
        assert!(!debug.contains(private), "{private} in {debug}");
    }
    written
}

/// As [`rewritten`], through the list of entities.
fn entity<T: TypedEntity + Serialize + std::fmt::Debug + PartialEq>(json: &str) -> String {
    let mut activity = Activity::message("x");
    activity.entities = Some(RawJson::from_text(format!("[{json}]")).unwrap());
    let found = activity.entity::<T>().unwrap().expect("the entity has this type");
    assert_eq!(serde_json::from_str::<T>(json).unwrap(), found);
    rewritten::<T>(json)
}

/// As [`rewritten`], through an invoke activity.
fn request<K: InvokeKind>(json: &str) -> String
where
    K::Request: Serialize + std::fmt::Debug + PartialEq,
{
    let text = format!(r#"{{"type":"invoke","name":"{}","value":{json}}}"#, K::NAME);
    let activity = Activity::from_json(text.as_bytes()).unwrap();
    let found = activity.invoke_as::<K>().unwrap().expect("the invoke has this name");
    assert_eq!(activity.invoke().unwrap().unwrap().kind(), K::NAME);
    assert_eq!(serde_json::from_str::<K::Request>(json).unwrap(), found);
    rewritten::<K::Request>(json)
}

macro_rules! table {
    ($kind:expr, $json:expr; $($prefix:literal => $function:ident: $($ty:ty),* $(,)?;)*) => {
        match $kind {
            $($( kind if kind == $prefix.replace("%", &stringify!($ty).replace(' ', "")) => $function::<$ty>($json), )*)*
            other => panic!("no type for {other}"),
        }
    };
}

fn written(kind: &str, json: &str) -> String {
    table! { kind, json;
        "%" => rewritten: card::HeroCard, card::ThumbnailCard, card::OAuthCard, card::SigninCard, card::ReceiptCard,
            card::AnimationCard, card::AudioCard, card::VideoCard, card::FileConsentCard, card::FileInfoCard,
            card::FileDownloadInfo, card::FileUploadInfo, card::ListCard, card::O365ConnectorCard, card::AdaptiveCard,
            card::Element, card::Action, invoke::CardActionAnswer, invoke::CardError, invoke::TokenExchangeAnswer,
            invoke::TaskAnswer, invoke::ComposeAnswer, invoke::SearchAnswer, invoke::ConfigAnswer, invoke::TabAnswer,
            event::TokenResponse, event::MeetingStart, event::MeetingEnd, event::MeetingParticipantJoin,
            event::MeetingParticipantLeave, event::ReadReceipt, event::HandoffStatus, event::CommandValue,
            event::ConsentResponse, event::MediaStart, event::MediaChunk,
            TeamsChannelData, TeamsActionValue, ErrorResponse, ConversationParameters, PagedMembersResult,
            ExpectedReplies, AttachmentInfo, AttachmentData, Transcript;
        "Entity<%>" => entity: ai::MessageInfo, Mention, ClientInfo, StreamInfo, ProductInfo, Place, GeoCoordinates, Thing,
            ActivityTreatment, TargetedMessageInfo, QuotedReply, Context, StringEntity, NumberEntity;
        "%" => request: invoke::AdaptiveCardAction, invoke::SignInTokenExchange, invoke::SignInVerifyState,
            invoke::SignInFailure, invoke::TaskFetch, invoke::TaskSubmit, invoke::ComposeQuery, invoke::ComposeQueryLink,
            invoke::ComposeAnonymousQueryLink, invoke::ComposeSelectItem, invoke::ComposeFetchTask,
            invoke::ComposeSubmitAction, invoke::ComposeQuerySettingUrl, invoke::ComposeSetting,
            invoke::ComposeCardButtonClicked, invoke::FileConsent, invoke::MessageSubmitAction, invoke::MessageFetchTask,
            invoke::SuggestedActionsSubmit, invoke::ApplicationSearch, invoke::ConfigFetch, invoke::ConfigSubmit,
            invoke::HandoffAction, invoke::TabFetch, invoke::TabSubmit, invoke::ActionableMessageExecuteAction,
            invoke::CardExtensionToken;
    }
}

/// The document with a member that nobody knows in every object.
fn with_strangers(doc: &Doc, out: &mut String) {
    match doc {
        Doc::Token(text) => out.push_str(text),
        Doc::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
        Doc::List(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                with_strangers(item, out);
            }
            out.push(']');
        }
        Doc::Object(members) => {
            out.push_str(r#"{"x-first":[1.50,null],"#);
            for (name, value) in members {
                out.push_str(&serde_json::to_string(name).unwrap());
                out.push(':');
                with_strangers(value, out);
                out.push(',');
            }
            out.push_str(r#""x-last":{"n":12345678901234567890.10}}"#);
        }
    }
}

#[test]
fn every_body_comes_back_as_the_same_document() {
    let cases = cases();
    let kinds: BTreeSet<_> = cases.iter().map(|case| case.kind.as_str()).collect();
    assert!(cases.len() >= 80 && kinds.len() >= 80, "{} bodies of {} types", cases.len(), kinds.len());
    for case in &cases {
        let json = case.body.get();
        assert_eq!(Doc::parse(written(&case.kind, json).as_bytes()), Doc::parse(json.as_bytes()), "{}", case.name);
    }
}

#[test]
fn nothing_is_lost_at_any_level() {
    for case in cases() {
        let mut json = String::new();
        with_strangers(&Doc::parse(case.body.get().as_bytes()), &mut json);
        let back = written(&case.kind, &json);
        assert_eq!(Doc::parse(back.as_bytes()), Doc::parse(json.as_bytes()), "{} {}", case.kind, case.name);
    }
}

#[test]
fn activities_keep_strangers_at_any_level() {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/activities");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "deep_value" {
            continue; // the test's own recursion
        }
        let mut json = String::new();
        with_strangers(&Doc::parse(&std::fs::read(&path).unwrap()), &mut json);
        let activity = Activity::from_json(json.as_bytes()).unwrap();
        let back = activity.to_json().unwrap();
        assert_eq!(Doc::parse(&back), Doc::parse(json.as_bytes()), "{}", path.display());
        let _ = (activity.view(), activity.invoke(), activity.prompt_text());
        if let Ok(entities) = activity.entities() {
            assert!(entities.iter().all(|entity| !entity.raw().get().is_empty()));
        }
        count += 1;
    }
    assert!(count >= 50, "{count}");
}

#[test]
fn deep_cards_cost_no_stack() {
    for depth in [10, 63, 64, 10_000] {
        let json = format!(
            r#"{{"type":"AdaptiveCard","body":[{}{{"type":"TextBlock","text":"x"}}{}]}}"#,
            r#"{"type":"Container","items":["#.repeat(depth),
            "]}".repeat(depth)
        );
        let raw = RawJson::from_text(json.clone()).unwrap();
        let card: card::AdaptiveCard = raw.parse().unwrap();
        let back = serde_json::to_string(&card).unwrap();
        assert_eq!(back, json);
        assert_eq!(matches!(card.body[0], card::Element::Other(_)), depth > 31, "{depth}");
    }
}

#[test]
fn an_odd_body_of_a_known_type_is_kept_raw() {
    for json in [r#"{"type":"TextBlock","text":7}"#, r#"{"type":"TextBlock","text":"a","text":"b"}"#, "7", "null"] {
        let element: card::Element = serde_json::from_str(json).unwrap();
        assert!(matches!(element, card::Element::Other(_)), "{json}");
        assert_eq!(serde_json::to_string(&element).unwrap(), json);
    }
}

#[test]
fn attachments_open_as_their_cards() {
    let card = card::AdaptiveCard::new().element(card::TextBlock::heading("T")).element("text").full_width();
    let card = card.mention("29:a", "Ada").action(card::ShowCard::new("More", card::AdaptiveCard::new()));
    let message =
        Activity::message("x").with_card(&card).unwrap().with_card(&card::HeroCard::new().title("h")).unwrap();
    let back = Activity::from_json(&message.to_json().unwrap()).unwrap();
    assert_eq!(back.attachments[0].card::<card::AdaptiveCard>().unwrap().unwrap(), card);
    assert_eq!(back.attachments[0].card::<card::HeroCard>().unwrap(), None);
    assert_eq!(back.attachments[1].card::<card::HeroCard>().unwrap().unwrap().title.as_deref(), Some("h"));
    assert_eq!(card.body[0].kind(), card::ElementKind::TEXT_BLOCK);
    assert!(card.actions[0].raw().unwrap().get().contains("Action.ShowCard"));
    let toggle = card::ToggleVisibility::new("t", ["a"]).set("b", false);
    let targets = toggle.targets();
    assert_eq!((targets[0].is_visible, targets[1].is_visible), (None, Some(false)));
}
