//! The bot in axum.

use std::io;

use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, header};
use tokio::{net::TcpListener, time::timeout};

use crate::bot::{self, Answer, Bot, Content};

pub(crate) async fn serve(bot: Bot, listener: std::net::TcpListener) -> io::Result<()> {
    let router = Router::new()
        .route(&bot.path, post(messages))
        .route("/healthz", get(async || r#"{"status":"ok"}"#))
        .with_state(bot);
    axum::serve(TcpListener::from_std(listener)?, router).await
}

async fn messages(State(bot): State<Bot>, headers: HeaderMap, body: Body) -> Answer {
    let token = match bot::check(&bot, &headers).await {
        Ok(token) => token,
        Err(answer) => return answer,
    };
    match timeout(bot::BODY_TIME, bot::read(body, token.body_limit())).await {
        Ok(Some(body)) => bot::answer(&bot, &token, &body).await,
        Ok(None) => bot::too_large(),
        Err(_) => bot::too_slow(),
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let kind = header::HeaderValue::from_static(self.body.media_type());
        let body = match self.body {
            Content::Json(bytes) => Body::from(bytes),
            Content::Events(events) => Body::from_stream(events),
        };
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
