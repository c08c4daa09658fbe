//! Several brokers on one Redis behind one address, as a load balancer puts them.

use std::{
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use m365_sandbox::Sandbox;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    command,
    redis::{KEYS, Redis, free_port},
    settings,
};

pub struct Replicas {
    settings: Vec<(&'static str, String)>,
    arguments: Vec<&'static str>,
    ports: Vec<u16>,
    children: Vec<Mutex<Option<Child>>>,
    balancer: JoinHandle<()>,
}

impl Replicas {
    /// Starts that many, and points the sandbox at them.
    pub async fn start(
        count: usize,
        sandbox: &Sandbox,
        redis: &Redis,
        changes: &[(&'static str, &str)],
        arguments: &[&'static str],
    ) -> Self {
        let mut settings = settings(sandbox, changes);
        settings.push(("REDIS_URL", redis.url()));
        settings.push(("STORE_ENCRYPTION_KEY", KEYS.to_owned()));
        settings.push(("RUST_LOG", "info,botframework_activity=debug".to_owned()));
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        sandbox.set_bot_endpoint(&format!("http://{}/api/messages", listener.local_addr().unwrap()));
        let replicas = Self {
            settings,
            arguments: [&["--serve"], arguments].concat(),
            children: ports.iter().map(|_| Mutex::new(None)).collect(),
            balancer: tokio::spawn(balance(listener, ports.clone())),
            ports,
        };
        (0..count).for_each(|n| replicas.run(n));
        for port in &replicas.ports {
            while TcpStream::connect(("127.0.0.1", *port)).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        replicas
    }

    /// Starts one of them.
    pub fn run(&self, n: usize) {
        let mut variables = self.settings.clone();
        variables.retain(|(name, _)| *name != "PORT");
        variables.push(("PORT", self.ports[n].to_string()));
        let child = command(&variables, &self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(self.ports[n]))
            .spawn()
            .unwrap();
        *self.children[n].lock().unwrap() = Some(child);
    }

    /// SIGKILL, as a power cut.
    pub fn kill(&self, n: usize) {
        let mut child = self.children[n].lock().unwrap().take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM. The child, to wait for.
    pub fn terminate(&self, n: usize) -> Child {
        let child = self.children[n].lock().unwrap().take().expect("it runs");
        let sent = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child
    }

    /// The address of one, past the balancer.
    pub fn url(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}/api/messages", self.ports[n])
    }

    pub fn count(&self) -> usize {
        self.ports.len()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.balancer.abort();
        for child in &self.children {
            if let Some(mut child) = child.lock().unwrap().take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Where a broker writes its log: nowhere, unless `BROKER_LOGS` names a folder.
fn log(port: u16) -> Stdio {
    #[allow(clippy::disallowed_methods)] // for whoever looks into a failure
    let Ok(folder) = std::env::var("BROKER_LOGS") else { return Stdio::null() };
    let path = std::path::Path::new(&folder).join(format!("{port}.log"));
    std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap().into()
}

/// Each connection goes to the next one that takes it; to none when none does.
async fn balance(listener: TcpListener, ports: Vec<u16>) {
    let next = Arc::new(AtomicUsize::new(0));
    let ports: Arc<[u16]> = ports.into();
    while let Ok((mut client, _)) = listener.accept().await {
        let (next, ports) = (Arc::clone(&next), Arc::clone(&ports));
        tokio::spawn(async move {
            let first = next.fetch_add(1, Ordering::Relaxed);
            for n in 0..ports.len() {
                let port = ports[(first + n) % ports.len()];
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
