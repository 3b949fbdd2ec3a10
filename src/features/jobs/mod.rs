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
