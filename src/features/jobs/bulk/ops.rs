//! Asking for a bulk action.

use serde_json::json;

use crate::base::access::{Permission, Principal};
use crate::base::id::TypedId;
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::queue::bulk::{self, BulkAction, BulkProgress};
use crate::platform::queue::views::JobFilter;
use crate::platform::store::Tx;

/// Begins an action on the `expected` jobs that match; a conflict when another number matches now.
pub fn start(
    tx: &Tx<'_>,
    by: &Principal,
    action: BulkAction,
    filter: &JobFilter,
    expected: u64,
) -> Result<BulkProgress, Problem> {
    by.require(Permission::JobManage)?;
    let progress = bulk::start(tx, action, filter, expected, &by.name)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "job.bulk_started",
            entity: "job",
            entity_id: progress.id.as_str().to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({ "action": action, "filter": filter, "matched": progress.total })),
        },
    )?;
    Ok(progress)
}
