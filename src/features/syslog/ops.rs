//! Storing what is logged, and purging what is old.

use tokio::sync::mpsc::Receiver;

use super::store as sql;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Store;
use crate::platform::telemetry::Record;

/// Records stored in one transaction.
const BATCH: usize = 500;
/// Entries purged in one transaction, so that writers are not kept waiting.
const PURGE_BATCH: u32 = 2_000;

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

/// Removes entries older than `before`, batch by batch; answers how many.
pub async fn purge(logs: &Store, before: Timestamp) -> Result<u64, Problem> {
    let mut purged = 0;
    loop {
        let n = logs.write(move |tx| sql::delete_before(tx, before, PURGE_BATCH)).await?;
        purged += n as u64;
        if n < PURGE_BATCH as usize {
            return Ok(purged);
        }
    }
}
