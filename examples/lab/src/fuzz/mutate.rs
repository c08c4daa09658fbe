//! Makes hostile inputs out of good ones.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::Random;

/// Changes bytes without knowing what they are.
pub fn bytes(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let at = random.index(input.len() + 1);
    let rest = input.len() - at;
    match random.below(10) {
        0 | 1 if rest > 0 => input[at] ^= 1 << random.below(8),
        2 if rest > 0 => input[at] = random.next() as u8,
        3 if rest > 0 => drop(input.drain(at..at + 1 + random.index(rest.min(32)))),
        4 => input.truncate(at),
        5 if rest > 0 => {
            let copy = input[at..at + 1 + random.index(rest.min(64))].to_vec();
            let to = random.index(input.len() + 1);
            insert(input, to, &copy);
        }
        6 if !other.is_empty() => {
            // The beginning of one and the end of another.
            input.truncate(at);
            input.extend_from_slice(&other[random.index(other.len())..]);
        }
        7 if !other.is_empty() => {
            let from = random.index(other.len());
            let piece = &other[from..(from + 1 + random.index(64)).min(other.len())];
            insert(input, at, piece);
        }
        8 => {
            let count = 1 + random.index(16);
            let noise = random.bytes(count);
            insert(input, at, &noise);
        }
        _ => {
            let word = random.pick(WORDS).copied().unwrap_or_default();
            insert(input, at, word.as_bytes());
        }
    }
}

