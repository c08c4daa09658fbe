use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use m365_sandbox::Sandbox;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use super::{Program, Redis, free_port, settings};
use crate::Fault;

/// Several brokers behind one address, as a load balancer puts them. They are killed when this is dropped.
#[derive(Debug)]
pub struct Replicas {
    program: Program,
    settings: Vec<(&'static str, String)>,
    ports: Vec<u16>,
    children: Vec<Mutex<Option<Child>>>,
    balancer: JoinHandle<()>,
}

/// Where the brokers keep what must not be lost.
#[derive(Clone, Copy, Debug)]
pub enum Store<'a> {
    /// In one Redis.
    Shared(&'a Redis),
    /// Each in its own memory: what a crash then loses shows that the goals look.
    Memory,
}

impl Replicas {
    /// Starts that many, and points the sandbox at them.
    ///
    /// # Errors
    ///
    /// When one of them does not listen within 20 s.
    pub async fn start(
        program: &Program,
        count: usize,
        sandbox: &Sandbox,
        store: Store<'_>,
        changes: &[(&'static str, &str)],
    ) -> Result<Self, Fault> {
        let mut settings = settings(sandbox, changes);
        if let Store::Shared(redis) = store {
            settings.push(("REDIS_URL", redis.url()));
            settings.push(("STORE_ENCRYPTION_KEY", Redis::KEYS.to_owned()));
        }
        if logs().is_some() {
            settings.push(("RUST_LOG", "info,botframework_activity=debug".to_owned()));
        }
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect::<Result<_, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        sandbox.set_bot_endpoint(&format!("http://{}/api/messages", listener.local_addr()?));
        let replicas = Self {
            program: program.clone(),
            settings,
            children: ports.iter().map(|_| Mutex::new(None)).collect(),
            balancer: tokio::spawn(balance(listener, ports.clone())),
            ports,
        };
        for n in 0..count {
            replicas.run(n)?;
        }
        let start = Instant::now();
        for port in &replicas.ports {
            while TcpStream::connect(("127.0.0.1", *port)).await.is_err() {
                if start.elapsed() > Duration::from_secs(20) {
                    return Err("a broker does not listen".into());
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(replicas)
    }

    /// Starts one of them.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn run(&self, n: usize) -> Result<(), Fault> {
        let port = self.port(n)?;
        let mut variables = self.settings.clone();
        variables.retain(|(name, _)| *name != "PORT");
        variables.push(("PORT", port.to_string()));
        let mut command = self.program.command(&variables, &["--serve"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log(port)?).spawn()?;
        *self.child(n)? = Some(child);
        Ok(())
    }

    /// SIGKILL, as a power cut.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&self, n: usize) -> Result<(), Fault> {
        let mut child = self.take(n)?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM. The child, to wait for.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn terminate(&self, n: usize) -> Result<Child, Fault> {
        let child = self.take(n)?;
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        if sent.success() { Ok(child) } else { Err("the signal was not sent".into()) }
    }

    /// Host and port of one, past the balancer.
    ///
    /// # Errors
    ///
    /// When there is none of that number.
    pub fn address(&self, n: usize) -> Result<String, Fault> {
        Ok(format!("127.0.0.1:{}", self.port(n)?))
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.ports.len()
    }

    fn port(&self, n: usize) -> Result<u16, Fault> {
        Ok(*self.ports.get(n).ok_or("there is no such broker")?)
    }

    fn child(&self, n: usize) -> Result<std::sync::MutexGuard<'_, Option<Child>>, Fault> {
        let child = self.children.get(n).ok_or("there is no such broker")?;
        Ok(child.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, n: usize) -> Result<Child, Fault> {
        Ok(self.child(n)?.take().ok_or("this broker does not run")?)
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.balancer.abort();
        for child in &self.children {
            if let Some(mut child) = child.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Where brokers write their logs: nowhere, unless `BROKER_LOGS` names a folder.
fn logs() -> Option<String> {
    crate::variable("BROKER_LOGS")
}

fn log(port: u16) -> Result<Stdio, Fault> {
    let Some(folder) = logs() else { return Ok(Stdio::null()) };
    let path = Path::new(&folder).join(format!("{port}.log"));
    Ok(fs::OpenOptions::new().create(true).append(true).open(path)?.into())
}

/// Each connection goes to the next one that takes it; to none when none does.
async fn balance(listener: TcpListener, ports: Vec<u16>) {
    let next = AtomicUsize::new(0);
    let ports: Arc<[u16]> = ports.into();
    while let Ok((mut client, _)) = listener.accept().await {
        let ports = Arc::clone(&ports);
        let first = next.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            for port in ports.iter().cycle().skip(first % ports.len().max(1)).take(ports.len()) {
                if let Ok(mut server) = TcpStream::connect(("127.0.0.1", *port)).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                    return;
                }
            }
        });
    }
}
