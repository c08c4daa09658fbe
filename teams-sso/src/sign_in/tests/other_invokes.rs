//! `signin/verifyState`, `signin/failure`, and what is typed instead.

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::world::{JIRA, SSO, World, world};
use crate::test_support::{ADA, invoke, verified};

fn knows_code(world: &World, connection: &str, code: &str) {
    let token = world.token(ADA);
    world.script().codes.insert(("29:ada".into(), connection.into(), code.into()), token);
}

#[tokio::test]
async fn a_code_signs_in_and_wakes_the_message() {
    let world = world().await;
    world.says("hello").await;
    knows_code(&world, SSO, "123456");
    let response = world.verifies("123456").await;
    assert_eq!((response.status, response.body), (200, None));
    assert_eq!(world.texts(), ["answer to hello"]);
    // Sent again.
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// Rows 38 and 39.
#[tokio::test]
async fn wrong_codes_are_404_and_three_are_enough() {
    let world = world().await;
    world.says("hello").await;
    for left in [2, 1] {
        assert_eq!(world.verifies("000000").await.status, 404);
        assert!(world.texts().last().unwrap().ends_with(&format!("Tries left: {left}.")));
    }
    assert_eq!(world.verifies("000000").await.status, 404);
    assert_eq!(world.texts().last().unwrap(), "Too many wrong codes. Send your message again to start over.");
    knows_code(&world, SSO, "123456");
    let asked = world.count("GetToken");
    for _ in 0..20 {
        assert_eq!(world.verifies("123456").await.status, 404);
    }
    assert_eq!(world.count("GetToken"), asked, "no code is evaluated any more");
}

/// Threat 73: whoever guesses without a flow gets no more tries.
#[tokio::test]
async fn codes_without_a_flow_are_counted_too() {
    let world = world().await;
    for _ in 0..50 {
        assert_eq!(world.verifies("000000").await.status, 404);
    }
    let codes = world.script().log.iter().filter(|(_, _, query, _)| query.contains_key("code")).count();
    assert_eq!(codes, 3 * 2, "three tries, each with both connections");
}

/// Threat 72: a code works only for the user whose sign-in it ends.
#[tokio::test]
async fn another_users_code_is_wrong() {
    let world = world().await;
    world.says("hello").await;
    let token = world.token(super::world::BOB);
    world.script().codes.insert(("29:bob".into(), SSO.into(), "123456".into()), token);
    assert_eq!(world.verifies("123456").await.status, 404);
    assert!(!world.texts().iter().any(|text| text.starts_with("answer")));
}

/// Row 49: somebody else signed in in the window.
#[tokio::test]
async fn a_code_of_another_identity_is_refused() {
    let world = world().await;
    world.says("hello").await;
    let token = world.token(super::world::BOB);
    world.script().codes.insert(("29:ada".into(), SSO.into(), "123456".into()), token);
    assert_eq!(world.verifies("123456").await.status, 400);
    assert_eq!(world.count("SignOut"), 1);
    assert_eq!(world.texts(), ["You could not be signed in."]);
}

/// The invoke names no connection: the one that waits is tried first, then the others.
#[tokio::test]
async fn a_code_finds_its_connection() {
    let world = world().await;
    world.says(&format!("{JIRA} list")).await;
    knows_code(&world, JIRA, "123456");
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.texts(), ["answer to jira list"]);
    let codes: Vec<_> = world
        .script()
        .log
        .iter()
        .filter_map(|(_, _, query, _)| {
            Some((query.get("code")?, query["connectionName"].clone())).map(|(_, name)| name)
        })
        .collect();
    assert_eq!(codes, [JIRA], "the pending connection first");
    knows_code(&world, SSO, "654321");
    assert_eq!(world.verifies("654321").await.status, 200);
}

/// A fault of one connection must not look like a wrong code.
#[tokio::test]
async fn a_fault_while_codes_are_tried_is_500() {
    let world = world().await;
    world.says("hello").await;
    world.script().redeems.push_back((SSO.into(), ResponseTemplate::new(503)));
    assert_eq!(world.verifies("123456").await.status, 500);
    world.script().redeems.push_back((JIRA.into(), ResponseTemplate::new(503)));
    assert_eq!(world.verifies("123456").await.status, 500);
    // No try was used up.
    assert_eq!(world.verifies("000000").await.status, 404);
    assert!(world.texts().last().unwrap().ends_with("Tries left: 2."));
}

/// The answer to the first delivery was lost after the service had used the code up.
#[tokio::test]
async fn a_used_code_whose_answer_was_lost_is_good() {
    let world = world().await;
    world.says("hello").await;
    world.script().redeems.push_back((SSO.into(), ResponseTemplate::new(502)));
    world.knows_ada();
    assert_eq!(world.verifies("123456").await.status, 500);
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// Row 41.
#[tokio::test]
async fn a_code_without_a_flow_signs_in() {
    let world = world().await;
    knows_code(&world, JIRA, "123456");
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.texts(), ["You are signed in. Please send your request again."]);
}

#[tokio::test]
async fn what_is_no_code_is_400() {
    let world = world().await;
    for value in [
        json!({}),
        json!(null),
        json!({"state": 5}),
        json!({"state": "12345"}),
        json!({"state": "1234567"}),
        json!({"state": "１２３４５６"}),
    ] {
        assert_eq!(world.invokes("signin/verifyState", value.clone()).await.status, 400, "{value}");
    }
    assert_eq!(world.count("GetToken"), 0);
}

