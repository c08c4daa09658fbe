//! Checking a value against a JSON schema: the part of draft 2020-12 that tools use. A rule that is not checked is
//! refused when the schema is made, never ignored.

use entra_auth::BuildError;
use serde_json::{Map, Value};

/// Schemas and values deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// Rules that only describe.
const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "$anchor",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "format",
    "contentEncoding",
    "contentMediaType",
    "nullable",
];

/// Rules that are checked.
const RULES: &[&str] = &[
    "$ref",
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
];

/// A JSON schema whose every rule can be checked.
#[derive(Clone, Debug)]
pub struct Schema(Value);

/// Where a value breaks which rule. Shows no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at \"{path}\": {rule}")]
#[non_exhaustive]
pub struct SchemaViolation {
    /// The place as a JSON pointer; empty for the whole.
    pub path: String,
    /// The rule, in words.
    pub rule: String,
}

impl Schema {
    /// A schema.
    ///
    /// # Errors
    ///
    /// When it is no object or boolean, is deeper than 64, refers to anything but its own `$defs`, or has a rule that is
    /// not checked here: `pattern`, `patternProperties`, `if`, `contains`, `dependentSchemas`, `unevaluated…`, …
    pub fn new(schema: Value) -> Result<Self, BuildError> {
        inspect(&schema, &schema, 0)?;
        Ok(Self(schema))
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The first rule it breaks.
    pub fn check(&self, value: &Value) -> Result<(), SchemaViolation> {
        Check { root: &self.0 }.value(&self.0, value, &mut String::new(), 0)
    }
}

fn inspect(root: &Value, schema: &Value, depth: usize) -> Result<(), BuildError> {
    if depth > MAX_DEPTH {
        return Err(BuildError::new("the schema is too deep"));
    }
    let members = match schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(members) => members,
        _ => return Err(BuildError::new("a schema is an object or a boolean")),
    };
    for (name, rule) in members {
        let shape = |good: bool| {
            if good { Ok(()) } else { Err(BuildError::new(format!("the rule {name} of the schema has a wrong shape"))) }
        };
        match name.as_str() {
            "properties" | "$defs" | "definitions" => {
                shape(rule.is_object())?;
                for part in rule.as_object().into_iter().flat_map(Map::values) {
                    inspect(root, part, depth + 1)?;
                }
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                shape(rule.as_array().is_some_and(|list| !list.is_empty()))?;
                for part in rule.as_array().into_iter().flatten() {
                    inspect(root, part, depth + 1)?;
                }
            }
            "items" | "additionalProperties" | "propertyNames" | "not" => inspect(root, rule, depth + 1)?,
            "$ref" => shape(rule.as_str().and_then(|target| resolve(root, target)).is_some())?,
            "type" => shape(rule.is_string() || rule.as_array().is_some_and(|list| list.iter().all(Value::is_string)))?,
            "enum" => shape(rule.is_array())?,
            "required" => shape(rule.as_array().is_some_and(|list| list.iter().all(Value::is_string)))?,
            "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                shape(rule.is_u64())?;
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => shape(rule.is_number())?,
            "multipleOf" => shape(rule.as_f64().is_some_and(|step| step > 0.0))?,
            "uniqueItems" => shape(rule.is_boolean())?,
            known if RULES.contains(&known) || NOTES.contains(&known) || known.starts_with("x-") => {}
            other => return Err(BuildError::new(format!("the rule {other} of the schema cannot be checked"))),
        }
    }
    Ok(())
}

fn resolve<'a>(root: &'a Value, target: &str) -> Option<&'a Value> {
    root.pointer(target.strip_prefix('#')?)
}

struct Check<'a> {
    root: &'a Value,
}

type Checked = Result<(), SchemaViolation>;

