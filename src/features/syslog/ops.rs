//! Purging the system log, page by page.

use std::time::Duration;

use serde_json::json;

use super::store;
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::platform::store::{Store, Tx};

/// Entries that one transaction deletes.
pub const PAGE: u32 = 2_000;
/// Pages that one transaction gives back to the file system.
const SHRINK_PAGES: u32 = 1_000;

/// The instant before which entries are purged when they are kept for `days`.
pub fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    now.minus(Duration::from_secs(u64::from(days) * 86_400))
}

/// Purges one page of what is older than `older_than`; fewer than [`PAGE`] means it was the last.
pub fn purge(tx: &Tx<'_>, older_than: Timestamp) -> Result<u64, Problem> {
    let gone = store::delete_older(tx, older_than, PAGE)?;
    store::shrink(tx, SHRINK_PAGES)?;
    Ok(gone as u64)
}

/// Purges all of it in short transactions, so that new entries never wait long; stops between two
/// pages once `stopping` says so.
pub async fn purge_all(
    logs: &Store,
    older_than: Timestamp,
    stopping: impl Fn() -> bool,
) -> Result<u64, Problem> {
    let mut total = 0;
    loop {
        let gone = logs.write_in_background(move |tx| purge(tx, older_than)).await?;
        total += gone;
        if gone < u64::from(PAGE) {
            return Ok(total);
        }
        if stopping() {
            return Err(Problem::unavailable("Tenure is shutting down; the rest is purged next time.", 30));
        }
    }
}

/// Writes into the audit log, in `tenure.db`, that entries were purged.
pub fn record_purge(tx: &Tx<'_>, by: &Principal, older_than: Timestamp, entries: u64) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action: "log.purged",
            entity: "system_log",
            entity_id: "system_log".to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({ "olderThan": older_than, "entries": entries })),
        },
    )
}
