//! Functions of the application that an agent calls, and the loop that runs them.

mod run;
mod schema;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use entra_auth::BuildError;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use run::{Outcome, ToolLoop, ToolLoopError, ToolResult, ToolRun};
pub use schema::{Schema, SchemaViolation};

use crate::tool::FunctionTool;

type Running = Pin<Box<dyn Future<Output = Result<Value, ToolError>> + Send>>;
type Run = Arc<dyn Fn(Value) -> Running + Send + Sync>;

/// One function: its declaration, the check of its arguments, and what it does.
///
/// The arguments come from a model that may have read hostile text. They fit the schema, no more: check what they name
/// against what the signed-in user may do, and act with the user's token.
#[derive(Clone)]
#[must_use]
pub struct ToolFunction {
    declaration: FunctionTool,
    schema: Schema,
    run: Run,
    timeout: Option<Duration>,
    alone: bool,
}

impl ToolFunction {
    /// A function with the JSON schema of its arguments.
    ///
    /// # Errors
    ///
    /// When the name is not 1 to 64 letters, digits, `_` and `-`, or the schema is none, or has a rule that could not be
    /// checked here, such as `pattern`. The developer fixes it.
    pub fn new<F>(
        name: impl Into<String>,
        description: impl Into<String>,
        schema: Value,
        run: impl Fn(Value) -> F + Send + Sync + 'static,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = Result<Value, ToolError>> + Send + 'static,
    {
        let name: String = name.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(BuildError::new("a function's name is 1 to 64 letters, digits, _ and -"));
        }
        let compiled = Schema::new(schema.clone())?;
        Ok(Self {
            declaration: FunctionTool::new(name, schema).description(description),
            schema: compiled,
            run: Arc::new(move |arguments| Box::pin(run(arguments))),
            timeout: None,
            alone: false,
        })
    }

    /// A function of a typed argument and a typed result; the schema is that of the type, its doc comments are told to
    /// the model.
    ///
    /// ```
    /// # use foundry_client::tools::{ToolError, ToolFunction};
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Where {
    ///     /// A city, for example "Ghent".
    ///     city: String,
    /// }
    /// let weather = ToolFunction::typed("get_weather", "The weather of now", async |place: Where| {
    ///     Ok::<_, ToolError>(format!("rain in {}", place.city))
    /// })?;
    /// # Ok::<(), entra_auth::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn typed<A, O, F>(
        name: impl Into<String>,
        description: impl Into<String>,
        run: impl Fn(A) -> F + Send + Sync + 'static,
    ) -> Result<Self, BuildError>
    where
        A: JsonSchema + DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Future<Output = Result<O, ToolError>> + Send + 'static,
    {
        let run = Arc::new(run);
        Self::new(name, description, schema_of::<A>(), move |arguments| {
            let read = serde_json::from_value::<A>(arguments).map(|arguments| run(arguments));
            async move {
                // What the schema cannot say, the type may still refuse.
                let running = read.map_err(|_| ToolError::new("the arguments have not the expected shape"))?;
                serde_json::to_value(running.await?).map_err(|_| ToolError::new("the result cannot be written as JSON"))
            }
        })
    }

    /// The longest time of one run; else the loop's.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Never runs at the same time as another function: for what changes things.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// What a model or a prompt agent is told of the function.
    #[must_use]
    pub fn declaration(&self) -> &FunctionTool {
        &self.declaration
    }
}

impl fmt::Debug for ToolFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFunction")
            .field("name", &self.declaration.name)
            .field("timeout", &self.timeout)
            .field("alone", &self.alone)
            .finish_non_exhaustive()
    }
}

/// Why a function has no result. The text goes to the agent, which may repeat it to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(Cow<'static, str>);

impl ToolError {
    /// A failure with a text for the agent: what is wrong and what it could do instead. No internals.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}

/// The closed set of functions an agent may call.
#[derive(Clone, Debug, Default)]
pub struct ToolSet(BTreeMap<String, ToolFunction>);

impl ToolSet {
    /// No functions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, function: ToolFunction) -> Self {
        self.0.insert(function.name().to_owned(), function);
        self
    }

    /// What models and prompt agents are told of the functions, in the order of their names.
    pub fn declarations(&self) -> impl Iterator<Item = &FunctionTool> {
        self.0.values().map(ToolFunction::declaration)
    }

    fn get(&self, name: &str) -> Option<&ToolFunction> {
        self.0.get(name)
    }
}

/// The schema of a type, inline as far as it goes.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of a type as strict structured output wants it: every property required, no others, no defaults.
pub(crate) fn strict_schema<T: JsonSchema>() -> Value {
    let mut schema = schema_of::<T>();
    strict(&mut schema);
    schema
}

fn strict(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("default");
            if let Some(format) = members.get("format").and_then(Value::as_str)
                && (format.starts_with("int") || format.starts_with("uint") || matches!(format, "float" | "double"))
            {
                members.remove("format");
            }
            let names = members.get("properties").and_then(Value::as_object);
            if let Some(names) = names.map(|properties| properties.keys().cloned().map(Value::String).collect()) {
                members.insert("required".to_owned(), Value::Array(names));
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            members.values_mut().for_each(strict);
        }
        Value::Array(list) => list.iter_mut().for_each(strict),
        _ => {}
    }
}

/// A name for the schema of a type.
pub(crate) fn type_name<T: JsonSchema>() -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    T::schema_name().chars().map(plain).take(64).collect()
}
