//! The bot in actix-web. Its headers are of another version of the `http` crate, so they are copied.

use std::io;

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::{StatusCode, header},
    web::{Data, Payload, get, post, resource},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;

use crate::bot::{self, Answer, Bot};

pub(crate) async fn serve(bot: Bot, listener: std::net::TcpListener) -> io::Result<()> {
    let path = bot.path.clone();
    let bot = Data::new(bot);
    let app = move || {
        let health = get().to(async || HttpResponse::Ok().body(r#"{"status":"ok"}"#));
        App::new().app_data(bot.clone()).service(resource(&*path).route(post().to(messages))).route("/healthz", health)
    };
    HttpServer::new(app).workers(2).listen(listener)?.run().await
}

async fn messages(bot: Data<Bot>, request: HttpRequest, body: Payload) -> HttpResponse {
    let answer = match bot::check(&bot, &headers(&request)).await {
        Err(answer) => answer,
        Ok(token) => match timeout(bot::BODY_TIME, body.to_bytes_limited(token.body_limit() + 1)).await {
            Ok(Ok(Ok(body))) => bot::answer(&bot, &token, &body).await,
            Ok(_) => bot::too_large(),
            Err(_) => bot::too_slow(),
        },
    };
    respond(answer).await
}

fn headers(request: &HttpRequest) -> HeaderMap {
    let copied = request.headers().iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    // Names that come twice stay twice: two tokens are refused.
    let mut headers = HeaderMap::new();
    copied.for_each(|(name, value)| {
        headers.append(name, value);
    });
    headers
}

async fn respond(answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type(answer.body.media_type());
    if let Some(challenge) = answer.challenge {
        response.insert_header((header::WWW_AUTHENTICATE, challenge.as_bytes()));
    }
    response.body(answer.body.bytes().await)
}
