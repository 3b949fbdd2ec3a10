//! One action on all jobs that match a filter.
//!
//! # Invariants
//! - The number of jobs that match is the one that was seen, or nothing is begun.
//! - The action is one entry in the audit log, written when it is asked for.

pub mod api;
pub mod ops;
