//! Clients that send a byte a second: `lab slowloris` in its short form.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use axum::{Router, routing::get};
use lab::{
    Options,
    processes::slowloris::{self, Target},
};
use support::program;

#[test]
fn who_sends_a_byte_a_second_is_cut_off_and_harms_nobody() {
    let outcome = slowloris::check_program(&Options::short(), &program()).unwrap();
    println!("{}", outcome.line("slowloris"));
    assert!(outcome.passes(), "{:?} {}", outcome.failed(), outcome.line("slowloris"));
}

/// A server as it comes waits as long as its clients do.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_patience_limits_is_seen() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let messages = axum::routing::post(|body: axum::body::Bytes| async move { body.len().to_string() });
    let router = Router::new().route("/healthz", get(async || "ok")).route("/api/messages", messages);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let options = Options::short().with("clients", "10").with("seconds", "3");
    let target = Target { address, token: "none".into(), process: std::process::id() };
    let outcome = slowloris::check(&options, &target).await.unwrap();
    server.abort();
    assert!(
        outcome.failed().contains(&"every slow client is cut off in time".to_owned()),
        "{}",
        outcome.line("slowloris")
    );
}
