//! Scripts on a Redis server: what stores and queues are made of.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{Client, Cmd, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates, Value, cmd};
use url::Url;

use super::connection::Connection;
use crate::{BuildError, Secret, StoreError, StoreErrorKind, is_loopback};

/// A Redis server (7.0 or newer; one server, or one primary with replicas; not a cluster) that runs Lua scripts: the base
/// of [`RedisStore`](crate::RedisStore), and of stores and queues of your own.
///
/// A script runs alone, so it is atomic. A clone shares the connection. It is made at the first use, comes back by itself,
/// and is bounded in every wait: 500 ms for an answer, 2 s in all.
///
/// ```no_run
/// use entra_auth::{RedisReply, RedisScripts, ScriptEffect, Secret, StoreError};
///
/// const COUNT: &str = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
///
/// # async fn example(url: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// let scripts = RedisScripts::builder(url).build()?;
/// let visits = scripts.call(COUNT, &["visits"]).number(1).run(ScriptEffect::Once).await?;
/// assert!(matches!(visits, RedisReply::Number(1..)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisScripts(Arc<Connection>);

/// What a [`RedisScripts`] is built from.
#[must_use]
pub struct RedisScriptsBuilder {
    url: Secret,
    attempt: Duration,
    total: Duration,
    roots: Option<Vec<u8>>,
    plain: bool,
}

/// What it means to run a script twice, and what a lost answer means.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptEffect {
    /// It reads. Repeated once when the connection breaks.
    Reads,
    /// It writes and recognises its own repetition. Repeated once when the connection breaks; when that does not help,
    /// the error is [`StoreErrorKind::Timeout`], because it may have taken effect.
    Repeatable,
    /// It writes, and twice would be once too often. Repeated only when it provably did not leave; a lost answer is
    /// [`StoreErrorKind::Timeout`].
    Once,
}

/// What a script returns.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisReply {
    /// `nil` or `false`.
    Nil,
    /// A number; `true` is 1.
    Number(i64),
    /// A string of bytes, or a status.
    Bytes(Bytes),
    /// A table.
    List(Vec<Self>),
}

/// A script with its keys, and the arguments given so far.
#[must_use]
pub struct ScriptCall {
    connection: Arc<Connection>,
    command: Cmd,
}

impl RedisScripts {
    /// Starts with the address: `rediss://user:password@host:6380/0`. Plain `redis://` is for loopback addresses, and
    /// `unix:///path` for a socket of this machine.
    pub fn builder(url: impl Into<Secret>) -> RedisScriptsBuilder {
        RedisScriptsBuilder {
            url: url.into(),
            attempt: Duration::from_millis(500),
            total: Duration::from_secs(2),
            roots: None,
            plain: false,
        }
    }

    /// A call of a script, with its `KEYS`. Arguments are added to it.
    pub fn call<K: AsRef<[u8]>>(&self, script: &str, keys: &[K]) -> ScriptCall {
        // EVAL, not EVALSHA: a server that has just restarted needs no second round trip, and scripts are short.
        let mut command = cmd("EVAL");
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        ScriptCall { connection: Arc::clone(&self.0), command }
    }

    /// A plain command that is no script.
    pub(super) async fn command(
        &self,
        name: &str,
        arguments: &[&str],
        effect: ScriptEffect,
    ) -> Result<Value, StoreError> {
        let mut command = cmd(name);
        command.arg(arguments);
        self.0.run(&command, effect).await
    }
}

