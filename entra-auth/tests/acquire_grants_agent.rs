//! Agent identities, calls of other APIs, admin consent: what goes over the wire, and what a bad answer brings about.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod acquire_support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use acquire_support::{CLIENT, Form, NOW, TENANT, World, failure, map, oid, success, world};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use entra_auth::{
    AccessToken, AdminConsentAnswer, Audience, Authority, Body, ClaimsChallenge, Downstream, Error, ErrorKind,
    HttpTransport, OAuthError, TokenCredential, TokenRequest, TransportError,
};
use http::{Request, Response, StatusCode, header};
use serde_json::json;

const AGENT: &str = "44444444-4444-4444-4444-444444444444";
const OTHER_AGENT: &str = "66666666-6666-6666-6666-666666666666";
const EXCHANGE: &str = "api://AzureADTokenExchange/.default";
const GRAPH: &str = "https://graph.microsoft.com/.default";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Names each token by what it was asked for.
fn agents(world: &World) {
    world.answers(|_, form| {
        let token = match form.get("fmi_path") {
            Some(agent) => format!("T1-{agent}"),
            None if form["scope"] == EXCHANGE => format!("T2-{}", form["client_id"]),
            None => format!("{}-{}", form["grant_type"].rsplit(':').next().unwrap(), form["client_id"]),
        };
        success(&token, &json!({}))
    });
}

fn request(scopes: &str) -> TokenRequest {
    TokenRequest::new(scopes.parse().unwrap())
}

fn t1(agent: &str) -> Form {
    map([
        ("grant_type", "client_credentials"),
        ("scope", EXCHANGE),
        ("fmi_path", agent),
        ("client_id", CLIENT),
        ("client_secret", "s3&cret"),
    ])
}

fn as_agent(pairs: &[(&str, &str)]) -> Form {
    let mut form = map(pairs.iter().copied());
    form.extend(map([
        ("client_id", AGENT),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &format!("T1-{AGENT}")),
    ]));
    form
}

#[tokio::test]
async fn every_leg_of_an_agent_member_by_member_and_cached() {
    let world = world().await;
    agents(&world);
    let blueprint = world.confidential();
    let agent = blueprint.agent(AGENT.parse().unwrap());
    let user = agent.user(oid(9).parse().unwrap());
    for _ in 0..3 {
        // A handle made anew for every turn finds the same cache.
        let agent = blueprint.agent(AGENT.parse().unwrap());
        assert_eq!(agent.get_token(&request(GRAPH)).await.unwrap().expose(), format!("client_credentials-{AGENT}"));
        assert_eq!(user.get_token(&request("Mail.Send")).await.unwrap().expose(), format!("user_fic-{AGENT}"));
    }
    let forms = world.forms().await;
    let expected = [
        t1(AGENT),
        as_agent(&[("grant_type", "client_credentials"), ("scope", GRAPH)]),
        as_agent(&[("grant_type", "client_credentials"), ("scope", EXCHANGE)]),
        as_agent(&[
            ("grant_type", "user_fic"),
            ("requested_token_use", "on_behalf_of"),
            ("user_federated_identity_credential", &format!("T2-{AGENT}")),
            ("user_id", &oid(9)),
            ("scope", "Mail.Send"),
        ]),
    ];
    assert_eq!(forms, expected, "four requests for three turns");
    let paths = world.server.received_requests().await.unwrap();
    assert!(paths.iter().all(|sent| sent.url.path() == format!("/entra/{TENANT}/oauth2/v2.0/token")));

    // By name, another resource: one more request, the legs before it are at hand.
    agent.user_by_name("Agent@Example.com").get_token(&request("Mail.Send")).await.unwrap();
    let last = world.forms().await.pop().unwrap();
    assert_eq!(last["username"], "agent@example.com");
    assert!(!last.contains_key("user_id"));
    assert_eq!(world.requests().await, 5);
    assert!(!format!("{agent:?} {user:?}").contains("T1-"));
}

#[tokio::test]
async fn agents_do_not_share_tokens() {
    let world = world().await;
    agents(&world);
    let blueprint = world.confidential();
    let [one, two] = [AGENT, OTHER_AGENT].map(|agent| blueprint.agent(agent.parse().unwrap()));
    assert_eq!(one.get_token(&request(GRAPH)).await.unwrap().expose(), format!("client_credentials-{AGENT}"));
    assert_eq!(two.get_token(&request(GRAPH)).await.unwrap().expose(), format!("client_credentials-{OTHER_AGENT}"));
    assert_eq!(world.forms().await[2], t1(OTHER_AGENT));
    // The blueprint's own token for the same scope is not an agent's.
    blueprint.get_token(&request(EXCHANGE)).await.unwrap();
    assert!(!world.forms().await.last().unwrap().contains_key("fmi_path"));
    // Another tenant has legs of its own.
    let foreign = "99999999-9999-9999-9999-999999999999";
    one.get_token(&request(GRAPH).with_tenant(foreign.parse().unwrap())).await.unwrap();
    let sent = world.server.received_requests().await.unwrap();
    assert!(sent[sent.len() - 2..].iter().all(|sent| sent.url.path().contains(foreign)));
    assert_eq!(sent.len(), 7);
}

