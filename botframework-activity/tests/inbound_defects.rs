//! Defects that other libraries had, each turned into a test.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use botframework_activity::{
    ChannelAuthenticator, ChannelCloud, ChannelKeys, InboundErrorKind, RecordErrorKind, ServiceUrl, VerifiedActivity,
    VerifiedReference,
};
use entra_auth::{
    Body, HttpTransport, Key, KeyError, KeyLookup, KeySource, Namespace, Sealer, SigningKey, StaticKeys, TenantPolicy,
    TokenErrorKind, TransportError, TransportErrorKind,
};
use inbound_support::{
    APP, FOREIGN, HOME, SERVICE_URL, USER, activity, bearer, builder, claims, clock, good_token, header, jwks, key,
    token,
};
use proptest::prelude::*;
use serde_json::{Value, json};

async fn verified(change: Value) -> VerifiedActivity {
    let mut body = activity();
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    let authenticator = builder(TenantPolicy::Any).build().unwrap();
    let token = authenticator.authenticate(&bearer(&good_token(json!({})))).await.unwrap();
    token.open(body.to_string().as_bytes()).unwrap()
}

/// Counts what is asked, and can be given other keys.
#[derive(Debug)]
struct Rotating {
    keys: Mutex<StaticKeys>,
    asked: AtomicU64,
    revision: AtomicU64,
}

impl Rotating {
    fn publish(&self, kids: &[&str]) {
        *self.keys.lock().unwrap() = StaticKeys::from_jwks(&jwks(kids)).unwrap();
        self.revision.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl KeySource for Rotating {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let keys = self.keys.lock().unwrap().clone();
        keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }
}

fn rotating(kids: &[&str]) -> (Arc<Rotating>, ChannelAuthenticator) {
    let keys = StaticKeys::from_jwks(&jwks(kids)).unwrap();
    let keys = Arc::new(Rotating { keys: Mutex::new(keys), asked: AtomicU64::new(0), revision: AtomicU64::new(0) });
    let source = ChannelKeys::source(Arc::clone(&keys) as Arc<dyn KeySource>);
    let authenticator = ChannelAuthenticator::builder(APP.parse().unwrap(), TenantPolicy::Any, source);
    (keys, authenticator.clock(Arc::new(clock())).build().unwrap())
}

/// A key set that was loaded once and never again; an index error for a `kid` that is not there.
#[tokio::test]
async fn keys_come_and_go() {
    let (keys, authenticator) = rotating(&["webchat"]);
    let headers = bearer(&good_token(json!({})));
    let error = authenticator.authenticate(&headers).await.unwrap_err();
    assert_eq!(error.kind(), InboundErrorKind::Token(TokenErrorKind::UnknownKey));
    keys.publish(&["webchat", "channel"]);
    assert_eq!(authenticator.authenticate(&headers).await.unwrap().key_id(), "channel");
    keys.publish(&["webchat"]);
    assert!(authenticator.authenticate(&headers).await.is_err(), "a key that is gone verifies nothing");
}

/// Serves the channel's metadata and keys, and counts.
#[derive(Debug, Default)]
struct Metadata {
    down: AtomicBool,
    served: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpTransport for Metadata {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(TransportErrorKind::NotSent.into());
        }
        let url = request.uri().to_string();
        let body = match request.uri().path() {
            "/v1/.well-known/openidconfiguration" => {
                let keys = url.replace("openidconfiguration", "keys");
                json!({ "issuer": "https://api.botframework.com", "jwks_uri": keys,
                    "id_token_signing_alg_values_supported": ["RS256"] })
                .to_string()
                .into_bytes()
            }
            _ => jwks(&["channel", "bare"]),
        };
        self.served.lock().unwrap().push(url);
        Ok(http::Response::new(Body::from(body)))
    }
}