/// Row 4.
#[tokio::test]
async fn cancelling_in_the_window_and_in_the_chat() {
    let world = world().await;
    world.says("hello").await;
    assert_eq!(world.verifies("CancelledByUser").await.status, 200);
    assert_eq!(world.verifies("CancelledByUser").await.status, 200);
    const CANCELLED: &str = "The sign-in was cancelled. Send your message again to try once more.";
    assert_eq!(world.texts(), [CANCELLED]);
    assert_eq!(world.exchanges("g").await.status, 400, "the user said no");

    world.says("hello again").await;
    world.says(" Cancel ").await;
    assert_eq!(world.texts(), [CANCELLED, CANCELLED]);
    world.knows_ada();
    world.says("cancel").await;
    assert_eq!(world.texts().last().unwrap(), "answer to cancel", "nothing to cancel: an ordinary message");
}

/// Row 49: across tenants the code arrives as a message.
#[tokio::test]
async fn a_typed_code_is_used_up_but_a_number_in_a_sentence_is_not() {
    let world = world().await;
    world.says("hello").await;
    knows_code(&world, SSO, "123456");
    world.says("ticket 123456").await;
    assert_eq!(world.texts(), ["Please finish signing in first, then send this message again."]);
    world.says("000000").await;
    assert!(world.texts().last().unwrap().ends_with("Tries left: 2."));
    world.says(" 123456 ").await;
    assert_eq!(world.texts().last().unwrap(), "answer to hello");
    world.says("123456").await;
    assert_eq!(world.texts().last().unwrap(), "answer to 123456", "no sign-in is under way");
}

/// Rows 27 to 29 and the codes that users do not see.
#[tokio::test]
async fn a_client_that_failed_gets_one_card_with_a_button() {
    for code in ["resourcematchfailed", "installedappnotfound", "authrequestfailed", "invokeerror", "something new"] {
        let world = world().await;
        world.says("hello").await;
        assert_eq!(world.fails(code).await.status, 200);
        assert_eq!(world.fails(code).await.status, 200, "the next client");
        let cards = world.cards();
        assert_eq!(cards.len(), 2, "{code}");
        assert!(cards[0].get("tokenExchangeResource").is_some());
        assert!(cards[1].get("tokenExchangeResource").is_none(), "{code}");
        assert!(cards[1]["buttons"][0]["value"].is_string());
        knows_code(&world, SSO, "123456");
        assert_eq!(world.verifies("123456").await.status, 200);
        assert_eq!(world.texts(), ["answer to hello"], "{code}");
    }
    let world = world().await;
    world.says("hello").await;
    assert_eq!(world.fails("userconsentrequired").await.status, 200);
    assert_eq!(world.fails("installappfailed").await.status, 200);
    assert_eq!(world.fails("installappfailed").await.status, 200);
    assert_eq!(world.cards().len(), 1);
    assert_eq!(world.texts(), ["Please add this app first, then send your message again."]);
    assert_eq!(world.invokes("signin/failure", Value::Null).await.status, 200, "always");
}

/// Row 50 and threat 76: no card where others read along.
#[tokio::test]
async fn no_card_is_shown_to_a_group() {
    for kind in ["groupChat", "channel"] {
        let world = world().await;
        let mut activity = world.message("hello");
        activity["conversation"]["conversationType"] = kind.into();
        world.receives(activity).await;
        assert!(world.cards().is_empty());
        assert_eq!(world.texts(), ["Please write to me in a personal chat to sign in."]);
    }
}

/// Row 30.
#[tokio::test]
async fn a_card_that_the_channel_refuses_becomes_a_link() {
    let refused = || {
        let body = json!({"error": {"code": "BadArgument", "message": "marker words"}});
        ResponseTemplate::new(400).set_body_json(body)
    };
    let world = world().await;
    world.script().cards.push_back(refused());
    world.says("hello").await;
    let posted = world.posted();
    let link = &posted.last().unwrap()["attachments"][0];
    assert_eq!(link["contentType"], "application/vnd.microsoft.card.signin");
    assert_eq!(link["content"]["buttons"][0]["type"], "openUrl");
    knows_code(&world, SSO, "123456");
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);

    let world = super::world::world().await;
    world.script().cards.extend([refused(), refused()]);
    world.says("hello").await;
    assert_eq!(world.texts(), ["The sign-in card could not be shown here."]);
}

#[tokio::test]
async fn other_invokes_are_left_to_others() {
    let world = world().await;
    let url = world.service_url();
    for name in ["adaptiveCard/action", "task/fetch", "signin/somethingNew", "SIGNIN/TOKENEXCHANGE"] {
        let activity = verified(&url, &invoke(&url, name, &json!({})));
        assert!(world.sign_in.invoke(&activity).await.is_none(), "{name}");
    }
    let mut event = invoke(&url, "signin/tokenExchange", &json!({}));
    event["type"] = "event".into();
    assert!(world.sign_in.invoke(&verified(&url, &event)).await.is_none());
}

#[tokio::test]
async fn whoever_has_no_account_in_a_directory_cannot_sign_in() {
    let world = world().await;
    let stranger = |activity: &mut Value| activity["from"] = json!({"id": "29:stranger"});
    let exchange = json!({"id": "g", "connectionName": SSO, "token": "t"});
    for (name, value, status) in [
        ("signin/tokenExchange", exchange, 400),
        ("signin/verifyState", json!({"state": "123456"}), 404),
        ("signin/verifyState", json!({"state": "CancelledByUser"}), 200),
        ("signin/failure", json!({"code": "invokeerror"}), 200),
    ] {
        assert_eq!(world.invokes_as(name, value, stranger).await.status, status, "{name}");
    }
    assert!(world.script().log.is_empty());
}
