//! References of conversations: taken on install, renewed by messages, dropped on uninstall and by the answers of the
//! service that mean it.
#![cfg(feature = "turns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;
mod turns_support;

use std::{sync::Arc, time::Duration};

use botframework_activity::{Activity, InstallChange, References, SendError, VerifiedActivity};
use entra_auth::{MemoryStore, Sealer, Store, TenantPolicy, UserKey};
use http::Method;
use inbound_support::{activity, bearer, builder, good_token};
use serde_json::{Value, json};
use turns_support::{Channel, Mishap, authenticator, changed};

struct World {
    store: Arc<MemoryStore>,
    sealer: Arc<Sealer>,
}

impl World {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::default()), sealer: Arc::new(Sealer::ephemeral()) }
    }

    fn references(&self) -> References {
        self.under(TenantPolicy::Any)
    }

    fn under(&self, tenants: TenantPolicy) -> References {
        let policy = builder(tenants).build().unwrap().policy().clone();
        References::new(Arc::clone(&self.store) as Arc<dyn Store>, Arc::clone(&self.sealer), policy)
    }
}

async fn said(change: Value) -> VerifiedActivity {
    changed("a:1", "in-1", "hello", change).await
}

fn user_of(activity: &VerifiedActivity) -> UserKey {
    activity.user_key().unwrap()
}

#[tokio::test]
async fn what_activities_say_about_the_installation() {
    let bot = activity()["recipient"]["id"].clone();
    let user = activity()["from"]["id"].clone();
    for (change, expected) in [
        (json!({"type": "installationUpdate", "action": "add"}), InstallChange::Installed),
        (json!({"type": "installationUpdate", "action": "remove"}), InstallChange::Uninstalled),
        (json!({"type": "installationUpdate", "action": "add-upgrade"}), InstallChange::None),
        (json!({"type": "installationUpdate", "action": "remove-upgrade"}), InstallChange::None),
        (json!({"type": "conversationUpdate", "membersAdded": [{"id": bot}]}), InstallChange::Installed),
        (json!({"type": "conversationUpdate", "membersAdded": [{"id": user}]}), InstallChange::None),
        (json!({"type": "conversationUpdate", "membersRemoved": [{"id": bot}]}), InstallChange::Uninstalled),
        (json!({"type": "conversationUpdate", "membersRemoved": [{"id": user}]}), InstallChange::None),
        (json!({"type": "message"}), InstallChange::None),
    ] {
        let world = World::new();
        let references = world.references();
        let conversation = said(json!({})).await.conversation_key();
        references.note(&said(json!({})).await).await.unwrap();
        let activity = said(change.clone()).await;
        assert_eq!(references.note(&activity).await.unwrap(), expected, "{change}");
        let kept = references.of_conversation(&conversation).await.unwrap();
        assert_eq!(kept.is_some(), expected != InstallChange::Uninstalled, "{change}");
        assert_eq!(references.of_user(&user_of(&activity)).await.unwrap().is_some(), kept.is_some(), "{change}");
    }
}

#[tokio::test]
async fn a_stored_reference_reaches_the_conversation() {
    let world = World::new();
    let incoming = said(json!({})).await;
    world.references().note(&incoming).await.unwrap();
    // Another process, later.
    let place = world.references().of_user(&user_of(&incoming)).await.unwrap().unwrap();
    let channel = Channel::new();
    let message = Activity::message("ready").addressed_to(place.reference());
    channel.connector().send(place.service_url(), &message).await.unwrap();
    let calls = channel.calls();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].path.ends_with("/v3/conversations/a%3A1/activities"), "{}", calls[0].path);
    assert_eq!(calls[0].body["recipient"]["id"], activity()["from"]["id"]);
    assert_eq!(calls[0].body["from"]["id"], activity()["recipient"]["id"]);
}

#[tokio::test]
async fn groups_are_nobodys_personal_chat() {
    let world = World::new();
    for kind in ["groupChat", "channel"] {
        let mut conversation = activity()["conversation"].clone();
        conversation["id"] = "19:g".into();
        conversation["conversationType"] = kind.into();
        conversation["isGroup"] = true.into();
        let said = said(json!({"conversation": conversation})).await;
        world.references().note(&said).await.unwrap();
        assert!(world.references().of_conversation(&said.conversation_key()).await.unwrap().is_some(), "{kind}");
        assert!(world.references().of_user(&user_of(&said)).await.unwrap().is_none(), "{kind}");
    }
}

