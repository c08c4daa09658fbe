//! The reader against serde_json: what one takes the other takes, with the same value.

use std::fs;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{member, read, trimmed};
use crate::model::object::{Value, wire_object};
use crate::model::vocabulary::RoleType;
use crate::{Activity, Entity, ModelErrorKind, RawJson, Scalar, Timestamp};

wire_object! {
    /// A member of every kind.
    struct Sample {
        pub word: RoleType = "word" [RoleType::USER];
        pub text: Option<String> = "text" | "words";
        pub truth: Option<bool> = "truth";
        pub whole: Option<i64> = "whole";
        pub number: Option<f64> = "number";
        pub raw: Option<RawJson> = "raw";
        pub scalar: Option<Scalar> = "scalar";
        pub at: Option<Timestamp> = "at";
        pub inner: Option<Box<Sample>> = "inner";
        pub texts: Vec<String> = "texts";
        pub raws: Vec<RawJson> = "raws";
        pub samples: Vec<Sample> = "samples";
        pub entities: Vec<Entity> = "entities";
    }
}

const GOOD: &str = r#" { "word" : "bot", "text":"a\u00e9\ud83d\ude00\n/\/é😀", "truth":true, "whole":-12, "number":-0.5e-3,
  "raw":{"a":[1,{"b":null}, "\ud800" ]}, "scalar":"\u0061", "at":"2026-01-02T03:04:05Z", "other":[[],{},""],
  "inner":{"word":"user","truth":null,"texts":[],"raws":null}, "texts":["", "\"" ], "raws":[null,0,"x"],
  "samples":[{"word":"x"},{"word":"y","inner":null}], "entities":[{"type":"mention","text":"t"},{}] } "#;

/// The reader agrees with serde_json about this text, as a document and as a value of the type.
fn agree<T: Value + std::fmt::Debug + PartialEq + serde::de::DeserializeOwned>(text: &str) {
    let value = serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get);
    assert_eq!(trimmed(text).ok(), value, "{text}");
    let (ours, theirs) = (read::<T>(text), serde_json::from_str::<T>(text));
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => {
            let [written, wanted] = [ours, theirs].map(|value| RawJson::of(value).unwrap());
            if written == wanted {
                assert_eq!(ours, theirs, "{text}");
            } else {
                assert_eq!(rounded(written.get()), rounded(wanted.get()), "{text}");
            }
        }
        (Err(error), Err(_)) => {
            // What is not JSON at all is never called a wrong shape, unless that was seen first.
            assert!(value.is_none() || error.kind() == ModelErrorKind::Shape || text.contains("\\u"), "{text}");
        }
        _ => panic!("{ours:?} {theirs:?} {text}"),
    }
}

/// The text with its members `number` rounded: serde_json misses the nearest number by a last bit sometimes.
fn rounded(json: &str) -> String {
    let mut parts = json.split("\"number\":");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |before, part| {
        let (number, rest) = part.split_at(part.find([',', '}']).unwrap());
        let number = number.parse().map_or_else(|_| number.to_owned(), |number: f64| format!("{number:.12e}"));
        format!("{before}\"number\":{number}{rest}")
    })
}

