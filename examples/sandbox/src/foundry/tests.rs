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
    let app = router(Config { authorize: Arc::new(move |_| verdict.clone()) });
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
