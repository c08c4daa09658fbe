//! On-Behalf-Of, signing out, words, settings, and what is never in a log.

use botframework_activity::TurnId;
use entra_auth::{TokenCredential, TokenRequest};
use serde_json::json;

use super::world::{JIRA, SSO, captured_log, world, world_with};
use crate::{
    Access, Connection, SignInErrorKind, SignInNoticeKind,
    sign_in::{SignInError, tokens::Asking},
    test_support::{TENANT, verified},
};

fn asking(id: &str) -> Asking<'_> {
    Asking { id, may_be_parked: false }
}

#[tokio::test]
async fn one_path_from_the_service_to_a_token_on_behalf_of_the_user() {
    let world = world().await;
    world.knows_ada();
    let activity = verified(&world.service_url(), &world.message("hello"));
    let id = TurnId::of(&activity).unwrap();
    let token = world.sign_in.token_for(&activity, asking(id.as_str()), SSO).await.unwrap().ready().unwrap();
    assert_eq!(token.user(), &activity.user_key().unwrap());
    let validated = token.user_token().unwrap();
    validated.require_scope("access_as_user").unwrap();
    let credential = token.on_behalf_of().unwrap();
    let request = TokenRequest::new("https://graph.microsoft.com/User.Read".parse().unwrap());
    let graph = credential.get_token(&request).await.unwrap();
    assert_eq!(graph.expose(), "marker-graph-token");
    let script = world.script();
    let (method, path, _, body) = script.log.last().unwrap();
    assert_eq!((&**method, &**path), ("POST", &*format!("/entra/{TENANT}/oauth2/v2.0/token")));
    let body = body.as_str().unwrap();
    assert!(body.contains("requested_token_use=on_behalf_of"));
    assert!(body.contains(&format!("assertion={}", world_token(&script))), "{body}");
}

fn world_token(script: &super::world::Script) -> &str {
    &script.signed_in[&("29:ada".to_owned(), SSO.to_owned())]
}

#[tokio::test]
async fn opaque_tokens_are_not_exchanged() {
    let world = world().await;
    world.script().signed_in.insert(("29:ada".into(), JIRA.into()), "opaque".into());
    let activity = verified(&world.service_url(), &world.message("hello"));
    let token = world.sign_in.token_for(&activity, asking("t"), JIRA).await.unwrap().ready().unwrap();
    assert!(token.user_token().is_none());
    assert_eq!(token.access_token().expose(), "opaque");
    assert_eq!(token.on_behalf_of().unwrap_err().kind(), SignInErrorKind::NotOnBehalf);
    let error = world.sign_in.token_for(&activity, asking("t"), "other").await.unwrap_err();
    assert_eq!(error.kind(), SignInErrorKind::UnknownConnection);
}

#[tokio::test]
async fn signing_out_forgets_token_and_message() {
    let world = world().await;
    world.says("hello").await;
    let activity = verified(&world.service_url(), &world.message("sign out"));
    world.sign_in.sign_out(&activity, Some(SSO)).await.unwrap();
    assert_eq!(world.exchanges("g").await.status, 200);
    assert!(!world.texts().contains(&"answer to hello".to_owned()), "the message is gone");
    world.sign_in.sign_out(&activity, None).await.unwrap();
    {
        let script = world.script();
        let queries: Vec<_> = script
            .log
            .iter()
            .filter(|(_, path, ..)| path.ends_with("SignOut"))
            .map(|(.., query, _)| query.clone())
            .collect();
        assert_eq!(queries.len(), 2);
        assert_eq!(queries[0]["connectionName"], SSO);
        assert!(!queries[1].contains_key("connectionName"));
    }
    let error = world.sign_in.sign_out(&activity, Some("other")).await.unwrap_err();
    assert_eq!(error.kind(), SignInErrorKind::UnknownConnection);
}

