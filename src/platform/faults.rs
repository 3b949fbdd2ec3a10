//! Named points where a test can make Tenure fail or die. Inert unless armed.
//!
//! [`POINTS`] says which there are. Armed through the `TENURE_FAULT` variable (`name=exit`, `name=error`),
//! which `config` hands over and which refuses other names, or by a test in the same process.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::base::problem::Problem;

/// Every point.
pub const POINTS: [&str; 8] = [
    // In the writer of `tenure.db`, for batches that changed something. After a commit, `error` leaves the
    // change in place and fails its callers, as if the answer was lost.
    "writer:before_commit",
    "writer:after_commit",
    // At each piece of a file that is written: `error` is a disk that is full.
    "blobs:disk_full",
    // Between a file and its row, as one comes and as it goes.
    "blobs:before_row",
    "blobs:before_removal",
    // Between a job that is marked as handed over and the queue that is to get it.
    RELAY_BEFORE_HANDOVER,
    // Between a job that the queue gave out and the attempt that the ledger is to start.
    QUEUE_BEFORE_ATTEMPT,
    // Between an attempt whose end is in the ledger and the queue that is to hear of it; `error` keeps it
    // from hearing.
    QUEUE_AFTER_ATTEMPT,
];

/// See [`POINTS`].
pub const RELAY_BEFORE_HANDOVER: &str = "relay:before_handover";
/// See [`POINTS`].
pub const QUEUE_BEFORE_ATTEMPT: &str = "queue:before_attempt";
/// See [`POINTS`].
pub const QUEUE_AFTER_ATTEMPT: &str = "queue:after_attempt";

/// What happens at an armed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends at once, as by `kill -9`.
    Exit,
    /// The operation fails.
    Error,
    /// The operation waits until the point is disarmed; for tests in the same process, and only where
    /// [`Faults::pass`] stands.
    Hold,
}

/// The points of one process.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    armed: Mutex<HashMap<String, Fault>>,
    disarmed: Notify,
}

impl Faults {
    /// Arms `point`.
    pub fn arm(&self, point: &str, fault: Fault) {
        debug_assert!(POINTS.contains(&point), "no fault point is called {point}");
        self.lock().insert(point.to_owned(), fault);
        self.any.store(true, Ordering::Release);
    }

    /// Makes `point` inert again.
    pub fn disarm(&self, point: &str) {
        self.lock().remove(point);
        self.disarmed.notify_waiters();
    }

    /// Passes, unless the point is armed.
    pub fn hit(&self, point: &str) -> Result<(), Problem> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let fault = self.lock().get(point).copied();
        match fault {
            None | Some(Fault::Hold) => Ok(()),
            Some(Fault::Error) => Err(Problem::internal(format!("fault point {point}"))),
            Some(Fault::Exit) => std::process::abort(),
        }
    }

    /// Like [`Faults::hit`], after the point is no longer held.
    pub async fn pass(&self, point: &str) -> Result<(), Problem> {
        loop {
            let disarmed = self.disarmed.notified();
            tokio::pin!(disarmed);
            disarmed.as_mut().enable();
            if !self.any.load(Ordering::Acquire) || self.lock().get(point) != Some(&Fault::Hold) {
                return self.hit(point);
            }
            disarmed.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Fault>> {
        self.armed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
