//! What needs a caller the sandbox's own token endpoint does not make: a user of the project's tenant, a principal
//! without a role.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Config, router};
use crate::constants::{BOT_APP_ID, FOUNDRY_AGENT, RESOURCE_TENANT};
use crate::tokens::{Caller, Refusal};

fn caller(user: Option<&str>) -> Caller {
    Caller {
        app_id: BOT_APP_ID.to_owned(),
        tenant: RESOURCE_TENANT.to_owned(),
        oid: "11111111-0000-4000-8000-000000000001".to_owned(),
        scopes: user.map(|_| "user_impersonation".to_owned()),
        claims: json!({"name": user}),
    }
}

async fn serve(verdict: Result<Caller, Refusal>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let base_url = format!("http://{address}");
    let app = router(Config { base_url, authorize: Arc::new(move |_| verdict.clone()) });
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/foundry/api/projects/sandbox/openai/v1/responses")
}

async fn ask(url: &str, text: &str) -> (u16, Value) {
    let body = json!({"input": text, "agent_reference": {"type": "agent_reference", "name": FOUNDRY_AGENT}});
    let reply = reqwest::Client::new().post(url).json(&body).send().await.expect("an answer");
    (reply.status().as_u16(), reply.json().await.expect("json"))
}

#[tokio::test]
async fn a_user_is_known_by_the_name_in_the_token() {
    let url = serve(Ok(caller(Some("User One")))).await;
    let (status, body) = ask(&url, "who am I?").await;
    assert_eq!(status, 200, "{body}");
    let text = body.pointer("/output/0/content/0/text").and_then(Value::as_str).expect("text");
    assert!(text.starts_with("You are signed in as User One."), "{text}");
    let (_, body) = ask(&url, "hello").await;
    assert!(body.to_string().contains("Hello User One!"));
}

#[tokio::test]
async fn an_app_has_no_name() {
    let url = serve(Ok(caller(None))).await;
    let (_, body) = ask(&url, "who am I?").await;
    assert!(body.to_string().contains("have not told me your name"), "{body}");
}

#[tokio::test]
async fn a_principal_without_a_role_gets_403() {
    let url = serve(Err(Refusal::Caller)).await;
    let (status, body) = ask(&url, "hello").await;
    assert_eq!((status, body.pointer("/error/code")), (403, Some(&json!("PermissionDenied"))));
}

#[tokio::test]
async fn a_session_is_its_callers_own() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let authorize = |headers: &http::HeaderMap| {
        let oid = headers.get("x-oid").and_then(|oid| oid.to_str().ok()).unwrap_or_default();
        Ok(Caller { oid: oid.to_owned(), ..caller(None) })
    };
    let app = router(Config { base_url: format!("http://{address}"), authorize: Arc::new(authorize) });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let project = format!("http://{address}/foundry/api/projects/sandbox");
    let client = reqwest::Client::new();
    let send = async |oid: &str, path: &str, body: Value| {
        let reply =
            client.post(format!("{project}{path}")).header("x-oid", oid).json(&body).send().await.expect("sent");
        (reply.status().as_u16(), reply.json::<Value>().await.expect("json"))
    };
    let (_, conversation) = send("one", "/openai/v1/conversations", json!({})).await;
    let hosted = json!({"type": "agent_reference", "name": "hosted-agent"});
    let mut ask = json!({"input": "hello", "agent_reference": hosted, "conversation": conversation["id"]});
    let (status, first) = send("one", "/openai/v1/responses", ask.clone()).await;
    assert_eq!(status, 200, "{first}");
    // In one conversation two callers have a sandbox each; by its name nobody enters that of the other.
    for oid in ["two", "one"] {
        assert_eq!(send(oid, "/openai/v1/responses", ask.clone()).await.0, 200, "{oid}");
    }
    let create =
        json!({"agent_session_id": "mine", "version_indicator": {"type": "version_ref", "agent_version": "1"}});
    let path = "/agents/hosted-agent/endpoint/sessions?api-version=v1";
    assert_eq!(send("one", path, create).await.0, 201);
    ask["agent_session_id"] = json!("mine");
    assert_eq!(send("one", "/openai/v1/responses", ask.clone()).await.0, 200);
    let (status, body) = send("two", "/openai/v1/responses", ask).await;
    assert_eq!((status, body.pointer("/error/code")), (403, Some(&json!("session_not_accessible"))));
}

#[tokio::test]
async fn links_begin_with_the_sandboxs_own_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    // Behind TLS.
    let base_url = "https://localhost:8443".to_owned();
    let app = router(Config { base_url, authorize: Arc::new(|_| Ok(caller(None))) });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let url = format!("http://{address}/foundry/api/projects/sandbox/connections?api-version=v1");
    let page: Value = reqwest::get(url).await.expect("sent").json().await.expect("json");
    let wanted = "https://localhost:8443/foundry/api/projects/sandbox/connections?api-version=v1&skip=1";
    assert_eq!(page.pointer("/nextLink"), Some(&json!(wanted)));
}
