//! Storing what is logged, and purging what is old.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::Receiver;

use super::store as sql;
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::settings::{self, LOG_RETENTION, Started};
use crate::platform::store::{Store, Tx};
use crate::platform::telemetry::Record;

/// Records stored in one transaction.
const BATCH: usize = 500;
/// Entries purged in one transaction, so that writers are not kept waiting.
const PURGE_BATCH: u32 = 2_000;
/// Pages that one transaction gives back to the file system.
const SHRINK_PAGES: u32 = 1_000;

/// Stores records until their sender is gone or the store is closed.
pub async fn collect(logs: Store, mut records: Receiver<Record>) {
    let mut batch = Vec::with_capacity(BATCH);
    while records.recv_many(&mut batch, BATCH).await > 0 {
        let full = std::mem::take(&mut batch);
        let stored = logs.write(move |tx| full.iter().try_for_each(|r| sql::insert(tx, r))).await;
        if stored.is_err() && !logs.is_open() {
            return;
        }
        // A record about a log that cannot be written would go the same way; stderr has it.
    }
}

/// The instant before which entries go when they are kept for `days`. An entry of exactly that instant
/// stays; one that is a millisecond older goes.
pub fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    now.minus(Duration::from_secs(u64::from(days) * 86_400))
}

/// What a purge would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Entries from before this instant go.
    pub before: Timestamp,
    /// How many they are.
    pub entries: u64,
}

/// Looks what a purge would remove: what is older than `days`, or else than the retention in force.
pub async fn plan(store: &Store, logs: &Store, started: &Started<u32>, days: Option<u32>) -> Result<Plan, Problem> {
    let started = started.clone();
    let before = store
        .read(move |tx| {
            let days = match days {
                Some(days) => days,
                None => settings::ops::number(tx, LOG_RETENTION, &started)?.value,
            };
            Ok(cutoff(tx.now(), days))
        })
        .await?;
    let entries = logs.read(move |tx| sql::count_before(tx, before)).await?;
    Ok(Plan { before, entries })
}

/// How far a purge came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are gone.
    pub purged: u64,
    /// Whether nothing older is left, and the space is given back.
    pub done: bool,
}

/// Carries out a plan, batch by batch, until nothing older is left or `stop` says so. `record` writes
/// the audit entry, if there is anything to remove.
///
/// Audited before it is done: two databases cannot commit together, and a purge that nobody can read
/// of is worse than an entry about one that a crash cut short.
pub async fn purge<R: Future<Output = Result<(), Problem>>>(
    logs: &Store,
    plan: Plan,
    record: R,
    stop: impl Fn() -> bool,
) -> Result<Progress, Problem> {
    if plan.entries > 0 {
        record.await?;
    }
    let mut purged = 0;
    while !stop() {
        let n = logs.write_in_background(move |tx| sql::delete_before(tx, plan.before, PURGE_BATCH)).await?;
        purged += n as u64;
        let free = logs.write_in_background(|tx| sql::shrink(tx, SHRINK_PAGES)).await?;
        if n < PURGE_BATCH as usize && free == 0 {
            logs.fold_wal()?;
            return Ok(Progress { purged, done: true });
        }
    }
    Ok(Progress { purged, done: false })
}

/// Writes into the audit log, in `tenure.db`, that entries are purged.
pub fn record_purge(tx: &Tx<'_>, by: &Principal, plan: Plan) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action: "log.purged",
            entity: "system_log",
            entity_id: "system_log".to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({ "olderThan": plan.before, "entries": plan.entries })),
        },
    )
}

#[cfg(test)]
mod tests;
