//! What users attach: pictures in a text, which lie in the store of the channel and want the bot's token, and documents,
//! which lie in the user's own store behind an address that carries its permission.
//! `https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4`

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, Query, Request, State as With};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::HeaderMap};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::Channel;
use super::conversation::Conversation;
use super::problem::Problem;
use crate::state::lock;
use crate::tokens;

/// The permission in the address of a document.
const PERMISSION: &str = "sandbox-tempauth";

/// Everything that was attached.
#[derive(Debug, Default)]
pub(crate) struct Files {
    next: AtomicU64,
    stored: Mutex<HashMap<String, Stored>>,
}

#[derive(Debug, Clone)]
struct Stored {
    tenant: String,
    media_type: String,
    bytes: Bytes,
}

impl Files {
    fn keep(&self, kind: &str, stored: Stored) -> String {
        let id = format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed));
        lock(&self.stored).insert(id.clone(), stored);
        id
    }

    fn get(&self, id: &str) -> Option<Stored> {
        lock(&self.stored).get(id).cloned()
    }
}

impl Conversation {
    /// A picture that the user pastes into a message, as an entry of `attachments` for [`say_with`](Self::say_with).
    pub fn picture(&self, media_type: &str, bytes: impl Into<Bytes>) -> Value {
        let stored =
            Stored { tenant: self.user.tenant.clone(), media_type: media_type.to_owned(), bytes: bytes.into() };
        let id = self.channel.files().keep("0-picture", stored);
        let url = format!("{}v3/attachments/{id}/views/original", self.service_url());
        json!({"contentType": "image/*", "contentUrl": url})
    }

    /// A document that the user sends from their own store, as an entry of `attachments`.
    pub fn document(&self, name: &str, bytes: impl Into<Bytes>) -> Value {
        let media_type = "application/octet-stream".to_owned();
        let stored = Stored { tenant: self.user.tenant.clone(), media_type, bytes: bytes.into() };
        let id = self.channel.files().keep("document", stored);
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
    fn files(&self) -> std::sync::Arc<Files> {
        self.shared.extension()
    }
}

/// The store of the users.
pub(crate) fn router() -> Router<Channel> {
    Router::new().route("/documents/{document}", get(document))
}

/// A picture out of the store of the channel; `None` when the request is for something else.
pub(crate) fn picture(channel: &Channel, request: &Request) -> Option<Response> {
    let path: Vec<&str> = request.uri().path().trim_start_matches("/connector/").split('/').collect();
    let [_, tenant, "v3", "attachments", attachment, "views", view] = path[..] else { return None };
    let stored = channel.files().get(attachment).filter(|_| request.method() == Method::GET)?;
    if tokens::check_bot(&channel.shared, request.headers()).is_err() {
        return Some(Problem::unauthorized().into_response());
    }
    let found = stored.tenant == tenant && view == "original";
    Some(if found { shown(stored) } else { missing().into_response() })
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
    channel.files().get(&document).map_or_else(|| StatusCode::NOT_FOUND.into_response(), shown)
}

fn shown(stored: Stored) -> Response {
    ([(header::CONTENT_TYPE, stored.media_type)], stored.bytes).into_response()
}

fn missing() -> Problem {
    Problem::new(404, "BadArgument", "Unknown attachment.")
}
