//! The program as a newcomer meets it: chat, recordings, settings, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
    time::Duration,
};

use m365_sandbox::{Sandbox, constants::BOT_APP_ID};
use support::{Broker, run, text};

fn free_port() -> Vec<(&'static str, String)> {
    vec![("PORT", "0".to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stdin_plays_a_demonstration() {
    let output = run(&free_port(), &[], None).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    let paragraphs: Vec<&str> = out.trim().split("\n\n").collect();
    assert_eq!(paragraphs.len(), 3, "{out}");
    assert!(paragraphs[2].contains("Ada"), "the third turn knows the first: {out}");
    for hop in [
        "channel token valid, signed with key",
        "Foundry token from Entra over the network",
        "conversation created",
        "conversation found",
        "events received",
        "connector token from the cache",
        "reply delivered: 201",
        "every user sees the same data",
    ] {
        assert!(err.contains(hop), "no line says '{hop}': {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_from_the_command_line_or_from_stdin() {
    let output = run(&free_port(), &["--say", "My name is Bo", "--say", "What is my name?"], None).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).trim().split("\n\n").nth(1).unwrap().contains("Bo"));
    let output = run(&free_port(), &[], Some("My name is Cy\r\n\nWhat is my name?")).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).trim().split("\n\n").nth(1).unwrap().contains("Cy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_pipe_is_answered_before_the_next_one_is_written() {
    let mut child = support::command(&free_port(), &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let talk = tokio::task::spawn_blocking(move || {
        let mut answers = BufReader::new(output).lines();
        input.write_all(b"My name is Di\n").unwrap();
        let first = answers.next().unwrap().unwrap();
        input.write_all(b"What is my name?\n").unwrap();
        (first, answers.nth(1).unwrap().unwrap())
    });
    let answers = tokio::time::timeout(Duration::from_secs(60), talk).await;
    if answers.is_err() {
        child.kill().unwrap();
    }
    let (first, second) = answers.expect("nothing was answered while the pipe was open").unwrap();
    assert!(first.contains("Di") && second.contains("Di"), "{first} / {second}");
    assert!(child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered() {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/requests/teams.jsonl");
    let lines = std::fs::read_to_string(&recording).unwrap().lines().filter(|line| !line.is_empty()).count();
    assert!(lines >= 20);
    let output = run(&free_port(), &["--replay", recording.to_str().unwrap()], None).await;
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains(&format!("{lines} requests answered, 0 not")), "{err}");
    let numbered = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit()) && !line.contains("requests answered");
    for line in err.lines().filter(numbered) {
        assert!(line.ends_with(": 200") || (line.contains(": invoke ") && line.ends_with(": 501")), "{line}");
    }
    for line in err.lines().filter(|line| line.contains(": message: ") || line.contains("Update: ")) {
        assert!(line.ends_with(": 200"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_recording_is_named() {
    let folder = std::env::temp_dir().join(format!("broker-replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("bad.jsonl");
    std::fs::write(&file, "not json\n{\"headers\":5}\n").unwrap();
    let output = run(&free_port(), &["--replay", file.to_str().unwrap()], None).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("1: not a recorded request"), "{}", text(&output.stderr));
    let output = run(&free_port(), &["--replay", "/nowhere.jsonl"], None).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot be read"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_listed_at_once() {
    for (variables, arguments, expected) in [
        (
            vec![],
            &["--serve"][..],
            &["AZURE_TENANT_ID", "BOT_APP_ID", "BOT_APP_PASSWORD", "FOUNDRY_PROJECT_ENDPOINT", "FOUNDRY_AGENT_NAME"][..],
        ),
        (vec![("BOT_APP_ID", BOT_APP_ID)], &[], &["AZURE_TENANT_ID", "FOUNDRY_PROJECT_ENDPOINT"]),
        (vec![("FOUNDRY_PROJECT_ENDPOINT", "https://x.services.ai.azure.com/api/projects/p")], &[], &["BOT_APP_ID"]),
        (vec![("BIND", "0.0.0.0")], &[], &["loopback", "BOT_APP_ID"]),
        (vec![("PORT", "marker")], &[], &["PORT is malformed"]),
        (vec![("BOT_APP_ID", BOT_APP_ID)], &["--say", "x"], &["sandbox"]),
    ] {
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let output = run(&variables, arguments, None).await;
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{variables:?} {arguments:?}: {err}");
        assert!(expected.iter().all(|part| err.contains(part)), "{err}");
        assert!(!err.contains("marker"), "{err}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_explained() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(&[("PORT", port)], &["--say", "x"], None).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("set PORT to a free one"), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn signals_stop_a_server_cleanly() {
    for signal in ["-INT", "-TERM"] {
        let sandbox = Sandbox::builder().start().await.unwrap();
        let broker = Broker::serve(&sandbox, &[], &[]).await;
        assert!(support::chat(&sandbox).say("Hello").await.answered);
        let killed = std::process::Command::new("kill").args([signal, &broker.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(broker.ended().await, Some(0), "{signal}");
    }
}
