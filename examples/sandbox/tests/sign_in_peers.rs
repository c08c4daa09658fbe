//! MSAL Python, unmodified, signs users in at the sandbox's pages: what it takes from them is what the cloud would give it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use m365_sandbox::Sandbox;
use m365_sandbox::constants::*;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

/// The interpreter that has the libraries. Without it the test passes on a developer's machine and fails in the gate.
#[allow(clippy::disallowed_methods)] // what is installed here, the machine says
fn python() -> Option<String> {
    let found = std::env::var("PEERS_PYTHON").ok().filter(|path| !path.is_empty());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "PEERS_PYTHON is not set; see .ci/programs");
        println!("skipped: PEERS_PYTHON is not set; see .ci/programs");
    }
    found
}

#[tokio::test]
async fn msal_signs_users_in() {
    let Some(python) = python() else { return };
    let sandbox = Sandbox::builder().tls(true).start().await.unwrap();
    let settings = json!({
        "base": sandbox.base_url(), "ca": sandbox.ca_file().unwrap(), "tenant": HOME_TENANT, "other_tenant": RESOURCE_TENANT,
        "web": WEB_APP_ID, "secret": WEB_APP_SECRET, "cli": CLI_APP_ID, "user": USER_ONE.oid, "other_user": USER_THREE.oid,
        "redirect_uri": "http://localhost:8400/auth/callback",
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/msal_sign_in.py");
    let mut command = tokio::process::Command::new(python);
    command.env_clear().env("NO_PROXY", "localhost").arg(script).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(settings.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output =
        tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await.expect("in time").unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let steps: Vec<&str> = said.lines().collect();
    assert_eq!(steps.len(), 4, "{said}");
}
