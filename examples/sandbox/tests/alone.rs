//! The program alone: what it says when it cannot start, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_m365-sandbox"))
}

#[test]
fn a_taken_port_and_a_wrong_address_are_explained() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = program().args(["--port", &port]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(&port) && told.contains("give --port a free one") && !told.contains("Os {"), "{told}");
    let output = program().args(["--bot", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--bot"));
}

#[cfg(unix)]
#[test]
fn the_file_of_the_ca_goes_with_the_process() {
    for signal in ["-INT", "-TERM"] {
        let mut child = program().arg("--tls").stdout(Stdio::piped()).spawn().unwrap();
        let file = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("export SSL_CERT_FILE='")?.trim_end_matches('\'').to_owned()))
            .unwrap();
        assert!(std::path::Path::new(&file).exists());
        // The handlers are set right after the settings are out.
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{signal}");
        assert!(!std::path::Path::new(&file).exists(), "{signal} leaves {file}");
    }
}
