//! The system log: what Tenure says about itself, in `logs.db`.
//!
//! # Invariants
//! - Entries older than the retention go, younger ones stay; one that is exactly as old stays.
//! - "Purge Now" and the nightly purge are one code path ([`ops::purge`]): audited before they begin,
//!   in small batches between which other writers come in, and the space goes back to the disk. By a clock
//!   in doubt neither removes anything.
//! - Chatter never waits behind business writes, nor they behind it: it has a file of its own.

pub mod api;
pub mod jobs;
pub mod ops;
pub mod store;

use serde::Serialize;
use serde_json::Value;

use crate::base::time::Timestamp;
use crate::features::audit::Writes;

/// The levels, the worst first.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A stored record.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Place in the log.
    pub id: String,
    /// When it was stored.
    pub at: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module.
    pub target: String,
    /// The sentence.
    pub message: String,
    /// The rest.
    #[schema(value_type = Object)]
    pub fields: Value,
    /// The request it belongs to.
    pub request_id: Option<String>,
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/logs/purge", &["log.purged"]),
    Writes::of("log-retention", &["log.purged"]),
];
