//! A JSON object, read once: where its members lie, and that none of them is there twice.

use std::{fmt, ops::Range, str};

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{TokenError, TokenErrorKind};

/// The members of a JSON object, none of them twice. The text is kept as it came; members are places in it.
#[derive(Clone)]
pub(super) struct Members {
    text: String,
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    name: Text,
    value: Range<u32>,
    /// The text of a string with escapes, or of the only string in an array.
    decoded: Option<Box<str>>,
}

/// A text that stands in the JSON as it is, or had escapes.
#[derive(Clone)]
enum Text {
    At(Range<u32>),
    Own(Box<str>),
}

/// The deepest nesting that is looked at.
const MAX_DEPTH: usize = 32;
/// No real token comes near; it bounds the search for duplicates.
const MAX_MEMBERS: usize = 512;

/// Claims that decide. They are refused as well when a second member differs from them in letter case only: another
/// parser in the chain might pick that one.
const DECIDING: &[&str] = &[
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "tid",
    "oid",
    "sub",
    "scp",
    "roles",
    "azp",
    "appid",
    "idtyp",
    "ver",
    "alg",
    "kid",
    "typ",
    "crit",
    "serviceurl",
];

impl Members {
    /// Reads an object of at most 32 levels and 512 members.
    pub(super) fn parse(json: Vec<u8>) -> Result<Self, TokenError> {
        let text = String::from_utf8(json).map_err(|_| TokenErrorKind::MalformedToken)?;
        let (mut members, escapes) = match plain(&text) {
            Some(members) => (members, false),
            None => any(&text)?,
        };
        if has_duplicates(&text, &members) {
            return Err(TokenErrorKind::DuplicateMember.into());
        }
        for member in &mut members {
            if escapes || member.name.is("aud", &text) {
                member.decoded = decoded(member.name.get(&text), place(&text, &member.value))?;
            }
        }
        Ok(Self { text, members })
    }

    /// The names, in the order they were sent.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.get(&self.text))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A value as it was sent: a JSON text.
    pub(super) fn json(&self, name: &str) -> Option<&str> {
        self.find(name).map(|member| place(&self.text, &member.value))
    }

    /// A value as it was sent.
    #[inline]
    pub(super) fn raw(&self, name: &str) -> Option<&RawValue> {
        serde_json::from_str(self.json(name)?).ok()
    }

    /// The text of a member that is a string; `Some(None)` when it is anything else.
    pub(super) fn text(&self, name: &str) -> Option<Option<&str>> {
        let member = self.find(name)?;
        let inner = place(&self.text, &member.value).strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(inner.map(|inner| member.decoded.as_deref().unwrap_or(inner)))
    }

    /// The text of a member that is an array of one string.
    #[inline]
    pub(super) fn only_text(&self, name: &str) -> Option<&str> {
        let member = self.find(name)?;
        member.decoded.as_deref().filter(|_| place(&self.text, &member.value).starts_with('['))
    }

    fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name.is(name, &self.text))
    }
}

impl Text {
    fn get<'a>(&'a self, json: &'a str) -> &'a str {
        match self {
            Self::At(range) => place(json, range),
            Self::Own(text) => text,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::At(range) => range.len(),
            Self::Own(text) => text.len(),
        }
    }

    fn is(&self, text: &str, json: &str) -> bool {
        self.len() == text.len() && self.get(json) == text
    }
}

/// The members of an object that is as plain as most payloads are: texts without escapes, whole numbers, no white space.
/// `None` says nothing, but that it must be read with more care.
fn plain(json: &str) -> Option<Vec<Member>> {
    let length = json.len();
    let until = |rest: &[u8]| u32::try_from(length - rest.len()).ok();
    let mut members = Vec::with_capacity(8);
    let mut rest = json.as_bytes().strip_prefix(b"{")?;
    while members.len() < MAX_MEMBERS {
        rest = rest.strip_prefix(b"\"")?;
        let start = until(rest)?;
        rest = rest.get(plain_text(rest)?..)?;
        let name = Text::At(start..until(rest)?);
        rest = rest.strip_prefix(b"\":")?;
        let start = until(rest)?;
        rest = match rest.split_first()? {
            (b'"', text) => text.get(plain_text(text)? + 1..)?,
            (b'1'..=b'9', digits) => digits.get(digits.iter().position(|b| !b.is_ascii_digit())?..)?,
            _ => return None,
        };
        members.push(Member { name, value: start..until(rest)?, decoded: None });
        rest = match rest.split_first()? {
            (b',', more) => more,
            (b'}', []) => return Some(members),
            _ => return None,
        };
    }
    None
}

