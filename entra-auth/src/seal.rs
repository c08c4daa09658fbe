//! Records at rest: authenticated encryption under keys that can be changed without losing what is stored.

use std::{error::Error as StdError, fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use crate::{BuildError, Key, StoreError, StoreErrorKind};

/// Seals records so that whoever holds the store can neither read nor change them, nor move them to another place.
///
/// AES-256-GCM with a fresh random nonce a record, under a subkey that HKDF-SHA256 derives for each partition. The
/// namespace, partition and name of the record are authenticated: a record copied under another key does not open.
/// Several keys can be in use; the first one writes, all of them read.
///
/// ```
/// use entra_auth::{Namespace, Sealer};
///
/// let place = Namespace::precious("references").partition(["tenant"]).key(["conversation"]);
/// let old = Sealer::parse("k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
/// let sealed = old.seal(&place, b"record")?;
///
/// // A new key is put in front; what the old one wrote still opens.
/// let both = Sealer::parse(
///     "k2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=,k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
/// )?;
/// assert_eq!(both.open(&place, &sealed)?, b"record");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Format
///
/// One byte of version (1), one byte of length and the key id, 12 bytes of nonce, ciphertext, 16 bytes of tag.
#[derive(Clone)]
pub struct Sealer {
    /// Never empty; the first one writes.
    keys: Arc<[SealingKey]>,
}

struct SealingKey {
    id: Box<str>,
    prk: Prk,
}

const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const MAX_ID: usize = 32;
const SALT: &[u8] = b"entra-auth/seal/1";

/// Standard and URL-safe texts are both seen in the wild; padding is optional.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT_PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT_PADDING);
const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

impl Sealer {
    /// Reads `id:base64,id2:base64`: one or more keys of 32 random bytes, the newest first.
    ///
    /// An id is 1 to 32 letters, digits, `-`, `_` or `.`, and is stored in clear beside each record. To rotate, put a
    /// new key in front, and drop the old one when the longest-lived record has expired.
    ///
    /// # Errors
    ///
    /// When there is no key, an entry has another form, a key is not 32 bytes long, or an id appears twice. The
    /// operator fixes the setting; the message never holds a part of it.
    #[inline]
    pub fn parse(keys: &str) -> Result<Self, BuildError> {
        let keys: Vec<SealingKey> =
            keys.split(',').map(|entry| SealingKey::parse(entry.trim())).collect::<Result<_, _>>()?;
        let mut ids: Vec<&str> = keys.iter().map(|key| &*key.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(BuildError::new("two sealing keys have the same id"));
        }
        Ok(Self { keys: keys.into() })
    }

    /// A sealer whose key lives and dies with this process: for stores in memory.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give.
    #[must_use]
    #[allow(clippy::expect_used)] // no input from outside; without randomness nothing here can be done safely
    pub fn ephemeral() -> Self {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        aws_lc_rs::rand::fill(&mut *key).expect("the operating system gives random bytes");
        Self { keys: Arc::new([SealingKey::new("ephemeral", &key)]) }
    }

    /// Seals a record for its place in a store.
    ///
    /// # Errors
    ///
    /// [`SealErrorKind::TooLarge`] beyond 64 GiB, the limit of the cipher.
    pub fn seal(&self, place: &Key, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let Some(key) = self.keys.first() else {
            return Err(SealErrorKind::UnknownKey.into());
        };
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealErrorKind::TooLarge)?;
        let mut sealed = header(&key.id);
        let aad = associated(&sealed, place);
        let mut content = plaintext.to_vec();
        key.subkey(place)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut content)
            .map_err(|_| SealErrorKind::TooLarge)?;
        sealed.reserve_exact(NONCE_LEN + content.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&content);
        Ok(sealed)
    }

    /// Opens a record that was sealed for this place.
    ///
    /// # Errors
    ///
    /// See [`SealErrorKind`]; the record is unusable in every case, and no part of it is returned.
    pub fn open(&self, place: &Key, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealErrorKind::Malformed)?;
        if *version != VERSION {
            return Err(SealErrorKind::UnknownVersion.into());
        }
        let (length, rest) = rest.split_first().ok_or(SealErrorKind::Malformed)?;
        let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(SealErrorKind::Malformed)?;
        let (nonce, content) = rest.split_at_checked(NONCE_LEN).ok_or(SealErrorKind::Malformed)?;
        if content.len() < AES_256_GCM.tag_len() {
            return Err(SealErrorKind::Malformed.into());
        }
        let key = self.keys.iter().find(|key| key.id.as_bytes() == id).ok_or(SealErrorKind::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealErrorKind::Malformed)?;
        let aad = associated(&header(&key.id), place);
        let mut content = content.to_vec();
        let length = key
            .subkey(place)?
            .open_in_place(nonce, Aad::from(aad), &mut content)
            .map_err(|_| SealErrorKind::NotAuthentic)?
            .len();
        content.truncate(length);
        Ok(content)
    }
}

