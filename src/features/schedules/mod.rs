//! Schedules: when Tenure's own jobs run, and when workflows start by themselves.
//!
//! # Invariants
//! - A schedule follows the workflow, not one version of it: the active version is started.
//! - A run that a schedule starts is asked for by who made the schedule, so that they do not decide it.
//! - Tenure's own schedules can be run now, never paused or changed: access must end on time.
//!
//! # Not here
//! Which slots fire, once each, is [`crate::platform::queue::schedule`]; which instants an expression
//! names is [`crate::base::cron`].

pub mod api;
pub mod jobs;
pub mod ops;
mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::cron::{Schedule, zone_named};
use crate::base::id::{JobId, PersonId, RunId, ScheduleId, WorkflowId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::features::audit::Writes;
use crate::features::workflow;
use crate::platform::queue::schedule::MissedRuns;

/// What happens when the run before is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// No run is started.
    #[default]
    Skip,
    /// It is started when the run before is over. At most one waits; more are skipped.
    Queue,
    /// It is started beside the other.
    Allow,
}

impl Overlap {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
        }
    }

    /// The policy with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Skip, Self::Queue, Self::Allow].into_iter().find(|o| o.as_str() == text)
    }
}

/// What came of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Triggered {
    /// A run.
    Started,
    /// Nothing: the run before was not over.
    Skipped,
    /// It waits for the run before.
    Queued,
}

impl Triggered {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Skipped => "skipped",
            Self::Queued => "queued",
        }
    }

    /// The result with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Started, Self::Skipped, Self::Queued].into_iter().find(|t| t.as_str() == text)
    }
}

/// A schedule that starts a workflow.
#[derive(Debug, Clone)]
pub struct WorkflowSchedule {
    /// The id.
    pub id: ScheduleId,
    /// How it is called.
    pub name: String,
    /// The workflow, whatever version is active.
    pub workflow_key: String,
    /// Values of variables.
    pub input: Map<String, Value>,
    /// Whom the runs are about; who made the schedule when absent.
    pub subject_id: Option<PersonId>,
    /// What happens when the run before is not over.
    pub overlap: Overlap,
    /// Who made it; nobody when it was a command on the machine.
    pub created_by: Option<PersonId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The job that waits for the run before.
    pub waiting_job: Option<JobId>,
    /// What came of the last slot.
    pub last_result: Option<Triggered>,
    /// The run that was started last.
    pub last_run_id: Option<RunId>,
}

/// What a person says of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleDraft {
    /// How it is called.
    pub name: String,
    /// Any version of the workflow.
    pub workflow_id: WorkflowId,
    /// When.
    pub schedule: Schedule,
    /// Values of variables.
    pub input: Map<String, Value>,
    /// Whom the runs are about.
    pub subject_id: Option<PersonId>,
    /// What happens when the run before is not over.
    pub overlap: Overlap,
    /// What becomes of slots that passed while Tenure was down.
    pub missed: MissedRuns,
}

/// Reads expression and zone; every fault is told, and an expression that never comes is one.
pub fn read_when(cron: &str, timezone: &str, now: Timestamp) -> Result<Schedule, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, got: &str, message: String| {
        faults.push(FieldError { field: field.to_owned(), message: format!("got {got:?}; {message}") });
    };
    let zone = zone_named(timezone);
    if zone.is_err() {
        let expected = "expected the IANA name of a time zone such as Europe/Berlin";
        fault("timezone", timezone, expected.to_owned());
    }
    let schedule = Schedule::in_zone(cron, zone.unwrap_or(jiff::tz::TimeZone::UTC));
    match &schedule {
        Err(e) => fault("cron", cron, e.to_string()),
        Ok(schedule) if schedule.next_after(now).is_none() => {
            fault("cron", cron, "there is no such day; expected an expression that comes true".to_owned());
        }
        Ok(_) => {}
    }
    Problem::from_fields(faults)?;
    schedule.map_err(|e| Problem::field("cron", e.to_string()))
}

/// The next `count` slots after `now`.
pub fn upcoming(schedule: &Schedule, now: Timestamp, count: usize) -> Vec<Timestamp> {
    std::iter::successors(schedule.next_after(now), |slot| schedule.next_after(*slot)).take(count).collect()
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/schedules", &["schedule.created"]),
    Writes::of("PUT /api/schedules/{id}", &["schedule.updated"]),
    Writes::of("DELETE /api/schedules/{id}", &["schedule.deleted"]),
    Writes::of("POST /api/schedules/{id}/pause", &["schedule.paused"]),
    Writes::of("POST /api/schedules/{id}/resume", &["schedule.resumed"]),
    Writes::of("POST /api/schedules/{id}/run", &["schedule.run"]),
    Writes::with("trigger-workflow", &["schedule.triggered", "schedule.skipped"], &[workflow::GOES_ON]),
];

#[cfg(test)]
mod tests;
