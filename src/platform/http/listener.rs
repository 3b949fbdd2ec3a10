//! The listener: accepts, serves HTTP/1.1 and HTTP/2 over TCP or TLS, and ends in order.
//!
//! # Invariants
//! - After [`Server::stop_accepting`], no new connection is accepted; requests in flight are finished
//!   until the deadline, then cut.
//! - Whoever was connected before that is answered: the kernel completes connections that nobody has
//!   accepted yet, and a request may still be on its way.
//! - An answer that is given before its request was read whole reaches the client: closing a socket with unread
//!   bytes would reset it, so what still comes is thrown away for a while ([`LINGER`]).

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::base::problem::Problem;

/// How long a client may take for its headers or its TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that is connected when the end begins may take until its request begins.
const FIRST_BYTE: Duration = Duration::from_millis(500);
/// The most connections that are looked for in the kernel's queue at the end; it holds fewer.
const BACKLOG: u32 = 4096;

/// How long a connection lingers after an answer whose request was not read whole.
const LINGER: Duration = Duration::from_secs(5);

/// Set on a connection when a request of it was answered and not read whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A listening server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the port is the real one when 0 was asked for.
    pub local_addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    open: TaskTracker,
}

impl Server {
    /// Binds and begins to accept.
    pub async fn start(
        address: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        router: Router,
    ) -> Result<Self, Problem> {
        let listener = TcpListener::bind(address).await.map_err(|e| {
            Problem::refused(format!("HOST and PORT: cannot listen on {address}: {e}. Choose a free port."))
        })?;
        let local_addr = listener.local_addr().map_err(Problem::internal)?;
        let (stop, open) = (CancellationToken::new(), TaskTracker::new());
        let accept = Accept { tls: tls.map(TlsAcceptor::from), router, stop: stop.clone(), open: open.clone() };
        Ok(Self { local_addr, stop, task: tokio::spawn(accept.run(listener)), open })
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.open.len()
    }

    /// Stops accepting; what is in flight goes on.
    pub fn stop_accepting(self) -> Finishing {
        self.stop.cancel();
        Finishing { task: self.task, open: self.open }
    }
}

/// A server that accepts nothing more.
#[derive(Debug)]
pub struct Finishing {
    task: JoinHandle<()>,
    open: TaskTracker,
}

impl Finishing {
    /// Waits for what is in flight for at most `patience`; true when nothing was cut.
    pub async fn finish(self, patience: Duration) -> bool {
        let finish = async {
            let accepted = self.task.await.is_ok();
            self.open.close();
            self.open.wait().await;
            accepted
        };
        tokio::time::timeout(patience, finish).await.unwrap_or(false)
    }
}

struct Accept {
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
    open: TaskTracker,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer),
                Err(e) => {
                    // Out of file handles, or the client left between SYN and accept.
                    tracing::warn!(error = %e, "a connection was not accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
        if let Err(e) = self.serve_waiting(listener) {
            tracing::warn!(error = %e, "connections that waited at the end were not accepted");
        }
    }

    /// Takes the connections that the kernel has completed already, then closes the listener.
    fn serve_waiting(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.serve(TcpStream::from_std(stream)?, peer);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Small answers go out at once.
        let _ = stream.set_nodelay(true);
        let (router, tls, stop) = (self.router.clone(), self.tls.clone(), self.stop.clone());
        self.open.spawn(async move {
            match tls {
                None => connection(stream, peer, router, stop).await,
                Some(acceptor) => {
                    match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, peer, router, stop).await,
                        Ok(Err(e)) => tracing::debug!(error = %e, %peer, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                    }
                }
            }
        });
    }
}

async fn connection<S>(stream: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unread = Unread::default();
    let shared = unread.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(shared.clone());
        router.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 * 1024);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(64 * 1024).max_concurrent_streams(128);
    let heard = CancellationToken::new();
    let stream = Heard { stream, first: Some(heard.clone()), unread, linger: None, stop: stop.clone() };
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        // What has come already is read before the connection is told to end.
        biased;
        ended = served.as_mut() => ended,
        () = told_to_end(&stop, &heard) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, %peer, "a connection ended early");
    }
}

/// Ready when the server stops, and this connection has begun to speak or had its time for it: told
/// earlier, it would be closed with its first request unread.
async fn told_to_end(stop: &CancellationToken, heard: &CancellationToken) {
    stop.cancelled().await;
    // Silence is an answer too.
    let _ = tokio::time::timeout(FIRST_BYTE, heard.cancelled()).await;
}

/// A stream that tells when its first bytes have come, and lingers at its end if it has to.
struct Heard<S> {
    stream: S,
    first: Option<CancellationToken>,
    unread: Unread,
    /// Ready when it has lingered long enough, or the server stops.
    linger: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: CancellationToken,
}

impl<S: AsyncRead + Unpin> Heard<S> {
    /// Throws away what the client still sends, until it sees its answer and closes.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let stop = self.stop.clone();
        let linger = self.linger.get_or_insert_with(|| {
            Box::pin(async move {
                let _ = tokio::time::timeout(LINGER, stop.cancelled()).await;
            })
        });
        let mut bytes = [0; 16 * 1024];
        while linger.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut bytes);
            match std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(first) = self.first.take()
        {
            first.cancel();
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.unread.0.load(Ordering::Relaxed) {
            std::task::ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
