//! A bot without any secret of its own: a managed identity of the host, as the bot itself or as what its registration
//! trusts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use m365_sandbox::{
    Fault, Sandbox,
    constants::{AUTH_APP_ID, BOT_APP_ID, HOME_TENANT, MANAGED_IDENTITY_APP_ID, USER_ONE},
};
use support::{Broker, TOKENS, chat, run, settings, text};

const IDENTITY: &str = "GET /metadata/identity/oauth2/token";

/// What tokens of the identity were asked for.
fn resources(sandbox: &Sandbox, client_id: &str) -> Vec<String> {
    let log = sandbox.log(IDENTITY);
    // The first question is whether anybody is there.
    assert!(log[0].header("metadata").is_none() && log[0].parameter("resource").is_none(), "{:?}", log[0]);
    log[1..]
        .iter()
        .map(|request| {
            assert_eq!((request.status, request.parameter("client_id")), (200, Some(client_id)));
            request.parameter("resource").unwrap().to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_is_a_managed_identity() {
    let sandbox = Sandbox::builder().bot_as_managed_identity().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &[]).await;
    assert!(
        broker.log().contains("note: the bot is the managed identity of BOT_APP_ID, from IMDS"),
        "{}",
        broker.log()
    );
    let chat = chat(&sandbox);
    assert!(chat.say("My name is Ada.").await.answered, "{}", broker.log());
    assert!(chat.say("What is my name?").await.text().contains("Ada"));
    assert_eq!(resources(&sandbox, BOT_APP_ID), ["https://api.botframework.com", "https://ai.azure.com"]);
    assert_eq!(sandbox.requests(TOKENS), 0, "Entra is not asked: there is no registration");
    assert!(!broker.log().contains("eyJ"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_sign_in_to_a_registration_that_trusts_the_bot() {
    let sandbox = Sandbox::builder().bot_as_managed_identity().start().await.unwrap();
    let broker = Broker::serve(&sandbox, &[], &["--sso"]).await;
    let exchange = chat(&sandbox).say("Hello there, agent").await;
    assert!(exchange.text().contains("Hello User One!"), "{}\n{}", exchange.text(), broker.log());
    let exchanges = sandbox.log("POST /entra/{tenant}/oauth2/v2.0/token");
    let [on_behalf_of] = &exchanges[..] else { panic!("{exchanges:?}") };
    assert_eq!((on_behalf_of.status, on_behalf_of.field("client_id")), (200, Some(AUTH_APP_ID)));
    assert!(on_behalf_of.path.contains(HOME_TENANT) && on_behalf_of.field("client_secret").is_none());
    assert_eq!(on_behalf_of.field("requested_token_use"), Some("on_behalf_of"));
    assert!(resources(&sandbox, BOT_APP_ID).contains(&"api://AzureADTokenExchange".to_owned()));
    assert_eq!(USER_ONE.tenant, HOME_TENANT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_trusts_a_managed_identity() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let metadata = sandbox.base_url();
    let changes = [
        ("BOT_APP_PASSWORD", ""),
        ("AZURE_CLIENT_ID", MANAGED_IDENTITY_APP_ID),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str()),
    ];
    let broker = Broker::serve(&sandbox, &changes, &["--sso"]).await;
    let exchange = chat(&sandbox).say("Hello there, agent").await;
    assert!(exchange.text().contains("Hello User One!"), "{}\n{}", exchange.text(), broker.log());
    let tokens = sandbox.log(TOKENS);
    assert_eq!(tokens.len(), 3, "for the connector, for Foundry, for the user");
    for request in &tokens {
        assert_eq!((request.status, request.field("client_id")), (200, Some(BOT_APP_ID)));
        assert!(request.field("client_secret").is_none() && request.field("client_assertion").is_some());
    }
    let asked = resources(&sandbox, MANAGED_IDENTITY_APP_ID);
    assert_eq!(asked, ["api://AzureADTokenExchange"], "one token, cached, is the assertion of all");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_source_of_an_identity_the_start_says_why_and_what_to_do() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let start = async |changes: &[(&'static str, &str)]| {
        let output = run(&settings(&sandbox, changes), &["--serve"], None).await;
        (output.status.code(), text(&output.stderr))
    };
    let metadata = sandbox.base_url();
    let here = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.as_str());
    // Nobody listens there: a machine outside Azure.
    let absent = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9");
    let none = ("BOT_APP_PASSWORD", "");
    for (changes, expected) in [
        (vec![none, absent], "no identity endpoint answered"),
        (vec![none, absent], "outside Azure there is none: set one of the three"),
        // The host has identities, but not this one: the id is that of a registration.
        (vec![none, here], "assign this user-assigned identity to the host"),
        (vec![none, here, ("AZURE_CLIENT_ID", AUTH_APP_ID)], "the identity of AZURE_CLIENT_ID"),
        (vec![none, ("BOT_APP_ID", "")], "BOT_APP_ID must say which managed identity the bot is"),
    ] {
        let (code, said) = start(&changes).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("BOT_APP_PASSWORD") && said.contains(expected), "'{expected}' is not in {said}");
    }
    sandbox.fault(Fault::on(IDENTITY).answer(400, r#"{"error":"x","error_description":"marker eyJ"}"#));
    let (code, said) = start(&[none, here]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(!said.contains("marker"), "{said}");
}
