//! Programs of others: found by the variables that `.ci/programs` prints; missing is a skip, in the gate a failure.
#![allow(dead_code, unreachable_pub, clippy::disallowed_methods)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The Python that has the packages of `.ci/requirements.txt`.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("PEERS_PYTHON").map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "PEERS_PYTHON is not set; see .ci/programs");
        println!("skipped: PEERS_PYTHON not found");
    }
    found
}

pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A process that ends with the test.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
