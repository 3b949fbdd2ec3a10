//! Jobs of assignments: each starts and ends on its instant; the hourly check is the safety net. While the clock
//! is in doubt they stand back.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::AssignmentId;
use crate::base::problem::Problem;
use crate::features::access::reminders::{self, Ending};
use crate::features::access::{grants, names};
use crate::features::timekeeping::ops::{in_time, is_held};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs};

/// How many assignments one transaction handles.
const PAGE: u32 = 100;

/// The handlers of this file.
pub fn handlers(zone: &jiff::tz::TimeZone) -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(StartAssignment), Arc::new(EndAssignment), Arc::new(RoleExpiryCheck { zone: zone.clone() })]
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
            let (id, job) = (assignment_of(payload, self.name())?, cx.id().clone());
            let by = Principal::system(names::START_ASSIGNMENT);
            cx.complete_or_wait(move |tx| in_time(tx, &job, |tx| ops::start(tx, &by, &id))).await
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
            let (id, job) = (assignment_of(payload, self.name())?, cx.id().clone());
            let by = Principal::system(names::END_ASSIGNMENT);
            // A promoted job comes early: it goes back to wait for the instant.
            cx.complete_or_wait(move |tx| in_time(tx, &job, |tx| ops::end_if_over(tx, &by, &id))).await
        })
    }
}

/// Ends and starts what was missed, tries again what connected systems refused, and reminds people of ends.
#[derive(Debug)]
pub struct RoleExpiryCheck {
    /// The zone that messages name instants in.
    pub zone: jiff::tz::TimeZone,
}

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
                let page = cx.page(move |tx| {
                    if is_held(tx)? { Ok(None) } else { ops::end_over(tx, &by, cursor.as_ref(), PAGE) }
                });
                after = page.await?;
                if after.is_none() {
                    break;
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
            loop {
                let (cursor, by) = (after.clone(), by.clone());
                let page = cx.page(move |tx| {
                    if is_held(tx)? { Ok(None) } else { ops::start_due(tx, &by, cursor.as_ref(), PAGE) }
                });
                after = page.await?;
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
                    break;
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
            reminders::jobs::remind_all(cx, &by, Ending::Assignment, &self.zone).await
        })
    }
}
