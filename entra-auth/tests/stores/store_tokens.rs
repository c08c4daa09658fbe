//! The second level of the token cache: what processes share, what a sign-out reaches, and that its failures are
//! nobody's but the operator's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{
    ConfidentialClient, Error, ErrorKind, Key, MemoryStore, Partition, Put, Record, RetryPolicy, SealedStore, Sealer,
    Secret, SessionKey, Store, StoreError, StoreErrorKind, TokenCredential, TokenRequest, UserAssertion, When,
};
use serde_json::json;

use super::acquire_support::{self, CLIENT, TENANT, World, failure, success, world};

const UP: u8 = 0;
const DOWN: u8 = 1;
const SILENT: u8 = 2;
const DAMAGED: u8 = 3;

/// A store that fails on command.
#[derive(Debug, Default)]
struct Switch {
    inner: MemoryStore,
    mode: AtomicU8,
    calls: AtomicUsize,
}

impl Switch {
    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Epochs and tokens that lie in it.
    fn records(&self) -> String {
        let text = format!("{:?}", self.inner);
        text["MemoryStore { records: ".len()..text.find(',').unwrap()].to_owned()
    }

    async fn pass(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.mode.load(Ordering::SeqCst) {
            DOWN => Err(StoreErrorKind::Unavailable.into()),
            SILENT => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Switch {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.pass().await?;
        let mut record = self.inner.get(key).await?;
        if self.mode.load(Ordering::SeqCst) == DAMAGED {
            record.iter_mut().for_each(|record| record.value = Bytes::from_static(b"\x01\x01kdamaged"));
        }
        Ok(record)
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        self.pass().await?;
        self.inner.put(key, value, ttl, when).await
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        self.pass().await?;
        self.inner.remove(key, when).await
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        self.pass().await?;
        self.inner.remove_partition(partition).await
    }
}

/// One more process of the same application.
fn process<S: Store>(world: &World, store: S, sealer: &Sealer) -> ConfidentialClient {
    process_of(world, CLIENT, store, sealer)
}

fn process_of<S: Store>(world: &World, client_id: &str, store: S, sealer: &Sealer) -> ConfidentialClient {
    ConfidentialClient::builder(TENANT.parse().unwrap(), client_id.parse().unwrap(), Secret::new("s"))
        .authority(world.authority.clone())
        .clock(Arc::new(world.clock.clone()))
        .retry(RetryPolicy::never())
        .timeouts(Duration::from_secs(5), Duration::from_secs(10))
        .second_level(SealedStore::new(store, sealer.clone()))
        .build()
        .unwrap()
}

/// Answers with tokens that say which user and which exchange they are from.
async fn numbered(world: &World) {
    let count = AtomicUsize::new(0);
    world.answers(move |_, form| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let whose = form.get("assertion").map_or("app", |jwt| &jwt[jwt.len() - 8..]);
        success(&format!("{whose}.{number}"), &json!({"refresh_in": 1000, "refresh_token": "r"}))
    });
}

async fn assertion(world: &World, number: u8) -> UserAssertion {
    world.user_token(number, json!({})).await.assertion_for(&CLIENT.parse().unwrap(), &["api://app"]).unwrap()
}

fn graph() -> TokenRequest {
    TokenRequest::new("User.Read".parse().unwrap())
}

async fn ask(client: &ConfidentialClient, assertion: &UserAssertion) -> Result<String, Error> {
    client.on_behalf_of(assertion.clone()).get_token(&graph()).await.map(|token| token.expose().to_owned())
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn processes_share_a_token_and_its_point_of_refresh() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let (one, two) = (process(&world, store.clone(), &sealer), process(&world, store.clone(), &sealer));
    let user = assertion(&world, 1).await;
    let first = ask(&one, &user).await.unwrap();
    assert_eq!(ask(&two, &user).await.unwrap(), first);
    let started_later = process(&world, store.clone(), &sealer);
    let token = started_later.on_behalf_of(user.clone()).get_token(&graph()).await.unwrap();
    assert_eq!(token.expose(), first);
    assert_eq!(token.refresh_on().unwrap().unix_timestamp(), acquire_support::NOW + 1000, "as the issuer said");
    assert_eq!(world.requests().await, 1, "one exchange for three processes");

    // The order of scopes and their case make no other entry; another scope does.
    let same = TokenRequest::new("user.READ".parse().unwrap());
    assert_eq!(two.on_behalf_of(user.clone()).get_token(&same).await.unwrap().expose(), first);

    // Past the point of refresh, everyone serves the old token, and one of them fetches the next.
    world.clock.step(time::Duration::seconds(1001));
    for client in [&one, &two, &started_later] {
        assert_eq!(ask(client, &user).await.unwrap(), first);
        let start = Instant::now();
        while ask(client, &user).await.unwrap() == first {
            assert!(start.elapsed() < Duration::from_secs(20), "never refreshed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(world.requests().await, 2, "one refresh for three processes");
}

#[tokio::test]
async fn nobody_gets_a_token_of_someone_else() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let client = process(&world, store.clone(), &sealer);
    let other_client = process_of(&world, "22222222-2222-2222-2222-222222222223", store.clone(), &sealer);
    let (alice, bob) = (assertion(&world, 1).await, assertion(&world, 2).await);
    let alices = ask(&client, &alice).await.unwrap();
    assert_ne!(ask(&client, &bob).await.unwrap(), alices, "another user");
    assert_ne!(ask(&other_client, &alice).await.unwrap(), alices, "another application");
    let again = world.user_token(1, json!({"nonce": "other"})).await;
    let again = again.assertion_for(&CLIENT.parse().unwrap(), &["api://app"]).unwrap();
    assert_ne!(ask(&client, &again).await.unwrap(), alices, "another sign-in of the same user");
    let mail = TokenRequest::new("Mail.Read".parse().unwrap());
    assert_ne!(client.on_behalf_of(alice.clone()).get_token(&mail).await.unwrap().expose(), alices);
    assert_eq!(world.requests().await, 5);

    // A token that a resource refused is not taken from the second level either.
    let fresh = process(&world, store.clone(), &sealer);
    let refused = fresh.on_behalf_of(alice.clone()).get_token(&graph()).await.unwrap();
    assert_eq!(refused.expose(), alices);
    let next = fresh.on_behalf_of(alice).get_token(&graph().with_rejected(refused)).await.unwrap();
    assert_ne!(next.expose(), alices);

    // An application's own token stays in its process.
    let (before, app) = (store.calls(), TokenRequest::new("https://graph.microsoft.com/.default".parse().unwrap()));
    client.get_token(&app).await.unwrap();
    assert_eq!(store.calls(), before);
}

#[tokio::test]
async fn a_sign_out_reaches_every_process_within_a_minute() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let (one, two) = (process(&world, store.clone(), &sealer), process(&world, store.clone(), &sealer));
    let (alice, bob) = (assertion(&world, 1).await, assertion(&world, 2).await);
    let (alices, bobs) = (ask(&one, &alice).await.unwrap(), ask(&one, &bob).await.unwrap());
    assert_eq!((ask(&two, &alice).await.unwrap(), ask(&two, &bob).await.unwrap()), (alices.clone(), bobs.clone()));
    assert_eq!(store.records(), "2");

    one.forget_user(alice.user_key()).await.unwrap();
    assert_eq!(store.records(), "2", "bob's token, and that alice signed out");
    let started_later = process(&world, store.clone(), &sealer);
    pass(Duration::from_secs(60)).await;
    assert_ne!(ask(&two, &alice).await.unwrap(), alices, "this process has heard of it");
    let news = ask(&two, &alice).await.unwrap();
    assert_eq!(ask(&started_later, &alice).await.unwrap(), news, "what came after the sign-out is shared again");
    assert_eq!(ask(&one, &alice).await.unwrap(), news);
    for client in [&one, &two, &started_later] {
        assert_eq!(ask(client, &bob).await.unwrap(), bobs, "nobody else is touched");
    }
    assert_eq!(world.requests().await, 3);
}

#[tokio::test]
async fn what_was_on_its_way_during_a_sign_out_is_kept_nowhere() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    world.answers(|_, _| success("late", &json!({})).set_delay(Duration::from_millis(400)));
    let (one, two) = (process(&world, store.clone(), &sealer), process(&world, store.clone(), &sealer));
    let user = assertion(&world, 1).await;
    // The sign-out in this process, then in another one.
    for (round, signs_out) in [&one, &two].into_iter().enumerate() {
        let fetch = tokio::spawn({
            let (one, user) = (one.clone(), user.clone());
            async move { ask(&one, &user).await }
        });
        while world.requests().await == round {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        signs_out.forget_user(user.user_key()).await.unwrap();
        assert_eq!(fetch.await.unwrap().unwrap_err().kind(), ErrorKind::Reauthenticate);
        assert_eq!(store.records(), "1", "only that the user signed out");
    }
    numbered(&world).await;
    assert_ne!(ask(&one, &user).await.unwrap(), "late");
    assert_ne!(ask(&two, &user).await.unwrap(), "late");
}

#[tokio::test]
async fn a_process_that_writes_late_is_not_believed() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let one = process(&world, store.clone(), &sealer);
    let user = assertion(&world, 1).await;
    let old = ask(&one, &user).await.unwrap();
    // A store that keeps the tokens in spite of the removal, as if they had been written just after it.
    #[derive(Debug)]
    struct Sticky(Arc<Switch>);
    #[async_trait]
    impl Store for Sticky {
        async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
            self.0.get(key).await
        }
        async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
            self.0.put(key, value, ttl, when).await
        }
        async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
            self.0.remove(key, when).await
        }
        async fn remove_partition(&self, _: &Partition) -> Result<(), StoreError> {
            Ok(())
        }
    }
    process(&world, Sticky(store.clone()), &sealer).forget_user(user.user_key()).await.unwrap();
    assert_eq!(store.records(), "2", "the old token still lies there");
    assert_ne!(ask(&process(&world, store.clone(), &sealer), &user).await.unwrap(), old);
}

