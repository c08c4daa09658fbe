//! What goes over the wire, field by field, through a real HTTP client.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::sync::Arc;

use common::{Script, Tokens};
use entra_auth::ReqwestTransport;
use foundry_client::{
    AgentReference, CreateConversation, CreateResponse, FoundryClient, InputItem, ListItems, Order, ResponseStatus,
    Role,
};
use serde_json::json;
use wiremock::matchers::{body_json, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const BASE: &str = "/api/projects/demo/openai/v1";

async fn client(server: &MockServer) -> FoundryClient {
    FoundryClient::builder(format!("{}/api/projects/demo", server.uri()))
        .credential(Arc::new(Tokens::default()))
        .transport(Arc::new(ReqwestTransport::new().unwrap()))
        .build()
        .unwrap()
}

fn no_query(request: &Request) -> bool {
    request.url.query().is_none()
}

#[tokio::test]
async fn a_conversation_is_created() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("{BASE}/conversations")))
        .and(no_query)
        .and(header("authorization", "Bearer token-1"))
        .and(header("content-type", "application/json"))
        .and(header("accept", "application/json"))
        .and(header("user-agent", concat!("foundry-client/", env!("CARGO_PKG_VERSION"))))
        .and(header_exists("x-ms-client-request-id"))
        .and(body_json(json!({
            "items": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}],
            "metadata": {"teams": "1"}
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(
            json!({"id": "conv_1", "object": "conversation", "created_at": 1_795_341_600, "metadata": {"teams": "1"}}),
        ))
        .expect(1)
        .mount(&server)
        .await;
    let request = CreateConversation::new().item(InputItem::user_text("hi")).metadata("teams", "1");
    let conversation = client(&server).await.conversations().create(request).await.unwrap();
    assert_eq!((conversation.id.as_str(), conversation.created_at), ("conv_1", Some(1_795_341_600)));
    assert_eq!(conversation.metadata["teams"], "1");
}

#[tokio::test]
async fn items_are_created_and_listed() {
    let server = MockServer::start().await;
    let page = json!({"object": "list", "first_id": "msg_1", "last_id": "msg_1", "has_more": true, "data": [
        {"id": "msg_1", "type": "message", "role": "user", "status": "completed",
         "content": [{"type": "input_text", "text": "hi"}]}]});
    Mock::given(method("POST"))
        .and(path(format!("{BASE}/conversations/conv_1/items")))
        .and(no_query)
        .and(body_json(json!({"items": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]})))
        .respond_with(ResponseTemplate::new(200).set_body_json(&page))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path(format!("{BASE}/conversations/conv_1/items")))
        .and(query_param("limit", "5"))
        .and(query_param("order", "asc"))
        .and(query_param("after", "msg_0"))
        .and(query_param("before", "msg_9"))
        .and(|request: &Request| request.url.query().unwrap().ends_with("include%5B%5D=a.b&include%5B%5D=c"))
        .and(|request: &Request| request.body.is_empty() && !request.headers.contains_key("content-type"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&page))
        .expect(1)
        .mount(&server)
        .await;
    let items = client(&server).await.items("conv_1");
    let created = items.create([InputItem::user_text("hi")]).await.unwrap();
    assert_eq!((created.first_id.as_deref(), created.last_id.as_deref()), (Some("msg_1"), Some("msg_1")));
    let query = ListItems::new().limit(5).order(Order::Ascending).after("msg_0").before("msg_9");
    let listed = items.list(&query.include("a.b").include("c")).await.unwrap();
    assert!(listed.has_more);
    let message = listed.data[0].as_message().unwrap();
    assert_eq!((listed.data[0].id(), &message.role, message.text().as_str()), (Some("msg_1"), &Role::USER, "hi"));
}

#[tokio::test]
async fn a_response_is_created() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("{BASE}/responses")))
        .and(no_query)
        .and(body_json(json!({
            "agent_reference": {"type": "agent_reference", "name": "helpdesk", "version": "3"},
            "conversation": "conv_1",
            "input": "hello"
        })))
        .respond_with(ResponseTemplate::new(200).insert_header("x-request-id", "req-1").set_body_json(json!({
            "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-4.1",
            "created_at": 1_795_341_600, "conversation": {"id": "conv_1"}, "previous_response_id": null,
            "agent_reference": {"type": "agent_reference", "name": "helpdesk", "version": "3"},
            "agent_session_id": "sess_1", "metadata": {"k": "v"},
            "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 2,
                      "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 5},
            "output": [{"type": "message", "id": "msg_2", "role": "assistant", "status": "completed",
                        "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]
        })))
        .expect(1)
        .mount(&server)
        .await;
    let agent = AgentReference::new("helpdesk").with_version("3");
    let request = CreateResponse::new().agent(agent.clone()).conversation("conv_1").text("hello");
    let response = client(&server).await.responses().create(request).await.unwrap();
    assert_eq!((response.id.as_str(), &response.status), ("resp_1", &ResponseStatus::COMPLETED));
    assert_eq!((response.output_text().as_str(), response.answer_text().as_str()), ("hi", "hi"));
    assert_eq!(response.conversation_id.as_deref(), Some("conv_1"));
    assert_eq!((response.model.as_deref(), response.agent_session_id.as_deref()), (Some("gpt-4.1"), Some("sess_1")));
    assert_eq!((response.agent_reference, response.created_at), (Some(agent), Some(1_795_341_600)));
    assert_eq!(response.metadata["k"], "v");
    let usage = response.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cached_tokens), (3, 1));
    assert_eq!((usage.output_tokens, usage.reasoning_tokens, usage.total_tokens), (2, 1, 5));
}

#[tokio::test]
async fn a_key_is_for_loopback_only_and_goes_into_its_own_header() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(header("api-key", "local"))
        .and(|request: &Request| !request.headers.contains_key("authorization"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"id": "conv_1"})))
        .mount(&server)
        .await;
    let transport: Arc<ReqwestTransport> = Arc::new(ReqwestTransport::new().unwrap());
    let client = FoundryClient::builder(server.uri()).api_key("local").transport(transport.clone()).build().unwrap();
    assert!(client.conversations().create(CreateConversation::new()).await.is_ok());
    assert!(!format!("{client:?}").contains("local\""), "{client:?}");
    assert!(FoundryClient::builder(common::PROJECT).api_key("k").transport(transport).build().is_err());
}

#[test]
fn a_client_is_not_built_from_half_a_configuration() {
    let script = Script::new([]);
    let transport = || Arc::new(script.clone());
    let tokens = || Arc::new(Tokens::default());
    assert!(FoundryClient::builder(common::PROJECT).credential(tokens()).build().is_err());
    assert!(FoundryClient::builder(common::PROJECT).transport(transport()).build().is_err());
    let remote = "https://evil.example/api/projects/p";
    assert!(FoundryClient::builder(remote).credential(tokens()).transport(transport()).build().is_err());
    assert!(
        FoundryClient::builder("http://acme.services.ai.azure.com/api/projects/p")
            .credential(tokens())
            .transport(transport())
            .build()
            .is_err()
    );
    let own = FoundryClient::builder(remote).dangerous().allow_host("evil.example");
    assert!(own.credential(tokens()).transport(transport()).build().is_ok());
    let both = FoundryClient::builder("http://localhost:1").credential(tokens()).api_key("k").transport(transport());
    assert!(both.build().is_err());
}

#[test]
fn clients_are_cheap_to_share() {
    static_assertions::assert_impl_all!(FoundryClient: Clone, Send, Sync, std::fmt::Debug);
    static_assertions::assert_impl_all!(foundry_client::ResponseStream: Send, Unpin);
}
