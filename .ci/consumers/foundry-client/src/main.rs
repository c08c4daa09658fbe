//! A service that asks an agent through its own HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use entra_auth::{AccessToken, Body, Error, HttpTransport, TokenCredential, TokenRequest, TransportError};
use foundry_client::{AgentReference, CreateConversation, CreateResponse, FoundryClient};

#[derive(Debug)]
struct Fixed;

#[async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        AccessToken::new("fixed", time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(40_000))
    }
}

/// Plays a project with one agent that says hello.
#[derive(Debug)]
struct Scripted;

const STREAM: &str = concat!(
    "event: response.created\n",
    "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
    "event: response.output_text.delta\n",
    "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hello.\"}\n\n",
    "event: response.completed\n",
    "data: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello.\",\"annotations\":[]}]}]}}\n\n",
);

#[async_trait]
impl HttpTransport for Scripted {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        assert_eq!(request.headers()["authorization"], "Bearer fixed");
        let (kind, body) = match request.uri().path() {
            path if path.ends_with("/conversations") => {
                ("application/json", r#"{"id":"conv_1","object":"conversation","created_at":0}"#)
            }
            path if path.ends_with("/responses") => ("text/event-stream", STREAM),
            path => panic!("unexpected path {path}"),
        };
        let response = http::Response::builder().header("content-type", kind).body(Body::from(body.to_owned()));
        Ok(response.unwrap())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = FoundryClient::builder("https://resource.services.ai.azure.com/api/projects/project")
        .credential(Arc::new(Fixed))
        .transport(Arc::new(Scripted))
        .build()?;
    let conversation = client.conversations().create(CreateConversation::new()).await?;
    let request = CreateResponse::new().agent(AgentReference::new("helper")).conversation(conversation.id).text("Hi");
    let mut stream = client.responses().stream(request).await?;
    while let Some(event) = stream.next().await {
        event?;
    }
    assert_eq!(stream.output_text(), "Hello.");
    println!("foundry-client consumer: ok");
    Ok(())
}
