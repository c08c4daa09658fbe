//! Stores: the one in Redis, and the token cache that processes share through one. One program, since both use the same
//! server.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "seal", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../acquire_support/mod.rs"]
mod acquire_support;
#[cfg(all(feature = "redis", feature = "conformance"))]
#[path = "../redis_server/mod.rs"]
mod redis_server;
#[cfg(all(feature = "redis", feature = "conformance"))]
mod store_redis;
mod store_tokens;
