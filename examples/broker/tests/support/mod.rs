//! The broker as its own process, beside a sandbox in the test's.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod redis;
pub mod replicas;

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use m365_sandbox::{Conversation, Sandbox, Wait, constants::USER_ONE};

/// What the broker shows while it works.
pub const PLACEHOLDER: &str = "One moment, I am working on it …";

/// Routes of the sandbox, for counting and for faults.
pub const TOKENS: &str = "POST /entra/{tenant}/oauth2/v2.0/token";
pub const CONVERSATIONS: &str = "POST /foundry/api/projects/{project}/openai/v1/conversations";
pub const ITEMS: &str = "POST /foundry/api/projects/{project}/openai/v1/conversations/{id}/items";
pub const RESPONSES: &str = "POST /foundry/api/projects/{project}/openai/v1/responses";

/// A broker that serves. Killed when dropped.
pub struct Broker {
    child: Child,
    pub url: String,
    log: Arc<Mutex<String>>,
}

/// The program with an empty environment but for the given variables.
pub fn command(variables: &[(&str, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    command.env_clear().args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs the program to its end.
pub async fn run(variables: &[(&str, String)], arguments: &[&str], input: Option<&str>) -> Output {
    let mut command = command(variables, arguments);
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let input = input.map(str::to_owned);
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        }
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

/// The settings of the sandbox, changed as given.
pub fn settings(sandbox: &Sandbox, changes: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut settings = sandbox.settings();
    settings.push(("PORT", "0".to_owned()));
    for (name, value) in changes {
        settings.retain(|(other, _)| other != name);
        settings.push((name, (*value).to_owned()));
    }
    settings
}

impl Broker {
    /// Starts a broker with the settings of the sandbox, changed as given, and points the sandbox at it.
    pub async fn serve(sandbox: &Sandbox, changes: &[(&'static str, &str)], arguments: &[&str]) -> Self {
        let arguments = [&["--serve"], arguments].concat();
        let mut child = command(&settings(sandbox, changes), &arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let url = tokio::task::spawn_blocking(move || {
            let mut seen = String::new();
            let url = loop {
                let Some(Ok(line)) = lines.next() else { panic!("the broker did not start:\n{seen}") };
                seen.push_str(&line);
                seen.push('\n');
                if let Some(rest) = line.strip_prefix("listening on ") {
                    break rest.split(';').next().unwrap().trim().to_owned();
                }
            };
            kept.lock().unwrap().push_str(&seen);
            thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    let mut log = kept.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            });
            url
        })
        .await
        .unwrap();
        sandbox.set_bot_endpoint(&url);
        Self { child, url, log }
    }

    /// Everything the broker has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the process.
    pub async fn ended(mut self) -> Option<i32> {
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the broker did not end");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A chat of the first user, which knows the placeholder.
pub fn chat(sandbox: &Sandbox) -> Conversation {
    let wait = Wait { placeholders: vec![PLACEHOLDER.to_owned()], ..Wait::default() };
    sandbox.teams().user(USER_ONE).conversation().waiting(wait)
}

/// The text of a file handle, for assertions.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut reader = bytes;
    let _ = reader.read_to_string(&mut text);
    text
}