impl ScriptCall {
    /// The next of `ARGV`.
    pub fn bytes(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// The next of `ARGV`, in decimal digits.
    pub fn number(mut self, argument: u64) -> Self {
        self.command.arg(argument);
        self
    }

    /// Runs the script and waits for what it returns.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout` (it may have taken effect), `Full`; `Corrupt` when a name holds something of another kind,
    /// or the script returns something that scripts do not return. No text of the server's is in it but the error code.
    pub async fn run(self, effect: ScriptEffect) -> Result<RedisReply, StoreError> {
        RedisReply::read(self.connection.run(&self.command, effect).await?)
            .ok_or_else(|| StoreErrorKind::Corrupt.into())
    }
}

impl RedisReply {
    fn read(value: Value) -> Option<Self> {
        Some(match value {
            Value::Nil | Value::Boolean(false) => Self::Nil,
            Value::Boolean(true) => Self::Number(1),
            Value::Int(number) => Self::Number(number),
            Value::BulkString(bytes) => Self::Bytes(bytes.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Value::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Value::Array(items) | Value::Set(items) => {
                Self::List(items.into_iter().map(Self::read).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

impl RedisScriptsBuilder {
    /// The bound of one answer and of a whole call. Default: 500 ms and 2 s.
    pub const fn timeouts(mut self, attempt: Duration, total: Duration) -> Self {
        self.attempt = attempt;
        self.total = total;
        self
    }

    /// The certificates (PEM) that the server's certificate must come from, in place of the machine's own list.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Accepts `redis://` to other machines: login and data then cross the network in clear. For networks that encrypt
    /// by themselves.
    pub const fn dangerous_plain_tcp(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Builds it. Nothing is sent. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the address is malformed, is plain `redis://` to another machine, or asks for TLS without checks; when TLS
    /// is wanted and the process has no default crypto provider
    /// (`rustls::crypto::aws_lc_rs::default_provider().install_default()` at the top of `main`); outside a runtime.
    /// The message holds no part of the address.
    pub fn build(self) -> Result<RedisScripts, BuildError> {
        let malformed = || BuildError::new("the address of Redis has the form rediss://user:password@host:port/0");
        let url: Url = self.url.expose().parse().map_err(|_| malformed())?;
        let tls = match url.scheme() {
            "rediss" => true,
            "redis" if self.plain || is_this_machine(&url) => false,
            "redis" => return Err(BuildError::new("plain redis:// is for loopback addresses; use rediss://")),
            "unix" => false,
            _ => return Err(malformed()),
        };
        if url.fragment().is_some() {
            return Err(BuildError::new("the address of Redis has no fragment; TLS is always checked"));
        }
        if tls && rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::new(
                "rediss:// needs a crypto provider: call rustls::crypto::aws_lc_rs::default_provider().install_default() \
                 at the top of main",
            ));
        }
        let info = url.into_connection_info().map_err(|_| malformed())?;
        // With version 3 of the protocol a lost connection is noticed, and dialled anew, before the next use.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        let client = if tls {
            let certificates = TlsCertificates { client_tls: None, root_cert: self.roots };
            Client::build_with_tls(info, certificates)
                .map_err(|_| BuildError::new("the root certificates for Redis are no PEM certificates"))?
        } else {
            Client::open(info).map_err(|_| malformed())?
        };
        Connection::new(client, self.attempt, self.total).map(|connection| RedisScripts(Arc::new(connection)))
    }
}

/// The host of a `redis:` address is not parsed as one of the web's, so numbers are text there.
fn is_this_machine(url: &Url) -> bool {
    url.host_str().and_then(|host| format!("http://{host}/").parse::<Url>().ok()).is_some_and(|url| is_loopback(&url))
}

impl fmt::Debug for RedisScripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisScripts")
    }
}

impl fmt::Debug for RedisScriptsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisScriptsBuilder").field("total", &self.total).finish_non_exhaustive()
    }
}

impl fmt::Debug for ScriptCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptCall")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_return_is_read_and_nothing_else() {
        let bytes = |text: &'static str| RedisReply::Bytes(Bytes::from_static(text.as_bytes()));
        for (value, reply) in [
            (Value::Nil, Some(RedisReply::Nil)),
            (Value::Boolean(false), Some(RedisReply::Nil)),
            (Value::Boolean(true), Some(RedisReply::Number(1))),
            (Value::Int(-3), Some(RedisReply::Number(-3))),
            (Value::BulkString(b"a".to_vec()), Some(bytes("a"))),
            (Value::Okay, Some(bytes("OK"))),
            (
                Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Nil])]),
                Some(RedisReply::List(vec![RedisReply::Number(1), RedisReply::List(vec![RedisReply::Nil])])),
            ),
            (Value::Double(0.5), None),
            (Value::Array(vec![Value::Double(0.5)]), None),
        ] {
            assert_eq!(RedisReply::read(value.clone()), reply, "{value:?}");
        }
    }
}
