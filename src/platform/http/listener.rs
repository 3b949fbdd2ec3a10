//! The listener: accepts, serves HTTP/1.1 and HTTP/2 over TCP or TLS, and ends in order.
//!
//! # Invariants
//! - After [`Server::stop_accepting`], no new connection is accepted; requests in flight are finished
//!   until the deadline, then cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::base::problem::Problem;

/// How long a client may take for its headers or its TLS handshake.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A listening server.
#[derive(Debug)]
pub struct Server {
    /// Where it listens; the port is the real one when 0 was asked for.
    pub local_addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<GracefulShutdown>,
    connections: Arc<AtomicUsize>,
}

struct Connections<'a>(&'a AtomicUsize);

impl Drop for Connections<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
        let stop = CancellationToken::new();
        let connections = Arc::new(AtomicUsize::new(0));
        let accept = Accept {
            listener,
            tls: tls.map(TlsAcceptor::from),
            router,
            stop: stop.clone(),
            connections: Arc::clone(&connections),
        };
        Ok(Self { local_addr, stop, task: tokio::spawn(accept.run()), connections })
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops accepting; what is in flight goes on.
    pub fn stop_accepting(self) -> Finishing {
        self.stop.cancel();
        Finishing { task: self.task }
    }
}

/// A server that accepts nothing more.
#[derive(Debug)]
pub struct Finishing {
    task: JoinHandle<GracefulShutdown>,
}

impl Finishing {
    /// Waits for what is in flight for at most `patience`; true when nothing was cut.
    pub async fn finish(self, patience: Duration) -> bool {
        let finish = async {
            match self.task.await {
                Ok(graceful) => {
                    graceful.shutdown().await;
                    true
                }
                Err(_) => false,
            }
        };
        tokio::time::timeout(patience, finish).await.unwrap_or(false)
    }
}

struct Accept {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
    connections: Arc<AtomicUsize>,
}

impl Accept {
    async fn run(self) -> GracefulShutdown {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.serve(stream, peer, &graceful),
                Err(e) => {
                    // Out of file handles, or the client left between SYN and accept.
                    tracing::warn!(error = %e, "a connection was not accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
        graceful
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, graceful: &GracefulShutdown) {
        // Small answers go out at once.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let watcher = graceful.watcher();
        let connections = Arc::clone(&self.connections);
        connections.fetch_add(1, Ordering::Relaxed);
        let tls = self.tls.clone();
        tokio::spawn(async move {
            let _open = Connections(&connections);
            match tls {
                None => connection(stream, peer, router, watcher).await,
                Some(acceptor) => {
                    match tokio::time::timeout(HEADER_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, peer, router, watcher).await,
                        Ok(Err(e)) => tracing::debug!(error = %e, %peer, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                    }
                }
            }
        });
    }
}

async fn connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(64 * 1024);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(64 * 1024).max_concurrent_streams(128);
    let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(e) = watcher.watch(served).await {
        tracing::debug!(error = %e, %peer, "a connection ended early");
    }
}
