//! The body of a request as it comes in: for how long it is waited for, and what becomes of the rest.
//!
//! # Invariants
//! - A body that has not come whole within its time ends the request with 408, whatever the handler
//!   makes of it; the connection is closed.
//! - An answer that is given before the body was read reaches a client that still sends: up to
//!   [`MAX_DRAIN`] bytes are read and thrown away first. Closing a socket with unread bytes would
//!   reset it, and the client would see that instead of the answer. What is still unread then is thrown away
//!   by the listener, after the answer.
//! - Once the process is to end, a body that pauses for [`PAUSE`] has not come: whoever stops sending does not
//!   hold the end up.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;

/// How long a body may pause once the process is to end.
const PAUSE: Duration = Duration::from_secs(2);
/// The most bytes that are thrown away to let a client read its answer.
const MAX_DRAIN: usize = 16 * 1024 * 1024;
/// The longest time that is spent on it.
const DRAIN_TIME: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is left of a body once its handler has answered.
pub(super) struct Rest {
    shared: Arc<Shared>,
}

struct Shared {
    body: Mutex<Body>,
    begun: AtomicBool,
    ended: AtomicBool,
    late: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Timed {
    shared: Arc<Shared>,
    /// Made at the first look: most requests have no body and need no timer.
    timer: Option<Timer>,
    patience: Duration,
    stopping: CancellationToken,
    /// Ready when the process is to end and nothing came for a while; made anew after each piece.
    pause: Option<Timer>,
}

/// Gives a body `patience` to come whole.
pub(super) fn timed(body: Body, patience: Duration, stopping: CancellationToken) -> (Body, Rest) {
    let shared = Arc::new(Shared {
        body: Mutex::new(body),
        begun: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        late: AtomicBool::new(false),
    });
    let timed = Timed { shared: Arc::clone(&shared), timer: None, patience, stopping, pause: None };
    (Body::new(timed), Rest { shared })
}

/// Ready after `patience`; monotonic waiting time, not a rule's time.
fn timer(patience: Duration) -> Timer {
    Box::pin(async move {
        let _ = tokio::time::timeout(patience, std::future::pending::<()>()).await;
    })
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let shared = Arc::clone(&self.shared);
        shared.begun.store(true, Ordering::Relaxed);
        if let Poll::Ready(frame) = Pin::new(&mut *shared.lock()).poll_frame(cx) {
            shared.ended.store(!matches!(frame, Some(Ok(_))), Ordering::Relaxed);
            self.pause = None;
            return Poll::Ready(frame.map(|f| f.map_err(Into::into)));
        }
        let patience = self.patience;
        let over = self.timer.get_or_insert_with(|| timer(patience)).as_mut().poll(cx).is_ready();
        let stopping = self.stopping.clone();
        let pause = self.pause.get_or_insert_with(|| {
            Box::pin(async move {
                stopping.cancelled().await;
                timer(PAUSE).await;
            })
        });
        if pause.as_mut().poll(cx).is_pending() && !over {
            return Poll::Pending;
        }
        shared.late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err("the body did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.shared.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.lock().size_hint()
    }
}

impl Rest {
    /// Whether the time was over before the body had come.
    pub(super) fn is_late(&self) -> bool {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// Reads what the client still sends and throws it away; true when nothing is left.
    ///
    /// A client that `waits` to be asked for its body before it sends it is not asked.
    pub(super) async fn drain(self, waits: bool) -> bool {
        if self.shared.ended.load(Ordering::Relaxed) || self.shared.lock().is_end_stream() {
            return true;
        }
        if self.is_late() || (waits && !self.shared.begun.load(Ordering::Relaxed)) {
            return false;
        }
        let mut read = 0;
        let rest = std::future::poll_fn(|cx| {
            loop {
                match std::task::ready!(Pin::new(&mut *self.shared.lock()).poll_frame(cx)) {
                    None => return Poll::Ready(true),
                    Some(Err(_)) => return Poll::Ready(false),
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                }
                if read > MAX_DRAIN {
                    return Poll::Ready(false);
                }
            }
        });
        tokio::time::timeout(DRAIN_TIME, rest).await.unwrap_or(false)
    }
}
