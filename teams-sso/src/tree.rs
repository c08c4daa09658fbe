//! Small bodies as trees. One reader serves all of them: a type of its own for each would be compiled with a reader of its
//! own.

use serde_json::Value;

/// What a body says; `None` when it is no JSON.
pub(crate) fn read(body: &[u8]) -> Option<Value> {
    std::str::from_utf8(body).ok()?.parse().ok()
}

/// A member of an object, by either spelling: services differ in the first letter. Null when there is none.
pub(crate) fn member<'a>(object: &'a Value, name: &str, other: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    object.get(name).or_else(|| object.get(other)).unwrap_or(NONE)
}

/// A member of an object, taken out of it.
pub(crate) fn take(object: &mut Value, name: &str, other: &str) -> Value {
    let found = if object.get(name).is_some() { name } else { other };
    object.get_mut(found).map(Value::take).unwrap_or_default()
}

/// The text of a member; `None` when it is absent or no text.
pub(crate) fn text(object: &Value, name: &str, other: &str) -> Option<String> {
    member(object, name, other).as_str().map(str::to_owned)
}

/// The object with one member more, when there is one.
pub(crate) fn with(mut object: Value, name: &str, value: Option<impl Into<Value>>) -> Value {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
    object
}
