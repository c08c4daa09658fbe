use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::ValidatedToken;

/// Tokens that were validated a short time ago, by the SHA-256 of the whole token.
///
/// What is remembered is the outcome for one state of the keys: when any key disappears everything is forgotten. The
/// times in the token are judged again on every use.
pub(super) struct Remembered {
    capacity: usize,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    revision: u64,
    by_digest: HashMap<[u8; 32], (ValidatedToken, Instant)>,
}

/// How long a token is remembered at most.
const LONGEST: Duration = Duration::from_secs(300);

impl Remembered {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, tokens: Mutex::default() }
    }

    pub(super) fn get(&self, digest: &[u8; 32], revision: u64) -> Option<ValidatedToken> {
        let now = Instant::now();
        let tokens = self.at(revision);
        let (token, until) = tokens.by_digest.get(digest)?;
        (now < *until).then(|| token.clone())
    }

    /// Remembers a token that was validated while the keys had this revision.
    pub(super) fn put(&self, digest: [u8; 32], revision: u64, token: ValidatedToken) {
        if self.capacity == 0 {
            return;
        }
        let now = Instant::now();
        let mut tokens = self.at(revision);
        if tokens.by_digest.len() >= self.capacity {
            tokens.by_digest.retain(|_, (_, until)| now < *until);
        }
        if tokens.by_digest.len() >= self.capacity {
            // Only good tokens come here, so this is load, not an attack; starting over is cheap.
            tokens.by_digest.clear();
        }
        tokens.by_digest.insert(digest, (token, now + LONGEST));
    }

    /// What is remembered for this revision.
    fn at(&self, revision: u64) -> MutexGuard<'_, Tokens> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.revision != revision {
            tokens.by_digest.clear();
            tokens.revision = revision;
        }
        tokens
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
