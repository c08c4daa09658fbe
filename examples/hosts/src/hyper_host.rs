//! The bot on hyper alone.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::timeout};

use crate::bot::{self, Answer, Bot};

pub(crate) async fn serve(bot: Bot, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let bot = bot.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let bot = bot.clone();
                async move { Ok::<_, Infallible>(respond(route(&bot, request).await).await) }
            });
            // How a connection ends is the client's business.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(bot::BODY_TIME)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn route(bot: &Bot, request: Request<Incoming>) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/healthz") => Answer { body: r#"{"status":"ok"}"#.into(), ..bot::status(StatusCode::OK) },
        (&Method::POST, path) if path == &*bot.path => messages(bot, request).await,
        (_, path) if path == &*bot.path => bot::status(StatusCode::METHOD_NOT_ALLOWED),
        _ => bot::status(StatusCode::NOT_FOUND),
    }
}

async fn messages(bot: &Bot, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let token = match bot::check(bot, &parts.headers).await {
        Ok(token) => token,
        Err(answer) => return answer,
    };
    match timeout(bot::BODY_TIME, bot::read(body, token.body_limit())).await {
        Ok(Some(body)) => bot::answer(bot, &token, &body).await,
        Ok(None) => bot::too_large(),
        Err(_) => bot::too_slow(),
    }
}

async fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let kind = header::HeaderValue::from_static(answer.body.media_type());
    let mut response = Response::new(Full::new(answer.body.bytes().await));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Some(challenge) = answer.challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
