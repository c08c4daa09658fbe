use serde_json::{Map, Value};

/// What a goal found.
#[derive(Clone, Debug)]
pub struct Outcome {
    value: Value,
    limit: Value,
    failed: Vec<String>,
    details: Map<String, Value>,
}

impl Outcome {
    /// The figure that was measured and the limit it must keep. [`Outcome::require`] says whether it does.
    #[must_use]
    pub fn new(value: impl Into<Value>, limit: impl Into<Value>) -> Self {
        Self { value: value.into(), limit: limit.into(), failed: Vec::new(), details: Map::new() }
    }

    /// Something that must hold. `what` names it where it does not.
    #[must_use]
    pub fn require(mut self, what: impl Into<String>, holds: bool) -> Self {
        if !holds {
            self.failed.push(what.into());
        }
        self
    }

    /// A figure besides.
    #[must_use]
    pub fn note(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// Whether everything that must hold does.
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.failed.is_empty()
    }

    /// What does not hold.
    #[must_use]
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// A figure besides, by name.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&Value> {
        self.details.get(name)
    }

    /// The main figure.
    #[must_use]
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// The line that is printed.
    #[must_use]
    pub fn line(&self, goal: &str) -> Value {
        let mut line = Map::new();
        line.insert("goal".into(), goal.into());
        line.insert("value".into(), self.value.clone());
        line.insert("limit".into(), self.limit.clone());
        line.insert("pass".into(), self.passes().into());
        if !self.failed.is_empty() {
            line.insert("failed".into(), self.failed.clone().into());
        }
        line.extend(self.details.clone());
        line.into()
    }
}
