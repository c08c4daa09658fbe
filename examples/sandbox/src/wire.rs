//! Sockets: plain or TLS on loopback, connections that can really be cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections accepted and not yet served.
const BACKLOG: usize = 1024;

/// Cuts connections: one, or all of a listener.
#[derive(Debug, Clone)]
pub(crate) struct Cut(Arc<watch::Sender<bool>>);

impl Cut {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Closes the connection at once, whatever it is doing.
    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }

    /// The future's output, or `None` when the cut comes first.
    async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut cut = self.0.subscribe();
        tokio::select! {
            output = work => Some(output),
            _ = cut.wait_for(|cut| *cut) => None,
        }
    }
}

/// Accepts on background tasks, so that a slow TLS handshake holds up nobody.
#[derive(Debug)]
pub(crate) struct Door {
    ready: mpsc::Receiver<(Io, SocketAddr)>,
    address: SocketAddr,
}

impl Door {
    /// Opens these listeners; `all` later cuts every connection that came through. The tasks hold the ports.
    pub(crate) fn open(
        listeners: Vec<TcpListener>,
        tls: Option<&TlsAcceptor>,
        all: &Cut,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (sender, ready) = mpsc::channel(BACKLOG);
        let address = listeners.first().ok_or_else(|| io::Error::other("no listener"))?.local_addr()?;
        let tasks = listeners
            .into_iter()
            .map(|listener| tokio::spawn(accept(listener, tls.cloned(), all.clone(), sender.clone())))
            .collect();
        Ok((Self { ready, address }, tasks))
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, all: Cut, ready: mpsc::Sender<(Io, SocketAddr)>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (tls, all, ready) = (tls.clone(), all.clone(), ready.clone());
        let handshake = async move {
            let stream = match tls {
                None => Stream::Plain(stream),
                Some(tls) => match all.unless(tls.accept(stream)).await {
                    Some(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    // The client does not trust the CA, does not speak TLS, or the sandbox stopped.
                    _ => return,
                },
            };
            let _ = ready.send((Io::new(stream, &all), peer)).await;
        };
        tokio::spawn(handshake);
    }
}

impl Listener for Door {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One connection that ends when its own cut or its listener's is made.
pub(crate) struct Io {
    stream: Stream,
    closed: Closed,
    is_closed: bool,
    cut: Cut,
}

impl Io {
    fn new(stream: Stream, all: &Cut) -> Self {
        let cut = Cut::new();
        let (mut own, mut all) = (cut.0.subscribe(), all.0.subscribe());
        let closed = Box::pin(async move {
            tokio::select! {
                _ = own.wait_for(|cut| *cut) => (),
                _ = all.wait_for(|cut| *cut) => (),
            }
        });
        Self { stream, closed, is_closed: false, cut }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.is_closed && self.closed.as_mut().poll(context).is_ready() {
            self.is_closed = true;
        }
        if self.is_closed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        };
        // A peer that is gone already is as good as one that was told.
        let _ = ready!(done);
        Poll::Ready(Ok(()))
    }
}

/// Lets a handler cut the connection it answers on.
#[derive(Debug, Clone)]
pub(crate) struct Connection(pub(crate) Cut);

impl Connected<IncomingStream<'_, Door>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(stream.io().cut.clone())
    }
}
