//! The system log: what Tenure said about itself, kept in `logs.db` for a number of days.
//!
//! # Invariants
//! - Keeping the log never slows down what it tells of: records come in batches from a bounded queue,
//!   and what does not fit is dropped and counted.
//! - "Purge Now" and the nightly purge are one code path, and both are audited.
//!
//! # Not here
//! Writing lines to stderr and the filter ([`crate::platform::telemetry`]); the audit log.

pub mod api;
pub mod jobs;
pub mod ops;
pub mod recorder;
pub mod store;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::time::Timestamp;

/// The levels, the worst first.
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// One entry of the system log.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Grows with time.
    pub id: String,
    /// When it was said.
    pub at: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The module that said it.
    pub target: String,
    /// What was said.
    pub message: String,
    /// Details.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// The request it was said for.
    pub request_id: Option<String>,
}

/// What a list is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Exactly this level.
    pub level: Option<String>,
    /// Text in message, target, fields or request id.
    pub q: Option<String>,
}
