//! The behaviours of `tests/inbound_cases.json`, one line each: what the channel sends, and the rule it breaks.
#![cfg(feature = "inbound")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod inbound_support;

use std::collections::HashSet;

use botframework_activity::{ChannelAuthenticator, ChannelCloud, InboundError, VerifiedActivity};
use entra_auth::TenantPolicy;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use inbound_support::{FOREIGN, HOME, NOW, activity, builder, claims, header, sign, token};
use serde::Deserialize;
use serde_json::{Map, Value, json};

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
    let cases: Vec<Case> = serde_json::from_str(include_str!("inbound_cases.json")).unwrap();
    assert!(cases.len() >= 150, "{}", cases.len());
    let mut names = HashSet::new();
    let mut wrong = Vec::new();
    let mut accepted = 0;
    for case in &cases {
        assert!(names.insert(case.name.clone()), "two cases have the name {}", case.name);
        let result = run(case).await;
        let fits = match (&result, &case.expect) {
            (Ok(_), Expect::Accept(word)) => word == "accept",
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
    let cases: Vec<Case> = serde_json::from_str(include_str!("inbound_cases.json")).unwrap();
    for case in &cases {
        let Err(error) = run(case).await else { continue };
        let mut text = format!("{error} {error:?} {:?}", error.www_authenticate());
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text += &format!(" {cause} {cause:?}");
            source = cause.source();
        }
        for canary in ["eyJ", "hello", "29:", "28:", "smba", "evil", "Test User", HOME, FOREIGN, "2222-3333", "a:conv"]
        {
            assert!(!text.contains(canary), "{}: {text}", case.name);
        }
        let expects_header = matches!(error.status().as_u16(), 401 | 403);
        assert_eq!(error.www_authenticate().is_some(), expects_header, "{}", case.name);
    }
}

/// A request as a host serves it: headers, then what describes the body, then the body.
async fn run(case: &Case) -> Result<VerifiedActivity, InboundError> {
    let authenticator = authenticator(case.config.as_deref());
    let headers = request_headers(case);
    let body = request_body(case);
    let token = authenticator.authenticate(&headers).await?;
    token.check_content(&headers)?;
    token.open(&body)
}

fn authenticator(config: Option<&str>) -> ChannelAuthenticator {
    let any = || builder(TenantPolicy::Any);
    let tenant = |id: &str| builder(TenantPolicy::Single(id.parse().unwrap()));
    match config {
        None => any(),
        Some("government") => any().cloud(ChannelCloud::GccHigh),
        Some("loopback") => any().connector_host("localhost:56150"),
        Some("required endorsement") => any().require_endorsement("somethingElse"),
        Some("extra endorsement") => any().require_endorsement("EXTRA"),
        Some("stand-in") => any().endorsement_for("Agents", "msteams"),
        Some("home tenant") => tenant(HOME),
        Some("foreign tenant") => tenant(FOREIGN),
        Some(other) => panic!("unknown configuration: {other}"),
    }
    .build()
    .unwrap()
}

fn request_headers(case: &Case) -> HeaderMap {
    let key = case.key.as_deref().unwrap_or("channel");
    let signer = case.sign_key.as_deref().unwrap_or(key);
    let header = merged(header(key), &case.header);
    let claims = merged(Value::Object(claims()), &case.claims);
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

fn request_body(case: &Case) -> Vec<u8> {
    if let Some(body) = &case.body {
        return body.clone().into_bytes();
    }
    if let Some((before, open, times, close, after)) = &case.body_repeat {
        return [before, &*open.repeat(*times), &close.repeat(*times), after].concat().into_bytes();
    }
    let text = merged(activity(), &case.activity).to_string();
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
