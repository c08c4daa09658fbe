//! The program itself: its options, and what a shell can read from its output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod core_support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (Program, BTreeMap<String, String>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_m365-sandbox"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let program = Program(child);
    let mut exports = BTreeMap::new();
    let mut text = String::new();
    for line in output.lines() {
        let line = line.unwrap();
        text.push_str(&line);
        text.push('\n');
        if line.starts_with("# Ctrl-C") {
            break;
        }
        match line.strip_prefix("export ") {
            Some(pair) => {
                let (name, value) = pair.split_once('=').unwrap();
                let quoted = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap();
                exports.insert(name.to_owned(), quoted.to_owned());
            }
            None => assert!(line.starts_with('#'), "a shell would run this: {line}"),
        }
    }
    (program, exports, text)
}

#[tokio::test]
async fn plain() {
    let (program, exports, text) = start(&["--bot", "http://127.0.0.1:9/api/messages"]);
    let metadata = client_get(&core_support::client(), &exports["BOT_OPENID_METADATA_URL"]).await;
    assert_eq!(metadata["issuer"], "https://api.botframework.com");
    assert!(text.contains("# Teams posts to http://127.0.0.1:9/api/messages"));
    assert!(text.contains("/front/api/messages") && !exports.contains_key("SSL_CERT_FILE"));
    assert!(text.contains("Never for production"));
    drop(program);
}

#[tokio::test]
async fn with_tls() {
    let (_program, exports, _) = start(&["--tls"]);
    let pem = std::fs::read(&exports["SSL_CERT_FILE"]).unwrap();
    let trusted = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let authority = &exports["AZURE_AUTHORITY_HOST"];
    assert!(authority.starts_with("https://localhost:"));
    let document = client_get(&client, &format!("{authority}/common/v2.0/.well-known/openid-configuration")).await;
    assert_eq!(document["issuer"], format!("{authority}/{{tenantid}}/v2.0"));
    std::fs::remove_file(&exports["SSL_CERT_FILE"]).unwrap(); // the program is killed and cannot
}

#[test]
fn a_bot_without_secret() {
    let (_program, exports, _) = start(&["--managed-identity"]);
    assert!(exports["AZURE_POD_IDENTITY_AUTHORITY_HOST"].starts_with("http://127.0.0.1:"));
    assert!(!exports.contains_key("BOT_APP_PASSWORD") && exports["BOT_SSO_APP_ID"] != exports["BOT_APP_ID"]);
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (mut program, exports, _) = start(&["--port", &port]);
    assert!(exports.is_empty());
    assert!(!program.0.wait().unwrap().success());
    let mut complaint = String::new();
    program.0.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.contains("another program listens there"), "{complaint}");
}

async fn client_get(client: &reqwest::Client, url: &str) -> Value {
    client.get(url).send().await.unwrap().json().await.unwrap()
}
