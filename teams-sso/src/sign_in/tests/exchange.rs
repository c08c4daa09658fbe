//! Silent sign-in: the card, `signin/tokenExchange`, the answer to the message that waited.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::ResponseTemplate;

use super::world::{BOB, JIRA, NOW, SSO, consent_required, token, world, world_with};
use crate::test_support::{ADA, BOT, TENANT};

fn body(response: &botframework_activity::InvokeResponse) -> Value {
    response.body.as_ref().map_or(Value::Null, |body| body.parse().unwrap())
}

#[tokio::test]
async fn a_message_waits_behind_a_card_and_is_answered_once() {
    let world = world().await;
    world.says("hello").await;
    let posted = world.posted();
    assert_eq!(posted.len(), 1, "{posted:?}");
    let exchange_id =
        posted[0]["attachments"][0]["content"]["tokenExchangeResource"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        posted[0],
        json!({
            "type": "message", "inputHint": "acceptingInput", "replyToId": "m-0", "channelId": "msteams",
            "serviceUrl": world.service_url(),
            "from": {"id": format!("28:{BOT}"), "name": "Bot"},
            "recipient": {"id": "29:ada", "name": "Ada", "aadObjectId": ADA},
            "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": TENANT},
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.oauth",
                "content": {
                    "text": "Please sign in to continue.",
                    "connectionName": "sso",
                    "buttons": [{
                        "type": "signin", "title": "Sign in",
                        "value": format!("{}/api/oauth/signin?signin=marker-link", world.server.uri())
                    }],
                    "tokenExchangeResource": {"id": exchange_id, "providerId": "p-1", "uri": "api://bot"}
                }
            }]
        })
    );
    assert!(
        world
            .script()
            .log
            .iter()
            .any(|(method, path, ..)| { method == "POST" && path == "/emea/v3/conversations/a%3A1/activities/m-0" })
    );

    let response = world.exchanges(&exchange_id).await;
    assert_eq!(response.status, 200);
    assert_eq!(body(&response), json!({"id": exchange_id, "connectionName": "sso"}));
    assert_eq!(world.texts(), ["answer to hello"]);
    {
        let script = world.script();
        let (_, _, query, sent) = script.log.iter().find(|(_, path, ..)| path.ends_with("exchange")).unwrap();
        assert_eq!((&*query["userId"], &*query["connectionName"], &*query["channelId"]), ("29:ada", "sso", "msteams"));
        assert_eq!(*sent, json!({"token": "marker-sso-token"}));
    }

    // The other clients of the user come later with the same id.
    for _ in 0..2 {
        let response = world.exchanges(&exchange_id).await;
        assert_eq!((response.status, response.body), (200, None));
    }
    assert_eq!(world.count("exchange"), 1);
    world.says("again").await;
    assert_eq!(world.texts(), ["answer to hello", "answer to again"]);
    assert_eq!(world.cards().len(), 1);
}

