//! A channel token that was validated a short time ago: what it costs, and when it is forgotten.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use botframework_activity::{
    ChannelAuthenticator, ChannelAuthenticatorBuilder, ChannelCloud, ChannelKeys, InboundErrorKind,
};
use entra_auth::{KeyError, KeyLookup, KeySource, SigningKey, StaticKeys, TenantPolicy, TokenErrorKind};
use futures_util::FutureExt as _;
use inbound_support::{APP, FOREIGN, HOME, NOW, USER, activity, bearer, clock, good_token, jwks};
use serde_json::json;
use tokio::time::advance;

/// Keys that can be withdrawn, and count how often they are asked for.
#[derive(Debug)]
struct Published {
    keys: Mutex<StaticKeys>,
    revision: AtomicU64,
    asked: AtomicU64,
}

impl Published {
    fn new(kids: &[&str]) -> Arc<Self> {
        let keys = Mutex::new(StaticKeys::from_jwks(&jwks(kids)).unwrap());
        Arc::new(Self { keys, revision: AtomicU64::new(0), asked: AtomicU64::new(0) })
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    fn authenticator(self: &Arc<Self>, tenants: TenantPolicy) -> ChannelAuthenticatorBuilder {
        let keys = ChannelKeys::source(Arc::clone(self) as Arc<dyn KeySource>);
        ChannelAuthenticator::builder(APP.parse().unwrap(), tenants, keys).clock(Arc::new(clock()))
    }
}

#[async_trait]
impl KeySource for Published {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let keys = self.keys.lock().unwrap().clone();
        keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }
}

