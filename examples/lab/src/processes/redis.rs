use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::Fault;

/// A Redis of one run, on a free port, that loses nothing it has confirmed. It ends with this value.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// A port that is free at this moment.
///
/// # Errors
///
/// When the system has none.
pub fn free_port() -> Result<u16, Fault> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Redis {
    /// Keys for what is stored there.
    pub const KEYS: &str = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

    /// Whether the program is there.
    #[must_use]
    pub fn is_installed() -> bool {
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When `redis-server` is missing or does not listen.
    pub fn start() -> Result<Self, Fault> {
        if !Self::is_installed() {
            return Err("redis-server not found; it is in the package of that name".into());
        }
        let port = free_port()?;
        let folder = env::temp_dir().join(format!("lab-redis-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--port", &port.to_string(), "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let redis = Self { child, folder, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(20) {
                return Err("redis-server does not listen".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
