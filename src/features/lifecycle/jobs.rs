//! Jobs: ending what a leaver held; telling administrators who is held.

use serde::Deserialize;
use serde_json::Value;

use super::ops::{self, Next};
use crate::base::access::Principal;
use crate::base::id::LeaveId;
use crate::base::problem::Problem;
use crate::features::identity::leavers::{END_LEAVER, TELL_HELD};
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeavePayload {
    leave_id: LeaveId,
}

/// Ends what a leaver held. Cut in the middle, it looks at what is left.
#[derive(Debug)]
pub struct EndLeaver;

impl JobHandler for EndLeaver {
    fn name(&self) -> &'static str {
        END_LEAVER
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let LeavePayload { leave_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"leaveId\": \"lve_…\"}}")))?;
            let mut next = Next::first();
            loop {
                let (id, page) = (leave_id.clone(), next.clone());
                let by = Principal::system(END_LEAVER);
                match cx.page(move |tx| ops::end_page(tx, &by, &id, &page)).await? {
                    Some(more) => next = more,
                    None => return Ok(()),
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
        })
    }
}

#[derive(Debug, Deserialize)]
struct SourcePayload {
    source: String,
}

/// Tells administrators of people whose leaving is held.
#[derive(Debug)]
pub struct TellHeld;

impl JobHandler for TellHeld {
    fn name(&self) -> &'static str {
        TELL_HELD
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let SourcePayload { source } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"source\": \"scim:…\"}}")))?;
            cx.complete(move |tx| ops::tell_held(tx, &source)).await
        })
    }
}
