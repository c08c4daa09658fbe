//! The Azure CLI as a credential, with a program that plays it.

#![cfg(all(feature = "azure-cli", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use entra_auth::{
    AzureCliCredential, ChainedTokenCredential, ClaimsChallenge, Clock as _, ErrorKind, SystemClock,
    TokenCredential as _, TokenRequest, settings::Settings,
};

struct Cli(PathBuf);

impl Cli {
    /// A program that notes its arguments, a line a run, and then does this.
    fn new(name: &str, script: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("entra-auth-az-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let log = directory.join("log");
        let text = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{script}\n", log.display());
        // Written under another name first: a file that is open for writing cannot be run.
        fs::write(directory.join("az.new"), text).unwrap();
        fs::set_permissions(directory.join("az.new"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::rename(directory.join("az.new"), directory.join("az")).unwrap();
        Self(directory)
    }

    fn with_token(name: &str) -> Self {
        let ends = (SystemClock.now() + time::Duration::hours(1)).unix_timestamp();
        let json = format!(
            r#"{{"accessToken":"t","expiresOn":"2026-01-01 00:00:00.000000","expires_on":{ends},"tokenType":"Bearer"}}"#
        );
        Self::new(name, &format!("echo '{json}'"))
    }

    fn program(&self) -> PathBuf {
        self.0.join("az")
    }

    fn credential(&self) -> AzureCliCredential {
        AzureCliCredential::builder().program(self.program()).build()
    }

    fn runs(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn request() -> TokenRequest {
    TokenRequest::new("https://management.azure.com/.default".parse().unwrap())
}

#[tokio::test]
async fn the_command_and_its_answer() {
    let cli = Cli::with_token("fields");
    let credential = cli.credential();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let credential = credential.clone();
            tokio::spawn(async move { credential.get_token(&request()).await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().expose(), "t");
    }
    let tenant = request().with_tenant("contoso.onmicrosoft.com".parse().unwrap());
    credential.get_token(&tenant).await.unwrap();
    let plain = "account get-access-token --output json --scope https://management.azure.com/.default";
    assert_eq!(cli.runs(), [plain.to_owned(), format!("{plain} --tenant contoso.onmicrosoft.com")]);
}

#[tokio::test]
async fn nothing_unexpected_becomes_an_argument() {
    let cli = Cli::with_token("arguments");
    for scope in ["a&calc", "a|b", "a;b", "$(a)", "%PATH%", "a^b", "--debug", "a'b", "a>b", "a*b", "x y"] {
        let request = TokenRequest::new(scope.parse().unwrap());
        let error = cli.credential().get_token(&request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{scope}");
    }
    let claims = request().with_claims(ClaimsChallenge::from_json(r#"{"access_token":{}}"#).unwrap());
    assert_eq!(cli.credential().get_token(&claims).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(cli.runs().is_empty());
}

#[tokio::test]
async fn failures_say_what_to_do_and_show_nothing() {
    for (name, script, kind, advice) in [
        (
            "login",
            "echo \"Please run 'az login' to setup account. marker\" >&2; exit 1",
            ErrorKind::Reauthenticate,
            "az login",
        ),
        (
            "expired",
            "echo 'AADSTS700082: marker. Interactive authentication is needed. Please run: az login' >&2; exit 1",
            ErrorKind::Reauthenticate,
            "AADSTS700082",
        ),
        ("shell", "echo 'az: command not found' >&2; exit 127", ErrorKind::Unsupported, "not installed"),
        ("other", "echo 'AADSTS500011: marker' >&2; exit 1", ErrorKind::Configuration, "AADSTS500011"),
        ("html", "echo '<html>marker</html>'", ErrorKind::Protocol, "no token"),
        ("empty", "echo '{}'", ErrorKind::Protocol, "no token"),
        (
            "old",
            "echo '{\"accessToken\":\"marker\",\"expiresOn\":\"2026-01-01 00:00:00.000000\"}'",
            ErrorKind::Protocol,
            "2.54",
        ),
        ("ended", "echo '{\"accessToken\":\"marker\",\"expires_on\":5}'", ErrorKind::Protocol, "already ended"),
        ("huge", "head -c 200000 /dev/zero", ErrorKind::Configuration, "no token"),
    ] {
        let cli = Cli::new(name, script);
        let error = cli.credential().get_token(&request()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(advice), "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
    let absent = AzureCliCredential::builder().program("/absent/az").build();
    let error = absent.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("not installed"));
}

#[tokio::test]
async fn a_command_that_hangs_is_ended() {
    let cli = Cli::new("hangs", "exec sleep 60");
    let credential = AzureCliCredential::builder().program(cli.program()).timeout(Duration::from_millis(300)).build();
    let started = tokio::time::Instant::now();
    let error = credential.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Not signed in means "ask the next link"; the developer's chain has none and says so.
#[tokio::test]
async fn in_a_chain_a_signed_out_cli_is_absent() {
    let out = Cli::new("out", "echo \"Please run 'az login'\" >&2; exit 1");
    let good = Cli::with_token("good");
    let link = |cli: &Cli| std::sync::Arc::new(cli.credential()) as std::sync::Arc<dyn entra_auth::TokenCredential>;
    let chain = ChainedTokenCredential::new([("out", link(&out)), ("good", link(&good))]).unwrap();
    chain.get_token(&request()).await.unwrap();
    assert_eq!(chain.selected(), Some("good"));
    assert!(ChainedTokenCredential::for_developers(&Settings::from_lookup(|_| None)).is_ok());
    let bad = Settings::from_lookup(|name: &str| (name == "AZURE_TENANT_ID").then(|| "common".to_owned()));
    assert!(ChainedTokenCredential::for_developers(&bad).is_err());
}
