//! Callers beyond the channel: what is asked of whom, and what garbage costs.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use botframework_activity::{
    AgentCaller, CallerAuthenticator, CallerToken, ChannelCloud, InboundErrorKind, InboundRequest,
};
use entra_auth::{
    Body, HttpTransport, KeyError, KeyLookup, KeySource, SigningKey, StaticKeys, TenantPolicy, TokenErrorKind,
    TransportError,
};
use inbound_support::{APP, FOREIGN, HOME, NOW, activity, bearer, builder, clock, header, jwks, key, token};
use serde_json::{Value, json};

const AGENT: &str = "99999999-2222-3333-4444-555555555555";
const REPLY: &str = "https://agents.contoso.com/api/skills";

fn agent_token(change: &Value) -> String {
    let mut claims = json!({
        "iss": format!("https://login.microsoftonline.com/{HOME}/v2.0"), "tid": HOME, "aud": APP, "azp": AGENT,
        "ver": "2.0", "nbf": NOW - 60, "exp": NOW + 3540,
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    token(&header("entra"), &claims, |input| key("entra").sign(&RSA_PKCS1_SHA256, input))
}

fn body(change: &Value) -> Vec<u8> {
    let mut body = activity();
    body["serviceUrl"] = json!(REPLY);
    for (name, value) in change.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

/// Counts what is asked of it.
#[derive(Debug)]
struct Counting {
    keys: StaticKeys,
    asked: AtomicU64,
}

#[async_trait]
impl KeySource for Counting {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        0
    }
}

fn agents() -> (Arc<Counting>, CallerAuthenticator) {
    let keys = StaticKeys::from_jwks(&jwks(&["entra"])).unwrap();
    let keys = Arc::new(Counting { keys, asked: AtomicU64::new(0) });
    let channel = builder(TenantPolicy::Single(HOME.parse().unwrap())).build().unwrap();
    let authenticator = CallerAuthenticator::builder(channel)
        .agents([HOME.parse().unwrap()], [AgentCaller::new(AGENT.parse().unwrap()).reply_to(REPLY)])
        .keys(Arc::clone(&keys) as Arc<dyn KeySource>)
        .clock(Arc::new(clock()))
        .build()
        .unwrap();
    (keys, authenticator)
}

#[tokio::test]
async fn what_is_known_about_an_agents_request() {
    let (_, authenticator) = agents();
    let token = authenticator.authenticate(&bearer(&agent_token(&json!({})))).await.unwrap();
    let CallerToken::Agent(agent) = &token else { panic!("another kind of token") };
    assert_eq!((agent.caller().as_str(), agent.tenant().as_str(), agent.key_id()), (AGENT, HOME, "entra"));
    let InboundRequest::Agent(request) = token.open(&body(&json!({ "callerId": "evil" }))).unwrap() else {
        panic!("an agent's request is no verified activity")
    };
    assert_eq!(request.reply_url().unwrap().as_str(), REPLY);
    assert_eq!(request.reply_scope(), format!("{AGENT}/.default"));
    assert_eq!(request.activity().caller_id.as_deref(), Some(&*format!("urn:botframework:aadappid:{AGENT}")));
    assert_eq!((request.app_id().as_str(), request.tenant().as_str()), (APP, HOME));
    let debug = format!("{request:?} {token:?} {authenticator:?}");
    assert!(!debug.contains("hello") && !debug.contains("Test User"), "{debug}");
}

#[tokio::test]
async fn the_channel_still_calls() {
    let (keys, authenticator) = agents();
    let token = authenticator.authenticate(&bearer(&inbound_support::good_token(json!({})))).await.unwrap();
    let opened = token.open(activity().to_string().as_bytes()).unwrap();
    assert!(matches!(opened, InboundRequest::Verified(_)));
    assert_eq!(keys.asked.load(Ordering::Relaxed), 0);
    assert!(authenticator.channel().policy().app_ids().len() == 1);
}

/// What can be refused without a key never asks for one: no outbound request, no signature work.
#[tokio::test]
async fn garbage_costs_nothing() {
    let (keys, authenticator) = agents();
    let v2 = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    for (n, change) in [
        json!({ "iss": v2(FOREIGN), "tid": FOREIGN }),
        json!({ "iss": v2("contoso.com") }),
        json!({ "iss": "https://evil.example/" }),
        json!({ "tid": FOREIGN }),
        json!({ "aud": AGENT }),
        json!({ "aud": format!("api://{APP}") }),
        json!({ "aud": [APP] }),
        json!({ "ver": "1.0", "appid": AGENT }),
        json!({ "ver": 2 }),
        json!({ "azp": "x" }),
        json!({ "exp": NOW - 400 }),
        json!({ "nbf": NOW + 400 }),
        json!({ "exp": "soon" }),
        json!({ "iat": NOW - 100_000 }),
    ]
    .into_iter()
    .enumerate()
    {
        let error = authenticator.authenticate(&bearer(&agent_token(&change))).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 401, "{n}");
    }
    for text in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", &"x".repeat(20_000)] {
        assert!(authenticator.authenticate(&bearer(text)).await.is_err());
    }
    assert!(authenticator.authenticate(&http::HeaderMap::new()).await.is_err());
    assert_eq!(keys.asked.load(Ordering::Relaxed), 0);
    assert!(authenticator.authenticate(&bearer(&agent_token(&json!({})))).await.is_ok());
    assert_eq!(keys.asked.load(Ordering::Relaxed), 1);
}

