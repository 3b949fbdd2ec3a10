//! The local admin socket: the same routes over a Unix socket, for commands beside a running server.
//!
//! # Invariants
//! - Only the user that runs the server, and root, are served; the kernel says who is there.
//! - Whoever comes this way is `cli:<uid>` in the audit log.
//! - A request over TCP cannot pretend to come this way: [`LocalPeer`] is set here alone.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::base::problem::Problem;

/// The name of the socket in the data directory.
const NAME: &str = "tenure.sock";

/// Marks a request as made at the machine, by this user.
#[derive(Debug, Clone, Copy)]
pub struct LocalPeer(pub u32);

/// A listening admin socket; the file goes with it.
#[derive(Debug)]
pub struct LocalServer {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<GracefulShutdown>,
}

impl LocalServer {
    /// Listens in `data_dir`, which this process has claimed: a socket that is there is a leftover.
    pub fn start(data_dir: &Path, router: Router) -> Result<Self, Problem> {
        let path = data_dir.join(NAME);
        let fault = |e: std::io::Error| {
            Problem::refused(format!("DATA_DIR: {} cannot be made: {e}. Commands need it.", path.display()))
        };
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fault(e)),
            _ => {}
        }
        let folder = File::open(data_dir).map_err(fault)?;
        let owner = folder.metadata().map_err(fault)?.uid();
        let listener = UnixListener::bind(short(&folder, data_dir)).map_err(fault)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fault)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(listener, owner, router, stop.clone()));
        Ok(Self { path, stop, task })
    }

    /// Accepts nothing more and gives what is in flight until `patience` is over.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        let finish = async {
            if let Ok(graceful) = self.task.await {
                graceful.shutdown().await;
            }
        };
        // What hangs is cut with the process.
        let _ = tokio::time::timeout(patience, finish).await;
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The longest path of a socket that the kernel takes, in bytes.
const LONGEST: usize = 107;

/// A path to the socket that the kernel takes however deep the folder lies. An empty root has no
/// `/proc`, so that the way through it is for long paths only.
fn short(folder: &File, data_dir: &Path) -> PathBuf {
    let plain = data_dir.join(NAME);
    if plain.as_os_str().len() <= LONGEST {
        return plain;
    }
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()))
}

async fn accept(listener: UnixListener, owner: u32, router: Router, stop: CancellationToken) -> GracefulShutdown {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return graceful,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => serve(stream, owner, router.clone(), &graceful),
            Err(e) => {
                tracing::warn!(error = %e, "a local connection was not accepted");
                tokio::task::yield_now().await;
            }
        }
    }
}

fn serve(stream: UnixStream, owner: u32, router: Router, graceful: &GracefulShutdown) {
    let uid = match stream.peer_cred() {
        Ok(peer) if peer.uid() == owner || peer.uid() == 0 => peer.uid(),
        other => {
            tracing::warn!(peer = ?other, "a local connection of another user was refused");
            return;
        }
    };
    let watcher = graceful.watcher();
    tokio::spawn(async move {
        let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(LocalPeer(uid));
            router.clone().call(request)
        });
        let builder = Builder::new(TokioExecutor::new());
        let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(e) = watcher.watch(served).await {
            tracing::debug!(error = %e, "a local connection ended early");
        }
    });
}

/// Connects to the server that runs on `data_dir`; `None` when none does.
pub async fn connect(data_dir: &Path) -> Result<Option<UnixStream>, Problem> {
    use std::io::ErrorKind as Kind;
    let fault = |e: std::io::Error| {
        Problem::refused(format!("DATA_DIR: {} cannot be used: {e}.", data_dir.join(NAME).display()))
    };
    let folder = match File::open(data_dir) {
        Ok(folder) => folder,
        Err(e) if e.kind() == Kind::NotFound => return Ok(None),
        Err(e) => return Err(fault(e)),
    };
    match UnixStream::connect(short(&folder, data_dir)).await {
        Ok(stream) => Ok(Some(stream)),
        // A leftover of a process that was killed.
        Err(e) if matches!(e.kind(), Kind::NotFound | Kind::ConnectionRefused) => Ok(None),
        Err(e) => Err(fault(e)),
    }
}
