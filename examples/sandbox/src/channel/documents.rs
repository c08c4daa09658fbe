//! Documents that users attach. They lie in the user's own store, behind an address that carries its permission.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4`

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State as With};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::Channel;
use super::conversation::Conversation;
use crate::state::{lock, uuid};

/// The permission in the address of a document.
const PERMISSION: &str = "sandbox-tempauth";

/// Every document that was attached, by its id.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<HashMap<String, Bytes>>);

impl Conversation {
    /// A document that the user sends from their own store, as an entry of `attachments` for
    /// [`say_with`](Self::say_with).
    pub fn document(&self, name: &str, bytes: impl Into<Bytes>) -> Value {
        let id = uuid();
        lock(&self.channel.documents().0).insert(id.clone(), bytes.into());
        let base = self.channel.shared.base_url();
        let end = name.rsplit_once('.').map(|(_, end)| end);
        json!({
            "contentType": "application/vnd.microsoft.teams.file.download.info",
            "contentUrl": format!("{base}/personal/Documents/{name}"),
            "name": name,
            "content": {
                "downloadUrl": format!("{base}/documents/{id}?tempauth={PERMISSION}"),
                "uniqueId": id, "fileType": end, "etag": "\"1\"",
            },
        })
    }
}

impl Channel {
    fn documents(&self) -> Arc<Documents> {
        self.shared.extension()
    }
}

/// The store of the users.
pub(crate) fn router() -> Router<Channel> {
    Router::new().route("/documents/{document}", get(document))
}

/// The address is the permission. A token besides it is judged instead of it, and no token opens this store.
async fn document(
    With(channel): With<Channel>,
    Path(document): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if query.get("tempauth").map(String::as_str) != Some(PERMISSION) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let found = lock(&channel.documents().0).get(&document).cloned();
    found.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |bytes| ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response(),
    )
}
