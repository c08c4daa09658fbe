//! A bot with sign-in over its own HTTP client and its own store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use botframework_activity::{ChannelAuthenticator, ChannelCloud, ChannelKeys, ConnectorClient};
use bytes::Bytes;
use entra_auth::{
    AccessToken, Body, Error, HttpTransport, Key, MemoryStore, Partition, Put, Record, Sealer, Store, StoreError,
    TenantPolicy, TokenCredential, TokenRequest, TransportError, TransportErrorKind, When,
};
use teams_sso::{Connection, SignIn, TokenServiceClient};

#[derive(Debug)]
struct Fixed;

#[async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        AccessToken::new("fixed", time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(40_000))
    }
}

/// A network that is down.
#[derive(Debug)]
struct Down;

#[async_trait]
impl HttpTransport for Down {
    async fn send(&self, _: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        Err(TransportErrorKind::NotSent.into())
    }
}

/// A store of one's own: here it only counts, and leaves the work to another.
#[derive(Debug, Default)]
struct Counting(MemoryStore);

#[async_trait]
impl Store for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        self.0.put(key, value, ttl, when).await
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        self.0.remove(key, when).await
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        self.0.remove_partition(partition).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport: Arc<dyn HttpTransport> = Arc::new(Down);
    let credential: Arc<dyn TokenCredential> = Arc::new(Fixed);
    let authenticator = ChannelAuthenticator::builder(
        "22222222-2222-2222-2222-222222222222".parse()?,
        TenantPolicy::Single("11111111-1111-1111-1111-111111111111".parse()?),
        ChannelKeys::fetched(Arc::clone(&transport)),
    )
    .build()?;
    let connector = ConnectorClient::builder(Arc::clone(&transport), Arc::clone(&credential)).build()?;
    let tokens = TokenServiceClient::builder(ChannelCloud::Public, credential, transport).build()?;
    let sign_in = SignIn::builder(tokens, connector, authenticator.policy().clone())
        .connection(Connection::opaque("jira"))
        .durable(Arc::new(Counting::default()), Sealer::ephemeral())
        .build()?;
    assert_eq!(sign_in.connections().map(Connection::name).collect::<Vec<_>>(), ["jira"]);
    println!("teams-sso consumer: ok");
    Ok(())
}