/// Dedupe across a user's devices: one request to the token service, 200 for all, one answer.
#[tokio::test(flavor = "multi_thread")]
async fn all_clients_at_once_make_one_exchange() {
    let world = world().await;
    world.says("hello").await;
    world.script().slow = Duration::from_millis(300);
    let all = [world.exchanges("g"), world.exchanges("g"), world.exchanges("g")];
    let [a, b, c] = all;
    let (a, b, c) = tokio::join!(a, b, c);
    assert_eq!([a.status, b.status, c.status], [200; 3]);
    assert_eq!(world.count("exchange"), 1);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// All clients show consent when all of them failed.
#[tokio::test(flavor = "multi_thread")]
async fn all_clients_at_once_share_a_failure() {
    let world = world().await;
    world.says("hello").await;
    world.script().slow = Duration::from_millis(300);
    world.script().exchanges.push_back(consent_required());
    let (a, b) = tokio::join!(world.exchanges("g"), world.exchanges("g"));
    assert_eq!([a.status, b.status], [412; 2]);
    assert_eq!(world.count("exchange"), 1);
    let response = world.exchanges("g").await;
    assert_eq!((response.status, body(&response)), (200, json!({"id": "g", "connectionName": "sso"})));
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// The failure matrix: what the invoke is answered, and whether the user hears about it.
#[tokio::test]
async fn exchanges_by_class_of_failure() {
    let error = |status, text: &str| {
        ResponseTemplate::new(status).set_body_json(json!({"error": {"code": "ServiceError", "message": text}}))
    };
    let aadsts = |code: u32| {
        let inner = json!({"error": "invalid_grant", "error_codes": [code]});
        let error = json!({"message": "no", "innerHttpError": {"statusCode": 400, "body": inner}});
        ResponseTemplate::new(400).set_body_json(json!({ "error": error }))
    };
    const NOT_CONFIGURED: &str = "Signing in is not set up correctly for this app. Please tell its operator.";
    const REFUSED: &str = "You could not be signed in.";
    for (row, answer, status, told) in [
        ("2 consent", consent_required(), 412, None),
        ("2 no token", ResponseTemplate::new(404), 412, None),
        ("2 empty token", ResponseTemplate::new(200).set_body_json(json!({"token": ""})), 412, None),
        ("7 mfa", aadsts(50076), 412, None),
        ("9 policy", aadsts(53003), 400, Some(REFUSED)),
        ("15 assertion expired", aadsts(500_133), 412, None),
        ("17 wrong audience", aadsts(500_131), 400, Some(REFUSED)),
        ("19 invalid token", error(400, "marker words"), 400, Some(REFUSED)),
        ("31 misconfigured", error(500, "marker words"), 400, Some(NOT_CONFIGURED)),
        ("31 unavailable", error(503, "marker words"), 500, None),
        ("32 bot credential", error(401, "marker words"), 400, Some(NOT_CONFIGURED)),
        ("32 forbidden", error(403, "marker words"), 400, Some(NOT_CONFIGURED)),
        ("33 throttled", error(429, "marker words"), 500, None),
        ("43 connection secret", aadsts(7_000_222), 400, Some(NOT_CONFIGURED)),
        ("garbage", ResponseTemplate::new(200).set_body_string("<html>marker"), 500, None),
    ] {
        let world = world().await;
        world.says("hello").await;
        world.script().exchanges.extend([answer.clone(), answer]);
        let response = world.exchanges("g").await;
        assert_eq!(response.status, status, "row {row}");
        let text = body(&response).to_string();
        assert!(!text.contains("marker"), "row {row}: {text}");
        match status {
            500 => assert_eq!(response.body, None, "row {row}"),
            _ => {
                assert_eq!(body(&response)["id"], "g", "row {row}");
                assert_eq!(body(&response)["connectionName"], "sso", "row {row}");
                assert!(body(&response)["failureDetail"].is_string(), "row {row}");
            }
        }
        assert_eq!(world.texts(), told.into_iter().collect::<Vec<_>>(), "row {row}");
        // Nothing is lost: whoever gets through in the end wakes the message.
        world.script().exchanges.clear();
        assert_eq!(world.exchanges("g").await.status, 200, "row {row}");
        assert_eq!(world.texts().last().map(String::as_str), Some("answer to hello"), "row {row}");
    }
}

/// Rows 36 and 37.
#[tokio::test]
async fn malformed_exchanges_and_foreign_connections_are_400() {
    let world = world().await;
    for value in [
        Value::Null,
        json!("text"),
        json!([]),
        json!({}),
        json!({"id": "g", "connectionName": "sso"}),
        json!({"id": "g", "connectionName": "sso", "token": ""}),
        json!({"id": "g", "connectionName": "sso", "token": 5}),
        json!({"connectionName": "sso", "token": "t"}),
        json!({"id": "g", "connectionName": "sso", "token": "t".repeat(20_000)}),
    ] {
        let response = world.invokes("signin/tokenExchange", value.clone()).await;
        assert_eq!(response.status, 400, "{value}");
        assert_eq!(body(&response)["id"], Value::Null, "{value}");
    }
    for connection in [json!("other"), json!(""), Value::Null] {
        let value = json!({"id": "g", "connectionName": connection, "token": "t"});
        assert_eq!(world.invokes("signin/tokenExchange", value).await.status, 400);
    }
    assert_eq!(world.count("exchange"), 0);
}

/// State can be lost; the token is the user's all the same.
#[tokio::test]
async fn an_exchange_without_a_flow_signs_in() {
    let world = world().await;
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts(), ["You are signed in. Please send your request again."]);
    assert_eq!(world.exchanges("g").await.body, None);
    world.says("hello").await;
    assert_eq!(world.texts().last().unwrap(), "answer to hello");
    assert!(world.cards().is_empty());
}

/// Row 21 and threats 74 and 75: the token is another user's, or for another application.
#[tokio::test]
async fn a_token_of_somebody_else_is_refused_and_signed_out() {
    for (claims, told_out) in [
        (json!({"oid": BOB}), true),
        (json!({"aud": "99999999-9999-4999-8999-999999999999"}), false),
        (json!({"iss": "https://evil.example/v2.0"}), false),
        (json!({"tid": "bbbbbbbb-0000-4000-8000-00000000000b"}), false),
        (json!({"scp": null, "idtyp": "app"}), false),
    ] {
        let world = world().await;
        world.says("hello").await;
        world.script().issues = Some(token(&world.server.uri(), &claims));
        let response = world.exchanges("g").await;
        assert_eq!(response.status, 400, "{claims}");
        assert_eq!(world.texts(), ["You could not be signed in."], "{claims}");
        assert_eq!(world.count("SignOut"), usize::from(told_out), "{claims}");
        // The same token, found in a turn, is not used either.
        world.script().signed_in.insert(("29:ada".into(), SSO.into()), token(&world.server.uri(), &claims));
        world.says("again").await;
        assert_eq!(world.texts().last().unwrap(), "sorry", "{claims}");
        assert!(!world.texts().iter().any(|text| text.starts_with("answer")), "{claims}");
    }
}

#[tokio::test]
async fn a_token_that_is_over_is_replaced_by_signing_in_again() {
    let world = world().await;
    let over = token(&world.server.uri(), &json!({"iat": NOW - 7200, "nbf": NOW - 7200, "exp": NOW - 3600}));
    world.script().signed_in.insert(("29:ada".into(), SSO.into()), over);
    world.says("hello").await;
    assert_eq!(world.cards().len(), 1);
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// Threat 70: somebody in the same chat sends the victim's id first.
#[tokio::test]
async fn dedupe_is_per_user() {
    let world = world().await;
    world.says("hello").await;
    let as_bob = |activity: &mut Value| {
        activity["from"] = json!({"id": "29:bob", "name": "Bob", "aadObjectId": BOB});
    };
    let value = json!({"id": "g", "connectionName": SSO, "token": "marker-sso-token"});
    assert_eq!(world.invokes_as("signin/tokenExchange", value, as_bob).await.status, 200);
    assert!(!world.texts().iter().any(|text| text.starts_with("answer")));
    let response = world.exchanges("g").await;
    assert_eq!(body(&response), json!({"id": "g", "connectionName": "sso"}), "no duplicate for Ada");
    assert_eq!(world.texts().last().unwrap(), "answer to hello");
    assert_eq!(world.count("exchange"), 2);
}

/// Row 48.
#[tokio::test]
async fn a_hanging_token_service_is_500_in_time_and_repaired_later() {
    let world = world_with(|builder| builder.invoke_timeout(Duration::from_millis(500))).await;
    world.says("hello").await;
    world.script().slow = Duration::from_secs(30);
    let started = Instant::now();
    let response = world.exchanges("g").await;
    assert_eq!((response.status, response.body), (500, None));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    world.script().slow = Duration::ZERO;
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// Row 46: without the store nothing is exchanged.
#[tokio::test]
async fn without_the_store_nothing_is_exchanged() {
    let world = world().await;
    world.says("hello").await;
    world.store.breaks_at(0, false);
    assert_eq!(world.exchanges("g").await.status, 500);
    assert_eq!(world.count("exchange"), 0);
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

/// Row 40.
#[tokio::test]
async fn a_sign_in_that_took_too_long_is_over() {
    let world = world().await;
    world.says("hello").await;
    world.clock.step(time::Duration::minutes(15));
    let response = world.exchanges("g").await;
    assert_eq!(response.status, 400);
    assert_eq!(world.count("exchange"), 0);
    assert_eq!(world.texts(), ["The sign-in took too long. Send your message again to try once more."]);
    assert_eq!(world.verifies("123456").await.status, 200);
    assert_eq!(world.fails("invokeerror").await.status, 200);
    world.says("again").await;
    assert_eq!(world.cards().len(), 2);
    assert_eq!(world.exchanges("g2").await.status, 200);
    assert_eq!(world.texts().last().unwrap(), "answer to again");
}

#[tokio::test]
async fn later_messages_are_told_to_wait() {
    let world = world().await;
    world.says("first").await;
    world.says("second").await;
    assert_eq!(world.texts(), ["Please finish signing in first, then send this message again."]);
    assert_eq!(world.cards().len(), 1);
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts().last().unwrap(), "answer to first");
    assert!(!world.texts().contains(&"answer to second".to_owned()));
}

/// The loop guard: a sign-in that never helps ends after two cards.
#[tokio::test]
async fn two_cards_in_five_minutes() {
    let world = world().await;
    for text in ["one", "two", "three"] {
        world.says(text).await;
        let _ = world.verifies("CancelledByUser").await;
    }
    assert_eq!(world.cards().len(), 2);
    assert!(world.texts().iter().any(|text| text.starts_with("You were asked to sign in several times already.")));
    world.clock.step(time::Duration::minutes(5));
    world.says("four").await;
    assert_eq!(world.cards().len(), 3);
    // Another connection has its own count.
    world.says(&format!("{JIRA} list")).await;
    assert_eq!(world.cards().len(), 4);
}

/// A success ends the counting.
#[tokio::test]
async fn success_resets_the_guard() {
    let world = world().await;
    for round in 0..4 {
        world.says(&format!("message {round}")).await;
        assert_eq!(world.exchanges(&format!("g{round}")).await.status, 200);
        assert_eq!(world.texts().last().unwrap(), &format!("answer to message {round}"));
        world.script().signed_in.clear();
    }
    assert_eq!(world.cards().len(), 4);
}

/// Signed in elsewhere, or the invoke never came: the next message wakes the one that waits.
#[tokio::test]
async fn a_token_that_is_there_all_the_same_wakes_the_message() {
    let world = world().await;
    world.says("first").await;
    world.knows_ada();
    world.says("second").await;
    let mut texts = world.texts();
    texts.sort();
    assert_eq!(texts, ["answer to first", "answer to second"]);
}
