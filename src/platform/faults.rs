//! Named points where a test can make Tenure fail or die. Inert unless armed.
//!
//! The points of the store: `writer:before_commit` and `writer:after_commit`, in the writer of
//! `tenure.db`, for batches that changed something. After a commit, `error` leaves the change in place
//! and fails its callers, as if the answer was lost. `blobs:disk_full`, at each piece of a file that is
//! written: `error` is a disk that is full. `blobs:before_row` and `blobs:before_removal`, between a
//! file and its row, as one comes and as it goes.
//!
//! Armed through the `TENURE_FAULT` variable (`name=exit`, `name=error`), which `config` hands over,
//! or by a test in the same process.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::problem::Problem;

/// What happens at an armed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends at once, as by `kill -9`.
    Exit,
    /// The operation fails.
    Error,
}

/// The points of one process.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    armed: Mutex<HashMap<String, Fault>>,
}

impl Faults {
    /// Arms `point`.
    pub fn arm(&self, point: &str, fault: Fault) {
        self.lock().insert(point.to_owned(), fault);
        self.any.store(true, Ordering::Release);
    }

    /// Makes `point` inert again.
    pub fn disarm(&self, point: &str) {
        self.lock().remove(point);
    }

    /// Passes, unless the point is armed.
    pub fn hit(&self, point: &str) -> Result<(), Problem> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let fault = self.lock().get(point).copied();
        match fault {
            None => Ok(()),
            Some(Fault::Error) => Err(Problem::internal(format!("fault point {point}"))),
            Some(Fault::Exit) => std::process::abort(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Fault>> {
        self.armed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
