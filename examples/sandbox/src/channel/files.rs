//! The store of files: what a bot uploads, and the pictures that users put into messages.
//! `https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#attachment-operations`

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};

use super::deliver::{self, Caller, Receipt};
use super::problem::Problem;
use super::store::State;

/// One file, for the bot of one tenant.
#[derive(Debug)]
pub(crate) struct File {
    bot: String,
    tenant: String,
    name: String,
    kind: String,
    original: Bytes,
    thumbnail: Option<Bytes>,
}

/// Keeps a file that a bot uploads into a conversation.
///
/// # Errors
/// 400 without a type or an original, or when one is not base64.
pub(crate) fn upload(state: &mut State, caller: &Caller, conversation: &str, body: &Value) -> Result<Receipt, Problem> {
    deliver::admit(state.room(&caller.tenant, conversation)?, caller)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("type").ok_or_else(|| Problem::missing("type"))?;
    let original =
        bytes("originalBase64", text("originalBase64"))?.ok_or_else(|| Problem::missing("originalBase64"))?;
    let thumbnail = bytes("thumbnailBase64", text("thumbnailBase64"))?;
    let id = keep(state, &caller.app, &caller.tenant, text("name").unwrap_or_default(), kind, original, thumbnail);
    Ok(Receipt { status: 201, body: Some(json!({ "id": id })) })
}

fn bytes(name: &str, text: Option<&str>) -> Result<Option<Bytes>, Problem> {
    let decoded = text.map(|text| STANDARD.decode(text)).transpose();
    decoded.map(|bytes| bytes.map(Bytes::from)).map_err(|_| Problem::argument(format!("'{name}' is not base64.")))
}

/// Puts a file into the store. Returns its id.
pub(crate) fn keep(
    state: &mut State,
    bot: &str,
    tenant: &str,
    name: &str,
    kind: &str,
    original: Bytes,
    thumbnail: Option<Bytes>,
) -> String {
    let id = format!("0-weu-d1-{}", crate::state::uuid().replace('-', ""));
    let (bot, tenant, name, kind) = (bot.to_owned(), tenant.to_owned(), name.to_owned(), kind.to_owned());
    state.files.insert(id.clone(), File { bot, tenant, name, kind, original, thumbnail });
    id
}

/// What the store knows about a file.
///
/// # Errors
/// 404 for one that is not there, or not this bot's.
pub(crate) fn info(state: &State, caller: &Caller, id: &str) -> Result<Receipt, Problem> {
    let file = find(state, caller, id)?;
    let mut views = vec![json!({ "viewId": "original", "size": file.original.len() })];
    views.extend(file.thumbnail.as_ref().map(|bytes| json!({ "viewId": "thumbnail", "size": bytes.len() })));
    Ok(Receipt { status: 200, body: Some(json!({ "name": file.name, "type": file.kind, "views": views })) })
}

/// The bytes of a file, in one of its forms.
///
/// # Errors
/// 404 for a file or a form that is not there.
pub(crate) fn view(state: &State, caller: &Caller, id: &str, view: &str) -> Result<Response, Problem> {
    let file = find(state, caller, id)?;
    let bytes = match view {
        "original" => Some(&file.original),
        "thumbnail" => file.thumbnail.as_ref(),
        _ => None,
    };
    let bytes = bytes.ok_or_else(|| Problem::new(404, "BadArgument", "The attachment has no such view."))?;
    Ok(([(header::CONTENT_TYPE, file.kind.clone())], bytes.clone()).into_response())
}

fn find<'a>(state: &'a State, caller: &Caller, id: &str) -> Result<&'a File, Problem> {
    let file = state
        .files
        .get(id)
        .filter(|file| file.bot.eq_ignore_ascii_case(&caller.app) && file.tenant.eq_ignore_ascii_case(&caller.tenant));
    file.ok_or_else(|| Problem::new(404, "BadArgument", "There is no such attachment."))
}