/// Keys of Entra's tenants, by their metadata, and what was fetched.
#[derive(Debug, Default)]
struct Entra(Mutex<Vec<String>>);

#[async_trait]
impl HttpTransport for Entra {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let url = request.uri().to_string();
        let body = if url.ends_with("openid-configuration") {
            let base = url.trim_end_matches("/.well-known/openid-configuration");
            json!({ "issuer": base, "jwks_uri": base.replace("/v2.0", "/discovery/v2.0/keys"),
                "id_token_signing_alg_values_supported": ["RS256"] })
            .to_string()
            .into_bytes()
        } else {
            jwks(&["entra"])
        };
        self.0.lock().unwrap().push(url);
        Ok(http::Response::new(Body::from(body)))
    }
}

#[tokio::test(start_paused = true)]
async fn keys_come_from_the_tenants_metadata_in_every_cloud() {
    for (cloud, host, v1) in [
        (ChannelCloud::Public, "login.microsoftonline.com", "https://sts.windows.net/{}/"),
        (ChannelCloud::GccHigh, "login.microsoftonline.us", "https://sts.windows.net/{}/"),
        (ChannelCloud::Dod, "login.microsoftonline.us", "https://login.microsoftonline.us/{}/"),
        (ChannelCloud::China, "login.partner.microsoftonline.cn", "https://sts.windows.net/{}/"),
    ] {
        let transport = Arc::new(Entra::default());
        let channel = builder(TenantPolicy::Single(HOME.parse().unwrap())).cloud(cloud).build().unwrap();
        let authenticator = CallerAuthenticator::builder(channel)
            .agents([HOME.parse().unwrap()], [AgentCaller::new(AGENT.parse().unwrap())])
            .transport(Arc::clone(&transport) as Arc<dyn HttpTransport>)
            .clock(Arc::new(clock()))
            .build()
            .unwrap();
        assert!(transport.0.lock().unwrap().is_empty(), "nothing is fetched before it is needed");
        let v2 = json!({ "iss": format!("https://{host}/{HOME}/v2.0") });
        assert!(authenticator.authenticate(&bearer(&agent_token(&v2))).await.is_ok(), "{cloud:?}");
        let v1 = json!({ "iss": v1.replace("{}", HOME), "ver": "1.0", "appid": AGENT });
        assert!(authenticator.authenticate(&bearer(&agent_token(&v1))).await.is_ok(), "{cloud:?}");
        let base = format!("https://{host}/{HOME}");
        assert_eq!(
            *transport.0.lock().unwrap(),
            [format!("{base}/v2.0/.well-known/openid-configuration"), format!("{base}/discovery/v2.0/keys")]
        );
        let elsewhere =
            if cloud == ChannelCloud::Public { "login.microsoftonline.us" } else { "login.microsoftonline.com" };
        let other = json!({ "iss": format!("https://{elsewhere}/{HOME}/v2.0") });
        let error = authenticator.authenticate(&bearer(&agent_token(&other))).await.unwrap_err();
        assert_eq!(error.kind(), InboundErrorKind::Token(TokenErrorKind::IssuerMismatch), "{cloud:?}");
        assert_eq!(transport.0.lock().unwrap().len(), 2, "a token of another cloud causes no request");
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let begin = || CallerAuthenticator::builder(builder(TenantPolicy::Any).build().unwrap());
    let keys = || Arc::new(StaticKeys::from_jwks(&jwks(&["entra"])).unwrap());
    let agent = || AgentCaller::new(AGENT.parse().unwrap());
    let home = || HOME.parse().unwrap();
    assert!(begin().build().is_ok(), "the channel alone");
    assert!(begin().agents([home()], [agent()]).build().is_err(), "no keys");
    assert!(begin().agents([home()], [agent()]).keys(keys()).build().is_ok());
    assert!(begin().agents([], [agent()]).keys(keys()).build().is_err());
    assert!(begin().agents([home()], []).keys(keys()).build().is_err());
    assert!(begin().agents(["contoso.com".parse().unwrap()], [agent()]).keys(keys()).build().is_err());
    assert!(begin().agents([home()], [AgentCaller::new(APP.parse().unwrap())]).keys(keys()).build().is_err());
    for bad in ["http://agents.contoso.com", "agents.contoso.com", "https://a@b.com", "https://b.com/?q", ""] {
        assert!(begin().agents([home()], [agent().reply_to(bad)]).keys(keys()).build().is_err(), "{bad}");
        assert!(begin().app_service_extension(home(), bad).keys(keys()).build().is_err(), "{bad}");
    }
}

#[cfg(feature = "conformance")]
#[test]
fn the_vectors_ship() {
    let vectors: Value = serde_json::from_str(botframework_activity::INBOUND_VECTORS).unwrap();
    assert!(vectors["cases"].as_array().unwrap().len() >= 250);
}
