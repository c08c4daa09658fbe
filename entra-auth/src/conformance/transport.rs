use std::{
    error::Error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

use crate::{Body, Deadline, HttpTransport, TransportErrorKind};

/// Checks the contract of [`HttpTransport`] on an implementation, against servers that the suite starts on loopback.
/// Takes some seconds at most.
///
/// # Panics
///
/// At the first broken promise, with the name of the promise.
pub async fn http_transport(transport: Arc<dyn HttpTransport>) {
    let transport = &*transport;
    request_and_answer_pass_unchanged(transport).await;
    any_status_is_an_answer(transport).await;
    redirects_and_cookies_are_left_alone(transport).await;
    refused_connections_are_not_sent(transport).await;
    deadlines_end_head_and_body(transport).await;
    broken_answers_are_interrupted(transport).await;
    dropping_cancels(transport).await;
    errors_show_no_query(transport).await;
}

fn get(address: &str) -> Request<Body> {
    Request::get(address).body(Body::empty()).expect("a request")
}

async fn request_and_answer_pass_unchanged(transport: &dyn HttpTransport) {
    let server = Server::start(|mut socket| async move {
        let request = read_request(&mut socket).await;
        let lower = request.to_ascii_lowercase();
        assert!(request.starts_with("POST /a%2Fb/%3F?x=%26 HTTP/1.1\r\n"), "path and query pass as given");
        assert!(lower.contains("\r\nx-own: v\r\n"), "headers pass");
        assert!(request.ends_with("\r\n\r\nhello"), "the body passes");
        let answer = "HTTP/1.1 201 Created\r\nx-a: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        write(&mut socket, answer).await;
    })
    .await;
    let request = Request::post(format!("{}/a%2Fb/%3F?x=%26", server.url))
        .header("x-own", "v")
        .header("content-length", "5")
        .body(Body::from("hello".to_owned()))
        .expect("a request");
    let response = transport.send(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers().get_all("x-a").iter().count(), 2, "repeated headers are kept");
    assert_eq!(response.into_body().collect(100).await.expect("the body"), "abcde", "chunks are joined");
}

async fn any_status_is_an_answer(transport: &dyn HttpTransport) {
    for status in [200, 304, 401, 404, 429, 500, 503] {
        let server = Server::answering(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")).await;
        let response = transport.send(get(&server.url)).await.expect("any status is Ok");
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(server.connections(), 1, "status {status} is not retried");
    }
}

async fn redirects_and_cookies_are_left_alone(transport: &dyn HttpTransport) {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    for status in [301, 302, 303, 307, 308] {
        let url = &elsewhere.url;
        let head = format!("HTTP/1.1 {status} X\r\nlocation: {url}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n");
        let server = Server::answering(head).await;
        let request = Request::post(&server.url).body(Body::from("secret".to_owned())).expect("a request");
        let response = transport.send(request).await.expect("a redirect is an answer");
        assert_eq!(response.status().as_u16(), status, "redirects are not followed");
    }
    assert_eq!(elsewhere.connections(), 0, "a redirect is not followed");
    let server = Server::start(|mut socket| async move {
        let request = read_request(&mut socket).await.to_ascii_lowercase();
        assert!(!request.contains("\r\ncookie:"), "cookies are not kept");
        write(
            &mut socket,
            "HTTP/1.1 200 OK\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .await;
    })
    .await;
    for _ in 0..2 {
        transport.send(get(&server.url)).await.expect("an answer");
    }
    server.check();
}

async fn refused_connections_are_not_sent(transport: &dyn HttpTransport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let error = transport.send(get(&address)).await.expect_err("nobody listens");
    assert_eq!(error.kind(), TransportErrorKind::NotSent, "a refused connection sent nothing");
}

async fn deadlines_end_head_and_body(transport: &dyn HttpTransport) {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"] {
        let server = Server::start(move |mut socket| async move {
            read_request(&mut socket).await;
            write(&mut socket, answer).await;
            pending::<()>().await;
        })
        .await;
        let mut request = get(&server.url);
        request.extensions_mut().insert(Deadline(Instant::now() + Duration::from_millis(200)));
        let exchange = async {
            let response = transport.send(request).await?;
            response.into_body().collect(100).await
        };
        let bounded = tokio::time::timeout(Duration::from_secs(10), exchange).await;
        let error = bounded.expect("a deadline ends the exchange").expect_err("the answer is incomplete");
        assert_eq!(error.kind(), TransportErrorKind::Timeout, "a deadline is a time-out");
    }
}

async fn broken_answers_are_interrupted(transport: &dyn HttpTransport) {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let server = Server::answering(answer.to_owned()).await;
        let response = transport.send(get(&server.url)).await.expect("a head arrived");
        let error = response.into_body().collect(100).await.expect_err("a cut body is no body");
        assert_eq!(error.kind(), TransportErrorKind::Interrupted, "a cut body is an interruption");
    }
    let server = Server::start(|mut socket| async move {
        read_request(&mut socket).await;
    })
    .await;
    let request = Request::post(&server.url).body(Body::from("x".to_owned())).expect("a request");
    let error = transport.send(request).await.expect_err("the connection was closed without an answer");
    assert_ne!(error.kind(), TransportErrorKind::NotSent, "bytes had left");
    assert_eq!(server.connections(), 1, "a request that was sent is not repeated");
}

async fn dropping_cancels(transport: &dyn HttpTransport) {
    let (closed, seen) = oneshot::channel();
    let mut closed = Some(closed);
    let server = Server::start(move |mut socket| {
        let closed = closed.take();
        async move {
            read_request(&mut socket).await;
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            closed.map(|closed| closed.send(()));
        }
    })
    .await;
    let dropped = tokio::time::timeout(Duration::from_millis(200), transport.send(get(&server.url))).await;
    assert!(dropped.is_err(), "the server does not answer");
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    assert!(matches!(seen, Ok(Ok(()))), "dropping the future closes the connection");
}

async fn errors_show_no_query(transport: &dyn HttpTransport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}/?code=marker", listener.local_addr().expect("an address"));
    drop(listener);
    let error = transport.send(get(&address)).await.expect_err("nobody listens");
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        shown.push_str(&error.to_string());
        source = error.source();
    }
    assert!(!shown.contains("marker"), "an error shows a query");
}

struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
    failed: Arc<AtomicUsize>,
}

impl Server {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        mut serve: impl FnMut(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (connections, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, failures) = (Arc::clone(&connections), Arc::clone(&failed));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (serving, failures) = (serve(socket), Arc::clone(&failures));
                tokio::spawn(async move {
                    if tokio::spawn(serving).await.is_err_and(|error| error.is_panic()) {
                        failures.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { url, connections, task, failed }
    }

    async fn answering(answer: String) -> Self {
        Self::start(move |mut socket| {
            let answer = answer.clone();
            async move {
                read_request(&mut socket).await;
                write(&mut socket, &answer).await;
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn check(&self) {
        assert_eq!(self.failed.load(Ordering::SeqCst), 0, "a request was not what it should be; see the panic above");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request: its head, and as much body as the head announces.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return text;
            }
        }
        match socket.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(chunk.get(..read).unwrap_or_default()),
        }
    }
}

async fn write(socket: &mut TcpStream, text: &str) {
    // A client that has gone away is part of some cases.
    let _ = socket.write_all(text.as_bytes()).await;
    let _ = socket.flush().await;
}
