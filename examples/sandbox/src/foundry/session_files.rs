//! Files in the sandbox of a hosted agent. Paths are relative to the home folder of the session.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::error::ApiError;
use super::form::Raw;
use super::http::Call;
use super::sessions;

/// Files and folders by their paths, without the home folder itself.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    /// None for a folder.
    content: Option<Bytes>,
    modified: i64,
}

impl Files {
    fn write(&mut self, path: &str, content: Bytes, now: i64) -> Result<(), ApiError> {
        let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        let folders: Vec<String> = folders.map(str::to_owned).collect();
        let is_file = |path: &str| self.0.get(path).is_some_and(|entry| entry.content.is_some());
        let is_folder = |path: &str| self.0.get(path).is_some_and(|entry| entry.content.is_none());
        if is_folder(path) || folders.iter().any(|folder| is_file(folder)) {
            return Err(conflict(path, "is in the way of a file or a directory"));
        }
        for folder in folders {
            self.0.entry(folder).or_insert(Entry { content: None, modified: now });
        }
        self.0.insert(path.to_owned(), Entry { content: Some(content), modified: now });
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Bytes, ApiError> {
        self.0.get(path).and_then(|entry| entry.content.clone()).ok_or_else(|| missing(path))
    }

    /// What lies directly in a folder; the empty path is the home folder.
    fn list(&self, folder: &str) -> Result<Vec<Value>, ApiError> {
        if !folder.is_empty() && self.0.get(folder).is_none_or(|entry| entry.content.is_some()) {
            return Err(missing(folder));
        }
        let entries = self.0.iter().filter_map(|(path, entry)| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let size = entry.content.as_ref().map_or(0, Bytes::len);
            (parent == folder).then(|| {
                json!({"name": name, "size": size, "is_directory": entry.content.is_none(),
                       "modified_time": entry.modified})
            })
        });
        Ok(entries.collect())
    }

    fn remove(&mut self, path: &str, recursive: bool) -> Result<(), ApiError> {
        if !self.0.contains_key(path) {
            return Err(missing(path));
        }
        let inside = format!("{path}/");
        if !recursive && self.0.keys().any(|known| known.starts_with(&inside)) {
            return Err(conflict(path, "is not empty"));
        }
        self.0.retain(|known, _| known != path && !known.starts_with(&inside));
        Ok(())
    }
}

/// `PUT …/files/content?path=` answers 201.
pub(crate) async fn upload(call: Call, body: Raw) -> Result<Response, ApiError> {
    let path = path(&call, true)?;
    let (size, now) = (body.body.len(), call.foundry.clock.now());
    sessions::with(&call, call.param("session"), |session| {
        session.touch(now);
        session.files.write(&path, body.body, now)
    })?;
    let written = json!({"path": call.query("path"), "bytes_written": size});
    Ok((StatusCode::CREATED, Json(written)).into_response())
}

/// `GET …/files/content?path=`.
pub(crate) async fn download(call: Call) -> Result<Response, ApiError> {
    let path = path(&call, true)?;
    let now = call.foundry.clock.now();
    let content = sessions::with(&call, call.param("session"), |session| {
        session.touch(now);
        session.files.read(&path)
    })?;
    let mut response = content.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

/// `GET …/files?path=`.
pub(crate) async fn list(call: Call) -> Result<Json<Value>, ApiError> {
    let path = path(&call, false)?;
    let all = sessions::with(&call, call.param("session"), |session| session.files.list(&path))?;
    let mut page = call.page_by("name", &all)?;
    if let Some(members) = page.as_object_mut() {
        let entries = members.remove("data").unwrap_or_default();
        members.insert("entries".to_owned(), entries);
    }
    Ok(Json(page))
}

/// `DELETE …/files?path=&recursive=` answers 204.
pub(crate) async fn delete(call: Call) -> Result<StatusCode, ApiError> {
    let path = path(&call, true)?;
    let recursive = call.query("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    sessions::with(&call, call.param("session"), |session| session.files.remove(&path, recursive))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The path of the query, without its slashes at the ends. What leads out of the home folder is refused.
fn path(call: &Call, required: bool) -> Result<String, ApiError> {
    let text = call.query("path").unwrap_or_default().trim_matches('/');
    if text.is_empty() {
        return if required {
            Err(ApiError::invalid("path", "Missing required parameter: 'path'."))
        } else {
            Ok(String::new())
        };
    }
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(['\\', '\0']);
    if text.split('/').any(bad) {
        return Err(ApiError::invalid("path", "The path is not valid."));
    }
    Ok(text.to_owned())
}

fn missing(path: &str) -> ApiError {
    ApiError::not_found(&format!("Path {path} not found."))
}

fn conflict(path: &str, text: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "conflict", format!("Path {path} {text}."))
}
