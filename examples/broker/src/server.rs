//! HTTP: `POST /api/messages` and `GET /healthz`, nothing else.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use botframework_activity::{InboundError, ReplyEvents};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::bot::{Answer, Bot};

/// A sender that takes longer for its body, or for the headers before it, is not the channel. With what it takes to
/// notice and to close, a slow client is gone after ten seconds.
const SLOW: Duration = Duration::from_secs(9);

/// What clients may take of the server, whoever they are. Nobody has shown a token yet when a connection is made.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time; the next ones wait in the queue of the operating system.
    connections: usize,
    /// From the end of one request (or the start of the connection) to the end of the next one's headers.
    headers: Duration,
    /// The age at which a connection takes no more requests. The channel opens a new one.
    age: Duration,
    /// How long the last answer of such a connection may take.
    answer: Duration,
    /// How long requests under way may take once the server stops.
    stopping: Duration,
}

impl Limits {
    const fn with_turns_of(turn_timeout: Duration) -> Self {
        Self {
            connections: 4096,
            headers: SLOW,
            age: Duration::from_secs(600),
            answer: turn_timeout.saturating_add(Duration::from_secs(30)),
            stopping: Duration::from_secs(5),
        }
    }
}

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
pub(crate) async fn serve(listener: TcpListener, bot: Bot, sandbox: bool, stop: impl Future<Output = ()>) {
    let limits = Limits::with_turns_of(bot.turn_timeout);
    let router = Router::new()
        .route("/api/messages", post(messages))
        .route("/healthz", get(move |State(bot): State<Bot>| std::future::ready(health(&bot, sandbox))))
        .with_state(bot);
    serve_within(limits, listener, router, stop).await;
}

/// A client that sends nothing, sends slowly or reads nothing keeps a connection for a time, not for ever, and keeps
/// nobody from stopping the server.
async fn serve_within(limits: Limits, listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, slot) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        connections.spawn(connection(limits, stream, router.clone(), stopped.clone(), slot));
    }
    drop(listener);
    // Connections see that nothing will come after, whether or not this can still be sent.
    stopping.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.stopping, ended).await.is_err() {
        tracing::warn!("requests under way were cut off, because they took too long for a server that stops");
    }
}

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            // The client is gone, or the process has too many files open: the latter passes when connections end.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    limits: Limits,
    stream: TcpStream,
    router: Router,
    mut stopped: watch::Receiver<bool>,
    slot: Option<OwnedSemaphorePermit>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How it ended is the client's business: it went away, sent no HTTP, or was too slow.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.answer, connection).await;
    drop(slot);
}

/// A server that stops says so, and is sent no more requests.
fn health(bot: &Bot, sandbox: bool) -> Response {
    if bot.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "stopping"}))).into_response();
    }
    let health = if sandbox { json!({"status": "ok", "mode": "sandbox"}) } else { json!({"status": "ok"}) };
    Json(health).into_response()
}

