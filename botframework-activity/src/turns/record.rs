//! What a queue keeps of a turn: sealed, so that a queue outside this process learns nothing.

use bytes::Bytes;
use entra_auth::{Key, Namespace, Sealer};

use super::{Lane, TurnId};
use crate::model::{
    json,
    object::{Value, wire_object},
};
use crate::{Activity, RawJson};

const TURNS: Namespace = Namespace::precious("turns");

/// Format of the plaintext: one byte of version, then JSON.
const JSON_V1: u8 = 1;

/// Where the payload of a turn belongs: a record that is moved to another turn does not open.
pub(super) fn payload_place(lane: &Lane, id: &TurnId) -> Key {
    TURNS.partition([lane.as_str()]).key([id.as_str(), "payload"])
}

fn progress_place(lane: &Lane, id: &TurnId) -> Key {
    TURNS.partition([lane.as_str()]).key([id.as_str(), "progress"])
}

wire_object! {
    /// How far a turn is.
    pub(super) struct Progress {
        /// The id of the placeholder that the answer will replace.
        pub placeholder: Option<String> = "placeholder";
        /// The placeholder is a stream that waits for its final message.
        pub stream: bool = "stream";
        /// The answer, once there is one: the handler does not run again.
        pub answer: Option<Activity> = "answer";
        /// The answer is being sent as a message of its own. If that is all that is known, it may have arrived.
        pub creating: bool = "creating";
        /// What the handler stored.
        pub note: Option<RawJson> = "note";
    }
}

impl Progress {
    /// How many bytes of it others have chosen.
    pub(super) fn size(&self) -> usize {
        let answer = self.answer.as_ref().and_then(|answer| answer.text.as_ref()).map_or(0, String::len);
        answer + self.note.as_ref().map_or(0, |note| note.get().len())
    }

    pub(super) fn seal(&self, sealer: &Sealer, lane: &Lane, id: &TurnId) -> Option<Bytes> {
        let mut plaintext = Vec::with_capacity(1024);
        plaintext.push(JSON_V1);
        let plaintext = json::write(plaintext, &self.datum()).ok()?;
        sealer.seal(&progress_place(lane, id), &plaintext).ok().map(Bytes::from)
    }

    /// `None` when the record does not open or is of an unknown format.
    pub(super) fn open(sealed: &[u8], sealer: &Sealer, lane: &Lane, id: &TurnId) -> Option<Self> {
        let plaintext = sealer.open(&progress_place(lane, id), sealed).ok()?;
        json::read(std::str::from_utf8(plaintext.strip_prefix(&[JSON_V1])?).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_comes_back_in_its_place_only() {
        let sealer = Sealer::ephemeral();
        let [lane, other] = ["a", "b"].map(Lane::new);
        let id = TurnId::new("1");
        let progress = Progress {
            placeholder: Some("p".into()),
            stream: true,
            answer: Some(Activity::message("secret text")),
            creating: true,
            note: Some(RawJson::from_text(r#"{"n":1.50}"#).unwrap()),
            ..Progress::default()
        };
        let sealed = progress.seal(&sealer, &lane, &id).unwrap();
        let back = Progress::open(&sealed, &sealer, &lane, &id).unwrap();
        assert_eq!(back.placeholder, progress.placeholder);
        assert_eq!(back.answer, progress.answer);
        assert!(back.creating && back.stream);
        assert_eq!(back.note, progress.note);
        assert!(Progress::open(&sealed, &sealer, &other, &id).is_none());
        assert!(Progress::open(&sealed, &sealer, &lane, &TurnId::new("2")).is_none());
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
    }
}
