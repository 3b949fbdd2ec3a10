//! The port behind which a queue stands: it keeps order and time between attempts, nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use super::ledger::Ticket;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// An answer of the queue.
pub type QueueFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// What the queue holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueueCounts {
    /// Due, not started.
    pub waiting: u64,
    /// Between two attempts.
    pub delayed: u64,
    /// Running.
    pub active: u64,
}

/// A job that the queue holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The id it knows it by.
    pub id: String,
    /// When it lets it start; `None` when it runs or may start at once.
    pub not_before: Option<Timestamp>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Attempts that were cut at the deadline and wait again, uncounted.
    pub released: u64,
}

/// Whether a part works, and what is wrong if it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// It works.
    pub ok: bool,
    /// In words for an administrator; holds no secret.
    pub detail: Option<String>,
}

impl Condition {
    /// It works.
    pub fn ok() -> Self {
        Self { ok: true, detail: None }
    }

    /// It does not.
    pub fn down(detail: impl Into<String>) -> Self {
        Self { ok: false, detail: Some(detail.into()) }
    }
}

/// What keeps a part from working. It shows once it has lasted: a pool that is empty for a moment
/// must not take the node out of a load balancer.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<(Timestamp, String)>>);

impl Trouble {
    const SHOWS_AFTER: Duration = Duration::from_secs(10);

    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    pub(super) fn note(&self, now: Timestamp, what: String) {
        let mut trouble = self.lock();
        let since = trouble.as_ref().map_or(now, |(since, _)| *since);
        *trouble = Some((since, what));
    }

    pub(super) fn condition(&self, now: Timestamp) -> Condition {
        match &*self.lock() {
            Some((since, what)) if now.since(*since) >= Self::SHOWS_AFTER => Condition::down(what),
            _ => Condition::ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Timestamp, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue with its worker.
///
/// Everything it knows can be told to it again by the ledger, so that it may forget.
pub trait Queue: Send + Sync + 'static {
    /// Takes jobs in. One that is there already gets the new instant; one whose attempt is over in the
    /// ledger and not here yet gets it as soon as it is.
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()>;

    /// Forgets a job that does not run. False when it runs, or is not there.
    fn remove(&self, id: JobId) -> QueueFuture<'_, bool>;

    /// Every job it holds, running ones included.
    fn list_known(&self) -> QueueFuture<'_, Vec<Known>>;

    /// Whether a job that has ended may be waiting here because somebody asked for another attempt.
    fn may_reopen(&self) -> bool {
        false
    }

    /// Rung when the queue may have forgotten jobs; `None` when that cannot happen while it runs.
    fn forgot(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Holds all jobs back, or lets them go on. What runs is not touched.
    fn pause(&self, paused: bool) -> QueueFuture<'_, ()>;

    /// Whether jobs are held back.
    fn is_paused(&self) -> QueueFuture<'_, bool>;

    /// How many jobs are in which state.
    fn counts(&self) -> QueueFuture<'_, QueueCounts>;

    /// Starts nothing more, waits for what runs until `deadline`, releases the rest uncounted.
    fn drain(&self, deadline: Timestamp) -> QueueFuture<'_, Drained>;

    /// Whether the worker works.
    fn condition(&self) -> Condition;
}
