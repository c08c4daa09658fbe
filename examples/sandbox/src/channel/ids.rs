//! Ids in the shapes Teams gives them.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The personal conversation of a user and a bot: always the same, 131 characters as captured.
pub(crate) fn personal(mri: &str, bot: &str) -> String {
    let seed = format!("{mri}|{bot}");
    let first = URL_SAFE_NO_PAD.encode(digest(&SHA512, seed.as_bytes()));
    let second = URL_SAFE_NO_PAD.encode(digest(&SHA256, seed.as_bytes()));
    let mut id = format!("a:1{first}{second}");
    id.truncate(131);
    id
}

/// A group chat. The same name gives the same id.
pub(crate) fn group(name: &str) -> String {
    format!(
        "19:{}@thread.v2",
        hex(&digest(&SHA256, name.as_bytes()).as_ref().iter().copied().take(16).collect::<Vec<_>>())
    )
}

/// A channel. The same name gives the same id.
pub(crate) fn channel(name: &str) -> String {
    format!(
        "19:{}@thread.tacv2",
        hex(&digest(&SHA256, name.as_bytes()).as_ref().iter().copied().take(16).collect::<Vec<_>>())
    )
}

/// The chat of a meeting. The same title gives the same id.
pub(crate) fn meeting(title: &str) -> String {
    let name = digest(&SHA256, title.as_bytes());
    format!("19:meeting_{}@thread.v2", URL_SAFE_NO_PAD.encode(name))
}

/// The id of the meeting with this chat.
pub(crate) fn meeting_in(chat: &str) -> String {
    STANDARD.encode(format!("0#{chat}#0"))
}

/// A correlation vector as in the `MS-CV` header.
pub(crate) fn correlation() -> String {
    format!("{}.1.1.1.1.1", URL_SAFE_NO_PAD.encode(random::<16>()))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The sandbox has no secrets; without random numbers ids would repeat, which its tests would show.
    let _ = rand::fill(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_shapes_of_teams() {
        assert_eq!(personal("29:1", "app").len(), 131);
        assert_eq!(personal("29:1", "app"), personal("29:1", "app"));
        assert_ne!(personal("29:1", "app"), personal("29:2", "app"));
        assert!(group("a").ends_with("@thread.v2") && channel("a").ends_with("@thread.tacv2"));
        assert_ne!(correlation(), correlation());
    }
}
