//! What an administrator does to a job by hand.

use serde_json::{Value, json};

use crate::base::access::{Permission, Principal};
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::queue::views::{self, JobView};
use crate::platform::store::Tx;

/// A failed job starts over, with all its attempts.
pub fn retry(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::get_job(tx, id)?;
    let after = views::retry_job(tx, id)?;
    record(tx, by, "job.retried", &before, Some(&after))?;
    Ok(after)
}

/// A delayed job runs now.
pub fn promote(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::get_job(tx, id)?;
    let after = views::promote_job(tx, id)?;
    record(tx, by, "job.promoted", &before, Some(&after))?;
    Ok(after)
}

/// A job that does not run goes away.
pub fn remove(tx: &Tx<'_>, by: &Principal, id: &JobId) -> Result<JobView, Problem> {
    by.require(Permission::JobManage)?;
    let before = views::remove_job(tx, id)?;
    record(tx, by, "job.removed", &before, None)?;
    Ok(before)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: &JobView,
    after: Option<&JobView>,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "job",
            entity_id: before.id.as_str().to_owned(),
            reason: None,
            prev: Some(state(before)),
            new: after.map(state),
        },
    )
}

fn state(job: &JobView) -> Value {
    json!({
        "name": job.name,
        "state": job.state,
        "attemptsMade": job.attempts_made,
        "runAt": job.run_at,
    })
}
