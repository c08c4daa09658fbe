/// The outline of a JSON document, found in one pass without building anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonShape {
    /// The deepest nesting of objects and arrays; 0 for a bare string or number.
    pub depth: usize,
    /// How many values the document holds: the root, every member value, every list item. Names do not
    /// count.
    pub nodes: usize,
}

/// Measures a document before it is parsed: one pass, no recursion, no allocation.
///
/// It does not check that the bytes are JSON. For a well-formed document both numbers are exact; for
/// anything else they are an upper bound of what a parser could see before it stops.
///
/// ```
/// use botframework_activity::json_shape;
///
/// let shape = json_shape(br#"{"a":[1,2,{"b":"]"}]}"#);
/// assert_eq!((shape.depth, shape.nodes), (3, 6));
/// ```
#[must_use]
#[inline]
pub fn json_shape(json: &[u8]) -> JsonShape {
    let mut shape = JsonShape { depth: 0, nodes: 1 };
    let mut depth = 0_usize;
    let mut opened = false;
    let mut rest = json;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b'"' => {
                shape.nodes += usize::from(opened);
                rest = after_string(rest);
            }
            b'{' | b'[' => {
                shape.nodes += usize::from(opened);
                depth += 1;
                shape.depth = shape.depth.max(depth);
                opened = true;
                continue;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => shape.nodes += 1,
            _ => shape.nodes += usize::from(opened),
        }
        opened = false;
    }
    shape
}

/// The nesting depth of a document; see [`json_shape`].
#[must_use]
#[inline]
pub fn json_depth(json: &[u8]) -> usize {
    json_shape(json).depth
}

/// What follows the quote that ends a string.
#[inline]
fn after_string(mut rest: &[u8]) -> &[u8] {
    loop {
        while let Some((eight, tail)) = rest.split_first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let found = bytes_equal(word, b'"') | bytes_equal(word, b'\\');
            if found == 0 {
                rest = tail;
            } else {
                rest = rest.get(found.trailing_zeros() as usize / 8..).unwrap_or_default();
                break;
            }
        }
        match rest.split_first() {
            None => return rest,
            Some((b'"', tail)) => return tail,
            Some((b'\\', tail)) => rest = tail.get(1..).unwrap_or_default(),
            Some((_, tail)) => rest = tail,
        }
    }
}

/// The quotes, backslashes and control characters among the first 64 bytes, the first byte in the lowest bit.
pub(crate) fn special_bytes(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(block) => specials_of(block),
        None => {
            let mut block = [b' '; 64];
            block.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            specials_of(&block)
        }
    }
}

/// Written so that the compiler makes vector instructions of it.
fn specials_of(block: &[u8; 64]) -> u64 {
    let flags = block.map(|byte| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20));
    let (words, _) = flags.as_chunks::<8>();
    // The product has the lowest bits of the eight bytes in its highest byte.
    let bits = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    words.iter().enumerate().fold(0, |all, (at, word)| all | bits(word) << (8 * at))
}

/// How many bytes stand before the first quote, backslash or control character.
#[inline]
pub(crate) fn plain_run(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((eight, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each special byte, up to the first one at least: what stands behind it may be marked, too.
        let quote = (word ^ (LOW * u64::from(b'"'))).wrapping_sub(LOW);
        let backslash = (word ^ (LOW * u64::from(b'\\'))).wrapping_sub(LOW);
        let control = word.wrapping_sub(LOW * 0x20);
        let special = (quote | backslash | control) & !word & HIGH;
        if special != 0 {
            return text.len() - rest.len() + special.trailing_zeros() as usize / 8;
        }
        rest = tail;
    }
    let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    text.len() - rest.len() + plain.unwrap_or(rest.len())
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of a word that equal `byte`, exact up to the first one.
const fn bytes_equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (LOW * byte as u64);
    difference.wrapping_sub(LOW) & !difference & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> (usize, usize) {
        let shape = json_shape(json.as_bytes());
        (shape.depth, shape.nodes)
    }

    #[test]
    fn depth_and_nodes_are_exact() {
        assert_eq!(of("1"), (0, 1));
        assert_eq!(of("{}"), (1, 1));
        assert_eq!(of(" [ ] "), (1, 1));
        assert_eq!(of("[[]]"), (2, 2));
        assert_eq!(of("[1]"), (1, 2));
        assert_eq!(of("[1,2]"), (1, 3));
        assert_eq!(of(r#"{"a":1}"#), (1, 2));
        assert_eq!(of(r#"{"a":{"b":[]},"c":"x"}"#), (3, 4));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert_eq!(of(r#"["[[[{{{\"[[["]"#), (1, 2));
        assert_eq!(of(r#"["\\",[]]"#), (2, 3));
    }

    #[test]
    fn strings_end_where_they_end_at_every_offset() {
        for before in 0..20 {
            for inside in ["", "\\\"", "\\\\", "[", "\\u0022", "\u{a2}\u{fffd}"] {
                let text = format!("[\"{}{inside}\",{{}},\"x\"]", "a".repeat(before));
                assert_eq!(of(&text), (2, 4), "{text}");
            }
        }
    }

    #[test]
    fn a_plain_run_ends_at_the_first_special_byte() {
        for length in (0..70).chain(120..135) {
            for special in (0..0x20).chain([b'"', b'\\']) {
                for plain in [b'a', b' ', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']'] {
                    let mut text = vec![plain; length];
                    assert_eq!(plain_run(&text), length);
                    text.push(special);
                    text.extend_from_slice(&[b'"', 0, b'\\', plain, special, 0, 0, 0, 0, 0]);
                    assert_eq!(plain_run(&text), length, "{special} behind {length} times {plain}");
                }
            }
        }
    }

    #[test]
    fn hostile_input_ends() {
        assert_eq!(of(&"[".repeat(100_000)).0, 100_000);
        assert_eq!(of("\"abc\\"), (0, 1));
        assert_eq!(of("]]]]").0, 0);
    }
}