/// Changes JSON so that mostly it stays JSON.
pub fn json(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let spans = scan(input);
    let Some(span) = random.pick(&spans).cloned() else { return bytes(random, input, other) };
    let value = input[span.start..span.end].to_vec();
    let with_key = span.key.map_or(span.start, |key| key);
    match random.below(16) {
        // A member or element twice.
        0 | 1 => {
            let copy = [b",", &input[with_key..span.end]].concat();
            insert(input, span.end, &copy);
        }
        // A member twice, with another value.
        2 => {
            if let Some(key) = span.key {
                let copy = [b",", &input[key..span.start], scalar(random).as_bytes()].concat();
                insert(input, span.end, &copy);
            }
        }
        // A member or element less, with the comma after or before it.
        3 => {
            let after =
                input[span.end..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|skip| span.end + skip);
            match after.filter(|at| input[*at] == b',') {
                Some(comma) => drop(input.drain(with_key..=comma)),
                None => {
                    let comma = input[..with_key].iter().rposition(|byte| *byte == b',').unwrap_or(with_key);
                    input.drain(comma..span.end);
                }
            }
        }
        // Another type.
        4..7 => replace(input, &span, scalar(random).as_bytes()),
        7 => replace(input, &span, &[b"[", &value[..], b"]"].concat()),
        8 => replace(input, &span, &[br#"{"a":"#, &value[..], b"}"].concat()),
        // A number that no one expects.
        9 => replace(input, &span, random.pick(NUMBERS).copied().unwrap_or("0").as_bytes()),
        // Deep nesting.
        10 if random.once_in(4) => {
            let depth = [20, 31, 33, 63, 65, 127, 129, 1500][random.index(8)];
            let (open, close) = if random.once_in(2) { ("[", "]") } else { (r#"{"a":"#, "}") };
            replace(input, &span, &[open.repeat(depth).as_bytes(), &value, close.repeat(depth).as_bytes()].concat());
        }
        // Text that is hard to read.
        11 if value.len() >= 2 && value[0] == b'"' => {
            let at = span.start + 1 + random.index(value.len() - 1);
            let word = random.pick(TEXTS).copied().unwrap_or_default();
            insert(input, at, word.as_bytes());
        }
        12 if value.len() >= 2 && value[0] == b'"' && random.once_in(8) => {
            let many = [300, 1100, 5000, 20_000][random.index(4)];
            insert(input, span.start + 1, "a".repeat(many).as_bytes());
        }
        // Values change places.
        13 => {
            if let Some(second) = random.pick(&spans).filter(|second| second.start >= span.end) {
                let moved = input[second.start..second.end].to_vec();
                input.splice(second.start..second.end, value);
                input.splice(span.start..span.end, moved);
            }
        }
        // A value of another input.
        14 => {
            let theirs = scan(other);
            if let Some(theirs) = random.pick(&theirs) {
                replace(input, &span, &other[theirs.start..theirs.end]);
            }
        }
        // A name in another spelling.
        15 => {
            if let Some(key) = span.key
                && let Some(byte) = input.get(key + 1).copied().filter(u8::is_ascii_alphabetic)
            {
                match random.below(3) {
                    0 => input[key + 1] = byte ^ 0x20,
                    1 => drop(input.splice(key + 1..key + 2, format!("\\u{byte:04x}").into_bytes())),
                    _ => insert(input, key + 1, b"\\u0000"),
                }
            }
        }
        _ => bytes(random, input, other),
    }
}

/// Changes a compact JWT: its JSON, its parts, its letters.
pub fn jwt(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = input.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
    let theirs: Vec<&[u8]> = other.split(|byte| *byte == b'.').collect();
    match random.below(12) {
        0..6 => {
            let which = usize::from(random.below(3) > 0).min(parts.len() - 1);
            let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).ok();
            if let Some(mut text) = decode(&parts[which]) {
                let their = theirs.get(which).and_then(|part| decode(part)).unwrap_or_default();
                json(random, &mut text, &their);
                parts[which] = URL_SAFE_NO_PAD.encode(text).into_bytes();
            }
        }
        6 => {
            let (one, two) = (random.index(parts.len()), random.index(parts.len()));
            parts.swap(one, two);
        }
        7 => {
            let which = random.index(parts.len());
            if let Some(their) = theirs.get(which) {
                parts[which] = their.to_vec();
            }
        }
        8 => {
            // The last letter of a part carries bits that must be zero.
            let which = random.index(parts.len());
            let last = parts[which].last_mut();
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";
            if let Some(last) = last {
                *last = letters[random.index(letters.len())];
            }
        }
        9 => {
            let which = random.index(parts.len());
            let extra: &[u8] = [&b"="[..], b"==", b".", b" ", b"\n", b"%3D", b"A", b"\0"][random.index(8)];
            parts[which].extend_from_slice(extra);
        }
        10 => parts.truncate(random.index(parts.len() + 1)),
        _ => {
            let mut text = input.to_vec();
            bytes(random, &mut text, other);
            return text;
        }
    }
    parts.join(&b'.')
}

/// Where a value stands in JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    /// Where its name begins, when it is a member.
    key: Option<usize>,
}

/// The values in a text that looks like JSON, the first few hundred of them.
fn scan(text: &[u8]) -> Vec<Span> {
    let (mut spans, mut open, mut key, mut at) = (Vec::new(), Vec::new(), None, 0);
    while at < text.len() && spans.len() < 400 {
        match text[at] {
            b'"' => {
                let end = end_of_string(text, at);
                let next = end + text[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if text.get(next) == Some(&b':') {
                    key = Some(at);
                    at = next + 1;
                } else {
                    spans.push(Span { start: at, end, key: key.take() });
                    at = end;
                }
            }
            b'{' | b'[' => {
                open.push((at, key.take()));
                at += 1;
            }
            b'}' | b']' => {
                if let Some((start, key)) = open.pop() {
                    spans.push(Span { start, end: at + 1, key });
                }
                at += 1;
            }
            byte if byte == b',' || byte == b':' || byte.is_ascii_whitespace() => at += 1,
            _ => {
                let length = text[at..].iter().take_while(|byte| !b",:{}[]\"".contains(byte) && **byte > b' ').count();
                spans.push(Span { start: at, end: at + length.max(1), key: key.take() });
                at += length.max(1);
            }
        }
    }
    spans
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn scalar(random: &mut Random) -> &'static str {
    random.pick(SCALARS).copied().unwrap_or("null")
}

fn replace(input: &mut Vec<u8>, span: &Span, with: &[u8]) {
    input.splice(span.start..span.end, with.iter().copied());
}

fn insert(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    input.splice(at..at, what.iter().copied());
}

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5",
    "\"\"",
    "\"a\"",
    "[]",
    "{}",
    "[\"a\",\"b\"]",
    "{\"a\":1}",
    "\"RS256\"",
    "\"none\"",
    "\"HS256\"",
    "\"key-1\"",
    "\"https://evil.example/\"",
    "[[]]",
    "\"\\u0000\"",
    "9007199254740993",
];

const NUMBERS: &[&str] = &[
    "1e400",
    "-1e400",
    "1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1",
    "1E5",
    "1e5",
    "-0",
    "007",
    "+1",
    "0x10",
    "1_000",
    "NaN",
    "Infinity",
    "8589934592",
    "4294967296",
    "1.0000000000000000000000000001",
    "\"1800003600\"",
    "315360001",
    "99999999999999999999999999999999999999999999999999",
];

const TEXTS: &[&str] = &[
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\\u202e",
    "\u{202e}",
    "\u{feff}",
    "\u{0}",
    "\u{7f}",
    "\u{1f469}\u{200d}\u{1f4bb}",
    "\\",
    "\\\"",
    "\\x",
    "\\u12",
    "/../",
    "%00",
    "%2e%2e",
    "@",
    "#",
    "?",
    "\r\nx: y",
    "\t",
    "\u{e9}",
    "e\u{301}",
    "\u{ff0e}",
];

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "\u{feff}",
    "\\u0000",
    "\0",
    "\r\n",
    "\n\n",
    "data:",
    "event: ",
    "[DONE]",
    "..",
    ".",
    "=",
    "+",
    "/",
    "%",
    "@",
    "http://",
    "https://",
    "127.0.0.1",
    "[::1]",
    "localhost",
    "\u{3002}",
    "\u{200b}",
    "xn--",
    "1e9",
    "-1",
    " ",
    "\t",
    "<html>",
    "true",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found() {
        let text = br#"{"a": [1, "x\"y", null], "b" : {"c":true}}"#;
        let found: Vec<_> = scan(text).into_iter().map(|span| (&text[span.start..span.end], span.key)).collect();
        let expected: Vec<(&[u8], Option<usize>)> = vec![
            (b"1", None),
            (br#""x\"y""#, None),
            (b"null", None),
            (br#"[1, "x\"y", null]"#, Some(1)),
            (b"true", Some(32)),
            (br#"{"c":true}"#, Some(25)),
            (&text[..], None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_stops_the_mutators_and_much_stays_json() {
        let mut random = Random::new(3);
        let seeds: [&[u8]; 5] = [b"", b"{", br#"{"a":1,"b":["c",{"d":null}],"e":"f"}"#, br#""\"#, b"[1,2"];
        let (mut changed, mut still) = (0, 0);
        for _ in 0..20_000 {
            let (base, other) = (seeds[random.index(5)], seeds[random.index(5)]);
            let mut input = base.to_vec();
            json(&mut random, &mut input, other);
            changed += usize::from(input != base);
            still += usize::from(base.len() > 10 && serde_json::from_slice::<serde_json::Value>(&input).is_ok());
            let mut input = base.to_vec();
            bytes(&mut random, &mut input, other);
            jwt(&mut random, base, other);
        }
        assert!(changed > 10_000, "{changed}");
        assert!(still > 1000, "{still}");
    }
}
