//! A Redis of the test's own, and what one sees in it.

#![allow(dead_code, unreachable_pub)] // shared by test programs

mod process;

use entra_auth::{RedisStore, RedisStoreBuilder};

pub use self::process::RedisServer;

impl RedisServer {
    pub fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(self.url())
    }

    pub fn store(&self) -> RedisStore {
        self.builder().build().unwrap()
    }

    /// Any command, in words.
    pub async fn command(&self, words: &[&str]) -> redis::Value {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask(&words).await
    }
}
