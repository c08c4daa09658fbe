//! A Redis of the test's own, and what one sees in it.

#![allow(dead_code, unreachable_pub)] // shared by test programs

#[path = "../../../entra-auth/tests/redis_server/process.rs"]
mod process;

pub use self::process::RedisServer;

/// The settings under which nothing is lost.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

impl RedisServer {
    /// Every name in the server that begins or ends so.
    pub async fn names(&self, pattern: &str) -> Vec<String> {
        let redis::Value::Array(names) = self.ask(&[b"KEYS", pattern.as_bytes()]).await else { panic!("a list") };
        names.into_iter().map(text).collect()
    }
}

pub fn text(value: redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}