#[tokio::test]
async fn an_agent_acts_for_a_person() {
    let world = world().await;
    agents(&world);
    let blueprint = world.confidential();
    let token = world.user_token(1, json!({"exp": NOW + 600})).await;
    let assertion = token.assertion_for(blueprint.client_id(), &[""; 0]).unwrap();
    let person = blueprint.agent(AGENT.parse().unwrap()).on_behalf_of(assertion.clone());
    let got = person.get_token(&request("User.Read")).await.unwrap();
    assert_eq!(got.expires_on().unix_timestamp(), NOW + 600, "no longer than the assertion");
    person.get_token(&request("User.Read")).await.unwrap();
    assert_eq!(
        world.forms().await,
        [
            t1(AGENT),
            as_agent(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("requested_token_use", "on_behalf_of"),
                ("assertion", token.raw().expose()),
                ("scope", "User.Read"),
            ])
        ]
    );
    blueprint.forget_user(assertion.user_key()).await.unwrap();
    person.get_token(&request("User.Read")).await.unwrap();
    assert_eq!(world.requests().await, 3, "the person signed out; the agent's own legs stay");
    let foreign = request("User.Read").with_tenant("99999999-9999-9999-9999-999999999999".parse().unwrap());
    assert_eq!(person.get_token(&foreign).await.unwrap_err().kind(), ErrorKind::Unsupported);
    world.clock.step(time::Duration::seconds(600));
    assert_eq!(person.get_token(&request("User.Read")).await.unwrap_err().kind(), ErrorKind::Reauthenticate);
}

#[tokio::test]
async fn a_leg_that_fails_says_so() {
    let world = world().await;
    let blueprint = world.confidential();
    let agent = blueprint.agent(AGENT.parse().unwrap());
    world.answers(|_, form| match form.contains_key("fmi_path") {
        true => failure("invalid_client", 7_000_215),
        false => success("never", &json!({})),
    });
    assert_eq!(agent.get_token(&request(GRAPH)).await.unwrap_err().kind(), ErrorKind::ClientCredential);
    let user = agent.user(oid(9).parse().unwrap());
    assert_eq!(user.get_token(&request("Mail.Send")).await.unwrap_err().kind(), ErrorKind::ClientCredential);
    assert_eq!(world.requests().await, 1, "the first leg's failure is remembered for the others");
    assert_eq!(agent.get_token(&request("Mail.Send")).await.unwrap_err().kind(), ErrorKind::Configuration);

    let second = OTHER_AGENT.parse().unwrap();
    world.answers(|_, form| match form["grant_type"].as_str() {
        "user_fic" => failure("invalid_grant", 65001),
        _ => success("t", &json!({})),
    });
    let user = blueprint.agent(second).user(oid(9).parse().unwrap());
    assert_eq!(user.get_token(&request("Mail.Send")).await.unwrap_err().kind(), ErrorKind::ConsentRequired);
}

/// Many agents at once: legs wait for legs, and nobody waits for a place that a waiting one holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_agents_at_once_do_not_block_each_other() {
    let world = world().await;
    agents(&world);
    let blueprint = world.confidential();
    let turns: Vec<_> = (0..100)
        .map(|number| {
            let user = blueprint
                .agent(format!("44444444-4444-4444-4444-{number:012}").parse().unwrap())
                .user(oid(9).parse().unwrap());
            tokio::spawn(async move { user.get_token(&request("Mail.Send")).await })
        })
        .collect();
    for turn in turns {
        turn.await.unwrap().unwrap();
    }
    assert_eq!(world.requests().await, 300);
}

