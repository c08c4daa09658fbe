//! A service with its own HTTP client and its own store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{
    AccessToken, AccessTokenValidator, Authority, Body, ConfidentialClient, Error, HttpTransport, Key, KeyError,
    KeyErrorKind, KeyLookup, KeySource, Namespace, Partition, Put, Record, Secret, SigningKey, Store, StoreError,
    Table, TenantPolicy, TokenCredential, TokenRequest, TransportError, Version, When,
};

/// Answers every token request from a script.
#[derive(Debug)]
struct Scripted;

#[async_trait]
impl HttpTransport for Scripted {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        assert_eq!(request.uri().path(), "/11111111-1111-1111-1111-111111111111/oauth2/v2.0/token");
        let answer = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"from-the-script"}"#;
        Ok(http::Response::new(Body::from(answer.to_owned())))
    }
}

/// Any credential can stand where the library's own does.
#[derive(Debug)]
struct Fixed;

#[async_trait]
impl TokenCredential for Fixed {
    async fn get_token(&self, _: &TokenRequest) -> Result<AccessToken, Error> {
        AccessToken::new("fixed", time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(40_000))
    }
}

/// Keys from wherever they are kept.
#[derive(Debug)]
struct NoKeys;

#[async_trait]
impl KeySource for NoKeys {
    async fn key(&self, _: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        Err(KeyErrorKind::Unknown.into())
    }

    fn revision(&self) -> u64 {
        0
    }
}

/// The simplest store there is; a real one keeps times to live.
#[derive(Debug, Default)]
struct Shelf(Mutex<(u64, HashMap<Key, (Bytes, u64)>)>);

fn version(number: u64) -> Version {
    Version::new(number.to_be_bytes().to_vec())
}

impl Shelf {
    fn holds(found: Option<u64>, when: When<'_>) -> bool {
        match when {
            When::Always => true,
            When::Absent => found.is_none(),
            When::Unchanged(expected) => found.is_some_and(|number| version(number) == *expected),
            _ => false,
        }
    }
}

#[async_trait]
impl Store for Shelf {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let shelf = self.0.lock().unwrap();
        Ok(shelf.1.get(key).map(|(value, number)| Record { value: value.clone(), version: version(*number) }))
    }

    async fn put(&self, key: &Key, value: Bytes, _: Duration, when: When<'_>) -> Result<Put, StoreError> {
        let mut shelf = self.0.lock().unwrap();
        if !Self::holds(shelf.1.get(key).map(|(_, number)| *number), when) {
            return Ok(Put::Conflict);
        }
        shelf.0 += 1;
        let number = shelf.0;
        shelf.1.insert(key.clone(), (value, number));
        Ok(Put::Stored(version(number)))
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        let mut shelf = self.0.lock().unwrap();
        let found = shelf.1.get(key).map(|(_, number)| *number);
        Ok(found.is_some() && Self::holds(found, when) && shelf.1.remove(key).is_some())
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        self.0.lock().unwrap().1.retain(|key, _| key.partition() != partition);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant: entra_auth::TenantId = "11111111-1111-1111-1111-111111111111".parse()?;
    let client = ConfidentialClient::builder(
        tenant.clone(),
        "22222222-2222-2222-2222-222222222222".parse()?,
        Secret::new("secret"),
    )
    .transport(Arc::new(Scripted))
    .build()?;
    let request = TokenRequest::new("https://graph.microsoft.com/.default".parse()?);
    let credentials: [Arc<dyn TokenCredential>; 2] = [Arc::new(client), Arc::new(Fixed)];
    let mut tokens = Vec::new();
    for credential in credentials {
        tokens.push(credential.get_token(&request).await?.expose().to_owned());
    }
    assert_eq!(tokens, ["from-the-script", "fixed"]);

    let table: Table<String> = Table::new(Arc::new(Shelf::default()), Duration::from_secs(60));
    let key = Namespace::precious("notes").partition(["tenant", "user"]).key(["note"]);
    assert!(table.insert(&key, &"remember".to_owned()).await?);
    assert_eq!(table.get(&key).await?.as_deref(), Some("remember"));

    let validator =
        AccessTokenValidator::builder(Authority::default(), ["api://app"], TenantPolicy::Single(tenant))
            .keys(Arc::new(NoKeys))
            .build()?;
    let refused = validator.authenticate(&http::HeaderMap::new()).await.unwrap_err();
    println!("entra-auth consumer: ok, and without a token: {}", refused.kind().as_str());
    Ok(())
}
