//! A Redis of the test's own, and what one sees in it.

#[allow(unreachable_pub)] // the tests of another crate use the file too, and re-export what is in it
mod process;

use entra_auth::{RedisStore, RedisStoreBuilder};

pub(crate) use self::process::RedisServer;

impl RedisServer {
    pub(crate) fn builder(&self) -> RedisStoreBuilder {
        RedisStore::builder(self.url())
    }

    pub(crate) fn store(&self) -> RedisStore {
        self.builder().build().unwrap()
    }

    /// Any command, in words.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.ask(&words).await
    }
}
