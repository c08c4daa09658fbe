//! A bot with its own HTTP client.

use std::sync::Arc;

use async_trait::async_trait;
use botframework_activity::{Activity, ChannelAuthenticator, ChannelKeys, ConnectorClient, ServiceUrl};
use entra_auth::{
    AccessToken, Body, Error, HttpTransport, TenantPolicy, TokenCredential, TokenRequest, TransportError,
};

#[derive(Debug)]
struct Fixed;

#[async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        AccessToken::new("fixed", time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(40_000))
    }
}

/// Plays the connector.
#[derive(Debug)]
struct Scripted;

#[async_trait]
impl HttpTransport for Scripted {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        assert_eq!(request.uri().path(), "/_connector/v3/conversations/a%3A1/activities/7");
        Ok(http::Response::new(Body::from(r#"{"id":"8"}"#.to_owned())))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport: Arc<dyn HttpTransport> = Arc::new(Scripted);
    let authenticator = ChannelAuthenticator::builder(
        "22222222-2222-2222-2222-222222222222".parse()?,
        TenantPolicy::Single("11111111-1111-1111-1111-111111111111".parse()?),
        ChannelKeys::fetched(Arc::clone(&transport)),
    )
    .build()?;
    let refused = authenticator.authenticate(&http::HeaderMap::new()).await.unwrap_err();
    assert_eq!(refused.status(), 401);

    let incoming: Activity = Activity::from_json(
        br#"{"type":"message","id":"7","channelId":"msteams","serviceUrl":"http://localhost:1/_connector",
             "from":{"id":"29:1"},"recipient":{"id":"28:2"},"conversation":{"id":"a:1"},"text":"hi"}"#,
    )?;
    let connector = ConnectorClient::builder(transport, Arc::new(Fixed)).build()?;
    let at = ServiceUrl::loopback_dev("http://localhost:1/_connector")?;
    let sent = connector.reply(&at, &Activity::message("Hello.").reply_to(&incoming)).await?;
    assert_eq!(sent.id(), Some("8"));
    println!("botframework-activity consumer: ok");
    Ok(())
}