#[tokio::test(start_paused = true)]
async fn keys_come_from_the_metadata_of_the_cloud() {
    for (metadata_url, host) in
        [(None, "https://login.botframework.com"), (Some("http://127.0.0.1:9"), "http://127.0.0.1:9")]
    {
        let transport = Arc::new(Metadata::default());
        let keys = ChannelKeys::fetched(Arc::clone(&transport) as Arc<dyn HttpTransport>);
        let mut builder = ChannelAuthenticator::builder(APP.parse().unwrap(), TenantPolicy::Any, keys);
        if let Some(base) = metadata_url {
            builder = builder.metadata_url(format!("{base}/v1/.well-known/openidconfiguration").parse().unwrap());
        }
        let authenticator = builder.clock(Arc::new(clock())).build().unwrap();
        assert!(transport.served.lock().unwrap().is_empty(), "nothing is fetched before it is needed");

        transport.down.store(true, Ordering::Relaxed);
        let error = authenticator.authenticate(&bearer(&good_token(json!({})))).await.unwrap_err();
        assert_eq!(error.kind(), InboundErrorKind::Token(TokenErrorKind::KeysUnavailable));
        assert_eq!((error.status().as_u16(), error.www_authenticate(), error.is_retryable()), (503, None, true));

        transport.down.store(false, Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        let token = authenticator.authenticate(&bearer(&good_token(json!({})))).await.unwrap();
        assert!(token.open(activity().to_string().as_bytes()).is_ok());
        assert!(authenticator.authenticate(&bearer(&good_token(json!({})))).await.is_ok());
        let path = format!("{host}/v1/.well-known/");
        assert_eq!(
            *transport.served.lock().unwrap(),
            [format!("{path}openidconfiguration"), format!("{path}keys")],
            "fetched once"
        );
    }
}

/// A process-wide list of issuers that grew with the unverified `tid` of every request.
#[tokio::test]
async fn a_thousand_tenants_change_nothing() {
    let (keys, authenticator) = rotating(&["channel"]);
    for n in 0..1000 {
        let tenant = format!("dddddddd-0000-4000-8000-{n:012x}");
        for iss in
            [format!("https://sts.windows.net/{tenant}/"), format!("https://login.microsoftonline.com/{tenant}/v2.0")]
        {
            let change = json!({ "iss": iss, "tid": tenant, "appid": APP, "ver": "1.0" });
            let error = authenticator.authenticate(&bearer(&good_token(change))).await.unwrap_err();
            assert_eq!(error.kind(), InboundErrorKind::Token(TokenErrorKind::IssuerMismatch));
            if n > 20 {
                break; // signing is the slow part
            }
        }
    }
    assert_eq!(keys.asked.load(Ordering::Relaxed), 0, "a token for somebody else causes no key to be fetched");
    assert!(authenticator.authenticate(&bearer(&good_token(json!({})))).await.is_ok());
}

/// A body was read and measured before the token was looked at.
#[tokio::test]
async fn the_body_needs_a_token() {
    let authenticator = builder(TenantPolicy::Any).build().unwrap();
    let mut headers = bearer("no.token.here");
    headers.insert("content-length", "99999999".parse().unwrap());
    headers.insert("content-type", "image/png".parse().unwrap());
    let error = authenticator.authenticate(&headers).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 401);
    assert_eq!(error.www_authenticate().unwrap(), "Bearer error=\"invalid_token\"");
}

/// The sender chose `callerId`.
#[tokio::test]
async fn the_caller_id_is_ours() {
    let activity = verified(json!({ "callerId": "urn:botframework:aadappid:evil" })).await;
    assert_eq!(activity.caller_id.as_deref(), Some("urn:botframework:azure"));
}

#[tokio::test]
async fn what_is_known_about_a_verified_activity() {
    let activity = verified(json!({})).await;
    assert_eq!(activity.service_url().as_str(), SERVICE_URL.trim_end_matches('/'));
    assert_eq!(activity.tenant().unwrap().as_str(), HOME);
    assert_eq!(activity.app_id().as_str(), APP);
    assert_eq!(activity.cloud(), ChannelCloud::Public);
    assert_eq!(activity.channel(), "msteams");
    let user = activity.user_key().unwrap();
    assert_eq!((user.tenant().as_str(), user.object_id().as_str()), (HOME, USER));
    let reference = activity.reference();
    assert_eq!(reference.service_url(), activity.service_url());
    assert_eq!(reference.conversation_id(), "a:conversation");
    assert_eq!(reference.conversation_key(), activity.conversation_key());
    assert_eq!(reference.reference().bot, activity.recipient);
    let debug = format!("{activity:?} {reference:?} {:?}", activity.conversation_key());
    assert!(!debug.contains("hello") && !debug.contains(USER) && !debug.contains("Test User"), "{debug}");
}

#[tokio::test]
async fn users_of_another_tenant_have_no_key_here() {
    for from in [
        json!({ "id": "29:u", "aadObjectId": USER, "tenantId": FOREIGN }),
        json!({ "id": "29:u", "aadObjectId": "not a guid" }),
        json!({ "id": "29:u" }),
    ] {
        assert_eq!(verified(json!({ "from": from })).await.user_key(), None);
    }
    let own = json!({ "id": "29:u", "aadObjectId": USER, "tenantId": HOME.to_uppercase() });
    assert!(verified(json!({ "from": own })).await.user_key().is_some());
}

