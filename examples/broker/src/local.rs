//! The broker beside a sandbox cloud in the same process: a chat at the terminal, or recorded requests.

use std::{collections::HashMap, fs, process::ExitCode, time::Duration};

use entra_auth::settings::Settings;
use m365_sandbox::{
    Sandbox,
    constants::USER_ONE,
    terminal::{Chat, Hops, Messages, replay},
};

use crate::{Arguments, clients, fail, logs, misconfigured, server, settings, words};

/// Whether the sandbox stands in: nothing is set, nothing is to be served, and the port is on this machine only.
pub(crate) fn wanted(arguments: &Arguments) -> Result<bool, String> {
    let mut environment = Settings::from_env();
    if arguments.serve || !settings::is_blank(&environment) {
        return Ok(false);
    }
    let Some(listen) = settings::listen(&mut environment) else {
        return Err(environment.finish(|| Some(())).err().map_or_else(String::new, |error| error.to_string()));
    };
    if !listen.0.ip().is_loopback() {
        return Err(format!(
            "BIND is {}: the sandbox runs on a loopback address only; set BOT_APP_ID and FOUNDRY_PROJECT_ENDPOINT for a real bot",
            listen.0.ip()
        ));
    }
    Ok(true)
}

/// Starts cloud and bot, talks, and stops both.
pub(crate) async fn run(arguments: Arguments) -> ExitCode {
    let hops = Hops::default();
    logs::start_chatting(&hops);
    let sandbox = match Sandbox::builder().start().await {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(&format!("the sandbox could not be started: {error}")),
    };
    let stand_in: HashMap<_, _> = sandbox.settings().into_iter().collect();
    let environment = Settings::from_env();
    // What is set outside wins, so that a single setting can be tried out.
    let lookup = |name: &str| environment.lookup(name).or_else(|| stand_in.get(name).cloned());
    let config = match settings::read(Settings::from_lookup(lookup), arguments.sso) {
        Ok(config) => config,
        Err(problems) => return misconfigured(&problems.to_string()),
    };
    let config = match config.open().await {
        Ok(config) => config,
        Err(error) => return misconfigured(&error.to_string()),
    };
    let listener = match server::bind(config.listen).await {
        Ok(listener) => listener,
        Err(error) => return fail(&error.to_string()),
    };
    let bot = match clients::build(&config) {
        Ok(bot) => bot,
        Err(error) => return misconfigured(&error.to_string()),
    };
    let endpoint = match listener.local_addr() {
        Ok(address) => format!("http://{address}/api/messages"),
        Err(error) => return fail(&error.to_string()),
    };
    sandbox.set_bot_endpoint(&endpoint);
    eprintln!("sandbox: a Microsoft cloud on {}, for trying out only", sandbox.base_url());
    eprintln!("bot: {endpoint}, health on /healthz");
    match config.sso {
        None => eprintln!(
            "The agent is reached with the bot's own identity: every user sees the same data. --sso is the per-user form."
        ),
        Some(_) => eprintln!(
            "Users are signed in, and Graph is asked with their own tokens; the agent itself answers with the bot's identity."
        ),
    }
    eprintln!();

    let serving = tokio::spawn(server::serve(listener, bot.clone(), true, std::future::pending()));
    let code = tokio::select! {
        code = talk(arguments, &sandbox, hops) => code,
        _ = tokio::signal::ctrl_c() => {
            eprintln!();
            ExitCode::SUCCESS
        }
    };
    serving.abort();
    bot.stop(Duration::from_millis(500)).await;
    sandbox.stop().await;
    code
}

async fn talk(arguments: Arguments, sandbox: &Sandbox, hops: Hops) -> ExitCode {
    let teams = sandbox.teams();
    if let Some(path) = arguments.replay {
        let recording = match fs::read_to_string(&path) {
            Ok(recording) => recording,
            Err(error) => return misconfigured(&format!("{} cannot be read: {error}", path.display())),
        };
        return match replay(&teams, &hops, &recording, words::WORKING).await {
            Ok(outcome) => {
                eprintln!("{} requests answered, {} not", outcome.answered, outcome.failed);
                if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => fail(&error.to_string()),
        };
    }
    let conversation = teams.user(USER_ONE).conversation();
    let chat = Chat::new(&conversation, hops, words::WORKING);
    match chat.run(Messages::of(arguments.say)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string()),
    }
}
