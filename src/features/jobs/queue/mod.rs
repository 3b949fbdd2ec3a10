//! The queue as a whole: how much it keeps, and holding it back.
//!
//! # Invariants
//! - Holding the queue back and letting it go on are audited before they are done: the queue is no part
//!   of the business database.

pub mod api;
pub mod ops;

use serde::Serialize;

/// What carries the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueBackend {
    /// `queue.db`.
    Embedded,
    /// BullMQ's structures in Redis.
    Redis,
}
