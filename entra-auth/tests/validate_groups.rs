//! Groups of users who are in too many for a token: what is asked of Graph, and what its answers mean.
#![cfg(all(feature = "validate", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod validate_support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use entra_auth::{
    AccessToken, Body, Error, ErrorKind, GroupResolver, GroupResolverBuilder, HttpTransport, TokenCredential,
    TokenRequest, TransportError, UserKey, UserToken,
};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use validate_support::*;

const HOST: &str = "https://graph.microsoft.com";

/// What Graph was asked: method, address, bearer, body, `ConsistencyLevel`.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    line: String,
    bearer: String,
    body: Value,
    eventual: bool,
}

/// A Graph that gives these answers, one after another.
#[derive(Debug, Default)]
struct Graph {
    answers: Mutex<VecDeque<Response<Body>>>,
    asked: Mutex<Vec<Asked>>,
}

impl Graph {
    fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Arc<Self> {
        let answers = answers.into_iter().map(|(status, body)| {
            let status = StatusCode::from_u16(status).unwrap();
            Response::builder().status(status).body(Body::from(body.to_string())).unwrap()
        });
        Arc::new(Self { answers: Mutex::new(answers.collect()), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl HttpTransport for Graph {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let body = body.collect(4096).await?;
        if !body.is_empty() {
            assert_eq!(header("content-type").unwrap(), "application/json");
        }
        self.asked.lock().unwrap().push(Asked {
            line: format!("{} {}", head.method, head.uri),
            bearer: header("authorization").unwrap(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            eventual: header("consistencylevel").as_deref() == Some("eventual"),
        });
        Ok(self.answers.lock().unwrap().pop_front().expect("Graph is asked once too often"))
    }
}

/// A credential that makes tokens `t1`, `t2`, … and writes down what was wanted.
#[derive(Debug, Default)]
struct Tokens(Mutex<Vec<TokenRequest>>);

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let mut wanted = self.0.lock().unwrap();
        wanted.push(request.clone());
        AccessToken::new(format!("t{}", wanted.len()), OffsetDateTime::UNIX_EPOCH)
    }
}

fn group(n: u32) -> String {
    format!("dddddddd-0000-0000-0000-{n:012}")
}

fn user() -> UserKey {
    UserKey::assume_verified(TENANT.parse().unwrap(), USER.parse().unwrap())
}

fn resolver(graph: &Arc<Graph>) -> GroupResolverBuilder {
    let tokens: Arc<dyn TokenCredential> = Arc::new(Tokens::default());
    GroupResolver::builder(tokens, TENANT.parse().unwrap()).transport(Arc::clone(graph) as Arc<dyn HttpTransport>)
}

fn trusted(changes: &[(&str, Value)]) -> UserToken {
    UserToken::trusted(&with(without(user_claims(), "groups"), changes), "raw").unwrap()
}

#[tokio::test]
async fn a_token_that_holds_all_groups_is_enough() {
    let graph = Graph::new([]);
    let resolver = resolver(&graph).build().unwrap();
    let groups = resolver.groups(&trusted(&[("groups", json!([group(2), group(1)]))])).await.unwrap();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [group(1), group(2)]);
    assert!(resolver.groups(&trusted(&[])).await.unwrap().is_empty(), "no claim, no group");
    assert!(graph.asked().is_empty());
}

#[tokio::test]
async fn overage_in_either_form_asks_graph_and_never_the_address_in_the_token() {
    let sources = json!({"src1": {"endpoint": "https://graph.windows.net/evil/users/x/getMemberObjects"}});
    for changes in [
        vec![("hasgroups", json!(true))],
        vec![("hasgroups", json!("true"))],
        vec![("_claim_names", json!({"groups": "src1"})), ("_claim_sources", sources)],
    ] {
        let graph = Graph::new([(200, json!({"value": [group(1)]}))]);
        let groups = resolver(&graph).build().unwrap().groups(&trusted(&changes)).await.unwrap();
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), [group(1)]);
        assert_eq!(
            graph.asked(),
            [Asked {
                line: format!("POST {HOST}/v1.0/users/{USER}/getMemberObjects"),
                bearer: "Bearer t1".into(),
                body: json!({"securityEnabledOnly": true}),
                eventual: false,
            }]
        );
    }
}

