//! Files and pictures of the user: fetched and passed on, or declined.

use std::error::Error as _;

use botframework_activity::{
    Activity, Attachment, ConnectorClient, ContentType, Downloaded, SendError, VerifiedActivity, card::FileDownloadInfo,
};
use bytes::Bytes;
use entra_auth::{TransportError, TransportErrorKind};
use foundry_client::InputContent;

/// The most files of one message.
const MOST: usize = 5;
/// The largest file, bytes. Checked by the connector's client while it reads.
pub(crate) const LARGEST: usize = 8 << 20;
/// All files of one message together, bytes.
const ALL: usize = 12 << 20;
/// The longest text of a file, bytes: it counts as words of the user.
const LONGEST_TEXT: usize = 128 << 10;
/// The longest part of a name that is repeated, characters.
const LONGEST_NAME: usize = 80;

/// What became of the files of a message.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Parts for the agent.
    pub(crate) content: Vec<InputContent>,
    /// Names of the files it does not get, and why.
    pub(crate) declined: Vec<(String, Why)>,
}

/// Why a file was declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Neither a picture, nor a PDF, nor text.
    Kind,
    /// Too large, alone or with the others; or too many.
    Size,
    /// It was not there, or is at a place that nothing is fetched from.
    Missing,
}

/// Whether there is more in a message than text. Teams adds an HTML copy of the text as an attachment; that is no file.
pub(crate) fn has_any(activity: &Activity) -> bool {
    files(activity).next().is_some()
}

fn files(activity: &Activity) -> impl Iterator<Item = &Attachment> {
    activity.attachments.iter().filter(|attachment| !attachment.is(&ContentType::HTML))
}

impl Files {
    /// Fetches the files of a message.
    ///
    /// Pictures in the text come from the connector, with the bot's token; files from the user's store, by the address that
    /// Teams has signed for us. No other address is asked: the connector's client sees to that.
    pub(crate) async fn fetch(connector: &ConnectorClient, activity: &VerifiedActivity) -> Self {
        let mut all = Self::default();
        let mut room = ALL;
        for (number, attachment) in files(activity).enumerate() {
            let name = name(attachment);
            let verdict = if number >= MOST {
                Err(Why::Size)
            } else if !is_fetched(attachment, &name) {
                Err(Why::Kind)
            } else {
                fetch(connector, activity, attachment, &name, &mut room).await
            };
            match verdict {
                Ok(part) => all.content.push(part),
                Err(why) => all.declined.push((name, why)),
            }
        }
        if !all.content.is_empty() || !all.declined.is_empty() {
            let (passed, declined) = (all.content.len(), all.declined.len());
            tracing::info!(target: "hop", "{passed} files passed on, {declined} declined");
        }
        all
    }
}

async fn fetch(
    connector: &ConnectorClient,
    activity: &VerifiedActivity,
    attachment: &Attachment,
    name: &str,
    room: &mut usize,
) -> Result<InputContent, Why> {
    let file = connector.download(activity.service_url(), attachment).await;
    let Downloaded { bytes, .. } = file.map_err(|error| {
        tracing::warn!(%error, "a file of the user was not fetched");
        if is_too_large(&error) { Why::Size } else { Why::Missing }
    })?;
    *room = room.checked_sub(bytes.len()).ok_or(Why::Size)?;
    part(name, &bytes)
}

fn is_too_large(error: &SendError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<TransportError>());
    source.is_some_and(|error| error.kind() == TransportErrorKind::TooLarge)
}

/// Whether it is worth a request. What a file is decides its content, not its name; but of a film nothing else is to be
/// expected.
fn is_fetched(attachment: &Attachment, name: &str) -> bool {
    let kind = attachment.content_type.as_ref().map(ContentType::as_str).unwrap_or_default();
    if attachment.is(&ContentType::FILE_DOWNLOAD_INFO) {
        let info = attachment.card::<FileDownloadInfo>().ok().flatten();
        let end = info.and_then(|info| info.file_type).or_else(|| Some(name.rsplit_once('.')?.1.to_owned()));
        return end.is_some_and(|end| READABLE.contains(&end.to_ascii_lowercase().as_str()));
    }
    kind.starts_with("image/") && attachment.content_url.is_some()
}

/// What names of files end with that the agent can read.
const READABLE: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "webp", "pdf", "txt", "text", "md", "markdown", "csv", "tsv", "json", "jsonl", "xml",
    "yaml", "yml", "toml", "ini", "conf", "log", "html", "htm", "css", "js", "ts", "py", "rs", "go", "java", "cs", "c",
    "h", "cpp", "sh", "ps1", "sql", "bicep", "tf", "eml", "ics", "srt", "vtt", "tex",
];

