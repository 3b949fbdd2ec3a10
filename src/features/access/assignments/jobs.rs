//! Jobs of assignments: each starts and ends on its instant; the hourly check is the safety net.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::AssignmentId;
use crate::base::problem::Problem;
use crate::features::access::{grants, names};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs};

/// How many assignments one transaction handles.
const PAGE: u32 = 100;

/// The handlers of this file.
pub fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(StartAssignment), Arc::new(EndAssignment), Arc::new(RoleExpiryCheck)]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    assignment_id: AssignmentId,
}

fn assignment_of(payload: Value, job: &str) -> Result<AssignmentId, Problem> {
    serde_json::from_value::<Payload>(payload)
        .map(|p| p.assignment_id)
        .map_err(|e| Problem::refused(format!("{job}: payload {e}; expected {{\"assignmentId\": \"asg_…\"}}")))
}

/// Starts an assignment at its instant.
#[derive(Debug)]
pub struct StartAssignment;

impl JobHandler for StartAssignment {
    fn name(&self) -> &'static str {
        names::START_ASSIGNMENT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let id = assignment_of(payload, self.name())?;
            cx.complete(move |tx| ops::start(tx, &Principal::system(names::START_ASSIGNMENT), &id)).await
        })
    }
}

/// Ends an assignment at its instant.
#[derive(Debug)]
pub struct EndAssignment;

impl JobHandler for EndAssignment {
    fn name(&self) -> &'static str {
        names::END_ASSIGNMENT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let id = assignment_of(payload, self.name())?;
            let by = Principal::system(names::END_ASSIGNMENT);
            // A promoted job comes early: it goes back to wait for the instant.
            match cx.page(move |tx| ops::end_if_over(tx, &by, &id)).await? {
                Some(later) => cx.snooze(later).await,
                None => Ok(()),
            }
        })
    }
}

/// Ends and starts what was missed, and tries again what connected systems refused.
#[derive(Debug)]
pub struct RoleExpiryCheck;

impl JobHandler for RoleExpiryCheck {
    fn name(&self) -> &'static str {
        jobs::ROLE_EXPIRY_CHECK
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("0 * * * *").expect("a constant that the tests read"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let by = Principal::system(jobs::ROLE_EXPIRY_CHECK);
            let mut after = None;
            loop {
                let (cursor, by) = (after.clone(), by.clone());
                after = cx.page(move |tx| ops::end_over(tx, &by, cursor.as_ref(), PAGE)).await?;
                if after.is_none() {
                    break;
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
            loop {
                let (cursor, by) = (after.clone(), by.clone());
                after = cx.page(move |tx| ops::start_due(tx, &by, cursor.as_ref(), PAGE)).await?;
                if after.is_none() {
                    break;
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
            let mut last = None;
            loop {
                let cursor = last.clone();
                last = cx.page(move |tx| grants::ops::try_again(tx, cursor.as_ref(), PAGE)).await?;
                if last.is_none() {
                    return Ok(());
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
        })
    }
}
