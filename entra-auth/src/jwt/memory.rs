use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{Lifetime, TokenError, TokenTimes, UnverifiedToken, VerifiedJwt, header::Header, token::Parts};

/// What a validator found out about tokens a short time ago, so that a token that comes again costs a hash instead of a
/// signature.
///
/// An entry stands for the exact bytes of a token: it is found by the SHA-256 of the signed part, and its signature is
/// compared. It ends with the first of these:
///
/// - `exp` of the token: times are judged again on every use, by the clock of that moment;
/// - any change of the key source's [`revision`](crate::KeySource::revision): a key that disappears takes every entry
///   with it;
/// - five minutes;
/// - the memory itself. It belongs to one validator, whose policy never changes; a validator with another policy has
///   another memory.
///
/// Only tokens whose signature was good can be kept. A use allocates nothing. Of two generations of half the capacity
/// each the older one is dropped when the younger is full, or five minutes old when the next token is kept.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use entra_auth::{Algorithm, Clock, KeySource, Lifetime, Recall, TokenError, TokenMemory};
/// # async fn f(token: &str, keys: &dyn KeySource, clock: &dyn Clock) -> Result<Arc<str>, TokenError> {
/// let lifetime = Lifetime::new(Duration::from_secs(300));
/// let memory = TokenMemory::<Arc<str>>::new(4096, lifetime); // one for the validator, made once
///
/// let now = clock.now();
/// let token = match memory.recall(token, keys.revision(), now)? {
///     Recall::Known(subject) => return Ok(subject),
///     Recall::Unknown(token) => token,
/// };
/// let times = token.unverified_claims().times()?;
/// times.check(now, lifetime)?;
/// // … the other rules …
/// let verified = token.verify(keys, "https://issuer.example", &[Algorithm::RS256]).await?;
/// let subject: Arc<str> = verified.claims().required_string("sub")?.into();
/// memory.keep(verified, times, &subject);
/// # Ok(subject) }
/// ```
pub struct TokenMemory<T> {
    capacity: usize,
    lifetime: Lifetime,
    headers: RwLock<Vec<Arc<Header>>>,
    tokens: Mutex<Tokens<T>>,
}

/// What a memory knows of a token.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // it lives for a match
pub enum Recall<'a, T> {
    /// It was validated a short time ago, and its times are good now.
    Known(T),
    /// Nothing. Form and header are judged, the rest is to do.
    Unknown(UnverifiedToken<'a>),
}

/// How long a token is remembered at most.
const LONGEST: Duration = Duration::from_secs(300);
/// How many headers are remembered: an issuer has one for each key.
const MAX_HEADERS: usize = 32;
/// A longer header is not remembered.
const MAX_HEADER: usize = 1024;

impl<T: Clone> TokenMemory<T> {
    /// A memory for so many tokens, whose times are judged so. With 0 it remembers no token. Headers, of which an issuer has
    /// one for each key, are read once either way.
    #[must_use]
    pub fn new(capacity: usize, lifetime: Lifetime) -> Self {
        Self { capacity, lifetime, headers: RwLock::default(), tokens: Mutex::new(Tokens::new(0)) }
    }

