//! The signing front: takes the unsigned POST of a local tool, adds a channel token and hands it to the bot.
//!
//! The token's `serviceurl` claim is the tool's own address, so the bot answers the tool directly. Everything stays on loopback.

use axum::body::Body;
use axum::extract::{Request, State as With};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::Channel;
use super::exchange::Wait;
use super::post::{self, Failure, Posted};

const LARGEST: usize = 1024 * 1024;

/// `POST /front/…`, whatever follows.
pub(crate) async fn serve(With(channel): With<Channel>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "The signing front takes POST only.");
    }
    if !is_local(&parts.headers) {
        return refuse(StatusCode::FORBIDDEN, "The signing front serves programs on this machine only.");
    }
    let Ok(bytes) = axum::body::to_bytes(body, LARGEST).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "The activity is over 1 MiB.");
    };
    let Some(activity) = serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object) else {
        return refuse(StatusCode::BAD_REQUEST, "The body is not a JSON object.");
    };
    let Some(service_url) = activity.get("serviceUrl").and_then(Value::as_str).filter(|url| !url.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "The activity has no serviceUrl.");
    };
    if post::loopback(service_url).is_none() {
        return refuse(StatusCode::FORBIDDEN, "The serviceUrl is not on this machine.");
    }
    let mut headers = post::headers(&activity);
    headers.insert(header::AUTHORIZATION, post::authorization(&channel.shared, service_url));
    let endpoint = channel.shared.bot_endpoint();
    // The tool's own bytes go on: nothing of the activity is rewritten.
    relay(post::send(&channel.client(), endpoint.as_deref(), headers, bytes, Wait::default().post).await)
}

/// No web page may use the front: the host must be loopback, and so must the page a browser names.
pub(crate) fn is_local(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).is_none_or(|host| post::loopback(&format!("http://{host}/")).is_some());
    let origin = text(header::ORIGIN).is_none_or(|origin| post::loopback(origin).is_some());
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    host && origin && site.is_none_or(|site| matches!(site, "same-origin" | "same-site" | "none"))
}

fn relay(posted: Posted) -> Response {
    match posted.failure {
        Some(Failure::NoEndpoint) => {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "The sandbox was not told where the bot listens.");
        }
        Some(Failure::Timeout) => return refuse(StatusCode::GATEWAY_TIMEOUT, "The bot did not answer in time."),
        Some(_) => return refuse(StatusCode::BAD_GATEWAY, "The bot did not answer."),
        None => {}
    }
    let status = StatusCode::from_u16(posted.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = posted.headers.get(header::CONTENT_TYPE).cloned();
    let mut response = (status, Body::from(posted.body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/json")));
    response
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "error": { "code": "SandboxFront", "message": message } }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let with = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            is_local(&headers)
        };
        assert!(
            with(&[("host", "127.0.0.1:4000")])
                && with(&[("host", "localhost:4000"), ("origin", "http://localhost:56150")])
        );
        assert!(!with(&[("host", "rebound.example:4000")]));
        assert!(!with(&[("host", "127.0.0.1"), ("origin", "https://evil.example")]));
        assert!(!with(&[("host", "127.0.0.1"), ("origin", "null")]));
        assert!(!with(&[("host", "127.0.0.1"), ("sec-fetch-site", "cross-site")]));
    }
}
