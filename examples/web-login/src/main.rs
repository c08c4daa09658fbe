#![doc = include_str!("../README.md")]

mod app;
mod graph;
#[cfg(feature = "sandbox")]
mod local;
mod pages;
mod routes;
mod server;
mod session;
mod settings;
mod story;

use std::{io::IsTerminal as _, process::ExitCode};

use app::App;
use clap::Parser;
use entra_auth::{is_loopback, settings::Settings};
use settings::Config;
use tracing_subscriber::EnvFilter;

/// Browser sign-in with Microsoft Entra ID, and a story API that acts for the signed-in user.
#[derive(Debug, Parser)]
#[command(name = "web-login", version)]
struct Arguments {
    /// Serves until Ctrl-C, with the settings of the environment and never with a sandbox.
    #[arg(long)]
    serve: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logs();
    #[cfg(feature = "sandbox")]
    match local::wanted(&arguments) {
        Ok(true) => return local::run().await,
        Ok(false) => {}
        Err(problem) => return misconfigured(&problem),
    }
    let config = match settings::read(Settings::from_env()) {
        Ok(config) => config,
        Err(problems) => return misconfigured(&problems.to_string()),
    };
    if !arguments.serve {
        return misconfigured("the settings of a real application are complete; add --serve to serve it");
    }
    serve(config, false).await
}

async fn serve(config: Config, sandbox: bool) -> ExitCode {
    let listener = match server::bind(config.listen).await {
        Ok(listener) => listener,
        Err(error) => return fail(&error.to_string()),
    };
    let port = match listener.local_addr() {
        Ok(address) => address.port(),
        Err(error) => return fail(&error.to_string()),
    };
    announce(&config);
    let app = match App::build(config, port, sandbox) {
        Ok(app) => app,
        Err(error) => return misconfigured(&error.to_string()),
    };
    eprintln!("open {} in a browser; Ctrl-C stops", app.base);
    server::serve(listener, routes::router(app), stopped()).await;
    ExitCode::SUCCESS
}

/// What an operator should know at every start.
fn announce(config: &Config) {
    eprintln!("note: sessions and refresh tokens are kept in memory; after a restart users sign in again");
    if config.tenants == entra_auth::TenantPolicy::AnyOrganization {
        eprintln!("warning: ALLOWED_TENANT_IDS is *, so users of every organisation may sign in");
    }
    for (name, url) in [("AZURE_AUTHORITY_HOST", config.authority.url()), ("GRAPH_BASE_URL", &config.graph)] {
        if url.scheme() == "http" && is_loopback(url) {
            eprintln!("note: {name} is plain http on this machine");
        }
    }
}

/// Logs, on stderr. `RUST_LOG` chooses what is shown.
fn start_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let color = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr).init();
}

/// Ctrl-C, or the signal by which service managers stop a process.
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

/// A setting is wrong: the operator's business.
fn misconfigured(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(2)
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::FAILURE
}
