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
pub fn json_shape(json: &[u8]) -> JsonShape {
    let mut shape = JsonShape { depth: 0, nodes: 1 };
    let mut depth = 0_usize;
    let mut opened = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b'"' => {
                shape.nodes += usize::from(opened);
                skip_string(&mut bytes);
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
pub fn json_depth(json: &[u8]) -> usize {
    json_shape(json).depth
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
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
    fn hostile_input_ends() {
        assert_eq!(of(&"[".repeat(100_000)).0, 100_000);
        assert_eq!(of("\"abc\\"), (0, 1));
        assert_eq!(of("]]]]").0, 0);
    }
}
