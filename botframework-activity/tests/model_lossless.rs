//! Reading an activity and writing it back gives the same JSON document.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod doc;

use std::path::PathBuf;

use botframework_activity::{
    Activity, ActivityType, ClientInfo, ConversationReference, Mention, ModelErrorKind, RawJson, TeamsChannelData,
    TeamsEventType,
};
use doc::Doc;

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/activities");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn fixture(name: &str) -> Activity {
    let (_, json) = fixtures().into_iter().find(|(n, _)| n == name).unwrap();
    Activity::from_json(&json).unwrap()
}

#[test]
fn every_fixture_comes_back_as_the_same_document() {
    let all = fixtures();
    assert!(all.len() >= 40, "{}", all.len());
    for (name, json) in all {
        let activity = Activity::from_json(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = activity.to_json().unwrap();
        assert_eq!(Doc::parse(&written), Doc::parse(&json), "{name}");
        let again = Activity::from_json(&written).unwrap();
        assert_eq!(again, activity, "{name}");
        assert_eq!(again.to_json().unwrap(), written, "{name}: writing is stable");
    }
}

#[test]
fn raw_bodies_keep_their_bytes() {
    let text =
        r#"{"type":"invoke","value": { "b":1.0, "a":"\u00e9" , "b2":[ ] },"channelData":[1e2, -0.0],"zz":{ "k" : 1 }}"#;
    let written = Activity::from_json(text.as_bytes()).unwrap().to_json().unwrap();
    let written = String::from_utf8(written).unwrap();
    for body in [r#"{ "b":1.0, "a":"\u00e9" , "b2":[ ] }"#, "[1e2, -0.0]", r#"{ "k" : 1 }"#] {
        assert!(written.contains(body), "{written}");
    }
}

#[test]
fn a_member_that_appears_twice_is_refused_everywhere_it_is_typed() {
    for text in [
        r#"{"type":"message","type":"invoke"}"#,
        r#"{"type":"message","text":"a","text":"b"}"#,
        r#"{"type":"message","serviceUrl":"https://a.invalid","serviceUrl":"https://b.invalid"}"#,
        r#"{"type":"message","serviceUrl":null,"serviceUrl":"https://b.invalid"}"#,
        r#"{"type":"message","text":"a","te\u0078t":"b"}"#,
        r#"{"type":"message","value":1,"value":2}"#,
        r#"{"type":"message","attachments":[],"attachments":[]}"#,
        r#"{"type":"message","new":1,"other":2,"new":3}"#,
        r#"{"type":"message","from":{"id":"a","id":"b"}}"#,
        r#"{"type":"message","from":{"id":"a","x":1,"x":1}}"#,
        r#"{"type":"message","conversation":{"id":"a","id":"b"}}"#,
        r#"{"type":"message","attachments":[{"contentUrl":"a","contentUrl":"b"}]}"#,
    ] {
        let error = Activity::from_json(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Shape, "{text}");
    }
    let lazy = br#"{"type":"message","channelData":{"tenant":{"id":"a"},"tenant":{"id":"b"}},
        "entities":[{"type":"mention","mentioned":{"id":"a"},"mentioned":{"id":"b"}}]}"#;
    let activity = Activity::from_json(lazy).unwrap();
    assert!(activity.channel_data::<TeamsChannelData>().is_err());
    assert!(activity.mentions().is_err());
}

#[test]
fn what_is_no_activity_is_an_error_with_a_kind_and_no_content() {
    let malformed: [&[u8]; 9] = [
        b"",
        b"{",
        b"{\"type\":\"message\"",
        b"{\"type\":\"message\"} x",
        b"{\"type\":\"message\",}",
        b"{\"type\":\"\\ud83d\"}",
        b"{\"type\":\"message\",\"text\":\"\xff\"}",
        b"\xef\xbb\xbf{\"type\":\"message\"}",
        b"{\"type\":\"message\",\"value\":[1,}",
    ];
    for json in malformed {
        let error = Activity::from_json(json).unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Malformed, "{}", String::from_utf8_lossy(json));
    }
    for json in [
        "{}",
        "[]",
        "null",
        "\"private\"",
        r#"{"type":null}"#,
        r#"{"type":7}"#,
        r#"{"text":"private"}"#,
        r#"{"type":"message","text":{"private":1}}"#,
        r#"{"type":"message","from":"private"}"#,
        r#"{"type":"message","historyDisclosed":"private"}"#,
        r#"["message","private"]"#,
    ] {
        let error = Activity::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Shape, "{json}");
        assert!(!format!("{error} {error:?}").contains("private"), "{error}");
    }
}