async fn judge(authenticator: &ChannelAuthenticator, token: &str) -> Result<(), InboundErrorKind> {
    authenticator.authenticate(&bearer(token)).await.map(drop).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_token_seen_before_costs_no_allocation_and_no_key() {
    let keys = Published::new(&["channel"]);
    let authenticator = keys.authenticator(TenantPolicy::Any).build().unwrap();
    let headers = bearer(&good_token(json!({})));
    authenticator.authenticate(&headers).await.unwrap();
    let mut again = None;
    let counted = allocation_counter::measure(|| {
        again = Some(authenticator.authenticate(&headers).now_or_never().expect("ready at once"));
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert_eq!(keys.asked(), 1);
    assert!(again.unwrap().unwrap().open(activity().to_string().as_bytes()).is_ok());

    let forgets = keys.authenticator(TenantPolicy::Any).remember(0).build().unwrap();
    forgets.authenticate(&headers).await.unwrap();
    let counted = allocation_counter::measure(|| {
        forgets.authenticate(&headers).now_or_never().unwrap().unwrap();
    });
    assert!(counted.count_total > 0, "the counter counts");
    assert_eq!(keys.asked(), 3, "a signature each time");
}

// Ending 1
#[tokio::test(start_paused = true)]
async fn never_beyond_the_end_of_the_token() {
    let keys = Published::new(&["channel"]);
    let clock = clock();
    let authenticator = keys.authenticator(TenantPolicy::Any).clock(Arc::new(clock.clone())).build().unwrap();
    let token = good_token(json!({ "exp": NOW + 60 }));
    assert_eq!(judge(&authenticator, &token).await, Ok(()));
    clock.step(time::Duration::seconds(60 + 299));
    assert_eq!(judge(&authenticator, &token).await, Ok(()));
    clock.step(time::Duration::seconds(1));
    let expired = Err(InboundErrorKind::Token(TokenErrorKind::Expired));
    assert_eq!(judge(&authenticator, &token).await, expired, "exactly at exp and the leeway");
    clock.step(time::Duration::seconds(-60 - 300 - 361));
    let early = Err(InboundErrorKind::Token(TokenErrorKind::NotYetValid));
    assert_eq!(judge(&authenticator, &token).await, early, "a clock that jumps back");
    assert_eq!(keys.asked(), 1, "it was remembered all the time");
}

// Ending 2
#[tokio::test(start_paused = true)]
async fn never_beyond_the_removal_of_a_key() {
    let keys = Published::new(&["channel", "webchat"]);
    let authenticator = keys.authenticator(TenantPolicy::Any).build().unwrap();
    let token = good_token(json!({}));
    for _ in 0..3 {
        assert_eq!(judge(&authenticator, &token).await, Ok(()));
    }
    assert_eq!(keys.asked(), 1);
    *keys.keys.lock().unwrap() = StaticKeys::from_jwks(&jwks(&["webchat"])).unwrap();
    keys.revision.fetch_add(1, Ordering::SeqCst);
    assert_eq!(judge(&authenticator, &token).await, Err(InboundErrorKind::Token(TokenErrorKind::UnknownKey)));
}

// Ending 3
#[tokio::test(start_paused = true)]
async fn never_under_another_policy() {
    let keys = Published::new(&["channel"]);
    const URL: &str = "https://bridge.contoso.com/x";
    let with_host = keys.authenticator(TenantPolicy::Any).connector_host("bridge.contoso.com").build().unwrap();
    let token = good_token(json!({ "serviceurl": URL }));
    for _ in 0..2 {
        assert_eq!(judge(&with_host, &token).await, Ok(()));
        assert_eq!(judge(&with_host.clone(), &token).await, Ok(()));
    }
    assert_eq!(keys.asked(), 1, "clones share what is remembered");
    let without_host = keys.authenticator(TenantPolicy::Any).build().unwrap();
    let government = keys.authenticator(TenantPolicy::Any).cloud(ChannelCloud::GccHigh).build().unwrap();
    let source = ChannelKeys::source(Arc::clone(&keys) as Arc<dyn KeySource>);
    let other_bot = ChannelAuthenticator::builder(USER.parse().unwrap(), TenantPolicy::Any, source);
    let other_bot = other_bot.clock(Arc::new(clock())).build().unwrap();
    for (authenticator, expected) in [
        (without_host, InboundErrorKind::HostNotAllowed),
        (government, InboundErrorKind::Token(TokenErrorKind::IssuerMismatch)),
        (other_bot, InboundErrorKind::Token(TokenErrorKind::AudienceMismatch)),
    ] {
        for _ in 0..2 {
            assert_eq!(judge(&authenticator, &token).await, Err(expected));
            assert_eq!(judge(&with_host, &token).await, Ok(()));
        }
    }
}

/// Tenant, service URL and endorsement belong to the activity: they are judged each time.
#[tokio::test(start_paused = true)]
async fn every_activity_is_judged_by_itself() {
    let keys = Published::new(&["channel"]);
    let authenticator = keys.authenticator(TenantPolicy::Single(HOME.parse().unwrap())).build().unwrap();
    let headers = bearer(&good_token(json!({})));
    for (name, value, expected) in [
        ("text", json!("hello"), None),
        ("channelId", json!("webchat"), Some(InboundErrorKind::NotEndorsed)),
        ("serviceUrl", json!("https://smba.trafficmanager.net/emea/"), Some(InboundErrorKind::ServiceUrlMismatch)),
        ("conversation", json!({ "id": "c", "tenantId": FOREIGN }), Some(InboundErrorKind::TenantMismatch)),
        ("text", json!("hello again"), None),
    ] {
        let mut body = activity();
        body[name] = value;
        let token = authenticator.authenticate(&headers).await.unwrap();
        assert_eq!(token.open(body.to_string().as_bytes()).err().map(|error| error.kind()), expected, "{name}");
    }
    assert_eq!(keys.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn five_minutes_at_most_and_only_the_very_same_bytes() {
    let keys = Published::new(&["channel"]);
    let authenticator = keys.authenticator(TenantPolicy::Any).build().unwrap();
    let token = good_token(json!({}));
    for (seconds, asked) in [(0, 1), (299, 1), (1, 2), (299, 2), (1, 3)] {
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(judge(&authenticator, &token).await, Ok(()));
        assert_eq!(keys.asked(), asked);
    }
    for at in (0..token.len()).step_by(3).chain([token.len() - 1]) {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(judge(&authenticator, &String::from_utf8(forged).unwrap()).await.is_err(), "{at}");
    }
}

/// A refusal is no verdict to keep: neither for the token nor for its service URL.
#[tokio::test(start_paused = true)]
async fn what_was_refused_is_never_remembered() {
    let keys = Published::new(&["channel"]);
    let authenticator = keys.authenticator(TenantPolicy::Any).build().unwrap();
    let foreign_host = good_token(json!({ "serviceurl": "https://evil.trafficmanager.net/" }));
    for asked in 1..4 {
        assert_eq!(judge(&authenticator, &foreign_host).await, Err(InboundErrorKind::HostNotAllowed));
        assert_eq!(keys.asked(), asked);
    }
    for (change, expected) in [
        (json!({ "exp": NOW - 300 }), TokenErrorKind::Expired),
        (json!({ "aud": USER }), TokenErrorKind::AudienceMismatch),
        (json!({ "iss": "https://evil.example" }), TokenErrorKind::IssuerMismatch),
    ] {
        assert_eq!(judge(&authenticator, &good_token(change)).await, Err(InboundErrorKind::Token(expected)));
    }
    assert_eq!(keys.asked(), 3, "what can never be accepted costs no signature");
}