#[tokio::test]
async fn conversations_never_share_a_key() {
    let base = verified(json!({})).await.conversation_key();
    let thread = json!({ "id": "a:conversation;messageid=1", "tenantId": HOME });
    assert_ne!(verified(json!({ "conversation": thread })).await.conversation_key(), base);
    assert_ne!(verified(json!({ "channelId": "directline" })).await.conversation_key(), base);
    assert_eq!(verified(json!({ "channelId": "msteams:COPILOT" })).await.conversation_key(), base);
}

/// The Agents Playground: loopback without a slash, tenants and object ids that only look like GUIDs.
#[tokio::test]
async fn a_local_tool_with_odd_ids() {
    const URL: &str = "http://localhost:56150/_connector";
    const TENANT: &str = "00000000-0000-0000-0000-0000000000001";
    let authenticator = builder(TenantPolicy::Any).loopback_connectors().build().unwrap();
    let token = authenticator.authenticate(&bearer(&good_token(json!({ "serviceurl": URL })))).await.unwrap();
    let mut body = activity();
    body["serviceUrl"] = json!(URL);
    body["from"]["aadObjectId"] = json!("00000000-0000-0000-0000-0000000000020");
    body["conversation"]["tenantId"] = json!(TENANT);
    body["channelData"]["tenant"]["id"] = json!(TENANT);
    let activity = token.open(body.to_string().as_bytes()).unwrap();
    assert_eq!(activity.service_url().as_str(), URL);
    assert_eq!(activity.tenant(), None);
    assert_eq!(activity.user_key(), None);
    body["conversation"]["tenantId"] = json!("00000000-0000-0000-0000-0000000000002");
    let error = token.open(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind(), InboundErrorKind::TenantMismatch);
}

/// A refusal can be said politely, but the activity goes nowhere else.
#[tokio::test]
async fn a_foreign_tenant_can_be_answered_only() {
    let authenticator = builder(TenantPolicy::Single(FOREIGN.parse().unwrap())).build().unwrap();
    let token = authenticator.authenticate(&bearer(&good_token(json!({})))).await.unwrap();
    let error = token.open(activity().to_string().as_bytes()).unwrap_err();
    assert_eq!((error.status().as_u16(), error.kind()), (403, InboundErrorKind::TenantNotAllowed));
    let foreign = error.into_foreign().unwrap();
    assert_eq!(foreign.tenant().unwrap().as_str(), HOME);
    assert_eq!(foreign.reference().conversation_id(), "a:conversation");
    let mut body = activity();
    body["channelId"] = json!("webchat");
    assert!(token.open(body.to_string().as_bytes()).unwrap_err().into_foreign().is_none(), "only for that one rule");
}

fn place(name: &str) -> Key {
    Namespace::precious("references").partition([HOME]).key([name])
}

/// A service URL that was stored without proof, and a reference that somebody changed.
#[tokio::test]
async fn stored_references_are_proven_again() {
    let sealer = Sealer::ephemeral();
    let policy = builder(TenantPolicy::Single(HOME.parse().unwrap())).build().unwrap();
    let policy = policy.policy();
    let activity = verified(json!({})).await;
    let sealed = activity.reference().seal(&sealer, &place("a")).unwrap();
    let back = VerifiedReference::restore(&sealed, &sealer, &place("a"), policy).unwrap();
    assert_eq!(back.service_url(), activity.service_url());
    assert_eq!(back.reference(), activity.reference().reference());
    assert_eq!(back.tenant(), activity.tenant());

    let kind = |sealed: &[u8], sealer: &Sealer, at: &str| {
        VerifiedReference::restore(sealed, sealer, &place(at), policy).unwrap_err().kind()
    };
    let mut tampered = sealed.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(kind(&tampered, &sealer, "a"), RecordErrorKind::Seal);
    assert_eq!(kind(&sealed, &sealer, "b"), RecordErrorKind::Seal, "moved to another place");
    assert_eq!(kind(&sealed, &Sealer::ephemeral(), "a"), RecordErrorKind::Seal);
    assert_eq!(kind(b"{}", &sealer, "a"), RecordErrorKind::Seal);
    let other = sealer.seal(&place("a"), b"\x02{}").unwrap();
    assert_eq!(kind(&other, &sealer, "a"), RecordErrorKind::Unusable, "of a newer version");
}