#[test]
fn deep_and_wide_documents_cost_no_stack_and_no_quadratic_time() {
    let deep = format!(r#"{{"type":"event","value":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    let activity = Activity::from_json(deep.as_bytes()).unwrap();
    assert_eq!(activity.to_json().unwrap().len(), deep.len());
    assert!(activity.value::<serde_json::Value>().is_err());
    assert_eq!(botframework_activity::json_depth(deep.as_bytes()), 200_001);

    let wide: String = (0..200_000).map(|n| format!(",\"m{n}\":0")).collect();
    let wide = format!(r#"{{"type":"event"{wide}}}"#);
    assert_eq!(Activity::from_json(wide.as_bytes()).unwrap().extra.len(), 200_000);
}

#[test]
fn a_body_of_another_shape_leaves_the_rest_readable() {
    for name in ["message_channel_data_string", "message_channel_data_list"] {
        let activity = fixture(name);
        let error = activity.channel_data::<TeamsChannelData>().unwrap_err();
        assert_eq!((error.kind(), error.member()), (ModelErrorKind::Shape, Some("channelData")));
        assert_eq!(activity.text.as_deref(), Some("odd"));
    }
    assert_eq!(fixture("message_channel_data_string").channel_data::<&str>().unwrap(), Some("a plain string"));
}

#[test]
fn null_and_absent_read_the_same() {
    let activity = fixture("message_nulls");
    assert_eq!(activity.channel_data::<TeamsChannelData>().unwrap(), None);
    assert!(activity.members_added().unwrap().is_empty());
    assert!(activity.entities().unwrap().is_empty());
    assert!(activity.attachments.is_empty());
    assert_eq!(activity.locale, None);
    let text = String::from_utf8(activity.to_json().unwrap()).unwrap();
    assert!(text.contains(r#""attachments":null"#) && text.contains(r#""locale":null"#), "{text}");
}

#[test]
fn a_null_that_gets_a_value_is_written_once() {
    let mut activity = Activity::from_json(br#"{"type":"message","text":null,"attachments":[]}"#).unwrap();
    activity.text = Some("now".into());
    assert_eq!(
        String::from_utf8(activity.to_json().unwrap()).unwrap(),
        r#"{"type":"message","text":"now","attachments":[]}"#
    );
}

#[test]
fn numbers_keep_every_digit() {
    let activity = fixture("message_big_numbers");
    let value: std::collections::BTreeMap<String, RawJson> = activity.value().unwrap().unwrap();
    assert_eq!(value["n"].get(), "12345678901234567890123");
    assert_eq!(value["f"].get(), "0.1000");
    assert_eq!(value["e"].get(), "1E400");
    assert_eq!(activity.extra.get("x").unwrap().get(), "1e-7");
}

#[test]
fn typed_bodies_are_read() {
    let update = fixture("conversation_update_roster");
    assert_eq!(update.members_added().unwrap().len(), 40);
    let data: TeamsChannelData = update.channel_data().unwrap().unwrap();
    assert_eq!(data.event_type, Some(TeamsEventType::TEAM_MEMBER_ADDED));
    assert_eq!(data.team.as_ref().unwrap().member_count, Some(40));
    assert_eq!(data.tenant_id(), Some("11111111-1111-4111-8111-111111111111"));

    let group = fixture("message_group_mention");
    assert!(group.mentions_recipient());
    assert_eq!(group.text_without_mentions(), "summarise");
    assert_eq!(group.entity::<ClientInfo>().unwrap().unwrap().country.as_deref(), Some("GB"));
    assert_eq!(group.entity::<Mention>().unwrap().unwrap().text.as_deref(), Some("<at>Example Bot</at>"));
    assert_eq!(fixture("message_channel_thread").text_without_mentions(), "status?");

    let reactions = fixture("message_reaction_added").reactions_added().unwrap();
    assert_eq!(reactions[1].kind.as_str(), "1f440_eyes");

    let related: ConversationReference = fixture("event_tokens_response").relates_to().unwrap().unwrap();
    assert_eq!(related.bot.unwrap().id.as_deref(), Some("28:x"), "`agent` is `bot`");

    let semantic = fixture("message_semantic_action");
    assert_eq!(semantic.listen_for().unwrap(), ["yes", "no"]);
    assert_eq!(semantic.text_highlights().unwrap()[0].occurrence, Some(1));
    assert_eq!(semantic.semantic_action().unwrap().unwrap().id.as_deref(), Some("a"));

    let suggested = fixture("message_suggested_actions").suggested_actions().unwrap().unwrap();
    assert_eq!(suggested.actions[1].kind.as_str(), "Action.Submit");
    assert_eq!(fixture("invoke_token_exchange").invoke_name().unwrap(), "signin/tokenExchange");
    assert_eq!(fixture("trace").invoke_name(), None);
    assert_eq!(fixture("trace").kind, ActivityType::TRACE);
}

#[test]
fn debug_shows_no_text_names_or_user_ids() {
    for (name, json) in fixtures() {
        let activity = Activity::from_json(&json).unwrap();
        let debug = format!("{activity:?}");
        for private in ["hello", "User One", "29:user", "33333333", "not-a-token", "not.a.token", "123456\"", "sas"] {
            assert!(!debug.contains(private), "{name}: {debug}");
        }
    }
    let debug = format!("{:?}", fixture("message_personal"));
    for shown in ["\"message\"", "1700000000001", "a:personal-chat-one", "\"msteams\""] {
        assert!(debug.contains(shown), "{debug}");
    }
}

#[test]
fn an_activity_passes_through_a_value_tree() {
    let tree = serde_json::json!({"type": "message", "value": {"a": [1]}, "x": null, "from": {"id": "29:u"}});
    let activity: Activity = serde_json::from_value(tree.clone()).unwrap();
    assert_eq!(serde_json::to_value(&activity).unwrap(), tree);
}
