use std::{ffi::OsString, fmt, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use crate::{
    AccessToken, Clock, Error, ErrorKind, SystemClock, TenantId, TokenCredential, TokenRequest, acquire::HostTokens,
    chain::NotHere, document::Document, flight::Boxed, managed_identity::aadsts,
};

/// What the command prints is never larger.
const MAX_OUTPUT: u64 = 64 << 10;

/// Tokens of the account that is signed in to the Azure CLI, for a developer's machine.
///
/// Runs `az account get-access-token`
/// (<https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>) without a shell; scope and tenant are
/// checked before they become arguments. Tokens are cached, and of many concurrent callers one runs the command.
///
/// Not for services: whoever is signed in is who acts. The feature `azure-cli` is therefore not on by default.
///
/// Errors: [`ErrorKind::Unsupported`] when the CLI is not installed, or claims were asked for;
/// [`ErrorKind::Reauthenticate`] when nobody is signed in (run `az login`); [`ErrorKind::Transport`] when the command
/// does not end in time (retry).
///
/// ```no_run
/// use entra_auth::{AzureCliCredential, TokenCredential, TokenRequest};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let credential = AzureCliCredential::builder().build();
/// let token = credential.get_token(&TokenRequest::new("https://management.azure.com/.default".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AzureCliCredential(Arc<AzureCliBuilder>, Arc<HostTokens>);

impl AzureCliCredential {
    /// Starts with the defaults: `az` on the path, the tenant of the signed-in account, 13 s.
    pub fn builder() -> AzureCliBuilder {
        AzureCliBuilder {
            program: if cfg!(windows) { "az.cmd" } else { "az" }.into(),
            tenant: None,
            timeout: Duration::from_secs(13),
            clock: Arc::new(SystemClock),
        }
    }
}

#[async_trait]
impl TokenCredential for AzureCliCredential {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if request.claims.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the Azure CLI cannot answer a claims challenge for us; sign in again with az login",
            ));
        }
        request.without_parameters("the Azure CLI")?;
        let arguments = arguments(request, self.0.tenant.as_ref())?;
        let fetch = || -> Boxed<'static, _> {
            let (settings, arguments) = (Arc::clone(&self.0), arguments.clone());
            Box::pin(async move { settings.run(&arguments).await })
        };
        self.1.token(request, &fetch).await
    }
}

impl fmt::Debug for AzureCliCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureCliCredential").field("tenant", &self.0.tenant).finish_non_exhaustive()
    }
}

/// Builds an [`AzureCliCredential`].
#[derive(Debug)]
#[must_use]
pub struct AzureCliBuilder {
    program: OsString,
    tenant: Option<TenantId>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl AzureCliBuilder {
    /// The tenant whose tokens are wanted. Default: that of the signed-in account.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The program to run. Default: `az` (`az.cmd` on Windows), looked up in the path.
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// How long the command may take. Default: 13 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What time it is. Default: [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the credential. Nothing is run.
    #[must_use]
    pub fn build(self) -> AzureCliCredential {
        let tokens = HostTokens::new(Arc::clone(&self.clock), self.timeout * 2);
        AzureCliCredential(Arc::new(self), Arc::new(tokens))
    }

    async fn run(&self, arguments: &[String]) -> Result<AccessToken, Error> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            // Colours and warnings have no place in JSON.
            .env("AZURE_CORE_NO_COLOR", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| not_started(&error))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (stdout, stderr) = tokio::join!(read(stdout), read(stderr));
            (child.wait().await, stdout, stderr)
        };
        let (status, stdout, stderr) = timeout(self.timeout, all)
            .await
            .map_err(|_| Error::new(ErrorKind::Transport, "the Azure CLI did not answer in time"))?;
        let status = status.map_err(|error| not_started(&error))?;
        match status.success() {
            true => decode(&stdout),
            false => Err(refused(status.code(), &String::from_utf8_lossy(&stderr))),
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What could be read decides; a broken pipe shows in the exit status.
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).await;
    }
    bytes
}

/// The arguments of the command. On Windows the CLI is a batch file, so that characters with a meaning there are refused
/// here and not only escaped.
fn arguments(request: &TokenRequest, tenant: Option<&TenantId>) -> Result<Vec<String>, Error> {
    let plain =
        |text: &str| !text.starts_with('-') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b));
    let mut scopes = request.scopes.iter();
    let scope = match (scopes.next(), scopes.next()) {
        (Some(scope), None) if plain(scope) => scope,
        (Some(_), None) => {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the scope holds characters that the Azure CLI is not given",
            ));
        }
        _ => return Err(Error::new(ErrorKind::Configuration, "the Azure CLI has tokens for one scope at a time")),
    };
    let mut arguments: Vec<String> =
        ["account", "get-access-token", "--output", "json", "--scope", scope].map(str::to_owned).into();
    if let Some(tenant) = request.tenant.as_ref().or(tenant) {
        arguments.extend(["--tenant".to_owned(), tenant.as_str().to_owned()]);
    }
    Ok(arguments)
}

fn decode(stdout: &[u8]) -> Result<AccessToken, Error> {
    let answer =
        Document::read(stdout).and_then(|answer| Ok((answer.required("accessToken")?, answer.optional("expires_on")?)));
    let (token, expires_on): (String, Option<i64>) =
        answer.map_err(|_| Error::new(ErrorKind::Protocol, "the Azure CLI printed something that is no token"))?;
    // Versions before 2.54 print the local time of an unknown zone only.
    let expires = expires_on.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let expires = expires.ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "the Azure CLI does not say when the token ends; update it to 2.54 or later")
    })?;
    AccessToken::new(token, expires)
}

fn not_started(error: &std::io::Error) -> Error {
    let text = match error.kind() {
        std::io::ErrorKind::NotFound => "the Azure CLI is not installed or not in the path",
        _ => "the Azure CLI could not be run",
    };
    Error::new(ErrorKind::Unsupported, text).with_source(NotHere(None))
}

/// What the exit says. The text of the command names accounts and is not passed on.
fn refused(code: Option<i32>, stderr: &str) -> Error {
    let lower = stderr.to_ascii_lowercase();
    let number = aadsts(stderr).first().map(|code| format!(" (AADSTS{code})")).unwrap_or_default();
    if code == Some(127) || lower.contains("is not recognized") {
        not_started(&std::io::ErrorKind::NotFound.into())
    } else if lower.contains("az login") || lower.contains("az account set") {
        Error::new(
            ErrorKind::Reauthenticate,
            format!("nobody is signed in to the Azure CLI, or not for this tenant and scope: run az login{number}"),
        )
        .with_source(NotHere(None))
    } else {
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit status {code}"));
        Error::new(
            ErrorKind::Configuration,
            format!("the Azure CLI gave no token, {code}{number}; run az account get-access-token to see why"),
        )
    }
}
