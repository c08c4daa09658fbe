//! Runs the sandbox alone, until Ctrl-C.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use m365_sandbox::Sandbox;
use url::Url;

/// A Microsoft cloud on loopback for tests: Entra, Bot Framework channel, user-token service, Foundry, a Teams user.
/// Never for production: every secret in it is public.
#[derive(Debug, Parser)]
#[command(name = "m365-sandbox", version)]
struct Arguments {
    /// Port on loopback; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Speak TLS at https://localhost with a CA made at start
    #[arg(long)]
    tls: bool,
    /// The bot is a managed identity of the machine: no registration, no secret
    #[arg(long)]
    managed_identity: bool,
    /// Where the bot listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3978/api/messages")]
    bot: Url,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bot = arguments.bot.as_str();
    let builder = Sandbox::builder().port(arguments.port).tls(arguments.tls).bot_endpoint(bot);
    let builder = if arguments.managed_identity { builder.bot_as_managed_identity() } else { builder };
    let sandbox = match builder.start().await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => "; another program listens there: give --port a free one, or 0 for any",
                io::ErrorKind::PermissionDenied => "; this port needs more rights: give --port one above 1023",
                _ => "",
            };
            eprintln!("the sandbox cannot be started on port {}: {error}{advice}", arguments.port);
            return ExitCode::FAILURE;
        }
    };
    // Whoever reads the settings may stop reading; the sandbox goes on.
    let mut out = io::stdout();
    let _ = out.write_all(greeting(&sandbox, bot).as_bytes()).and_then(|()| out.flush());
    stopped().await;
    sandbox.stop().await;
    ExitCode::SUCCESS
}

/// Ctrl-C, or the signal by which scripts and service managers stop a process: the CA file is removed in both cases.
async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            },
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}

/// Lines a POSIX shell can read: `eval "$(…)"` or paste.
fn greeting(sandbox: &Sandbox, bot: &str) -> String {
    let base = sandbox.base_url();
    let mut lines = vec![
        format!("# m365-sandbox at {base}"),
        "# Never for production. All ids and secrets are public test values.".to_owned(),
        "# Settings a bot needs:".to_owned(),
    ];
    lines.extend(sandbox.settings().into_iter().map(|(name, value)| export(name, &value)));
    if let Some(file) = sandbox.ca_file() {
        let file = file.display().to_string();
        lines.push("# The CA of this sandbox, by the names that OpenSSL, Node and Python read:".to_owned());
        lines.extend(["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"].map(|name| export(name, &file)));
    }
    lines.push(format!("# Teams posts to {bot}"));
    lines.push(format!("# Signing front for local tools that cannot sign: {base}/front/api/messages"));
    lines.push(format!("# Remote control: {base}/_sandbox/settings, /requests, /faults, /teams/say, … (see README)"));
    lines.push("# Ctrl-C ends it.\n".to_owned());
    lines.join("\n")
}

fn export(name: &str, value: &str) -> String {
    format!("export {name}='{}'", value.replace('\'', "'\\''"))
}
