//! The Microsoft 365 Agents Playground as a process without a browser, driven by its HTTP and WebSocket interface.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use m365_sandbox::{Sandbox, constants::RESOURCE_TENANT};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

/// Ends with the test.
pub(crate) struct Tool {
    child: Child,
    directory: PathBuf,
    url: String,
    client: Client,
    config: Value,
    /// What its page would show.
    shown: mpsc::UnboundedReceiver<Value>,
}

/// Whether the program is there. Without it the test passes on a developer's machine and fails in the gate.
#[allow(clippy::disallowed_methods)] // the gate says that it is one by CI=true
pub(crate) fn is_installed() -> bool {
    let found = Command::new("agentsplayground").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "agentsplayground not found");
    println!("skipped: agentsplayground not found");
    false
}

impl Tool {
    /// Starts it before the bot at this address.
    pub(crate) async fn start(endpoint: &str) -> Self {
        Self::start_with(endpoint, &[], None).await
    }

    /// Starts it with further arguments; a sandbox is its Entra.
    pub(crate) async fn start_with(endpoint: &str, arguments: &[&str], entra: Option<&Sandbox>) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // It leaves logs where it runs.
        let directory = std::env::temp_dir().join(format!("playground-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // Nothing of it leaves this machine, statistics of its use neither.
        let stays = directory.join("stays.cjs");
        std::fs::write(&stays, include_str!("stays.cjs")).unwrap();
        let entra = entra.map_or_else(|| NOBODY.to_owned(), Sandbox::base_url);
        let mut command = Command::new("agentsplayground");
        command
            .env("NODE_OPTIONS", format!("--require {}", stays.display()))
            .env("ENTRA_STAND_IN", entra)
            .env("ENTRA_TENANT", RESOURCE_TENANT);
        let child = command
            .args(["start", "-e", endpoint, "-c", "msteams", "--dt", "-p", &port.to_string()])
            .args(arguments)
            .env("TEAMSAPPTESTER_BROWSER", "none")
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (url, client) = (format!("http://127.0.0.1:{port}"), Client::new());
        let (show, shown) = mpsc::unbounded_channel();
        let mut tool = Self { child, directory, url, client, config: Value::Null, shown };
        let config = async {
            loop {
                match tool.client.get(format!("{}/_internal/v1/config", tool.url)).send().await {
                    Ok(response) => return response.json().await.unwrap(),
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        };
        let config: Value = timeout(3 * PATIENCE, config).await.expect("the program does not listen");
        tool.config = config["config"].clone();
        let socket = connect(port).await;
        tokio::spawn(watch(socket, show));
        tool
    }

    pub(crate) fn personal(&self) -> String {
        self.config["personalChat"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn group(&self) -> String {
        self.config["groupChats"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Its user writes a message, which mentions the bot where that is needed to reach it.
    pub(crate) async fn say(&self, chat: &str, text: &str) {
        let mut message = json!({"from": self.config["currentUser"], "text": text, "textFormat": "plain"});
        if chat != self.personal() {
            let mention = format!("<at>{}</at>", self.config["bot"]["name"].as_str().unwrap());
            message["text"] = json!(format!("{mention} {text}"));
            message["mentions"] = json!([{"mentioned": {"id": self.config["bot"]["id"]}, "text": mention}]);
        }
        let url = format!("{}/_conversation/v1/conversations/{chat}/messages", self.url);
        // What the bot made of it is for the bot to say.
        self.client.post(url).json(&message).send().await.unwrap();
    }

    /// Its user presses a button, or searches: what the bot answered, or the status with which the tool reports.
    pub(crate) async fn invoke(
        &self,
        chat: &str,
        name: &str,
        value: &Value,
        reply_to: Option<&str>,
    ) -> Result<Value, u16> {
        let mut body = json!({
            "name": name, "value": value, "from": {"id": self.config["currentUser"]["id"]}, "conversation": {"id": chat},
        });
        if let Some(id) = reply_to {
            body["replyToId"] = json!(id);
        }
        let response =
            self.client.post(format!("{}/_conversation/v1/invoke", self.url)).json(&body).send().await.unwrap();
        match response.status().as_u16() {
            200 => Ok(response.json().await.unwrap()),
            status => Err(status),
        }
    }

    /// Its user presses a button that submits.
    pub(crate) async fn submit(&self, chat: &str, reply_to: &str, value: &Value) {
        let body = json!({
            "value": value, "replyToId": reply_to, "from": {"id": self.config["currentUser"]["id"]},
            "conversation": {"id": chat},
        });
        let response =
            self.client.post(format!("{}/_conversation/v1/submit", self.url)).json(&body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }

    /// What its menu of activities offers.
    pub(crate) async fn template(&self, chat: &str, kind: Option<&str>) -> Value {
        let kind = kind.map(|kind| format!("&type={kind}")).unwrap_or_default();
        let url = format!("{}/_internal/v1/customActivities/template?conversationId={chat}{kind}", self.url);
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// Sends any activity to the bot.
    pub(crate) async fn inject(&self, activity: &Value) {
        let url = format!("{}/_internal/v1/customActivities", self.url);
        assert_eq!(self.client.post(url).json(activity).send().await.unwrap().status().as_u16(), 200);
    }

    /// The next thing of this kind that its page would show.
    pub(crate) async fn action(&mut self, kind: &str) -> Value {
        let next = async {
            loop {
                let action = self.shown.recv().await.expect("the tool has gone");
                if action["action"] == kind {
                    return action;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("the tool shows no {kind}"))
    }

    /// The next message of the bot that appears or changes.
    pub(crate) async fn message(&mut self, kind: &str) -> Value {
        loop {
            let message = self.action(kind).await["message"].take();
            if message["from"]["id"] == self.config["bot"]["id"] {
                return message;
            }
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn connect(port: u16) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!(
        "GET /_ws_conversation/v1/conversations/stream HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    socket
}

/// Reads texts of a WebSocket until it ends. A server masks nothing; this one sends each text in one frame.
async fn watch(mut socket: TcpStream, shown: mpsc::UnboundedSender<Value>) -> std::io::Result<()> {
    loop {
        let [first, second] = socket.read_u16().await?.to_be_bytes();
        let length = match second {
            126 => u64::from(socket.read_u16().await?),
            127 => socket.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        socket.read_exact(&mut payload).await?;
        // 1 is a text; pings and the end are not looked at.
        if first & 0x0f == 1 && shown.send(serde_json::from_slice(&payload).unwrap()).is_err() {
            return Ok(());
        }
    }
}
