//! The application as its own process, beside a sandbox in the test's, and a browser without a screen.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use m365_sandbox::{Sandbox, constants::*};
use url::Url;

pub const TOKENS: &str = "POST /entra/{tenant}/oauth2/v2.0/token";

/// An application that serves. Killed when dropped.
pub struct Application {
    child: Child,
    pub base: Url,
    log: Arc<Mutex<String>>,
}

pub fn settings(sandbox: &Sandbox, changes: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut settings = sandbox.settings();
    settings.extend([
        ("PORT", "0".to_owned()),
        ("WEB_CLIENT_ID", WEB_APP_ID.to_owned()),
        ("WEB_CLIENT_SECRET", WEB_APP_SECRET.to_owned()),
        ("SERVICE_CLIENT_ID", SERVICE_APP_ID.to_owned()),
        ("SERVICE_CLIENT_SECRET", SERVICE_APP_SECRET.to_owned()),
    ]);
    for (name, value) in changes {
        settings.retain(|(other, _)| other != name);
        settings.push((name, (*value).to_owned()));
    }
    settings
}

pub fn command(variables: &[(&str, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_web-login"));
    command.env_clear().args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    command
}

impl Application {
    /// Starts it with the settings of the sandbox, changed as given.
    pub async fn serve(sandbox: &Sandbox, changes: &[(&'static str, &str)]) -> Self {
        Self::start(command(&settings(sandbox, changes), &["--serve"])).await
    }

    /// Starts it as it is and waits for the address.
    pub async fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let base = tokio::task::spawn_blocking(move || {
            let mut seen = String::new();
            let base = loop {
                let Some(Ok(line)) = lines.next() else { panic!("the application did not start:\n{seen}") };
                seen.push_str(&line);
                seen.push('\n');
                if let Some(rest) = line.strip_prefix("open ") {
                    break rest.split(' ').next().unwrap().parse().unwrap();
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
            base
        })
        .await
        .unwrap();
        Self { child, base, log }
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a browser got.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub url: Url,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Page {
    /// Where it leads.
    pub fn location(&self) -> Option<Url> {
        let text = self.headers.get("location")?.to_str().unwrap();
        Some(self.url.join(text).unwrap())
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> Option<String> {
        let (_, rest) = self.body.split_once(&format!("name=\"{name}\" value=\""))?;
        Some(rest.split('"').next().unwrap().to_owned())
    }
}

/// A client that trusts nothing but loopback, and follows nothing.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// A program of others by name. Without it the test passes on a developer's machine and fails in the gate.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

/// The command for a script of ours in `tests/browser`; `None` when the npm packages are missing.
pub fn script(name: &str, arguments: &[&str]) -> Option<tokio::process::Command> {
    let node = program("node")?;
    let Some(modules) = variable("PEERS_NODE_MODULES") else {
        missing("PEERS_NODE_MODULES");
        return None;
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(name);
    let mut command = tokio::process::Command::new(node);
    command.env_clear().env("PEERS_NODE_MODULES", modules).env("PATH", variable("PATH").unwrap_or_default());
    for kept in ["HOME", "TMPDIR"] {
        command.envs(variable(kept).map(|value| (kept, value)));
    }
    command.envs(program("chromium").map(|path| ("CHROMIUM", path)));
    command.arg(script).args(arguments).kill_on_drop(true);
    Some(command)
}

/// What a script says when it is done, within two minutes; it must succeed.
pub async fn node(name: &str, arguments: &[&str]) -> Option<String> {
    let output = script(name, arguments)?.stdin(Stdio::null()).output();
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

fn missing(name: &str) {
    assert!(variable("CI").as_deref() != Some("true"), "{name} not found; see .ci/programs");
    println!("skipped: {name} not found; see .ci/programs");
}

#[allow(clippy::disallowed_methods)] // what is installed here, the machine says
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Cookies of each host, and no script.
#[derive(Default)]
pub struct Browser {
    pub cookies: HashMap<(String, String), String>,
}

impl Browser {
    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let mut request = request.build().unwrap();
        let (url, host) = (request.url().clone(), request.url().host_str().unwrap().to_owned());
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let cookies = own.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        if !cookies.is_empty() {
            request.headers_mut().insert("cookie", cookies.parse().unwrap());
        }
        let response = client().execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            match value {
                "" => drop(self.cookies.remove(&key)),
                value => drop(self.cookies.insert(key, value.to_owned())),
            }
        }
        Page { status, url, headers, body: response.text().await.unwrap() }
    }

    pub async fn get(&mut self, url: Url) -> Page {
        self.send(client().get(url)).await
    }

    pub async fn post(&mut self, url: Url, fields: &[(String, String)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = client().post(url).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(body)).await
    }

    /// Follows redirects until there is a page.
    pub async fn open(&mut self, url: Url) -> Page {
        let mut page = self.get(url).await;
        for _ in 0..10 {
            let Some(next) = page.location() else { return page };
            page = self.get(next).await;
        }
        panic!("redirects without end at {}", page.url)
    }

    /// Begins a sign-in and answers Entra's page; where Entra sends the browser then.
    pub async fn answer(&mut self, login: Url, step: (&str, &str)) -> Url {
        let page = self.get(login).await;
        let authorize = page.location().unwrap_or_else(|| panic!("{page:?}"));
        let mut fields: Vec<(String, String)> = authorize.query_pairs().into_owned().collect();
        fields.push((step.0.to_owned(), step.1.to_owned()));
        let mut path = authorize;
        path.set_query(None);
        let page = self.post(path, &fields).await;
        page.location().unwrap_or_else(|| panic!("{page:?}"))
    }

    /// A whole sign-in, up to the page that it leads to.
    pub async fn sign_in(&mut self, application: &Application, user: &User, return_to: &str) -> Page {
        let login = application.url(&format!("/login?return_to={return_to}"));
        let callback = self.answer(login, ("sandbox_user", user.oid)).await;
        self.open(callback).await
    }

    pub fn cookie(&self, name: &str) -> Option<&String> {
        self.cookies.get(&("localhost".to_owned(), name.to_owned()))
    }
}
