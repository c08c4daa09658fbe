//! The fast way through the commonest event: a flat object of plain strings and whole numbers, in one pass.

/// The members of `response.output_text.delta`, as places in the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned<'a> {
    pub(crate) tag: Option<&'a str>,
    pub(crate) delta: Option<&'a str>,
    pub(crate) item_id: Option<&'a str>,
    pub(crate) sequence_number: Option<u64>,
    pub(crate) output_index: Option<u64>,
    pub(crate) content_index: Option<u64>,
}

/// Reads an object whose members are strings without escapes, whole numbers and empty lists.
///
/// Some means that the text is valid JSON of exactly that form, each known member once and of its type. None says
/// nothing: such a text is left to the JSON parser.
pub(crate) fn scan(text: &str) -> Option<Scanned<'_>> {
    // Control characters may stand between tokens, never inside strings; without any the strings need no check.
    if text.bytes().fold(false, |found, byte| found | (byte < b' ')) {
        return None;
    }
    let mut found = Scanned::default();
    let mut rest = blank(text).strip_prefix('{')?;
    loop {
        let (key, after) = string(blank(rest))?;
        let value = blank(blank(after).strip_prefix(':')?);
        rest = match key {
            "type" => put(&mut found.tag, string(value)?)?,
            "delta" => put(&mut found.delta, string(value)?)?,
            "item_id" => put(&mut found.item_id, string(value)?)?,
            "sequence_number" => put(&mut found.sequence_number, number(value)?)?,
            "output_index" => put(&mut found.output_index, number(value)?)?,
            "content_index" => put(&mut found.content_index, number(value)?)?,
            _ => other(value)?,
        };
        rest = blank(rest);
        match rest.as_bytes().first()? {
            b',' => rest = rest.get(1..)?,
            b'}' => return blank(rest.get(1..)?).is_empty().then_some(found),
            _ => return None,
        }
    }
}

/// A member that comes twice is left to the parser.
fn put<'a, T>(slot: &mut Option<T>, (value, rest): (T, &'a str)) -> Option<&'a str> {
    slot.replace(value).is_none().then_some(rest)
}

fn blank(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b' ') => text.trim_start_matches(' '),
        _ => text,
    }
}

fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (value, rest) = text.split_at_checked(end)?;
    Some((value, rest.strip_prefix('"')?))
}

fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (value, rest) = text.split_at_checked(digits)?;
    let plain = (1..=18).contains(&digits) && (digits == 1 || !value.starts_with('0'));
    if !plain || matches!(rest.as_bytes().first(), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    let value = value.bytes().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some((value, rest))
}

fn other(text: &str) -> Option<&str> {
    match text.as_bytes().first()? {
        b'"' => string(text).map(|(_, rest)| rest),
        b'[' => text.strip_prefix("[]"),
        b'0'..=b'9' => number(text).map(|(_, rest)| rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const FULL: &str = r#"{"type":"response.output_text.delta","sequence_number":7,"item_id":"msg_1","output_index":1, "content_index" : 2 ,"delta":" wörd","logprobs":[],"obfuscation":"xyz"}"#;

    #[test]
    fn every_member_is_found() {
        let found = scan(FULL).unwrap();
        assert_eq!((found.tag, found.delta), (Some("response.output_text.delta"), Some(" wörd")));
        assert_eq!((found.item_id, found.sequence_number), (Some("msg_1"), Some(7)));
        assert_eq!((found.output_index, found.content_index), (Some(1), Some(2)));
    }

    #[test]
    fn anything_unusual_is_left_to_the_parser() {
        for text in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            "{\"delta\":\"a\"",
            "{\"delta\":\"a\"} x",
            "{\"delta\":\"a\"}}",
            "{\"delta\":\"a\",}",
            "{\"delta\":\"a\\n\"}",
            "{\"delta\":\"a\nb\"}",
            "{\"delta\":1}",
            "{\"delta\":null}",
            "{\"delta\":\"a\",\"delta\":\"b\"}",
            "{\"sequence_number\":01}",
            "{\"sequence_number\":1.0}",
            "{\"sequence_number\":1e3}",
            "{\"sequence_number\":-1}",
            "{\"sequence_number\":99999999999999999999}",
            "{\"x\":[1]}",
            "{\"x\":{}}",
            "{\"x\":true}",
            "{delta:\"a\"}",
            "{\"delta\" \"a\"}",
        ] {
            assert_eq!(scan(text), None, "{text}");
        }
    }

    /// What is scanned is JSON, and means the same to the parser: with every byte of an event changed, cut or doubled.
    #[test]
    fn what_is_scanned_the_parser_reads_alike() {
        let mut accepted = 0;
        let mut check = |bytes: Vec<u8>| {
            let Ok(text) = String::from_utf8(bytes) else { return };
            let Some(found) = scan(&text) else { return };
            accepted += 1;
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let strings = [("type", found.tag), ("delta", found.delta), ("item_id", found.item_id)];
            for (name, member) in strings {
                assert_eq!(value.get(name).and_then(Value::as_str), member, "{text}");
            }
            let numbers = [
                ("sequence_number", found.sequence_number),
                ("output_index", found.output_index),
                ("content_index", found.content_index),
            ];
            for (name, member) in numbers {
                assert_eq!(value.get(name).and_then(Value::as_u64), member, "{text}");
            }
        };
        let full = FULL.as_bytes();
        for at in 0..full.len() {
            for byte in 0..=127_u8 {
                let mut changed = full.to_vec();
                changed[at] = byte;
                check(changed);
            }
            check(full[..at].to_vec());
            check([&full[..at], &full[at..=at], &full[at..]].concat());
            check([&full[..at], &full[at + 1..]].concat());
        }
        assert!(accepted > 1_000, "{accepted}");
    }
}
