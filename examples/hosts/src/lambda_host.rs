//! The bot as a function: one event in, one answer out, nothing kept between two events but the bot itself.
//!
//! The events are those of an HTTP API with payload version 2.0. [`local`](crate::local) makes them from requests to a
//! port, as the gateway in front of the function does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::bot::{self, Answer, Bot};

/// One event.
pub(crate) async fn handle(bot: &Bot, event: &Value) -> Value {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let answer = match (text("/requestContext/http/method"), text("/rawPath")) {
        ("GET", "/healthz") => Answer { body: r#"{"status":"ok"}"#.into(), ..bot::status(StatusCode::OK) },
        ("POST", path) if path == &*bot.path => messages(bot, event).await,
        (_, path) if path == &*bot.path => bot::status(StatusCode::METHOD_NOT_ALLOWED),
        _ => bot::status(StatusCode::NOT_FOUND),
    };
    let mut headers = Map::from_iter([("content-type".to_owned(), json!(answer.body.media_type()))]);
    if let Some(challenge) = answer.challenge.as_ref().and_then(|value| value.to_str().ok()) {
        headers.insert("www-authenticate".to_owned(), json!(challenge));
    }
    let body = String::from_utf8_lossy(&answer.body.bytes().await).into_owned();
    json!({"statusCode": answer.status.as_u16(), "headers": headers, "body": body, "isBase64Encoded": false})
}

async fn messages(bot: &Bot, event: &Value) -> Answer {
    let token = match bot::check(bot, &headers(event)).await {
        Ok(token) => token,
        Err(answer) => return answer,
    };
    let body = event.get("body").and_then(Value::as_str).unwrap_or_default();
    let decoded = match event.get("isBase64Encoded") {
        Some(Value::Bool(true)) => STANDARD.decode(body),
        _ => Ok(body.as_bytes().to_vec()),
    };
    match decoded {
        Ok(body) => bot::answer(bot, &token, &body).await,
        Err(_) => bot::status(StatusCode::BAD_REQUEST),
    }
}

/// Names that came twice are joined by a comma there, so two tokens are no token.
fn headers(event: &Value) -> HeaderMap {
    let members = event.get("headers").and_then(Value::as_object).into_iter().flatten();
    members
        .filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.as_str()?).ok()?))
        })
        .collect()
}
