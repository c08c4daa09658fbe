//! The shipped implementations keep the contracts that they ask of others.

#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn memory_store() {
    entra_auth::conformance::store(Arc::new(entra_auth::MemoryStore::default())).await;
}

#[cfg(feature = "reqwest")]
#[tokio::test(flavor = "multi_thread")]
async fn reqwest_transport() {
    entra_auth::conformance::http_transport(Arc::new(entra_auth::ReqwestTransport::new().unwrap())).await;
}
