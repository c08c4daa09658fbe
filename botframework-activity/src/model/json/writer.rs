//! Compact JSON text.

use super::{Datum, List};
use crate::model::error::ModelError;
use crate::model::object::{Object, clashes, each_member};
use crate::model::scan::plain_run;

/// A value as JSON text behind what is there. Most activities fit into 4 KB.
pub(crate) fn write(mut behind: Vec<u8>, datum: &Datum<'_>) -> Result<Vec<u8>, ModelError> {
    append(&mut behind, datum)?;
    Ok(behind)
}

fn append(json: &mut Vec<u8>, datum: &Datum<'_>) -> Result<(), ModelError> {
    match *datum {
        Datum::Absent | Datum::Null => json.extend_from_slice(b"null"),
        Datum::Empty => json.extend_from_slice(b"[]"),
        Datum::Text(text) | Datum::Word(text, _) => quoted(json, text),
        Datum::Time(time) => quoted(json, time.as_str()),
        Datum::Truth(truth) => json.extend_from_slice(if truth { b"true" } else { b"false" }),
        Datum::Integer(number) => json.extend_from_slice(number.to_string().as_bytes()),
        // The shortest spelling that gives the number back; what is no number becomes `null`.
        Datum::Float(number) => json.extend_from_slice(serde_json::Value::from(number).to_string().as_bytes()),
        Datum::Raw(raw) | Datum::Scalar(raw) => json.extend_from_slice(raw.get().as_bytes()),
        Datum::Object(object) => append_object(json, object)?,
        Datum::List(list) => append_list(json, list)?,
    }
    Ok(())
}

fn append_object(json: &mut Vec<u8>, object: &dyn Object) -> Result<(), ModelError> {
    if clashes(object) {
        return Err(ModelError::encode());
    }
    let mut before = b'{';
    each_member(object, |name, value| {
        json.push(before);
        before = b',';
        quoted(json, name);
        json.push(b':');
        append(json, value)
    })?;
    if before == b'{' {
        json.push(b'{');
    }
    json.push(b'}');
    Ok(())
}

fn append_list(json: &mut Vec<u8>, list: &dyn List) -> Result<(), ModelError> {
    json.push(b'[');
    for at in 0..list.len() {
        if at > 0 {
            json.push(b',');
        }
        append(json, &list.item(at))?;
    }
    json.push(b']');
    Ok(())
}

/// A JSON string: only what must be escaped is, in the short form where there is one (RFC 8259, section 7).
fn quoted(json: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut rest = text.as_bytes();
    json.reserve(rest.len() + 2);
    json.push(b'"');
    loop {
        let (plain, special) = rest.split_at(plain_run(rest));
        json.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else {
            break;
        };
        let short = match byte {
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            b'"' | b'\\' => byte,
            _ => b'u',
        };
        json.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digit = |four: u8| HEX.get(usize::from(four & 15)).copied().unwrap_or(b'0');
            json.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
        rest = behind;
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(datum: &Datum<'_>) -> String {
        String::from_utf8(write(Vec::new(), datum).unwrap()).unwrap()
    }

    #[test]
    fn every_character_is_escaped_as_serde_json_does() {
        for code in (0..0x300).chain(0xffe0..0x10020) {
            let Some(character) = char::from_u32(code) else { continue };
            for text in
                [character.to_string(), format!("1234567{character}"), format!("12345678{character}{character}9")]
            {
                assert_eq!(text_of(&Datum::Text(&text)), serde_json::to_string(&text).unwrap());
            }
        }
    }

    #[test]
    fn numbers_are_written_as_serde_json_does() {
        for number in [0, -1, 7, i64::MIN, i64::MAX] {
            assert_eq!(text_of(&Datum::Integer(number)), number.to_string());
        }
        for number in [0.0, -0.0, 1.5, 1e300, -2.5e-7, f64::NAN, f64::INFINITY] {
            assert_eq!(text_of(&Datum::Float(number)), serde_json::to_string(&number).unwrap());
        }
    }

    proptest! {
        #[test]
        fn text_is_written_as_serde_json_does(text in "\\PC{0,40}|[\\x00-\\x7f]{0,60}") {
            prop_assert_eq!(text_of(&Datum::Text(&text)), serde_json::to_string(&text).unwrap());
        }
    }
}