async fn messages(State(bot): State<Bot>, headers: HeaderMap, body: Body) -> Response {
    match receive(&bot, &headers, body).await {
        Ok(Answer::Received) => StatusCode::OK.into_response(),
        Ok(Answer::TryAgain) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ok(Answer::Events(events)) => {
            ([(header::CONTENT_TYPE, ReplyEvents::CONTENT_TYPE)], Body::from_stream(events)).into_response()
        }
        Ok(Answer::Body(status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if body.is_null() { status.into_response() } else { (status, Json(body)).into_response() }
        }
        Err(refusal) => refusal,
    }
}

/// Headers first; the body is kept only for whoever has a good token.
async fn receive(bot: &Bot, headers: &HeaderMap, body: Body) -> Result<Answer, Response> {
    if bot.is_stopping() {
        // The channel sends it again, to a process that goes on.
        drain(body).await;
        return Ok(Answer::TryAgain);
    }
    let token = match bot.authenticator.authenticate(headers).await {
        Ok(token) => token,
        Err(error) => {
            drain(body).await;
            return Err(refuse(&error));
        }
    };
    tracing::info!(target: "hop", "channel token valid, signed with key {}", token.key_id());
    token.check_content(headers).map_err(|error| refuse(&error))?;
    let body = match timeout(SLOW, read(body, token.body_limit())).await {
        Ok(Some(body)) => body,
        // A sender that went away and sees no answer.
        Ok(None) => return Err(StatusCode::BAD_REQUEST.into_response()),
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

/// The body, or as much of it as shows that it is too large.
///
/// Each piece is copied out at once: it is a part of a buffer of the connection, which would stay as long as the piece,
/// and a client that sends single bytes would make the server keep thousands for each.
async fn read(body: Body, limit: usize) -> Option<Vec<u8>> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while bytes.len() <= limit {
        match chunks.next().await {
            Some(chunk) => bytes.extend_from_slice(&chunk.ok()?),
            None => break,
        }
    }
    Some(bytes)
}

/// Throws away a small body that nobody will read. An answer before its end closes the connection, and a client that is
/// still writing, or sends its next request on it, would see a broken connection instead of the refusal.
async fn drain(body: Body) {
    const ENOUGH: usize = 64 * 1024;
    let mut chunks = body.into_data_stream();
    let small = async {
        let mut read = 0;
        while read < ENOUGH {
            let Some(Ok(chunk)) = chunks.next().await else { break };
            read += chunk.len();
        }
    };
    let _ = timeout(Duration::from_millis(500), small).await;
}

/// Status and challenge, no word about which rule was broken.
fn refuse(error: &InboundError) -> Response {
    let mut response = error.status().into_response();
    if let Some(challenge) = error.www_authenticate() {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::oneshot,
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(30);

    async fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().route("/healthz", get(async || "ok"));
        let stopped = async {
            let _ = stopped.await;
        };
        (address, stop, tokio::spawn(serve_within(limits, listener, router, stopped)))
    }

    async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// What comes until the server closes the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server has not closed the connection");
        String::from_utf8_lossy(&answer).into_owned()
    }

    const LIMITS: Limits = Limits { connections: 8, headers: LONG, age: LONG, answer: LONG, stopping: LONG };
    const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn headers_that_never_end_do_not_keep_a_connection() {
        let (address, _stop, _server) = start(Limits { headers: SHORT, ..LIMITS }).await;
        for bytes in [&b""[..], b"GET /healthz HTTP/1.1\r\nhost: a\r\nx: "] {
            let started = Instant::now();
            rest(send(address, bytes).await).await;
            assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
        }
        assert!(rest(send(address, HEALTH).await).await.ends_with("ok"));
    }

    #[tokio::test]
    async fn connections_are_bounded_and_the_next_one_waits() {
        let (address, _stop, _server) = start(Limits { connections: 2, ..LIMITS }).await;
        let mut held = vec![send(address, b"GET").await, send(address, b"GET").await];
        let waiting = tokio::spawn(async move { rest(send(address, HEALTH).await).await });
        sleep(SHORT).await;
        assert!(!waiting.is_finished());
        held.pop();
        assert!(waiting.await.unwrap().ends_with("ok"));
    }

    #[tokio::test]
    async fn an_old_connection_ends_even_when_its_client_reads_nothing() {
        let (address, _stop, _server) = start(Limits { connections: 1, age: SHORT, answer: SHORT, ..LIMITS }).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        let many = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
        // Until nothing more goes in: the server cannot write, and so it reads no more either.
        while let Ok(Ok(())) = timeout(SHORT, deaf.write_all(&many)).await {}
        assert!(rest(send(address, HEALTH).await).await.ends_with("ok"));
        drop(deaf);
    }

    #[tokio::test]
    async fn whoever_sends_half_a_request_does_not_keep_the_server_from_stopping() {
        let (address, stop, server) = start(Limits { stopping: SHORT, ..LIMITS }).await;
        let _half = send(address, b"GET /healthz HTTP/1.1\r\nx: ").await;
        assert!(rest(send(address, HEALTH).await).await.ends_with("ok"));
        stop.send(()).unwrap();
        timeout(LONG / 2, server).await.expect("the server has not stopped").unwrap();
    }
}
