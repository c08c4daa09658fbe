//! The one router of the sandbox, and what every request passes first: the log and the faults.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::constants::{FOUNDRY_RESOURCE, RESOURCE_TENANT};
use crate::faults::{Fault, FaultKind};
use crate::state::Shared;
use crate::wire::Connection;
use crate::{channel, control, entra, foundry, tokens, tokenservice};

/// Largest request body, bytes.
const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// Every route. The parts bring absolute paths.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let foundry_shared = Arc::clone(shared);
    let foundry = foundry::Config {
        base_url: shared.base_url().to_owned(),
        authorize: Arc::new(move |headers| {
            let audiences = [FOUNDRY_RESOURCE];
            tokens::check_bearer_of(&foundry_shared, headers, &audiences, RESOURCE_TENANT)
        }),
    };
    Router::new()
        .merge(entra::router(Arc::clone(shared)))
        .merge(tokenservice::router(Arc::clone(shared)))
        .merge(channel::router(Arc::clone(shared)))
        .merge(foundry::router(foundry))
        .merge(control::router(Arc::clone(shared)))
        .layer(middleware::from_fn_with_state(Arc::clone(shared), observe))
}

async fn observe(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with("/_sandbox/") {
        return next.run(request).await; // the remote control is neither logged nor disturbed
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let number = shared.journal.record(&parts.method, &parts.uri, &parts.headers, &body, shared.clock.now());
    let fault = shared.faults.take(parts.method.as_str(), parts.uri.path());
    let request = Request::from_parts(parts, Body::from(body));
    let response = match fault {
        None => next.run(request).await,
        Some(fault) => disturbed(fault, connection, request, next).await,
    };
    shared.journal.answered(number, response.status().as_u16());
    response
}

async fn disturbed(fault: Fault, connection: Connection, request: Request, next: Next) -> Response {
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let mut response = match fault.kind {
        FaultKind::Pass => next.run(request).await,
        FaultKind::Status { status, body } => scripted(status, body),
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Truncate(bytes) => cut_short(next.run(request).await, bytes, Some(connection)),
        FaultKind::Stall(bytes) => cut_short(next.run(request).await, bytes, None),
        FaultKind::Malformed => {
            ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], "{\"access_token\":\"cut off, \"id\":").into_response()
        }
        FaultKind::Html(status) => (
            code(status),
            [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
            "<html><head><title>Service unavailable</title></head><body><h2>Our services aren't available right now</h2></body></html>",
        )
            .into_response(),
        FaultKind::Reset => {
            connection.0.now();
            std::future::pending().await
        }
        FaultKind::LoseAnswer => {
            let _ = next.run(request).await;
            connection.0.now();
            std::future::pending().await
        }
    };
    for (name, value) in fault.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn scripted(status: u16, body: String) -> Response {
    let json = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
    let kind = if json { "application/json; charset=utf-8" } else { "text/plain; charset=utf-8" };
    if body.is_empty() {
        return code(status).into_response();
    }
    (code(status), [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Announces the whole body and sends its first bytes; then cuts the connection, or says nothing more.
fn cut_short(response: Response, bytes: u64, cut: Option<Connection>) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(whole) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
    }
    let start = first_bytes(body, bytes);
    let end = stream::once(async move {
        if let Some(connection) = cut {
            // What was written is flushed before the connection goes.
            tokio::time::sleep(Duration::from_millis(20)).await;
            connection.0.now();
        }
        std::future::pending().await
    });
    Response::from_parts(parts, Body::from_stream(start.chain(end)))
}

fn first_bytes(body: Body, limit: u64) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((body.into_data_stream(), limit), |(mut body, left)| async move {
        if left == 0 {
            return None;
        }
        let mut chunk: Bytes = body.next().await?.ok()?;
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left.saturating_sub(chunk.len() as u64);
        Some((Ok(chunk), (body, left)))
    })
}
