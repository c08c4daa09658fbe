//! How objects with members of any name are written: a table of the known members, and one loop over it.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::agents::ProtocolVersion;
use crate::tool::Tool;

/// A member as it is written.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Written<'a> {
    Null,
    Text(&'a str),
    Flag(bool),
    Count(u32),
    Json(&'a Value),
    Words(&'a [String]),
    List(&'a [Value]),
    Number(f64),
    Tools(&'a [Tool]),
    Versions(&'a [ProtocolVersion]),
    Members(&'a BTreeMap<String, Value>),
    Pairs(&'a BTreeMap<String, String>),
}

/// A member's name and value; none for one that is left out.
pub(crate) type Member<'a> = (&'static str, Option<Written<'a>>);

/// The type of a member.
pub(crate) trait Write {
    /// None for what is left out.
    fn written(&self) -> Option<Written<'_>>;
}

/// Writes the known members in their order, then the others in theirs.
pub(crate) fn write_object<S: Serializer>(
    members: &[Member<'_>],
    others: &Map<String, Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, member) in members {
        if let Some(member) = member {
            map.serialize_entry(name, member)?;
        }
    }
    for (name, member) in others {
        map.serialize_entry(name, member)?;
    }
    map.end()
}

macro_rules! write {
    ($($ty:ty: $it:ident => $written:expr;)*) => {$(
        impl Write for $ty {
            fn written(&self) -> Option<Written<'_>> {
                let $it = self;
                Some($written)
            }
        }
    )*};
}
write! {
    String: text => Written::Text(text);
    bool: flag => Written::Flag(*flag);
    u32: count => Written::Count(*count);
    Value: json => Written::Json(json);
    Vec<String>: words => Written::Words(words);
    Vec<Value>: list => Written::List(list);
    f64: number => Written::Number(*number);
    Vec<Tool>: tools => Written::Tools(tools);
    BTreeMap<String, Value>: members => Written::Members(members);
    BTreeMap<String, String>: pairs => Written::Pairs(pairs);
}

impl<T: Write> Write for Option<T> {
    fn written(&self) -> Option<Written<'_>> {
        self.as_ref().and_then(T::written)
    }
}

/// Left out when there are none.
impl Write for Vec<ProtocolVersion> {
    fn written(&self) -> Option<Written<'_>> {
        (!self.is_empty()).then_some(Written::Versions(self))
    }
}
