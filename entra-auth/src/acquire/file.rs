//! Credential files: bounded, regular, and named in every error.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::BuildError;

/// Where a credential file's path may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Anywhere, as with the tools that keep certificates in one folder and link to them from another.
    Anywhere,
    /// Only below the folder that the path names. Projected volumes link inside their own mount and nowhere else.
    SameFolder,
}

/// Reads a whole file of at most `limit` bytes. `what` names it in errors, such as "certificate file".
#[inline]
pub(super) fn read(path: &Path, limit: u64, links: Links, what: &str) -> Result<Zeroizing<Vec<u8>>, BuildError> {
    // A projected volume swaps its folder while we look: what has just gone is there again under the same path.
    let mut result = attempt(path, limit, links);
    for _ in 0..2 {
        if !matches!(&result, Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound) {
            break;
        }
        result = attempt(path, limit, links);
    }
    result.map_err(|refusal| {
        let shown = path.display();
        match refusal {
            Refusal::Io(error) => {
                let cause = match error.kind() {
                    io::ErrorKind::NotFound => "does not exist; check path and mount",
                    io::ErrorKind::PermissionDenied => "may not be read by this process; check owner and mode",
                    _ => "cannot be read",
                };
                BuildError::new(format!("the {what} {shown} {cause}")).with_source(error)
            }
            Refusal::NotRegular => {
                BuildError::new(format!("the {what} {shown} is no regular file; name the file itself"))
            }
            Refusal::LeadsOut => BuildError::new(format!(
                "the {what} {shown} is a link that leads out of its own folder; name the file it leads to"
            )),
            Refusal::Empty => BuildError::new(format!("the {what} {shown} is empty; write it again")),
            Refusal::TooLarge => {
                BuildError::new(format!("the {what} {shown} is larger than {limit} bytes; is it the right file?"))
            }
        }
    })
}

enum Refusal {
    Io(io::Error),
    NotRegular,
    LeadsOut,
    Empty,
    TooLarge,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[inline]
fn attempt(path: &Path, limit: u64, links: Links) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let real = fs::canonicalize(path)?;
    if links == Links::SameFolder {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = fs::canonicalize(folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf))?;
        if !real.starts_with(&folder) {
            return Err(Refusal::LeadsOut);
        }
    }
    // Before it is opened, since opening a pipe would wait for its writer, and after, since names can change hands.
    if !fs::symlink_metadata(&real)?.is_file() {
        return Err(Refusal::NotRegular);
    }
    let file = File::open(&real)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::NotRegular);
    }
    if metadata.len() > limit {
        return Err(Refusal::TooLarge);
    }
    // Room for everything at once: a buffer that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1).read_to_end(&mut content)?;
    match content.len() as u64 {
        0 => Err(Refusal::Empty),
        length if length > limit => Err(Refusal::TooLarge),
        _ => Ok(content),
    }
}