impl SealingKey {
    fn new(id: &str, key: &[u8; KEY_LEN]) -> Self {
        Self { id: id.into(), prk: Salt::new(HKDF_SHA256, SALT).extract(key) }
    }

    #[inline]
    fn parse(entry: &str) -> Result<Self, BuildError> {
        let (id, text) = entry
            .split_once(':')
            .ok_or_else(|| BuildError::new("a sealing key has the form id:base64; several are separated by commas"))?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(BuildError::new("the id of a sealing key is 1 to 32 letters, digits, '-', '_' or '.'"));
        }
        let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).map(Zeroizing::new);
        let bytes = decoded.map_err(|_| BuildError::new("a sealing key is not base64"))?;
        let key = <&[u8; KEY_LEN]>::try_from(bytes.as_slice())
            .map_err(|_| BuildError::new("a sealing key is 32 random bytes in base64"))?;
        if key.windows(2).all(|pair| pair.first() == pair.last()) {
            return Err(BuildError::new("a sealing key is one byte repeated; use 32 random bytes"));
        }
        Ok(Self::new(id, key))
    }

    fn subkey(&self, place: &Key) -> Result<LessSafeKey, SealError> {
        let partition = place.partition();
        let namespace = partition.namespace().name();
        let info = [length(namespace), length(partition.id())];
        let info = [&info[0][..], namespace.as_bytes(), &info[1][..], partition.id().as_bytes()];
        let okm = self.prk.expand(&info, &AES_256_GCM).map_err(|_| SealErrorKind::TooLarge)?;
        Ok(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

fn header(id: &str) -> Vec<u8> {
    // Ids are at most 32 bytes long.
    let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
    [&[VERSION, length][..], id.as_bytes()].concat()
}

/// What a record is bound to, besides its own header: every part with its length in front.
fn associated(header: &[u8], place: &Key) -> Vec<u8> {
    let partition = place.partition();
    let parts = [partition.namespace().name(), partition.id(), place.name()];
    parts.iter().fold(header.to_vec(), |mut all, part| {
        all.extend_from_slice(&length(part));
        all.extend_from_slice(part.as_bytes());
        all
    })
}

fn length(part: &str) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

/// Shows the ids of the keys, never a key.
impl fmt::Debug for Sealer {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.keys.iter().map(|key| &*key.id).collect::<Vec<_>>()).finish()
    }
}

/// Why a record could not be sealed or opened. Retrying brings the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealError {
    kind: SealErrorKind,
}

/// What kind of failure it is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealErrorKind {
    /// Shorter than any sealed record: the store cut it, or it was never sealed. The operator.
    Malformed,
    /// Written by a newer version of this library, or never sealed. The operator.
    UnknownVersion,
    /// Sealed under a key that is not configured any more. The operator puts the key back, or drops the record.
    UnknownKey,
    /// Changed, moved from another place, or sealed under another key with the same id. The operator.
    NotAuthentic,
    /// More than the cipher can seal. The developer.
    TooLarge,
}

impl SealError {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> SealErrorKind {
        self.kind
    }
}

impl From<SealErrorKind> for SealError {
    fn from(kind: SealErrorKind) -> Self {
        Self { kind }
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        let kind = match error.kind {
            SealErrorKind::TooLarge => StoreErrorKind::TooLarge,
            _ => StoreErrorKind::Corrupt,
        };
        Self::new(kind, error)
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            SealErrorKind::Malformed => "the record is no sealed record",
            SealErrorKind::UnknownVersion => "the record is sealed in an unknown format",
            SealErrorKind::UnknownKey => "the record is sealed under a key that is not configured",
            SealErrorKind::NotAuthentic => "the record was changed or belongs to another place",
            SealErrorKind::TooLarge => "the record is too large to be sealed",
        })
    }
}

