//! Health: whether Tenure can do its work, and what its parts look like.
//!
//! # Invariants
//! - `database`, `redis`, `worker` and `scheduler` decide the status; side checks never do.
//! - A check takes at most 2 s; what hangs is down. Results are shared for 1 s.

pub mod api;
pub mod checks;
pub mod metrics;

use std::collections::BTreeMap;

use serde::Serialize;

/// The whole answer.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`, or `degraded` when a deciding check is down.
    pub status: Overall,
    /// Tenure's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime: f64,
    /// The checks by name.
    pub checks: BTreeMap<&'static str, Check>,
}

/// Whether Tenure can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Everything that decides is well.
    Ok,
    /// Something that decides is down.
    Degraded,
}

/// How one part is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// How it is.
    pub status: CheckStatus,
    /// What a round trip took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What stands behind the name: `embedded` or `redis`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'static str>,
    /// What is wrong, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How one part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Well.
    Ok,
    /// Works, and somebody should look.
    Warning,
    /// Does not work.
    Down,
}

impl Check {
    /// A check that passed or failed, with a short reason.
    pub fn of(fault: Option<String>) -> Self {
        let status = if fault.is_some() { CheckStatus::Down } else { CheckStatus::Ok };
        Self { status, latency_ms: None, backend: None, detail: fault }
    }
}

/// The checks that decide the status.
const DECIDING: [&str; 4] = ["database", "redis", "worker", "scheduler"];

/// The status that follows from the checks.
pub fn overall(checks: &BTreeMap<&'static str, Check>) -> Overall {
    let down = DECIDING
        .iter()
        .any(|name| checks.get(name).is_some_and(|c| c.status == CheckStatus::Down));
    if down { Overall::Degraded } else { Overall::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_check_leaves_the_status_alone() {
        let down = Check::of(Some("no space".to_owned()));
        let mut checks = BTreeMap::from([("database", Check::of(None)), ("disk", down.clone())]);
        assert_eq!(overall(&checks), Overall::Ok);
        checks.insert("worker", down);
        assert_eq!(overall(&checks), Overall::Degraded);
    }
}
