//! The gateway in front of the function, on a port of this machine.

use std::{convert::Infallible, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::{
    bot::{self, Bot},
    lambda_host,
};

/// The largest request that such gateways take.
const LARGEST: usize = 6 << 20;

pub(crate) async fn serve(bot: Bot, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let bot = bot.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let bot = bot.clone();
                async move {
                    let answer = match event(request).await {
                        Some(event) => lambda_host::handle(&bot, &event).await,
                        None => json!({"statusCode": 413}),
                    };
                    Ok::<_, Infallible>(response(&answer))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn event(request: Request<Incoming>) -> Option<Value> {
    let (parts, body) = request.into_parts();
    let body = bot::read(body, LARGEST).await.filter(|body| body.len() <= LARGEST)?;
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        let values: Vec<_> = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        headers.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    Some(json!({
        "version": "2.0", "rawPath": parts.uri.path(), "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers, "requestContext": {"http": {"method": parts.method.as_str(), "path": parts.uri.path()}},
        "body": STANDARD.encode(&body), "isBase64Encoded": true,
    }))
}

fn response(answer: &Value) -> Response<Full<Bytes>> {
    let status = answer.get("statusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let mut response = Response::builder().status(status.unwrap_or(502));
    for (name, value) in answer.get("headers").and_then(Value::as_object).into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap_or_default());
    }
    let body = answer.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
    response.body(Full::new(body.into())).unwrap_or_default()
}
