//! Suites for whoever implements a port: call them from a test of your own.
//!
//! Each takes a function that makes the implementation and panics at the first promise that is broken.
//!
//! ```
//! use std::sync::Arc;
//! use entra_auth::{MemoryStore, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! conformance::store(Arc::new(MemoryStore::default())).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a suite reports by panicking

mod store;
mod transport;

pub use self::{store::store, transport::http_transport};
