#![doc = include_str!("../README.md")]

mod actix_host;
mod axum_host;
mod bot;
mod hyper_host;
mod lambda_host;
mod local;

use std::{net::TcpListener, process::ExitCode};

use bot::Bot;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let host = std::env::args().nth(1).unwrap_or_default();
    if !["axum", "actix", "hyper", "lambda"].contains(&host.as_str()) {
        eprintln!("say which host: axum, actix, hyper or lambda");
        return ExitCode::from(2);
    }
    let bot = match Bot::from_env() {
        Ok(bot) => bot,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match run(&host, bot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(host: &str, bot: Bot) -> std::io::Result<()> {
    let port = entra_auth::settings::Settings::from_env().parsed("PORT", 3978_u16).unwrap_or(3978);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on http://{}{}", listener.local_addr()?, bot.path);
    if host == "actix" {
        return actix_web::rt::System::new().block_on(actix_host::serve(bot, listener));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match host {
            "axum" => axum_host::serve(bot, listener).await,
            "hyper" => hyper_host::serve(bot, listener).await,
            _ => local::serve(bot, listener).await,
        }
    })
}