async fn failure(status: u16, code: &'static str) -> SendError {
    #[derive(Debug)]
    struct Refusing(u16, &'static str);
    #[async_trait::async_trait]
    impl entra_auth::HttpTransport for Refusing {
        async fn send(
            &self,
            _: http::Request<entra_auth::Body>,
        ) -> Result<http::Response<entra_auth::Body>, entra_auth::TransportError> {
            let body = json!({"error": {"code": self.1}}).to_string();
            Ok(http::Response::builder().status(self.0).body(entra_auth::Body::from(body)).unwrap())
        }
    }
    let connector = botframework_activity::ConnectorClient::builder(
        Arc::new(Refusing(status, code)),
        Arc::new(entra_auth::StaticCredential::new("t").unwrap()),
    )
    .retry(entra_auth::RetryPolicy::never())
    .build()
    .unwrap();
    let incoming = said(json!({})).await;
    connector.send(incoming.service_url(), &Activity::message("x").reply_to(&incoming)).await.unwrap_err()
}

#[tokio::test]
async fn only_failures_that_mean_it_drop_a_reference() {
    for (status, code, dropped) in [
        (403, "BotNotInConversationRoster", true),
        (404, "BotNotInConversationRoster", true),
        (403, "ForbiddenOperationException", true),
        (403, "ConversationBlockedByUser", true),
        (403, "BotDisabledByAdmin", true),
        (404, "ConversationNotFound", true),
        (403, "NotEnoughPermissions", false),
        (403, "InvalidBotApiHost", false),
        (401, "BotNotRegistered", false),
        (429, "Throttled", false),
        (500, "ServiceError", false),
        (413, "MessageSizeTooBig", false),
    ] {
        let world = World::new();
        let references = world.references();
        let incoming = said(json!({})).await;
        references.note(&incoming).await.unwrap();
        let place = references.of_conversation(&incoming.conversation_key()).await.unwrap().unwrap();
        let error = failure(status, code).await;
        assert_eq!(references.after_failure(&place, &error).await.unwrap(), dropped, "{status} {code}");
        let kept = references.of_user(&user_of(&incoming)).await.unwrap();
        assert_eq!(kept.is_none(), dropped, "{status} {code}");
    }
}

#[tokio::test]
async fn references_are_judged_again_and_end() {
    let world = World::new();
    let incoming = said(json!({})).await;
    world.references().note(&incoming).await.unwrap();
    let nobody = TenantPolicy::Single("99999999-9999-4999-8999-999999999999".parse().unwrap());
    assert!(world.under(nobody).of_conversation(&incoming.conversation_key()).await.unwrap().is_none());
    let other_key = World { store: Arc::clone(&world.store), sealer: Arc::new(Sealer::ephemeral()) };
    assert!(other_key.references().of_conversation(&incoming.conversation_key()).await.unwrap().is_none());

    let short = world.references().lifetime(Duration::from_millis(30));
    short.note(&incoming).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(short.of_conversation(&incoming.conversation_key()).await.unwrap().is_none());
}

#[tokio::test]
async fn other_bots_and_users_have_their_own() {
    let world = World::new();
    let one = said(json!({})).await;
    let mut from = activity()["from"].clone();
    from["aadObjectId"] = "77777777-7777-4777-8777-777777777777".into();
    let other = changed("a:2", "in-2", "hi", json!({"from": from})).await;
    world.references().note(&one).await.unwrap();
    assert!(world.references().of_user(&user_of(&other)).await.unwrap().is_none());
    world.references().note(&other).await.unwrap();
    let place = world.references().of_user(&user_of(&other)).await.unwrap().unwrap();
    assert_eq!(place.conversation_id(), "a:2");
    world.references().forget(&place).await.unwrap();
    assert!(world.references().of_user(&user_of(&one)).await.unwrap().is_some());
    // What the suites share is used here too.
    let _ = (authenticator(), bearer(&good_token(json!({}))), Mishap::NoId, Method::POST);
}
