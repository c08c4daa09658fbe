//! The challenge of the Azure Arc agent: whoever can read a file of its group may have a token.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use http::{HeaderMap, header::WWW_AUTHENTICATE};

use crate::{Error, ErrorKind, Secret};

const MAX_KEY: u64 = 4096;

/// The only directory from which keys are read; `None` where there is no Arc agent.
#[inline]
pub(super) fn key_directory(lookup: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        Some("/var/opt/azcmagent/tokens".into())
    } else if cfg!(windows) {
        lookup("ProgramData").map(|root| Path::new(&root).join("AzureConnectedMachineAgent").join("Tokens"))
    } else {
        None
    }
}

/// Whether the agent is installed.
#[inline]
pub(super) fn is_installed(lookup: &dyn Fn(&str) -> Option<String>) -> bool {
    if cfg!(target_os = "linux") {
        Path::new("/opt/azcmagent/bin/himds").is_file()
    } else if cfg!(windows) {
        lookup("ProgramFiles")
            .is_some_and(|root| Path::new(&root).join("AzureConnectedMachineAgent/himds.exe").is_file())
    } else {
        false
    }
}

/// The file that a 401 of the agent names, if it lies where the agent keeps its keys. Of the challenge only the base
/// name is used.
#[inline]
pub(super) fn key_file(headers: &HeaderMap, directory: &Path) -> Result<PathBuf, Error> {
    let realm = headers.get_all(WWW_AUTHENTICATE).iter().find_map(|value| {
        let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
        let realm = rest.trim().strip_prefix("realm=")?.trim().trim_matches('"');
        scheme.eq_ignore_ascii_case("basic").then_some(realm)
    });
    let realm = Path::new(realm.ok_or_else(|| refused("the Azure Arc agent sent no challenge that is understood"))?);
    let name = realm.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(".key").unwrap_or_default();
    let harmless = !stem.is_empty()
        && !stem.starts_with('.')
        && name.len() <= 255
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    // Compared as text, so that `tokens/../x` and `tokens/./x` are not the same as `tokens`.
    let parent = realm.as_os_str().to_str().and_then(|text| text.strip_suffix(name)).unwrap_or_default();
    let expected = directory.as_os_str().to_str().unwrap_or_default();
    let same = match parent.strip_suffix(['/', std::path::MAIN_SEPARATOR]) {
        Some(parent) if cfg!(windows) => parent.eq_ignore_ascii_case(expected),
        Some(parent) => parent == expected,
        None => false,
    };
    if harmless && same && !expected.is_empty() {
        Ok(directory.join(name))
    } else {
        Err(refused("the Azure Arc agent's challenge names a file that is not one of its keys"))
    }
}

/// Reads the key: a regular file, no link, at most 4 KiB, opened once. It blocks.
#[inline]
pub(super) fn read_key(path: &Path) -> Result<Secret, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(
            ErrorKind::Configuration,
            "the Azure Arc agent's key cannot be read: the process must belong to the group himds (Linux) or Hybrid \
             agent extension applications (Windows)",
        )
        .with_source(std::io::Error::from(error.kind()))
    };
    let not_regular = || refused("the Azure Arc agent's key is not a regular file");
    let named = fs::symlink_metadata(path).map_err(unreadable)?;
    if !named.is_file() {
        return Err(not_regular());
    }
    let file = File::open(path).map_err(unreadable)?;
    let opened = file.metadata().map_err(unreadable)?;
    if !opened.is_file() || !same_file(&named, &opened) {
        return Err(not_regular());
    }
    let mut text = String::new();
    file.take(MAX_KEY + 1).read_to_string(&mut text).map_err(unreadable)?;
    let secret = Secret::from(text);
    if secret.expose().len() as u64 > MAX_KEY || secret.is_empty() {
        return Err(refused("the Azure Arc agent's key is empty or larger than 4096 bytes"));
    }
    Ok(secret)
}

/// Whether the file that was opened is the one that was looked at.
#[cfg(unix)]
#[inline]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
#[inline]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.len() == b.len() && a.created().ok() == b.created().ok()
}

#[inline]
fn refused(text: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "/var/opt/azcmagent/tokens";

    #[test]
    fn arc_challenge_path_rules() {
        for (challenge, good) in [
            ("Basic realm=/var/opt/azcmagent/tokens/a1-b2_c3.key", true),
            ("basic realm=\"/var/opt/azcmagent/tokens/abc.key\"", true),
            ("Basic realm=/var/opt/azcmagent/tokens/../../../../etc/shadow.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/../abc.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/./abc.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens//abc.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/sub/abc.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens2/abc.key", false),
            ("Basic realm=/etc/passwd", false),
            ("Basic realm=/etc/ssl/private.key", false),
            ("Basic realm=abc.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/abc", false),
            ("Basic realm=/var/opt/azcmagent/tokens/abc.key.txt", false),
            ("Basic realm=/var/opt/azcmagent/tokens/.key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/..key", false),
            ("Basic realm=/var/opt/azcmagent/tokens/a b.key", false),
            ("Basic realm=", false),
            ("Basic", false),
            ("Bearer realm=/var/opt/azcmagent/tokens/abc.key", false),
        ] {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge.parse().unwrap())]);
            assert_eq!(key_file(&headers, Path::new(DIRECTORY)).is_ok(), good, "{challenge}");
        }
        assert!(key_file(&HeaderMap::new(), Path::new(DIRECTORY)).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_small_regular_files() {
        let directory = std::env::temp_dir().join(format!("arc-keys-{}", std::process::id()));
        fs::create_dir_all(directory.join("folder.key")).unwrap();
        fs::write(directory.join("good.key"), "marker-key").unwrap();
        fs::write(directory.join("limit.key"), "k".repeat(4096)).unwrap();
        fs::write(directory.join("large.key"), "k".repeat(4097)).unwrap();
        fs::write(directory.join("empty.key"), "").unwrap();
        fs::write(directory.join("binary.key"), [0xff, 0xfe]).unwrap();
        let _ = fs::remove_file(directory.join("link.key"));
        std::os::unix::fs::symlink(directory.join("good.key"), directory.join("link.key")).unwrap();
        for (name, good) in [
            ("good.key", true),
            ("limit.key", true),
            ("large.key", false),
            ("empty.key", false),
            ("binary.key", false),
            ("link.key", false),
            ("folder.key", false),
            ("absent.key", false),
        ] {
            let read = read_key(&directory.join(name));
            assert_eq!(read.is_ok(), good, "{name}");
            assert!(!format!("{read:?}").contains("marker"));
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