#[tokio::test]
async fn no_failure_of_the_store_fails_a_token_request() {
    for mode in [DOWN, SILENT, DAMAGED] {
        let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
        numbered(&world).await;
        let one = process(&world, store.clone(), &sealer);
        let user = assertion(&world, 1).await;
        let known = ask(&one, &user).await.unwrap();
        store.set(mode);
        let two = process(&world, store.clone(), &sealer);
        let start = Instant::now();
        let own = ask(&two, &user).await.unwrap();
        assert_ne!(own, known, "mode {mode}");
        for number in 2..10 {
            ask(&two, &assertion(&world, number).await).await.unwrap();
        }
        assert_eq!(ask(&two, &user).await.unwrap(), own, "its own cache works");
        assert_eq!(ask(&one, &user).await.unwrap(), known, "so does the other's");
        assert!(start.elapsed() < Duration::from_secs(10), "mode {mode}: one wait of 500 ms: {:?}", start.elapsed());
        pass(Duration::from_secs(61)).await;
        assert_eq!(ask(&one, &user).await.unwrap(), known, "a sign-out that cannot be asked for is none");

        if mode != DAMAGED {
            let (calls, before) = (store.calls(), world.requests().await);
            for number in 20..30 {
                ask(&two, &assertion(&world, number).await).await.unwrap();
            }
            assert!(store.calls() - calls <= 2, "mode {mode}: it is left alone for a while");
            assert_eq!(world.requests().await - before, 10);
        }
        store.set(UP);
        pass(Duration::from_secs(6)).await;
        let three = process(&world, store.clone(), &sealer);
        // What could not be opened was written anew.
        let shared = if mode == DAMAGED { own } else { known };
        assert_eq!(ask(&three, &user).await.unwrap(), shared, "mode {mode}: back, with what was shared before");
    }
}