impl StdError for SealError {}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;
    use crate::Namespace;

    const TURNS: Namespace = Namespace::precious("turns");

    fn place(partition: &str, name: &str) -> Key {
        TURNS.partition([partition]).key([name])
    }

    fn text(id: &str, first: u8) -> String {
        let key: Vec<u8> = (0..32).map(|n| first.wrapping_add(n)).collect();
        format!("{id}:{}", BASE64_STANDARD.encode(key))
    }

    fn sealer(keys: &[(&str, u8)]) -> Sealer {
        let texts: Vec<_> = keys.iter().map(|(id, first)| text(id, *first)).collect();
        Sealer::parse(&texts.join(",")).unwrap()
    }

    #[test]
    fn a_record_opens_in_its_place_only() {
        let sealer = sealer(&[("a", 1)]);
        let home = place("lane", "turn");
        let sealed = sealer.seal(&home, b"marker text").unwrap();
        assert_eq!(sealer.open(&home, &sealed).unwrap(), b"marker text");
        assert!(!sealed.windows(6).any(|part| part == b"marker"));
        for elsewhere in [
            place("lane2", "turn"),
            place("lane", "turn2"),
            place("lane", ""),
            Namespace::precious("flows").partition(["lane"]).key(["turn"]),
            TURNS.partition(["lane", "turn"]).key([""; 0]),
        ] {
            assert_eq!(sealer.open(&elsewhere, &sealed).unwrap_err().kind(), SealErrorKind::NotAuthentic);
        }
    }

    #[test]
    fn equal_records_look_different() {
        let sealer = sealer(&[("a", 1)]);
        let home = place("lane", "turn");
        assert_ne!(sealer.seal(&home, b"same").unwrap(), sealer.seal(&home, b"same").unwrap());
        assert_eq!(sealer.open(&home, &sealer.seal(&home, b"").unwrap()).unwrap(), b"");
    }

    #[test]
    fn the_newest_key_writes_and_all_read() {
        let home = place("lane", "turn");
        let old = sealer(&[("k1", 1)]);
        let both = sealer(&[("k2", 2), ("k1", 1)]);
        let new = sealer(&[("k2", 2)]);
        let before = old.seal(&home, b"before").unwrap();
        let after = both.seal(&home, b"after").unwrap();
        assert_eq!(both.open(&home, &before).unwrap(), b"before");
        assert_eq!(new.open(&home, &after).unwrap(), b"after");
        assert_eq!(new.open(&home, &before).unwrap_err().kind(), SealErrorKind::UnknownKey);
        assert_eq!(old.open(&home, &after).unwrap_err().kind(), SealErrorKind::UnknownKey);
        // The same id with another key is no key for it.
        assert_eq!(sealer(&[("k1", 9)]).open(&home, &before).unwrap_err().kind(), SealErrorKind::NotAuthentic);
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_noticed() {
        let sealer = sealer(&[("key", 1), ("kex", 2)]);
        let home = place("lane", "turn");
        let sealed = sealer.seal(&home, b"record").unwrap();
        for length in 0..sealed.len() {
            assert!(sealer.open(&home, &sealed[..length]).is_err(), "cut at {length}");
        }
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(sealer.open(&home, &changed).is_err(), "byte {at}, bit {bit}");
            }
        }
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(sealer.open(&home, &longer).unwrap_err().kind(), SealErrorKind::NotAuthentic);
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        let sealer = sealer(&[("a", 1)]);
        let home = place("lane", "turn");
        let mut sealed = sealer.seal(&home, b"record").unwrap();
        sealed[0] = 2;
        for (record, kind) in [
            (&sealed[..], SealErrorKind::UnknownVersion),
            (b"{\"plain\":true}", SealErrorKind::UnknownVersion),
            (b"", SealErrorKind::Malformed),
            (b"\x01", SealErrorKind::Malformed),
            (b"\x01\xff", SealErrorKind::Malformed),
            (b"\x01\x01a", SealErrorKind::Malformed),
        ] {
            let error = sealer.open(&home, record).unwrap_err();
            assert_eq!(error.kind(), kind, "{record:?}");
            assert_eq!(StoreError::from(error).kind(), StoreErrorKind::Corrupt);
        }
    }

    #[test]
    fn settings() {
        let good = text("k1", 1);
        let body = good.split_once(':').unwrap().1;
        let unpadded = format!("k1:{}", body.trim_end_matches('='));
        let url_safe =
            format!("k1:{}", BASE64_STANDARD.encode([0xfb, 0xff].repeat(16)).replace('/', "_").replace('+', "-"));
        for text in [&*good, &unpadded, &url_safe, &format!(" {good} , {} ", text("k2", 2))] {
            assert!(Sealer::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "marker",
            ":",
            &format!(":{body}"),
            &format!("k 1:{body}"),
            &format!("{}:{body}", "k".repeat(33)),
            "k1:marker!",
            "k1:bWFya2Vy",
            &format!("k1:{}", BASE64_STANDARD.encode([7; 32])),
            &format!("k1:{}", BASE64_STANDARD.encode([1_u8, 2].repeat(20))),
            &format!("{good},"),
            &format!("{good},{good}"),
            &format!("{good},k2"),
        ] {
            let error = Sealer::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
            assert!(!format!("{error} {error:?}").contains(body), "{error:?}");
        }
    }

    #[test]
    fn ephemeral_keys_differ_and_nothing_is_shown() {
        let home = place("lane", "turn");
        let sealed = Sealer::ephemeral().seal(&home, b"record").unwrap();
        assert_eq!(Sealer::ephemeral().open(&home, &sealed).unwrap_err().kind(), SealErrorKind::NotAuthentic);
        assert_eq!(format!("{:?}", sealer(&[("k2", 2), ("k1", 1)])), r#"Sealer(["k2", "k1"])"#);
    }
}
