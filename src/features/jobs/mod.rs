//! Jobs: background work as administrators see it, and what they may do to it by hand.
//!
//! # Invariants
//! - States and field names are BullMQ's, whichever queue runs underneath.
//! - Every change by hand is in the audit log, in the same transaction.
//!
//! # Not here
//! Making and running jobs is [`crate::platform::queue`]; what a job does is in the `jobs.rs` of its
//! feature.

pub mod api;
pub mod bulk;
pub mod ops;
pub mod queue;

use crate::features::audit::Writes;

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/jobs/{id}/retry", &["job.retried"]),
    Writes::of("POST /api/jobs/{id}/remove", &["job.removed"]),
    Writes::of("POST /api/jobs/{id}/promote", &["job.promoted"]),
    Writes::of("POST /api/jobs/bulk", &["job.bulk_started"]),
    Writes::of("bulk-jobs", &[]),
    Writes::of("POST /api/queue/pause", &["queue.paused"]),
    Writes::of("POST /api/queue/resume", &["queue.resumed"]),
];
