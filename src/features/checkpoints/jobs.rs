//! Jobs: making checkpoints when their time has come, putting them into their places, raising the alarm.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::service::{Checkpoints, shown};
use super::verification::jobs::AuditVerify;
use super::{KEEP_CHECKPOINT, Reason, TELL_REFUSAL, ops, store};
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};

/// The handlers of checkpoints: they are made by the one schedule, and the whole log is read again by the other.
pub fn handlers(checkpoints: Checkpoints, schedule: Schedule, verify: Schedule) -> Vec<Arc<dyn JobHandler>> {
    vec![
        Arc::new(AuditCheckpoint { checkpoints: checkpoints.clone(), schedule }),
        Arc::new(AuditVerify { checkpoints: checkpoints.clone(), schedule: verify }),
        Arc::new(KeepCheckpoint { checkpoints }),
        Arc::new(TellRefusal),
    ]
}

/// `audit-checkpoint`: signs for the log as it is, also when nothing is new: that is a sign of life.
#[derive(Debug)]
pub struct AuditCheckpoint {
    checkpoints: Checkpoints,
    schedule: Schedule,
}

impl JobHandler for AuditCheckpoint {
    fn name(&self) -> &'static str {
        names::AUDIT_CHECKPOINT
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(self.schedule.clone())
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async { self.checkpoints.make(Reason::Schedule).await.map(|_| ()) })
    }
}

/// `keep-checkpoint`: puts one checkpoint into one place, and tries again until it is there.
#[derive(Debug)]
pub struct KeepCheckpoint {
    checkpoints: Checkpoints,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    number: u64,
    place: String,
}

impl KeepCheckpoint {
    async fn keep(&self, cx: &JobCx, payload: Value) -> Result<(), Problem> {
        let Payload { number, place } =
            serde_json::from_value(payload).map_err(|e| Problem::field("payload", e.to_string()))?;
        let found = cx.store().read(move |tx| store::find(tx, number)).await?;
        let record = found.ok_or_else(|| Problem::missing("checkpoint", number))?;
        let Some(kept) = self.checkpoints.put(&place, &record).await else {
            return cx.complete(move |tx| ops::drop_copy(tx, number, &place)).await;
        };
        match kept {
            Ok(()) => cx.complete(move |tx| store::mark_stored(tx, number, &place)).await,
            Err(problem) => {
                let error = shown(&problem);
                tracing::warn!(number, place, %problem, "a checkpoint could not be kept; it is tried again");
                cx.complete_or_wait(move |tx| ops::put_off(tx, number, &place, &error).map(Some)).await
            }
        }
    }
}

impl JobHandler for KeepCheckpoint {
    fn name(&self) -> &'static str {
        KEEP_CHECKPOINT
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(self.keep(cx, payload))
    }
}

/// Tells administrators that nothing is signed any more.
#[derive(Debug)]
pub struct TellRefusal;

impl JobHandler for TellRefusal {
    fn name(&self) -> &'static str {
        TELL_REFUSAL
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(cx.complete(ops::tell))
    }
}