    /// Looks for a token. The revision is that of the key source at this moment, `now` the time by the validator's clock.
    ///
    /// # Errors
    ///
    /// As [`UnverifiedToken::parse`]; for a known token as [`TokenTimes::check`].
    pub fn recall<'a>(&self, token: &'a str, revision: u64, now: OffsetDateTime) -> Result<Recall<'a, T>, TokenError> {
        let parts = Parts::split(token)?;
        // A header that is not known is of a token that is not known: it is judged before anything dearer is done.
        let Some(header) = self.header(parts.header) else {
            let mut token = UnverifiedToken::read(&parts, Arc::new(Header::parse(parts.header)?), None)?;
            token.trace = (self.capacity > 0).then(|| Trace::of(&parts, revision));
            return Ok(Recall::Unknown(token));
        };
        if self.capacity == 0 {
            return UnverifiedToken::read(&parts, header, None).map(Recall::Unknown);
        }
        let trace = Trace::of(&parts, revision);
        if let Some((value, times)) = self.find(&trace, parts.signature) {
            times.check(now, self.lifetime)?;
            return Ok(Recall::Known(value));
        }
        UnverifiedToken::read(&parts, header, Some(trace)).map(Recall::Unknown)
    }

    /// Remembers what was found out about a token that [`TokenMemory::recall`] did not know. Its times are those of its
    /// claims.
    ///
    /// It counts for the revision of the keys that was given to `recall`: if a key disappeared since, it is remembered for
    /// a state that is gone.
    pub fn keep(&self, token: VerifiedJwt, times: TokenTimes, value: &T) {
        self.keep_header(&token.header);
        let Some(Proven { signed, signature, revision }) = token.proven else { return };
        let now = Instant::now();
        let entry = Entry { signature, value: value.clone(), times, until: now + LONGEST };
        let half = (self.capacity / 2).max(1);
        let mut tokens = self.at(revision);
        let mut forgotten = Generation::default();
        if tokens.younger.len() >= half || now.duration_since(tokens.since) >= LONGEST {
            let next = Generation::with_capacity_and_hasher(tokens.younger.len(), BuildHasherDefault::default());
            forgotten = mem::replace(&mut tokens.younger, next);
            tokens.since = now;
            if half < self.capacity {
                mem::swap(&mut tokens.older, &mut forgotten);
            }
        }
        tokens.younger.insert(Place(signed), entry);
        drop(tokens);
        // Thousands of entries end here, and nobody waits for it.
        drop(forgotten);
    }

    fn find(&self, trace: &Trace, signature: &str) -> Option<(T, TokenTimes)> {
        let place = Place(bytes(&trace.signed));
        let tokens = self.at(trace.revision);
        let entry = tokens.younger.get(&place).or_else(|| tokens.older.get(&place))?;
        let same = is_same(&entry.signature, signature) && Instant::now() < entry.until;
        same.then(|| (entry.value.clone(), entry.times))
    }

    /// What is remembered for this revision of the keys.
    fn at(&self, revision: u64) -> MutexGuard<'_, Tokens<T>> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.revision != revision {
            *tokens = Tokens::new(revision);
        }
        tokens
    }

    fn header(&self, text: &str) -> Option<Arc<Header>> {
        let headers = self.headers.read().unwrap_or_else(PoisonError::into_inner);
        headers.iter().find(|header| *header.text == *text).cloned()
    }

    /// Remembers the header of a good token; nobody else gets to fill the list.
    fn keep_header(&self, header: &Arc<Header>) {
        if header.text.len() > MAX_HEADER || self.header(&header.text).is_some() {
            return;
        }
        let mut headers = self.headers.write().unwrap_or_else(PoisonError::into_inner);
        if headers.len() >= MAX_HEADERS {
            headers.clear();
        }
        headers.push(Arc::clone(header));
    }
}

impl<T> fmt::Debug for TokenMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMemory").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

struct Tokens<T> {
    revision: u64,
    younger: Generation<T>,
    older: Generation<T>,
    /// When the younger generation began.
    since: Instant,
}

type Generation<T> = HashMap<Place, Entry<T>, BuildHasherDefault<FirstBytes>>;

struct Entry<T> {
    /// As it stands in the token.
    signature: Box<str>,
    value: T,
    times: TokenTimes,
    until: Instant,
}

impl<T> Tokens<T> {
    fn new(revision: u64) -> Self {
        Self { revision, younger: HashMap::default(), older: HashMap::default(), since: Instant::now() }
    }
}

/// What a token that may be remembered leaves behind before its signature is checked.
pub(super) struct Trace {
    /// SHA-256 of the signed part, which serves the signature as well.
    pub(super) signed: Digest,
    /// Of the keys, before the work: if one disappears meanwhile, the outcome belongs to a state that is gone.
    revision: u64,
}

impl Trace {
    fn of(parts: &Parts<'_>, revision: u64) -> Self {
        Self { signed: digest(&SHA256, parts.signing_input.as_bytes()), revision }
    }

    /// The same once the signature is good.
    pub(super) fn proven(&self, signature: &str) -> Proven {
        Proven { signed: bytes(&self.signed), signature: signature.into(), revision: self.revision }
    }
}

/// What is needed to remember a token.
#[derive(Clone)]
pub(super) struct Proven {
    signed: [u8; 32],
    signature: Box<str>,
    revision: u64,
}

/// Whether two signatures are the same; the time it takes depends on their lengths alone.
fn is_same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn bytes(digest: &Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The digest of what was signed.
#[derive(PartialEq, Eq)]
struct Place([u8; 32]);

/// Digests are evenly spread already, and only those of good tokens are kept.
impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// The first bytes of a digest as its hash.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, b| sum.rotate_left(8) ^ u64::from(*b));
    }

    fn write_u64(&mut self, bytes: u64) {
        self.0 = bytes;
    }
}