/// The length of a text without escapes, which ends with a quote.
fn plain_text(rest: &[u8]) -> Option<usize> {
    let end = rest.iter().position(|b| matches!(b, b'"' | b'\\' | ..0x20))?;
    (rest.get(end) == Some(&b'"')).then_some(end)
}

/// The members of any object, and whether there are escapes in it.
fn any(json: &str) -> Result<(Vec<Member>, bool), TokenError> {
    const MALFORMED: TokenErrorKind = TokenErrorKind::MalformedToken;
    let object = json.bytes().find(|b| !b" \t\r\n".contains(b)) == Some(b'{');
    if !object || depth(json) > MAX_DEPTH {
        return Err(MALFORMED.into());
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = deserializer.deserialize_map(Places(json)).map_err(|_| MALFORMED)?;
    deserializer.end().map_err(|_| MALFORMED)?;
    Ok((members, json.as_bytes().contains(&b'\\')))
}

/// What stands at that place.
fn place<'a>(json: &'a str, range: &Range<u32>) -> &'a str {
    json.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Where a part of the JSON stands in it.
fn place_of(json: &str, part: &str) -> Option<Range<u32>> {
    let start = part.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
    let end = start.checked_add(part.len()).filter(|end| *end <= json.len())?;
    Some(start.try_into().ok()?..end.try_into().ok()?)
}

fn decoded(name: &str, value: &str) -> Result<Option<Box<str>>, TokenError> {
    if value.starts_with('"') && value.as_bytes().contains(&b'\\') {
        // An escape that stands for no character, such as half a surrogate pair, spoils the token.
        return Ok(Some(serde_json::from_str::<Box<str>>(value).map_err(|_| TokenErrorKind::MalformedToken)?));
    }
    if name == "aud" && value.starts_with('[') {
        return Ok(serde_json::from_str::<[Box<str>; 1]>(value).ok().map(|[only]| only));
    }
    Ok(None)
}

/// Whether a name is there twice; in whatever letter case when it is a deciding one.
fn has_duplicates(json: &str, members: &[Member]) -> bool {
    let decides = |name: &str| DECIDING.iter().any(|deciding| name.eq_ignore_ascii_case(deciding));
    let mut rest = members;
    while let Some((first, others)) = rest.split_first() {
        let name = first.name.get(json);
        let same = |other: &Member| {
            let other = &other.name;
            let alike = other.len() == name.len() && other.get(json).eq_ignore_ascii_case(name);
            alike && (other.get(json) == name || decides(name))
        };
        if others.iter().any(same) {
            return true;
        }
        rest = others;
    }
    false
}

/// How deep arrays and objects are nested, without parsing.
fn depth(json: &str) -> usize {
    let (mut now, mut max, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for b in json.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                max = max.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    max
}

/// Collects the places of the members of an object in this text.
struct Places<'j>(&'j str);

impl<'de> Visitor<'de> for Places<'de> {
    type Value = Vec<Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Member>, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some(name) = map.next_key_seed(Name(self.0))? {
            if members.len() == MAX_MEMBERS {
                return Err(de::Error::custom("too many members"));
            }
            let raw: &RawValue = map.next_value()?;
            let value = place_of(self.0, raw.get()).ok_or_else(|| de::Error::custom("too long"))?;
            members.push(Member { name, value, decoded: None });
        }
        Ok(members)
    }
}

struct Name<'j>(&'j str);

