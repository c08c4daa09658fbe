//! The broker as its own process, beside a sandbox in the test's.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{Read, Write},
    process::{Command, Output, Stdio},
    time::Duration,
};

use lab::{
    Options,
    processes::{Program, Redis, Served},
};
use m365_sandbox::{Conversation, Sandbox, Wait, constants::USER_ONE};

#[allow(unused_imports)] // not every test uses everything
pub use lab::processes::{PLACEHOLDER, RESPONSES, settings};

/// Routes of the sandbox, for counting and for faults.
pub const TOKENS: &str = "POST /entra/{tenant}/oauth2/v2.0/token";
pub const CONVERSATIONS: &str = "POST /foundry/api/projects/{project}/openai/v1/conversations";
pub const ITEMS: &str = "POST /foundry/api/projects/{project}/openai/v1/conversations/{id}/items";

/// A broker that serves. Killed when dropped.
pub struct Broker {
    served: Served,
    pub url: String,
}

/// The program under test.
pub fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_broker"))
}

/// A Redis for the test. `None`, after a line that says so, when the program is missing; with `CI=true` that fails.
pub fn redis() -> Option<Redis> {
    if Redis::is_installed() {
        return Some(Redis::start().unwrap());
    }
    #[allow(clippy::disallowed_methods)] // whether to skip is decided by the machine
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "redis-server not found");
    println!("skipped: redis-server not found");
    None
}

/// The short form of a goal with a seed that differs each time; it is printed.
pub fn random_options() -> Options {
    let mut options = Options::short();
    options.seed = RandomState::new().hash_one("seed");
    options
}

/// The program with an empty environment but for the given variables.
pub fn command(variables: &[(&str, String)], arguments: &[&str]) -> Command {
    program().command(variables, arguments)
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

impl Broker {
    /// Starts a broker with the settings of the sandbox, changed as given, and points the sandbox at it.
    pub async fn serve(sandbox: &Sandbox, changes: &[(&'static str, &str)], arguments: &[&str]) -> Self {
        let served = program().serve(sandbox, changes, arguments).await.unwrap();
        let url = served.url().to_owned();
        Self { served, url }
    }

    /// Everything the broker has written so far.
    pub fn log(&self) -> String {
        self.served.log()
    }

    pub fn is_alive(&mut self) -> bool {
        self.served.child().try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.served.id()
    }

    /// Waits for the end of the process.
    pub async fn ended(mut self) -> Option<i32> {
        for _ in 0..600 {
            if let Some(status) = self.served.child().try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the broker did not end");
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