#[tokio::test]
async fn a_sign_out_that_is_not_shared_says_so_and_holds_here() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let client = process(&world, store.clone(), &sealer);
    let user = assertion(&world, 1).await;
    let old = ask(&client, &user).await.unwrap();
    store.set(DOWN);
    let error = client.forget_user(user.user_key()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Transient, true));
    assert_ne!(ask(&client, &user).await.unwrap(), old, "forgotten in this process");
    store.set(UP);
    client.forget_user(user.user_key()).await.unwrap();
    assert_ne!(ask(&process(&world, store.clone(), &sealer), &user).await.unwrap(), old);
}

#[tokio::test]
async fn another_sealing_key_is_a_miss() {
    let (world, store) = (world().await, Arc::new(Switch::default()));
    numbered(&world).await;
    let user = assertion(&world, 1).await;
    let old = ask(&process(&world, store.clone(), &Sealer::ephemeral()), &user).await.unwrap();
    let stranger = process(&world, store.clone(), &Sealer::ephemeral());
    let own = ask(&stranger, &user).await.unwrap();
    assert_ne!(own, old);
    assert_eq!(ask(&stranger, &user).await.unwrap(), own);
}

#[tokio::test]
async fn a_user_whom_entra_refuses_loses_the_shared_token() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let client = process(&world, store.clone(), &sealer);
    let user = assertion(&world, 1).await;
    let token = client.on_behalf_of(user.clone()).get_token(&graph()).await.unwrap();
    world.answers(|_, _| failure("interaction_required", 50076));
    let refused = client.on_behalf_of(user.clone()).get_token(&graph().with_rejected(token)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InteractionRequired);
    assert_eq!(store.records(), "0");
    let error = ask(&process(&world, store.clone(), &sealer), &user).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionRequired, "no other process serves it");
}

