//! Runs: executions of workflow versions, with every step and event they went through.
//!
//! # Invariants
//! - Only `running` can be stuck; who waits for a person or a timer is `waiting`.
//! - A change of a run, its events and its audit entries commit together.
//! - A connected system is called outside of any transaction, with a key that names run, visit and try.

pub mod api;
pub mod calls;
pub mod diagnose;
mod drive;
pub mod effects;
pub mod forms;
pub mod jobs;
pub mod ops;
pub(in crate::features::workflow) mod people;
pub mod repair;
pub mod signals;
pub mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::engine::{EndStatus, RunState};
use crate::base::id::{PersonId, RunId, WorkflowId};
use crate::base::time::Timestamp;

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Not begun.
    Pending,
    /// Tenure works on it.
    Running,
    /// It waits for a person, a timer or an outside event.
    Waiting,
    /// It went to an end.
    Completed,
    /// It failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Waiting, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// The status that follows from where a run is.
    pub fn of(state: &RunState) -> Self {
        match state.ended.as_ref().map(|e| e.status) {
            Some(EndStatus::Completed) => Self::Completed,
            Some(EndStatus::Failed) => Self::Failed,
            Some(EndStatus::Cancelled) => Self::Cancelled,
            None if state.tokens.is_empty() => Self::Pending,
            None if state.tokens.iter().any(|t| t.wait.as_ref().is_none_or(|w| w.is_work())) => Self::Running,
            None => Self::Waiting,
        }
    }

    /// Whether it will never change again.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The id.
    pub id: RunId,
    /// The version it follows.
    pub workflow_id: WorkflowId,
    /// How it stands.
    pub status: RunStatus,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    /// Who started it.
    pub started_by: Option<PersonId>,
    /// Whom it is about.
    pub subject_id: Option<PersonId>,
    /// Where it is.
    pub state: RunState,
    /// Counts its changes.
    pub revision: i64,
    /// Counts its events.
    pub events: u32,
    /// The run that it is part of.
    pub parent_run_id: Option<RunId>,
    /// How many runs it is inside of.
    pub depth: u32,
    /// Whether it only pretends: it calls no connected system and changes no person and nobody's access.
    pub mock: bool,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it last made progress.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a run begins with.
#[derive(Debug, Clone, Default)]
pub struct Beginning {
    /// Whom it is about; who starts it when absent.
    pub subject: Option<PersonId>,
    /// Values of variables.
    pub input: Map<String, Value>,
    /// Whether it only pretends.
    pub mock: bool,
}

/// The run that another one is part of.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// Who started it.
    pub started_by: Option<PersonId>,
    /// How many runs it is inside of.
    pub depth: u32,
    /// Whether it only pretends; what is inside of it does, too.
    pub mock: bool,
}

/// Whether a run is stuck: older than the timeout, not exactly as old.
pub fn is_stuck(status: RunStatus, updated_at: Timestamp, now: Timestamp, timeout_minutes: u32) -> bool {
    let timeout = std::time::Duration::from_secs(60 * u64::from(timeout_minutes));
    status == RunStatus::Running && now.since(updated_at) > timeout
}

/// The reason a stuck run fails with.
pub fn stuck_reason(timeout_minutes: u32) -> String {
    format!("Run timed out (no progress for {timeout_minutes} minutes)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_timeout_is_not_yet_stuck() {
        let at = Timestamp::from_millis;
        let minutes = 30 * 60_000;
        assert!(!is_stuck(RunStatus::Running, at(0), at(minutes), 30));
        assert!(is_stuck(RunStatus::Running, at(0), at(minutes + 1), 30));
        assert!(!is_stuck(RunStatus::Waiting, at(0), at(minutes * 10), 30));
        assert_eq!(stuck_reason(45), "Run timed out (no progress for 45 minutes)");
    }
}