#[tokio::test]
async fn the_host_speaks() {
    let world = world_with(|builder| {
        builder
            .words(|notice| match notice.kind {
                SignInNoticeKind::Card => Some(format!("{} / {}", notice.connection, notice.locale.unwrap_or("-"))),
                SignInNoticeKind::CardButton => Some("Anmelden".to_owned()),
                _ => None,
            })
            .cancel_words(["Abbrechen"])
    })
    .await;
    let mut activity = world.message("hallo");
    activity["locale"] = "de-DE".into();
    world.receives(activity).await;
    let card = &world.cards()[0];
    assert_eq!(card["text"], "sso / de-DE");
    assert_eq!(card["buttons"][0]["title"], "Anmelden");
    world.says("abbrechen").await;
    assert!(world.texts().is_empty(), "nothing is said without words");
    assert_eq!(world.exchanges("g").await.status, 400, "it was cancelled");
}

/// Copilot calls its private conversations group chats, and puts the product into an entity.
#[tokio::test]
async fn copilot_is_signed_in_as_teams() {
    let world = world().await;
    let mut activity = world.message("hello");
    activity["conversation"]["conversationType"] = "groupChat".into();
    activity["conversation"]["isGroup"] = true.into();
    activity["entities"] = json!([{"type": "ProductInfo", "id": "COPILOT"}]);
    world.receives(activity).await;
    assert_eq!(world.cards().len(), 1);
    assert_eq!(world.exchanges("g").await.status, 200);
    assert_eq!(world.texts(), ["answer to hello"]);
}

#[tokio::test]
async fn a_connection_can_be_named_once() {
    let tokens = |builder: crate::SignInBuilder| builder.connection(Connection::opaque(SSO));
    let world = world().await;
    let builder = || {
        crate::SignIn::builder(
            world.sign_in.0.tokens.clone(),
            world.sign_in.0.connector.clone(),
            crate::test_support::policy(),
        )
    };
    assert!(builder().build().is_err());
    assert!(builder().connection(Connection::opaque("")).build().is_err());
    assert!(tokens(tokens(builder())).build().is_err());
    assert!(tokens(builder()).life(std::time::Duration::from_secs(1)).build().is_err());
    let unattached = tokens(builder()).build().unwrap();
    assert!(format!("{unattached:?}").contains("attached: false"));
}

/// No token, code, link, text, name or channel id of a user in any log, whatever happens: also not in what the other
/// tests of this process have logged so far.
#[tokio::test]
async fn logs_hold_nothing_of_the_user() {
    let world = world().await;
    world.says("marker-text").await;
    world.script().exchanges.push_back(super::world::consent_required());
    let _ = world.exchanges("marker-exchange").await;
    let _ = world.fails("marker-code").await;
    let _ = world.verifies("909090").await;
    let _ = world.verifies("marker-state").await;
    let foreign = super::world::token(&world.server.uri(), &json!({"oid": super::world::BOB}));
    world.script().issues = Some(foreign);
    let _ = world.exchanges("marker-exchange").await;
    world.script().issues = None;
    let _ = world.exchanges("marker-exchange").await;
    world.says("marker-text").await;
    let activity = verified(&world.service_url(), &world.message("marker-text"));
    world.sign_in.sign_out(&activity, None).await.unwrap();
    let unknown = world.sign_in.token_for(&activity, asking("t"), "other").await;
    assert!(matches!(unknown, Err(error) if error.kind() == SignInErrorKind::UnknownConnection));

    let log = captured_log();
    for expected in [
        "teams_sso.sign_in",
        "teams_sso.token_exchange",
        "sso.exchange",
        "sso.card.sent",
        "user_token.exchange",
        "subject_mismatch",
    ] {
        assert!(log.contains(expected), "{expected} is missing:\n{log}");
    }
    for secret in ["marker", "909090", "29:ada", "Ada", "eyJ", crate::test_support::ADA] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn access_is_what_it_says() {
    assert_eq!(Access::Ready(5).ready(), Some(5));
    assert_eq!(Access::<u8>::Parked.ready(), None);
    let error = SignInError::from(SignInErrorKind::Deadline);
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "the sign-in took too long");
}

static_assertions::assert_impl_all!(crate::SignIn: Send, Sync, Clone);
static_assertions::assert_impl_all!(crate::TokenServiceClient: Send, Sync, Clone);
