//! The model against made-up documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod doc;

use botframework_activity::{Activity, json_shape};
use doc::Doc;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// JSON text, with odd numbers and escapes.
fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,12})?([eE][-+]?[0-9]{1,4})?",
        Just("-0".to_owned()),
        Just("1.0".to_owned()),
    ];
    let leaf =
        prop_oneof![Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned()), number, any_text(),];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            btree_map("[a-z]{1,4}", inner, 0..5).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// A JSON string, some characters escaped.
fn any_text() -> impl Strategy<Value = String> {
    vec((any::<char>(), any::<bool>()), 0..12).prop_map(|chars| {
        let mut text = String::from("\"");
        for (c, escaped) in chars {
            if escaped || c < ' ' || c == '"' || c == '\\' {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                text.push(c);
            }
        }
        text + "\""
    })
}

fn or_null(inner: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    prop_oneof![4 => inner, 1 => Just("null".to_owned())].boxed()
}

fn object(members: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let known: Vec<_> = members
        .into_iter()
        .map(|(name, value)| proptest::option::of(value).prop_map(move |v| v.map(|v| (name.to_owned(), v))))
        .collect();
    (known, btree_map("x[a-zA-Z$ ]{0,6}", any_json(), 0..4), any::<u64>())
        .prop_map(|(known, unknown, seed)| {
            let mut all: Vec<_> = known.into_iter().flatten().chain(unknown).collect();
            let len = all.len().max(1);
            all.rotate_left(usize::try_from(seed % 1000).unwrap() % len);
            let all: Vec<_> = all.into_iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            format!("{{{}}}", all.join(","))
        })
        .boxed()
}

fn text() -> BoxedStrategy<String> {
    or_null(any_text())
}

fn boolean() -> BoxedStrategy<String> {
    prop_oneof![Just("true".to_owned()), Just("false".to_owned()), Just("null".to_owned())].boxed()
}

fn any_account() -> BoxedStrategy<String> {
    object(vec![
        ("id", text()),
        ("name", text()),
        ("aadObjectId", text()),
        ("role", text()),
        ("type", text()),
        ("isTargeted", boolean()),
        ("properties", any_json().boxed()),
    ])
}

fn any_attachment() -> BoxedStrategy<String> {
    object(vec![("contentType", text()), ("contentUrl", text()), ("content", any_json().boxed()), ("name", text())])
}

fn any_activity() -> BoxedStrategy<String> {
    let conversation = object(vec![("id", text()), ("isGroup", boolean()), ("conversationType", text())]);
    let attachments = vec(any_attachment(), 0..3).prop_map(|list| format!("[{}]", list.join(","))).boxed();
    let body = object(vec![
        ("id", text()),
        ("timestamp", text()),
        ("channelId", text()),
        ("serviceUrl", text()),
        ("from", or_null(any_account())),
        ("recipient", or_null(any_account())),
        ("conversation", or_null(conversation)),
        ("attachments", or_null(attachments)),
        ("text", text()),
        ("textFormat", text()),
        ("historyDisclosed", boolean()),
        ("membersAdded", any_json().boxed()),
        ("entities", any_json().boxed()),
        ("channelData", any_json().boxed()),
        ("value", any_json().boxed()),
        ("relatesTo", any_json().boxed()),
    ]);
    (any_text(), body)
        .prop_map(|(kind, body)| {
            let comma = if body == "{}" { "" } else { "," };
            format!("{{\"type\":{kind}{comma}{}", &body[1..])
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_document_comes_back(json in any_activity()) {
        let activity = Activity::from_json(json.as_bytes()).unwrap();
        let written = activity.to_json().unwrap();
        prop_assert_eq!(Doc::parse(&written), Doc::parse(json.as_bytes()));
        prop_assert_eq!(Activity::from_json(&written).unwrap().to_json().unwrap(), written);
    }

    #[test]
    fn accessors_never_panic(json in any_activity()) {
        let activity = Activity::from_json(json.as_bytes()).unwrap();
        let _ = (activity.entities(), activity.members_added(), activity.relates_to(), activity.mentions());
        let _ = (activity.text_without_mentions(), activity.mentions_recipient(), format!("{activity:?}"));
        #[cfg(feature = "time")]
        let _ = activity.timestamp.as_ref().map(|at| at.parse());
    }

    #[test]
    fn bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Activity::from_json(&bytes);
        let _ = json_shape(&bytes);
    }

    #[test]
    fn a_cut_document_is_an_error(json in any_activity(), at in any::<prop::sample::Index>()) {
        let cut = at.index(json.len());
        prop_assert!(Activity::from_json(&json.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn the_scan_agrees_with_the_parser(json in any_json()) {
        fn measure(doc: &Doc) -> (usize, usize) {
            let children: Vec<&Doc> = match doc {
                Doc::Token(_) | Doc::Text(_) => return (0, 1),
                Doc::List(items) => items.iter().collect(),
                Doc::Object(members) => members.iter().map(|(_, value)| value).collect(),
            };
            children.into_iter().map(measure).fold((1, 1), |(depth, nodes), (d, n)| (depth.max(d + 1), nodes + n))
        }
        let shape = json_shape(json.as_bytes());
        prop_assert_eq!((shape.depth, shape.nodes), measure(&Doc::parse(json.as_bytes())));
    }
}
