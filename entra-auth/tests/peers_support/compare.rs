//! Two lists of requests, field by field. What is random is brought to one form; what is decoration of a library is
//! left out; every other difference is either on the list of the test, with its reason, or a failure. A listed
//! difference that is no longer there is a failure, too.

use std::collections::{BTreeMap, BTreeSet};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use entra_auth::{Clock as _, SystemClock};
use serde_json::Value;

use super::recorder::{Sent, by_name};

/// A difference that is meant: where (request number and field; `*` for every request), what each side sends there, and
/// why ours is the right one.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    pub place: &'static str,
    pub ours: Option<&'static str>,
    pub theirs: Option<&'static str>,
    pub reason: &'static str,
}

/// Only the peer sends it.
pub const fn only_theirs(place: &'static str, theirs: &'static str, reason: &'static str) -> Difference {
    Difference { place, ours: None, theirs: Some(theirs), reason }
}

/// Only this crate sends it.
pub const fn only_ours(place: &'static str, ours: &'static str, reason: &'static str) -> Difference {
    Difference { place, ours: Some(ours), theirs: None, reason }
}

/// Both send it, each its own way.
pub const fn differs(
    place: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Difference {
    Difference { place, ours: Some(ours), theirs: Some(theirs), reason }
}

/// Every difference that is not listed, and every listed one that does not occur.
///
/// `names` replaces long values, such as a certificate, by short names in both lists.
pub fn problems(
    who: &str,
    ours: &[Sent],
    theirs: &[Sent],
    names: &[(String, &str)],
    differences: &[Difference],
) -> Vec<String> {
    let (ours, theirs) = (places(ours, names), places(theirs, names));
    let mut problems = Vec::new();
    let mut met = BTreeSet::new();
    for place in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (our, their) = (ours.get(place), theirs.get(place));
        if our == their {
            continue;
        }
        let known = differences.iter().position(|known| {
            let field = place.split_once(' ').map(|(_, field)| field);
            let here = known.place == place || known.place.strip_prefix("* ").is_some_and(|name| Some(name) == field);
            here && known.ours == our.map(|text| &**text) && known.theirs == their.map(|text| &**text)
        });
        match known {
            Some(at) => {
                met.insert(at);
            }
            None => problems.push(format!("{who}: unlisted: {place}: ours {our:?}, theirs {their:?}")),
        }
    }
    for (at, known) in differences.iter().enumerate() {
        assert!(!known.reason.is_empty(), "{known:?}");
        if !met.contains(&at) {
            problems.push(format!("{who}: listed, but not there: {known:?}"));
        }
    }
    problems
}

/// Headers of HTTP itself, and names and versions of libraries: 2.0 of the protocol notes lists them.
const DECORATION: [&str; 14] = [
    "host",
    "user-agent",
    "connection",
    "content-length",
    "accept-encoding",
    "accept-language",
    "sec-fetch-mode",
    "x-client-sku",
    "x-client-ver",
    "x-client-os",
    "x-client-cpu",
    "x-client-current-telemetry",
    "x-client-last-telemetry",
    "x-ms-lib-capability",
];

/// Every place of all requests with its content.
fn places(requests: &[Sent], names: &[(String, &str)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("requests".to_owned(), requests.len().to_string())]);
    for (number, sent) in requests.iter().enumerate() {
        let mut put = |place: String, content: String| {
            let content = names.iter().fold(content, |content, (long, short)| content.replace(long, short));
            all.insert(format!("{} {place}", number + 1), content)
        };
        put("method".into(), sent.method.clone());
        put("path".into(), sent.path.clone());
        for (name, value) in by_name(&sent.headers) {
            // The sign-in page is asked for by a browser, whose headers are its own.
            if !decoration(&name) && !sent.path.ends_with("/authorize") {
                put(format!("header {name}"), plain(&name, &value));
            }
        }
        for (part, fields) in [("query", &sent.query), ("form", &sent.form)] {
            for (name, value) in by_name(fields) {
                if decoration(&name) {
                    continue;
                }
                if name == "client_assertion" && value.split('.').count() == 3 {
                    for (place, content) in assertion(&value) {
                        put(format!("assertion {place}"), content);
                    }
                    continue;
                }
                put(format!("{part} {name}"), plain(&name, &value));
            }
        }
    }
    all
}

fn decoration(name: &str) -> bool {
    DECORATION.contains(&&*name.to_ascii_lowercase())
}

/// The content of a field, without chance.
fn plain(name: &str, value: &str) -> String {
    let uuid = value.len() == 36 && value.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    match name {
        "client-request-id" | "x-ms-client-request-id" if uuid => "(uuid)".into(),
        "state" | "nonce" if value.len() >= 16 => "(random)".into(),
        // 256 bits or more, in the alphabet of RFC 7636.
        "code_verifier" | "code_challenge" if value.len() >= 43 => "(random, 43 characters or more)".into(),
        "scope" => value.split(' ').collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" "),
        "claims" => serde_json::from_str::<Value>(value).map_or_else(|_| value.to_owned(), |json| json.to_string()),
        _ => value.to_owned(),
    }
}

/// Header by header and claim by claim.
fn assertion(jwt: &str) -> Vec<(String, String)> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&alphabet::URL_SAFE, lenient);
    let parts: Vec<&str> = jwt.split('.').collect();
    let part = |at: usize| -> Value { serde_json::from_slice(&engine.decode(parts[at]).unwrap()).unwrap() };
    let mut all = Vec::new();
    for (name, value) in part(0).as_object().unwrap() {
        all.push((format!("header {name}"), value.to_string()));
    }
    for (name, value) in part(1).as_object().unwrap() {
        all.push((format!("claim {name}"), claim(name, value)));
    }
    all
}

fn claim(name: &str, value: &Value) -> String {
    match name {
        "jti" if value.as_str().is_some_and(|text| text.len() >= 32) => "(random)".into(),
        "nbf" | "iat" | "exp" => {
            let kind = if value.is_i64() { "integer" } else { "fraction" };
            // To the minute: the processes did not run in the same second.
            let apart = value.as_f64().unwrap() - SystemClock.now().unix_timestamp() as f64;
            format!("now + {} min, {kind}", (apart / 60.0).round() + 0.0)
        }
        _ => value.to_string(),
    }
}