#[tokio::test]
async fn pages_are_read_to_the_end_and_merged() {
    let next = |n: u32| format!("{HOST}/v1.0/users/{USER}/getMemberObjects?$skiptoken={n}");
    let graph = Graph::new([
        (200, json!({"value": [group(1), group(2)], "@odata.nextLink": next(1)})),
        (200, json!({"value": [], "@odata.nextLink": next(2)})),
        (200, json!({"value": [group(2), group(3)]})),
    ]);
    let groups = resolver(&graph).all_objects().build().unwrap().fetch(&user()).await.unwrap();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [group(1), group(2), group(3)]);
    let asked = graph.asked();
    assert_eq!(asked[0].body, json!({"securityEnabledOnly": false}));
    assert_eq!(asked[1].line, format!("GET {}", next(1)));
    assert_eq!(asked[2].line, format!("GET {}", next(2)));
}

#[tokio::test]
async fn more_than_graph_gives_at_once_are_read_as_nested_memberships() {
    let too_many = (400, json!({"error": {"code": "Directory_ResultSizeLimitExceeded", "message": "x"}}));
    let next = format!("{HOST}/v1.0/users/{USER}/transitiveMemberOf/microsoft.graph.group?$skiptoken=a");
    let first = json!({
        "value": [
            {"@odata.type": "#microsoft.graph.group", "id": group(1), "securityEnabled": true},
            {"id": group(2), "securityEnabled": false},
            {"id": group(3)},
        ],
        "@odata.nextLink": next,
    });
    let graph = Graph::new([
        too_many.clone(),
        (200, first),
        (200, json!({"value": [{"id": group(4), "securityEnabled": true}]})),
    ]);
    let groups = resolver(&graph).build().unwrap().fetch(&user()).await.unwrap();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [group(1), group(4)]);
    let asked = graph.asked();
    let path = format!("{HOST}/v1.0/users/{USER}/transitiveMemberOf/microsoft.graph.group");
    assert_eq!(asked[1].line, format!("GET {path}?$select=id,securityEnabled&$top=999&$count=true"));
    assert_eq!(asked[2].line, format!("GET {next}"));
    assert_eq!(asked.iter().map(|asked| asked.eventual).collect::<Vec<_>>(), [false, true, true]);

    let graph = Graph::new([too_many.clone(), (200, json!({"value": [{"id": group(2)}]}))]);
    let all = resolver(&graph).all_objects().build().unwrap().fetch(&user()).await.unwrap();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [group(2)]);
    assert_eq!(graph.asked()[1].line, format!("GET {HOST}/v1.0/users/{USER}/transitiveMemberOf?$select=id&$top=999"));

    let graph = Graph::new([too_many.clone(), too_many]);
    let refused = resolver(&graph).build().unwrap().fetch(&user()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn the_next_page_is_on_graph_or_nowhere() {
    for link in [
        "https://graph.microsoft.com.evil.example/next",
        "http://graph.microsoft.com/next",
        "https://graph.microsoft.com:8443/next",
        "/v1.0/relative",
        "",
    ] {
        let graph = Graph::new([(200, json!({"value": [group(1)], "@odata.nextLink": link}))]);
        let refused = resolver(&graph).build().unwrap().fetch(&user()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ForeignOrigin, "{link}");
        assert_eq!(graph.asked().len(), 1);
    }
    let onwards = json!({"value": [], "@odata.nextLink": format!("{HOST}/again")});
    let graph = Graph::new(std::iter::repeat_n((200, onwards), 600));
    assert_eq!(resolver(&graph).build().unwrap().fetch(&user()).await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(graph.asked().len(), 500, "pages without end come to one");
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_repeated_and_what_does_not_is_not() {
    let good = (200, json!({"value": [group(1)]}));
    for (status, kind) in [
        (429, ErrorKind::Throttled),
        (503, ErrorKind::Transient),
        (500, ErrorKind::Transient),
        (403, ErrorKind::Configuration),
        (404, ErrorKind::Configuration),
        (400, ErrorKind::Protocol),
        (302, ErrorKind::Protocol),
        (204, ErrorKind::Protocol),
    ] {
        let failure = (status, json!({"error": {"code": "X", "message": "marker ada@contoso.example"}}));
        let graph = Graph::new(std::iter::repeat_n(failure.clone(), 3));
        let error = resolver(&graph).build().unwrap().fetch(&user()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        let attempts = if error.is_retryable() { 3 } else { 1 };
        assert_eq!(graph.asked().len(), attempts, "{status}");
        if attempts > 1 {
            let graph = Graph::new([failure, good.clone()]);
            assert_eq!(resolver(&graph).build().unwrap().fetch(&user()).await.unwrap().len(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error_and_never_an_empty_list() {
    for body in [
        json!({}),
        json!([]),
        json!({"value": null}),
        json!({"value": ["no-guid"]}),
        json!({"value": [5]}),
        json!({"value": [{"name": "x"}]}),
        json!("<html>"),
    ] {
        let graph = Graph::new([(200, body.clone())]);
        let error = resolver(&graph).build().unwrap().fetch(&user()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_with_the_challenge() {
    let claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxIn19fQ==";
    let challenge = || {
        let value = format!(r#"Bearer error="insufficient_claims", claims="{claims}""#);
        Response::builder().status(401).header("www-authenticate", value).body(Body::empty()).unwrap()
    };
    let tokens = Arc::new(Tokens::default());
    let graph = Graph::new([(200, json!({"value": [group(1)]}))]);
    graph.answers.lock().unwrap().push_front(challenge());
    let with_tokens = |graph: &Arc<Graph>| {
        GroupResolver::builder(Arc::clone(&tokens) as Arc<dyn TokenCredential>, TENANT.parse().unwrap())
            .transport(Arc::clone(graph) as Arc<dyn HttpTransport>)
            .build()
            .unwrap()
    };
    assert_eq!(with_tokens(&graph).fetch(&user()).await.unwrap().len(), 1);
    assert_eq!(graph.asked().iter().map(|asked| asked.bearer.clone()).collect::<Vec<_>>(), ["Bearer t1", "Bearer t2"]);
    let wanted = tokens.0.lock().unwrap().clone();
    assert!(wanted[0].claims.is_none() && wanted[0].rejected.is_none() && wanted[0].tenant.is_none());
    assert_eq!(wanted[0].scopes.as_str(), "https://graph.microsoft.com/.default");
    assert!(wanted[1].claims.as_ref().unwrap().as_str().contains("nbf"));
    assert_eq!(wanted[1].rejected.as_ref().unwrap().expose(), "t1");

    let graph = Graph::new([]);
    graph.answers.lock().unwrap().extend([challenge(), challenge()]);
    let error = with_tokens(&graph).fetch(&user()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InteractionRequired);

    let guest = UserKey::assume_verified(OTHER_TENANT.parse().unwrap(), USER.parse().unwrap());
    let graph = Graph::new([(200, json!({"value": []}))]);
    with_tokens(&graph).fetch(&guest).await.unwrap();
    let tenant = tokens.0.lock().unwrap().last().unwrap().tenant.clone();
    assert_eq!(tenant.unwrap().as_str(), OTHER_TENANT, "a user of another tenant is looked up there");
}

#[test]
fn only_over_https() {
    let graph = Graph::new([]);
    assert!(resolver(&graph).graph("http://graph.example".parse().unwrap()).build().is_err());
    assert!(resolver(&graph).graph("http://127.0.0.1:9/graph/".parse().unwrap()).build().is_ok());
}
