//! The public vectors of `src/inbound/vectors.json`: what is sent, and the rule it breaks.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::collections::HashSet;

use botframework_activity::{
    AgentCaller, CallerAuthenticator, ChannelAuthenticator, ChannelCloud, InboundError, InboundRequest,
};
use entra_auth::{StaticKeys, TenantPolicy};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use inbound_support::{APP, FOREIGN, HOME, NOW, activity, builder, claims, clock, header, jwks, sign, token};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vectors {
    version: u64,
    now: i64,
    bot: String,
    home_tenant: String,
    foreign_tenant: String,
    agent: String,
    keys: Map<String, Value>,
    configurations: Map<String, Value>,
    defaults: Defaults,
    cases: Vec<Case>,
    behaviours: Vec<Behaviour>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    header: Map<String, Value>,
    channel: Base,
    agent: Base,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    key: String,
    claims: Map<String, Value>,
    activity: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    spec: u64,
    expect: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../src/inbound/vectors.json")).unwrap()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// The number in the list of behaviours, or the section the rule is from.
    spec: Value,
    name: String,
    /// Values of `Authorization`, with `{token}`, `{header}`, `{payload}`.
    authorization: Option<Vec<String>>,
    /// Which key is named and signs.
    key: Option<String>,
    sign_key: Option<String>,
    sign: Option<String>,
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    activity: Map<String, Value>,
    body: Option<String>,
    body_replace: Option<[String; 2]>,
    body_repeat: Option<(String, String, usize, String, String)>,
    config: Option<String>,
    base: Option<String>,
    replies: Option<String>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expect {
    Accept(String),
    Refuse { status: u16, rule: String },
}

#[tokio::test]
async fn every_behaviour() {
    let vectors = vectors();
    let cases = &vectors.cases;
    assert!(cases.len() >= 250, "{}", cases.len());
    let mut names = HashSet::new();
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for case in cases {
        assert!(names.insert(case.name.clone()), "two cases have the name {}", case.name);
        let config = case.config.as_deref().unwrap_or("default");
        assert!(vectors.configurations.contains_key(config), "{config}");
        let result = run(&vectors, case).await;
        let fits = match (&result, &case.expect) {
            (Ok(request), Expect::Accept(word)) => word == "accept" && goes_where_it_may(case, request),
            (Err(error), Expect::Refuse { status, rule }) => {
                error.status().as_u16() == *status && error.kind().as_str() == rule
            }
            _ => false,
        };
        accepted += usize::from(result.is_ok());
        if !fits {
            let got = result.map(|_| "accepted").map_err(|error| (error.status().as_u16(), error.kind().as_str()));
            wrong.push(format!("{} {}: {got:?}", case.spec, case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(accepted >= 20, "a test that refuses everything proves nothing: {accepted}");
}

/// Texts, debug output and answers of all refusals, against everything that a case sends.
#[tokio::test]
async fn refusals_tell_nothing() {
    let vectors = vectors();
    for case in &vectors.cases {
        let Err(error) = run(&vectors, case).await else { continue };
        let mut text = format!("{error} {error:?} {:?}", error.www_authenticate());
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        for canary in [
            "contoso",
            "9999-2222",
            "eyJ",
            "hello",
            "29:",
            "28:",
            "smba",
            "evil",
            "Test User",
            HOME,
            FOREIGN,
            "2222-3333",
            "a:conv",
        ] {
            assert!(!text.contains(canary), "{}: {text}", case.name);
        }
        let expects_header = matches!(error.status().as_u16(), 401 | 403);
        assert_eq!(error.www_authenticate().is_some(), expects_header, "{}", case.name);
    }
}

/// All 93 behaviours are there, as cases or in words, and the file says the same as the tests' own world.
#[test]
fn the_vectors_are_whole() {
    let vectors = vectors();
    let mut numbers: HashSet<u64> = vectors.cases.iter().filter_map(|case| case.spec.as_u64()).collect();
    numbers.extend(vectors.behaviours.iter().map(|behaviour| behaviour.spec));
    let missing: Vec<u64> = (1..=93).filter(|number| !numbers.contains(number)).collect();
    assert_eq!(missing, [0; 0]);
    assert!(vectors.behaviours.iter().all(|behaviour| behaviour.expect.len() > 20));
    assert_eq!((vectors.version, vectors.now), (1, NOW));
    assert_eq!([&*vectors.bot, &vectors.home_tenant, &vectors.foreign_tenant], [APP, HOME, FOREIGN]);
    assert_eq!(vectors.keys.len(), inbound_support::KEYS.len());
    let base = &vectors.defaults.channel;
    assert_eq!(merged(json!({}), &base.claims), Value::Object(claims()));
    assert_eq!((&base.activity, base.key.as_str()), (&activity(), "channel"));
    let named = serde_json::to_string(&vectors.defaults.header).unwrap().replace("{key}", "channel");
    assert_eq!(serde_json::from_str::<Value>(&named).unwrap(), header("channel"));
}

/// Answers to agents go to a listed address or into the response.
fn goes_where_it_may(case: &Case, request: &InboundRequest) -> bool {
    match request {
        InboundRequest::Verified(activity) => case.replies.is_none() && !activity.service_url().as_str().is_empty(),
        InboundRequest::Agent(agent) => agent.reply_url().is_none() == (case.replies.as_deref() == Some("inline")),
        _ => false,
    }
}

/// A request as a host serves it: headers, then what describes the body, then the body.
async fn run(vectors: &Vectors, case: &Case) -> Result<InboundRequest, InboundError> {
    let authenticator = authenticator(vectors, case.config.as_deref());
    let base = match case.base.as_deref() {
        None => &vectors.defaults.channel,
        Some("agent") => &vectors.defaults.agent,
        Some(other) => panic!("unknown base: {other}"),
    };
    let headers = request_headers(base, case);
    let body = request_body(base, case);
    let token = authenticator.authenticate(&headers).await?;
    token.check_content(&headers)?;
    token.open(&body)
}

fn authenticator(vectors: &Vectors, config: Option<&str>) -> CallerAuthenticator {
    let agent = || AgentCaller::new(vectors.agent.parse().unwrap());
    let tenant = || HOME.parse().unwrap();
    let builder = CallerAuthenticator::builder(channel(config));
    let builder = match config {
        Some("agents") => builder.agents([tenant()], [agent().reply_to("https://agents.contoso.com/api/skills")]),
        Some("emulator") => builder.emulator_for_development(tenant()),
        Some("agentic") => builder.agentic([agent()]),
        Some("extension") => builder.app_service_extension(tenant(), "https://bot.contoso.com/.bot"),
        _ => builder,
    };
    let keys = std::sync::Arc::new(StaticKeys::from_jwks(&jwks(&["entra"])).unwrap());
    builder.keys(keys).clock(std::sync::Arc::new(clock())).build().unwrap()
}

fn channel(config: Option<&str>) -> ChannelAuthenticator {
    let any = || builder(TenantPolicy::Any);
    let tenant = |id: &str| builder(TenantPolicy::Single(id.parse().unwrap()));
    match config {
        None | Some("agentic" | "extension") => any(),
        Some("emulator") => any().loopback_connectors(),
        Some("government") => any().cloud(ChannelCloud::GccHigh),
        Some("loopback") => any().connector_host("localhost:56150"),
        Some("required endorsement") => any().require_endorsement("somethingElse"),
        Some("extra endorsement") => any().require_endorsement("EXTRA"),
        Some("stand-in") => any().endorsement_for("Agents", "msteams"),
        Some("home tenant" | "agents") => tenant(HOME),
        Some("foreign tenant") => tenant(FOREIGN),
        Some(other) => panic!("unknown configuration: {other}"),
    }
    .build()
    .unwrap()
}

fn request_headers(base: &Base, case: &Case) -> HeaderMap {
    let key = case.key.as_deref().unwrap_or(&base.key);
    let signer = case.sign_key.as_deref().unwrap_or(key);
    let header = merged(header(key), &case.header);
    let claims = merged(merged(json!({}), &base.claims), &case.claims);
    let token = token(&header, &claims, |input| sign(case.sign.as_deref().unwrap_or("RS256"), signer, input));
    let mut parts = token.split('.');
    let [head, payload] = [parts.next().unwrap(), parts.next().unwrap()];
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    let default = ["Bearer {token}".to_owned()];
    for template in case.authorization.as_deref().unwrap_or(&default) {
        let value = template.replace("{token}", &token).replace("{header}", head).replace("{payload}", payload);
        headers.append(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
    }
    for (name, value) in &case.headers {
        let name: HeaderName = name.parse().unwrap();
        match value.as_str() {
            Some(value) => drop(headers.insert(name, HeaderValue::try_from(value).unwrap())),
            None => drop(headers.remove(name)),
        }
    }
    headers
}

fn request_body(base: &Base, case: &Case) -> Vec<u8> {
    if let Some(body) = &case.body {
        return body.clone().into_bytes();
    }
    if let Some((before, open, times, close, after)) = &case.body_repeat {
        return [before, &*open.repeat(*times), &close.repeat(*times), after].concat().into_bytes();
    }
    let text = merged(base.activity.clone(), &case.activity).to_string();
    match &case.body_replace {
        Some([from, to]) => {
            assert!(text.contains(from), "{}: {from} is not in {text}", case.name);
            text.replacen(from, to, 1).into_bytes()
        }
        None => text.into_bytes(),
    }
}

/// `null` removes a member; texts that begin with `@` stand for something longer.
fn merged(base: Value, changes: &Map<String, Value>) -> Value {
    let Value::Object(mut base) = base else { panic!("the base is an object") };
    for (name, value) in changes {
        match value {
            Value::Null => drop(base.remove(name)),
            value => drop(base.insert(name.clone(), expanded(value))),
        }
    }
    Value::Object(base)
}

fn expanded(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), expanded(value))).collect(),
        Value::String(text) => match text.split_once('*') {
            _ if text == "@null" => Value::Null,
            _ if text.starts_with("@now") => json!(NOW + text["@now".len()..].parse::<i64>().unwrap()),
            Some(("@x", times)) => json!("x".repeat(times.parse().unwrap())),
            Some(("@nest", times)) => (0..times.parse().unwrap()).fold(json!(0), |inner, _: usize| json!([inner])),
            Some(("@list", times)) => json!(vec![0; times.parse().unwrap()]),
            Some(("@attachments", times)) => {
                let attachment = json!({ "contentType": "image/png", "contentUrl": "https://example.com/a.png" });
                json!(vec![attachment; times.parse().unwrap()])
            }
            _ => value.clone(),
        },
        other => other.clone(),
    }
}
