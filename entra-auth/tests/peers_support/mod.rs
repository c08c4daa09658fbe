//! What Microsoft's own libraries send, next to what this crate sends: a recorder, a runner, a comparison.

#![allow(dead_code, unreachable_pub)] // each test program uses its own part

pub mod compare;
pub mod recorder;

use std::{collections::BTreeMap, path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// A library of Microsoft, unmodified, and the script of ours that asks it for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    MsalPython,
    MsalNode,
    AzureIdentity,
}

pub const ALL: [Peer; 3] = [Peer::MsalPython, Peer::MsalNode, Peer::AzureIdentity];
pub const MSALS: [Peer; 2] = [Peer::MsalPython, Peer::MsalNode];

impl Peer {
    fn script(self) -> &'static str {
        match self {
            Self::MsalPython => "msal_client.py",
            Self::MsalNode => "msal_client.js",
            Self::AzureIdentity => "azure_identity_client.py",
        }
    }

    /// The interpreter. `None`, after a line that says so, when the libraries are missing; with `CI=true` that fails.
    fn program(self) -> Option<(PathBuf, BTreeMap<&'static str, String>)> {
        let name = if self == Self::MsalNode { "PEERS_NODE_MODULES" } else { "PEERS_PYTHON" };
        let Some(found) = variable(name) else {
            assert!(variable("CI").as_deref() != Some("true"), "{name} is not set; see .ci/programs");
            println!("skipped: {self:?}, because {name} is not set; see .ci/programs");
            return None;
        };
        let mut environment = BTreeMap::from([("PATH", variable("PATH").unwrap_or_default())]);
        if self == Self::MsalNode {
            environment.insert("PEERS_NODE_MODULES", found);
            return Some(("node".into(), environment));
        }
        Some((found.into(), environment))
    }

    /// The token that the library got. Nothing of this process's environment reaches it.
    pub async fn token(self, scenario: &str, settings: &Value, variables: &[(&str, String)]) -> Option<String> {
        let (program, environment) = self.program()?;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(self.script());
        let mut command = Command::new(program);
        command.env_clear().envs(environment).envs(variables.iter().cloned());
        if let Some(ca) = settings["ca"].as_str() {
            command.env("NODE_EXTRA_CA_CERTS", ca);
        }
        command.arg(script).arg(scenario);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(settings.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        let output = timeout(Duration::from_secs(120), child.wait_with_output()).await.expect("in time").unwrap();
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last: Value = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let token = last["token"].as_str();
        Some(token.unwrap_or_else(|| panic!("{self:?} got no token for {scenario}: {text} {errors}")).to_owned())
    }
}

#[allow(clippy::disallowed_methods)] // what is installed here, the machine says
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