impl Check<'_> {
    fn value(&self, schema: &Value, value: &Value, path: &mut String, depth: usize) -> Checked {
        let fail = |path: &str, rule: &str| Err(SchemaViolation { path: path.to_owned(), rule: rule.to_owned() });
        if depth > MAX_DEPTH {
            return fail(path, "it is too deep");
        }
        let members = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(members) => members,
            _ => return fail(path, "nothing is allowed here"),
        };
        for (name, rule) in members {
            match name.as_str() {
                "$ref" => {
                    let target = rule.as_str().and_then(|target| resolve(self.root, target));
                    self.value(target.unwrap_or(&Value::Bool(false)), value, path, depth + 1)?;
                }
                "type" => {
                    let kinds: Vec<&str> = match rule {
                        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
                        kind => kind.as_str().into_iter().collect(),
                    };
                    if !kinds.iter().any(|kind| is_kind(value, kind)) {
                        return fail(path, &format!("it must be of type {}", kinds.join(" or ")));
                    }
                }
                "enum" if !rule.as_array().is_some_and(|list| list.iter().any(|one| same(one, value))) => {
                    return fail(path, "it must be one of the listed values");
                }
                "const" if !same(rule, value) => return fail(path, "it must be the one allowed value"),
                "anyOf" => self.choose(rule, value, path, depth, |fits| fits >= 1, "it must fit one of the forms")?,
                "oneOf" => self.choose(rule, value, path, depth, |fits| fits == 1, "it must fit exactly one form")?,
                "allOf" => {
                    for part in rule.as_array().into_iter().flatten() {
                        self.value(part, value, path, depth + 1)?;
                    }
                }
                "not" if self.value(rule, value, path, depth + 1).is_ok() => {
                    return fail(path, "it has a form that is not allowed");
                }
                _ => {}
            }
        }
        match value {
            Value::Object(object) => self.object(members, object, path, depth),
            Value::Array(list) => self.list(members, list, path, depth),
            Value::String(text) => length(members, text.chars().count(), "minLength", "maxLength", path, "characters"),
            Value::Number(number) => range(members, number.as_f64().unwrap_or(f64::NAN), path),
            _ => Ok(()),
        }
    }

    fn choose(
        &self,
        forms: &Value,
        value: &Value,
        path: &mut String,
        depth: usize,
        enough: impl Fn(usize) -> bool,
        rule: &str,
    ) -> Checked {
        let forms = forms.as_array().into_iter().flatten();
        let fits = forms.filter(|form| self.value(form, value, path, depth + 1).is_ok()).count();
        if enough(fits) { Ok(()) } else { Err(SchemaViolation { path: path.clone(), rule: rule.to_owned() }) }
    }

    fn object(
        &self,
        members: &Map<String, Value>,
        object: &Map<String, Value>,
        path: &mut String,
        depth: usize,
    ) -> Checked {
        let fail = |path: &str, rule: String| Err(SchemaViolation { path: path.to_owned(), rule });
        for name in members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return fail(path, format!("the member {name} is missing"));
            }
        }
        length(members, object.len(), "minProperties", "maxProperties", path, "members")?;
        let known = members.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            let own = known.and_then(|known| known.get(name));
            let schema = own.or_else(|| members.get("additionalProperties"));
            let length = path.len();
            path.push('/');
            path.push_str(&name.replace('~', "~0").replace('/', "~1"));
            if own.is_none() && schema == Some(&Value::Bool(false)) {
                return fail(path, "there is no such member".to_owned());
            }
            if let Some(names) = members.get("propertyNames") {
                self.value(names, &Value::String(name.clone()), path, depth + 1)?;
            }
            if let Some(schema) = schema {
                self.value(schema, value, path, depth + 1)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn list(&self, members: &Map<String, Value>, list: &[Value], path: &mut String, depth: usize) -> Checked {
        length(members, list.len(), "minItems", "maxItems", path, "entries")?;
        let first = members.get("prefixItems").and_then(Value::as_array);
        for (index, value) in list.iter().enumerate() {
            let schema = first.and_then(|first| first.get(index)).or_else(|| members.get("items"));
            let length = path.len();
            path.push_str(&format!("/{index}"));
            if let Some(schema) = schema {
                self.value(schema, value, path, depth + 1)?;
            }
            path.truncate(length);
        }
        let unique = members.get("uniqueItems") == Some(&Value::Bool(true));
        let twice = |(index, one): (usize, &Value)| list.iter().take(index).any(|other| same(one, other));
        if unique && list.iter().enumerate().any(twice) {
            return Err(SchemaViolation { path: path.clone(), rule: "its entries must differ".to_owned() });
        }
        Ok(())
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // 1.0 is an integer in JSON schema.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

/// Equal as JSON: 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

fn length(members: &Map<String, Value>, found: usize, least: &str, most: &str, path: &str, what: &str) -> Checked {
    let limit = |name: &str| members.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let fail = |rule: String| Err(SchemaViolation { path: path.to_owned(), rule });
    match (limit(least), limit(most)) {
        (Some(least), _) if found < least => fail(format!("it must have at least {least} {what}")),
        (_, Some(most)) if found > most => fail(format!("it must have at most {most} {what}")),
        _ => Ok(()),
    }
}

fn range(members: &Map<String, Value>, number: f64, path: &str) -> Checked {
    let limit = |name: &str| members.get(name).and_then(Value::as_f64);
    let bad = [
        (limit("minimum").is_some_and(|least| number < least), "it is too small"),
        (limit("maximum").is_some_and(|most| number > most), "it is too large"),
        (limit("exclusiveMinimum").is_some_and(|least| number <= least), "it is too small"),
        (limit("exclusiveMaximum").is_some_and(|most| number >= most), "it is too large"),
        (limit("multipleOf").is_some_and(|step| !is_multiple(number, step)), "it is not a multiple of the step"),
    ];
    match bad.iter().find(|(broken, _)| *broken) {
        Some((_, rule)) => Err(SchemaViolation { path: path.to_owned(), rule: (*rule).to_owned() }),
        None => Ok(()),
    }
}

fn is_multiple(number: f64, step: f64) -> bool {
    let times = number / step;
    (times - times.round()).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_rule_accepts_and_refuses() {
        let cases = [
            (json!({"type": "object"}), json!({}), json!([])),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"type": "integer"}), json!(1.0), json!(1.5)),
            (json!({"type": "number"}), json!(1.5), json!("1")),
            (json!({"type": "boolean"}), json!(true), json!(0)),
            (json!({"enum": ["a", 1]}), json!(1.0), json!("b")),
            (json!({"const": {"a": [1]}}), json!({"a": [1.0]}), json!({"a": [2]})),
            (json!({"required": ["a"]}), json!({"a": null}), json!({})),
            (json!({"properties": {"a": {"type": "string"}}}), json!({"a": "", "b": 1}), json!({"a": 1})),
            (json!({"properties": {"a": true}, "additionalProperties": false}), json!({"a": 1}), json!({"b": 1})),
            (json!({"additionalProperties": {"type": "integer"}}), json!({"b": 1}), json!({"b": "1"})),
            (json!({"propertyNames": {"maxLength": 1}}), json!({"b": 1}), json!({"bb": 1})),
            (json!({"minProperties": 1, "maxProperties": 1}), json!({"b": 1}), json!({})),
            (json!({"items": {"type": "string"}}), json!(["a"]), json!(["a", 1])),
            (json!({"prefixItems": [{"type": "string"}], "items": false}), json!(["a"]), json!(["a", 1])),
            (json!({"minItems": 1}), json!([1]), json!([])),
            (json!({"maxItems": 1}), json!([1]), json!([1, 2])),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 1.0])),
            (json!({"minLength": 2}), json!("äö"), json!("ä")),
            (json!({"maxLength": 2}), json!("äö"), json!("äöü")),
            (json!({"minimum": 1, "maximum": 2}), json!(2), json!(3)),
            (json!({"exclusiveMinimum": 1}), json!(1.1), json!(1)),
            (json!({"exclusiveMaximum": 1}), json!(0), json!(1)),
            (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(null), json!(1)),
            (json!({"oneOf": [{"minimum": 1}, {"maximum": 5}]}), json!(7), json!(3)),
            (json!({"allOf": [{"minimum": 1}, {"maximum": 5}]}), json!(3), json!(7)),
            (json!({"not": {"type": "string"}}), json!(1), json!("1")),
            (json!({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}}), json!("a"), json!(1)),
        ];
        for (schema, good, bad) in cases {
            let compiled = Schema::new(schema.clone()).unwrap();
            assert_eq!(compiled.check(&good), Ok(()), "{schema}");
            assert!(compiled.check(&bad).is_err(), "{schema}");
        }
    }

    #[test]
    fn a_violation_says_where_and_shows_no_value() {
        let schema = Schema::new(json!({"properties": {"a/b": {"items": {"type": "string"}}}})).unwrap();
        let violation = schema.check(&json!({"a/b": ["x", {"marker": 1}]})).unwrap_err();
        assert_eq!(violation.to_string(), "at \"/a~1b/1\": it must be of type string");
    }

    #[test]
    fn what_cannot_be_checked_is_refused_when_the_schema_is_made() {
        for bad in [
            json!({"pattern": "^a"}),
            json!({"properties": {"a": {"pattern": "^a"}}}),
            json!({"if": {}}),
            json!({"$ref": "https://x"}),
            json!({"$ref": "#/$defs/none"}),
            json!({"type": 1}),
            json!({"anyOf": []}),
            json!({"minimum": "1"}),
            json!([1]),
        ] {
            assert!(Schema::new(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn schemas_and_values_without_end_do_not_overflow() {
        let schema = Schema::new(json!({"$ref": "#"})).unwrap();
        assert!(schema.check(&json!(1)).is_err());
        let tree = Schema::new(json!({"properties": {"next": {"$ref": "#"}}})).unwrap();
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "next": deep });
        }
        assert!(tree.check(&deep).is_err());
        assert!(tree.check(&json!({"next": {"next": {}}})).is_ok());
    }
}
