use std::{
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use m365_sandbox::Sandbox;

use super::BROKER;
use crate::{Fault, Options};

/// Where the broker's program is.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// The program at this place.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The one that was asked for, or the one beside this program.
    ///
    /// # Errors
    ///
    /// When there is none: build it with the same profile.
    pub fn find(options: &Options) -> Result<Self, Fault> {
        let path = match options.text(&BROKER) {
            "" => env::current_exe()?.with_file_name(format!("broker{}", env::consts::EXE_SUFFIX)),
            path => PathBuf::from(path),
        };
        if path.is_file() {
            return Ok(Self(path));
        }
        Err("there is no broker beside this program; build it with cargo build --release -p broker, or name it with \
             --broker PATH"
            .into())
    }

    /// The program with an empty environment but for the given variables.
    #[must_use]
    pub fn command(&self, variables: &[(&str, String)], arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.env_clear().args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a broker with the settings of the sandbox, changed as given, and points the sandbox at it.
    ///
    /// # Errors
    ///
    /// When it does not start; the error says what it wrote.
    pub async fn serve(
        &self,
        sandbox: &Sandbox,
        changes: &[(&'static str, &str)],
        arguments: &[&str],
    ) -> Result<Served, Fault> {
        let arguments = [&["--serve"], arguments].concat();
        let mut command = self.command(&settings(sandbox, changes), &arguments);
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut served = Served { child, url: String::new(), log: Arc::default() };
        let stderr = served.child.stderr.take().ok_or("the broker has no standard error")?;
        let log = Arc::clone(&served.log);
        let listening = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            let url = lines.by_ref().find_map(|line| {
                write(&log, &line);
                let rest = line.strip_prefix("listening on ")?;
                Some(rest.split(';').next().unwrap_or_default().trim().to_owned())
            });
            thread::spawn(move || lines.for_each(|line| write(&log, &line)));
            url
        });
        served.url = listening.await?.ok_or_else(|| format!("the broker did not start:\n{}", served.log()))?;
        sandbox.set_bot_endpoint(&served.url);
        Ok(served)
    }
}

impl AsRef<Path> for Program {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// The settings of the sandbox, changed as given.
#[must_use]
pub fn settings(sandbox: &Sandbox, changes: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut settings = sandbox.settings();
    settings.push(("PORT", "0".to_owned()));
    for (name, value) in changes {
        settings.retain(|(other, _)| other != name);
        settings.push((name, (*value).to_owned()));
    }
    settings
}

/// A broker that serves. Killed when dropped.
#[derive(Debug)]
pub struct Served {
    child: Child,
    url: String,
    log: Arc<Mutex<String>>,
}

impl Served {
    /// Where it takes messages.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://").split('/').next().unwrap_or_default()
    }

    /// Everything the broker has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

fn write(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(line);
    log.push('\n');
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
