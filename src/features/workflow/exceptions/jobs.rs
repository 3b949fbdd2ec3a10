//! Jobs: an exception ends when nobody decided in time; a break of the glass that nobody reviewed is told of.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{break_glass, ops};
use crate::base::access::Principal;
use crate::base::id::{BreakGlassId, ExceptionId};
use crate::base::problem::Problem;
use crate::features::timekeeping::ops::in_time;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// Ends an exception that nobody decided in time.
pub const EXPIRE_EXCEPTION: &str = "expire-exception";
/// Tells of a break of the glass that nobody reviewed, daily until somebody does.
pub const REMIND_REVIEW: &str = "break-glass-review";

/// The handlers of this file.
pub fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(ExpireException), Arc::new(RemindReview)]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExceptionPayload {
    exception_id: ExceptionId,
}

/// Ends an exception that nobody decided in time.
#[derive(Debug)]
struct ExpireException;

impl JobHandler for ExpireException {
    fn name(&self) -> &'static str {
        EXPIRE_EXCEPTION
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let ExceptionPayload { exception_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"exceptionId\": \"exc_…\"}}")))?;
            let (by, job) = (Principal::system(EXPIRE_EXCEPTION), cx.id().clone());
            // A promoted job comes early: it goes back to wait for the instant.
            cx.complete_or_wait(move |tx| in_time(tx, &job, |tx| ops::expire(tx, &by, &exception_id))).await
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewPayload {
    break_glass_id: BreakGlassId,
}

/// Tells of a break of the glass that nobody reviewed.
#[derive(Debug)]
struct RemindReview;

impl JobHandler for RemindReview {
    fn name(&self) -> &'static str {
        REMIND_REVIEW
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let ReviewPayload { break_glass_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"breakGlassId\": \"brk_…\"}}")))?;
            let job = cx.id().clone();
            cx.complete_or_wait(move |tx| {
                in_time(tx, &job, |tx| break_glass::ops::remind(tx, &break_glass_id).map(|()| None))
            })
            .await
        })
    }
}