#[tokio::test]
async fn admin_consent_url_and_confirmation() {
    let world = world().await;
    let client = world.confidential();
    let tenant = "99999999-9999-9999-9999-999999999999";
    let back = "https://app.example/consented?x=1".parse().unwrap();
    let consent = client.admin_consent(&tenant.parse().unwrap(), &GRAPH.parse().unwrap(), &back).unwrap();
    assert_eq!(consent.url().path(), format!("/entra/{tenant}/v2.0/adminconsent"));
    let pairs: Form = consent.url().query_pairs().into_owned().collect();
    assert_eq!(
        pairs,
        map([
            ("client_id", CLIENT),
            ("scope", GRAPH),
            ("redirect_uri", back.as_str()),
            ("state", consent.state().expose())
        ])
    );
    assert!(!format!("{consent:?}").contains(consent.state().expose()));
    let plain = "http://app.example/".parse().unwrap();
    assert!(client.admin_consent(&tenant.parse().unwrap(), &GRAPH.parse().unwrap(), &plain).is_err());

    let query = format!("admin_consent=True&tenant={tenant}&scope=&state={}", consent.state().expose());
    let named = AdminConsentAnswer::parse(&query, consent.state()).unwrap().tenant;
    // Somebody made it up: Entra knows no such installation.
    world.answers(|_, _| failure("unauthorized_client", 700_016));
    let scopes = GRAPH.parse().unwrap();
    let error = named.clone().confirm(&client, &scopes).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    world.answers(|_, _| success("t", &json!({})));
    let other = world.confidential();
    assert_eq!(named.confirm(&other, &scopes).await.unwrap().as_str(), tenant);
    assert!(world.server.received_requests().await.unwrap().iter().all(|sent| sent.url.path().contains(tenant)));
}

/// A resource that answers from a list, and keeps what it was sent.
#[derive(Debug, Default)]
struct Resource {
    answers: Mutex<VecDeque<(u16, Option<String>)>>,
    sent: Mutex<Vec<(String, Vec<u8>)>>,
}

#[async_trait]
impl HttpTransport for Resource {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let token = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
        let body = request.into_body().collect(1024).await.unwrap().to_vec();
        self.sent.lock().unwrap().push((token, body));
        let (status, challenge) = self.answers.lock().unwrap().pop_front().expect("one request too many");
        let mut answer = Response::builder().status(status);
        if let Some(challenge) = challenge {
            answer = answer.header(header::WWW_AUTHENTICATE, challenge);
        }
        Ok(answer.body(Body::empty()).unwrap())
    }
}

/// Hands out numbered tokens and keeps what it was asked for.
#[derive(Debug, Default)]
struct Tokens {
    asked: Mutex<Vec<TokenRequest>>,
    fails: Mutex<Option<Error>>,
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(request.clone());
        match self.fails.lock().unwrap().clone() {
            Some(error) if asked.len() > 1 => Err(error),
            _ => AccessToken::new(format!("token-{}", asked.len()), time::OffsetDateTime::UNIX_EPOCH),
        }
    }
}

const CLAIMS: &str = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;

