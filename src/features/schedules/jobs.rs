//! `trigger-workflow`: starts the run of a schedule's slot.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::id::ScheduleId;
use crate::base::problem::Problem;
use crate::features::timekeeping::ops::in_time;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};

/// How long a start that waits for the run before is put off each time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Starts the run of a schedule's slot.
#[derive(Debug, Clone, Copy)]
pub struct TriggerWorkflow;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    schedule_id: ScheduleId,
}

impl JobHandler for TriggerWorkflow {
    fn name(&self) -> &'static str {
        names::TRIGGER_WORKFLOW
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let Payload { schedule_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"scheduleId\": \"sch_…\"}}")))?;
            let (id, job) = (schedule_id.clone(), cx.id().clone());
            if cx.page(move |tx| ops::must_wait(tx, &id, &job)).await? {
                return cx.snooze(cx.store().clock().now().plus(LOOK_AGAIN)).await;
            }
            let job = cx.id().clone();
            cx.complete_or_wait(move |tx| in_time(tx, &job, |tx| ops::trigger(tx, &schedule_id, &job).map(|_| None)))
                .await
        })
    }
}
