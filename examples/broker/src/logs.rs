//! Logs, on stderr. `RUST_LOG` chooses what is shown.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Logs of a server: what operators need.
pub(crate) fn start_serving() {
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter("info,hop=off"));
    tracing_subscriber::registry().with(logs).init();
}

/// Logs beside a chat: only what went wrong, and the hop lines.
#[cfg(feature = "sandbox")]
pub(crate) fn start_chatting(hops: &m365_sandbox::terminal::Hops) {
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .without_time()
        .with_filter(filter("warn,hop=off"));
    tracing_subscriber::registry().with(logs).with(hops.layer()).init();
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}
