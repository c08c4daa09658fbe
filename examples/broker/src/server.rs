//! HTTP: `POST /api/messages` and `GET /healthz`, nothing else.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use botframework_activity::InboundError;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use crate::bot::{Answer, Bot};

/// A sender that takes longer for its body is not the channel.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Opens the port.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; set PORT to a free one, or to 0 for any",
            io::ErrorKind::PermissionDenied => "this port needs more rights; set PORT to one above 1023",
            _ => "check BIND and PORT",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}; {advice}"))
    })
}

/// Serves until `stop` is done, then lets requests under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    bot: Bot,
    sandbox: bool,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let health = if sandbox { json!({"status": "ok", "mode": "sandbox"}) } else { json!({"status": "ok"}) };
    let router = Router::new()
        .route("/api/messages", post(messages))
        .route("/healthz", get(move || std::future::ready(Json(health.clone()))))
        .with_state(bot);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

async fn messages(State(bot): State<Bot>, headers: HeaderMap, body: Body) -> Response {
    match receive(&bot, &headers, body).await {
        Ok(Answer::Received) => StatusCode::OK.into_response(),
        Ok(Answer::TryAgain) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ok(Answer::Body(status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if body.is_null() { status.into_response() } else { (status, Json(body)).into_response() }
        }
        Err(refusal) => refusal,
    }
}

/// Headers first; the body is read only for whoever has a good token.
async fn receive(bot: &Bot, headers: &HeaderMap, body: Body) -> Result<Answer, Response> {
    let token = bot.authenticator.authenticate(headers).await.map_err(|error| refuse(&error))?;
    tracing::info!(target: "hop", "channel token valid, signed with key {}", token.key_id());
    token.check_content(headers).map_err(|error| refuse(&error))?;
    let body = match timeout(BODY_TIME, to_bytes(body, token.body_limit() + 1)).await {
        Ok(Ok(body)) => body,
        // More than the limit, or a sender that went away and sees no answer.
        Ok(Err(_)) => return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        Err(_) => return Err(StatusCode::REQUEST_TIMEOUT.into_response()),
    };
    match token.open(&body) {
        Ok(activity) => Ok(bot.receive(&activity).await),
        Err(error) => {
            let refusal = refuse(&error);
            let foreign = error.into_foreign().ok_or(refusal)?;
            bot.refuse(foreign);
            Ok(Answer::Received)
        }
    }
}

/// Status and challenge, no word about which rule was broken.
fn refuse(error: &InboundError) -> Response {
    let mut response = error.status().into_response();
    if let Some(challenge) = error.www_authenticate() {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