fn challenge(claims: &str) -> Option<String> {
    let claims = STANDARD.encode(claims);
    Some(format!(r#"Bearer realm="", authorization_uri="https://a/b", error="insufficient_claims", claims="{claims}""#))
}

fn downstream(answers: impl IntoIterator<Item = (u16, Option<String>)>) -> (Downstream, Arc<Tokens>, Arc<Resource>) {
    let resource = Arc::new(Resource { answers: Mutex::new(answers.into_iter().collect()), ..Resource::default() });
    let tokens = Arc::new(Tokens::default());
    let audience = Audience::new(GRAPH.parse().unwrap(), [&"https://graph.microsoft.com".parse().unwrap()]).unwrap();
    (Downstream::new(tokens.clone(), audience, resource.clone()), tokens, resource)
}

fn call() -> Request<Body> {
    Request::post("https://graph.microsoft.com/v1.0/x").body(Body::from("content".to_owned())).unwrap()
}

#[tokio::test]
async fn one_challenge_or_one_refusal_is_answered_with_another_token() {
    for (first, claims) in
        [((401, challenge(CLAIMS)), true), ((401, None), false), ((401, Some("Bearer".into())), false)]
    {
        let (api, tokens, resource) = downstream([first, (204, None)]);
        assert_eq!(api.call(call()).await.unwrap().status(), StatusCode::NO_CONTENT);
        let asked = tokens.asked.lock().unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[1].claims.as_ref().map(ClaimsChallenge::as_str), claims.then_some(CLAIMS));
        assert_eq!(asked[1].rejected.as_ref().map(AccessToken::expose), (!claims).then_some("token-1"));
        let sent = resource.sent.lock().unwrap();
        let expected = ["Bearer token-1", "Bearer token-2"].map(|token| (token.to_owned(), b"content".to_vec()));
        assert_eq!(*sent, expected);
    }
}

#[tokio::test]
async fn everything_else_is_the_callers() {
    for status in [200, 302, 403, 429, 500] {
        let (api, tokens, _) = downstream([(status, challenge(CLAIMS))]);
        assert_eq!(api.call(call()).await.unwrap().status(), status);
        assert_eq!(tokens.asked.lock().unwrap().len(), 1);
    }
    // A second plain 401 is an answer, not a loop.
    let (api, tokens, _) = downstream([(401, None), (401, None)]);
    assert_eq!(api.call(call()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(tokens.asked.lock().unwrap().len(), 2);
    // A body that can be read once is not sent again.
    let (api, tokens, _) = downstream([(401, None)]);
    let body = Body::stream(futures_util::stream::iter([Ok("once".into())]));
    let request = Request::post("https://graph.microsoft.com/").body(body).unwrap();
    assert_eq!(api.call(request).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(tokens.asked.lock().unwrap().len(), 1);
    // Elsewhere nothing goes, not even a token request.
    let (api, tokens, _) = downstream([]);
    let request = Request::get("https://graph.microsoft.com.evil.example/").body(Body::empty()).unwrap();
    assert_eq!(api.call(request).await.unwrap_err().kind(), ErrorKind::ForeignOrigin);
    assert!(tokens.asked.lock().unwrap().is_empty());
    // `claims_challenge_rules`: what is no JSON object or too large is no challenge, and never reaches Entra.
    for bad in ["[1]", "text", &format!(r#"{{"a":"{}"}}"#, "x".repeat(5000))] {
        let (api, tokens, _) = downstream([(401, challenge(bad)), (200, None)]);
        api.call(call()).await.unwrap();
        assert!(tokens.asked.lock().unwrap()[1].claims.is_none());
    }
}

#[tokio::test]
async fn the_error_carries_the_step_up() {
    // Entra wants more of the user than the resource said: Entra's word counts.
    let own = ClaimsChallenge::from_json(r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#).unwrap();
    let mut oauth = OAuthError::default();
    oauth.claims = Some(own.clone());
    let with_own = Error::new(ErrorKind::InteractionRequired, "x").with_oauth(oauth);
    let without = Error::new(ErrorKind::InteractionRequired, "x");
    for (error, expected) in [(with_own, own.as_str()), (without, CLAIMS)] {
        let (api, tokens, _) = downstream([(401, challenge(CLAIMS))]);
        *tokens.fails.lock().unwrap() = Some(error);
        let error = api.call(call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InteractionRequired);
        assert_eq!(error.claims_challenge().unwrap().as_str(), expected);
    }
    // A passing fault stays one.
    let (api, tokens, _) = downstream([(401, challenge(CLAIMS))]);
    let wait = Some(std::time::Duration::from_secs(7));
    *tokens.fails.lock().unwrap() = Some(Error::new(ErrorKind::Throttled, "x").with_retry_after(wait));
    let error = api.call(call()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, wait));
    assert!(error.claims_challenge().is_some());
    // The fresh token is not enough either.
    let (api, _, _) = downstream([(401, challenge(CLAIMS)), (401, challenge(own.as_str()))]);
    let error = api.call(call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionRequired);
    assert_eq!(error.claims_challenge(), Some(&own));
    // Without a challenge the credential's own error comes through.
    let (api, tokens, _) = downstream([(401, None)]);
    *tokens.fails.lock().unwrap() = Some(Error::new(ErrorKind::Reauthenticate, "x"));
    let error = api.call(call()).await.unwrap_err();
    assert_eq!((error.kind(), error.claims_challenge()), (ErrorKind::Reauthenticate, None));
}

/// The whole way: Entra refuses the exchange with claims, and our API passes them to a caller that understands them.
#[tokio::test]
async fn a_middle_tier_passes_the_step_up_on_to_those_who_understand_it() {
    let world = world().await;
    let client = world.confidential();
    world.answers(|_, _| {
        wiremock::ResponseTemplate::new(400)
            .set_body_json(json!({"error": "interaction_required", "error_codes": [50079], "claims": CLAIMS}))
    });
    for (extra, status) in [
        (json!({"xms_cc": ["cp1"]}), 401),
        (json!({"xms_cc": ["CP1"]}), 401),
        (json!({"xms_cc": ["other"]}), 403),
        (json!({}), 403),
    ] {
        let token = world.user_token(1, extra).await;
        let assertion = token.assertion_for(client.client_id(), &[""; 0]).unwrap();
        let error = client.on_behalf_of(assertion).get_token(&request("User.Read")).await.unwrap_err();
        let claims = error.claims_challenge().unwrap();
        let refusal = token.challenge(claims, &Authority::default());
        assert_eq!(refusal.status(), status);
        let seen = ClaimsChallenge::from_headers(&refusal.headers());
        assert_eq!(seen.as_ref().map(ClaimsChallenge::as_str), (status == 401).then_some(CLAIMS));
        if let Some(value) = refusal.www_authenticate() {
            assert_eq!(
                value.to_str().unwrap(),
                format!(
                    "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                     error=\"insufficient_claims\", claims=\"{}\"",
                    STANDARD.encode(CLAIMS)
                )
            );
        }
    }
}