#[tokio::test]
async fn a_sign_out_elsewhere_ends_long_running_processes_and_a_new_start_works() {
    let (world, store, sealer) = (world().await, Arc::new(Switch::default()), Sealer::ephemeral());
    numbered(&world).await;
    let (one, two) = (process(&world, store.clone(), &sealer), process(&world, store.clone(), &sealer));
    let (user, session) = (assertion(&world, 1).await, SessionKey::new("key"));
    let scopes = "User.Read".parse().unwrap();
    let running = two.start_long_running(&user, &session, &scopes).await.unwrap();
    running.get_token(&graph()).await.unwrap();
    one.forget_user(user.user_key()).await.unwrap();
    pass(Duration::from_secs(61)).await;
    assert_eq!(running.get_token(&graph()).await.unwrap_err().kind(), ErrorKind::Reauthenticate);

    // Who comes back at once, even to a process that has not heard of the sign-out, is let in and stays.
    one.forget_user(user.user_key()).await.unwrap();
    let running = two.start_long_running(&user, &session, &scopes).await.unwrap();
    for _ in 0..3 {
        running.get_token(&graph()).await.unwrap();
        pass(Duration::from_secs(61)).await;
    }
}

#[cfg(all(feature = "redis", feature = "conformance"))]
#[tokio::test(flavor = "multi_thread")]
async fn processes_share_through_redis_and_live_through_its_loss() {
    let Some(mut server) = super::redis_server::RedisServer::start(&[]) else { return };
    let (world, sealer) = (world().await, Sealer::ephemeral());
    numbered(&world).await;
    let (one, two) = (process(&world, server.store(), &sealer), process(&world, server.store(), &sealer));
    let (alice, bob) = (assertion(&world, 1).await, assertion(&world, 2).await);
    let token = ask(&one, &alice).await.unwrap();
    assert_eq!(ask(&two, &alice).await.unwrap(), token);
    one.forget_user(alice.user_key()).await.unwrap();
    assert_ne!(ask(&process(&world, server.store(), &sealer), &alice).await.unwrap(), token);

    server.kill();
    assert_eq!(ask(&two, &alice).await.unwrap(), token, "two has not heard of it yet, and cannot");
    let bobs = ask(&two, &bob).await.unwrap();
    assert!(one.forget_user(alice.user_key()).await.is_err());
    server.run();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let carol = assertion(&world, 3).await;
    let carols = ask(&two, &carol).await.unwrap();
    assert_eq!(ask(&process(&world, server.store(), &sealer), &carol).await.unwrap(), carols, "shared again");
    assert_eq!(ask(&two, &bob).await.unwrap(), bobs);
}