#[test]
fn every_kind_of_member_is_read_and_written() {
    agree::<Sample>(GOOD);
    let sample: Sample = read(GOOD).unwrap();
    assert_eq!(sample.text.as_deref(), Some("aé😀\n//é😀"));
    assert_eq!((sample.whole, sample.number, sample.raws.len()), (Some(-12), Some(-0.5e-3), 3));
    let inner = RawJson::of(sample.inner.as_ref().unwrap()).unwrap();
    assert_eq!(inner.get(), r#"{"word":"user","truth":null,"texts":[],"raws":null}"#);
    let written = RawJson::of(&sample).unwrap();
    assert_eq!(serde_json::to_string(&sample).unwrap(), written.get());
    assert_eq!(read::<Sample>(written.get()).unwrap(), sample);
}

#[test]
fn objects_are_equal_when_every_member_is() {
    let sample: Sample = read(GOOD).unwrap();
    let spelled = GOOD.replace(r#""truth":null,"texts":[],"raws":null"#, r#""inner":null"#);
    assert_eq!(read::<Sample>(&spelled).unwrap(), sample, "absent, null and empty are the same");
    for (before, after) in [
        (r#""word" : "bot""#, r#""word":"user""#),
        (r#""text":"#, r#""text":"x","more":"#),
        (r#""truth":true"#, r#""truth":false"#),
        (r#""whole":-12"#, r#""whole":-13"#),
        (r#""whole":-12, "#, ""),
        (r#""number":-0.5e-3"#, r#""number":-0.5e-2"#),
        (r#"{"b":null}"#, r#"{"b":0}"#),
        (r#""\u0061""#, r#""b""#),
        (r#""2026-01-02T03"#, r#""2026-01-02T04"#),
        (r#""other":[["#, r#""other":[0,["#),
        (r#""inner":{"word":"user""#, r#""inner":{"word":"bot""#),
        (r#"["", "\"" ]"#, r#"["\"", ""]"#),
        (r#"["", "\"" ]"#, r#"[""]"#),
        (r#"[null,0,"x"]"#, r#"[null,1,"x"]"#),
        (r#"{"word":"y","inner":null}"#, r#"{"word":"y","inner":{"word":"y"}}"#),
        (r#""text":"t""#, r#""text":"u""#),
    ] {
        let other = GOOD.replacen(before, after, 1);
        assert_ne!(other, GOOD, "{before}");
        assert_ne!(read::<Sample>(&other).unwrap(), sample, "{after}");
    }
}

/// From a value tree, which is another format than text.
#[test]
fn other_formats_carry_the_same_types() {
    let text = GOOD.replace(r"\ud800", "x");
    let tree: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sample: Sample = serde_json::from_value(tree.clone()).unwrap();
    assert_eq!(serde_json::to_value(&sample).unwrap(), tree);
    let error = serde_json::from_value::<Sample>(serde_json::json!({"word":"x","texts":["a",1]})).unwrap_err();
    assert!(error.to_string().contains("string"), "{error}");
    for (tree, part) in [
        (serde_json::json!({}), "missing field `word`"),
        (serde_json::json!([]), "a JSON object (Sample)"),
        (serde_json::json!({"word":"x","entities":[1]}), "an entity is a JSON object"),
        (serde_json::json!({"word":null}), "null where a value must be"),
    ] {
        let error = serde_json::from_value::<Sample>(tree).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_is_not_json_is_refused_and_what_is_is_taken() {
    let deep = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let mut texts: Vec<String> = [
        "",
        " ",
        "null",
        "nul",
        "nulll",
        "true",
        "tru",
        "True",
        "false",
        "fals",
        "0",
        "-0",
        "00",
        "01",
        "-",
        "-a",
        "+1",
        ".5",
        "1.",
        "1.5",
        "1.e1",
        "1e",
        "1e+",
        "1e+1",
        "1E-10",
        "1e400",
        "-1e400",
        "1e-400",
        "0x1",
        "1_0",
        "NaN",
        "Infinity",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "\"",
        "\"a",
        "\"a\"",
        "\"a\"b",
        "\"\\\"",
        "\"\\\\\"",
        "\"\\x\"",
        "\"\\u\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ud83d\\\"",
        "\"\n\"",
        "\"\u{1f}\"",
        "\"\u{7f}\"",
        "\"\u{2028}\"",
        "'a'",
        "[",
        "]",
        "[]",
        "[ ]",
        "[,]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2",
        "[1]]",
        "[1}",
        "{",
        "}",
        "{}",
        "{ }",
        "{,}",
        "{1:2}",
        "{a:1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,\"b\"}",
        "{\"a\":1]",
        "{\"a\" : 1 , \"a\" : 2}",
        "{\"type\":\"x\",\"type\":\"y\"}",
        "{\"\\u0074ype\":\"x\"}",
        "{\"word\":\"x\",\"words\":\"a\",\"text\":\"b\"}",
        "\u{feff}{}",
        "{}\u{a0}",
        "// x\n1",
        "{\"word\":\"x\"}{}",
    ]
    .map(str::to_owned)
    .to_vec();
    for value in ["1", "1.0", "-0", "1e0", "1e400", "9e18", "true", "nul", "[]", "{}", "\"x\"", "\"\\ud800\"", "null"] {
        for name in [
            "word", "text", "truth", "whole", "number", "raw", "scalar", "at", "inner", "texts", "raws", "samples",
            "entities", "x",
        ] {
            texts.push(format!(r#"{{"word":"w","{name}":{value}}}"#));
            texts.push(format!(r#"{{"{name}":{value},"word":"w"}}"#));
            texts.push(format!(r#"{{"word":"w","{name}":[{value},{value}]}}"#));
        }
    }
    for depth in [1, 2, 63, 64, 65, 126, 127, 128, 129, 192, 193] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]"), ("[[{\"a\":[", "]}]]")] {
            texts.push(deep(open, close, depth));
            texts.push(deep(open, close, depth) + "]");
            texts.push(deep(open, "", depth));
        }
    }
    for text in texts {
        agree::<Sample>(&text);
        agree::<Activity>(&text);
        agree::<RawJson>(&text);
        agree::<i64>(&text);
        agree::<f64>(&text);
        agree::<String>(&text);
        agree::<bool>(&text);
        agree::<Vec<String>>(&text);
    }
}

#[test]
fn every_fixture_cut_or_changed_anywhere_is_judged_alike() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/activities");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        agree::<Activity>(&text);
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(37).collect();
        for at in places {
            agree::<Activity>(&text[..at]);
            let next = text[at..].chars().next().map_or(0, char::len_utf8);
            for other in ["", "\"", "\\", "}", "]", ",", ":", "0", "{", "null", "\u{1}"] {
                agree::<Activity>(&format!("{}{other}{}", &text[..at], &text[at + next..]));
            }
        }
        seen += 1;
    }
    assert!(seen >= 40, "{seen}");
}

#[test]
fn depth_costs_no_stack() {
    let text = format!(
        r#"{{"type":"message","value":{}{}}}"#,
        "[{\"a\":".repeat(500_000),
        "1".to_owned() + &"}]".repeat(500_000)
    );
    let activity: Activity = read(&text).unwrap();
    assert_eq!(RawJson::of(&activity).unwrap().get(), text);
}

#[test]
fn an_error_says_where_and_what_kind() {
    for (text, kind, position) in [
        ("{\n \"type\": 1}", ModelErrorKind::Shape, (2, 11)),
        ("{\"type\":\"message\",\n\"text\":\"a", ModelErrorKind::Malformed, (2, 10)),
        ("{\"type\":\"message\"} x", ModelErrorKind::Malformed, (1, 20)),
        ("{}", ModelErrorKind::Shape, (1, 3)),
        ("", ModelErrorKind::Malformed, (1, 1)),
        ("[]", ModelErrorKind::Shape, (1, 3)),
    ] {
        let error = read::<Activity>(text).unwrap_err();
        assert_eq!((error.kind(), error.position()), (kind, Some(position)), "{text}");
    }
}

#[test]
fn one_member_is_found_and_the_rest_skipped() {
    let found = |text| member::<String>(text, "type").map_err(|error| error.kind());
    assert_eq!(found(r#"{"a":{"type":"no"},"ty\u0070e" : "y\u0065s" }"#), Ok(Some("yes".to_owned())));
    for nothing in ["{}", r#"{"type":null}"#, r#"{"Type":"x"}"#] {
        assert_eq!(found(nothing), Ok(None), "{nothing}");
    }
    for odd in [r#"{"type":1}"#, r#"{"type":"a","type":"a"}"#, r#"{"type":null,"type":"a"}"#, "[]", "\"type\""] {
        assert_eq!(found(odd), Err(ModelErrorKind::Shape), "{odd}");
    }
    for broken in ["{\"type\":\"a\"", "{\"type\":\"a\"}}", "{\"type\" \"a\"}", ""] {
        assert_eq!(found(broken), Err(ModelErrorKind::Malformed), "{broken}");
    }
}

proptest! {
    #[test]
    fn any_text_is_judged_alike(text in r#"[\[\]{}:,"\\ truefalsn0-9.eE+\-u\x00-\x1fé]{0,40}"#) {
        agree::<Sample>(&text);
    }

    #[test]
    fn a_changed_document_is_judged_alike(at in 0..GOOD.len(), length in 0..6_usize, other in r#"[\[\]{}:,"\\ tn01.e\-u]{0,4}"#) {
        if let (Some(before), Some(after)) = (GOOD.get(..at), GOOD.get(at + length..)) {
            agree::<Sample>(&format!("{before}{other}{after}"));
        }
    }

    #[test]
    fn numbers_are_the_nearest(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
        for text in [format!("{number}"), format!("{number:e}")] {
            prop_assert_eq!(read::<f64>(&text).unwrap().to_bits(), number.to_bits());
        }
    }
}
