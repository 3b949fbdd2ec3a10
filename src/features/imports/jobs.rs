//! The job that applies an import, page by page.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::ops::{self, APPLY_IMPORT};
use crate::base::id::ImportId;
use crate::base::problem::Problem;
use crate::platform::queue::{JobCx, JobFuture, JobHandler};

/// The handlers of this file.
pub fn handlers() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(ApplyImport)]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    import_id: ImportId,
}

/// Applies an import. Cut in the middle, it goes on with the rows that are left.
#[derive(Debug)]
struct ApplyImport;

impl JobHandler for ApplyImport {
    fn name(&self) -> &'static str {
        APPLY_IMPORT
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let Payload { import_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"importId\": \"imp_…\"}}")))?;
            loop {
                let id = import_id.clone();
                if !cx.page(move |tx| ops::apply_page(tx, &id)).await? {
                    return Ok(());
                }
                if cx.stopping() {
                    return cx.snooze(cx.store().clock().now()).await;
                }
            }
        })
    }
}
