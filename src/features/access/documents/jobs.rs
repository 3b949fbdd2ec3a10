//! Jobs of documents: each expires on its instant; the hourly check is the safety net.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops;
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::DocumentId;
use crate::base::problem::Problem;
use crate::features::access::names;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names as jobs};

/// How many documents one transaction handles.
const PAGE: u32 = 100;

/// The handlers of this file.
pub fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(ExpireDocument), Arc::new(DocumentExpiryCheck)]
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
            let by = Principal::system(names::EXPIRE_DOCUMENT);
            // A promoted job comes early: it goes back to wait for the instant.
            match cx.page(move |tx| ops::expire_if_over(tx, &by, &id)).await? {
                Some(later) => cx.snooze(later).await,
                None => Ok(()),
            }
        })
    }
}

/// Revokes roles whose documents expired.
#[derive(Debug)]
pub struct DocumentExpiryCheck;

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
                after = cx.page(move |tx| ops::revoke_expired(tx, &by, cursor.as_ref(), PAGE)).await?;
                if after.is_none() {
                    return Ok(());
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
        })
    }
}
