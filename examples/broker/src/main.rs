#![doc = include_str!("../README.md")]

mod agent;
mod answer;
mod bot;
mod clients;
mod files;
mod identity;
#[cfg(feature = "sandbox")]
mod local;
mod logs;
mod profile;
mod questions;
mod server;
mod settings;
mod vault;
mod words;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, time::Duration};

use bot::Bot;
use botframework_activity::LossWindow;
use clap::Parser;
use entra_auth::{is_loopback, settings::Settings};
use settings::Config;
use url::Url;

/// A Teams bot in one tenant in front of a Foundry agent in another.
#[derive(Debug, Parser)]
#[command(name = "broker", version)]
struct Arguments {
    /// Says this in the chat, prints the answer and ends; can be repeated. Needs the sandbox.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["replay", "serve"])]
    say: Vec<String>,
    /// Sends recorded requests, a JSON object with `headers` and `body` a line. Needs the sandbox.
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    replay: Option<PathBuf>,
    /// Serves until Ctrl-C, with the settings of the environment and never with a sandbox.
    #[arg(long)]
    serve: bool,
    /// Signs users in and greets them by name: the per-user form.
    #[arg(long)]
    sso: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime could not be started: {error}")),
    };
    let code = runtime.block_on(run(arguments));
    // A terminal that is being read would hold the process back.
    runtime.shutdown_background();
    code
}

async fn run(arguments: Arguments) -> ExitCode {
    #[cfg(feature = "sandbox")]
    match local::wanted(&arguments) {
        Ok(true) => return local::run(arguments).await,
        Ok(false) => {}
        Err(problem) => return misconfigured(&problem),
    }
    logs::start_serving();
    if !arguments.say.is_empty() || arguments.replay.is_some() {
        return misconfigured(
            "--say and --replay need the sandbox: build with it, and set neither BOT_APP_ID nor FOUNDRY_PROJECT_ENDPOINT",
        );
    }
    let config = match settings::read(Settings::from_env(), arguments.sso) {
        Ok(config) => config,
        Err(problems) => return misconfigured(&problems.to_string()),
    };
    if !arguments.serve {
        return misconfigured("the settings of a real bot are complete; add --serve to serve it");
    }
    match config.open().await {
        Ok(config) => serve(&config).await,
        Err(error) => misconfigured(&error.to_string()),
    }
}

async fn serve(config: &Config) -> ExitCode {
    let (listener, bot) = match (server::bind(config.listen).await, clients::build(config)) {
        (Ok(listener), Ok(bot)) => (listener, bot),
        (Err(error), _) => return fail(&error.to_string()),
        (_, Err(error)) => return misconfigured(&error.to_string()),
    };
    announce(config);
    announce_store(&bot).await;
    match listener.local_addr() {
        Ok(address) => eprintln!("listening on http://{address}/api/messages; Ctrl-C stops"),
        Err(error) => return fail(&error.to_string()),
    }
    let stop = async {
        stopped().await;
        eprintln!("stopping; requests are turned away, running turns have 25 s");
        // A second of the 25 is for handing back what has not ended.
        bot.stop(Duration::from_secs(24)).await;
    };
    server::serve(listener, bot.clone(), false, stop).await;
    ExitCode::SUCCESS
}

/// What an operator should know at every start.
fn announce(config: &Config) {
    if let Some(note) = config.identity.note() {
        eprintln!("note: {note}");
    }
    if config.sso.is_none() {
        eprintln!(
            "note: the agent is reached with the bot's own identity, so every user sees the same data; --sso is the per-user form"
        );
    }
    if config.tenants == entra_auth::TenantPolicy::Any {
        eprintln!("warning: ALLOWED_TENANT_IDS is *, so users of every tenant may talk to the bot");
    }
    let foundry = Url::parse(&config.foundry_endpoint).ok();
    let urls = [Some(config.authority.url()), config.metadata_url.as_ref(), foundry.as_ref()];
    let plain = urls.into_iter().flatten().filter(|url| url.scheme() == "http" && is_loopback(url));
    for origin in plain.map(|url| url.origin().ascii_serialization()).collect::<BTreeSet<_>>() {
        eprintln!("note: plain http is used for {origin}, which is on this machine");
    }
}

/// What the end of a process, or of its Redis, loses.
async fn announce_store(bot: &Bot) {
    let loses = match bot.check().await {
        None => {
            "warning: conversations, sign-ins and queued turns are kept in memory; a restart begins new conversations \
             and loses turns; set REDIS_URL and STORE_ENCRYPTION_KEY to keep them"
        }
        Some(Err(error)) => {
            eprintln!("warning: {error}; requests are answered with 503 until Redis is there");
            return;
        }
        Some(Ok(report)) => match report.loss {
            LossWindow::Nothing => "note: state is kept in Redis, and no crash loses it",
            LossWindow::Last(_) => {
                "warning: state is kept in Redis; a crash of Redis loses its last second (appendfsync everysec)"
            }
            LossWindow::Everything => {
                "warning: state is kept in Redis; a crash of Redis can lose all of it: set appendonly yes and \
                 appendfsync always"
            }
            _ => "warning: state is kept in Redis; it does not tell what its crash would lose",
        },
    };
    eprintln!("{loses}");
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