#[tokio::test]
async fn a_record_is_judged_by_the_policy_of_today() {
    let sealer = Sealer::ephemeral();
    let activity = verified(json!({})).await;
    let sealed = activity.seal(&sealer, &place("a")).unwrap();
    let restore = |authenticator: ChannelAuthenticator| {
        VerifiedActivity::restore(&sealed, &sealer, &place("a"), authenticator.policy())
            .map(|activity| activity.to_json().unwrap())
            .map_err(|error| error.kind())
    };
    let any = || builder(TenantPolicy::Any);
    assert_eq!(restore(any().build().unwrap()), Ok(activity.to_json().unwrap()));
    let foreign = builder(TenantPolicy::Single(FOREIGN.parse().unwrap())).build().unwrap();
    assert_eq!(restore(foreign), Err(RecordErrorKind::NotAllowed));
    for cloud in [ChannelCloud::Dod, ChannelCloud::Gcc] {
        assert_eq!(restore(any().cloud(cloud).build().unwrap()), Err(RecordErrorKind::NotAllowed));
    }
    let keys = inbound_support::keys();
    let other_bot = ChannelAuthenticator::builder(USER.parse().unwrap(), TenantPolicy::Any, keys).build().unwrap();
    assert_eq!(restore(other_bot), Err(RecordErrorKind::NotAllowed));
}

#[tokio::test]
async fn a_host_taken_off_the_list_is_gone_from_records() {
    const URL: &str = "https://bridge.contoso.com/x";
    let sealer = Sealer::ephemeral();
    let with = builder(TenantPolicy::Any).connector_host("bridge.contoso.com").build().unwrap();
    let token = with.authenticate(&bearer(&good_token(json!({ "serviceurl": URL })))).await.unwrap();
    let mut body = activity();
    body["serviceUrl"] = json!(URL);
    let sealed = token.open(body.to_string().as_bytes()).unwrap().reference().seal(&sealer, &place("a")).unwrap();
    assert!(VerifiedReference::restore(&sealed, &sealer, &place("a"), with.policy()).is_ok());
    let without = builder(TenantPolicy::Any).build().unwrap();
    let error = VerifiedReference::restore(&sealed, &sealer, &place("a"), without.policy()).unwrap_err();
    assert_eq!(error.kind(), RecordErrorKind::NotAllowed);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let any = || builder(TenantPolicy::Any);
    assert!(any().metadata_url("http://metadata.example/".parse().unwrap()).build().is_err());
    assert!(any().metadata_url("http://127.0.0.1:1/".parse().unwrap()).build().is_ok());
    assert!(any().connector_host("*.trafficmanager.net").build().is_err());
    assert!(builder(TenantPolicy::allow([])).build().is_err());
    assert!(builder(TenantPolicy::Single("contoso.com".parse().unwrap())).build().is_err());
    assert!(ServiceUrl::configured(ChannelCloud::China).is_err());
}

#[test]
fn requests_of_other_tasks_do_not_disturb() {
    static_assertions::assert_impl_all!(ChannelAuthenticator: Send, Sync, Clone);
    static_assertions::assert_impl_all!(VerifiedActivity: Send, Sync, Clone);
    static_assertions::assert_not_impl_any!(VerifiedActivity: serde::Serialize, serde::de::DeserializeOwned, From<botframework_activity::Activity>);
    static_assertions::assert_not_impl_any!(ServiceUrl: std::str::FromStr, From<String>, serde::de::DeserializeOwned);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A claim of another type is never worth anything.
    #[test]
    fn every_claim_has_its_type(
        name in prop::sample::select(vec!["serviceurl", "nbf", "exp", "iss", "aud"]),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!(0.5), json!(-1), json!([]), json!({}), json!(["https://api.botframework.com"]),
            json!("x"), json!("1800000000"), json!(""), json!([[]]), json!(1e300),
        ]),
    ) {
        let mut claims = claims();
        claims.insert(name.to_owned(), value);
        let token = token(&header("channel"), &Value::Object(claims), |input| key("channel").sign(&RSA_PKCS1_SHA256, input));
        let authenticator = builder(TenantPolicy::Any).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(authenticator.authenticate(&bearer(&token))).is_err());
    }

    /// Whatever is sent as a body, the answer is an activity or a refusal.
    #[test]
    fn no_body_panics(text in "\\PC{0,60}", at in 0_usize..400) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let authenticator = builder(TenantPolicy::Any).build().unwrap();
        let token = runtime.block_on(authenticator.authenticate(&bearer(&good_token(json!({}))))).unwrap();
        let _ = token.open(text.as_bytes());
        let mut body = activity().to_string();
        let at = (0..=at.min(body.len())).rev().find(|at| body.is_char_boundary(*at)).unwrap();
        body.insert_str(at, &text);
        let _ = token.open(body.as_bytes());
        body.truncate(at);
        let _ = token.open(body.as_bytes());
    }
}
