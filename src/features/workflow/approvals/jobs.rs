//! `escalation-reminder` and `escalation-reassignment`: what happens to overdue approvals.

use serde::Deserialize;
use serde_json::Value;

use super::escalation;
use crate::base::access::Principal;
use crate::base::id::ApprovalId;
use crate::base::problem::Problem;
use crate::features::timekeeping::ops::in_time;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payload {
    approval_id: ApprovalId,
    level: u32,
}

/// Carries out a rung, at its instant at the earliest: a job that somebody promoted waits all the same.
async fn climb(cx: &JobCx, payload: Value, job: &'static str) -> Result<(), Problem> {
    let Payload { approval_id, level } = serde_json::from_value(payload).map_err(|e| {
        Problem::refused(format!("payload: {e}; expected {{\"approvalId\": \"apr_…\", \"level\": 1}}"))
    })?;
    let id = approval_id.clone();
    if let Some(until) = cx.store().read(move |tx| escalation::not_before(tx, &id, level, job)).await? {
        return cx.snooze(until).await;
    }
    let (by, own) = (Principal::system(job), cx.id().clone());
    cx.complete_or_wait(move |tx| {
        in_time(tx, &own, |tx| escalation::carry_out(tx, &by, &approval_id, level, job).map(|()| None))
    })
    .await
}

/// Reminds those who have not decided.
#[derive(Debug)]
pub struct EscalationReminder;

impl JobHandler for EscalationReminder {
    fn name(&self) -> &'static str {
        names::ESCALATION_REMINDER
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(climb(cx, payload, names::ESCALATION_REMINDER))
    }
}

/// Gives an overdue approval to somebody else, and in the end ends it.
#[derive(Debug)]
pub struct EscalationReassignment;

impl JobHandler for EscalationReassignment {
    fn name(&self) -> &'static str {
        names::ESCALATION_REASSIGNMENT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(climb(cx, payload, names::ESCALATION_REASSIGNMENT))
    }
}
