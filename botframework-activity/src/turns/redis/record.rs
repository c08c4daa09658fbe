//! What lies in Redis of a turn: names as hashes, everything else sealed.

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use entra_auth::{Key, Namespace, SealErrorKind, Sealer};

use crate::{Lane, QueueErrorKind, TurnId};

const QUEUE: Namespace = Namespace::precious("turn-queue");

/// The first byte of what is stored, before the sealed part.
const VERSION: u8 = 1;

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Another worker may read it: it is of a newer version, or sealed under a key that is not here yet.
    Here,
    /// Nobody will.
    Broken,
}

/// Seals and opens the records of one application.
pub(super) struct Records {
    application: String,
    sealer: Sealer,
}

impl Records {
    pub(super) const fn new(application: String, sealer: Sealer) -> Self {
        Self { application, sealer }
    }

    /// What all names in Redis begin with. The part in braces decides the slot.
    pub(super) fn prefix(&self) -> String {
        format!("bt{VERSION}:{{{}}}:", hash(&[&self.application]))
    }

    pub(super) fn lane(lane: &Lane) -> String {
        hash(&["lane", lane.as_str()])
    }

    pub(super) fn turn(id: &TurnId) -> String {
        hash(&["turn", id.as_str()])
    }

    /// The names and the payload, each with its length in front but the last.
    pub(super) fn seal(&self, lane: &Lane, id: &TurnId, payload: &[u8]) -> Result<Vec<u8>, QueueErrorKind> {
        let mut plain = Vec::with_capacity(lane.as_str().len() + id.as_str().len() + payload.len() + 8);
        for name in [lane.as_str(), id.as_str()] {
            let length = u32::try_from(name.len()).map_err(|_| QueueErrorKind::TooLarge)?;
            plain.extend_from_slice(&length.to_be_bytes());
            plain.extend_from_slice(name.as_bytes());
        }
        plain.extend_from_slice(payload);
        self.seal_part(&Self::lane(lane), &Self::turn(id), "record", &plain)
    }

    pub(super) fn open(&self, lane: &str, turn: &str, stored: &[u8]) -> Result<(Lane, TurnId, Bytes), Unreadable> {
        let mut plain = self.open_part(lane, turn, "record", stored)?;
        let mut name = || {
            let length = usize::try_from(u32::from_be_bytes(*plain.first_chunk::<4>()?)).ok()?;
            let text = std::str::from_utf8(plain.get(4..length.checked_add(4)?)?).ok()?.to_owned();
            let _ = plain.split_to(4 + length);
            Some(text)
        };
        let (lane, id) = (name().ok_or(Unreadable::Broken)?, name().ok_or(Unreadable::Broken)?);
        Ok((Lane::new(lane), TurnId::new(id), plain))
    }

    pub(super) fn seal_progress(&self, lane: &Lane, id: &TurnId, progress: &[u8]) -> Result<Vec<u8>, QueueErrorKind> {
        self.seal_part(&Self::lane(lane), &Self::turn(id), "progress", progress)
    }

    pub(super) fn open_progress(&self, lane: &str, turn: &str, stored: &[u8]) -> Result<Bytes, Unreadable> {
        self.open_part(lane, turn, "progress", stored)
    }

    fn seal_part(&self, lane: &str, turn: &str, part: &str, plain: &[u8]) -> Result<Vec<u8>, QueueErrorKind> {
        let sealed = self.sealer.seal(&self.place(lane, turn, part), plain).map_err(|_| QueueErrorKind::TooLarge)?;
        Ok([&[VERSION][..], &sealed].concat())
    }

    fn open_part(&self, lane: &str, turn: &str, part: &str, stored: &[u8]) -> Result<Bytes, Unreadable> {
        let sealed = match stored.split_first() {
            Some((&VERSION, sealed)) => sealed,
            Some((version, _)) if *version > VERSION => return Err(Unreadable::Here),
            _ => return Err(Unreadable::Broken),
        };
        let opened = self.sealer.open(&self.place(lane, turn, part), sealed);
        opened.map(Bytes::from).map_err(|error| match error.kind() {
            SealErrorKind::UnknownKey | SealErrorKind::UnknownVersion => Unreadable::Here,
            _ => Unreadable::Broken,
        })
    }

    /// A record that is moved to another turn or lane does not open.
    fn place(&self, lane: &str, turn: &str, part: &str) -> Key {
        QUEUE.partition([&self.application, lane]).key([turn, part])
    }
}

/// Every part goes in with its length in front, so that parts cannot run into each other.
fn hash(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(id: &str, first: u8) -> Sealer {
        let key: Vec<u8> = (0..32).map(|n| first.wrapping_add(n)).collect();
        Sealer::parse(&format!("{id}:{}", base64::prelude::BASE64_STANDARD.encode(key))).unwrap()
    }

    #[test]
    fn records_open_in_their_place_and_nowhere_else() {
        let records = Records::new("app".into(), sealer("k", 1));
        let (lane, id) = (Lane::new("marker lane"), TurnId::new("marker \u{e4}"));
        let stored = records.seal(&lane, &id, b"marker payload").unwrap();
        assert!(!stored.windows(6).any(|part| part == b"marker"));
        let (l, t) = (Records::lane(&lane), Records::turn(&id));
        let (back_lane, back_id, payload) = records.open(&l, &t, &stored).unwrap();
        assert_eq!(
            (back_lane.as_str(), back_id.as_str(), &payload[..]),
            (lane.as_str(), id.as_str(), &b"marker payload"[..])
        );
        let progress = records.seal_progress(&lane, &id, b"").unwrap();
        assert_eq!(records.open_progress(&l, &t, &progress), Ok(Bytes::new()));
        for (lane, turn, stored) in
            [(&t, &t, &stored), (&l, &l, &stored), (&l, &t, &progress), (&l, &t, &vec![]), (&l, &t, &vec![1, 1, 1])]
        {
            assert_eq!(records.open(lane, turn, stored).unwrap_err(), Unreadable::Broken);
        }
        assert!(Records::new("other".into(), sealer("k", 1)).open(&l, &t, &stored).is_err());
    }

    #[test]
    fn what_another_worker_can_read_is_left_to_it() {
        let (lane, id) = (Lane::new("a"), TurnId::new("1"));
        let (l, t) = (Records::lane(&lane), Records::turn(&id));
        let mut stored = Records::new("app".into(), sealer("new", 1)).seal(&lane, &id, b"x").unwrap();
        let old = Records::new("app".into(), sealer("old", 2));
        assert_eq!(old.open(&l, &t, &stored).unwrap_err(), Unreadable::Here, "a key that is not here yet");
        stored[0] = 2;
        assert_eq!(old.open(&l, &t, &stored).unwrap_err(), Unreadable::Here, "a newer version");
        stored[0] = 0;
        assert_eq!(old.open(&l, &t, &stored).unwrap_err(), Unreadable::Broken);
    }
}