/// The file for the agent, as what it is.
fn part(name: &str, bytes: &Bytes) -> Result<InputContent, Why> {
    if bytes.is_empty() {
        return Err(Why::Missing);
    }
    if let Some(media_type) = picture(bytes) {
        return Ok(InputContent::image(media_type, bytes));
    }
    if bytes.starts_with(b"%PDF-") {
        return Ok(InputContent::file(name, "application/pdf", bytes));
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or(Why::Kind)?;
    if text.len() > LONGEST_TEXT {
        return Err(Why::Size);
    }
    let text = text.trim_start_matches('\u{feff}');
    Ok(InputContent::text(format!("The file “{name}”, as the user sent it:\n\n{text}")))
}

/// The type of a picture that models can see, by its first bytes.
fn picture(bytes: &[u8]) -> Option<&'static str> {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        _ => webp.then_some("image/webp"),
    }
}

/// The name as it can be repeated in a message: short, and without what could be a link or a mark.
fn name(attachment: &Attachment) -> String {
    let keep = |c: &char| c.is_alphanumeric() || " ._-+,".contains(*c);
    let name: String = attachment.name.as_deref().unwrap_or_default().chars().filter(keep).take(LONGEST_NAME).collect();
    if name.trim().is_empty() { crate::words::UNNAMED.to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn json_of(name: &str, bytes: &'static [u8]) -> Result<Value, Why> {
        part(name, &Bytes::from_static(bytes)).map(|part| serde_json::to_value(part).unwrap())
    }

    #[test]
    fn the_content_decides_what_a_file_is() {
        assert_eq!(json_of("a.txt", b"\x89PNG\r\n\x1a\nrest").unwrap()["type"], "input_image");
        let pdf = json_of("a.png", b"%PDF-1.7").unwrap();
        assert_eq!((&pdf["type"], &pdf["filename"]), (&json!("input_file"), &json!("a.png")));
        assert_eq!(pdf["file_data"], "data:application/pdf;base64,JVBERi0xLjc=");
        let text = json_of("a.csv", "\u{feff}a;b".as_bytes()).unwrap();
        assert_eq!((&text["type"], text["text"].as_str().unwrap().ends_with("\n\na;b")), (&json!("input_text"), true));
        assert_eq!(json_of("a.txt", b"\xff\xfe\x00"), Err(Why::Kind));
        assert_eq!(json_of("a.txt", b"MZ\0\0"), Err(Why::Kind));
        assert_eq!(json_of("a.txt", b""), Err(Why::Missing));
        assert_eq!(part("a.txt", &vec![b'x'; LONGEST_TEXT + 1].into()).err(), Some(Why::Size));
        for (bytes, kind) in [
            (&b"\xff\xd8\xff\xe0"[..], Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"RIFF", None),
        ] {
            assert_eq!(picture(bytes), kind);
        }
    }

    #[test]
    fn names_are_repeated_without_marks() {
        let named = |name: &str| super::name(&Attachment::default().with_name(name));
        assert_eq!(named("[a](https://evil.example) **b**.pdf"), "ahttpsevil.example b.pdf");
        assert_eq!(named("Übersicht 1.docx"), "Übersicht 1.docx");
        assert_eq!(named("\u{202e}"), crate::words::UNNAMED);
        assert_eq!(named(&"x".repeat(500)).len(), LONGEST_NAME);
    }

    #[test]
    fn only_what_may_be_readable_is_asked_for() {
        let file = |name: &str, kind: Value| {
            let content = json!({"downloadUrl": "https://contoso.sharepoint.com/x", "fileType": kind});
            let attachment = Attachment::new(ContentType::FILE_DOWNLOAD_INFO, &content).unwrap().with_name(name);
            is_fetched(&attachment, name)
        };
        assert!(file("a", json!("PDF")) && file("a.md", Value::Null));
        assert!(!file("a.pdf", json!("docx")) && !file("a", Value::Null) && !file("film.mp4", Value::Null));
        let picture = Attachment::linked(
            "image/*".into(),
            "https://smba.trafficmanager.net/emea/v3/attachments/1/views/original",
        );
        assert!(is_fetched(&picture, "x"));
        assert!(!is_fetched(&Attachment::linked(ContentType::ADAPTIVE_CARD, "https://x"), "x"));
        assert!(!is_fetched(&Attachment::default(), "x"));
    }
}
