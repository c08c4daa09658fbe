//! `--sso`: users are signed in, the message that waited is answered, and nobody gets what is another's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use m365_sandbox::{
    Fault, Sandbox, Stage,
    constants::{USER_ONE, USER_TWO},
};
use support::{Broker, CONVERSATIONS, RESPONSES, run, text};

const EXCHANGE: &str = "POST /tokenservice/api/usertoken/exchange";

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_greeted_by_name_and_the_waiting_message_is_answered_once() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let chat = support::chat(&sandbox);
    let exchange = chat.say("My favourite colour is green.").await;
    assert!(exchange.text().starts_with("Hello User One!"), "{}\n{}", exchange.text(), broker.log());
    assert_eq!(exchange.sign_in.as_ref().unwrap().stage, Stage::Completed);
    assert!(exchange.text().contains("green"), "the message that waited was answered: {}", exchange.text());
    assert_eq!(sandbox.requests(RESPONSES), 1, "once");

    let next = chat.say("What is my favourite colour?").await;
    assert!(next.text().contains("green") && !next.text().contains("Hello User One"), "{}", next.text());
    assert_eq!(sandbox.requests(EXCHANGE), 1, "no second sign-in");
    assert!(!broker.log().contains("User One"), "the log holds no name: {}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_gets_their_own_name() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let [one, two] = [USER_ONE, USER_TWO].map(|user| sandbox.teams().user(user).conversation());
    let (first, second) = tokio::join!(one.say("Hello there, agent"), two.say("Hello there, agent"));
    assert!(first.text().contains("Hello User One!"), "{}", first.text());
    assert!(second.text().contains("Hello User Two!"), "{}", second.text());
    assert!(!first.text().contains("Two") && !second.text().contains("One"));
    assert_eq!(sandbox.requests(CONVERSATIONS), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_devices_make_one_exchange_count_and_one_answer() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let user = sandbox.teams().user(USER_ONE);
    user.set_devices(3);
    let exchange = user.conversation().say("Hello there, agent").await;
    assert!(exchange.text().contains("Hello User One!"), "{}", exchange.text());
    let steps = exchange.sign_in.unwrap().steps;
    assert!(steps.iter().all(|step| step.posted.status == 200), "{steps:?}");
    assert_eq!(sandbox.requests(RESPONSES), 1, "three devices, one answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_consent_the_card_stays_and_the_code_of_its_page_completes() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let user = sandbox.teams().user(USER_ONE);
    user.set_silent_sign_in(false);
    let chat = user.conversation();
    let exchange = chat.say("Hello there, agent").await;
    let sign_in = exchange.sign_in.unwrap();
    assert_ne!(sign_in.stage, Stage::Completed);
    assert_eq!(sandbox.requests(RESPONSES), 0, "nothing is done before the sign-in");
    let exchange = chat.consent().await.expect("a card with a link");
    assert!(exchange.posted.is_success(), "{exchange:?}");
    assert!(exchange.text().contains("Hello User One!"), "{}", exchange.text());
    assert_eq!(sandbox.requests(RESPONSES), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_is_said_and_the_next_message_starts_over() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let user = sandbox.teams().user(USER_ONE);
    user.set_silent_sign_in(false);
    let chat = user.conversation();
    chat.say("Hello there, agent").await;
    let cancelled = chat.cancel().await;
    assert!(cancelled.posted.is_success() && cancelled.text().contains("cancelled"), "{cancelled:?}");
    assert_eq!(sandbox.requests(RESPONSES), 0);
    user.set_silent_sign_in(true);
    let exchange = chat.say("Are you there?").await;
    assert!(exchange.text().contains("Hello User One!"), "{}", exchange.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_asks_again() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let _broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let chat = support::chat(&sandbox);
    chat.say("Hello there, agent").await;
    assert!(chat.say("Sign out").await.text().contains("signed out"));
    assert!(chat.say("Are you there?").await.answered);
    assert_eq!(sandbox.requests(EXCHANGE), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_service_that_fails_is_an_apology() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let mut broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    sandbox.fault(Fault::on("/tokenservice/**").status(503));
    let chat = support::chat(&sandbox);
    let exchange = chat.say("Hello there, agent").await;
    assert!(exchange.text().starts_with("Sorry"), "{}", exchange.text());
    assert_eq!(sandbox.requests(RESPONSES), 0);
    sandbox.clear_faults();
    assert!(chat.say("Are you there?").await.text().contains("Hello User One!"));
    assert!(broker.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_the_name() {
    let output = run(&[("PORT", "0".to_owned())], &["--sso", "--say", "Hello there, agent"], None).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("Hello User One!"), "{}", text(&output.stdout));
}
