//! Forms of several parts: <https://www.rfc-editor.org/rfc/rfc7578>.

use bytes::Bytes;
use entra_auth::CorrelationId;
use http::HeaderValue;

use crate::client::error::Error;

/// One part of a form.
pub(crate) struct Part<'a> {
    /// A word of the service.
    pub(crate) name: &'static str,
    pub(crate) filename: Option<&'a str>,
    pub(crate) media_type: Option<&'static str>,
    pub(crate) content: &'a [u8],
}

/// The parts with the content type that goes with them. The boundary is random: no content holds it.
pub(crate) fn form(parts: &[Part<'_>]) -> Result<(HeaderValue, Bytes), Error> {
    let boundary = format!("part-{}", CorrelationId::random());
    let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}"))
        .map_err(|_| Error::misuse("the boundary is a header value"))?;
    Ok((kind, write(&boundary, parts)?))
}

fn write(boundary: &str, parts: &[Part<'_>]) -> Result<Bytes, Error> {
    let bad = |text: &str| text.is_empty() || text.chars().any(|c| c.is_control() || c == '"' || c == '\\');
    let mut body = Vec::with_capacity(parts.iter().map(|part| part.content.len() + 256).sum());
    for part in parts {
        if part.filename.is_some_and(bad) {
            return Err(Error::misuse("a file's name has neither quotes nor control characters"));
        }
        let name = part.filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
        let kind = part.media_type.map(|kind| format!("\r\nContent-Type: {kind}")).unwrap_or_default();
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"{name}{kind}\r\n\r\n", part.name);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_one_after_the_other_and_names_cannot_leave_theirs() {
        let parts = |name| {
            let purpose = Part { name: "purpose", filename: None, media_type: None, content: b"assistants" };
            let media_type = Some("application/octet-stream");
            [purpose, Part { name: "file", filename: Some(name), media_type, content: b"\x00hi" }]
        };
        let expected = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--b\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\u{0}hi\r\n--b--\r\n";
        assert_eq!(std::str::from_utf8(&write("b", &parts("a.txt")).unwrap()).unwrap(), expected);
        for bad in ["", "a\"b", "a\r\nb", "a\\b"] {
            assert!(form(&parts(bad)).is_err(), "{bad:?}");
        }
    }
}
