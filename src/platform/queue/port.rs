//! The port behind which a queue stands: it keeps order and time between attempts, nothing else.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

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

/// A queue with its worker.
///
/// Everything it knows can be told to it again by the ledger, so that it may forget.
pub trait Queue: Send + Sync + 'static {
    /// Takes jobs in. One that is there already and does not run gets the new instant.
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()>;

    /// Forgets a job that does not run. False when it runs, or is not there.
    fn remove(&self, id: JobId) -> QueueFuture<'_, bool>;

    /// Every job it holds, running ones included.
    fn list_known(&self) -> QueueFuture<'_, Vec<JobId>>;

    /// How many jobs are in which state.
    fn counts(&self) -> QueueFuture<'_, QueueCounts>;

    /// Starts nothing more, waits for what runs until `deadline`, releases the rest uncounted.
    fn drain(&self, deadline: Timestamp) -> QueueFuture<'_, Drained>;

    /// Whether the worker works.
    fn condition(&self) -> Condition;
}
