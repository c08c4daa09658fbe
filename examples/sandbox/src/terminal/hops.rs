//! One short line per hop, on stderr, with the time since the message was sent.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    filter::filter_fn,
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// The target of events whose message is a hop line as it stands.
const TARGET: &str = "hop";
/// The event by which a token cache says where a token came from: `result` and `scopes`.
const TOKEN: &str = "entra.token.cache";

/// The stopwatch of the hop lines. A clone shows the same time.
#[derive(Debug, Clone)]
pub struct Hops(Arc<Mutex<Instant>>);

impl Default for Hops {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Hops {
    /// The layer for a `tracing` subscriber. It prints events with target `hop` and where tokens came from, and leaves
    /// everything else to other layers.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        HopLayer(self.clone()).with_filter(filter_fn(is_hop).with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sets the time to zero: a message is about to be sent.
    pub fn restart(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn print(&self, line: &str) {
        let start = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("  {:>6.1} ms  {line}", start.elapsed().as_secs_f64() * 1000.0);
    }
}

/// Prints hop lines; see [`Hops::layer`].
struct HopLayer(Hops);

impl<S: Subscriber> Layer<S> for HopLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if event.metadata().target() == TARGET {
            self.0.print(&fields.message);
        } else if let Some(line) = token_line(&fields) {
            self.0.print(&line);
        }
    }
}

fn is_hop(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
        && *metadata.level() <= Level::DEBUG
        && (metadata.target() == TARGET || metadata.name() == TOKEN)
}

fn token_line(fields: &Fields) -> Option<String> {
    let whose = match fields.scopes.as_str() {
        scopes if scopes.contains("api.botframework") => "connector",
        scopes if scopes.contains("ai.azure") => "Foundry",
        scopes if scopes.contains("graph.microsoft") => "Graph",
        _ => "access",
    };
    let from = match fields.result.as_str() {
        "hit" => "from the cache",
        "refresh" => "from the cache, being refreshed",
        "miss" => "from Entra over the network",
        "gated" => "refused: Entra refused it a moment ago",
        _ => return None,
    };
    Some(format!("{whose} token {from}"))
}

#[derive(Default)]
struct Fields {
    message: String,
    result: String,
    scopes: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let slot = match field.name() {
            "message" => &mut self.message,
            "result" => &mut self.result,
            "scopes" => &mut self.scopes,
            _ => return,
        };
        // Writing to a string cannot fail.
        let _ = write!(slot, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_named_by_whom_they_are_for() {
        for (scopes, result, line) in [
            ("https://api.botframework.com/.default", "hit", Some("connector token from the cache")),
            ("https://ai.azure.com/.default", "miss", Some("Foundry token from Entra over the network")),
            ("https://graph.microsoft.com/User.Read", "refresh", Some("Graph token from the cache, being refreshed")),
            ("api://x/.default", "new-word", None),
        ] {
            let fields = Fields { scopes: scopes.to_owned(), result: result.to_owned(), ..Fields::default() };
            assert_eq!(token_line(&fields).as_deref(), line);
        }
    }
}
