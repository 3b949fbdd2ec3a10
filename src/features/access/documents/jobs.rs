//! Jobs of documents: each expires on its instant; the hourly check is the safety net. While the clock is in
//! doubt they stand back.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::DocumentId;
use crate::base::problem::Problem;
use crate::features::access::names;
use crate::features::access::reminders::{self, Ending};
use crate::features::timekeeping::ops::{in_time, is_held};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs};

/// How many documents one transaction handles.
const PAGE: u32 = 100;

/// The handlers of this file.
pub fn handlers(zone: &jiff::tz::TimeZone) -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(ExpireDocument), Arc::new(DocumentExpiryCheck { zone: zone.clone() })]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    document_id: DocumentId,
}

/// Expires a document at its instant.
#[derive(Debug)]
pub struct ExpireDocument;

impl JobHandler for ExpireDocument {
    fn name(&self) -> &'static str {
        names::EXPIRE_DOCUMENT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let id = serde_json::from_value::<Payload>(payload).map(|p| p.document_id).map_err(|e| {
                Problem::refused(format!("{}: payload {e}; expected {{\"documentId\": \"doc_…\"}}", self.name()))
            })?;
            let (by, job) = (Principal::system(names::EXPIRE_DOCUMENT), cx.id().clone());
            // A promoted job comes early: it goes back to wait for the instant.
            cx.complete_or_wait(move |tx| in_time(tx, &job, |tx| ops::expire_if_over(tx, &by, &id))).await
        })
    }
}

/// Revokes roles whose documents expired, and reminds people of documents that are to end.
#[derive(Debug)]
pub struct DocumentExpiryCheck {
    /// The zone that messages name instants in.
    pub zone: jiff::tz::TimeZone,
}

impl JobHandler for DocumentExpiryCheck {
    fn name(&self) -> &'static str {
        jobs::DOCUMENT_EXPIRY_CHECK
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("0 * * * *").expect("a constant that the tests read"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let by = Principal::system(jobs::DOCUMENT_EXPIRY_CHECK);
            let mut after = None;
            loop {
                let (cursor, by) = (after.clone(), by.clone());
                let page = cx.page(move |tx| {
                    if is_held(tx)? { Ok(None) } else { ops::revoke_expired(tx, &by, cursor.as_ref(), PAGE) }
                });
                after = page.await?;
                if after.is_none() {
                    break;
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
            reminders::jobs::remind_all(cx, &by, Ending::Document, &self.zone).await
        })
    }
}
