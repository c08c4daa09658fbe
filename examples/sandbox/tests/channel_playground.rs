//! Microsoft's Agents Playground, unmodified, drives a bot through the signing front. It needs the npm package
//! `@microsoft/m365agentsplayground`, whose program is `agentsplayground`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channel_bot;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use channel_bot::{mirrored, path, scene};
use serde_json::{Value, json};

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the program is there. Without it the test passes on a developer's machine and fails in the gate.
#[allow(clippy::disallowed_methods)] // the gate says that it is one by CI=true
fn is_installed() -> bool {
    let found = Command::new("agentsplayground").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "agentsplayground not found");
    println!("skipped: agentsplayground not found");
    false
}

#[tokio::test]
async fn the_playground_talks_to_a_bot_through_the_front() {
    if !is_installed() {
        return;
    }
    let (done, mut receipts) = tokio::sync::mpsc::unbounded_channel();
    // The bot answers at the tool's own service URL, as any bot does.
    let scene = scene(move |bot, activity| {
        let done = done.clone();
        async move {
            if activity["type"] == "message" {
                let answer = mirrored(&activity, json!({ "type": "message", "text": "from the bot" }));
                let path = path(&activity["conversation"]["id"], &activity["id"]);
                let url = activity["serviceUrl"].as_str().unwrap();
                done.send(bot.call("POST", url, &path, Some(&answer)).await).unwrap();
            }
            (200, json!({}))
        }
    })
    .await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("{}/front/api/messages", scene.bot.base);
    let _tool = Running(
        Command::new("agentsplayground")
            .args(["start", "-e", &endpoint, "-c", "msteams", "--dt", "-p", &port.to_string()])
            .env("TEAMSAPPTESTER_BROWSER", "none")
            .current_dir(std::env::temp_dir()) // it leaves logs where it runs
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let tool = format!("http://127.0.0.1:{port}");
    let config = ready(&scene.bot.client, &format!("{tool}/_internal/v1/config")).await;
    let chat = config["config"]["personalChat"]["id"].as_str().unwrap();
    let message = json!({ "from": config["config"]["currentUser"], "text": "to the bot", "textFormat": "plain" });
    let url = format!("{tool}/_conversation/v1/conversations/{chat}/messages");
    let sent = scene.bot.client.post(url).json(&message).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    let receipt = tokio::time::timeout(Duration::from_secs(15), receipts.recv()).await;
    let (status, receipt) = receipt.expect("the message did not reach the bot").unwrap();
    assert!(status == 201 && receipt["id"].is_string(), "the tool takes the answer: {status} {receipt}");
    let inbound = scene.bot.got("message").remove(0);
    assert_eq!(inbound["text"], "to the bot");
    assert!(!inbound["serviceUrl"].as_str().unwrap().ends_with('/'));
}

async fn ready(client: &reqwest::Client, url: &str) -> Value {
    for _ in 0..150 {
        if let Ok(response) = client.get(url).send().await {
            return response.json().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the program does not listen")
}
