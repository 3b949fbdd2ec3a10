//! Background jobs: a ledger in the business database, a relay, a queue that carries attempts.
//!
//! A job is a row of the ledger, written by [`enqueue`] in the transaction of the change that wants
//! it. The relay hands due rows to the [`Queue`](port::Queue), a worker runs them through the
//! [`Registry`], and the handler's last transaction marks the row done.
//!
//! # Invariants
//! - A job exists exactly when the change that wants it was committed.
//! - A handler's effects in the database happen once: its transaction marks the row done, and only
//!   while the row is still this attempt's ([`JobCx::complete`]).
//! - A job gets four attempts, the later ones 5, 10 and 20 s after the failure before, never earlier.
//! - An attempt that a crash cut short counts if the job ran alone. If others ran as well, the first three
//!   of a job do not count, and then it runs alone: what ends the process fails in the end, what was only
//!   there does not.
//! - A change by hand is in force at once, also while the queue still learns how an attempt ended.
//! - A slot of a schedule makes one job, however often the scheduler looks.
//! - The queue may lose everything it holds: the ledger hands it over again.
//!
//! # Not here
//! What a job does; that is a feature's `jobs.rs`. Looking at jobs over HTTP is `features::jobs`.

mod apalis;
pub mod attempts;
mod bullmq;
pub mod bulk;
mod control;
#[doc(hidden)]
pub mod bench;
mod cx;
pub mod doubt;
pub mod groups;
mod inline;
pub mod ledger;
mod pickup;
pub mod port;
mod queue_db;
pub mod registry;
mod relay;
pub mod retry;
mod runner;
mod runtime;
pub mod schedule;
mod slots;
#[cfg(test)]
mod tests;
pub mod views;

use std::future::Future;
use std::pin::Pin;

use serde_json::Value as JsonValue;

use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

pub use bulk::BulkHandler;
pub use cx::JobCx;
pub use inline::InlineQueue;
pub use ledger::{cancel, enqueue, is_due_at, is_on_its_way};
pub use port::{Condition, Drained};
pub use registry::Registry;
pub use runtime::{Parts, QueueHealth, QueueRuntime};

/// A job that is not in the ledger yet.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDraft {
    /// Which handler runs it; one of [`names`] or a feature's own.
    pub name: &'static str,
    /// What the handler is given.
    pub payload: JsonValue,
    /// Not before this instant; at once when absent.
    pub run_at: Option<Timestamp>,
    /// A second job with the key of one that is open or done is not made.
    pub key: Option<String>,
}

impl JobDraft {
    /// A job that may run at once.
    pub fn now(name: &'static str, payload: JsonValue) -> Self {
        Self { name, payload, run_at: None, key: None }
    }

    /// A job that may not run before `instant`.
    pub fn at(name: &'static str, payload: JsonValue, instant: Timestamp) -> Self {
        Self { name, payload, run_at: Some(instant), key: None }
    }

    /// The same job, made only if no open or done one has this key.
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// What a handler's attempt is.
pub type JobFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'a>>;

/// Runs the jobs of one name.
pub trait JobHandler: Send + Sync + 'static {
    /// The name of the jobs it runs.
    fn name(&self) -> &'static str;

    /// When Tenure makes such a job by itself, if it does.
    fn schedule(&self) -> Option<Schedule> {
        None
    }

    /// Whether it waits for other systems. Such jobs get at most three quarters of the slots.
    fn calls_out(&self) -> bool {
        false
    }

    /// One attempt. `Ok` without [`JobCx::complete`] or [`JobCx::snooze`] is completed by the worker.
    fn run<'a>(&'a self, cx: &'a JobCx, payload: JsonValue) -> JobFuture<'a>;
}

/// The names of jobs that more than one feature knows.
pub mod names {
    /// The one queue that all jobs go through.
    pub const QUEUE: &str = "workflow-scheduler";
    /// Revokes expired role assignments.
    pub const ROLE_EXPIRY_CHECK: &str = "role-expiry-check";
    /// Revokes roles whose documents expired.
    pub const DOCUMENT_EXPIRY_CHECK: &str = "document-expiry-check";
    /// Reconciles entitlements with connectors.
    pub const ENTITLEMENT_RECONCILIATION: &str = "entitlement-reconciliation";
    /// Cleans up artifacts of runs that no longer exist or ended long ago.
    pub const RUN_ORPHAN_CLEANUP: &str = "run-orphan-cleanup";
    /// Fails stuck runs.
    pub const STUCK_RUN_RECOVERY: &str = "stuck-run-recovery";
    /// Creates a signed checkpoint.
    pub const AUDIT_CHECKPOINT: &str = "audit-checkpoint";
    /// Generates and e-mails a report.
    pub const DELIVER_SCHEDULED_REPORT: &str = "deliver-scheduled-report";
    /// Starts a scheduled workflow run.
    pub const TRIGGER_WORKFLOW: &str = "trigger-workflow";
    /// Reminds approvers.
    pub const ESCALATION_REMINDER: &str = "escalation-reminder";
    /// Reassigns an overdue approval.
    pub const ESCALATION_REASSIGNMENT: &str = "escalation-reassignment";
    /// Purges the system log.
    pub const LOG_RETENTION: &str = "log-retention";
    /// Carries a run to its next wait or end.
    pub const ADVANCE_RUN: &str = "advance-run";
    /// Brings one grant into the connected system, or takes it out.
    pub const PROVISION_GRANT: &str = "provision-grant";
    /// Retries, removes or promotes all jobs that match a filter.
    pub const BULK_JOBS: &str = "bulk-jobs";
    /// Sends one notification by mail.
    pub const SEND_MAIL: &str = "send-mail";
}
