//! The nightly job.

use serde_json::{Value, json};

use super::{LONG_AGO, store};
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::features::access::documents::cleanup::{Swept, sweep};
use crate::features::access::documents::ops::stop_waiting;
use crate::features::audit::{self, Entry};
use crate::features::timekeeping::ops::is_held;
use crate::platform::blobs::BlobStore;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Tx;

/// How many objects one transaction removes.
const PAGE: u32 = 100;

/// Removes what runs left behind, every night at half past two.
#[derive(Debug, Clone)]
pub struct RunOrphanCleanup {
    /// The files of documents.
    pub blobs: BlobStore,
}

impl JobHandler for RunOrphanCleanup {
    fn name(&self) -> &'static str {
        names::RUN_ORPHAN_CLEANUP
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("30 2 * * *").expect("a constant expression"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let by = Principal::system(names::RUN_ORPHAN_CLEANUP);
            // By a clock in doubt everything may look old: the next night finds what is left.
            let now = cx.store().clock().now();
            if cx.page(is_held).await? {
                return Ok(());
            }
            let whole = pages(cx, &by, remove_waits).await?
                && pages(cx, &by, remove_outputs).await?
                && sweep(cx, &by, &self.blobs, now).await? == Swept::Whole;
            // Tenure is shutting down: the next start finds what is left.
            if whole { Ok(()) } else { cx.snooze(cx.store().clock().now()).await }
        })
    }
}

/// Removes page by page until there is nothing left; false when it was stopped before.
async fn pages(
    cx: &JobCx,
    by: &Principal,
    remove: fn(&Tx<'_>, &Principal) -> Result<usize, Problem>,
) -> Result<bool, Problem> {
    loop {
        if cx.stopping() {
            return Ok(false);
        }
        let by = by.clone();
        if cx.page(move |tx| remove(tx, &by)).await? < PAGE as usize {
            return Ok(true);
        }
    }
}

fn remove_waits(tx: &Tx<'_>, by: &Principal) -> Result<usize, Problem> {
    let runs = store::list_over_waits(tx, PAGE)?;
    for run in &runs {
        stop_waiting(tx, run)?;
    }
    if !runs.is_empty() {
        record(tx, by, "run.waits_removed", json!({ "runIds": runs }))?;
    }
    Ok(runs.len())
}

fn remove_outputs(tx: &Tx<'_>, by: &Principal) -> Result<usize, Problem> {
    if is_held(tx)? {
        return Ok(0);
    }
    let outputs = store::list_large_outputs(tx, tx.now().minus(LONG_AGO), PAGE)?;
    for output in &outputs {
        let note = json!({ "removedAt": tx.now(), "sizeBytes": output.bytes });
        store::replace_output(tx, &output.step, &note)?;
    }
    if !outputs.is_empty() {
        let gone: Vec<_> = outputs
            .iter()
            .map(|o| json!({ "runId": o.run, "stepId": o.step, "sizeBytes": o.bytes }))
            .collect();
        record(tx, by, "run.outputs_removed", json!({ "outputs": gone }))?;
    }
    Ok(outputs.len())
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, gone: Value) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "run_artifact",
            entity_id: "runs".to_owned(),
            reason: None,
            prev: Some(gone),
            new: None,
        },
    )
}
