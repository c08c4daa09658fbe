//! Seeds from the test data of the crates.

use std::{fs, path::Path};

use serde_json::Value;

use crate::Fault;

/// All files of a folder of the workspace, in the order of their names; large ones are left out.
pub(super) fn files(folder: &str, extension: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let explain = |error| format!("the seeds in {} cannot be read: {error}", folder.display());
    let mut paths: Vec<_> =
        fs::read_dir(&folder).map_err(explain)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|of| of == extension)) {
        files.push(fs::read(path)?);
    }
    files.retain(|file| file.len() <= 16 << 10);
    if files.is_empty() { Err(format!("no seeds in {}", folder.display()).into()) } else { Ok(files) }
}

/// The recorded bodies of Foundry's answers.
pub(super) fn foundry_bodies() -> Result<Vec<Vec<u8>>, Fault> {
    let records = files("foundry-client/tests/fixtures/bodies", "json")?;
    let body = |record: &Vec<u8>| match serde_json::from_slice::<Value>(record).ok()?.get("body")? {
        Value::String(text) => Some(text.clone().into_bytes()),
        json => Some(json.to_string().into_bytes()),
    };
    let bodies: Vec<_> = records.iter().filter_map(body).collect();
    if bodies.is_empty() { Err("no recorded answer of Foundry has a body".into()) } else { Ok(bodies) }
}
