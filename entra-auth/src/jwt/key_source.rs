use std::{
    error::Error as StdError,
    fmt::{self, Debug},
    sync::Arc,
};

use async_trait::async_trait;

use super::{SigningKey, TokenError, TokenErrorKind, jwk};

/// Where the keys that verify signatures come from.
#[async_trait]
pub trait KeySource: Debug + Send + Sync + 'static {
    /// The key of that issuer with that id.
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError>;

    /// A number that changes when any key disappears. Whoever remembers verified tokens forgets them then.
    fn revision(&self) -> u64;
}

#[async_trait]
impl<T: KeySource + ?Sized> KeySource for Arc<T> {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        (**self).key(lookup).await
    }

    fn revision(&self) -> u64 {
        (**self).revision()
    }
}

/// Which key is wanted. Both texts come from a token whose signature is not checked yet.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct KeyLookup<'a> {
    /// The token's issuer.
    pub issuer: &'a str,
    /// The token's `kid`.
    pub kid: &'a str,
}

impl<'a> KeyLookup<'a> {
    /// A lookup of that key of that issuer.
    #[must_use]
    pub const fn new(issuer: &'a str, kid: &'a str) -> Self {
        Self { issuer, kid }
    }
}

/// Shows nothing: the texts are an attacker's until the signature is checked.
impl Debug for KeyLookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLookup")
    }
}

/// Why there is no key. Cheap to clone: everyone who waited for one request gets the same error.
#[derive(Clone)]
pub struct KeyError {
    kind: KeyErrorKind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What is known about a missing key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyErrorKind {
    /// The issuer does not publish it. The token is forged, or from somewhere else.
    Unknown,
    /// It is unknown, and it is too early to ask the issuer again. A retry after five minutes may succeed.
    Gated,
    /// The issuer's keys cannot be fetched. The operator looks at the network; a retry may succeed.
    Unavailable,
    /// The key document is not one, or holds no usable key. The operator.
    Malformed,
}

impl KeyError {
    /// An error of that kind with what caused it. The source must hold no URL query and no body.
    pub fn new(kind: KeyErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, source: Some(Arc::new(source)) }
    }

    /// What is known.
    #[must_use]
    pub const fn kind(&self) -> KeyErrorKind {
        self.kind
    }
}

impl From<KeyErrorKind> for KeyError {
    fn from(kind: KeyErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl From<KeyError> for TokenError {
    fn from(error: KeyError) -> Self {
        let kind = match error.kind {
            KeyErrorKind::Unknown => TokenErrorKind::UnknownKey,
            KeyErrorKind::Gated => TokenErrorKind::KeyGated,
            KeyErrorKind::Unavailable | KeyErrorKind::Malformed => TokenErrorKind::KeysUnavailable,
        };
        Self::from(kind).with_source(error)
    }
}

impl Debug for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyError").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            KeyErrorKind::Unknown => "the issuer publishes no such key",
            KeyErrorKind::Gated => "the key is unknown, and it is too early to ask the issuer again",
            KeyErrorKind::Unavailable => "the issuer's keys could not be fetched",
            KeyErrorKind::Malformed => "the key document holds no usable key",
        })
    }
}

impl StdError for KeyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

/// A fixed set of keys that needs no network: for tests, and for issuers whose keys are pinned.
#[derive(Clone)]
pub struct StaticKeys(Arc<jwk::Keys>);

impl StaticKeys {
    /// The usable keys of a JWKS document (`{"keys":[…]}`, <https://www.rfc-editor.org/rfc/rfc7517#section-5>).
    ///
    /// Keys that cannot verify a signature safely are skipped: RSA below 2048 bits, an even exponent, `use` other than
    /// `sig`, an unknown `kty` or `alg`.
    ///
    /// # Errors
    ///
    /// [`KeyErrorKind::Malformed`] when this is no key document or no key in it is usable. The developer.
    #[inline]
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeyError> {
        jwk::parse_jwks(json).map(|keys| Self(Arc::new(keys)))
    }
}

#[async_trait]
impl KeySource for StaticKeys {
    #[inline]
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.0.get(lookup.kid).cloned().ok_or_else(|| KeyErrorKind::Unknown.into())
    }

    fn revision(&self) -> u64 {
        0
    }
}

impl Debug for StaticKeys {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