impl<'de> DeserializeSeed<'de> for Name<'de> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'de> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Text, E> {
        Ok(place_of(self.0, name).map_or_else(|| Text::Own(name.into()), Text::At))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Text, E> {
        Ok(Text::Own(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Members {
        Members::parse(json.into()).unwrap()
    }

    fn refused(json: &str) -> TokenErrorKind {
        Members::parse(json.into()).err().unwrap().kind()
    }

    #[test]
    fn only_objects_without_duplicates() {
        for json in ["", "[]", "1", "null", "{", "{}x", " [{}]", "{\"a\":}", "{\"a\":\"\\ud800\"}", "{\"a\":01}"] {
            assert_eq!(refused(json), TokenErrorKind::MalformedToken, "{json}");
        }
        // JSON may have white space around it (RFC 8259 section 2).
        assert_eq!(members(" \r\n\t{\"a\" : \"b\" } ").text("a"), Some(Some("b")));
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":1}"#,
            r#"{"tid":"x","TID":"y"}"#,
            r#"{"Tid":"x","tid":"y"}"#,
            r#"{"Aud":"x","aUd":"y"}"#,
        ] {
            assert_eq!(refused(json), TokenErrorKind::DuplicateMember, "{json}");
        }
        assert_eq!(members(r#"{"extn.A":1,"extn.a":2}"#).len(), 2, "other claims may differ in case");
    }

    #[test]
    fn bounded_depth_and_size() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(Members::parse(nested(MAX_DEPTH - 1).into()).is_ok());
        assert_eq!(refused(&nested(MAX_DEPTH)), TokenErrorKind::MalformedToken);
        let text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(40), "{".repeat(40));
        assert!(Members::parse(text.into()).is_ok(), "text is not nesting");
        let flat = format!("{{\"a\":[{}]}}", ["[]"; 100].join(","));
        assert!(Members::parse(flat.into()).is_ok(), "many, but not deep");
        let wide = |n: usize| {
            let members: Vec<_> = (0..n).map(|n| format!("\"m{n}\":1")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(members(&wide(MAX_MEMBERS)).len(), MAX_MEMBERS);
        assert_eq!(refused(&wide(MAX_MEMBERS + 1)), TokenErrorKind::MalformedToken);
    }

    type Pairs = Option<Vec<[String; 2]>>;

    /// The short way and the long one, which is that of the JSON library.
    fn both_ways(json: &str) -> (Pairs, Pairs) {
        let show = |members: Vec<Member>| -> Vec<[String; 2]> {
            members.iter().map(|m| [m.name.get(json).to_owned(), place(json, &m.value).to_owned()]).collect()
        };
        (plain(json).map(show), any(json).ok().map(|(members, _)| show(members)))
    }

    #[test]
    fn plain_objects_are_read_the_short_way() {
        for json in [r#"{"a":"b"}"#, r#"{"":"","exp":1700000000,"n":"ä{[,:"}"#] {
            let (short, long) = both_ways(json);
            assert!(short.is_some() && short == long, "{json}");
        }
        for json in [
            "{}",
            "",
            "{",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\":1,}",
            "{\"a\":1}x",
            "{\"a\":01}",
            "{\"a\":0}",
            "{\"a\":1.5}",
            "{\"a\":1e5}",
            "{\"a\":-1}",
            "{\"a\":null}",
            "{\"a\":[]}",
            "{\"a\":{}}",
            "{\"a\" :1}",
            "{ \"a\":1}",
            "{\"a\":1} ",
            "{\"a\":\"\n\"}",
            "{\"\\u0061\":1}",
            "{\"a\":\"\\n\"}",
            "{\"a\"1}",
            "{a:1}",
        ] {
            assert!(both_ways(json).0.is_none(), "{json}");
        }
    }

    proptest::proptest! {
        /// What the short way reads, the long way reads alike.
        #[test]
        fn the_short_way_is_no_other_way(
            parts in proptest::collection::vec(
                "\"|\\\\|[{}:,\\[\\]]|\"a\"|\"a\":|\"b\":\"|1|0|25|\\.|-| |\n|\u{7f}|ä|[a-z]{1,3}|\"c\":1,|\"d\":\"x\",", 0..12),
            closed in proptest::bool::ANY,
        ) {
            let json = format!("{{{}{}", parts.concat(), if closed { "}" } else { "" });
            let (short, long) = both_ways(&json);
            proptest::prop_assert!(short.is_none() || short == long, "{json}: {short:?} {long:?}");
        }
    }

    #[test]
    fn every_member_is_found_as_it_was_sent() {
        let json = "{ \"a\" : 1.50 ,\"b\\u0062\":[ 1 , {\"c\":\"\\u0064\"}],\"ä\":\"ö\", \"e\":\"\\u00e9\\n\" }";
        let members = members(json);
        assert_eq!(members.names().collect::<Vec<_>>(), ["a", "bb", "ä", "e"]);
        for (name, raw, text) in [
            ("a", "1.50", None),
            ("bb", "[ 1 , {\"c\":\"\\u0064\"}]", None),
            ("ä", "\"ö\"", Some("ö")),
            ("e", "\"\\u00e9\\n\"", Some("é\n")),
        ] {
            assert_eq!(members.json(name), Some(raw));
            assert_eq!(members.raw(name).unwrap().get(), raw);
            assert_eq!(members.text(name), Some(text), "{name}");
        }
        assert_eq!((members.json("c"), members.text("c"), members.has("c")), (None, None, false));
    }
}
